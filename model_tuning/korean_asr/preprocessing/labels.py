"""One reader for each label format: bytes -> the audio's name, the raw transcript, and facts.

    script_label    *scripts.txt *.trn  `path :: text` a line    한국인 대화 음성, KsponSpeech
    trans_label     *.trans.txt         `id text` a line                 Zeroth
    metadata_facts  *metadata.txt       facts, a line a clip             한국인 대화 음성
    manifest_label  *.json *.jsonl      `{"audio_filepath": …, "text": …}`, a line a clip
    clip_text       <clip>.txt          the text of the clip beside it   KsponSpeech

json_labels.py reads all other JSON. No reader opens a file or raises: a label that cannot be read
says so.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from korean_asr.archive_file import is_address
from korean_asr.files import json_value, parsed_clip, parsed_json
from korean_asr.manifest import REQUIRED_KEYS, duration_in, path_and_offset, place_in

# Label files with a line a clip.
# Names of texts that stand in any folder and are no transcripts.
DOCUMENTS = ("readme", "license", "licence", "notice", "copying")
LINE_LABELS = ("scripts.txt", ".trn", ".trans.txt")
# A label line of a clip takes some hundred bytes, a JSON label two thousand.
MAX_LINE_BYTES = 1 << 20
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# 한국인 대화 음성: metadata fields whose meaning is established, and their codes. The meaning of
# fields 1, 2, 5 and 7 is not, so no speaker is read from them.
GENDER_FIELD, AGE_FIELD, RESIDENCE_FIELD, QUALITY_FIELD, N_FIELDS = 3, 4, 6, 8, 9
AGES = {"C": "유아", "T": "청소년", "A": "성인", "S": "고령", "Z": "기타"}
RESIDENCES = {
    "1": "서울·경기",
    "2": "강원",
    "3": "충청",
    "4": "경상",
    "5": "전라",
    "6": "제주",
    "9": "기타",
}
QUALITIES = {"1": "정상", "2": "노이즈", "3": "잡음", "4": "원거리"}
# So many characters of an unreadable label are kept, to show it; so many of its keys, so many
# characters of each, and keys of objects within so many others.
N_SHOWN, N_KEYS_SHOWN, N_KEY_CHARACTERS, N_KEY_LEVELS = 200, 40, 30, 5


# Not frozen: a frozen one takes three times as long to make, and a corpus has millions.
@dataclass(slots=True)
class Label:
    """One clip as its label describes it.

    name: the audio, as the label writes it; "" if it names none. For an unreadable label, the audio
        that it seems to mean.
    raw: the transcript as it stands; for an unreadable label, its content.
    encoding: "utf-8", "utf-16" or "cp949".
    facts: Utterance fields.
    unknown_keys: shown_keys of JSON that is sound but no label of a known corpus. Such a label is
        not readable.
    problem: what is wrong with a label that is not readable, where more is known.
    id: the clip's id, if a manifest gives one.
    place: manifest.PLACE_KEYS of a clip in an archive, if a manifest names one.
    offset, duration: seconds, where the clip is cut out of a longer file; a duration of None or 0
        means to its end.
    is_keyed: whether the text lies under the key that the user named.
    """

    name: str
    raw: str
    encoding: str
    facts: dict[str, str] = field(default_factory=dict)
    is_readable: bool = True
    id: str = ""
    offset: float | None = None
    duration: float | None = None
    unknown_keys: str = ""
    problem: str = ""
    place: dict[str, Any] | None = None
    is_keyed: bool = False


def is_label(name: str) -> bool:
    """Return whether a file of that name holds labels."""
    return name.lower().endswith((*LINE_LABELS, ".json", ".jsonl"))


def is_metadata(name: str) -> bool:
    """Return whether a file of that name holds facts of clips, but no text."""
    return name.lower().endswith("metadata.txt")


def is_clip_text(name: str) -> bool:
    """Return whether a file of that name can be the transcript of the one clip beside it."""
    base = name.lower().rpartition("/")[2]
    return base.endswith(".txt") and not (base.startswith(("._", *DOCUMENTS)) or is_metadata(base))


def label_lines(
    file: IO[bytes], digest: Any, max_bytes: int | None = None
) -> Iterator[bytes | None]:
    """Yield each line; None for one of more than max_bytes, which is too long for a label.

    A line ends at LF, CR or both, and at nothing else. In a file in UTF-16 each line begins with a
    byte order mark, so that it can be read by itself.
    digest: a hash of hashlib, which is updated with all that is read.
    max_bytes: MAX_LINE_BYTES if None.
    """
    max_bytes = max_bytes or MAX_LINE_BYTES
    blocks = _blocks(file, digest)
    first = next(blocks, b"")
    blocks = chain((first.removeprefix(codecs.BOM_UTF8),), blocks)
    if not first.startswith(UTF_16_MARKS):
        yield from _lines(blocks, max_bytes)
        return
    texts = codecs.iterdecode(blocks, "utf-16", errors="replace")
    for line in _lines((text.encode() for text in texts), max_bytes):
        yield line.decode().encode("utf-16") if line and line.strip() else line


def _blocks(file: IO[bytes], digest: Any) -> Iterator[bytes]:
    # One read of the file or archive at a time: what comes before its damage is kept.
    while block := file.read1():
        digest.update(block)
        yield block


def _lines(blocks: Iterable[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """Yield the lines of UTF-8 or CP949, in which no other character holds the byte of CR or LF."""
    pieces: list[bytes] = []
    n_bytes, ends_in_cr = 0, False
    for block in blocks:
        # The second half of CR LF.
        rest = block[1:] if ends_in_cr and block.startswith(b"\n") else block
        ends_in_cr = block.endswith(b"\r")
        for piece in rest.splitlines(keepends=True):
            n_bytes += len(piece)
            if n_bytes <= max_bytes:
                pieces.append(piece)
            if piece.endswith((b"\n", b"\r")):
                yield b"".join(pieces) if n_bytes <= max_bytes else None
                pieces, n_bytes = [], 0
    if n_bytes:
        yield b"".join(pieces) if n_bytes <= max_bytes else None


def script_label(line: bytes) -> Label | None:
    """Read `path :: text`; None for a blank line."""
    text, encoding = decoded(line)
    text = text.strip()
    if not text:
        return None
    name, separator, raw = text.partition("::")
    if not separator or "\0" in text:
        first_word = name.split()[0] if name.strip() else name
        return Label(first_word, text, encoding, is_readable=False)
    return Label(name, raw.strip(), encoding)


def trans_label(line: bytes) -> Label | None:
    """Read `id text` of Zeroth, where the id is the stem of the audio; None for a blank line.

    An id such as 104_003_0001 starts with the speaker, who has a folder of that name.
    """
    text, encoding = decoded(line)
    name, _, raw = text.strip().partition(" ")
    if not name:
        return None
    if not raw.strip() or "\0" in text:
        return Label(name, text.strip(), encoding, is_readable=False)
    speaker, separator, _ = name.partition("_")
    facts = {"speaker": speaker} if separator and speaker else {}
    return Label(name, raw.strip(), encoding, facts)


def metadata_facts(line: bytes) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """Read the audio's name and its facts; None for a line of another shape."""
    values = [value.strip() for value in decoded(line)[0].split("|")]
    if len(values) < N_FIELDS:
        return None
    codes = (values[i] for i in (GENDER_FIELD, AGE_FIELD, RESIDENCE_FIELD, QUALITY_FIELD))
    return values[0], _facts_of_codes(*codes)


