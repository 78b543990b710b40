"""How fast transcripts are cleaned, and how fast and in how much memory script 1 goes through a large corpus.

    python tests/benchmarks/preprocessing_speed.py [--clips 100000 1000000] [--folder DIR]

The corpus has real labels (the demo's, repeated) and real WAV files, hard links to one of them in each folder of 1,000. It is
made in a temporary folder and removed. Clips a second and memory are of the whole process tree, start included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

from korean_asr.transcripts import RULES, Rejected, clean_transcript  # noqa: E402

FOLDER_CLIPS = 1000
TREE = "1.Training/{kind}/3.일상안부/dialog_{number:04}"


def demo_transcripts() -> list[str]:
    scripts = sorted((REPOSITORY / "data/demo/korean").rglob("*_scripts.txt"))
    lines = [line for path in scripts for line in path.read_text(encoding="utf-8").splitlines()]
    return [line.partition(" :: ")[2] for line in lines]


def cleaned_lines_a_second(lines: list[str], side: str, seconds: float = 2.0) -> float:
    """Of one core; the best of several rounds, since others may use the machine."""
    best, started = 0.0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.process_time()
        for line in islice(cycle(lines), 10_000):
            with suppress(Rejected):
                clean_transcript(line, side=side)
        best = max(best, 10_000 / (time.process_time() - begun))
    return best


def make_corpus(root: Path, n_clips: int) -> None:
    transcripts = cycle(demo_transcripts())
    samples = np.random.default_rng(0).normal(0, 0.05, 4 * 16_000)
    for first in range(0, n_clips, FOLDER_CLIPS):
        number = first // FOLDER_CLIPS
        labels = root / TREE.format(kind="1.라벨링데이터", number=number)
        audio = root / TREE.format(kind="2.원천데이터", number=number) / "001"
        labels.mkdir(parents=True)
        audio.mkdir(parents=True)
        names = [f"dialog_{clip:08}" for clip in range(first, min(first + FOLDER_CLIPS, n_clips))]
        soundfile.write(audio / f"{names[0]}.wav", samples, 16_000)
        for name in names[1:]:
            os.link(audio / f"{names[0]}.wav", audio / f"{name}.wav")
        place = "/" + str(audio.relative_to(root))
        (labels / f"dialog_{number:04}_scripts.txt").write_text(
            "".join(f"{place}/{name}.wav :: {next(transcripts)}\n" for name in names), encoding="utf-8"
        )
        (labels / f"dialog_{number:04}_metadata.txt").write_text(
            "".join(
                f"{place}/{name}.wav|1|2|{'FM'[i % 2]}|{'TAS'[i % 3]}|5|{i % 6 + 1}|7|1\n"
                for i, name in enumerate(names)
            ),
            encoding="utf-8",
        )


def tree_memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children: pages that they share are counted once."""
    total = 0.0
    for process in [pid, *children(pid)]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def children(pid: int) -> list[int]:
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*direct, *(grandchild for child in direct for grandchild in children(child))]


def script_1(root: Path, output: Path, jobs: int) -> tuple[float, float]:
    """(seconds, peak megabytes) of one run."""
    command = [sys.executable, str(REPOSITORY / "model_tuning/1. script_preprocessing.py")]
    command += ["--korean", str(root), "--output", str(output), "--jobs", str(jobs)]
    command += ["--base-model", str(REPOSITORY / "data/demo/base_model")]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.25):
            peak = max(peak, tree_memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    if status:
        sys.exit(f"script 1 ended with status {status}")
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the corpus is made for the while; the system's if not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()

    examples = [rule.example_before for rule in RULES]
    for name, lines in (("demo labels", demo_transcripts()), ("one line for each rule", examples)):
        rates = ", ".join(f"side {side} {cleaned_lines_a_second(lines, side):,.0f}" for side in ("A", "B", "auto"))
        print(f"cleaning, {name}: {rates} lines/s on one core", flush=True)
    for n_clips in arguments.clips:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            make_corpus(Path(folder) / "corpus", n_clips)
            seconds, peak = script_1(Path(folder) / "corpus", Path(folder) / "processed", arguments.jobs)
            print(
                f"script 1, {n_clips:,} clips, --jobs {arguments.jobs}: {seconds:.1f} s, {n_clips / seconds:,.0f} clips/s, "
                f"peak {peak:,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
