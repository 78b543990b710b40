"""A corpus on disk -> raw utterances: labels joined to audio by file name, every file of either kind accounted for."""

import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from .audio import AUDIO_SUFFIXES
from .errors import DataError

# 한국인 대화 음성: metadata fields whose meaning is established, and their codes. Fields 1, 2, 5 and 7 are not, so no
# speaker is read from them.
GENDER_FIELD, AGE_FIELD, RESIDENCE_FIELD, QUALITY_FIELD, N_FIELDS = 3, 4, 6, 8, 9
AGES = {"C": "유아", "T": "청소년", "A": "성인", "S": "고령", "Z": "기타"}
RESIDENCES = {"1": "서울·경기", "2": "강원", "3": "충청", "4": "경상", "5": "전라", "6": "제주", "9": "기타"}
QUALITIES = {"1": "정상", "2": "노이즈", "3": "잡음", "4": "원거리"}


@dataclass(frozen=True, slots=True)
class RawUtterance:
    """One label line or one lone file: `raw` is the transcript as it stands, `audio` its file.

    reason is set where the clip can only be rejected; encoding is that of the label; facts are Utterance fields.
    """

    id: str
    raw: str
    audio: Path | None
    reason: str | None = None
    encoding: str = "utf-8"
    facts: dict[str, str] = field(default_factory=dict)


def korean_utterances(root: Path) -> Iterator[RawUtterance]:
    """한국인 대화 음성 (AI Hub 130), unpacked: every `*scripts.txt` under root, joined with audio and metadata by stem.

    Yields label lines in sorted order of their files, then audio that no label names. Raises DataError for a folder that
    is not there or holds no scripts.
    """
    files = _files(root)
    scripts = [path for path in files if path.name.endswith("scripts.txt")]
    if not scripts:
        raise DataError(
            f"{root} holds no *scripts.txt, so it is no unpacked 한국인 대화 음성. Unpack the [라벨] and [원천] archives "
            "there, or pass the folder that holds 1.Training. · 압축을 푼 폴더를 지정하세요."
        )
    audio = _audio_by_stem(files)
    facts = _korean_facts(path for path in files if path.name.endswith("metadata.txt"))
    seen: set[str] = set()
    for path in scripts:
        for line, encoding in _decoded_lines(path):
            if not line.strip():
                continue
            audio_name, separator, raw = map(str.strip, line.partition("::"))
            if not separator:
                stem = _stem(line.split()[0])
                seen.add(stem)  # its audio is accounted for by this line
                yield RawUtterance(stem, line, None, "label unreadable", encoding)
                continue
            stem = _stem(audio_name)
            found, reason = _joined_audio(audio_name, audio, seen)
            seen.add(stem)
            label_facts = {"theme": stem.rpartition("_")[0] or None, "part": _part(path), **facts.get(stem, {})}
            yield RawUtterance(stem, raw, found, reason, encoding, label_facts)
    yield from _lone_audio(audio, seen)


def foreign_utterances(root: Path) -> Iterator[RawUtterance]:
    """외국인 한국어 발화 음성 (AI Hub 505), unpacked: every `*.json` under root, joined with its audio by stem.

    A read-aloud label is ReadingLabelText, an answer AnswerLabelText. Order and errors as korean_utterances.
    """
    files = _files(root)
    labels = [path for path in files if path.suffix.lower() == ".json"]
    if not labels:
        raise DataError(
            f"{root} holds no *.json label, so it is no unpacked 외국인 한국어 발화. Unpack the label and audio archives "
            "there, or pass the folder that holds 1.Training. · 압축을 푼 폴더를 지정하세요."
        )
    audio = _audio_by_stem(files)
    seen: set[str] = set()
    for path in labels:
        text, encoding = "", "utf-8"
        try:
            text, encoding = _decoded(path.read_bytes())
            label = json.loads(text)
            name = str(label.get("fileName") or path.name)
            raw, facts = _foreign_label(label)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            seen.add(_stem(path.name))  # its audio is accounted for by this line
            yield RawUtterance(_stem(path.name), text[:200], None, "label unreadable", encoding)
            continue
        stem = _stem(name)
        if stem not in audio and _stem(path.name) in audio:  # renamed together, the name inside forgotten
            name, stem = path.name, _stem(path.name)
        found, reason = _joined_audio(name, audio, seen)
        seen.add(stem)
        yield RawUtterance(stem, raw, found, reason, encoding, {**facts, "part": _part(path)})
    yield from _lone_audio(audio, seen)


