"""A corpus on disk -> raw utterances: labels joined to audio by file name, every file of either kind accounted for.

A corpus is a folder, or one manifest or label file. What its labels are is seen from their names and keys:

    *scripts.txt  *.trn     `path :: text`, a clip a line       한국인 대화 음성, KsponSpeech
    *metadata.txt           what 한국인 대화 음성 tells of its clips
    *.json                  one clip                            외국인 한국어 발화, 자유대화, 71469, 71479
    *.json  *.jsonl         `{"audio_filepath": …, "text": …}`  a manifest, a clip a line
    <clip>.txt              the text of the clip beside it, where the corpus has none of the above

Label archives (.tar .tar.gz .tgz .zip) are read where they lie and never unpacked. What a label or an archive says is never
used to open or write a file of another folder: a clip's audio is looked up among the files that were found.
"""

import hashlib
import io
import json
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.errors import DataError, printable
from korean_asr.manifest import OPTIONAL_KEYS
from korean_asr.preprocessing.archives import (
    ARCHIVE_ERRORS,
    ARCHIVE_SUFFIXES,
    MAX_LABEL_FILE_BYTES,
    TOO_LARGE,
    UNPACK_COMMANDS,
    UNREADABLE,
    UNSAFE,
    Member,
    archive_names,
    label_members,
    leaves_its_folder,
    opened_file,
    problem_of,
)
from korean_asr.preprocessing.audio_index import AudioIndex, Facts, parts_of, stem_of

# A label line of a clip takes some hundred bytes, a JSON label two thousand.
MAX_LINE_BYTES = 1 << 20
MAX_KNOWN = 10_000  # sets of facts that are kept to be shared
# 한국인 대화 음성: metadata fields whose meaning is established, and their codes. Fields 1, 2, 5 and 7 are not, so no
# speaker is read from them.
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
GENDERS = {
    "남": "M",
    "여": "F",
    "남성": "M",
    "여성": "F",
    "남자": "M",
    "여자": "F",
}  # 자유대화; the others write M, F


@dataclass(frozen=True, slots=True)
class RawUtterance:
    """One label line or one lone file: `raw` is the transcript as it stands, `audio` the path of its file.

    reason is set where the clip can only be rejected; encoding is that of the label; facts are Utterance fields.
    """

    id: str
    raw: str
    audio: str | None
    reason: str | None = None
    encoding: str = "utf-8"
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Listing:
    """What was found of a corpus: its label files and archives, its audio, and what the user should be told.

    n_label_files and digest, of labels and metadata, are complete once raw_utterances has come to its end.
    """

    place: Path
    audio: AudioIndex
    labels: list[str] = field(default_factory=list)
    clip_texts: list[str] = field(default_factory=list)
    label_archives: list[str] = field(default_factory=list)
    audio_archives: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_label_files: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


def listed_corpus(place: Path, output: Path) -> Listing:
    """Find the labels and the audio of a corpus: a folder, or a manifest. What lies in `output` is no part of it.

    Raises DataError for a place that is not there, that holds no label, or whose audio is still in archives.
    """
    if place.is_file():
        if place.suffix.lower() not in (".json", ".jsonl"):
            raise DataError(
                f"{place} is a file, but no manifest (*.json, *.jsonl). Pass its folder. · 폴더를 지정하세요."
            )
        return Listing(place, AudioIndex(str(place.parent)), labels=[str(place)])
    if not place.is_dir():
        what = "is neither a folder nor a file" if place.exists() else "does not exist"
        raise DataError(
            f"{place} {what}. Pass the folder of the corpus, or a manifest. · 그런 폴더가 없습니다."
        )
    if os.path.realpath(place) == os.path.realpath(output):
        raise DataError(
            f"{place} is the folder to write into. Pass another --output. · 출력 폴더를 따로 지정하세요."
        )
    listing = Listing(place, AudioIndex(str(place)))
    archives = []
    for folder, names in _folders(listing, output):
        for name in names:
            lower = name.lower()
            if lower.endswith(_AUDIO_SUFFIXES):
                listing.audio.add(folder, name)
            elif is_label(lower) or is_metadata(lower):
                listing.labels.append(f"{folder}/{name}")
            elif lower.endswith(ARCHIVE_SUFFIXES):
                archives.append(f"{folder}/{name}")
    listing.labels.sort()
    for archive in sorted(archives):
        _file_archive(archive, listing)
    if not listing.label_archives and not any(map(is_label, listing.labels)):
        # Only now, since 한국인 대화 음성 has a text beside each clip too, and a million names take room.
        listing.clip_texts = sorted(
            f"{folder}/{name}"
            for folder, names in _folders(listing, output)
            for name in names
            if name.lower().endswith(".txt") and stem_of(name) in listing.audio
        )
    has_labels = listing.clip_texts or listing.label_archives or any(map(is_label, listing.labels))
    if listing.audio_archives and not len(listing.audio):
        raise DataError(
            f"the audio of {place} is still packed: {unpack_hint(listing)} · 음성 압축을 먼저 푸세요."
        )
    if not has_labels:
        notes = "".join(f" {note}" for note in listing.notes)
        raise DataError(
            f"{place} holds no labels: no *scripts.txt, *.trn, *.json or *.jsonl, no archive with some, no text beside a clip. "
            f"Pass the folder that holds 1.Training, or a manifest.{notes} · 전사 파일이 없습니다."
        )
    return listing


