"""Compare training by one process and by several, with the same global batch, one thread each.

    python tests/benchmarks/processes_speed.py [--full] [--device cuda] [--rounds 3] [--json FILE]

On a CPU, 1 and 2 processes train a random model of 25 M parameters; on GPUs, 1 and 4 train one of
the real size. They run under torchrun as script 2 does, without its checks before and after
training. The first update does not count.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import (
    HALF,
    REAL,
    Row,
    benchmark,
    corpus_durations,
    per_second,
    random_base,
    ratios,
    spoken,
)
from training_speed import ours, recipe_for

from korean_asr.hardware import is_first, join_processes
from korean_asr.manifest import read_manifest

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def one_process(
    base: str, manifest: str, device: str, n_updates: int, seed: int, written: str
) -> None:
    """Train in one of the processes, in two micro-batches an update.

    An update has v3's 64 clips on 4 GPUs, and 16 on 2 processes of a CPU.
    """
    import torch

    join_processes()
    gpus, batch, precision = (4, 8, "fp16") if device == "cuda" else (2, 4, "float32")
    recipe = recipe_for(precision, batch, accumulation=2, workers=4 if device == "cuda" else 0)
    recipe = dataclasses.replace(recipe, gpus=gpus, seed=seed)
    clips = read_manifest(Path(manifest))
    for number, updates in ((-1, 1), (0, n_updates)):
        speed = ours(base, clips, recipe, updates, number).audio_per_second
    if is_first():
        Path(written).write_text(json.dumps(speed), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def trained(
    n_processes: int,
    base: str,
    manifest: Path,
    device: str,
    n_updates: int,
    seed: int,
    written: Path,
) -> float:
    """Seconds of audio trained per second."""
    command = [
        *TORCHRUN,
        f"--nproc_per_node={n_processes}",
        __file__,
        base,
        manifest,
        device,
        n_updates,
        seed,
        written,
    ]
    status = subprocess.run(
        list(map(str, command)), env={**os.environ, "OMP_NUM_THREADS": "1"}
    ).returncode
    if status:
        sys.exit(f"{n_processes} process(es) of {Path(__file__).name} ended with status {status}")
    return json.loads(written.read_text(encoding="utf-8"))


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    import torch

    on_gpu = arguments.device == "cuda"
    many, n_updates = (4, 20) if on_gpu else (2, 12 if arguments.full else 2)
    if on_gpu and torch.cuda.device_count() < many:
        return [], {
            "processes": f"not measured: {torch.cuda.device_count()} GPU(s), {many} are wanted"
        }
    base = random_base(folder / "base", REAL if on_gpu else HALF)
    clips = spoken(folder / "clips", corpus_durations(2_048 if on_gpu else 256))
    rows = [
        {"id": c.id, "audio_filepath": c.audio_filepath, "duration": c.duration, "text": c.text}
        for c in clips
    ]
    manifest = folder / "korean.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    speeds: dict[int, list[float]] = {1: [], many: []}
    # Each round draws other clips.
    for number in range(arguments.rounds):
        for n_processes, found in speeds.items():
            found.append(
                trained(
                    n_processes,
                    base,
                    manifest,
                    arguments.device,
                    n_updates,
                    number,
                    folder / "speed.json",
                )
            )
    here = (
        f"fp16: {many} GPUs"
        if on_gpu
        else f"float32, micro-batches of 4, one thread each: {many} processes"
    )
    what = f"{here} against 1"
    target = None if on_gpu else 1.8
    row = Row(
        f"training, {what}",
        per_second(speeds[many]),
        per_second(speeds[1]),
        ratios(speeds[many], speeds[1]),
        target,
    )
    return [row], {}


if __name__ == "__main__":
    if "TORCHELASTIC_RUN_ID" in os.environ:
        base, manifest, device, n_updates, seed, written = sys.argv[1:]
        one_process(base, manifest, device, int(n_updates), int(seed), written)
    else:
        benchmark(measured, __doc__, devices=("cpu", "cuda"))
