import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from korean_asr.audio import n_frames, read_waveform
from korean_asr.hardware import inputs_on
from korean_asr.inference import normalised_batch
from korean_asr.manifest import Utterance
from korean_asr.model import expanded_base_model
from korean_asr.recipe import BatchPlan, batch_plan
from korean_asr.training.augmentation import (
    augmented,
    drawn_durations,
    drawn_speed,
    features_masked,
    longest_duration,
    masked_features,
    with_gains,
)
from korean_asr.training.batches import Job, TrainingClips, run_updates, updates_with_clips
from korean_asr.training.clip_checks import MIN_TRAINING_S
from korean_asr.training.loop import clip_losses, new_optimizer, prepared_job
from korean_asr.training.trial import _planned_work, try_longest_batch
from recipes import RECIPES

PLAIN = dataclasses.replace(RECIPES["demo"], batch_per_gpu=4)
SPEEDS = (0.9, 1.0, 1.1)
ON = dataclasses.replace(PLAIN, speeds=SPEEDS, gains=(-6.0, 6.0), mask_feature_prob=0.5)


@pytest.fixture
def recogniser(tiny_base):
    return expanded_base_model(str(tiny_base), ON)[0]


def clip(seconds=4.0, text="가나다", name="a"):
    return Utterance(name, f"{name}.wav", seconds, text)


def clips(n, seconds=4.0):
    return [clip(seconds, name=f"clip {number}") for number in range(n)]


def sine(hertz, seconds):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000, dtype=np.float32)


