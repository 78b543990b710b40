import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from korean_asr.errors import DataError, exit_status
from korean_asr.hardware import inputs_on
from korean_asr.inference import length_batches, normalised_batch
from korean_asr.manifest import Utterance
from korean_asr.model import expanded_base_model
from korean_asr.recipe import batch_plan
from korean_asr.training.batches import (
    Collator,
    Job,
    TrainingClips,
    dealt,
    epoch_updates,
    n_updates,
    padded_seconds,
    run_updates,
)
from recipes import RECIPES


@pytest.fixture
def recogniser(tiny_base):
    return expanded_base_model(str(tiny_base), RECIPES["v3"])[0]


def test_waveforms_are_normalised_each_on_its_own_and_padded_with_zeros(noise, recogniser):
    long, short = noise(3_000, 1), noise(1_000, 2) * 7 + 1
    batch = normalised_batch([long, short], recogniser.feature_extractor)
    assert batch["n_samples"].tolist() == [3_000, 1_000]
    inputs = inputs_on(torch.device("cpu"), batch)
    assert inputs["input_values"].shape == inputs["attention_mask"].shape == (2, 3_000)
    assert inputs["attention_mask"].sum(1).tolist() == [3_000, 1_000]
    kept = inputs["input_values"][1, :1_000].numpy()
    assert abs(kept.mean()) < 1e-5
    assert kept.std() == pytest.approx(1, abs=1e-3)
    assert not inputs["input_values"][1, 1_000:].any()


def test_labels_are_padded_with_minus_100_and_never_hold_it_inside(recogniser, utterances):
    clips = TrainingClips(utterances[:3], recogniser, V3)
    batch = Collator(recogniser.feature_extractor)([clips[0, i] for i in range(3)])
    assert batch["labels"].shape == (
        3,
        len("가나 다라.") if len("가나 다라.") > len("밥 국, 물?") else len("밥 국, 물?"),
    )
    for row, utterance in zip(batch["labels"], utterances, strict=False):
        assert (row >= 0).sum() == len(utterance.text)
        assert (row[len(utterance.text) :] == -100).all()


def test_a_worker_sends_samples_lengths_and_labels_alone_in_four_bytes_each(recogniser, utterances):
    clips = TrainingClips(utterances[:4], recogniser, V3)
    batch = Collator(recogniser.feature_extractor)([clips[0, i] for i in range(4)])
    assert {name: values.dtype for name, values in batch.items()} == {
        "input_values": torch.float32,
        "n_samples": torch.int64,
        "labels": torch.int32,
    }
    n_bytes = sum(values.nbytes for values in batch.values())
    assert n_bytes < 1.01 * batch["input_values"].nbytes


def test_every_mark_has_a_label_of_its_own_after_the_expansion(recogniser, utterances):
    clips = TrainingClips(utterances, recogniser, V3)
    labels = {label for i in range(len(clips)) for label in clips[0, i]["labels"]}
    assert set(recogniser.tokenizer.convert_tokens_to_ids(list(".,?!"))) <= labels
    assert recogniser.tokenizer.unk_token_id not in labels


def test_without_added_tokens_a_mark_is_unknown_as_in_the_original_code(tiny_base, utterances):
    recogniser, _ = expanded_base_model(str(tiny_base), RECIPES["v1"])
    clip = TrainingClips(utterances, recogniser, RECIPES["v1"])[0, 0]
    assert clip["labels"][-1] == recogniser.tokenizer.unk_token_id


def test_a_clip_is_cut_out_of_its_file_at_its_offset(recogniser, utterances):
    clip = utterances[5]
    cut = dataclasses.replace(clip, offset=0.5, duration=0.25)
    clips = TrainingClips([clip, cut], recogniser, V3)
    whole, part = (clips[0, i]["waveform"] for i in range(2))
    assert part.tolist() == whole[8_000:12_000].tolist()


def test_a_clip_that_vanished_during_the_run_is_named(recogniser, tmp_path):
    clip = Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가")
    clips = TrainingClips([clip], recogniser, V3)
    with pytest.raises(DataError, match=r"gone\.wav"):
        clips[0, 0]


