import dataclasses
import itertools
import json
import math
import traceback
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from korean_asr.decoding import error_rates
from korean_asr.errors import SharedError
from korean_asr.hardware import Sent, inputs_on
from korean_asr.metrics import SCORED_UNITS
from korean_asr.model import expanded_base_model
from korean_asr.recipe import batch_plan
from korean_asr.training import loop
from korean_asr.training.batches import (
    Collator,
    TrainingClips,
    epoch_updates,
    run_updates,
    updates_with_clips,
)
from korean_asr.training.checkpoints import COMPLETE_FILE, last_complete_checkpoint
from korean_asr.training.loop import (
    MAX_SKIPPED_IN_A_ROW,
    clip_losses,
    new_optimizer,
    prepared_job,
    train,
)
from korean_asr.training.trial import _planned_work, memory_used, try_longest_batch
from recipes import RECIPES

# Nothing is drawn at random, so that two ways of making the same update can be compared.
STILL = dataclasses.replace(
    RECIPES["demo"],
    attention_dropout=0.0,
    hidden_dropout=0.0,
    layerdrop=0.0,
    mask_time_prob=0.0,
    warmup_ratio=0.0,
    epochs=1.0,
    eval_steps=1,
    save_steps=1,
    learning_rate=1e-3,
)


def job(tiny_base, clips, validation=None, **values):
    recipe = dataclasses.replace(STILL, **values)
    recogniser, _ = expanded_base_model(str(tiny_base), recipe)
    for module in recogniser.model.modules():  # dropouts that no recipe names
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    plan = batch_plan(recipe, 1)
    return prepared_job(recogniser, clips, validation or clips[:2], recipe, plan, "float32")


def run(tiny_base, clips, folder, checkpoint=None, **values):
    wanted = job(tiny_base, clips, **values)
    return wanted.recogniser, train(wanted, folder, lambda log: None, checkpoint)


def collated(recogniser, clips, indices):
    """The batch of these clips as transformers' own model takes it, labels included."""
    batch = Collator(recogniser.feature_extractor)([clips[0, index] for index in indices])
    return {**inputs_on(recogniser.model.device, batch), "labels": batch["labels"].long()}


def first_update(tiny_base, clips, folder, **values):
    _, result = run(tiny_base, clips, folder, **values)
    return result.progress.log[0]["loss"], result.progress.log[0]["grad_norm"]


def test_loss_and_gradient_of_8x1_and_2x4_are_the_same(tiny_base, utterances, tmp_path):
    whole = first_update(
        tiny_base, utterances[:8], tmp_path / "8x1", batch_per_gpu=8, accumulation=1
    )
    parts = first_update(
        tiny_base, utterances[:8], tmp_path / "2x4", batch_per_gpu=2, accumulation=4
    )
    assert parts == pytest.approx(whole, rel=1e-3)


def test_micro_batches_by_seconds_give_the_loss_and_gradient_of_the_whole_update(
    tiny_base, utterances, tmp_path
):
    whole = first_update(tiny_base, utterances[:8], tmp_path / "whole")
    cut = first_update(tiny_base, utterances[:8], tmp_path / "cut", max_batch_seconds=2.5)
    assert cut == pytest.approx(whole, rel=1e-3)


def test_the_last_update_of_an_epoch_divides_by_the_clips_that_it_has(
    tiny_base, utterances, tmp_path
):
    _, result = run(tiny_base, utterances[:11], tmp_path, learning_rate=1e-12)  # 8 clips, then 3
    losses = [row["loss"] for row in result.progress.log if "loss" in row]
    mean = run(tiny_base, utterances[:11], tmp_path / "one", learning_rate=1e-12, batch_per_gpu=11)[
        1
    ].progress.log[0]
    assert (8 * losses[0] + 3 * losses[1]) / 11 == pytest.approx(mean["loss"], rel=1e-4)
    last = epoch_updates([clip.duration for clip in utterances[:11]], STILL, 0)[1]
    alone = job(tiny_base, [utterances[index] for index in last])
    model, clips = (
        alone.recogniser.model.train(),
        TrainingClips(alone.clips, alone.recogniser, STILL),
    )
    batch = Collator(alone.recogniser.feature_extractor)([clips[0, i] for i in range(3)])
    clip_losses(model, batch, model.config.pad_token_id, "float32").mean().backward()
    norms = [values.grad.norm() for values in model.parameters() if values.grad is not None]
    row = next(row for row in result.progress.log if row["step"] == 2)
    assert (len(last), row["grad_norm"]) == (
        3,
        pytest.approx(torch.stack(norms).norm().item(), rel=1e-3),
    )


