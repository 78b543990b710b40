"""Which process of torchrun this is, of how many, and on which GPU; plain python is one process of one."""

import os

import torch

from .errors import UsageError


def n_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that prints and writes: rank 0 over all machines."""
    return os.environ.get("RANK", "0") == "0"


def on_one_gpu_unless_torchrun() -> str | None:
    """Under plain python show torch one GPU only, and return the note about it; call before CUDA is used.

    With several the Trainer would fall into DataParallel, and multiply the batch by their number. Raises UsageError where
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
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