def test_a_moved_archive_is_one_line_also_from_a_worker_of_the_loader(recogniser, tmp_path, capsys):
    clip = Utterance("gone", f"tar://a.wav::{tmp_path}/x.tar", 1.0, "가", audio_offset=512)
    clips = TrainingClips([dataclasses.replace(clip, audio_bytes=44)], recogniser, V3)
    loader = torch.utils.data.DataLoader(clips, sampler=[(0, 0)], num_workers=1)
    assert exit_status(lambda: next(iter(loader))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ERROR · 오류: {tmp_path}/x.tar is missing")


def test_padding_changes_neither_loss_nor_logits_of_a_clip(recogniser, utterances):
    clips = TrainingClips(utterances, recogniser, V3)
    collator = Collator(recogniser.feature_extractor)
    model = recogniser.model.eval()

    def collate(some):
        batch = collator(some)
        return {**inputs_on(model.device, batch), "labels": batch["labels"].long()}

    with torch.inference_mode():
        together = model(**collate([clips[0, 0], clips[0, 9]]))
        alone = model(**collate([clips[0, 0]]))
        losses = [model(**collate([clips[0, i]])).loss for i in (0, 9)]
    n_frames = alone.logits.shape[1]
    assert torch.allclose(together.logits[0, :n_frames], alone.logits[0], atol=1e-4)
    assert together.loss.item() == pytest.approx(
        np.mean([loss.item() for loss in losses]), rel=1e-4
    )


def test_batches_hold_every_clip_once_longest_first_within_their_seconds_of_padded_audio():
    durations = [3.0, 1.0, 9.0, 2.0, 2.5, 30.0]
    assert length_batches(durations, 10.0) == [[5], [2], [0, 4, 3], [1]]
    assert length_batches(durations, 10.0, max_clips=2) == [[5], [2], [0, 4], [3, 1]]
    assert length_batches([], 10.0) == []


def test_the_batch_of_most_padded_audio_comes_first():
    assert length_batches([5.5, 1.0, 3.0, 3.0, 3.0], 10.0) == [[2, 3, 4], [0], [1]]


def test_clips_without_a_duration_do_not_become_one_batch():
    assert [len(batch) for batch in length_batches([0.0] * 150, 10.0)] == [64, 64, 22]


def test_inputs_are_what_the_feature_extractor_makes_of_the_batch(noise, recogniser):
    waveforms = [noise(3_000, 1), noise(1_000, 2) * 7 + 1, np.zeros(800, np.float32)]
    batch = normalised_batch(waveforms, recogniser.feature_extractor)
    ours = inputs_on(torch.device("cpu"), batch)
    theirs = recogniser.feature_extractor(
        waveforms,
        sampling_rate=16_000,
        padding=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    assert all(
        torch.equal(ours[name].float(), theirs[name].float())
        for name in ("input_values", "attention_mask")
    )


V3 = RECIPES["v3"]  # updates of 64 clips
EIGHT = dataclasses.replace(V3, batch_per_gpu=8, accumulation=1, gpus=1)


def seconds(n_clips, seed=0):
    return np.random.default_rng(seed).gamma(4.0, 1.1, n_clips).round(2).tolist()


@given(st.lists(st.floats(0.3, 20), min_size=1, max_size=200), st.integers(0, 5), st.booleans())
def test_an_epoch_takes_every_clip_once_and_the_longest_first(durations, epoch, grouped):
    recipe = dataclasses.replace(EIGHT, length_grouping=grouped)
    updates = epoch_updates(durations, recipe, epoch)
    assert sorted(index for update in updates for index in update) == list(range(len(durations)))
    assert sorted(map(len, updates), reverse=True)[:-1] == [8] * (len(updates) - 1)
    assert durations[updates[0][0]] == max(durations)
    for update in updates:
        lengths = [durations[index] for index in update]
        assert lengths == sorted(lengths, reverse=True)


def test_the_order_of_an_epoch_depends_on_its_number_and_the_seed():
    durations = seconds(500)
    assert epoch_updates(durations, V3, 0) == epoch_updates(durations, V3, 0)
    assert epoch_updates(durations, V3, 0) != epoch_updates(durations, V3, 1)
    assert epoch_updates(durations, V3, 0) != epoch_updates(
        durations, dataclasses.replace(V3, seed=1), 0
    )


def test_other_clips_meet_in_every_epoch():
    durations = seconds(512)
    one, other = (
        {frozenset(update) for update in epoch_updates(durations, V3, epoch)} for epoch in (0, 1)
    )
    assert not one & other


@given(st.integers(1, 100), st.sampled_from([1, 2, 4, 8]), st.sampled_from([None, 5.0, 30.0]))
def test_an_update_is_dealt_whole_to_any_number_of_processes(n_clips, n_processes, max_seconds):
    recipe = dataclasses.replace(EIGHT, max_batch_seconds=max_seconds)
    durations = seconds(n_clips)
    plan = batch_plan(recipe, n_processes)
    for update in epoch_updates(durations, recipe, 0):
        shares = [dealt(update, rank, durations, recipe, plan) for rank in range(n_processes)]
        assert Counter(index for share in shares for batch in share for index in batch) == Counter(
            update
        )
        counts = [sum(map(len, share)) for share in shares]
        assert max(counts) - min(counts) <= 1
        for batch in (batch for share in shares for batch in share):
            if max_seconds is None:
                assert len(batch) <= plan.per_device
            else:
                assert padded_seconds([batch], durations) <= max_seconds or len(batch) == 1


def test_micro_batches_of_like_clips_are_dealt_to_and_fro():
    durations = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]
    two = dataclasses.replace(EIGHT, batch_per_gpu=2, accumulation=2, gpus=2)
    plan = batch_plan(two, 2)
    shares = [dealt(list(range(8)), rank, durations, two, plan) for rank in (0, 1)]
    assert shares == [[[0, 1], [6, 7]], [[2, 3], [4, 5]]]
    assert [padded_seconds(share, durations) for share in shares] == [9 * 2 + 3 * 2, 7 * 2 + 5 * 2]
    assert [dealt(list(range(5)), rank, durations, two, plan) for rank in (0, 1)] == [
        [[0, 1], [4]],
        [[2], [3]],
    ]
    assert [dealt(list(range(3)), rank, durations, two, plan) for rank in (0, 1)] == [
        [[0, 1]],
        [[2]],
    ]


def test_clips_are_dealt_like_cards_and_cut_by_seconds():
    durations = [9.0, 8.0, 4.0, 3.0, 2.0, 1.0, 1.0]
    two = dataclasses.replace(EIGHT, batch_per_gpu=4, accumulation=1, gpus=2)
    plan = batch_plan(two, 2)
    update = list(range(7))
    by_seconds = dataclasses.replace(two, max_batch_seconds=8.0)
    assert dealt(update, 0, durations, by_seconds, plan) == [
        [0],
        [2, 4],
        [6],
    ]  # 9 s alone, 2 x 4 s, then 3 x 4 would be 12
    assert dealt(update, 1, durations, by_seconds, plan) == [[1], [3, 5]]
    assert (
        dealt(update[:1], 1, durations, two, plan) == []
    )  # no clip is left for the second process
    assert padded_seconds([[0], [2, 4], [6]], durations) == 9 + 8 + 1


def test_a_run_is_its_epochs_one_after_the_other_and_stops_in_their_midst():
    durations = seconds(100)  # two updates an epoch
    clips = [Utterance(str(i), f"{i}.wav", durations[i], "가") for i in range(100)]
    recipe = dataclasses.replace(V3, epochs=2.5)
    whole = [
        (epoch, update) for epoch in range(3) for update in epoch_updates(durations, recipe, epoch)
    ]
    planned = list(run_updates(clips, recipe))
    assert [(update.epoch, update.clips) for update in planned] == whole[:5]
    assert all(update.durations == durations for update in planned)
    assert n_updates(100, recipe) == 5
    assert n_updates(3, dataclasses.replace(V3, epochs=0.01)) == 1


def test_grouping_by_length_saves_most_of_the_padding():
    """The durations are spread like those of the real corpus."""
    durations = seconds(6_400)
    waste = {}
    for grouped in (False, True):
        recipe = dataclasses.replace(V3, length_grouping=grouped)
        plan = batch_plan(recipe, 4)
        batches = [
            batch
            for update in epoch_updates(durations, recipe, 0)
            for rank in range(4)
            for batch in dealt(update, rank, durations, recipe, plan)
        ]
        waste[grouped] = 1 - sum(durations) / padded_seconds(batches, durations)
    assert waste[True] < 0.03 < 0.1 < waste[False]


def test_batches_say_what_is_left_over_and_what_stands_alone(recogniser, utterances):
    values = {"batch_per_gpu": 8, "accumulation": 1, "gpus": 1, "epochs": 3.0}
    recipe = dataclasses.replace(V3, **values, max_batch_seconds=1.0)
    job = Job(recogniser, utterances[:10], [], recipe, batch_plan(recipe, 1), "float32")
    lines = "\n".join(job.printed())
    assert "micro-batches of 1 s x 1 = 8 an update" in lines
    assert "2 updates, the last of 2 clips; 6 updates in all" in lines
    assert "clips over 1 s stand alone: the longest has 1.7 s" in lines


def test_batches_for_another_number_of_processes_name_those_of_the_recipe(recogniser, utterances):
    job = Job(recogniser, utterances, [], V3, batch_plan(V3, 1), "float32")
    assert job.printed()[:2] == [
        "batch: 8 clips x 8 accumulation x 1 = 64 an update",
        "  (the recipe's 8 x 2 x 4, for another number of processes)",
    ]