def raw_utterances(listing: Listing) -> Iterator[RawUtterance]:
    """Every label of a corpus in the order of its files, then the audio that no label claimed."""
    for member in _members(listing, is_metadata):
        if member.file:
            _read_metadata(member.file, listing)
        elif is_metadata(member.name):
            yield RawUtterance(member.name, "", None, member.problem)
    for member in _members(listing, is_label):
        if is_metadata(member.name):  # refused, and told above
            continue
        listing.n_label_files += 1
        lower = member.name.lower()
        try:
            if member.problem:
                yield RawUtterance(member.name, "", None, member.problem)
            elif lower.endswith((".json", ".jsonl")):
                yield from _json_labels(member, listing)
            else:
                yield from _script_labels(member, listing)
        except ARCHIVE_ERRORS as error:  # damaged further down
            yield RawUtterance(member.name, "", None, problem_of(error))
    for path in listing.clip_texts:
        listing.n_label_files += 1
        for member in _opened(path):
            yield _clip_text(member, listing)
    for stem, path, reason in listing.audio.unclaimed():
        yield RawUtterance(stem, "", path, reason)


def is_label(name: str) -> bool:
    """Whether a file of that name holds labels."""
    return name.lower().endswith(("scripts.txt", ".trn", ".json", ".jsonl"))


def is_metadata(name: str) -> bool:
    return name.lower().endswith("metadata.txt")


def unpack_hint(listing: Listing) -> str:
    """The command that unpacks the first audio archive, and how many others there are."""
    first, *others = listing.audio_archives
    command = UNPACK_COMMANDS[
        next(suffix for suffix in ARCHIVE_SUFFIXES if first.lower().endswith(suffix))
    ]
    command = command.format(archive=shlex.quote(first), folder=shlex.quote(os.path.dirname(first)))
    likewise = f", and likewise {len(others):,} more" if others else ""
    return printable(f"run  {command}{likewise}. Label archives may stay packed.")


_AUDIO_SUFFIXES = tuple(AUDIO_SUFFIXES)


