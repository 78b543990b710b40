"""Measure the checks of clips before training; the target is 8,000 clips in under a minute.

    python tests/benchmarks/input_checks_speed.py [--clips 8000] [--distinct 800] [--folder DIR]

The clips are 16-bit WAV files at 16 kHz of 1 to 15 s, 4.4 s on average as in the corpus; all beyond
--distinct are hard links. They are made in a temporary folder and removed. Since they were just
written, this measures decoding and checking, not the disk.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

from korean_asr.audio import SAMPLE_RATE  # noqa: E402
from korean_asr.manifest import Utterance  # noqa: E402
from korean_asr.training.clip_checks import checked_inputs, printed_checks  # noqa: E402

MEAN_S, SHORTEST_S, LONGEST_S = 4.4, 1.0, 15.0
SYLLABLES = "가나다라마바사아자차카타파하"
SYLLABLES_A_SECOND = 5
WRITABLE = frozenset(SYLLABLES + " ")


def make_clips(folder: Path, n_clips: int, n_distinct: int) -> list[Utterance]:
    rng = np.random.default_rng(0)
    # 1 s plus a gamma distribution of shape 2, as in speech: many short clips, few long ones.
    durations = np.minimum(
        SHORTEST_S + rng.gamma(2, (MEAN_S - SHORTEST_S) / 2, min(n_clips, n_distinct)), LONGEST_S
    )
    paths, clips = [], []
    for number, duration in enumerate(durations):
        paths.append(folder / f"{number:06}.wav")
        samples = (
            rng.standard_normal(int(duration * SAMPLE_RATE), dtype=np.float32) * 1_600
        ).astype(np.int16)
        soundfile.write(paths[-1], samples, SAMPLE_RATE)
    for number in range(n_clips):
        path, duration = folder / f"{number:06}.wav", durations[number % len(durations)]
        if number >= len(durations):
            os.link(paths[number % len(paths)], path)
        text = "".join(rng.choice([*SYLLABLES], round(duration * SYLLABLES_A_SECOND)))
        clips.append(
            Utterance(path.stem, str(path), int(duration * SAMPLE_RATE) / SAMPLE_RATE, text)
        )
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8_000)
    parser.add_argument(
        "--distinct",
        type=int,
        default=800,
        help="number of files; the other clips are links to them",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="parent of the temporary folder; the system's if not given",
    )
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        clips = make_clips(Path(folder), arguments.clips, arguments.distinct)
        n_train = len(clips) * 8 // 10
        n_rest = (len(clips) - n_train) // 2
        parts = {
            "train": clips[:n_train],
            "validation": clips[n_train:-n_rest],
            "test": clips[-n_rest:],
        }
        started, worked = time.perf_counter(), time.process_time()
        checks = checked_inputs(parts, 20.0, WRITABLE)
        lines = printed_checks(checks, 3)
        seconds, core_seconds = time.perf_counter() - started, time.process_time() - worked
    if checks.findings:
        sys.exit("\n".join(["a fault was found in a clip that has none:", *lines]))
    minutes = sum(checks.durations) / 60
    print(
        f"checks, {len(clips):,} clips of {minutes * 60 / len(clips):.1f} s on average, "
        f"{os.cpu_count()} cores: {seconds:.1f} s ({core_seconds:.1f} s of one core), "
        f"{len(clips) / seconds:,.0f} clips/s, "
        f"{minutes / seconds:,.0f} minutes of audio a second"
    )


if __name__ == "__main__":
    main()