def test_the_losses_are_those_of_the_model_itself(tiny_base, utterances):
    model = job(tiny_base, utterances).recogniser.model.eval()
    recogniser, _ = expanded_base_model(str(tiny_base), STILL)
    clips = TrainingClips(utterances, recogniser, STILL)
    batch = Collator(recogniser.feature_extractor)([clips[0, i] for i in range(8)])
    with torch.inference_mode():
        losses = clip_losses(model, batch, model.config.pad_token_id, "float32")
        assert losses.shape == (8,)
        whole = collated(recogniser, clips, range(8))
        assert losses.mean().item() == pytest.approx(model(**whole).loss.item(), rel=1e-5)
        alone = collated(recogniser, clips, [3])
        assert losses[3].item() == pytest.approx(model(**alone).loss.item(), rel=1e-4)


def test_a_label_longer_than_the_frames_costs_nothing_and_breaks_nothing(tiny_base, utterances):
    wanted = job(tiny_base, [dataclasses.replace(utterances[0], text="가" * 60), utterances[1]])
    clips = TrainingClips(wanted.clips, wanted.recogniser, STILL)
    batch = Collator(wanted.recogniser.feature_extractor)([clips[0, 0], clips[0, 1]])
    losses = clip_losses(
        wanted.recogniser.model, batch, wanted.recogniser.model.config.pad_token_id, "float32"
    )
    losses.sum().backward()
    assert losses[0] == 0 < losses[1]
    gradients = [
        values.grad for values in wanted.recogniser.model.parameters() if values.grad is not None
    ]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_bf16_runs_the_network_in_bf16_and_the_loss_in_float32(tiny_base, utterances):
    wanted = job(tiny_base, utterances)
    model = wanted.recogniser.model.eval()
    seen = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    clips = TrainingClips(utterances[:4], wanted.recogniser, STILL)
    batch = Collator(wanted.recogniser.feature_extractor)([clips[0, i] for i in range(4)])
    with torch.inference_mode():
        exact, half = (
            clip_losses(model, batch, model.config.pad_token_id, p) for p in ("float32", "bf16")
        )
    assert seen == [torch.float32, torch.bfloat16]
    assert half.dtype == torch.float32
    assert half.tolist() == pytest.approx(exact.tolist(), rel=0.05)
    assert not torch.equal(half, exact)