def _foreign_label(label: dict) -> tuple[str, dict[str, str]]:
    """The transcript of one label file and the facts that are told; any key may be missing."""
    transcription = label.get("transcription") or {}
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
    return str(raw), {key: str(value) for key, value in facts.items() if value}


def _files(root: Path) -> list[Path]:
    """Every file under root, links followed, sorted by path. Raises DataError where there is no such folder."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}. Pass the folder of the unpacked corpus. · 그런 폴더가 없습니다.")
    found, visited = [], set()
    walk = tqdm(os.walk(root, followlinks=True), f"listing {root.name}", unit=" folders", delay=2)
    for folder, subfolders, names in walk:
        real = os.path.realpath(folder)
        if real in visited:  # a link that leads back
            subfolders.clear()
            continue
        visited.add(real)
        # macOS puts a `._name` beside each file that it copies to a foreign disk.
        found += [Path(folder, name) for name in names if not name.startswith("._")]
    return sorted(found)


def _label_path(name: str) -> PurePosixPath:
    """A path as a label writes it, composed: macOS decomposes the Hangul of file names."""
    return PurePosixPath(unicodedata.normalize("NFC", name.strip().replace("\\", "/")))


def _stem(name: str) -> str:
    return _label_path(name).stem


def _audio_by_stem(files: list[Path]) -> dict[str, list[Path]]:
    # By stem, since a script may name .pcm where the file is .wav, and the demo's clips are .flac.
    audio = defaultdict(list)
    for path in files:
        if path.suffix.lower() in AUDIO_SUFFIXES:
            audio[_stem(path.name)].append(path)
    return audio


def _joined_audio(name: str, audio: dict[str, list[Path]], seen: set[str]) -> tuple[Path | None, str | None]:
    """The audio file that a label means, or the reason why there is none."""
    wanted = _label_path(name)
    if wanted.stem in seen:
        return None, "duplicate id"
    candidates = audio.get(wanted.stem, [])
    if not candidates:
        return None, "no audio"
    # The same name in two folders: the one whose folders agree longest with the label's path.
    folders = wanted.parent.parts
    return max(candidates, key=lambda path: _common_tail(_label_path(str(path)).parent.parts, folders)), None


def _common_tail(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    length = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        length += 1
    return length


def _lone_audio(audio: dict[str, list[Path]], seen: set[str]) -> Iterator[RawUtterance]:
    for stem in sorted(audio.keys() - seen):
        yield RawUtterance(stem, "", audio[stem][0], "no label")


def _korean_facts(metadata_files: Iterator[Path]) -> dict[str, dict[str, str]]:
    """Established metadata by the clip's stem; lines of another shape are passed over, since no clip depends on them."""
    facts = {}
    for path in tqdm(metadata_files, "metadata", unit=" files", delay=2):
        for line, _ in _decoded_lines(path):
            values = [value.strip() for value in line.split("|")]
            if len(values) < N_FIELDS:
                continue
            known = {
                "gender": values[GENDER_FIELD],
                "age": AGES.get(values[AGE_FIELD]),
                "residence": RESIDENCES.get(values[RESIDENCE_FIELD]),
                "quality": QUALITIES.get(values[QUALITY_FIELD]),
            }
            facts[_stem(values[0])] = {key: value for key, value in known.items() if value}
    return facts


def _part(path: Path) -> str | None:
    """`training` or `validation`, from the folder names `1.Training` and `2.Validation`."""
    for name in reversed(path.parts[:-1]):
        for part in ("training", "validation"):
            if name.lower().endswith(part):
                return part
    return None


def _decoded(content: bytes) -> tuple[str, str]:
    """Text and its encoding: UTF-8 with or without BOM, else CP949 (what it lacks becomes U+FFFD)."""
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp949", errors="replace"), "cp949"


def _decoded_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line with its encoding: one line in CP949 does not spoil a file in UTF-8."""
    with path.open("rb") as file:
        for line in file:
            text, encoding = _decoded(line)
            yield text.rstrip("\r\n"), encoding
