"""The number format that the network computes in; softmax, loss and weights stay in float32."""

import torch

from .errors import UsageError
from .options import PRECISIONS

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
        raise UsageError("--precision fp16 needs a GPU. Pass --precision bf16 or float32. · fp16은 GPU에서만 됩니다.")
    if precision == "bf16" and not has_bf16(device):
        here = (
            "GPU has none. Pass --precision fp16" if device.type == "cuda" else "CPU has none. Pass --precision float32"
        )
        raise UsageError(f"--precision bf16: this {here}. · 이 장치는 bf16을 지원하지 않습니다.")