def test_validation_is_in_float32_as_script_3_is_whatever_training_is(
    tiny_base, utterances, tmp_path
):
    wanted = dataclasses.replace(job(tiny_base, utterances, batch_per_gpu=4), precision="bf16")
    seen = set()
    wanted.recogniser.model.lm_head.register_forward_hook(
        lambda head, _, logits: seen.add((head.training, logits.dtype))
    )
    train(wanted, tmp_path, lambda log: None)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_ends_in_the_model_of_a_plain_loop(tiny_base, utterances, tmp_path, frozen):
    """Three updates with weight decay, of one clip and one parameter at a time."""
    values = {
        "batch_per_gpu": 4,
        "weight_decay": 0.01,
        "freeze_feature_encoder": frozen,
        "final_model": "last",
    }
    ours, result = run(tiny_base, utterances, tmp_path, **values)
    plain = job(tiny_base, utterances, **values)
    model, recipe, clips = (
        plain.recogniser.model.train(),
        plain.recipe,
        TrainingClips(utterances, ours, plain.recipe),
    )
    optimizer = torch.optim.AdamW(
        new_optimizer(model, recipe.learning_rate, recipe.weight_decay).param_groups,
        foreach=False,
        fused=False,
    )
    losses, durations = [], [clip.duration for clip in utterances]
    for number, indices in enumerate(epoch_updates(durations, recipe, 0)):
        each = [model(**collated(ours, clips, [index])).loss for index in indices]
        (sum(each) / len(each)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(number, plain.n_updates)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(sum(loss.item() for loss in each) / len(each))
    assert len(losses) == 3
    assert [row["loss"] for row in result.progress.log if "loss" in row] == pytest.approx(
        losses, rel=1e-4
    )
    batch = collated(ours, clips, range(4))
    with torch.inference_mode():
        logits = [
            network.eval()(batch["input_values"], batch["attention_mask"]).logits
            for network in (ours.model, model)
        ]
    torch.testing.assert_close(*logits, atol=1e-3, rtol=1e-3)


def test_training_moves_the_new_rows_and_leaves_the_frozen_encoder(tiny_base, utterances, tmp_path):
    before = expanded_base_model(str(tiny_base), STILL)[0].model
    recogniser, _ = run(tiny_base, utterances, tmp_path)
    after = recogniser.model.state_dict()
    for name, value in before.state_dict().items():
        if "feature_extractor" in name:
            assert torch.equal(after[name], value), name
    assert (after["lm_head.weight"][-4:] != before.state_dict()["lm_head.weight"][-4:]).any(1).all()


RANDOM = {
    "batch_per_gpu": 4,
    "epochs": 2.0,
    "layerdrop": 0.5,
    "mask_time_prob": 0.2,
    "hidden_dropout": 0.2,
    "speeds": (0.9, 1.0, 1.1),
    "gains": (-6.0, 6.0),
    "mask_feature_prob": 0.2,
    "head_learning_rate": 5e-3,
}


def weights(recogniser):
    return {name: value.clone() for name, value in recogniser.model.state_dict().items()}


@pytest.mark.parametrize(
    ("final_model", "base_share"), [("best", 0.0), ("last", 0.0), ("average", 0.3)]
)
def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(
    tiny_base, utterances, tmp_path, final_model, base_share
):
    values = {**RANDOM, "final_model": final_model, "base_share": base_share}
    values["checkpoints_kept"] = 6  # 12 clips: 6 updates
    whole, uninterrupted = run(tiny_base, utterances, tmp_path / "whole", **values)
    for number in (1, 4, 6):
        checkpoint = tmp_path / "whole" / f"checkpoint-{number}"
        resumed, result = run(
            tiny_base, utterances, tmp_path / "whole", checkpoint=checkpoint, **values
        )
        assert (result.resumed_from, result.progress.update) == (number, 6)
        assert result.final_update == uninterrupted.final_update
        assert result.final == uninterrupted.final
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_two_runs_of_one_seed_are_the_same_and_another_seed_is_another_run(
    tiny_base, utterances, tmp_path
):
    one, other, third = (
        run(tiny_base, utterances, tmp_path / str(number), **RANDOM, seed=seed)[
            0
        ].model.lm_head.weight
        for number, seed in enumerate((7, 7, 8))
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_the_final_model_is_the_checkpoint_with_the_lowest_validation_cer(
    tiny_base, utterances, tmp_path
):
    values = {"batch_per_gpu": 4, "epochs": 4.0, "learning_rate": 0.02}
    recogniser, result = run(tiny_base, utterances, tmp_path, **values, final_model="best")
    scores = {row["step"]: row["eval_cer"] for row in result.progress.log if "eval_cer" in row}
    assert len(set(scores.values())) > 1
    best = min(scores, key=lambda update: (scores[update], update))
    assert result.final_update == result.progress.best_update == best
    assert result.validation == error_rates(recogniser, utterances[:2])
    assert (tmp_path / f"checkpoint-{best}" / COMPLETE_FILE).is_file()
    last, result = run(tiny_base, utterances, tmp_path / "last", **values, final_model="last")
    assert result.final_update == 12
    assert result.validation == error_rates(last, utterances[:2])


def test_of_equal_checkpoints_the_first_is_the_best(tiny_base, utterances, tmp_path):
    _, result = run(tiny_base, utterances, tmp_path, batch_per_gpu=4, learning_rate=1e-12)
    assert (result.final_update, result.progress.update) == (1, 3)


def test_old_checkpoints_go_but_the_last_ones_and_the_best_stay(tiny_base, utterances, tmp_path):
    (tmp_path / "checkpoint-1").mkdir()  # half written by a run that was killed
    run(tiny_base, utterances, tmp_path, batch_per_gpu=2, learning_rate=1e-12, checkpoints_kept=2)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {
        "checkpoint-1",
        "checkpoint-5",
        "checkpoint-6",
    }
    assert all((path / COMPLETE_FILE).is_file() for path in tmp_path.glob("checkpoint-*"))


def test_the_log_is_kept_at_each_row(tiny_base, utterances, tmp_path):
    kept = []
    wanted = job(tiny_base, utterances, batch_per_gpu=4)

    def keep(progress):
        best = progress.best_update
        kept.append(([row["step"] for row in progress.log], best is not None))

    train(wanted, tmp_path, keep)
    # The checkpoint of an evaluation is noted before the curve is drawn.
    steps = [1, 1, 2, 2, 3, 3]
    assert kept == [(steps[:n], n > 1) for n in range(7)]


def test_the_loss_of_validation_is_that_of_training_without_dropout(
    tiny_base, utterances, tmp_path
):
    values = {"batch_per_gpu": 4, "final_model": "last"}
    recogniser, result = run(tiny_base, utterances, tmp_path, **values)
    clips = TrainingClips(utterances[:2], recogniser, STILL)
    batch = Collator(recogniser.feature_extractor)([clips[0, 0], clips[0, 1]])
    model = recogniser.model.eval()
    with torch.inference_mode():
        losses = clip_losses(model, batch, model.config.pad_token_id, "float32")
    row = result.progress.log[-1]
    assert row["eval_loss"] == pytest.approx(losses.mean().item(), rel=1e-4)
    assert "loss" not in result.validation


def test_a_run_of_an_earlier_version_without_validation_loss_goes_on(
    tiny_base, utterances, tmp_path
):
    values = {"batch_per_gpu": 4, "checkpoints_kept": 3}
    run(tiny_base, utterances, tmp_path, **values)
    checkpoint = tmp_path / "checkpoint-2"
    progress = json.loads((checkpoint / "progress.json").read_text())
    for row in progress["log"]:
        row.pop("eval_loss", None)
    (checkpoint / "progress.json").write_text(json.dumps(progress))
    _, result = run(tiny_base, utterances, tmp_path, checkpoint, **values)
    rows = [row for row in result.progress.log if "eval_cer" in row]
    assert ["eval_loss" in row for row in rows] == [False, False, True]


def test_evaluation_in_training_gives_the_rates_of_decoding(tiny_base, utterances, tmp_path):
    recogniser, result = run(tiny_base, utterances, tmp_path)
    assert result.validation == error_rates(recogniser, utterances[:2])
    assert result.validation.keys() == SCORED_UNITS.keys()


def test_the_log_tells_padding_speed_and_time_left(tiny_base, utterances, tmp_path):
    clips = [
        dataclasses.replace(clip, duration=duration)
        for clip, duration in zip(utterances, [1, 1, 1, 5], strict=False)
    ]
    _, result = run(tiny_base, clips, tmp_path, batch_per_gpu=4, epochs=2.0)
    row = result.progress.log[0]
    assert row["padding_waste"] == 0.6  # 8 of 20 s
    assert row["audio_seconds_per_second"] > 0 and row["seconds_left"] >= 0
    assert (row["step"], row["epoch"], row["nonfinite_updates"]) == (1, 1.0, 0)


def spoil(monkeypatch, ids):
    """Make the waveforms of the clips with these ids NaN, as a fault behind the checks would."""
    original = TrainingClips.__getitem__

    def spoiled(self, drawn):
        clip = original(self, drawn)
        if self.clips[drawn[1]].id in ids:
            clip["waveform"] = np.full_like(clip["waveform"], np.nan)
        return clip

    monkeypatch.setattr(TrainingClips, "__getitem__", spoiled)


def test_a_loss_that_is_no_number_is_counted_named_and_changes_nothing(
    tiny_base, utterances, tmp_path, monkeypatch, capsys
):
    wanted = job(tiny_base, utterances, batch_per_gpu=4)
    spoil(monkeypatch, {"clip_11"})  # the longest, which comes first
    result = train(wanted, tmp_path, lambda log: None)
    progress = result.progress
    assert (progress.n_nonfinite, progress.n_skipped, progress.n_skipped_in_a_row) == (1, 1, 0)
    assert all(values.isfinite().all() for values in wanted.recogniser.model.parameters())
    printed = capsys.readouterr().out
    assert printed.count("clip_11") == 1 and "NaN or infinite" in printed


def test_too_many_losses_in_a_row_stop_the_run_with_advice(
    tiny_base, utterances, tmp_path, monkeypatch
):
    wanted = job(
        tiny_base, utterances, batch_per_gpu=2, epochs=10.0, eval_steps=100, save_steps=100
    )
    spoil(monkeypatch, {clip.id for clip in utterances})
    with pytest.raises(
        SharedError, match=f"{MAX_SKIPPED_IN_A_ROW} updates in a row.*--learning-rate"
    ):
        train(wanted, tmp_path, lambda log: None)


def test_a_resumed_run_counts_bad_updates_as_an_uninterrupted_one(
    tiny_base, utterances, tmp_path, monkeypatch
):
    """Checkpoints are exact, although an update is counted after the next one is queued."""
    spoil(monkeypatch, {"clip_11", "clip_04"})
    values = {**RANDOM, "final_model": "last", "checkpoints_kept": 6, "eval_steps": 3}
    whole, uninterrupted = run(tiny_base, utterances, tmp_path, **values)
    kept = [
        json.loads((tmp_path / f"checkpoint-{number}" / "progress.json").read_text("utf-8"))
        for number in range(1, 7)
    ]
    assert [one["update"] for one in kept] == [1, 2, 3, 4, 5, 6]
    assert 2 <= uninterrupted.progress.n_skipped == kept[-1]["n_skipped"] <= 4
    for number in (1, 2, 4):
        checkpoint = tmp_path / f"checkpoint-{number}"
        resumed, result = run(tiny_base, utterances, tmp_path, checkpoint=checkpoint, **values)
        for name in ("n_nonfinite", "n_skipped", "n_skipped_in_a_row"):
            assert getattr(result.progress, name) == getattr(uninterrupted.progress, name), name
        for name, value in weights(whole).items():
            assert torch.equal(value, weights(resumed)[name]), name


def test_a_gradient_that_overflows_lowers_the_scale_of_fp16_and_training_goes_on(
    tiny_base, utterances, tmp_path
):
    values = {"batch_per_gpu": 4, "epochs": 4.0, "eval_steps": 20, "checkpoints_kept": 12}
    made = job(tiny_base, utterances, **values, final_model="last")
    wanted, planted, seen = dataclasses.replace(made, precision="fp16"), 10, []

    def overflow(gradient):
        seen.append(wanted.recogniser.model.lm_head.bias.detach().clone())
        return gradient * (torch.inf if len(seen) == planted else 1)

    with wanted.recogniser.model.lm_head.bias.register_hook(overflow):
        result = train(wanted, tmp_path, lambda log: None)
    scales = [
        torch.load(tmp_path / f"checkpoint-{number}" / "optimizer.pt")["scaler"]["scale"]
        for number in range(1, 13)
    ]
    # The losses of this untrained model overflow at the first scales too.
    assert scales[-1] == scales[planted - 1] == scales[planted - 2] / 2
    halved = [new < old for old, new in zip([2.0**16, *scales], scales, strict=False)]
    assert (result.progress.n_skipped, result.progress.n_nonfinite) == (sum(halved), 0)
    biases = [*seen, wanted.recogniser.model.lm_head.bias]
    changed = [not torch.equal(*pair) for pair in zip(biases, biases[1:], strict=False)]
    assert changed == [not smaller for smaller in halved]


def test_an_update_is_queued_before_the_one_before_it_is_read(
    tiny_base, utterances, tmp_path, monkeypatch
):
    order = []
    step, read = torch.optim.AdamW.step, Sent.read
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: (order.append("step"), step(self))[1]
    )
    monkeypatch.setattr(Sent, "read", lambda self: (order.append("read"), read(self))[1])
    values = {"batch_per_gpu": 2, "eval_steps": 4, "save_steps": 4}
    run(tiny_base, utterances, tmp_path, **values)
    # Six updates. Two evaluations read all that was queued.
    assert order == [
        *("step", "step", "read", "step", "read", "step", "read", "read"),
        *("step", "step", "read", "read"),
    ]


def test_the_loop_reads_no_value_of_the_device_while_it_queues_an_update(
    tiny_base, utterances, tmp_path
):
    readers = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                files = [frame.filename for frame in traceback.extract_stack()[:-1]]
                readers.append(next(file for file in reversed(files) if "/torch/" not in file))
            return function(*arguments, **(named or {}))

    wanted = job(tiny_base, utterances, batch_per_gpu=4, eval_steps=9, save_steps=9, workers=0)
    with Watch():
        train(wanted, tmp_path, lambda log: None)
        torch.ones(1).item()
    # The watch works: it saw this file.
    assert __file__ in readers
    assert [file for file in readers if "korean_asr/training/loop" in file] == []


GB = 10**9


def stub_gpu(monkeypatch, peak, free, total=24 * GB):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2 * GB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, total))


