"""Measure reading clips from a .tar against reading their files; the target is 1.1 times at most.

    python tests/benchmarks/archive_speed.py [--clips 2000] [--rounds 5] [--folder DIR]

The clips are 16-bit WAV files at 16 kHz of 4.4 s, read in a random order by one process. They were
just written, so this measures finding and decoding, not the disk.
"""

import argparse
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

from korean_asr.archive_file import Place  # noqa: E402
from korean_asr.audio import SAMPLE_RATE, audio_info, read_waveform  # noqa: E402

SECONDS = 4.4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="parent of the temporary folder; the system's if not given"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        files, places = written_clips(Path(folder), arguments.clips)
        for read in (read_waveform, audio_info):
            file_s, tar_s = fastest(read, (files, places), arguments.rounds)
            print(
                f"{read.__name__}: {file_s * 1e6:.0f} µs a file, {tar_s * 1e6:.0f} µs a clip of a "
                f".tar, {tar_s / file_s:.2f} times",
                flush=True,
            )


def written_clips(folder: Path, n_clips: int) -> tuple[list[Path], list[Place]]:
    rng = np.random.default_rng(0)
    files = [folder / f"{number:06}.wav" for number in range(n_clips)]
    with tarfile.open(folder / "x.tar", "w") as packed:
        for path in files:
            samples = rng.standard_normal(int(SECONDS * SAMPLE_RATE), dtype=np.float32) * 1_600
            soundfile.write(path, samples.astype(np.int16), SAMPLE_RATE)
            packed.add(path, path.name)
    with tarfile.open(folder / "x.tar") as packed:
        places = [
            Place(f"tar://{member.name}::{folder}/x.tar", member.offset_data, member.size)
            for member in packed
        ]
    order = random.Random(0).sample(range(n_clips), n_clips)
    return [files[index] for index in order], [places[index] for index in order]


def fastest(read: Callable, ways: tuple[list, list], n_rounds: int) -> list[float]:
    """Seconds a clip in the fastest round of each way; the ways take turns."""
    seconds = [float("inf")] * len(ways)
    for _ in range(n_rounds):
        for number, clips in enumerate(ways):
            started = time.perf_counter()
            for clip in clips:
                read(clip)
            seconds[number] = min(seconds[number], (time.perf_counter() - started) / len(clips))
    return seconds


if __name__ == "__main__":
    main()
