"""The sections of gpu.py: training, where its time goes, decoding, and memory."""

import dataclasses
import functools
import gc
import importlib.util
import itertools
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decoding_speed import PIPELINE_BATCH, by_pipeline, plain_loop
from measuring import (
    MEAN_S,
    REAL,
    Size,
    matrix_rate,
    operations,
    peak_memory_mb,
    reset_peak_memory,
    spoken,
)
from training_speed import clock_now, kept, new_updater, ours, recipe_for, rows_file, theirs

from korean_asr.manifest import Utterance
from korean_asr.recipe import Recipe, batch_plan
from recipes import RECIPES

HALF_PRECISIONS = ("fp16", "bf16")
PRECISIONS = ("float32", *HALF_PRECISIONS)
# Its defaults, and its best: clips of like length, read ahead by as many workers as ours.
TRAINER = ("Trainer, random order", "Trainer, grouped by length, our number of workers")
NEEDED_BY_THE_TRAINER = ("accelerate", "datasets")
# An RTX 3090 has 24 GiB; 1.5 of them for the CUDA context, fragments and other programs.
MIB_OF_3090 = (24 - 1.5) * 1024
# NVIDIA's data sheet: tensor cores in fp16 that sum in float32.
RATE_OF_3090 = 71e12
# Seconds of audio of all epochs: 6,400 clips of v3, 30,400 of v7.
RUNS = {"v3": 6_400 * MEAN_S * 10, "v7": 30_400 * MEAN_S * 20}

# Parts of an update by the names of torch's operators; the first pattern that matches counts.
PARTS = {
    "CTC loss": r"ctc_loss|log_softmax",
    "attention": r"scaled_dot_product|_attention|bmm|softmax",
    "convolutions": r"conv|weight_norm",
    "linear layers": r"::(mm|addmm|matmul|linear)",
    "optimizer": r"adamw|_foreach|amp_|linalg_vector_norm|optimizer",
    "normalisation, GELU, dropout": r"layer_norm|gelu|dropout|bernoulli",
    "copies and casts": r"copy|clone|::cat|pad|fill_|zero_|memcpy|memset",
}
ELSE, LOADER, WAITING, IDLE = (
    "everything else",
    "host: waiting for the loader",
    "host: synchronisation",
    "device without work",
)

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    shrink: factor of the corpus' durations. n_updates: a round. batch_seconds: of decoding.
    n_ours, n_pipeline, n_loop: clips that each way decodes.
    longest_s, n_longest: seconds of a clip and clips in a batch, in the section about memory.
    """

    name: str
    size: Size
    n_clips: int
    shrink: float
    batch: int
    accumulation: int
    workers: int
    n_updates: int
    rounds: int
    batch_seconds: tuple[float, ...]
    n_ours: int
    n_pipeline: int
    n_loop: int
    longest_s: float
    n_longest: tuple[int, ...]


# The v3 batch on one card; 2,048 clips have 2 % padding in updates of similar lengths. As much as
# five minutes on an H100 allow: with 6 updates, and 1,024 clips in six batch sizes, it took nine.
FULL = Scale(
    "real size", REAL, n_clips=2_048, shrink=1.0, batch=8, accumulation=8, workers=4,
    n_updates=4, rounds=1, batch_seconds=(120.0, 240.0, 480.0),
    n_ours=512, n_pipeline=256, n_loop=64, longest_s=20.0, n_longest=(2, 4, 8, 16, 32),
)  # fmt: skip
TINY = Scale(
    "tiny", Size(2, 256, channels=32), n_clips=16, shrink=0.3, batch=2, accumulation=2, workers=0,
    n_updates=1, rounds=1, batch_seconds=(4.0, 8.0),
    n_ours=16, n_pipeline=8, n_loop=4, longest_s=1.0, n_longest=(2, 4),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """What every section works with. base: a model folder; clips: they last as the corpus' do."""

    scale: Scale
    device: str
    base: str
    clips: list[Utterance]
    folder: Path

    @property
    def memory(self) -> str:
        """Title of the column of peak memory."""
        return "peak GPU memory, MiB" if self.device == "cuda" else "peak RSS, MiB"

    def recipe(self, precision: str) -> Recipe:
        scale = self.scale
        return recipe_for(precision, scale.batch, scale.accumulation, scale.workers)

    def precision_here(self, precision: str) -> str:
        """The number format in which rows of a precision run: the nearest that the device has."""
        import torch

        from korean_asr.hardware import has_bf16

        if precision == "fp16" and self.device == "cpu":
            precision = "bf16"
        if precision == "bf16" and not has_bf16(torch.device(self.device)):
            precision = "fp16" if self.device == "cuda" else "float32"
        return precision

    def label(self, precision: str) -> str:
        used = self.precision_here(precision)
        return precision if used == precision else f"{precision} (run in {used})"