def test_the_peak_of_memory_is_told_beside_what_is_free(monkeypatch):
    stub_gpu(monkeypatch, 9 * GB, 20 * GB)
    # 8 bytes of optimizer state a weight: 1 GB.
    model = torch.nn.Linear(125_000, 1_000, bias=False, device="meta")
    told = ", peak 10.0 GB of 22.0 GB free (24.0 GB in all) on 1 GPU(s), optimizer included"
    assert memory_used(model) == told


def test_a_peak_beyond_what_other_programs_leave_stops_the_run_with_advice(monkeypatch):
    stub_gpu(monkeypatch, 9 * GB, 7 * GB)
    model = torch.nn.Linear(125_000, 1_000, bias=False, device="meta")
    with pytest.raises(SharedError) as refused:
        memory_used(model)
    message = str(refused.value)
    assert "needs 10.0 GB with the optimizer, and 9.0 of 24.0 GB are free" in message
    for advice in ("--batch-per-gpu", "--accumulation", "--gradient-checkpointing true"):
        assert advice in message
    assert "other programs on this GPU" in message and "\n" not in message


def test_the_longest_batch_is_tried_without_changing_the_model(tiny_base, utterances):
    wanted = job(tiny_base, utterances, batch_per_gpu=4, epochs=3.0)
    before = weights(wanted.recogniser)
    line = try_longest_batch(wanted)
    assert f"4 clips of up to {max(clip.duration for clip in utterances):.1f} s" in line
    assert all(
        torch.equal(before[name], value) for name, value in weights(wanted.recogniser).items()
    )
    assert all(values.grad is None for values in wanted.recogniser.model.parameters())