@lru_cache(maxsize=10_000)
def _facts_of_codes(
    gender: str, age: str, residence: str, quality: str
) -> tuple[tuple[str, str], ...]:
    """Cached, so that a million clips share a few hundred objects."""
    facts = {
        "gender": gender if gender in ("M", "F") else None,
        "age": AGES.get(age),
        "residence": RESIDENCES.get(residence),
        "quality": QUALITIES.get(quality),
    }
    return tuple((key, value) for key, value in facts.items() if value)


def unreadable_label(text: str, encoding: str, unknown_keys: str = "", problem: str = "") -> Label:
    """A label that cannot be read, with its first characters."""
    shown = text[:N_SHOWN].strip()
    return Label("", shown, encoding, is_readable=False, unknown_keys=unknown_keys, problem=problem)


def shown_keys(value: Any) -> str:
    """The keys of an object, such as `id, 전사정보.LabelText`, as --text-key names them.

    Keys within keys are joined by dots; of a list the first object counts, and a list as a whole is
    shown in brackets. Returns "" for any other JSON.
    """
    keys = list(islice(_paths(value, N_KEY_LEVELS), N_KEYS_SHOWN + 1))
    shown = ", ".join([*keys[:N_KEYS_SHOWN], "…"] if len(keys) > N_KEYS_SHOWN else keys)
    return f"[{shown}]" if shown and isinstance(value, list) else shown


