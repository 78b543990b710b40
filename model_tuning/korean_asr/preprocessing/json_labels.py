"""One reader for each JSON format: the content of a label -> its clips.

    transcription, an object        외국인 한국어 발화 (505)
    transcription, a text           dataset/ and dataset_test/ of the original code
    발화정보.stt                       자유대화
    전사정보.LabelText                 명령어 음성 (94, 95, 96)
    inputText.orgtext               복지 분야 콜센터 상담데이터 (470)
    utterance.start, utterance.end  한국어 방언 발화 (118-122), 회의 음성인식 (464)
    RecordingMetadata.orthographic  영어 등 사용자의 한국어 음성 (71469, 71479)
    a list of wav, text             ClovaCall

Any other JSON is read where the user names the key of its text. No reader raises.
"""

import argparse
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from korean_asr.errors import DataError
from korean_asr.files import shown_json
from korean_asr.manifest import MAX_SECONDS
from korean_asr.preprocessing.labels import (
    Label,
    decoded,
    parsed_or_none,
    plain_facts,
    shown_keys,
    unreadable_label,
)

# ClovaCall has 60,000 clips in one file of 8 MB. JSON takes up to 25 times its size in memory.
MAX_JSON_BYTES = 16 << 20
# So many values of a clip that is refused are shown, each in one line.
N_VALUES_SHOWN = 8
# Corpora write words; manifests have M and F.
GENDERS = {
    "M": "M", "남": "M", "남성": "M", "남자": "M", "Male": "M",
    "F": "F", "여": "F", "여성": "F", "여자": "F", "Female": "F",
}  # fmt: skip
# Keys of `transcription` in 외국인 한국어 발화; other corpora use that name for something else.
FOREIGN_KEYS = {"Reading", "ReadingLabelText", "Question", "AnswerLabelText", "SentenceSpeechLV"}
# What 복지 분야 콜센터 writes for names: ㅇㅇ병원, oo 님. Elsewhere ㅇㅇ is a word.
MASKED_NAME = re.compile("ㅇ+|(?<![A-Za-z])[oO]{2,}(?![A-Za-z])")
# What a reader raises for a label of another corpus.
OTHER_SHAPE = (KeyError, IndexError, TypeError, AttributeError, ValueError)


class LabelKeys(NamedTuple):
    """Where labels of no known corpus have the text and the name of the audio: steps of a path.

    Without `audio` the audio has the name of the label file.
    """

    text: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()

    def dotted(self) -> tuple[str, str]:
        """Both as they are given on the command line."""
        return ".".join(self.text), ".".join(self.audio)


NO_KEYS = LabelKeys()


def given_key(text: str) -> tuple[str, ...]:
    """The steps of a key such as 전사정보.LabelText, for argparse.

    Raises ArgumentTypeError for an empty step.
    """
    steps = tuple(unicodedata.normalize("NFC", text).split("."))
    if not all(steps):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no key; write keys within keys with dots, such as 전사정보.LabelText"
        )
    return steps


def refuse_unused_keys(keys: LabelKeys, roots: list[str]) -> None:
    """Raise DataError that says why the keys of the command line were used in no corpus.

    roots: of the corpora.
    """
    text_key, audio_key = keys.dotted()
    if not text_key:
        raise DataError(
            f"--audio-key {audio_key} is used for JSON labels only together with "
            "--text-key. · --text-key도 지정하세요."
        )
    raise DataError(
        f"--text-key {text_key} is in no label of {', '.join(roots)}. Correct "
        "it, or leave it out: these labels were read without it. "
        "· 라벨에 없는 키입니다. 키를 확인하거나 옵션을 빼세요."
    )


def json_labels(content: bytes, keys: LabelKeys = NO_KEYS) -> list[Label]:
    """Read the label of one clip or of many, of the corpus that its keys show.

    keys: those of the command line; a label that has them is read by them.
    Returns at least one label, which is not readable if nothing can be read.
    """
    text, encoding = decoded(content)
    value = parsed_or_none(text)
    if keys.text and (clips := list(_keyed(value, *keys))):
        names = [f"`{key}`" for key in keys.dotted()]
        labels = [_label(clip, text, encoding, *names) for clip in clips]
        labels[0].is_keyed = True
        return labels
    try:
        return [_label(clip, text, encoding) for clip in _clips(value)]
    except OTHER_SHAPE:
        return [unreadable_label(text, encoding, shown_keys(value))]


