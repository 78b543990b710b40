import numpy as np
import pytest
import torch
from conftest import noise

from korean_asr.batches import Collator, TrainingClips, length_batches, model_inputs
from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.model import expanded_base_model
from korean_asr.recipes import RECIPES


@pytest.fixture
def recogniser(tiny_base):
    return expanded_base_model(str(tiny_base), RECIPES["v3"])[0]


def test_waveforms_are_normalised_each_on_its_own_and_padded_with_zeros(recogniser):
    long, short = noise(3_000, 1), noise(1_000, 2) * 7 + 1
    inputs = model_inputs([long, short], recogniser.feature_extractor)
    assert inputs["input_values"].shape == inputs["attention_mask"].shape == (2, 3_000)
    assert inputs["attention_mask"].sum(1).tolist() == [3_000, 1_000]
    kept = inputs["input_values"][1, :1_000].numpy()
    assert abs(kept.mean()) < 1e-5
    assert kept.std() == pytest.approx(1, abs=1e-3)
    assert not inputs["input_values"][1, 1_000:].any()


def test_labels_are_padded_with_minus_100_and_never_hold_it_inside(recogniser, utterances):
    clips = TrainingClips(utterances[:3], recogniser.tokenizer)
    batch = Collator(recogniser.feature_extractor)([clips[i] for i in range(3)])
    assert batch["labels"].shape == (
        3,
        len("가나 다라.") if len("가나 다라.") > len("밥 국, 물?") else len("밥 국, 물?"),
    )
    for row, utterance in zip(batch["labels"], utterances, strict=False):
        assert (row >= 0).sum() == len(utterance.text)
        assert (row[len(utterance.text) :] == -100).all()


def test_every_mark_has_a_label_of_its_own_after_the_expansion(recogniser, utterances):
    clips = TrainingClips(utterances, recogniser.tokenizer)
    labels = {label for i in range(len(clips)) for label in clips[i]["labels"]}
    assert set(recogniser.tokenizer.convert_tokens_to_ids(list(".,?!"))) <= labels
    assert recogniser.tokenizer.unk_token_id not in labels


def test_without_added_tokens_a_mark_is_unknown_as_in_the_first_seeds(tiny_base, utterances):
    recogniser, _ = expanded_base_model(str(tiny_base), RECIPES["v1"])
    clip = TrainingClips(utterances, recogniser.tokenizer)[0]
    assert clip["labels"][-1] == recogniser.tokenizer.unk_token_id


def test_a_clip_that_vanished_during_the_run_is_named(recogniser, tmp_path):
    clips = TrainingClips([Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가")], recogniser.tokenizer)
    with pytest.raises(DataError, match=r"gone\.wav"):
        clips[0]


def test_padding_changes_neither_loss_nor_logits_of_a_clip(recogniser, utterances):
    clips = TrainingClips(utterances, recogniser.tokenizer)
    collate = Collator(recogniser.feature_extractor)
    model = recogniser.model.eval()
    with torch.inference_mode():
        together = model(**collate([clips[0], clips[9]]))
        alone = model(**collate([clips[0]]))
        losses = [model(**collate([clips[i]])).loss for i in (0, 9)]
    n_frames = alone.logits.shape[1]
    assert torch.allclose(together.logits[0, :n_frames], alone.logits[0], atol=1e-4)
    assert together.loss.item() == pytest.approx(np.mean([loss.item() for loss in losses]), rel=1e-4)


def _clips(durations):
    return [Utterance(str(place), "/x.wav", duration, "가") for place, duration in enumerate(durations)]


def test_batches_hold_every_clip_once_longest_first_within_their_seconds_of_padded_audio():
    durations = [3.0, 1.0, 9.0, 2.0, 2.5, 30.0]
    assert length_batches(_clips(durations), 10.0) == [[5], [2], [0, 4, 3], [1]]


def test_clips_without_a_duration_do_not_become_one_batch():
    assert [len(batch) for batch in length_batches(_clips([0.0] * 150), 10.0)] == [64, 64, 22]
