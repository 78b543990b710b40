"""The longest micro-batches of a run, tried before it starts: their time, memory and loss."""

import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch

from korean_asr.audio import SAMPLE_RATE
from korean_asr.errors import SharedError
from korean_asr.hardware import from_all, from_first, is_first
from korean_asr.training import loop
from korean_asr.training.batches import (
    Collator,
    Job,
    TrainingClips,
    dealt_to_all,
    named,
    padded_seconds,
    run_updates,
)

SHARED_MEMORY = "/dev/shm"
A_DAY_S = 24 * 3600
TIME_UNITS = ((A_DAY_S, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
# The first pass also warms up: kernels are loaded and planned. Where it is this short, a second
# pass is timed.
WARM_UP_S = 10


def try_unless_trained(job: Job, is_trained: Callable[[int], bool]) -> str:
    """Do what try_longest_batch does, but where all updates are made; returns lines.

    is_trained: whether a run of so many updates is; the first process calls it.
    """
    if from_first(is_first() and is_trained(job.n_updates)):
        return (
            f"all {job.n_updates:,} updates are made: the final model is left to make "
            "· 학습은 끝났고 최종 모델만 만듭니다"
        )
    return try_longest_batch(job)


def try_longest_batch(job: Job) -> str:
    """Pass the run's longest micro-batches forward and backward, on every process; returns lines.

    The first micro-batch of an update begins without gradients, and those after it hold them: the
    longest of either kind is tried. The lines have the time, the peak of memory, and how long the
    run will take. Weights stay as they are. Raises SharedError if a loss is NaN or infinite or the
    run would exceed the free memory, also that of /dev/shm, and torch's OutOfMemoryError.
    """
    model = job.recogniser.model
    work = _planned_work(job)
    refuse_small_shared_memory(job, work.held_seconds)
    loop.seed_update(job.recipe.seed, 0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if torch.distributed.is_initialized():
        # The buckets of DistributedDataParallel.
        for values in model.parameters():
            values.grad = torch.zeros_like(values) if values.requires_grad else None
    tried_seconds = [_tried(job, batch) for batch in work.longest]
    # Of the longest alone, on the slowest process.
    seconds = max(from_all(tried_seconds[0]))
    memory = memory_used(model)
    longest = work.longest[0]
    if seconds < WARM_UP_S:
        model.zero_grad(set_to_none=not torch.distributed.is_initialized())
        seconds = max(from_all(_tried(job, longest)))
    model.zero_grad(set_to_none=True)
    of_run = seconds / longest.padded_seconds * work.padded_seconds
    return (
        f"longest batch: {len(longest.clips)} clips of up to {longest.seconds:.1f} s, "
        f"forward and backward {seconds:.1f} s{memory}\n{printed_time(job, of_run)}"
    )


def printed_time(job: Job, seconds: float) -> str:
    """How long all updates of a run take; over a day, also how to start smaller."""
    unit, name = next(pair for pair in TIME_UNITS if seconds >= pair[0] or pair[0] == 1)
    line = (
        f"training: {job.n_updates:,} updates, about {seconds / unit:.1f} {name}; evaluations and "
        "checkpoints come on top · 예상 학습 시간"
    )
    if seconds < A_DAY_S:
        return line
    recipe = job.recipe
    fewer_clips = "--clips-before-split 800"
    if recipe.split_caps:
        fewer_clips = "--split-caps 640,80,80"
    ways = [f"fewer clips ({fewer_clips})"]
    if recipe.epochs > 1:
        ways.append("fewer epochs (--epochs 1)")
    if job.recogniser.model.device.type == "cpu":
        ways.append("a GPU (this run uses the CPU)")
    return (
        f"{line}\n  That is over a day. To start smaller: {', or '.join(ways)}. "
        "· 하루가 넘게 걸립니다. 발화나 에폭 수를 줄이거나 GPU를 사용해 보세요."
    )


def refuse_small_shared_memory(job: Job, held_seconds: float) -> None:
    """Raise SharedError where the batches that the workers hold do not fit into /dev/shm.

    held_seconds: padded audio that waits there, at most, for one process. A worker that finds no
    room there sends nothing, and the run would wait for ever.
    """
    workers = job.recipe.workers
    if not workers:
        return
    try:
        disk = os.statvfs(SHARED_MEMORY)
    except OSError:
        # Another system shares memory in another way.
        return
    free = min(from_all(disk.f_bavail * disk.f_frsize))
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # float32; the labels are less than a thousandth of it.
    needed = n_local * held_seconds * SAMPLE_RATE * 4
    if needed > free:
        # Room for twice as much, since other programs of the container use it too.
        gigabytes = math.ceil(2 * needed / 1e9)
        raise SharedError(
            f"{workers} workers of {n_local} process(es) hold up to {needed / 1e6:.0f} MB of "
            f"batches in {SHARED_MEMORY}, and {free / 1e6:.0f} MB are free there. Pass --workers "
            f"0, or start the container with docker run --shm-size={gigabytes}g. "
            "· 공유 메모리가 부족합니다. --workers 0을 지정하거나 컨테이너의 --shm-size를 "
            "늘리세요."
        )


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The clips of a micro-batch by their indices, as an epoch draws them."""

    epoch: int
    clips: list[int]
    seconds: float  # of the longest clip

    @property
    def padded_seconds(self) -> float:
        return len(self.clips) * self.seconds


def _tried(job: Job, drawn: MicroBatch) -> float:
    """Seconds of a micro-batch, forward and backward; its gradients are added to those there."""
    model = job.recogniser.model
    of_batch = [job.clips[index] for index in drawn.clips]
    clips = TrainingClips(of_batch, job.recogniser, job.recipe)
    collated = Collator(job.recogniser.feature_extractor)
    batch = collated([clips[drawn.epoch, i] for i in range(len(clips))])
    started = time.monotonic()
    losses = loop.clip_losses(model, batch, model.config.pad_token_id, job.precision)
    # The scale of fp16 in the first update, which divides the sum by all of its clips.
    scale = 2.0**16 if job.precision == "fp16" else 1.0
    (losses.sum() / job.recipe.global_batch * scale).backward()
    finite = bool(losses.isfinite().all())
    seconds = time.monotonic() - started
    if not all(from_all(finite)):
        raise SharedError(
            f"the loss of the longest batch is NaN or infinite in {job.precision}: "
            f"{named(job.clips, drawn.clips)}. Listen to these clips, or pass --precision float32. "
            "· 손실이 NaN 또는 무한대입니다."
        )
    return seconds


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """The micro-batches of a run, on all its processes.

    longest: the micro-batch with the most padded audio: of those that begin an update, and of those
        that follow, if any do.
    padded_seconds: of the whole run, for the process that has most in each update.
    held_seconds: padded audio that the workers of one process hold at a time, at most.
    """

    longest: list[MicroBatch]
    padded_seconds: float
    held_seconds: float


def _planned_work(job: Job) -> PlannedWork:
    longest: dict[bool, MicroBatch] = {}
    seconds, held_seconds = 0.0, 0.0
    # Two batches for each worker, the one in use, and the one that is copied to pinned memory.
    held = [deque(maxlen=2 * job.recipe.workers + 2) for _ in range(job.plan.n_processes)]
    for update in run_updates(job.clips, job.recipe):
        shares = dealt_to_all(update, job.recipe, job.plan)
        for process, batches in enumerate(shares):
            for number, clips in enumerate(batches):
                batch = MicroBatch(update.epoch, clips, update.durations[clips[0]])
                known = longest.setdefault(number > 0, batch)
                longest[number > 0] = max(known, batch, key=_size)
                held[process].append(batch.padded_seconds)
                held_seconds = max(held_seconds, sum(held[process]))
        seconds += max(padded_seconds(batches, update.durations) for batches in shares)
    return PlannedWork([longest[follows] for follows in sorted(longest)], seconds, held_seconds)


def _size(batch: MicroBatch) -> tuple[float, float]:
    return batch.padded_seconds, batch.seconds


def peak_memory(model: torch.nn.Module) -> int:
    """Bytes at the peak so far, with AdamW's two moments, which the first update adds."""
    trained = sum(values.numel() for values in model.parameters() if values.requires_grad)
    return torch.cuda.max_memory_allocated() + 8 * trained


def memory_used(model: torch.nn.Module) -> str:
    """Compare the peak of memory so far with what is free, on every GPU; returns a part of a line.

    Raises SharedError where the optimizer's memory would not fit.
    """
    if not torch.cuda.is_available():
        return ""
    peak = peak_memory(model)
    free, total = torch.cuda.mem_get_info()
    # What this process holds is free for it. Other programs may hold the rest.
    needs = from_all((peak, free + torch.cuda.memory_reserved(), total))
    gpu = max(range(len(needs)), key=lambda number: needs[number][0] - needs[number][1])
    peak, free, total = (n_bytes / 1e9 for n_bytes in needs[gpu])
    if peak > free:
        raise SharedError(
            f"the longest batch needs {peak:.1f} GB with the optimizer, and {free:.1f} of "
            f"{total:.1f} GB are free on the GPU of process {gpu}. Halve --batch-per-gpu and "
            "double --accumulation, or pass --gradient-checkpointing true, or stop the other "
            "programs on this GPU (nvidia-smi lists them). · GPU 메모리가 부족합니다."
        )
    free_of = f"{free:.1f} GB free ({total:.1f} GB in all) on {len(needs)} GPU(s)"
    return f", peak {peak:.1f} GB of {free_of}, optimizer included"
