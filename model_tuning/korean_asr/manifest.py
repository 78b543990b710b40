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

from korean_asr.archive_file import Place, is_address, path_within, split_address
from korean_asr.audio import Audio, UnreadableAudio, audio_info
from korean_asr.errors import DataError
from korean_asr.files import LineFormat, json_value, read_json_lines, shown_json, write_json_lines
from korean_asr.metrics import normalised, without_punctuation

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIRED_KEYS = ("audio_filepath", "text")
# 31 years: no clip is longer, and sums of such durations stay finite.
MAX_SECONDS = 1e9
# Manifests round durations. A clip whose audio is longer or shorter by more is named.
DURATION_TOLERANCE_S = 0.1


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and its reference text.

    audio_filepath: an absolute path, or the address of a file in an archive with such a path.
    duration: seconds.
    text: NFC, with single spaces.
    audio_sha256: audio.Samples.checksum; script 2 writes it into the split.
    offset: seconds; the clip is cut out of its file there, and takes `duration`. None: the clip is
        the whole file.
    audio_offset, audio_bytes, audio_index: where the file lies in its archive; see
        archive_file.Place.
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
    corpus: str | None = None
    prompt: str | None = None
    audio_sha256: str | None = None
    offset: float | None = None
    audio_offset: int | None = None
    audio_bytes: int | None = None
    audio_index: str | None = None

    @property
    def audio(self) -> Audio:
        """The audio that audio.read_samples takes: a path, or a place in an archive."""
        place = self.audio_offset, self.audio_bytes, self.audio_index
        return audio_at(self.audio_filepath, *place)

    @property
    def cut(self) -> tuple[float, float | None]:
        """The offset and duration that audio.read_samples takes; a duration of 0 is unknown."""
        return (0.0, None) if self.offset is None else (self.offset, self.duration or None)


_KEYS = tuple(field.name for field in fields(Utterance))
_values = attrgetter(*_KEYS)
PLACE_KEYS = ("audio_offset", "audio_bytes", "audio_index")
OPTIONAL_KEYS = tuple(
    key for key in _KEYS if key not in ("id", "duration", "offset", *PLACE_KEYS, *REQUIRED_KEYS)
)


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest, in its order.

    A relative audio_filepath starts at the manifest's folder, and so do a relative audio_index and
    the path of an archive at the end of an address. A clip without an id takes the stem
    of its audio file and what is cut out of it, or the whole path where that repeats. A missing
    duration is measured; it stays 0 where the audio cannot be read. Other keys are dropped.
    Raises DataError that names the file, the line and the key.
    """
    folder = path.resolve().parent

    def clip_of(row: Any, number: int) -> Utterance:
        try:
            return _utterance(row, folder)
        except ValueError as problem:
            keys = ", ".join(REQUIRED_KEYS)
            raise DataError(
                f"{path}, line {number}: {problem}. Each line is a JSON object with {keys}. "
                "· 각 줄에 필요한 키를 확인하세요."
            ) from None

    clips = read_json_lines(path, _manifest_format(path), clip_of)
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


def _utterance(row: Any, folder: Path) -> Utterance:
    """Read a row of a manifest. Raises ValueError that names the key of a malformed one."""
    path, offset = path_and_offset(row)
    audio = absolute_audio(path, folder)
    duration = duration_in(row)
    clip = Utterance(
        id=_fact(row, "id") or clip_name(Path(path_within(audio)).stem, offset, duration),
        audio_filepath=audio,
        duration=duration or 0.0,
        # Normalised as for scoring: in decomposed Hangul every letter would be [UNK].
        text=normalised(json_value(row, "text", str)),
        offset=offset,
        **place_in(row, folder),
        **{key: _fact(row, key) for key in OPTIONAL_KEYS},
    )
    return replace(clip, duration=_measured(clip)) if duration is None else clip


def audio_at(
    path: str, audio_offset: int | None, audio_bytes: int | None, audio_index: str | None
) -> Audio:
    """What audio.read_samples takes of a path, or of an address and its PLACE_KEYS."""
    return Place(path, audio_offset, audio_bytes, audio_index) if is_address(path) else path


def absolute_audio(audio: str, folder: Path) -> str:
    """A path, or an address, whose path on disk starts at a folder if it is relative."""
    chain, path = split_address(audio)
    return chain + os.path.normpath(folder / path)


def place_in(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The PLACE_KEYS of a row, None where it has none; a relative audio_index starts at a folder.

    Raises ValueError that names the key and the value of a malformed row.
    """
    place: dict[str, Any] = dict.fromkeys(PLACE_KEYS)
    for key in ("audio_offset", "audio_bytes"):
        if row.get(key) is not None:
            place[key] = json_value(row, key, int)
            if place[key] < 0:
                raise ValueError(f"`{key}` is {shown_json(place[key])}, not a number of bytes")
    if row.get("audio_index") is not None:
        place["audio_index"] = os.path.normpath(folder / json_value(row, "audio_index", str))
    return place


