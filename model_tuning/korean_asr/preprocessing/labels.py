"""One reader for each label format: bytes -> the audio's name, the raw transcript, and facts.

    script_label    *scripts.txt *.trn  `path :: text` a line    한국인 대화 음성, KsponSpeech
    metadata_facts  *metadata.txt       facts, a line a clip             한국인 대화 음성
    json_label      *.json              one clip                 외국인 한국어 발화, 자유대화,
                                                                         71469, 71479
    manifest_label  *.json *.jsonl      `{"audio_filepath": …, "text": …}`, a line a clip
    clip_text       <clip>.txt          the text of the clip beside it   KsponSpeech

No reader opens a file or raises: a label that cannot be read says so.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from typing import IO, Any

from korean_asr.files import json_value, parsed_clip, parsed_json
from korean_asr.manifest import REQUIRED_KEYS, duration_in, path_and_offset

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
# 자유대화 writes words; the other corpora write M and F.
GENDERS = {"남": "M", "여": "F", "남성": "M", "여성": "F", "남자": "M", "여자": "F"}
# So many characters of an unreadable label are kept, to show it; so many of its keys, and so many
# characters of each.
N_SHOWN, N_KEYS_SHOWN, N_KEY_CHARACTERS = 200, 8, 30
# Keys of `transcription` in 외국인 한국어 발화; other corpora use that name for something else.
FOREIGN_KEYS = {"Reading", "ReadingLabelText", "Question", "AnswerLabelText", "SentenceSpeechLV"}


# Not frozen: a frozen one takes three times as long to make, and a corpus has millions.
@dataclass(slots=True)
class Label:
    """One clip as its label describes it.

    name: the audio, as the label writes it; "" if it names none. For an unreadable label, the audio
        that it seems to mean.
    raw: the transcript as it stands; for an unreadable label, its content.
    encoding: "utf-8", "utf-16" or "cp949".
    facts: Utterance fields.
    unknown_keys: the top keys of JSON that is sound but no label of a known corpus, joined by ", ".
        Such a label is not readable.
    problem: what is wrong with a line of a manifest that is not readable.
    id: the clip's id, if a manifest gives one.
    offset, duration: seconds, where a manifest cuts the clip out of a longer file; a duration of
        None or 0 means to its end.
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


def is_label(name: str) -> bool:
    """Return whether a file of that name holds labels."""
    return name.lower().endswith(("scripts.txt", ".trn", ".json", ".jsonl"))


def is_metadata(name: str) -> bool:
    """Return whether a file of that name holds facts of clips, but no text."""
    return name.lower().endswith("metadata.txt")


def label_lines(file: IO[bytes], digest: Any) -> Iterator[bytes | None]:
    """Yield each line; None for one of more than MAX_LINE_BYTES, which is too long for a label.

    A line ends at LF, CR or both, and at nothing else. In a file in UTF-16 each line begins with a
    byte order mark, so that it can be read by itself.
    digest: a hash of hashlib, which is updated with all that is read.
    """
    blocks = _blocks(file, digest)
    first = next(blocks, b"")
    blocks = chain((first.removeprefix(codecs.BOM_UTF8),), blocks)
    if not first.startswith(UTF_16_MARKS):
        yield from _lines(blocks)
        return
    texts = codecs.iterdecode(blocks, "utf-16", errors="replace")
    for line in _lines(text.encode() for text in texts):
        yield line.decode().encode("utf-16") if line and line.strip() else line


def _blocks(file: IO[bytes], digest: Any) -> Iterator[bytes]:
    # One read of the file or archive at a time: what comes before its damage is kept.
    while block := file.read1():
        digest.update(block)
        yield block


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Yield the lines of UTF-8 or CP949, in which no other character holds the byte of CR or LF."""
    pieces: list[bytes] = []
    n_bytes, ends_in_cr = 0, False
    for block in blocks:
        # The second half of CR LF.
        rest = block[1:] if ends_in_cr and block.startswith(b"\n") else block
        ends_in_cr = block.endswith(b"\r")
        for piece in rest.splitlines(keepends=True):
            n_bytes += len(piece)
            if n_bytes <= MAX_LINE_BYTES:
                pieces.append(piece)
            if piece.endswith((b"\n", b"\r")):
                yield b"".join(pieces) if n_bytes <= MAX_LINE_BYTES else None
                pieces, n_bytes = [], 0
    if n_bytes:
        yield b"".join(pieces) if n_bytes <= MAX_LINE_BYTES else None


def script_label(line: bytes) -> Label | None:
    """Read `path :: text`; None for a blank line."""
    text, encoding = _decoded(line)
    text = text.strip()
    if not text:
        return None
    name, separator, raw = text.partition("::")
    if not separator or "\0" in text:
        first_word = name.split()[0] if name.strip() else name
        return Label(first_word, text, encoding, is_readable=False)
    return Label(name, raw.strip(), encoding)


def metadata_facts(line: bytes) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """Read the audio's name and its facts; None for a line of another shape."""
    values = [value.strip() for value in _decoded(line)[0].split("|")]
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