def training(bench: Bench) -> tuple[Rows, list[str]]:
    """Compare updates of v3 with the Trainer's, in turn in each precision."""
    lacking = [name for name in NEEDED_BY_THE_TRAINER if not importlib.util.find_spec(name)]
    # Of one clip of average length, since counting takes a second a clip.
    mean = MEAN_S * bench.scale.shrink
    cost = operations(bench.base, [mean], "frozen", RECIPES["v3"].layerdrop) / mean
    rows, notes = [], [f"{cost / 1e9:.1f} G operations a second of audio, padding not counted"]
    for precision in HALF_PRECISIONS:
        used = bench.precision_here(precision)
        rates = [matrix_rate(bench.device, used, number) for number in range(2)]
        made = training_rows(bench, used, bool(lacking))
        ours_speed = made[0]["s of audio/s"]
        for row in made:
            row["times as fast"] = ours_speed / row["s of audio/s"]
            row["of the matrix rate"] = row["s of audio/s"] * cost / max(rates)
            rows.append({"precision": bench.label(precision), **row})
        label, share = bench.label(precision), made[0]["of the matrix rate"]
        if lacking:
            blank = dict.fromkeys(rows[-1], "not measured")
            rows += [{**blank, "precision": label, "way": way} for way in TRAINER]
        notes.append(f"{label}: the product of two matrices reaches {max(rates) / 1e12:.3g} T/s")
        notes += [told_in_minutes(name, label, ours_speed, cost, share) for name in RUNS]
    if lacking:
        notes.append(f"Trainer: not measured, for {' and '.join(lacking)} is not installed")
    release()
    return rows, notes


def training_rows(bench: Bench, precision: str, without_trainer: bool) -> Rows:
    """A row a way: medians of the rounds. Warm-up, whose updates do not count, is round -1.

    All ways keep their models on the device; what the others hold is taken off a way's peak.
    """
    recipe, n = bench.recipe(precision), bench.scale.n_updates
    ways = {"this project": (ours, bench.base, bench.clips, recipe, n)}
    if not without_trainer:
        data = rows_file(bench.folder, bench.clips)
        default = dataclasses.replace(recipe, workers=0)
        random_order, grouped = TRAINER
        ways[random_order] = (theirs, bench.base, data, "frozen", default, n)
        ways[grouped] = (theirs, bench.base, data, "grouped", recipe, n)
    release()
    found, held, peak = {way: [] for way in ways}, dict.fromkeys(ways, 0.0), {}
    for number in range(-1, bench.scale.rounds):
        for way, (function, *arguments) in ways.items():
            others = allocated_mb(bench.device) - held[way]
            reset_peak_memory(bench.device)
            made = function(*arguments, number)
            held[way] = allocated_mb(bench.device) - others
            peak[way] = max(peak.get(way, 0.0), made.memory_mb - others)
            found[way] += [made] if number >= 0 else []
        if number < 0:
            meet_all_lengths(bench)
    return [
        {
            "way": way,
            "s of audio/s": statistics.median(made.audio_per_second for made in rounds),
            "padding": statistics.median(made.padding for made in rounds),
            bench.memory: peak[way],
        }
        for way, rounds in found.items()
    ]


def meet_all_lengths(bench: Bench) -> None:
    """Pass a micro-batch of each length through our network, as the first updates of a run do.

    cuDNN plans for each length (NOTES.md), of which there are some fifty. A run of 1,000 updates
    pays for that once. The Trainer's batches are of whole samples, so it meets new ones throughout.
    """
    import torch

    from korean_asr.audio import SAMPLE_RATE
    from korean_asr.hardware import LENGTH_STEP
    from korean_asr.training.loop import clip_losses

    updater, n = kept["updater"], bench.scale.batch
    job = updater.job
    longest = max(clip.duration for clip in bench.clips) * SAMPLE_RATE
    for n_samples in range(LENGTH_STEP, int(longest) + LENGTH_STEP, LENGTH_STEP):
        batch = {
            "input_values": torch.zeros(n, n_samples),
            "n_samples": torch.full((n,), n_samples),
            "labels": torch.ones(n, 1, dtype=torch.int32),
        }
        blank_id = job.recogniser.model.config.pad_token_id
        clip_losses(updater.network, batch, blank_id, job.precision).sum().backward()
    updater.optimizer.zero_grad(set_to_none=True)


def told_in_minutes(name: str, label: str, speed: float, cost: float, share: float) -> str:
    """How long a recipe's updates take on this card, and on 3090s at the same share of theirs."""
    audio = RUNS[name]
    at_3090s = audio * cost / (4 * RATE_OF_3090 * share) / 60
    return (
        f"{name}, {label}: {audio:,.0f} s of audio take {audio / speed / 60:,.1f} minutes here; "
        f"on 4 x RTX 3090, at the same share of {RATE_OF_3090 / 1e12:.0f} T/s each, "
        f"{at_3090s:,.1f} minutes"
    )


