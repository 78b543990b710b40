"""The Utterance record, and manifests: one clip a line, with the keys of NeMo's manifests."""

import hashlib
import math
import os
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from korean_asr.files import LineFormat, read_json_lines, write_json_lines
from korean_asr.metrics import normalised, without_punctuation

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIRED_KEYS = ("audio_filepath", "duration", "text")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and its reference text.

    audio_filepath: an absolute path.
    duration: seconds.
    text: NFC, with single spaces.
    audio_sha256: audio.Samples.checksum; script 2 writes it into the split.
    A field is None if the corpus does not give it.
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
    audio_sha256: str | None = None


_KEYS = tuple(field.name for field in fields(Utterance))
_values = attrgetter(*_KEYS)
OPTIONAL_KEYS = tuple(key for key in _KEYS if key not in ("id", *REQUIRED_KEYS))


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest, in its order.

    A relative audio_filepath starts at the manifest's folder. A clip without an id takes the stem
    of its audio file, or the whole path where stems repeat. Other keys are dropped.
    Raises DataError that names the file and the line.
    """
    folder = path.resolve().parent
    clips = read_json_lines(path, _manifest_format(path), lambda row, _: _utterance(row, folder))
    repeated = {name for name, n in Counter(clip.id for clip in clips).items() if n > 1}
    return [_with_path_as_id(clip) if clip.id in repeated else clip for clip in clips]


def _manifest_format(path: Path) -> LineFormat:
    option = " with --foreign DIR" if path.name == "foreign.jsonl" else ""
    return LineFormat(
        file="manifest",
        line="clip",
        keys=REQUIRED_KEYS,
        if_missing=f"Run 'model_tuning/1. script_preprocessing.py'{option} first, "
        "or pass another file. · 1번 스크립트를 먼저 실행하세요.",
        if_empty="Look into rejected.jsonl beside it, or pass another file.",
    )


def _utterance(row: dict[str, Any], folder: Path) -> Utterance:
    """Read a row of a manifest. Raises ValueError, KeyError or TypeError for a malformed one."""
    audio = os.path.normpath(folder / row["audio_filepath"])
    duration = float(row["duration"])
    if not row["audio_filepath"] or not 0 <= duration < math.inf:
        raise ValueError("no audio, or no duration")
    name = row.get("id")
    return Utterance(
        id=Path(audio).stem if name in (None, "") else str(name),
        audio_filepath=audio,
        duration=duration,
        # Normalised as for scoring: in decomposed Hangul every letter would be [UNK].
        text=normalised(row["text"]),
        **{key: None if row.get(key) is None else str(row[key]) for key in OPTIONAL_KEYS},
    )


def _with_path_as_id(clip: Utterance) -> Utterance:
    """Make the path the id, if the id is the stem of the audio file."""
    audio = Path(clip.audio_filepath)
    return replace(clip, id=audio.with_suffix("").as_posix()) if clip.id == audio.stem else clip


def manifest_rows(utterances: list[Utterance], folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a manifest in `folder`.

    Audio paths are relative to the folder if both are in this repository, so that a clone may be
    moved. Otherwise they are absolute.
    """
    folder = folder.resolve()
    is_inside = folder.is_relative_to(REPOSITORY)
    rows = []
    for utterance in utterances:
        # dataclasses.asdict() copies every value, and takes many times as long.
        values = zip(_KEYS, _values(utterance), strict=True)
        # The format has `speaker` in every row, null if unknown. It leaves out other unknown facts.
        row = {key: value for key, value in values if value is not None or key == "speaker"}
        if is_inside and utterance.audio_filepath.startswith(f"{REPOSITORY}/"):
            audio_folder, _, name = utterance.audio_filepath.rpartition("/")
            row["audio_filepath"] = _relative_folder(audio_folder, str(folder)) + name
        rows.append(row)
    return rows


# Clips share few folders, and relpath() takes longer than the rest of a row.
@lru_cache(maxsize=4096)
def _relative_folder(audio_folder: str, folder: str) -> str:
    """The path from `folder` to `audio_folder`, with a slash for the file name to follow."""
    return "" if audio_folder == folder else os.path.relpath(audio_folder, folder) + "/"


def write_manifest(path: Path, utterances: list[Utterance]) -> None:
    """Write a manifest, whole or not at all."""
    write_json_lines(path, manifest_rows(utterances, path.parent))


def content_checksum(utterances: list[Utterance]) -> str:
    """SHA-256 over ids, durations and texts in order; paths do not change it."""
    digest = hashlib.sha256()
    for utterance in utterances:
        line = f"{utterance.id}\t{utterance.duration}\t{utterance.text}\n"
        digest.update(line.encode(errors="surrogatepass"))
    return digest.hexdigest()


def sentence_key(text: str) -> str:
    """The text without spaces, punctuation and case; texts with equal keys are one sentence."""
    return without_punctuation(text).replace(" ", "").casefold()


# Clips are grouped by these durations, in the scores of slices and in the check of training clips.
DURATION_BINS_S = (0, 2, 4, 6, 10, 15, 20)
DURATION_NAMES = (
    *(f"{low}-{high} s" for low, high in zip(DURATION_BINS_S, DURATION_BINS_S[1:], strict=False)),
    f"over {DURATION_BINS_S[-1]} s",
)


def duration_bin(seconds: float) -> str | None:
    """Name the duration bin of a clip, such as `2-4 s`; None for 0, an unknown duration."""
    return DURATION_NAMES[bisect_right(DURATION_BINS_S, seconds) - 1] if seconds else None
