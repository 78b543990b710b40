"""Measure the cleaning of transcripts, and time and memory of script 1 on a large corpus.

    python tests/benchmarks/preprocessing_speed.py [--full] [--rounds 3] [--json FILE]

The corpus has real labels (the demo's, repeated) and real WAV files, of which each folder of 1,000
has one, and hard links to it: 20,000 and 100,000 clips, with --full 100,000 and 1,000,000. Another
corpus has 100,000 clips in ten .tar archives, 0.7 GB. Speed and memory are those of the whole
process tree, start included. The peer does what many repositories do: one regular expression and
one JSON file for each clip; it never opens the audio.
"""

import json
import os
import re
import shutil
import tarfile
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from measuring import DEMO, Row, benchmark, per_second, ratios, run_script

from korean_asr.transcripts import RULES, Rejected, clean_transcript

FOLDER_CLIPS = 1000
TREE = "1.Training/{kind}/3.일상안부/dialog_{number:04}"


def demo_transcripts() -> list[str]:
    scripts = sorted((DEMO / "korean").rglob("*_scripts.txt"))
    lines = [line for path in scripts for line in path.read_text(encoding="utf-8").splitlines()]
    return [line.partition(" :: ")[2] for line in lines]


def cleaned_lines_a_second(lines: list[str], side: str, seconds: float = 2.0) -> float:
    """Lines per second of one core: the best of several rounds, since the machine may be busy."""
    best, started = 0.0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.process_time()
        for line in islice(cycle(lines), 10_000):
            with suppress(Rejected):
                clean_transcript(line, side=side)
        best = max(best, 10_000 / (time.process_time() - begun))
    return best


PEER_PATTERN = re.compile(r"\(([^()]*)\)/\([^()]*\)|\b(?:un|sn|[blonu])/|[^가-힣A-Za-z0-9 .,?!%]")


def peer_lines_a_second(lines: list[str], n_lines: int = 200_000) -> float:
    begun = time.process_time()
    for line in islice(cycle(lines), n_lines):
        PEER_PATTERN.sub(r"\1", line)
    return n_lines / (time.process_time() - begun)


def peer_corpus(root: Path, output: Path) -> float:
    """Seconds for one regular expression over all labels, and one JSON file a clip."""
    started = time.perf_counter()
    for path in sorted(root.rglob("*_scripts.txt")):
        folder = output / path.parent.name
        folder.mkdir(parents=True)
        for line in path.read_text(encoding="utf-8").splitlines():
            audio, _, text = line.partition(" :: ")
            row = {"audio": audio, "text": PEER_PATTERN.sub(r"\1", text)}
            (folder / f"{Path(audio).stem}.json").write_text(
                json.dumps(row, ensure_ascii=False), encoding="utf-8"
            )
    return time.perf_counter() - started


def make_corpus(root: Path, n_clips: int, seconds: float = 4.0) -> None:
    transcripts = cycle(demo_transcripts())
    samples = np.random.default_rng(0).normal(0, 0.05, round(seconds * 16_000))
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
        folder = "/" + str(audio.relative_to(root))
        (labels / f"dialog_{number:04}_scripts.txt").write_text(
            "".join(f"{folder}/{name}.wav :: {next(transcripts)}\n" for name in names),
            encoding="utf-8",
        )
        (labels / f"dialog_{number:04}_metadata.txt").write_text(
            "".join(
                f"{folder}/{name}.wav|1|2|{'FM'[i % 2]}|{'TAS'[i % 3]}|5|{i % 6 + 1}|7|1\n"
                for i, name in enumerate(names)
            ),
            encoding="utf-8",
        )


def pack_audio(root: Path, n_archives: int = 10) -> None:
    """Pack the audio of a corpus into .tar archives, as AI Hub does, and delete the files."""
    theme = root / "1.Training/2.원천데이터/3.일상안부"
    folders = sorted(path for path in theme.iterdir() if path.is_dir())
    for number in range(n_archives):
        name = f"[원천]3.일상안부_dialog_{number:02}.tar"
        with tarfile.open(theme / name, "w", format=tarfile.GNU_FORMAT) as archive:
            for folder in folders[number::n_archives]:
                for path in sorted(folder.rglob("*.wav")):
                    # Bytes of each, although the files are links to one.
                    info = tarfile.TarInfo(str(path.relative_to(theme)))
                    info.size = path.stat().st_size
                    with path.open("rb") as file:
                        archive.addfile(info, file)
        for folder in folders[number::n_archives]:
            shutil.rmtree(folder)