def profile(bench: Bench) -> tuple[Rows, list[str]]:
    """Where the time of an update of v3 goes, in fp16."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    n, used = min(2, bench.scale.n_updates), bench.precision_here("fp16")
    release()
    ours(bench.base, bench.clips, bench.recipe(used), n, -1)
    # Once more, since the first updates compile and choose kernels.
    ours(bench.base, bench.clips, bench.recipe(used), n, 0)
    activities = [ProfilerActivity.CPU]
    if bench.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profiled(activities=activities) as profiler:
        started = clock_now(bench.device)
        ours(bench.base, bench.clips, bench.recipe(used), n, 1)
        seconds = clock_now(bench.device) - started
    release()
    spent = time_by_part(profiler.key_averages(), bench.device)
    spent[IDLE] = max(0.0, seconds - sum(spent[part] for part in (*PARTS, ELSE)))
    rows = [
        {"part": part, "ms an update": 1e3 * used_s / n, "of the update": used_s / seconds}
        for part, used_s in spent.items()
    ]
    rows.append({"part": "an update", "ms an update": 1e3 * seconds / n, "of the update": 1.0})
    return rows, [f"{n} updates in {bench.label('fp16')}, slower than without the profiler"]


def time_by_part(events: Any, device: str) -> dict[str, float]:
    """Seconds of each part: on a GPU those of the kernels that its operators started."""
    from torch.autograd import DeviceType

    spent = dict.fromkeys((*PARTS, ELSE, LOADER, WAITING), 0.0)
    for event in events:
        # Kernels come again as events of their own.
        if event.device_type != DeviceType.CPU:
            continue
        if event.key.startswith("enumerate(DataLoader)"):
            spent[LOADER] += event.cpu_time_total / 1e6
            continue
        if re.match(r"cuda.*Synchronize|aten::_local_scalar_dense", event.key):
            spent[WAITING] += event.self_cpu_time_total / 1e6
        matching = (part for part, names in PARTS.items() if re.search(names, event.key.lower()))
        own = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        spent[next(matching, ELSE)] += own / 1e6
    return spent


def decoding(bench: Bench) -> tuple[Rows, list[str]]:
    """Compare ours at several batch sizes with the pipeline and with one clip at a time."""
    from korean_asr.decoding import MAX_BATCH_SECONDS, decoded
    from korean_asr.inference import MAX_BATCH_CLIPS
    from korean_asr.model import load_recogniser

    release()
    scale, rows = bench.scale, []
    clips = bench.clips[: scale.n_ours]
    recogniser = load_recogniser(bench.base)
    recogniser.model.to(bench.device)
    ways: dict[str, tuple[Callable, list[Utterance]]] = {
        f"this project, batches of {seconds:g} s": (
            functools.partial(
                decoded, max_batch_seconds=seconds, max_batch_clips=len(clips), progress=None
            ),
            clips,
        )
        for seconds in scale.batch_seconds
    }
    pipeline, loop = f"pipeline, batch_size={PIPELINE_BATCH}", "one clip at a time"
    ways |= {
        pipeline: (by_pipeline, clips[: scale.n_pipeline]),
        loop: (plain_loop, clips[: scale.n_loop]),
    }
    for precision in PRECISIONS:
        used = bench.precision_here(precision)
        made = {
            row["way"]: row
            for row in [decoding_row(bench, recogniser, way, *ways[way], used) for way in ways]
        }
        for row in made.values():
            row["times the pipeline"] = row["s of audio/s"] / made[pipeline]["s of audio/s"]
            row["times one at a time"] = row["s of audio/s"] / made[loop]["s of audio/s"]
            rows.append({"precision": bench.label(precision), **row})
    most = f"{MAX_BATCH_SECONDS[bench.device]:g} s and at most {MAX_BATCH_CLIPS} clips"
    return rows, [f"the default is batches of {most}; here any number of clips"]


def decoding_row(
    bench: Bench, recogniser, way: str, function: Callable, clips: list[Utterance], used: str
) -> dict[str, Any]:
    """The median speed of a way; the warm-up before it decodes a few clips."""
    function(recogniser, clips[: 4 * PIPELINE_BATCH], precision=used)
    reset_peak_memory(bench.device)
    seconds = []
    for _ in range(bench.scale.rounds):
        started = clock_now(bench.device)
        result = function(recogniser, clips, precision=used)
        seconds.append(clock_now(bench.device) - started)
    audio = sum(clip.duration for clip in clips)
    if function is plain_loop:
        padding = 0.0
    elif function is by_pipeline:
        padding = padding_in_order([clip.duration for clip in clips], PIPELINE_BATCH)
    else:
        padding = result.padding_waste
    return {
        "way": way,
        "s of audio/s": audio / statistics.median(seconds),
        "padding": padding,
        bench.memory: peak_memory_mb(bench.device),
    }


def padding_in_order(durations: list[float], batch: int) -> float:
    """The share of padding in batches of so many clips, in their order."""
    batches = [durations[start : start + batch] for start in range(0, len(durations), batch)]
    return 1 - sum(durations) / sum(len(group) * max(group) for group in batches)


def memory(bench: Bench) -> tuple[Rows, list[str]]:
    """Peak memory of updates of the longest clips, by precision and clips at a time."""
    release()
    scale, rows, peaks = bench.scale, [], {}
    longest = spoken(bench.folder / "longest", [scale.longest_s] * 2 * max(scale.n_longest))
    updater = new_updater(bench.base, longest, recipe_for("float32"))
    # The model keeps checkpointing once it has it.
    for checkpointing, precision in itertools.product((False, True), PRECISIONS):
        row = {"precision": bench.label(precision), "gradient checkpointing": checkpointing}
        most, peak = 0, 0.0
        for n in scale.n_longest:
            recipe = recipe_for(bench.precision_here(precision), n, accumulation=2)
            recipe = dataclasses.replace(recipe, gradient_checkpointing=checkpointing)
            # What is too much for one size is too much for the next.
            peak = update_peak_mb(updater, longest, recipe) if peak is not None else None
            row[f"{n} clips, MiB"] = "out of memory" if peak is None else peak
            print(f"{row['precision']}, {n} clips: {row[f'{n} clips, MiB']}", flush=True)
            most = n if peak is not None and peak <= MIB_OF_3090 else most
            peaks[precision, checkpointing, n] = peak
        rows.append({**row, "of these fit into 24 GiB": float(most)})
    notes = [f"clips of {scale.longest_s:g} s, {bench.memory.partition(',')[0]}"]
    notes.append(
        f"24 GiB: of these {MIB_OF_3090:,.0f} MiB, the rest is left to CUDA and other programs"
    )
    return rows, notes + [fits_a_3090(name, scale.longest_s, peaks) for name in RUNS]


def update_peak_mb(updater: Any, clips: list[Utterance], recipe: Recipe) -> float | None:
    """Peak memory of the second update of a run, in two micro-batches; None: out of memory."""
    import torch

    from korean_asr.training.batches import updates_with_clips
    from korean_asr.training.loop import prepared_job
    from korean_asr.training.progress import Progress, TrainingBar

    plan, recogniser = batch_plan(recipe, 1), updater.job.recogniser
    job = prepared_job(recogniser, clips[: recipe.global_batch], [], recipe, plan, recipe.precision)
    device = recogniser.model.device.type
    scaler = torch.amp.GradScaler(device, enabled=recipe.precision == "fp16")
    bar = TrainingBar(Progress(), 2, 1, 1, is_first=False)
    updater = dataclasses.replace(updater, job=job, scaler=scaler, progress=bar.progress, bar=bar)
    try:
        for update in itertools.islice(updates_with_clips(job, 0, 0), 2):
            reset_peak_memory(device)
            updater.make(update)
            updater.count()
        return peak_memory_mb(device)
    except torch.OutOfMemoryError:
        pass
    # Outside the except block, where the traceback would keep tensors alive.
    updater.optimizer.zero_grad(set_to_none=True)
    collect()
    return None


def fits_a_3090(name: str, seconds: float, peaks: dict[tuple[str, bool, int], float | None]) -> str:
    """A line about a recipe's micro-batches on an RTX 3090, without checkpointing."""
    recipe = RECIPES[name]
    n, precision = recipe.batch_per_gpu, recipe.precision
    line = f"{name}: {n} clips of {seconds:g} s at a time in {precision}"
    if (precision, False, n) not in peaks:
        return f"{line} were not measured at this scale"
    peak = peaks[precision, False, n]
    if peak is None or peak > MIB_OF_3090:
        return f"{line} do not fit into 24 GiB"
    return f"{line} fit into 24 GiB, {peak:,.0f} MiB"


def allocated_mb(device: str) -> float:
    """What tensors hold on the GPU now, without garbage; 0 on a CPU."""
    collect()
    if device == "cpu":
        return 0.0
    import torch

    return torch.cuda.memory_allocated() / 2**20


def release() -> None:
    """Free the models of the section before."""
    kept.clear()
    collect()


def collect() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()


SECTIONS: dict[str, Callable[[Bench], tuple[Rows, list[str]]]] = {
    "training": training,
    "profile": profile,
    "decoding": decoding,
    "memory": memory,
}
