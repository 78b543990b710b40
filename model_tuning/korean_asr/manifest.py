"""The Utterance record, and manifests: JSON lines, one clip a line, in the keys of NeMo and the Open ASR Leaderboard."""

import hashlib
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError
from korean_asr.files import write_json_lines
from korean_asr.metrics import normalised

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIRED_KEYS = ("audio_filepath", "duration", "text")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and its reference text.

    audio_filepath is absolute in memory; duration is in seconds; text is NFC. None is what the corpus does not tell.
    """

    id: str
    audio_filepath: str
    duration: float
    text: str
    speaker: str | None = None
    theme: str | None = None
    part: str | None = None
    gender: str | None = None
    age: str | None = None
    residence: str | None = None
    quality: str | None = None
    first_language: str | None = None
    topik_level: str | None = None
    country: str | None = None
    task: str | None = None
    audio_sha256: str | None = None  # audio.Samples.checksum: script 2 writes it into the split


_KEYS = tuple(field.name for field in fields(Utterance))
OPTIONAL_KEYS = tuple(key for key in _KEYS if key not in ("id", *REQUIRED_KEYS))


def read_manifest(path: Path) -> list[Utterance]:
    """All utterances of a manifest, in its order.

    A relative audio_filepath starts at the manifest's folder. A clip without an id is named by its audio's stem, and by its
    whole path where stems repeat. Keys that are not ours are dropped. Raises DataError that names the file and line.
    """
    if not path.is_file():
        foreign = " with --foreign DIR" if path.name == "foreign.jsonl" else ""
        raise DataError(
            f"{path} is missing. Run 'model_tuning/1. script_preprocessing.py'{foreign} first, or pass another file."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a manifest: its bytes are not UTF-8 (byte {error.start})."
        ) from None
    folder = path.resolve().parent
    utterances = [
        _utterance(line, folder, f"{path}, line {i}")
        for i, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not utterances:
        raise DataError(
            f"{path} holds no clip. Look into rejected.jsonl beside it, or pass another file."
        )
    repeated = {
        stem for stem, n in Counter(utterance.id for utterance in utterances).items() if n > 1
    }
    return [
        replace(utterance, id=Path(utterance.audio_filepath).with_suffix("").as_posix())
        if utterance.id in repeated and utterance.id == Path(utterance.audio_filepath).stem
        else utterance
        for utterance in utterances
    ]


def _utterance(line: str, folder: Path, place: str) -> Utterance:
    try:
        row = json.loads(line)
        audio = os.path.normpath(folder / row["audio_filepath"])
        duration = float(row["duration"])
        if not row["audio_filepath"] or not 0 <= duration < math.inf:
            raise ValueError
        name = row.get("id")
        return Utterance(
            id=Path(audio).stem if name in (None, "") else str(name),
            audio_filepath=audio,
            duration=duration,
            # Composed and with single spaces, as it will be scored: decomposed Hangul would be all [UNK].
            text=normalised(row["text"]),
            **{key: None if row.get(key) is None else str(row[key]) for key in OPTIONAL_KEYS},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise DataError(
            f"{place}: not a clip. Each line is a JSON object with {', '.join(REQUIRED_KEYS)}."
        ) from None


def manifest_rows(utterances: list[Utterance], folder: Path) -> list[dict[str, Any]]:
    """The lines of a manifest that is to lie in `folder`, as dictionaries.

    Audio in this repository is named relative to the folder, if that lies in it too, so that a clone may move; all other
    audio by its absolute path.
    """
    folder = folder.resolve()
    inside = folder.is_relative_to(REPOSITORY)
    rows = []
    for utterance in utterances:
        # Not asdict(), which copies each value and takes ten times as long.
        values = ((key, getattr(utterance, key)) for key in _KEYS)
        row = {key: value for key, value in values if value is not None or key == "speaker"}
        if inside and utterance.audio_filepath.startswith(f"{REPOSITORY}/"):
            audio_folder, _, name = utterance.audio_filepath.rpartition("/")
            row["audio_filepath"] = _relative_folder(audio_folder, str(folder)) + name
        rows.append(row)
    return rows


@lru_cache(
    maxsize=4096
)  # clips share few folders, and relpath takes longer than all the rest of a row
def _relative_folder(audio_folder: str, folder: str) -> str:
    """The way from one folder to the other, as it stands before a file's name."""
    return "" if audio_folder == folder else os.path.relpath(audio_folder, folder) + "/"


def write_manifest(path: Path, utterances: list[Utterance]) -> None:
    write_json_lines(path, manifest_rows(utterances, path.parent))


def content_checksum(utterances: list[Utterance]) -> str:
    """SHA-256 over ids, durations and texts in order: the same clips give the same value wherever they lie."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(
            f"{utterance.id}\t{utterance.duration}\t{utterance.text}\n".encode(
                errors="surrogatepass"
            )
        )
    return digest.hexdigest()