def test_the_longest_first_and_following_micro_batches_are_tried_in_turn(
    tiny_base, utterances, monkeypatch
):
    """The first begins without gradients, and the next one adds to those that it leaves."""
    wanted = job(tiny_base, utterances, batch_per_gpu=2, accumulation=2, epochs=1.0)
    tried, losses_of = [], loop.clip_losses

    def watched(model, batch, *others):
        has_gradients = any(values.grad is not None for values in model.parameters())
        tried.append((max(batch["n_samples"].tolist()) / 16_000, has_gradients))
        return losses_of(model, batch, *others)

    monkeypatch.setattr(loop, "clip_losses", watched)
    try_longest_batch(wanted)
    first, later = (
        max(
            len(batch["n_samples"]) * max(batch["n_samples"].tolist()) / 16_000 / 2
            for update in updates_with_clips(wanted, 0, 0)
            for number, batch in enumerate(itertools.islice(update.batches, update.n_batches))
            if (number > 0) == follows
        )
        for follows in (False, True)
    )
    # The first once more: its time is that without the warm-up.
    one, two = (pytest.approx(first), False), (pytest.approx(later), True)
    assert tried == [one, two, one]


def test_the_time_of_the_run_is_that_of_its_padded_audio_at_the_speed_of_the_trial(
    tiny_base, utterances, monkeypatch
):
    wanted = job(tiny_base, utterances, batch_per_gpu=4, accumulation=1, gpus=1, epochs=3.0)
    longest, padded = utterances[-1].duration * 4, 0.0
    for update in updates_with_clips(wanted, 0, 0):
        padded += update.padded_seconds
    for seconds, said in ((0.5, "seconds"), (60, "minutes"), (2_000, "hours"), (40_000, "days")):
        monkeypatch.setattr("korean_asr.training.trial._tried", lambda *_, s=seconds: float(s))
        line = try_longest_batch(wanted)
        unit = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}[said]
        of_run = f"{seconds / longest * padded / unit:.1f} {said}"
        assert f"training: 9 updates, about {of_run}; evaluations and checkpoints" in line
        assert ("over a day" in line) == (said == "days")
    for way in ("--clips-before-split 800", "--epochs 1", "a GPU (this run uses the CPU)"):
        assert way in line


