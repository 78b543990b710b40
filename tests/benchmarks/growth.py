"""Measure scripts 1, 2 and 3 at 1, 4 and 16 times the demo's size, and script 2's use of the disk.

    python tests/benchmarks/growth.py [--full] [--json FILE]

The demo's Korean corpus is copied under other names, so that script 1 finds 4 and 16 times as many
clips. Script 2 trains the demo's model for half an epoch (three with --full), and script 3 scores
its test split. Time and memory are fitted by a straight line through the three points. The bend is
the slope from 4 to 16 divided by the slope from 1 to 4: it is 1 for linear growth.
"""

from pathlib import Path
from typing import Any

import numpy as np
from measuring import DEMO, MEAN_S, SAMPLE_RATE, Row, benchmark, run_script

from korean_asr.model import SEVEN_FILES

TIMES = (1, 4, 16)
CLIP_BYTES = MEAN_S * SAMPLE_RATE * 2


def multiplied(root: Path, times: int) -> None:
    """Copy the demo's corpus so many times, every copy with its own names and folders."""
    for number in range(times):
        for path in sorted((DEMO / "korean").rglob("*")):
            if path.is_file():
                name = _renamed(str(path.relative_to(DEMO / "korean")), number)
                copy = root / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix == ".txt":
                    text = path.read_text(encoding="utf-8")
                    copy.write_text(_renamed(text, number), encoding="utf-8")
                else:
                    copy.write_bytes(path.read_bytes())


def _renamed(text: str, number: int) -> str:
    return text.replace("dialog_", f"dialog_{number:02}").replace("hobby_", f"hobby_{number:02}")


def left_on_disk(*folders: Path) -> int:
    """Bytes in these folders, without checkpoints and the seven files of the final model."""
    paths = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name not in SEVEN_FILES
    ]
    return sum(
        path.stat().st_size
        for path in paths
        if not any("checkpoint-" in part for part in path.parts)
    )


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    seconds: dict[int, list[float]] = {1: [], 2: [], 3: []}
    memory: dict[int, list[float]] = {1: [], 2: [], 3: []}
    sizes: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for times in TIMES:
        corpus, data = folder / f"corpus_{times}", folder / f"data_{times}"
        model, checkpoints = folder / f"model_{times}", folder / f"checkpoints_{times}"
        multiplied(corpus, times)
        calls = {
            1: ("--korean", corpus, "--output", data),
            2: (
                "--data",
                data,
                "--recipe",
                "demo",
                "--base-model",
                DEMO / "base_model",
                "--output",
                model,
                "--checkpoints",
                checkpoints,
                "--clips-before-split",
                "none",
                "--final-model",
                "last",
                "--eval-steps",
                100_000,
                "--save-steps",
                100_000,
                "--epochs",
                3 if arguments.full else 0.5,
            ),
            3: ("--model", model, "--allow-overlap"),
        }
        for number, options in calls.items():
            spent, peak = run_script(number, *options)
            if number == 2:
                left = left_on_disk(model, checkpoints)
            seconds[number].append(spent)
            memory[number].append(peak)
        sizes[1].append(_lines(data / "korean.jsonl") + _lines(data / "rejected.jsonl"))
        sizes[2].append(_lines(model / "split" / "train.jsonl"))
        sizes[3].append(_lines(model / "split" / "test.jsonl"))
    rows, facts = [], {}
    for number in (1, 2, 3):
        slope, fixed = np.polyfit(sizes[number], seconds[number], 1)
        per_clip, at_rest = np.polyfit(sizes[number], memory[number], 1)
        first, second = np.diff(seconds[number]) / np.diff(sizes[number])
        points = [
            f"{n:,} clips {s:.1f} s {m:,.0f} MB"
            for n, s, m in zip(sizes[number], seconds[number], memory[number], strict=True)
        ]
        facts[f"growth of script {number}"] = (
            f"{'; '.join(points)}. Line: {fixed:.1f} s + {slope * 1000:.2f} s a thousand clips; "
            f"{at_rest:,.0f} MB + {per_clip * 1000:.1f} MB a thousand. Bend: {second / first:.2f}"
        )
    n_clips = sum(_lines(path) for path in (model / "split").glob("*.jsonl"))
    flac = sum(path.stat().st_size for path in corpus.rglob("*.flac"))
    share = left / n_clips / CLIP_BYTES
    what = f"disk used by script 2 beyond checkpoints: 1 % of clips of {MEAN_S} s in WAV"
    note = (
        f"{left / n_clips:,.0f} bytes a clip, such a one has {CLIP_BYTES / 1000:,.0f} kB; "
        f"{left / flac:.1%} of the demo's short FLAC"
    )
    rows.append(Row(what, f"{share:.2%}", "1 %", [0.01 / share], 1.0, note))
    return rows, facts


def _lines(path: Path) -> int:
    return sum(1 for _ in path.open(encoding="utf-8")) if path.exists() else 0


if __name__ == "__main__":
    benchmark(measured, __doc__)