def _paths(value: Any, n_levels: int) -> Iterator[str]:
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict) or not n_levels:
        return
    for key, inner in first.items():
        shown, is_leaf = key[:N_KEY_CHARACTERS], True
        for path in _paths(inner, n_levels - 1):
            is_leaf = False
            yield f"{shown}.{path}"
        if is_leaf:
            yield shown


def is_manifest_line(line: bytes) -> bool:
    """Return whether a line is a clip of a manifest by itself."""
    row = parsed_or_none(decoded(line)[0])
    return isinstance(row, dict) and "audio_filepath" in row


def manifest_label(line: bytes, fact_keys: tuple[str, ...]) -> Label:
    """Read a line of a manifest. fact_keys: the optional keys that are kept."""
    text, encoding = decoded(line)
    row = None
    try:
        row = parsed_clip(text)
        name, offset = path_and_offset(row)
        raw = "" if row["text"] is None else json_value(row, "text", str)
        if not name.strip():
            raise ValueError("`audio_filepath` is empty")
        if "\0" in raw:
            raise ValueError("`text` holds the character NUL")
        # Without an offset the clip is the whole file, whatever the manifest says.
        duration = None if offset is None else duration_in(row)
        place = place_in(row, Path()) if is_address(name) else None
    except ValueError as problem:
        is_other = isinstance(row, dict) and not all(key in row for key in REQUIRED_KEYS)
        return unreadable_label(text, encoding, shown_keys(row) if is_other else "", str(problem))
    facts = plain_facts({key: row.get(key) for key in ("id", *fact_keys)})
    label = Label(name, raw, encoding, facts, id=facts.pop("id", ""))
    label.offset, label.duration, label.place = offset, duration, place
    return label


def clip_text(content: bytes) -> Label:
    """Read the text beside a clip; it names no audio."""
    text, encoding = decoded(content)
    return Label("", text.strip(), encoding, is_readable="\0" not in text)


def plain_facts(facts: dict[str, Any]) -> dict[str, str]:
    """Keep texts and numbers; a list or an object is not a fact."""
    return {
        key: str(value)
        for key, value in facts.items()
        if isinstance(value, (str, int, float)) and value != ""
    }


def parsed_or_none(text: str) -> Any:
    """The value of a JSON text; None for any other text."""
    try:
        return parsed_json(text)
    except ValueError:
        return None


def decoded(content: bytes) -> tuple[str, str]:
    """Return text and encoding: UTF-8 with or without BOM, UTF-16 with BOM, else CP949.

    Bytes that the encoding lacks become U+FFFD. Called for a line at a time, so that one line in
    CP949 does not spoil a file in UTF-8.
    """
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        # The byte order marks of UTF-16 are never UTF-8. label_lines gives one to each line.
        if content.startswith(UTF_16_MARKS):
            return content.decode("utf-16", errors="replace").replace("\ufeff", ""), "utf-16"
        return content.decode("cp949", errors="replace"), "cp949"