def json_label(content: bytes) -> Label:
    """Read the label of one clip, of the corpus that its keys show."""
    text, encoding = _decoded(content)
    value = _json_value(text)
    label = value if isinstance(value, dict) else {}
    try:
        if "transcription" in label:
            name, raw, facts = _foreign_speech(label)
        elif "발화정보" in label:
            name, raw, facts = _free_talk(label)
        else:
            name, raw, facts = _learners_speech(label)
    except (KeyError, TypeError, AttributeError):
        return _unreadable(text, encoding, _top_keys(value))
    if not isinstance(name, str) or not isinstance(raw, str) or "\0" in name + raw:
        return _unreadable(text, encoding)
    return Label(name, raw, encoding, _plain_facts(facts))


def _unreadable(text: str, encoding: str, unknown_keys: str = "", problem: str = "") -> Label:
    shown = text[:N_SHOWN].strip()
    return Label("", shown, encoding, is_readable=False, unknown_keys=unknown_keys, problem=problem)


def _top_keys(value: Any) -> str:
    """The keys of an object, or of the first object of a list; "" for any other JSON."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return ""
    keys = [key[:N_KEY_CHARACTERS] for key in islice(first, N_KEYS_SHOWN)]
    shown = ", ".join(keys + ["…"] if len(first) > N_KEYS_SHOWN else keys)
    return shown if first is value else f"[{shown}]"


# Each returns (file name or "", transcript, facts). Only the object that holds the transcript is
# required. A label of another corpus raises KeyError, TypeError or AttributeError. Name and
# transcript may be of any type.


def _foreign_speech(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """외국인 한국어 발화 (505): one key holds a text read aloud, the other an answer."""
    transcription = label["transcription"] or {}
    if transcription and not FOREIGN_KEYS & transcription.keys():
        raise KeyError
    reading = transcription.get("ReadingLabelText") or ""
    is_read = not isinstance(reading, str) or bool(reading.strip())
    raw = reading if is_read else transcription.get("AnswerLabelText") or ""
    skill = label.get("skill_info") or {}
    facts = {
        "speaker": (label.get("file_info") or {}).get("speakerID") or label.get("SpeakerID"),
        "gender": (label.get("basic_info") or {}).get("gender"),
        "first_language": skill.get("motherTongue") or skill.get("languageClass"),
        "topik_level": skill.get("topikGrade"),
        "country": (label.get("residence_info") or {}).get("country"),
        "task": "read" if is_read else "answer",
    }
    return label.get("fileName") or "", raw, facts


def _free_talk(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """자유대화."""
    utterance, speaker = label["발화정보"], label.get("녹음자정보") or {}
    facts = {
        "speaker": speaker.get("recorderId"),
        "gender": GENDERS.get(speaker.get("gender"), speaker.get("gender")),
        "age": speaker.get("age"),
    }
    return utterance.get("fileNm") or "", utterance["stt"] or "", facts


def _learners_speech(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """영어 등 사용자의 한국어 음성 (71469, 71479): `orthographic` is what the speaker said."""
    speaker = label.get("SpeakerMetadata") or {}
    facts = {
        "speaker": label.get("UserID"),
        "topik_level": speaker.get("topik_level"),
        "country": speaker.get("nationality"),
    }
    raw = label["RecordingMetadata"]["orthographic"] or ""
    return label.get("fileName") or "", raw, facts


def is_manifest_line(line: bytes) -> bool:
    """Return whether a line is a clip of a manifest by itself."""
    row = _json_value(_decoded(line)[0])
    return isinstance(row, dict) and "audio_filepath" in row


def manifest_label(line: bytes, fact_keys: tuple[str, ...]) -> Label:
    """Read a line of a manifest. fact_keys: the optional keys that are kept."""
    text, encoding = _decoded(line)
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
    except ValueError as problem:
        is_other = isinstance(row, dict) and not all(key in row for key in REQUIRED_KEYS)
        return _unreadable(text, encoding, _top_keys(row) if is_other else "", str(problem))
    facts = _plain_facts({key: row.get(key) for key in ("id", *fact_keys)})
    given_id = facts.pop("id", "")
    return Label(name, raw, encoding, facts, id=given_id, offset=offset, duration=duration)


def clip_text(content: bytes) -> Label:
    """Read the text beside a clip; it names no audio."""
    text, encoding = _decoded(content)
    return Label("", text.strip(), encoding, is_readable="\0" not in text)


def _plain_facts(facts: dict[str, Any]) -> dict[str, str]:
    """Keep texts and numbers; a list or an object is not a fact."""
    return {
        key: str(value)
        for key, value in facts.items()
        if isinstance(value, (str, int, float)) and value != ""
    }


def _json_value(text: str) -> Any:
    try:
        return parsed_json(text)
    except ValueError:
        return None


def _decoded(content: bytes) -> tuple[str, str]:
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