def packed_row(folder: Path, rounds: int, n_jobs: int) -> Row:
    """Script 1 on 100,000 clips in ten .tar archives, 0.7 GB."""
    corpus = folder / "packed"
    # Short ones, since an archive holds the bytes of each: headers alone are read.
    make_corpus(corpus, 100_000, seconds=0.2)
    pack_audio(corpus)
    speeds = []
    for _ in range(rounds):
        options = ("--korean", corpus, "--output", folder / "processed", "--jobs", n_jobs)
        seconds, _ = run_script(1, *options)
        speeds.append(100_000 / seconds)
    shutil.rmtree(corpus)
    return Row(
        "script 1, 100,000 clips in ten .tar: 20,000 clips/s asked for",
        per_second(speeds, "clips/s"),
        "20,000 clips/s",
        [speed / 20_000 for speed in speeds],
        1.0,
    )


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    rows, demo, n_jobs = [], demo_transcripts(), os.cpu_count() or 1
    examples = [rule.example_before for rule in RULES]
    for name, lines in (("the demo's labels", demo), ("a line for each rule", examples)):
        slowest = min(cleaned_lines_a_second(lines, side) for side in ("A", "B", "auto"))
        what = f"cleaning, {name}, one core: 100,000 lines/s asked for"
        rows.append(
            Row(what, f"{slowest:,.0f} lines/s", "100,000 lines/s", [slowest / 100_000], 1.0)
        )
    slowest, peer = cleaned_lines_a_second(demo, "A"), peer_lines_a_second(demo)
    rows.append(
        Row(
            "cleaning, the demo's labels: one regular expression",
            f"{slowest:,.0f} lines/s",
            f"{peer:,.0f} lines/s",
            [slowest / peer],
        )
    )
    speeds, memory = {}, {}
    for n_clips in (100_000, 1_000_000) if arguments.full else (20_000, 100_000):
        corpus, mine, theirs = folder / str(n_clips), [], []
        make_corpus(corpus, n_clips)
        base = ("--base-model", DEMO / "base_model", "--jobs", n_jobs)
        for number in range(arguments.rounds if n_clips < 1_000_000 else 1):
            seconds, peak = run_script(
                1, "--korean", corpus, "--output", folder / "processed", *base
            )
            mine.append(n_clips / seconds)
            memory[n_clips] = max(peak, memory.get(n_clips, 0))
            # Of a large corpus the peer needs most of a minute, so it runs once.
            if n_clips < 100_000 or number == 0:
                theirs.append(n_clips / peer_corpus(corpus, folder / "peer"))
                shutil.rmtree(folder / "peer")
        speeds[n_clips] = mine
        what = f"script 1, {n_clips:,} clips: one regular expression, one JSON file a clip"
        rows.append(
            Row(
                what,
                per_second(mine, "clips/s"),
                per_second(theirs, "clips/s"),
                ratios(mine[: len(theirs)], theirs),
            )
        )
        shutil.rmtree(corpus)
    rows.append(packed_row(folder, arguments.rounds, n_jobs))
    few, many = speeds
    n = len(speeds[many])
    asked = [speed / 8_000 for speed in speeds[many]]
    rows += [
        Row(
            f"script 1, {many:,} clips: 8,000 clips/s asked for",
            per_second(speeds[many], "clips/s"),
            "8,000 clips/s",
            asked,
            1.0,
        ),
        Row(
            f"script 1, {many:,} clips against {few:,}: clips/s, linear is 1",
            per_second(speeds[many], "clips/s"),
            per_second(speeds[few], "clips/s"),
            ratios(speeds[many], speeds[few][:n]),
            0.8,
        ),
        Row(
            f"script 1, {many:,} clips: memory of all its processes, 500 MB asked for",
            f"{memory[many]:,.0f} MB",
            "500 MB",
            [500 / memory[many]],
            1.0,
        ),
    ]
    return rows, {}


if __name__ == "__main__":
    benchmark(measured, __doc__)