def _folders(listing: Listing, output: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder of the corpus with the names of its files, links followed."""
    visited = {os.path.realpath(output)}
    unreadable: list[OSError] = []
    walk = os.walk(listing.place, followlinks=True, onerror=unreadable.append)
    for folder, subfolders, names in tqdm(
        walk, f"listing {listing.place.name}", unit=" folders", delay=2
    ):
        real = os.path.realpath(folder)
        if real in visited:  # a link that leads back, or the folder that is written into
            subfolders.clear()
            continue
        visited.add(real)
        if "preprocessing.json" in names and {"korean.jsonl", "foreign.jsonl"} & {*names}:
            note = printable(f"{folder} was left out: script 1 wrote it.")
            listing.notes += [note] * (note not in listing.notes)
            subfolders.clear()
            continue
        # macOS puts a `._name` beside each file that it copies to a foreign disk.
        yield folder, [name for name in names if not name.startswith("._")]
    notes = (printable(f"{error.filename} was left out: {error.strerror}.") for error in unreadable)
    listing.notes += [note for note in notes if note not in listing.notes]


def _file_archive(archive: str, listing: Listing) -> None:
    """Tell whether an archive holds labels, audio or both; by its place or name where AI Hub's tell it."""
    parts = parts_of(archive)
    if (
        "[원천]" in parts[-1]
        or parts[-1].startswith(("TS_", "VS_"))
        or any("원천데이터" in part for part in parts[:-1])
    ):
        listing.audio_archives.append(archive)
        return
    names, are_all = archive_names(archive)
    holds_audio = any(name.lower().endswith(_AUDIO_SUFFIXES) for name in names)
    if holds_audio:
        listing.audio_archives.append(archive)
    if any(is_label(name) or is_metadata(name) for name in names) or not (holds_audio or are_all):
        listing.label_archives.append(
            archive
        )  # one that cannot be read is refused by name when it is
    elif not holds_audio:
        listing.notes.append(
            printable(f"{archive} was left out: it holds neither labels nor audio.")
        )


def _members(listing: Listing, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Label files on disk, then those in archives, but not those that lie unpacked beside them."""
    for path in listing.labels:
        if wanted(path):
            yield from _opened(path)
    unpacked = {
        (os.path.basename(path), os.path.getsize(path))
        for path in (listing.labels if listing.label_archives else ())
        if wanted(path) and os.path.isfile(path)
    }
    for archive in listing.label_archives:
        n_unpacked = n_found = 0
        for member in label_members(archive, wanted):
            n_found += 1
            if member.file and (member.base, member.n_bytes) in unpacked:
                n_unpacked += 1
            else:
                yield member
        if not n_found and wanted is is_label:
            listing.notes.append(printable(f"{archive} holds no labels."))
        if n_unpacked and wanted is is_label:
            note = f"{archive}: {n_unpacked:,} label files lie unpacked as well, and are read once."
            listing.notes.append(printable(note))


def _opened(path: str) -> Iterator[Member]:
    """One label file on disk."""
    try:
        with opened_file(path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes > MAX_LABEL_FILE_BYTES:
                yield Member(path, problem=TOO_LARGE)
            else:
                # Of no bytes are also the endless files that a link into /proc may lead to.
                yield Member(path, file=file if n_bytes else io.BytesIO(), n_bytes=n_bytes)
    except ARCHIVE_ERRORS as error:
        yield Member(path, problem=problem_of(error))


def _lines(file: IO[bytes], listing: Listing) -> Iterator[bytes | None]:
    """Each line; None for one that is too long for any label, of which no more than MAX_LINE_BYTES is held."""
    while line := file.readline(MAX_LINE_BYTES):
        listing.digest.update(line)
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
            listing.digest.update(line)
        yield None


def _script_labels(member: Member, listing: Listing) -> Iterator[RawUtterance]:
    """`path :: text`, a clip a line. A script may carry another part's name, so the theme is the clip's."""
    part = _part(member)
    has_themes = member.name.lower().endswith("scripts.txt")
    known: dict[tuple, dict[str, str]] = {}  # a million clips share a few hundred sets of facts
    for number, line in enumerate(_lines(member.file, listing), 1):
        if line is None:
            yield RawUtterance(f"{member.name}, line {number}", "", None, TOO_LARGE)
            continue
        text, encoding = _decoded(line)
        text = text.strip()
        if not text:
            continue
        name, separator, raw = text.partition("::")
        if not separator or b"\0" in line:
            first = name.split()[0] if name.strip() else name
            yield _unreadable(first, f"{member.name}, line {number}", text, encoding, listing)
            continue
        if ".." in name and ".." in parts_of(name):
            yield RawUtterance(name.strip(), raw.strip(), None, UNSAFE, encoding)
            continue
        claim = listing.audio.claim(name)
        theme = stem_of(name).rpartition("_")[0] if has_themes else ""
        facts = known.get((theme, claim.facts))
        if facts is None:
            if len(known) > MAX_KNOWN:
                known.clear()
            told = {"theme": theme, "part": part, **dict(claim.facts)}
            facts = known[theme, claim.facts] = {key: value for key, value in told.items() if value}
        yield RawUtterance(claim.id, raw.strip(), claim.audio, claim.reason, encoding, facts)


def _unreadable(audio: str, place: str, text: str, encoding: str, listing: Listing) -> RawUtterance:
    """A label that cannot be read: it accounts for the audio that it seems to mean, or goes by its place where none is."""
    name = listing.audio.claim(audio).id if stem_of(audio) in listing.audio else place
    return RawUtterance(name, text, None, UNREADABLE, encoding)


def _json_labels(member: Member, listing: Listing) -> Iterator[RawUtterance]:
    """One label, or a manifest, a clip a line: every .jsonl, and a .json whose first line is a clip by itself."""
    lines = enumerate(_lines(member.file, listing), 1)
    first = next((item for item in lines if item[1] is None or item[1].strip()), (1, b""))
    is_manifest = member.name.lower().endswith(".jsonl") or "audio_filepath" in (
        _json_object(first[1] or b"") or ()
    )
    content = bytearray()
    for number, line in chain([first], lines):
        if is_manifest and line is None:
            yield RawUtterance(f"{member.name}, line {number}", "", None, TOO_LARGE)
        elif is_manifest:
            if line.strip():
                yield _manifest_row(line, member, number, listing)
        elif line is None or len(content) > MAX_LINE_BYTES:
            yield RawUtterance(member.name, "", None, TOO_LARGE)
            return
        else:
            content += line
    if not is_manifest:
        yield _json_label(bytes(content), member, listing)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        label = json.loads(_decoded(content)[0])
    except (ValueError, RecursionError):
        return None
    return label if isinstance(label, dict) else None


def _json_label(content: bytes, member: Member, listing: Listing) -> RawUtterance:
    """One clip, of whatever corpus its keys show."""
    encoding = _decoded(content)[1]
    # Labels and audio lie in trees alike: 1.Training/라벨링데이터/…/1. 한국생활, 1.Training/원천데이터/…/1. 한국생활.
    folder = f"{os.path.dirname(member.path)}/{os.path.dirname(member.inside)}"
    try:
        name, raw, facts = _label_of(_json_object(content) or {})
        name = name or member.base
        if "\0" in name + raw:
            raise ValueError
    except (KeyError, TypeError, AttributeError, ValueError):
        return _unreadable(
            f"{folder}/{member.base}", member.name, _decoded(content)[0][:200], encoding, listing
        )
    if leaves_its_folder(name):
        return RawUtterance(name, raw, None, UNSAFE, encoding)
    if stem_of(name) not in listing.audio and stem_of(member.base) in listing.audio:
        name = member.base  # renamed together, the name inside forgotten
    claim = listing.audio.claim(f"{folder}/{name}")
    return RawUtterance(
        claim.id, raw, claim.audio, claim.reason, encoding, _told({**facts, "part": _part(member)})
    )


def _told(facts: dict[str, Any]) -> dict[str, str]:
    """What a label tells; a list or an object is no fact."""
    return {
        key: str(value)
        for key, value in facts.items()
        if isinstance(value, (str, int, float)) and value != ""
    }


def _label_of(label: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """(file name or "", transcript, facts) of a JSON label; any key but the transcript's object may be missing.

    Raises KeyError for a label of no known corpus; TypeError or AttributeError where a value is of another kind.
    """
    if (
        "transcription" in label
    ):  # 외국인 한국어 발화 (505): read-aloud fills one pair of keys, answers the other
        transcription = label["transcription"] or {}
        reading = transcription.get("ReadingLabelText") or ""
        raw = reading if reading.strip() else transcription.get("AnswerLabelText") or ""
        skill = label.get("skill_info") or {}
        return label.get("fileName") or "", raw + "", {
            "speaker": (label.get("file_info") or {}).get("speakerID") or label.get("SpeakerID"),
            "gender": (label.get("basic_info") or {}).get("gender"),
            "first_language": skill.get("motherTongue") or skill.get("languageClass"),
            "topik_level": skill.get("topikGrade"),
            "country": (label.get("residence_info") or {}).get("country"),
            "task": "read" if reading.strip() else "answer",
        }  # fmt: skip
    if "발화정보" in label:  # 자유대화
        utterance, speaker = label["발화정보"], label.get("녹음자정보") or {}
        return utterance.get("fileNm") or "", (utterance["stt"] or "") + "", {
            "speaker": speaker.get("recorderId"),
            "gender": GENDERS.get(speaker.get("gender"), speaker.get("gender")),
            "age": speaker.get("age"),
        }  # fmt: skip
    # 영어 등 사용자의 한국어 음성 (71469, 71479): what was said stands in `orthographic`, `prompt` is what was asked for.
    speaker = label.get("SpeakerMetadata") or {}
    return label.get("fileName") or "", (label["RecordingMetadata"]["orthographic"] or "") + "", {
        "speaker": label.get("UserID"),
        "topik_level": speaker.get("topik_level"),
        "country": speaker.get("nationality"),
    }  # fmt: skip


def _manifest_row(line: bytes, member: Member, number: int, listing: Listing) -> RawUtterance:
    """A line of a manifest. Where the user names the manifest its audio may lie anywhere; it is only read."""
    text, encoding = _decoded(line)
    try:
        row = _json_object(line) or {}
        audio, raw = row["audio_filepath"] + "", (row["text"] or "") + ""
        if "\0" in audio + raw or not audio.strip():
            raise ValueError
    except (KeyError, TypeError, ValueError):
        return RawUtterance(
            f"{member.name}, line {number}", text[:200].strip(), None, UNREADABLE, encoding
        )
    path = os.path.normpath(os.path.join(os.path.dirname(member.path), audio))
    if str(listing.place) == member.path and os.path.isfile(path):
        claim = listing.audio.claim_file(*os.path.split(path))
    elif (
        str(listing.place) != member.path
        and ".." in parts_of(audio)
        and not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(listing.place))
    ):
        return RawUtterance(audio, raw, None, UNSAFE, encoding)
    else:
        claim = listing.audio.claim(path)
    told = _told({key: row.get(key) for key in ("id", *OPTIONAL_KEYS)})
    given_id = told.pop("id", "")
    name, reason = claim.id, claim.reason
    if reason is None and given_id not in ("", stem_of(audio)):
        name = given_id
        reason = None if listing.audio.is_new_id(name) else "duplicate id"
    if row.get("offset") and reason in (None, "duplicate id"):
        reason = "part of a file"
    return RawUtterance(name, raw, claim.audio, reason, encoding, told)


def _clip_text(member: Member, listing: Listing) -> RawUtterance:
    """The text beside a clip, as KsponSpeech has it: CP949 with CR, no name inside."""
    content, problem = b"", member.problem
    try:
        if member.file:
            content = member.file.read(MAX_LINE_BYTES + 1)
    except OSError:
        problem = UNREADABLE
    listing.digest.update(content)
    text, encoding = _decoded(content)
    claim = listing.audio.claim(member.path)
    if len(content) > MAX_LINE_BYTES:
        text, problem = "", TOO_LARGE
    elif b"\0" in content:
        problem = UNREADABLE
    return RawUtterance(claim.id, text.strip(), claim.audio, problem or claim.reason, encoding)


def _read_metadata(file: IO[bytes], listing: Listing) -> None:
    """Established metadata; lines of another shape are passed over, since no clip depends on them."""
    known: dict[tuple[str, ...], Facts] = {}
    try:
        while line := file.readline(MAX_LINE_BYTES):
            listing.digest.update(line)
            values = [value.strip() for value in _decoded(line)[0].split("|")]
            if len(values) < N_FIELDS:
                continue
            codes = (
                values[GENDER_FIELD],
                values[AGE_FIELD],
                values[RESIDENCE_FIELD],
                values[QUALITY_FIELD],
            )
            facts = known.get(codes)
            if facts is None:
                if len(known) > MAX_KNOWN:
                    known.clear()
                gender, age, residence, quality = codes
                told = {
                    "gender": gender if gender in ("M", "F") else None,
                    "age": AGES.get(age),
                    "residence": RESIDENCES.get(residence),
                    "quality": QUALITIES.get(quality),
                }
                facts = known[codes] = tuple((key, value) for key, value in told.items() if value)
            listing.audio.describe(values[0], facts)
    except ARCHIVE_ERRORS:  # what was read so far is told
        pass


def _part(member: Member) -> str | None:
    """`training` or `validation`: from the folder names `1.Training` and `2.Validation`, or KsponSpeech's file names."""
    *folders, base = parts_of(f"{member.path}/{member.inside}")
    if base.lower().endswith(".trn"):
        return "training" if base.lower().startswith("train") else "validation"
    for folder in reversed(folders):
        for part in ("training", "validation"):
            if folder.lower().endswith(part):
                return part
    return None


def _decoded(content: bytes) -> tuple[str, str]:
    """Text and its encoding: UTF-8 with or without BOM, else CP949 (what it lacks becomes U+FFFD).

    For a line at a time: one line in CP949 does not spoil a file in UTF-8.
    """
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp949", errors="replace"), "cp949"