def _fact(row: dict[str, Any], key: str) -> str | None:
    return None if row.get(key) is None else str(row[key])


def path_and_offset(row: Any) -> tuple[str, float | None]:
    """The audio of a row of a manifest, and where the clip starts in it; scripts 1 to 4 ask here.

    Raises ValueError that names the key and the value of a malformed row.
    """
    refuse_other_rows(row, REQUIRED_KEYS)
    path = json_value(row, "audio_filepath", str)
    if not path:
        raise ValueError("`audio_filepath` is empty")
    return path, offset_in(row)


def refuse_other_rows(row: Any, keys: tuple[str, ...]) -> None:
    """Raise ValueError that says what is wrong if a row is no object, or lacks one of the keys."""
    if not isinstance(row, dict):
        kind = "array" if isinstance(row, list) else "value"
        raise ValueError(f"it is a JSON {kind}, not an object")
    if missing := [key for key in keys if key not in row]:
        raise ValueError(f"it has no `{missing[0]}`, only {', '.join(row) or 'no key at all'}")


def offset_in(row: dict[str, Any]) -> float | None:
    """The offset in a row, in seconds; None for a missing key or null, which mean the whole file.

    Any other value that is no number of seconds raises ValueError: the whole file is longer than
    the text.
    """
    value = row.get("offset")
    return None if value is None else _seconds("offset", value)


def duration_in(row: dict[str, Any]) -> float | None:
    """The duration in a row, in seconds; None for a missing key, null or an empty text.

    Raises ValueError as offset_in does.
    """
    value = row.get("duration")
    return None if value in (None, "") else _seconds("duration", value)


def _seconds(key: str, value: Any) -> float:
    """A number, or a text of one. Raises ValueError for anything but 0 to MAX_SECONDS."""
    try:
        # In Python, but not in JSON, true is a number.
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"`{key}` is {shown_json(value)}, not 0 to {MAX_SECONDS:,.0f} seconds")
    return seconds


def _measured(clip: Utterance) -> float:
    """Seconds from the offset to the end of a file; 0 for one that cannot be read."""
    try:
        return round(audio_info(clip.audio, clip.offset or 0.0).duration, 4)
    except UnreadableAudio:
        return 0.0


def clip_name(stem: str, offset: float | None, duration: float | None) -> str:
    """The id of a clip without one: the stem of its file, and what is cut out of it.

    A clip at the start of its file has the stem alone, as a whole file has.
    """
    return stem + cut_name(offset, duration) if offset else stem


def cut_name(offset: float, duration: float | None) -> str:
    """Start and end of a clip in its file as a part of its id: `_1.5000-3.2500`, `_1.5000-end`."""
    return f"_{offset:.4f}-{offset + duration:.4f}" if duration else f"_{offset:.4f}-end"


def _with_path_as_id(clip: Utterance) -> Utterance:
    """Put the path into the id, if the id is made of the stem; all cuts of a file stay apart."""
    audio = Path(path_within(clip.audio_filepath))
    stem, path = audio.stem, audio.with_suffix("").as_posix()
    if clip.offset is None:
        return replace(clip, id=path) if clip.id == stem else clip
    # An unknown duration has been measured meanwhile.
    cuts = [cut_name(clip.offset, duration) for duration in (clip.duration, None)]
    if clip.id not in (stem, *(stem + cut for cut in cuts)):
        return clip
    return replace(clip, id=path + (cuts[1] if clip.id == stem + cuts[1] else cuts[0]))


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
        if is_inside:
            chain, path = split_address(utterance.audio_filepath)
            row["audio_filepath"] = chain + _relative(path, str(folder))
            if utterance.audio_index is not None:
                row["audio_index"] = _relative(utterance.audio_index, str(folder))
        rows.append(row)
    return rows


def _relative(path: str, folder: str) -> str:
    """The path from `folder` to one in this repository; another path stays."""
    if not path.startswith(f"{REPOSITORY}/"):
        return path
    parent, _, name = path.rpartition("/")
    return _relative_folder(parent, folder) + name


# Clips share few folders, and relpath() takes longer than the rest of a row.
@lru_cache(maxsize=4096)
def _relative_folder(audio_folder: str, folder: str) -> str:
    """The path from `folder` to `audio_folder`, with a slash for the file name to follow."""
    return "" if audio_folder == folder else os.path.relpath(audio_folder, folder) + "/"


def write_manifest(path: Path, utterances: list[Utterance]) -> None:
    """Write a manifest, whole or not at all."""
    write_json_lines(path, manifest_rows(utterances, path.parent))


def content_checksum(utterances: list[Utterance]) -> str:
    """SHA-256 over ids, durations, texts and offsets in order; paths do not change it."""
    digest = hashlib.sha256()
    for utterance in utterances:
        line = f"{utterance.id}\t{utterance.duration}\t{utterance.text}"
        if utterance.offset is not None:
            line += f"\t{utterance.offset}"
        digest.update(f"{line}\n".encode(errors="surrogatepass"))
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