def test_the_time_of_several_processes_is_that_of_the_one_with_most_to_do(tiny_base, utterances):
    wanted = job(tiny_base, utterances, batch_per_gpu=2, accumulation=1, gpus=2, epochs=1.0)
    both = dataclasses.replace(wanted, plan=batch_plan(wanted.recipe, 2))
    alone, shared = (_planned_work(one).padded_seconds for one in (wanted, both))
    assert alone / 2 < shared < alone


@pytest.mark.parametrize(("workers", "n_local"), [(0, 1), (1, 1), (4, 1), (4, 2)])
def test_batches_that_do_not_fit_into_shared_memory_stop_the_run_before_it_starts(
    tiny_base, utterances, monkeypatch, workers, n_local
):
    wanted = job(tiny_base, utterances, batch_per_gpu=2, accumulation=1, gpus=1, workers=workers)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(n_local))
    sizes = [
        2 * max(utterances[index].duration for index in update.clips) * 16_000 * 4
        for update in run_updates(utterances, wanted.recipe)
    ]
    held = 2 * workers + 2
    needed = n_local * max(sum(sizes[i : i + held]) for i in range(len(sizes)))
    for spare in (1, -1):
        disk = SimpleNamespace(f_bavail=round(needed) + spare, f_frsize=1)
        monkeypatch.setattr("os.statvfs", lambda folder, disk=disk: disk)
        if workers == 0 or spare > 0:
            assert "longest batch" in try_longest_batch(wanted)
            continue
        with pytest.raises(SharedError) as refused:
            try_longest_batch(wanted)
        message = str(refused.value)
        assert message.startswith(f"{workers} workers of {n_local} process(es) hold up to ")
        assert "--workers 0" in message and "docker run --shm-size=1g" in message
        assert f"and {disk.f_bavail / 1e6:.0f} MB are free" in message


