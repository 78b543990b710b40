"""Where the code runs: process of torchrun, device, number format."""

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from korean_asr.cpu_speed import keep_memory_steady, with_row_encoder
from korean_asr.errors import DataError, UsageError

# float32 is the format of the weights, and needs no autocast.
AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}
# Where float32 is asked for, convolutions on a GPU compute in it, as those on a CPU do. cuDNN's
# default is TF32, which has the 10 bits of fp16.
torch.backends.cudnn.allow_tf32 = False
# Samples of a batch on a GPU are a multiple of this: a quarter of a second. cuDNN plans a
# convolution anew for each shape that it has not met (pytorch#90204), which takes longer than the
# convolution, and batches of whole samples are all of different shapes.
LENGTH_STEP = 4_000
NVIDIA_SMI_TIMEOUT_S = 10


def in_precision(device: torch.device, precision: str) -> torch.autocast:
    """A context in which layers compute in this number format where torch considers it safe."""
    return torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bf16: RTX 30 or newer; CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def inputs_on(
    device: torch.device, batch: dict[str, torch.Tensor], length_step: int = LENGTH_STEP
) -> dict[str, torch.Tensor]:
    """Move a batch, and add what the model wants: attention_mask (B, T) int64.

    batch: input_values (B, T) float32, padded with zeros, and n_samples (B,) int64. The mask has
    twice the bytes of the samples, so it is made on the device. Without it, a batch decodes to
    other text than its clips one by one. On a GPU, T becomes a multiple of length_step.
    """
    values = batch["input_values"].to(device, non_blocking=True)
    if device.type == "cuda":
        values = torch.nn.functional.pad(values, (0, -values.shape[1] % length_step))
    n_samples = batch["n_samples"].to(device, non_blocking=True)
    mask = torch.arange(values.shape[1], device=device) < n_samples[:, None]
    return {"input_values": values, "attention_mask": mask.long()}


def device_here() -> torch.device:
    """The device that models are evaluated on: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def refuse_unusable_cards() -> None:
    """Raise DataError where nvidia-smi lists cards that torch cannot use.

    Without it a run would go on for days on the CPU. torch says so in a warning alone, and only
    where its build has CUDA. Nothing is asked where CUDA_VISIBLE_DEVICES chooses no card, nor where
    torch sees one.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    # "" and "-1" hide all cards, as does Slurm's "NoDevFiles": the CPU is used on purpose.
    if chosen is not None and not re.match(r"\s*(\d|GPU-|MIG-)", chosen):
        return
    if torch.cuda.is_available() or not (cards := nvidia_cards()):
        return
    found = re.search(r"CUDA[\w ]*Version *: *(\d+\.\d+)", _nvidia_smi())
    driver = f"The driver's CUDA version is {found[1]}" if found else "The driver is not known"
    build = torch.version.cuda or "none (a build for the CPU)"
    chose_none = f", and CUDA_VISIBLE_DEVICES is {chosen}" if chosen else ""
    raise DataError(
        f"torch cannot use {', '.join(cards)}. {driver}, that of torch {torch.__version__} is "
        f"{build}{chose_none}. Install a torch built for the driver's CUDA "
        "(https://pytorch.org/get-started/locally), or use the CPU on purpose: "
        'CUDA_VISIBLE_DEVICES="" before the command. '
        "· GPU를 사용할 수 없습니다. 드라이버의 CUDA 버전에 맞는 torch를 설치하거나, CPU를 "
        '사용하려면 명령 앞에 CUDA_VISIBLE_DEVICES=""를 붙이세요.'
    )


def nvidia_cards() -> list[str]:
    """Names of the cards that nvidia-smi lists, `2 x NVIDIA RTX 3090` for two of a kind."""
    names = re.findall(r"^GPU \d+: (.+?)(?: \(UUID.*)?$", _nvidia_smi("-L"), re.M)
    return [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]


