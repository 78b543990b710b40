"""An overflow in fp16, and memory that runs out: in the trial, in training, in decoding."""

import dataclasses
import math

import pytest
import torch

from korean_asr import decoding, inference
from korean_asr.hardware import device_here
from korean_asr.manifest import read_manifest
from korean_asr.model import expanded_base_model, load_recogniser
from korean_asr.recipe import batch_plan
from korean_asr.training import loop, trial
from recipes import RECIPES

# Whole trainings, which later tests need, run beside these tests.
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("trained")]

# The sixth update has infinite gradients, while its losses are finite.
OVERFLOW = """
losses_of, n_calls = loop.clip_losses, 0
def overflowing(model, *arguments):
    global n_calls
    losses = losses_of(model, *arguments)
    n_calls += model.training
    # The first two calls are the trial of the longest batch.
    if n_calls == 8:
        losses.register_hook(lambda gradient: gradient * torch.inf)
    return losses
loop.clip_losses = overflowing
"""
# Memory for less than the waveforms of a batch, from the second call of a function on.
LITTLE_MEMORY = """
wrapped, n_calls = {name}, 0
def limited(*arguments):
    global n_calls
    n_calls += 1
    if n_calls == {call}:
        torch.cuda.empty_cache()
        n_bytes = torch.cuda.memory_allocated() + 2**22
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(n_bytes / total)
    return wrapped(*arguments)
{name} = limited
"""
NO_MEMORY = """
wrapped, n_calls = {name}, 0
def limited(*arguments):
    global n_calls
    n_calls += 1
    if n_calls == {call}:
        raise torch.OutOfMemoryError("pretended")
    return wrapped(*arguments)
{name} = limited
"""


def test_a_planted_overflow_lowers_the_scale_and_training_goes_on(
    options_in, few_updates, start, ended, used, json_of, stand_in, tmp_path
):
    ended(start(2, *options_in(tmp_path), *few_updates(used("fp16")), code=OVERFLOW))
    at = {number: tmp_path / "checkpoints" / f"checkpoint-{number}" for number in (4, 8, 12)}
    skipped = {number: json_of(at[number] / "progress.json")["n_skipped"] for number in at}
    states = {number: torch.load(at[number] / "optimizer.pt") for number in at}
    # Each update that is skipped halves the scale, and the first ones may overflow by themselves.
    assert skipped[4] < skipped[8] <= skipped[12] < 8
    if not stand_in:
        halvings = {number: math.log2(2**16 / states[number]["scaler"]["scale"]) for number in at}
        assert halvings == skipped
    assert json_of(tmp_path / "model" / "experiment.json")["updates"] == 12
    steps = states[12]["optimizer"]["state"][0]["step"]
    assert steps == 12 - skipped[12]


@pytest.mark.parametrize(
    ("name", "call"), [("trial.try_longest_batch", 1), ("loop.Updater.make", 6)]
)
def test_a_full_memory_in_training_ends_in_one_line_of_advice(
    options_in, few_updates, start, ended, used, stand_in, tmp_path, name, call
):
    code = (NO_MEMORY if stand_in else LITTLE_MEMORY).format(name=name, call=call)
    words = [*options_in(tmp_path), *few_updates(used("fp16"))]
    printed = ended(start(2, *words, code=code), status=1)
    assert "the GPU's memory is full" in printed and "halve --batch-per-gpu" in printed
    assert "Traceback" not in printed
    # What was saved before stays, and a smaller batch would go on from it.
    saved = (tmp_path / "checkpoints" / "checkpoint-4" / "complete").exists()
    assert saved == (name == "loop.Updater.make")


@pytest.fixture
def memory(stand_in, monkeypatch):
    """memory(share): allow so much of what the process has taken since the last call."""
    if stand_in:
        # In place of the memory: two clips do not fit.
        whole = inference.Passes._frames

        def limited(passes, batch):
            if len(batch) > 1:
                raise torch.OutOfMemoryError("pretended")
            return whole(passes, batch)

        yield lambda share: monkeypatch.setattr(inference.Passes, "_frames", limited)
        return

    def allow(share):
        peak = torch.cuda.max_memory_reserved()
        torch.cuda.empty_cache()
        held = torch.cuda.memory_reserved()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((held + share * (peak - held)) / total)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield allow
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_batch_that_exceeds_memory_in_decoding_is_halved(trained, memory):
    model = trained("float32")[0] / "model"
    recogniser = load_recogniser(str(model))
    clips = read_manifest(model / "split" / "train.jsonl")[:64]
    whole = decoding.decoded(recogniser, clips)
    memory(0.3)
    halved = decoding.decoded(recogniser, clips)
    assert halved.n_batches > whole.n_batches
    assert [made.problem for made in halved.hypotheses] == [None] * len(clips)
    texts = [[made.text for made in result.hypotheses] for result in (whole, halved)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("precision", ["fp16", "float32"])
def test_the_peak_of_training_is_within_a_tenth_of_what_the_trial_said(
    larger_base, trained, used, stand_in, monkeypatch, tmp_path, precision, accumulation
):
    clips = read_manifest(trained("cpu")[0] / "model" / "split" / "train.jsonl")
    clips = sorted(clips, key=lambda clip: -clip.duration)[: 32 * accumulation]
    recipe = dataclasses.replace(RECIPES["demo"], accumulation=accumulation, epochs=1.0)
    recogniser, _ = expanded_base_model(str(larger_base), recipe)
    plan = batch_plan(recipe, 1)
    peaks = []
    if stand_in:
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 10**9)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    job = loop.prepared_job(recogniser, clips, clips[:2], recipe, plan, used(precision))
    trial.try_longest_batch(job)
    said = trial.peak_memory(recogniser.model)
    make = loop.Updater.make

    def measured(updater, update):
        torch.cuda.reset_peak_memory_stats()
        make(updater, update)
        peaks.append(torch.cuda.max_memory_allocated())

    monkeypatch.setattr(loop.Updater, "make", measured)
    loop.train(job, tmp_path, lambda log: None)
    assert recogniser.model.device.type == device_here().type and len(peaks) == 4
    assert stand_in or max(peaks) == pytest.approx(said, rel=0.1)
