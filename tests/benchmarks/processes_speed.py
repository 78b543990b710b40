"""Script 2 by one process and by several with the same global batch, one thread each; and what it leaves on the disk.

    python tests/benchmarks/processes_speed.py [--full] [--device cuda] [--rounds 3] [--json FILE]

On a CPU 1 and 2 processes train a model of random weights with 25 M parameters, a thread each; on GPUs 1 and 4 the real size. The
speed is that of experiment.json: seconds of audio a second of training, evaluation and checkpoints left out.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from measuring import HALF, REAL, Row, benchmark, corpus_durations, per_second, random_base, ratios, run_script, spoken

from korean_asr.model import SEVEN_FILES


def trained(data: Path, base: str, n_processes: int, device: str, n_updates: int, folder: Path) -> float:
    """Seconds of audio a second, by script 2 under torchrun."""
    shutil.rmtree(folder, ignore_errors=True)
    # v3's 64 clips an update on GPUs; half of them on a CPU, eight at a time in both.
    gpus, size = (4, 64) if device == "cuda" else (2, 32)
    batch = ("--gpus", gpus, "--batch-per-gpu", 8, "--accumulation", 2)
    n_train = sum(1 for _ in (data / "korean.jsonl").open()) * 8 // 10
    run_script(
        2, "--data", data, "--recipe", "v3", "--base-model", base, "--output", folder / "model", "--checkpoints",
        folder / "checkpoints", *batch, "--clips-before-split", "none", "--workers", 0, "--final-model", "last",
        "--epochs", n_updates / -(-n_train // size),
        launcher=("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"), OMP_NUM_THREADS="1",
    )  # fmt: skip
    record = json.loads((folder / "model" / "experiment.json").read_text(encoding="utf-8"))
    return record["speed"]["audio_seconds_per_second"]


def left_on_disk(folder: Path) -> int:
    """Bytes that script 2 wrote, without checkpoints and the seven files of the final model, which are one."""
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name not in SEVEN_FILES]
    return sum(path.stat().st_size for path in kept if not any("checkpoint-" in part for part in path.parts))


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    import torch

    on_gpu = arguments.device == "cuda"
    many, n_updates = (4, 20) if on_gpu else (2, 10 if arguments.full else 2)
    if on_gpu and torch.cuda.device_count() < many:
        return [], {"processes": f"not measured: {torch.cuda.device_count()} GPU(s), {many} are wanted"}
    base = random_base(folder / "base", REAL if on_gpu else HALF)
    clips = spoken(folder / "data" / "clips", corpus_durations(2_048 if on_gpu else 256))
    rows = [{"id": c.id, "audio_filepath": c.audio_filepath, "duration": c.duration, "text": c.text} for c in clips]
    (folder / "data" / "korean.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    speeds: dict[int, list[float]] = {1: [], many: []}
    for _ in range(arguments.rounds if arguments.full or on_gpu else min(2, arguments.rounds)):
        for n_processes, found in speeds.items():
            found.append(trained(folder / "data", base, n_processes, arguments.device, n_updates, folder / "run"))
    audio = sum(Path(clip.audio_filepath).stat().st_size for clip in clips)
    left = left_on_disk(folder / "run")
    made = [
        Row(f"training, float32, one thread each: {many} processes against 1" if not on_gpu else f"training, fp16: {many} GPUs "
            "against 1", per_second(speeds[many]), per_second(speeds[1]), ratios(speeds[many], speeds[1]),
            None if on_gpu else 1.8),
        Row("disk used by script 2 beyond checkpoints: 1 % of the audio", f"{left / audio:.2%}", "1 %", [0.01 * audio / left],
            1.0, f"{left / 1e3:,.0f} kB beside {audio / 1e6:,.0f} MB of audio"),
    ]  # fmt: skip
    return made, {}


if __name__ == "__main__":
    benchmark(measured, __doc__)