def _nvidia_smi(*arguments: str) -> str:
    """What nvidia-smi prints; empty where there is none, and where it fails or hangs."""
    command = ["nvidia-smi", *arguments]
    try:
        # A driver that hangs must not stop a run on the CPU.
        done = subprocess.run(command, capture_output=True, timeout=NVIDIA_SMI_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.decode(errors="replace")


def fast_network(model: torch.nn.Module) -> torch.nn.Module:
    """The model as this device computes it fastest: the same weights, and the same texts."""
    if model.device.type != "cpu":
        return model
    keep_memory_steady()
    return with_row_encoder(model)


def refuse_unavailable(precision: str, device: torch.device) -> None:
    """Raise UsageError, with advice, for an unknown number format or one the device lacks."""
    if precision != "float32" and precision not in AUTOCAST:
        formats = ", ".join(("float32", *AUTOCAST))
        raise UsageError(f"--precision {precision}: choose one of {formats}.")
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(
            "--precision fp16 needs a GPU. Pass --precision bf16 or float32. "
            "· fp16은 GPU에서만 사용할 수 있습니다."
        )
    if precision == "bf16" and not has_bf16(device):
        name, instead = ("GPU", "fp16") if device.type == "cuda" else ("CPU", "float32")
        raise UsageError(
            f"--precision bf16: this {name} has none. Pass --precision {instead}. "
            "· 이 장치는 bf16을 지원하지 않습니다."
        )


def precision_here(precision: str) -> tuple[str, str]:
    """Choose the number format that this machine trains in, and say so in a line.

    Raises UsageError for bf16 on a GPU without it, and DataError as refuse_unusable_cards does.
    """
    refuse_unusable_cards()
    if torch.cuda.is_available():
        refuse_unavailable(precision, torch.device("cuda"))
        loss = "" if precision == "float32" else ", loss in float32"
        return precision, f"{precision} on the GPU{loss}"
    if precision == "bf16" and has_bf16(torch.device("cpu")):
        return "bf16", "bf16 on the CPU, loss in float32"
    reasons = {
        "fp16": "the recipe's fp16 needs a GPU, so this run uses ",
        "bf16": "this CPU has no bf16, so this run uses ",
    }
    return "float32", f"{reasons.get(precision, '')}float32 on the CPU"


def n_processes() -> int:
    """Number of processes that torchrun started, over all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, over all machines."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that prints and writes: rank 0 over all machines."""
    return rank() == 0


def on_one_gpu_unless_torchrun() -> str | None:
    """Hide all GPUs but one from torch under plain python, and return a note about it.

    One process works on one GPU; the others would be idle and look used. Call it before CUDA is
    used. Raises UsageError where torchrun starts more processes than there are GPUs.
    """
    n_gpus = torch.cuda.device_count()
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if n_gpus and n_local > n_gpus:
        raise UsageError(f"{n_local} processes for {n_gpus} GPU(s): use --nproc_per_node={n_gpus}.")
    if "WORLD_SIZE" in os.environ or n_gpus < 2:
        return None
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return (
        f"plain python uses one GPU of {n_gpus}; 'torchrun --nproc_per_node={n_gpus}' uses all. "
        "· GPU 한 개만 사용합니다."
    )


def join_processes() -> None:
    """Under torchrun, join the other processes, each on a GPU of its own (nccl) or a CPU (gloo).

    A single process of torchrun joins too, so that one GPU is enough to try all of it.
    """
    if "WORLD_SIZE" not in os.environ or torch.distributed.is_initialized():
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # The others wait while the first reads all clips and writes checkpoints, on a slow disk for
    # minutes.
    timeout = timedelta(hours=1)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)


def from_first(value: Any) -> Any:
    """The first process's value, on every process."""
    if not torch.distributed.is_initialized():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def weights_from_first(model: torch.nn.Module) -> None:
    """Copy the first process's weights and buffers into the model of every other process."""
    if torch.distributed.is_initialized():
        for values in model.state_dict().values():
            torch.distributed.broadcast(values, src=0)


def summed_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Add the other processes' values to these, in place; on a GPU without waiting for them."""
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


@dataclass(frozen=True, slots=True)
class Sent:
    """Values on their way from a device to the host."""

    values: torch.Tensor  # on the host, in pinned memory; not yet written when it is made
    arrived: Any  # a torch.cuda.Event, None on a CPU

    def read(self) -> list[Any]:
        """Wait until the values have arrived, not for what was queued behind them."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.values.tolist()


def sent_to_host(values: torch.Tensor) -> Sent:
    """Queue a copy to the host behind the work that computes the values."""
    copied = values.to("cpu", non_blocking=True)
    if values.device.type != "cuda":
        return Sent(copied, None)
    arrived = torch.cuda.Event()
    arrived.record()
    return Sent(copied, arrived)


def from_all(value: Any) -> list[Any]:
    """The values of all processes in the order of their ranks, on every process."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * n_processes()
    torch.distributed.all_gather_object(values, value)
    return values
