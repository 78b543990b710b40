"""One reader for each label format: bytes -> the audio's name, the raw transcript, and facts.

    script_label    *scripts.txt *.trn  `path :: text` a line    한국인 대화 음성, KsponSpeech
    metadata_facts  *metadata.txt       facts, a line a clip             한국인 대화 음성
    json_label      *.json              one clip                 외국인 한국어 발화, 자유대화,
                                                                         71469, 71479
    manifest_label  *.json *.jsonl      `{"audio_filepath": …, "text": …}`, a line a clip
    clip_text       <clip>.txt          the text of the clip beside it   KsponSpeech

No reader opens a file or raises: a label that cannot be read says so.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, Any

from korean_asr.manifest import seconds_in

# A label line of a clip takes some hundred bytes, a JSON label two thousand.
MAX_LINE_BYTES = 1 << 20
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
# So many characters of an unreadable label are kept, to show it.
N_SHOWN = 200


# Not frozen: a frozen one takes three times as long to make, and a corpus has millions.
@dataclass(slots=True)
class Label:
    """One clip as its label describes it.

    name: the audio, as the label writes it; "" if it names none. For an unreadable label, the audio
        that it seems to mean.
    raw: the transcript as it stands; for an unreadable label, its content.
    encoding: "utf-8" or "cp949".
    facts: Utterance fields.
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


def is_label(name: str) -> bool:
    """Return whether a file of that name holds labels."""
    return name.lower().endswith(("scripts.txt", ".trn", ".json", ".jsonl"))


def is_metadata(name: str) -> bool:
    """Return whether a file of that name holds facts of clips, but no text."""
    return name.lower().endswith("metadata.txt")


def label_lines(file: IO[bytes], digest: Any) -> Iterator[bytes | None]:
    """Yield each line; None for one of MAX_LINE_BYTES or more, which is too long for a label.

    digest: a hash of hashlib, which is updated with all that is read.
    """
    while line := file.readline(MAX_LINE_BYTES):
        digest.update(line)
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
            digest.update(line)
        yield None


def script_label(line: bytes) -> Label | None:
    """Read `path :: text`; None for a blank line."""
    text, encoding = _decoded(line)
    text = text.strip()
    if not text:
        return None
    name, separator, raw = text.partition("::")
    if not separator or b"\0" in line:
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
    label = _json_object(content) or {}
    try:
        if "transcription" in label:
            name, raw, facts = _foreign_speech(label)
        elif "발화정보" in label:
            name, raw, facts = _free_talk(label)
        else:
            name, raw, facts = _learners_speech(label)
        if "\0" in name + raw:
            raise ValueError
    except (KeyError, TypeError, AttributeError, ValueError):
        return Label("", text[:N_SHOWN], encoding, is_readable=False)
    return Label(name, raw, encoding, _plain_facts(facts))


# Each returns (file name or "", transcript, facts). Only the object that holds the transcript is
# required. A label of another shape raises KeyError, TypeError or AttributeError; `+ ""` raises
# TypeError for a transcript that is not a text.


def _foreign_speech(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """외국인 한국어 발화 (505): one key holds a text read aloud, the other an answer."""
    transcription = label["transcription"] or {}
    reading = transcription.get("ReadingLabelText") or ""
    raw = reading if reading.strip() else transcription.get("AnswerLabelText") or ""
    skill = label.get("skill_info") or {}
    facts = {
        "speaker": (label.get("file_info") or {}).get("speakerID") or label.get("SpeakerID"),
        "gender": (label.get("basic_info") or {}).get("gender"),
        "first_language": skill.get("motherTongue") or skill.get("languageClass"),
        "topik_level": skill.get("topikGrade"),
        "country": (label.get("residence_info") or {}).get("country"),
        "task": "read" if reading.strip() else "answer",
    }
    return label.get("fileName") or "", raw + "", facts


def _free_talk(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """자유대화."""
    utterance, speaker = label["발화정보"], label.get("녹음자정보") or {}
    facts = {
        "speaker": speaker.get("recorderId"),
        "gender": GENDERS.get(speaker.get("gender"), speaker.get("gender")),
        "age": speaker.get("age"),
    }
    return utterance.get("fileNm") or "", (utterance["stt"] or "") + "", facts


def _learners_speech(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """영어 등 사용자의 한국어 음성 (71469, 71479): `orthographic` is what the speaker said."""
    speaker = label.get("SpeakerMetadata") or {}
    facts = {
        "speaker": label.get("UserID"),
        "topik_level": speaker.get("topik_level"),
        "country": speaker.get("nationality"),
    }
    raw = (label["RecordingMetadata"]["orthographic"] or "") + ""
    return label.get("fileName") or "", raw, facts


def is_manifest_line(line: bytes) -> bool:
    """Return whether a line is a clip of a manifest by itself."""
    return "audio_filepath" in (_json_object(line) or ())


def manifest_label(line: bytes, fact_keys: tuple[str, ...]) -> Label:
    """Read a line of a manifest. fact_keys: the optional keys that are kept."""
    text, encoding = _decoded(line)
    row = _json_object(line) or {}
    try:
        name, raw = row["audio_filepath"] + "", (row["text"] or "") + ""
        if "\0" in name + raw or not name.strip():
            raise ValueError
        offset = seconds_in(row, "offset")
        # Without an offset the clip is the whole file, whatever the manifest says.
        duration = None if offset is None else seconds_in(row, "duration")
    except (KeyError, TypeError, ValueError):
        return Label("", text[:N_SHOWN].strip(), encoding, is_readable=False)
    facts = _plain_facts({key: row.get(key) for key in ("id", *fact_keys)})
    given_id = facts.pop("id", "")
    return Label(name, raw, encoding, facts, id=given_id, offset=offset, duration=duration)


def clip_text(content: bytes) -> Label:
    """Read the text beside a clip; it names no audio."""
    text, encoding = _decoded(content)
    return Label("", text.strip(), encoding, is_readable=b"\0" not in content)


def _plain_facts(facts: dict[str, Any]) -> dict[str, str]:
    """Keep texts and numbers; a list or an object is not a fact."""
    return {
        key: str(value)
        for key, value in facts.items()
        if isinstance(value, (str, int, float)) and value != ""
    }


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        label = json.loads(_decoded(content)[0])
    except (ValueError, RecursionError):
        return None
    return label if isinstance(label, dict) else None


def _decoded(content: bytes) -> tuple[str, str]:
    """Return text and encoding: UTF-8 with or without BOM, else CP949.

    Bytes that CP949 lacks become U+FFFD. Called for a line at a time, so that one line in CP949
    does not spoil a file in UTF-8.
    """
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp949", errors="replace"), "cp949"
