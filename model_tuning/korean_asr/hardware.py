"""Where the code runs: which process of torchrun, on which device, in which number format."""

import os
from datetime import timedelta
from typing import Any

import torch

from korean_asr.errors import UsageError
from korean_asr.recipe import PRECISIONS

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def in_precision(device: torch.device, precision: str) -> torch.autocast:
    """A context in which layers compute in the precision where that is safe, by torch's own list of operations."""
    return torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bf16: an RTX 30 or newer; a CPU with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def device_here() -> torch.device:
    """Where models are evaluated: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def refuse_unavailable(precision: str, device: torch.device) -> None:
    """Raises UsageError with advice for a precision that is none, or that this device has not."""
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: choose one of {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(
            "--precision fp16 needs a GPU. Pass --precision bf16 or float32. · fp16은 GPU에서만 됩니다."
        )
    if precision == "bf16" and not has_bf16(device):
        here = (
            "GPU has none. Pass --precision fp16"
            if device.type == "cuda"
            else "CPU has none. Pass --precision float32"
        )
        raise UsageError(f"--precision bf16: this {here}. · 이 장치는 bf16을 지원하지 않습니다.")


def n_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Over all machines."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process is the one that prints and writes: rank 0 over all machines."""
    return rank() == 0


def on_one_gpu_unless_torchrun() -> str | None:
    """Under plain python show torch one GPU only, and return the note about it; call before CUDA is used.

    One process works on one GPU; the others would stand idle and look used. Raises UsageError where
    torchrun starts more processes than there are GPUs.
    """
    n_gpus = torch.cuda.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if n_gpus and here > n_gpus:
        raise UsageError(f"{here} processes for {n_gpus} GPU(s): use --nproc_per_node={n_gpus}.")
    if "WORLD_SIZE" in os.environ or n_gpus < 2:
        return None
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return f"plain python uses one GPU of {n_gpus}; 'torchrun --nproc_per_node={n_gpus}' uses all. · GPU 하나만 씁니다."


def join_processes() -> None:
    """Under torchrun, meet the other processes, each on its own GPU (nccl) or on the CPU (gloo)."""
    if n_processes() == 1 or torch.distributed.is_initialized():
        return
    on_gpu = torch.cuda.is_available()
    # The others wait while the first looks at all clips and writes checkpoints, on a slow disk for minutes.
    timeout = timedelta(hours=1)
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)


def from_first(value: Any) -> Any:
    """The first process's value, on all of them."""
    if n_processes() == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def from_all(value: Any) -> list[Any]:
    """Every process's value, in the order of their ranks, on all of them."""
    if n_processes() == 1:
        return [value]
    values: list[Any] = [None] * n_processes()
    torch.distributed.all_gather_object(values, value)
    return values
