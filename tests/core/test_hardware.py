import os

import pytest
import torch

from korean_asr.errors import UsageError
from korean_asr.hardware import (
    has_bf16,
    in_precision,
    on_one_gpu_unless_torchrun,
    precision_here,
    refuse_unavailable,
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