class _Clip(NamedTuple):
    """One clip as a label gives it. Name, transcript and facts may be of any type.

    name: "" if the audio has the name of the label file.
    element: the part of the label that the clip is, where the label has many clips.
    is_cut: whether the clip lies from `start` to `end` of its audio, as its element says.
    """

    name: Any
    raw: Any
    facts: dict[str, Any]
    element: dict[str, Any] | None = None
    is_cut: bool = False


def _label(
    clip: _Clip, text: str, encoding: str, text_name: str = "text", audio_name: str = "audio"
) -> Label:
    """text_name, audio_name: what messages call these two."""
    offset = duration = None
    try:
        name, raw = _text(clip.name, audio_name), _text(clip.raw, text_name)
        if clip.is_cut:
            offset, duration = _span(clip.element)
    except ValueError as problem:
        if clip.element is None:
            return unreadable_label(text, encoding)
        values = (f"{key}: {shown_json(value)}" for key, value in clip.element.items())
        shown = ", ".join(islice(values, N_VALUES_SHOWN))
        return unreadable_label(shown, encoding, problem=str(problem))
    facts = plain_facts(clip.facts)
    return Label(name, raw, encoding, facts, offset=offset, duration=duration)


def _text(value: Any, what: str) -> str:
    if value is None:
        raise ValueError(f"its {what} is missing")
    if not isinstance(value, str):
        raise ValueError(f"its {what} is {shown_json(value)}, which is not a text")
    if "\0" in value:
        raise ValueError(f"its {what} holds the character NUL")
    return value


def _span(element: dict[str, Any]) -> tuple[float, float]:
    """Offset and duration in seconds. Raises ValueError unless 0 <= start < end.

    A duration that rounds to 0 would mean the rest of the file.
    """
    try:
        start, end = float(element["start"]), float(element["end"])
        is_span = 0 <= start < end <= MAX_SECONDS and round(end - start, 4) > 0
    except (KeyError, TypeError, ValueError, OverflowError):
        is_span = False
    if not is_span:
        shown = [f"`{key}` is {shown_json(element.get(key))}" for key in ("start", "end")]
        raise ValueError(f"{' and '.join(shown)}, which are not the seconds of a clip")
    return start, round(end - start, 4)


# --- Labels of known corpora ---
#
# Only the object that holds the transcript is required. A label of another corpus raises one of
# OTHER_SHAPE.


def _clips(label: Any) -> list[_Clip]:
    if isinstance(label, list):
        return _call_list(label)
    if "transcription" in label:
        return [_transcription(label)]
    if "발화정보" in label:
        return [_free_talk(label)]
    if "전사정보" in label:
        return [_command(label)]
    if "inputText" in label:
        return [_call_center(label)]
    if "utterance" in label:
        return _recording(label)
    return [_learners_speech(label)]


def _transcription(label: dict[str, Any]) -> _Clip:
    """외국인 한국어 발화 (505), or a text alone, as the original code writes it."""
    transcription = label["transcription"] or {}
    if isinstance(transcription, str):
        return _Clip(label["fileName"], transcription, {})
    if transcription and not FOREIGN_KEYS & transcription.keys():
        raise KeyError
    # One key holds a text read aloud, the other an answer.
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
        "prompt": transcription.get("Reading"),
    }
    return _Clip(label.get("fileName") or "", raw, facts)


def _free_talk(label: dict[str, Any]) -> _Clip:
    """자유대화."""
    utterance, speaker = label["발화정보"], label.get("녹음자정보") or {}
    facts = {
        "speaker": speaker.get("recorderId"),
        "gender": GENDERS.get(speaker.get("gender"), speaker.get("gender")),
        "age": speaker.get("age"),
    }
    return _Clip(utterance.get("fileNm") or "", utterance["stt"] or "", facts)


def _command(label: dict[str, Any]) -> _Clip:
    """명령어 음성 (94, 95, 96), and corpora of the same form, such as 의료진 및 환자 음성."""
    speaker = label.get("화자정보") or {}
    facts = {
        "speaker": speaker.get("SpeakerName"),
        "gender": GENDERS.get(speaker.get("Gender")),
        "age": speaker.get("Age"),
    }
    name = (label.get("파일정보") or {}).get("FileName") or ""
    return _Clip(name, label["전사정보"]["LabelText"] or "", facts)


