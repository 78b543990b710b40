"""The longest micro-batches of a run, tried before it starts: their time, memory and loss."""

import time

import torch

from korean_asr.errors import SharedError
from korean_asr.hardware import from_all
from korean_asr.training import loop
from korean_asr.training.batches import (
    Collator,
    Job,
    TrainingClips,
    dealt,
    named,
    padded_seconds,
    run_updates,
)


def try_longest_batch(job: Job) -> str:
    """Pass the run's longest micro-batches forward and backward, on every process; returns a line.

    The first micro-batch of an update begins without gradients, and those after it hold them: the
    longest of either kind is tried. The line has the time and the peak of memory. Weights stay as
    they are. Raises SharedError if a loss is NaN or infinite or the run would exceed the free
    memory, and torch's OutOfMemoryError.
    """
    model, durations = job.recogniser.model, job.durations
    batches = _longest_batches(job)
    loop.seed_update(job.recipe.seed, 0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if torch.distributed.is_initialized():
        # The buckets of DistributedDataParallel.
        for values in model.parameters():
            values.grad = torch.zeros_like(values) if values.requires_grad else None
    # Of the longest alone.
    seconds = [_tried(job, batch) for batch in batches][0]
    model.zero_grad(set_to_none=True)
    longest = batches[0]
    line = (
        f"longest batch: {len(longest)} clips of up to {durations[longest[0]]:.1f} s, "
        f"forward and backward {seconds:.1f} s"
    )
    return line + memory_used(model)


def _tried(job: Job, indices: list[int]) -> float:
    """Seconds of a micro-batch, forward and backward; its gradients are added to those there."""
    model = job.recogniser.model
    clips = TrainingClips([job.clips[index] for index in indices], job.recogniser)
    batch = Collator(job.recogniser.feature_extractor)([clips[i] for i in range(len(clips))])
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
            f"{named(job.clips, indices)}. Listen to these clips, or pass --precision float32. "
            "· 손실이 NaN 또는 무한대입니다."
        )
    return seconds


def _longest_batches(job: Job) -> list[list[int]]:
    """Indices of the clips in the micro-batches with the most padded audio, of any process.

    The longest of all that begin an update, and the longest of those that follow, if any do.
    """
    durations, longest = job.durations, {}
    for update in run_updates(durations, job.recipe):
        for process in range(job.plan.n_processes):
            batches = dealt(update, process, durations, job.recipe, job.plan)
            for number, batch in enumerate(batches):
                follows = number > 0
                size = padded_seconds([batch], durations), durations[batch[0]]
                if size > longest.get(follows, ((0.0, 0.0), []))[0]:
                    longest[follows] = size, batch
    return [longest[follows][1] for follows in sorted(longest)]


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