def pitch(waveform):
    """Hertz of the loudest tone."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return spectrum.argmax() * 16_000 / len(waveform)


@pytest.mark.parametrize("name", [name for name in RECIPES if "listener" not in name])
def test_no_recipe_but_the_listeners_augments_or_has_another_rate_for_the_head(name):
    recipe = RECIPES[name]
    assert (recipe.speeds, recipe.gains, recipe.mask_feature_prob) == ((1.0,), None, 0.0)
    assert recipe.head_learning_rate is None


def test_without_augmentation_a_clip_is_what_its_file_holds(recogniser, utterances):
    off = TrainingClips(utterances, recogniser, PLAIN)
    for epoch, index in ((0, 0), (3, 0), (1, 7)):
        item = off[epoch, index]
        assert np.array_equal(item["waveform"], read_waveform(utterances[index].audio))
        assert item["masked_features"] is None
    assert drawn_durations(utterances, PLAIN, 5) == [one.duration for one in utterances]


def test_a_slower_clip_is_longer_and_lower_and_a_faster_one_shorter_and_higher():
    for speed, n_samples, hertz in ((0.9, 35_556, 396), (1.1, 29_091, 484), (2.0, 16_000, 880)):
        recipe = dataclasses.replace(PLAIN, speeds=(speed,))
        heard = augmented(sine(440, 2), clip(2.0), recipe, epoch=0)
        assert heard.dtype == np.float32
        assert len(heard) == pytest.approx(n_samples, abs=1)
        assert pitch(heard) == pytest.approx(hertz, abs=1)


@settings(derandomize=True, database=None, max_examples=20, deadline=None)
@given(st.sampled_from([0.8, 0.9, 0.95, 1.1, 1.2]), st.integers(100, 2_500))
def test_resampling_is_the_tone_read_at_other_moments(speed, hertz):
    """Slowly: the sample n of the slower clip is the tone at the moment n x speed."""
    recipe = dataclasses.replace(PLAIN, speeds=(speed,))
    heard = augmented(sine(hertz, 1), clip(1.0), recipe, epoch=0)
    moments = np.arange(len(heard)) * speed / 16_000
    wanted = np.sin(2 * np.pi * hertz * moments)
    # The edges ring, since nothing is known beyond them.
    assert np.abs(heard - wanted)[400:-400].max() < 2e-3


def test_speeds_are_drawn_evenly_and_anew_in_each_epoch_and_by_the_seed():
    many = clips(3_000)
    drawn = [[drawn_speed(one, ON, epoch) for one in many] for epoch in (0, 1)]
    other = dataclasses.replace(ON, seed=7)
    drawn.append([drawn_speed(one, other, 0) for one in many])
    for speeds in drawn:
        assert all(900 < n < 1_100 for n in Counter(speeds).values())
    for one, two in ((0, 1), (0, 2)):
        same = sum(a == b for a, b in zip(drawn[one], drawn[two], strict=True))
        assert 900 < same < 1_100


def test_a_draw_depends_on_neither_the_order_nor_the_number_of_clips():
    many = clips(50)
    speeds = {one.id: drawn_speed(one, ON, 2) for one in many}
    assert {one.id: drawn_speed(one, ON, 2) for one in many[::-3]}.items() <= speeds.items()
    assert drawn_durations(many, ON, 2) == [4.0 / speeds[one.id] for one in many]


def test_a_draw_is_the_same_on_every_machine_and_in_every_version():
    drawn = [drawn_speed(clip(name=name), ON, epoch) for name in "가ab" for epoch in range(4)]
    assert drawn == [1.1, 1.0, 1.0, 1.1, 1.0, 1.0, 1.0, 0.9, 1.1, 0.9, 1.1, 1.1]


@pytest.mark.parametrize(
    ("seconds", "text", "speed", "kept"),
    [
        # 20 s at most.
        (18.1, "가", 0.9, 1.0),
        (17.9, "가", 0.9, 0.9),
        # 99 frames at 2 s, of which 1.1 leaves 84 once the manifest's tolerance is taken off.
        (2.0, "가" * 42, 1.1, 1.1),
        (2.0, "가" * 43, 1.1, 1.0),
        # A mask needs 0.25 s.
        (0.38, "가", 1.1, 1.0),
        (0.39, "가", 1.1, 1.1),
        # What is short already does not become so by a slower speed.
        (0.26, "가" * 9, 0.9, 0.9),
    ],
)
def test_a_clip_keeps_its_speed_where_another_would_make_it_unusable(seconds, text, speed, kept):
    recipe = dataclasses.replace(PLAIN, speeds=(speed,))
    one = clip(seconds, text)
    assert drawn_speed(one, recipe, 0) == kept
    assert drawn_durations([one], recipe, 0) == [seconds / kept]


@settings(derandomize=True, database=None, max_examples=200)
@given(st.floats(0.25, 20), st.floats(0, 0.1), st.integers(1, 90), st.integers(0, 20))
def test_a_faster_clip_always_has_frames_for_its_label_and_a_mask(seconds, error, n_letters, epoch):
    """Of one letter, whose repeats want most frames, in audio shorter than the manifest says."""
    one = clip(seconds, "가" * n_letters)
    speed = drawn_speed(one, ON, epoch)
    heard = seconds / speed - error
    if speed > 1:
        assert heard >= MIN_TRAINING_S
        assert n_frames(round(heard * 16_000)) >= 2 * n_letters - 1
    assert seconds / speed <= longest_duration([one], ON) <= 20.0


def test_a_gain_that_stays_is_undone_by_the_feature_extractor_and_one_that_moves_is_not(
    recogniser, noise
):
    waveform = noise(16_000, 1) / 4
    constant, moving = with_gains(waveform, 6, 6), with_gains(waveform, -6, 6)
    assert constant == pytest.approx(waveform * 10**0.3, rel=1e-5)
    three = [waveform, constant, moving]
    plain, same, other = normalised_batch(three, recogniser.feature_extractor)["input_values"]
    assert (same - plain).abs().max() < 1e-3
    # 12 dB from the start to the end is four times as loud.
    ratio = other / plain
    assert (ratio[-1] / ratio[0]).item() == pytest.approx(4, rel=0.01)


def test_gains_lie_on_a_line_in_decibels_between_the_two_and_saturate_at_full_scale():
    half = np.full(1_001, 0.5, np.float32)
    heard = with_gains(half, -20, 0)
    assert heard[[0, 500, 1_000]] == pytest.approx([0.05, 0.5 / 10**0.5, 0.5])
    assert with_gains(-half, 0, 20)[[0, 1_000]] == pytest.approx([-0.5, -1.0])
    assert heard.dtype == np.float32


def test_gains_are_drawn_within_their_range_and_anew_in_each_epoch():
    recipe = dataclasses.replace(PLAIN, gains=(-6.0, 3.0))
    tone = np.full(100, 0.1, np.float32)
    ends = np.array(
        [
            20 * np.log10(augmented(tone, one, recipe, epoch)[[0, -1]] / 0.1)
            for one in clips(200)
            for epoch in (0, 1)
        ]
    )
    assert ends.min() == pytest.approx(-6, abs=0.2) and ends.max() == pytest.approx(3, abs=0.2)
    assert len(set(ends.ravel().round(4))) > 780
    assert abs(np.corrcoef(ends.T)[0, 1]) < 0.15


def test_masked_features_are_as_many_as_those_of_transformers(recogniser):
    config = recogniser.model.config
    for prob, size in ((0.1, 32), (0.5, 32), (0.3, 1_024)):
        config.hidden_size = size
        recipe = dataclasses.replace(PLAIN, mask_feature_prob=prob)
        ours = np.array([masked_features(one, recipe, 0, config) for one in clips(3_000)])
        np.random.seed(0)
        theirs = np.concatenate(
            [
                _compute_mask_indices((1, size), prob, config.mask_feature_length)
                for _ in range(3_000)
            ]
        )
        assert ours.shape == theirs.shape == (3_000, size)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)
        # How often each of the first features is masked: less than those in the midst.
        assert ours.mean(0)[:16] == pytest.approx(theirs.mean(0)[:16], abs=0.06)


def test_features_are_masked_as_and_where_transformers_masks_them(recogniser, utterances):
    """transformers draws, and its features are masked here too."""
    network = recogniser.model.train()
    waveforms = [read_waveform(one.audio) for one in utterances[:3]]
    batch = normalised_batch(waveforms, recogniser.feature_extractor)
    inputs, seen = inputs_on(torch.device("cpu"), batch), []

    def entered(masks):
        """What enters the transformer, (3, n_frames, 32), with masks over time as well."""
        torch.manual_seed(3)
        np.random.seed(3)
        with features_masked(network, masks), torch.no_grad():
            keep = network.wav2vec2.encoder.register_forward_pre_hook(
                lambda _, inputs: seen.append(inputs[0].clone())
            )
            network(**inputs)
            keep.remove()
        return seen.pop()

    network.config.mask_time_prob = 0.3
    network.config.mask_feature_prob = 0.5
    theirs = entered(None)
    masks = (theirs == 0).all(1)
    assert masks.any(1).all() and not masks.all(1).any()
    network.config.mask_feature_prob = 0.0
    assert torch.equal(entered(masks), theirs)
    # Nothing is left behind.
    assert (entered(None) != 0).any(1).all()


def test_masked_features_reach_the_loss(recogniser, utterances):
    job = prepared_job(recogniser, utterances, [], ON, batch_plan(ON, 1), "float32")
    update = next(updates_with_clips(job, 0, 0))
    batch = next(update.batches)
    assert batch["masked_features"].shape == (4, 32) and batch["masked_features"].any()
    model = recogniser.model.eval()
    with torch.inference_mode():
        masked = clip_losses(model, batch, model.config.pad_token_id, "float32")
        del batch["masked_features"]
        plain = clip_losses(model, batch, model.config.pad_token_id, "float32")
    assert (masked != plain).any()


def batches_of(recogniser, utterances, rank, n_processes, workers=0, n_done=0):
    """{update number: {clip id: what one process hears of it}}, padding cut off."""
    recipe = dataclasses.replace(ON, workers=workers, epochs=2.0)
    plan = BatchPlan(4 // n_processes, 1, n_processes)
    job = Job(recogniser, utterances, [], recipe, plan, "float32")
    found = {}
    for update in updates_with_clips(job, rank, n_done):
        mine = found.setdefault(update.number, {})
        position = update.first
        for _ in range(update.n_batches):
            batch = next(update.batches)
            for row, n_samples in enumerate(batch["n_samples"].tolist()):
                if not update.is_idle:
                    one = utterances[update.clips[position]].id
                    position += 1
                    heard = batch["input_values"][row, :n_samples]
                    mine[one] = heard.numpy().tobytes(), batch["masked_features"][row].tolist()
    return found


def test_processes_workers_and_a_resumed_run_hear_the_same(recogniser, utterances):
    whole = batches_of(recogniser, utterances, 0, 1)
    assert [len(one) for one in whole.values()] == [4, 4, 4, 4, 4, 4]
    assert batches_of(recogniser, utterances, 0, 1, workers=2) == whole
    resumed = batches_of(recogniser, utterances, 0, 1, n_done=4)
    assert resumed == {number: whole[number] for number in (4, 5)}
    for n_processes in (2, 4):
        together = {number: {} for number in whole}
        for rank in range(n_processes):
            for number, mine in batches_of(recogniser, utterances, rank, n_processes).items():
                together[number] |= mine
        assert together == whole
    # Twelve clips, of which each epoch hears another version.
    versions = {}
    for heard in whole.values():
        for name, version in heard.items():
            versions.setdefault(name, []).append(version)
    assert all(one != other for one, other in versions.values())


def test_updates_are_planned_and_counted_with_the_durations_that_are_heard(recogniser, utterances):
    recipe = dataclasses.replace(ON, epochs=3.0, max_batch_seconds=3.0)
    job = Job(recogniser, utterances, [], recipe, batch_plan(recipe, 1), "float32")
    speeds = set()
    for update, planned in zip(
        updates_with_clips(job, 0, 0), run_updates(utterances, recipe), strict=True
    ):
        assert sorted(update.clips) == sorted(planned.clips)
        heard = []
        for _ in range(update.n_batches):
            lengths = next(update.batches)["n_samples"].tolist()
            assert len(lengths) * max(lengths) <= 3.0 * 16_000 or len(lengths) == 1
            heard += lengths
        seconds = [planned.durations[index] for index in update.clips]
        assert [length / 16_000 for length in heard] == pytest.approx(seconds, abs=1e-3)
        assert update.audio_seconds == pytest.approx(sum(heard) / 16_000, abs=0.01)
        speeds |= {utterances[index].duration / planned.durations[index] for index in planned.clips}
    assert {round(speed, 3) for speed in speeds} == set(SPEEDS)


def test_the_trial_runs_the_longest_batch_as_its_epoch_hears_it(recogniser, utterances):
    recipe = dataclasses.replace(ON, epochs=6.0, batch_per_gpu=1)
    job = prepared_job(recogniser, utterances, [], recipe, batch_plan(recipe, 1), "float32")
    longest = _planned_work(job).longest[0]
    assert longest.seconds == pytest.approx(utterances[-1].duration / 0.9)
    assert drawn_speed(utterances[-1], recipe, longest.epoch) == 0.9
    assert f"1 clips of up to {longest.seconds:.1f} s" in try_longest_batch(job)


def test_clips_that_stand_alone_are_told_with_the_longest_that_may_be_drawn(recogniser, utterances):
    recipe = dataclasses.replace(ON, max_batch_seconds=1.0)
    job = Job(recogniser, utterances, [], recipe, batch_plan(recipe, 1), "float32")
    longest = utterances[-1].duration / 0.9
    assert f"the longest has {longest:.1f} s" in job.printed()[-1]


def test_the_head_learns_at_a_rate_of_its_own_that_rises_and_falls_with_the_others(recogniser):
    model = recogniser.model
    optimizer = new_optimizer(model, 1e-4, 0.01, head_rate=1e-3)
    groups = optimizer.param_groups
    assert [group["lr"] for group in groups] == [1e-4, 1e-4, 1e-3, 1e-3]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0, 0.01, 0.0]
    assert [group.get("rate_factor") for group in groups] == [None, None, 10, 10]
    head = [values for group in groups[2:] for values in group["params"]]
    assert [id(values) for values in head] == [id(values) for values in model.lm_head.parameters()]
    n_parameters = sum(len(group["params"]) for group in groups)
    assert n_parameters == sum(values.requires_grad for values in model.parameters())
