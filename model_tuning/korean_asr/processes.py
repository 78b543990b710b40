"""Which process of torchrun this is, of how many, and on which GPU; plain python is one process of one. Its memory."""

import ctypes
import os
from datetime import timedelta
from typing import Any

import torch

from .errors import UsageError


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


def keep_memory_steady() -> None:
    """On a CPU, let glibc keep what tensors free for the next ones, and oneDNN little of what it compiles for their shapes.

    glibc hands blocks over 32 MB back to the system at once and takes them anew, page by page: 10 to 20 % of decoding went into
    that (94 M parameters) and 4 to 17 % of training (25 M), all of it system time. oneDNN keeps up to 1,024 products and
    convolutions, which clips of all lengths fill: a run of 300 updates grew from 0.8 to 1.3 GB, and kept ones lie between
    freed blocks. 16 are as fast, and it grows less. Call before the first product; a capacity that the user has set stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return
    m_trim_threshold, m_mmap_max = -1, -4  # as malloc.h names them
    mallopt(m_trim_threshold, 1 << 30)
    mallopt(m_mmap_max, 0)  # not a threshold of its own: old versions refuse one over 32 MB
