import os

import pytest
import torch

from korean_asr.errors import DataError, UsageError
from korean_asr.hardware import (
    has_bf16,
    in_precision,
    on_one_gpu_unless_torchrun,
    precision_here,
    refuse_unavailable,
    refuse_unusable_cards,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "advice"),
    [("fp16", "needs a GPU. Pass --precision bf16 or float32"), ("int4", "float32, fp16, bf16")],
)
def test_what_a_cpu_cannot_do_is_refused_with_advice(precision, advice):
    with pytest.raises(UsageError, match=advice):
        refuse_unavailable(precision, CPU)


def test_bf16_is_refused_exactly_where_the_cpu_lacks_it(monkeypatch):
    for here in (True, False):
        monkeypatch.setattr("korean_asr.hardware.has_bf16", lambda device, here=here: here)
        if here:
            refuse_unavailable("bf16", CPU)
        else:
            with pytest.raises(UsageError, match="CPU has none. Pass --precision float32"):
                refuse_unavailable("bf16", CPU)
    assert has_bf16(CPU) in (True, False)


@pytest.mark.parametrize(
    ("precision", "made"), [("float32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_a_layer_computes_in_the_precision_and_keeps_its_weights(precision, made):
    layer = torch.nn.Linear(4, 4)
    with in_precision(CPU, precision):
        assert layer(torch.ones(4)).dtype == made
    assert layer.weight.dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a CPU does")
@pytest.mark.parametrize(
    ("asked", "note"),
    [("fp16", "needs a GPU"), ("bf16", "this CPU has no bf16"), ("float32", "float32 on the CPU")],
)
def test_a_cpu_trains_in_float32_where_it_has_nothing_else_and_says_so(asked, note):
    precision, said = precision_here(asked)
    if asked == "bf16" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert (precision, said) == ("bf16", "bf16 on the CPU, loss in float32")
    else:
        assert precision == "float32" and note in said


@pytest.mark.parametrize(("visible", "used"), [(None, "0"), ("2,3", "2")])
def test_plain_python_uses_one_gpu_of_several_and_says_so(monkeypatch, visible, used):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    # Set first, so that the value before the test comes back after it.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "plain python uses one GPU of 2" in on_one_gpu_unless_torchrun()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == used


def test_torchrun_keeps_all_gpus_and_refuses_more_processes_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert on_one_gpu_unless_torchrun() is None
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="4 processes for 2 GPU"):
        on_one_gpu_unless_torchrun()


def test_convolutions_in_float32_are_not_rounded_to_tf32_on_a_gpu():
    assert torch.backends.cudnn.allow_tf32 is False


TWO_CARDS = """if [ "$1" = -L ]; then
echo "GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-0a)"
echo "GPU 1: NVIDIA GeForce RTX 3090 (UUID: GPU-0b)"
else echo "| NVIDIA-SMI 535.183.01   Driver Version: 535.183.01   CUDA Version: 12.2  |"; fi"""
MIG = """[ "$1" = -L ] || exit 0
echo "GPU 0: NVIDIA A100 80GB PCIe (UUID: GPU-0a)"
echo "  MIG 1g.10gb Device 0: (UUID: MIG-0b)"
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """nvidia_smi(script): put a program of this name on the path; torch sees no card."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    # Nothing else: the machine may have a card, and a program of this name.
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(script):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("script", "build", "chosen", "said"),
    [
        (TWO_CARDS, "13.0", None, "2 x NVIDIA GeForce RTX 3090. The driver's CUDA version is 12.2"),
        (TWO_CARDS, "13.0", None, f"that of torch {torch.__version__} is 13.0. Install"),
        (TWO_CARDS, None, "0,1", "none (a build for the CPU), and CUDA_VISIBLE_DEVICES is 0,1"),
        (TWO_CARDS, "13.0", "GPU-0a", "CUDA_VISIBLE_DEVICES is GPU-0a"),
        (MIG, "13.0", None, "1 x NVIDIA A100 80GB PCIe. The driver is not known"),
    ],
)  # fmt: skip
def test_cards_that_torch_cannot_use_are_named_with_both_versions_and_two_ways_out(
    nvidia_smi, monkeypatch, script, build, chosen, said
):
    nvidia_smi(script)
    monkeypatch.setattr(torch.version, "cuda", build)
    if chosen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    with pytest.raises(DataError) as refused:
        refuse_unusable_cards()
    for words in (said, "https://pytorch.org/get-started", 'CUDA_VISIBLE_DEVICES=""'):
        assert words in str(refused.value)


@pytest.mark.parametrize("chosen", ["", "-1", "NoDevFiles"])
def test_a_cpu_that_is_used_on_purpose_is_not_asked_about_cards(nvidia_smi, monkeypatch, chosen):
    nvidia_smi(TWO_CARDS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    refuse_unusable_cards()


@pytest.mark.parametrize(
    "script",
    [
        "exec /bin/sleep 30",
        "echo 'GPU 0: X'; exit 9",
        "echo 'No devices were found'",
        "printf '\\377'",
    ],
)
def test_an_nvidia_smi_that_fails_or_hangs_or_lists_no_card_stops_nothing(
    nvidia_smi, monkeypatch, script
):
    monkeypatch.setattr("korean_asr.hardware.NVIDIA_SMI_TIMEOUT_S", 0.2)
    refuse_unusable_cards()
    nvidia_smi(script)
    refuse_unusable_cards()


def test_cards_that_torch_sees_are_used(nvidia_smi, monkeypatch):
    nvidia_smi(TWO_CARDS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    refuse_unusable_cards()