def test_a_longest_batch_without_a_finite_loss_stops_before_training(
    tiny_base, utterances, monkeypatch
):
    wanted = job(tiny_base, utterances)
    spoil(monkeypatch, {"clip_11"})
    with pytest.raises(SharedError, match="clip_11"):
        try_longest_batch(wanted)


@pytest.mark.parametrize("values", [{}, {"layerdrop": 0.5}, {"mask_time_prob": 0.2}])
def test_gradient_checkpointing_changes_memory_and_not_the_update(
    tiny_base, utterances, tmp_path, values
):
    plain = first_update(tiny_base, utterances[:8], tmp_path / "plain", **values)
    saving = first_update(
        tiny_base, utterances[:8], tmp_path / "saving", gradient_checkpointing=True, **values
    )
    assert saving == pytest.approx(plain, rel=1e-5)


def test_the_learning_rate_is_that_of_transformers(tiny_base):
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = get_linear_schedule_with_warmup(optimizer, 50, 1_000)
    for update in range(1_000):
        assert RECIPES["v3"].learning_rate_at(update, 1_000) == pytest.approx(
            schedule.get_last_lr()[0]
        )
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("n_done", [0, 1])
def test_the_heads_learning_rate_follows_the_others_also_after_a_stop(
    tiny_base, utterances, tmp_path, monkeypatch, n_done
):
    values = {"batch_per_gpu": 4, "warmup_steps": 1, "head_learning_rate": 1e-2}
    checkpoint = None
    if n_done:
        run(tiny_base, utterances, tmp_path, **values)
        checkpoint = tmp_path / "checkpoint-1"
    seen, step = [], torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self: (seen.append([group["lr"] for group in self.param_groups]), step(self))[1],
    )
    _, result = run(tiny_base, utterances, tmp_path, checkpoint, **values)
    # Three updates, of which the first warms up.
    rates = [0, 1e-3, 5e-4]
    assert seen == [pytest.approx([rate, rate, 10 * rate, 10 * rate]) for rate in rates[n_done:]]
    logged = [row["learning_rate"] for row in result.progress.log if "loss" in row]
    assert logged == pytest.approx(rates)