def _call_center(label: dict[str, Any]) -> _Clip:
    """복지 분야 콜센터 상담데이터 (470): the audio has the name of the label file.

    The path in dialogs.audioPath is that of the machine where the corpus was made. Masked names get
    the sign ○, by which the transcript rules know them.
    """
    (said,) = label["inputText"]
    (info,) = label.get("info") or [{}]
    speaker = info.get("metadata") or {}
    facts = {"gender": GENDERS.get(speaker.get("speaker_sex")), "age": speaker.get("speaker_age")}
    return _Clip("", MASKED_NAME.sub("○○", said["orgtext"] or ""), facts)


def _recording(label: dict[str, Any]) -> list[_Clip]:
    """한국어 방언 발화 (118-122), 회의 (464): one audio file of many utterances.

    `dialect_form` is what was said; `form` gives it as duals. Corpora without dialect have `form`.
    """
    utterances, people = _objects(label["utterance"]), label.get("speaker") or []
    first = utterances[0]
    text_key = "dialect_form" if "dialect_form" in first else "form"
    if not {text_key, "start", "end"} <= first.keys():
        raise KeyError
    speakers = {person.get("id"): person for person in _objects(people)}
    return [
        _Clip("", each.get(text_key), _speaker_facts(each, speakers), each, is_cut=True)
        for each in utterances
    ]


def _speaker_facts(utterance: dict[str, Any], speakers: dict[Any, Any]) -> dict[str, Any]:
    name = utterance.get("speaker_id")
    speaker = speakers.get(name, {})
    return {
        # 1 and 2 count the speakers of one recording, and are others in the next one.
        "speaker": None if str(name).isdecimal() else name,
        "gender": GENDERS.get(speaker.get("sex")),
        "age": speaker.get("age"),
    }


def _learners_speech(label: dict[str, Any]) -> _Clip:
    """영어 등 사용자의 한국어 음성 (71469, 71479): `orthographic` is what the speaker said."""
    speaker, recording = label.get("SpeakerMetadata") or {}, label["RecordingMetadata"]
    facts = {
        "speaker": label.get("UserID"),
        "topik_level": speaker.get("topik_level"),
        "country": speaker.get("nationality"),
        "prompt": recording.get("prompt"),
    }
    return _Clip(label.get("fileName") or "", recording["orthographic"] or "", facts)


def _call_list(label: list[Any]) -> list[_Clip]:
    """ClovaCall: all clips in one list."""
    if not {"wav", "text"} <= label[0].keys():
        raise KeyError
    return [
        _Clip(each.get("wav"), each.get("text"), {"speaker": each.get("speaker_id")}, each)
        for each in _objects(label)
    ]


def _objects(values: list[Any]) -> list[dict[str, Any]]:
    """The values, with an empty object for each that is none: it is refused, the others are not."""
    return [value if isinstance(value, dict) else {} for value in values]


# --- Labels of other corpora, by keys that the user names ---


def _keyed(
    value: Any, text: tuple[str, ...], audio: tuple[str, ...], name: Any = "", is_cut: bool = False
) -> Iterator[_Clip]:
    """Yield a clip for each object that has the text.

    A step through a list is taken for each object in it. Where they share one audio file, their
    `start` and `end` cut them out of it.
    text: the steps to the text from here.
    audio: the steps to the name of the audio from here; () once `name` is known.
    """
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict):
                yield from _keyed(each, text, audio, name, is_cut or not audio)
        return
    if not isinstance(value, dict) or text[0] not in value:
        return
    first, rest = text[0], text[1:]
    if audio and (not rest or audio[0] != first or len(audio) == 1):
        name, audio = _value_at(value, audio), ()
    if rest:
        yield from _keyed(value[first], rest, audio[1:], name, is_cut)
    else:
        is_cut = is_cut and {"start", "end"} <= value.keys()
        yield _Clip(name, value[first], {}, value, is_cut)


def _value_at(value: Any, steps: tuple[str, ...]) -> Any:
    """The value at a path; None where there is none."""
    for step in steps:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value
