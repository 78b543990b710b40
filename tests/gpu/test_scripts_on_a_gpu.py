"""Scripts 2, 3 and 4 on a GPU: every number format, resuming, NCCL, and which GPUs are used."""

import os
import re
import signal
import time
import warnings

import pytest
import torch
from safetensors.torch import load_file

from korean_asr.hardware import device_here
from korean_asr.manifest import REPOSITORY
from korean_asr.model import load_recogniser
from korean_asr.training.loop import clip_losses

pytestmark = pytest.mark.gpu

BASE = REPOSITORY / "data" / "demo" / "base_model" / "model.safetensors"
PRECISIONS = ("fp16", "bf16", "float32")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_model_trained_on_the_gpu_scores_as_one_trained_on_the_cpu(
    trained, used, json_of, stand_in, precision
):
    folder, printed = trained(used(precision))
    on_cpu, _ = trained("cpu")
    assert f"precision: {used(precision)} on the {'CPU' if stand_in else 'GPU'}" in printed
    ours, theirs = (
        json_of(one / "model" / "experiment.json")["validation"]["cer"] for one in (folder, on_cpu)
    )
    assert abs(ours - theirs) < 0.02


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scripts_3_and_4_score_on_the_gpu_in_every_number_format(
    trained, used, processed, start, ended, json_of, tmp_path, precision
):
    model = trained(used(precision))[0] / "model"
    options = ["--model", model, "--precision", used(precision), "--output", tmp_path]
    foreign = ["--manifest", processed / "foreign.jsonl"]
    for process in (start(3, *options), start(4, *options, *foreign)):
        ended(process)
    for name in ("korean", "foreign"):
        results = json_of(tmp_path / f"{name}.json")
        assert results["decoding"]["precision"] == used(precision)
        assert results["n_unreadable"] == 0
        assert 0 < results["scores"]["cer"]["rate"] < 0.6


def test_the_text_in_float32_is_the_cpus_text_on_every_clip(
    trained, processed, start, ended, rows_of, tmp_path
):
    model = trained("float32")[0] / "model"
    running = [
        start(
            number, "--model", model, "--output", tmp_path / device, *more, on_cpu=device == "cpu"
        )
        for number, more in ((3, []), (4, ["--manifest", processed / "foreign.jsonl"]))
        for device in ("gpu", "cpu")
    ]
    for process in running:
        ended(process)
    for name in ("korean", "foreign"):
        on_gpu, on_cpu = (
            {row["id"]: row["pred_text"] for row in rows_of(tmp_path / device / f"{name}.jsonl")}
            for device in ("gpu", "cpu")
        )
        assert len(on_gpu) > 10 and on_gpu == on_cpu


def test_one_process_of_torchrun_trains_and_decodes_over_nccl(
    options_in, few_updates, start, ended, json_of, used, stand_in, tmp_path
):
    words = [*options_in(tmp_path), *few_updates(used("fp16"))]
    printed = ended(start(2, *words, n_processes=1, NCCL_DEBUG="VERSION"))
    assert stand_in or "NCCL version" in printed
    assert json_of(tmp_path / "model" / "experiment.json")["updates"] == 12
    assert "ERROR" not in printed and "Traceback" not in printed


def killed_at(process, checkpoint):
    """Kill the script and its children as soon as the checkpoint is complete."""
    end = time.monotonic() + 200
    while not (checkpoint / "complete").exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kernels_that_add_in_any_order(model_folder, precision):
    """What torch says of the kernels of one update that have no deterministic form."""
    model = load_recogniser(str(model_folder)).model.to(device_here()).train()
    batch = {
        "input_values": torch.randn(2, 32_000),
        "n_samples": torch.tensor([32_000, 24_000]),
        "labels": torch.randint(1, 20, (2, 12), dtype=torch.int32),
    }
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clip_losses(model, batch, model.config.pad_token_id, precision).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    said = [str(one.message) for one in caught if "deterministic" in str(one.message)]
    return sorted({re.split(r"[\s(]", message.strip())[0] for message in said})


def test_a_killed_and_resumed_run_in_fp16_ends_in_the_weights_of_an_uninterrupted_one(
    options_in, few_updates, start, ended, used, tmp_path
):
    """Where a kernel adds in any order, a warning names it and says how far the weights differ."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = few_updates(used("fp16"))
    uninterrupted = start(2, *options_in(whole), *words)
    killed_at(start(2, *options_in(killed), *words), killed / "checkpoints" / "checkpoint-4")
    assert not (killed / "model" / "model.safetensors").exists()
    assert "continuing from" in ended(start(2, *options_in(killed), *words))
    ended(uninterrupted)
    name = "checkpoints/checkpoint-12/model.safetensors"
    ours, theirs, base = load_file(killed / name), load_file(whole / name), load_file(BASE)
    different = [key for key in theirs if not torch.equal(ours[key], theirs[key])]
    if not different:
        return
    same_shape = [key for key in theirs if key in base and base[key].shape == theirs[key].shape]
    apart, moved = (
        sum(float(((one[key] - other[key]) ** 2).sum()) for key in same_shape) ** 0.5
        for one, other in ((ours, theirs), (base, theirs))
    )
    kernels = ", ".join(kernels_that_add_in_any_order(whole / "model", used("fp16")))
    warnings.warn(
        f"{len(different)} of {len(theirs)} tensors differ, by {apart / moved:.2e} of what "
        f"training changed. Without a deterministic form: {kernels}",
        stacklevel=1,
    )
    assert apart < 0.05 * moved


def test_plain_python_uses_one_gpu_of_several(several_gpus, trained):
    several_gpus(2)
    assert "plain python uses one GPU of" in trained("fp16")[1]


def test_torchrun_uses_the_gpus_that_cuda_visible_devices_names(
    several_gpus, options_in, few_updates, start, ended, tmp_path
):
    several_gpus(4)
    words = [*options_in(tmp_path), *few_updates("fp16"), "--check"]
    two = {"CUDA_VISIBLE_DEVICES": "2,3"}
    printed = ended(start(2, *words, n_processes=2, **two))
    assert "on 2 GPU(s)" in printed