def test_biases_and_normalisations_do_not_decay_and_the_frozen_encoder_is_not_optimised(tiny_base):
    recogniser, _ = expanded_base_model(str(tiny_base), RECIPES["v7"])
    decaying, still = new_optimizer(recogniser.model, 2e-4, 0.005).param_groups
    assert (decaying["weight_decay"], still["weight_decay"]) == (0.005, 0.0)
    optimised = {id(values) for group in (decaying, still) for values in group["params"]}
    for name, values in recogniser.model.named_parameters():
        assert (id(values) in optimised) == ("feature_extractor" not in name), name
        if name.endswith("bias") or "layer_norm" in name:
            assert all(values is not other for other in decaying["params"]), name


def test_a_run_that_was_interrupted_at_its_very_end_has_nothing_left_to_train(
    tiny_base, utterances, tmp_path
):
    whole, _ = run(tiny_base, utterances, tmp_path, final_model="last")
    checkpoint, _ = last_complete_checkpoint(tmp_path)
    again, result = run(tiny_base, utterances, tmp_path, checkpoint=checkpoint, final_model="last")
    assert result.resumed_from == result.progress.update == 2
    assert math.isfinite(result.validation["cer"])
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())


def test_a_checkpoint_of_other_clips_is_refused_since_the_order_would_be_another(
    tiny_base, utterances, tmp_path
):
    run(tiny_base, utterances, tmp_path, batch_per_gpu=4)
    with pytest.raises(SharedError, match="clips have changed since .*checkpoint-1 was written"):
        run(
            tiny_base,
            utterances[1:],
            tmp_path,
            checkpoint=tmp_path / "checkpoint-1",
            batch_per_gpu=4,
        )
