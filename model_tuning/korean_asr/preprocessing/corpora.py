"""A corpus on disk -> raw utterances: labels joined to audio by name, every file accounted for.

A corpus is a folder, or one manifest or label file. File names and keys show what its labels are;
labels.py lists the formats. Label archives (.tar .tar.gz .tgz .zip) are read where they lie and
never unpacked. What a label or an archive says is never used to open or write a file of another
folder: a clip's audio is looked up among the files that were found.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from korean_asr.errors import DataError, printable
from korean_asr.preprocessing.archives import (
    ARCHIVE_ERRORS,
    ARCHIVE_SUFFIXES,
    TOO_LARGE,
    UNREADABLE,
    UNSAFE,
    Member,
    archive_names,
    label_file,
    label_members,
    leaves_its_folder,
    problem_of,
    unpack_command,
)
from korean_asr.preprocessing.audio_index import AudioIndex, Facts, parts_of, stem_of
from korean_asr.preprocessing.labels import (
    MAX_LINE_BYTES,
    Label,
    clip_text,
    is_label,
    is_manifest_line,
    is_metadata,
    json_label,
    label_lines,
    manifest_label,
    metadata_facts,
    script_label,
)


# Not frozen, as labels.Label: a frozen one takes three times as long to make.
@dataclass(slots=True)
class RawUtterance:
    """One label, or one audio file that no label names."""

    id: str
    raw: str  # the transcript as it stands
    audio: str | None  # path
    reason: str | None = None  # why the clip must be rejected
    encoding: str = "utf-8"  # of the label
    facts: dict[str, str] = field(default_factory=dict)  # Utterance fields


@dataclass(slots=True)
class Listing:
    """A corpus as it was found: label files, archives, audio, and notes for the user.

    root: the folder, or the one manifest.
    digest: a hash over labels and metadata. It and n_label_files are complete once all of
        raw_utterances has been read.
    """

    root: Path
    audio: AudioIndex
    fact_keys: tuple[str, ...]
    labels: list[str] = field(default_factory=list)
    clip_texts: list[str] = field(default_factory=list)
    label_archives: list[str] = field(default_factory=list)
    audio_archives: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_label_files: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def has_labels(self) -> bool:
        return bool(self.clip_texts or self.label_archives or any(map(is_label, self.labels)))


# --- Listing ---


def listed_corpus(
    root: Path, output: Path, audio_suffixes: Collection[str], fact_keys: tuple[str, ...]
) -> Listing:
    """Find the labels and the audio of a corpus: a folder, or a manifest.

    output: a folder to leave out, because script 1 writes there.
    audio_suffixes: the suffixes of audio files, in lower case.
    fact_keys: the optional keys of a manifest's line to keep.
    Raises DataError for a root that does not exist, that holds no label, or whose audio is packed.
    """
    if root.is_file():
        if root.suffix.lower() not in (".json", ".jsonl"):
            raise DataError(
                f"{root} is a file, but not a manifest (*.json, *.jsonl). Pass its folder. "
                "· 폴더를 지정하세요."
            )
        return Listing(root, AudioIndex(str(root.parent)), fact_keys, labels=[str(root)])
    _refuse_unusable_folder(root, output)
    listing = Listing(root, AudioIndex(str(root)), fact_keys)
    suffixes = tuple(audio_suffixes)
    archives = []
    for folder, names in _folders(listing, output):
        for name in names:
            lower = name.lower()
            if lower.endswith(suffixes):
                listing.audio.add(folder, name)
            elif is_label(lower) or is_metadata(lower):
                listing.labels.append(f"{folder}/{name}")
            elif lower.endswith(ARCHIVE_SUFFIXES):
                archives.append(f"{folder}/{name}")
    listing.labels.sort()
    for archive in sorted(archives):
        _file_archive(archive, listing, suffixes)
    if not listing.has_labels:
        # Only now: 한국인 대화 음성 has a text beside each clip too, a million names.
        listing.clip_texts = sorted(
            f"{folder}/{name}"
            for folder, names in _folders(listing, output)
            for name in names
            if name.lower().endswith(".txt") and stem_of(name) in listing.audio
        )
    _refuse_incomplete(listing)
    return listing


def _refuse_unusable_folder(root: Path, output: Path) -> None:
    if not root.is_dir():
        what = "is neither a folder nor a file" if root.exists() else "does not exist"
        raise DataError(
            f"{root} {what}. Pass the folder of the corpus, or a manifest. · 해당 폴더가 없습니다."
        )
    if os.path.realpath(root) == os.path.realpath(output):
        raise DataError(
            f"{root} is the folder to write into. Pass another --output. "
            "· 출력 폴더를 따로 지정하세요."
        )


def _refuse_incomplete(listing: Listing) -> None:
    if listing.audio_archives and not len(listing.audio):
        raise DataError(
            f"the audio of {listing.root} is still packed: {unpack_hint(listing)} "
            "· 음성 압축을 먼저 푸세요."
        )
    if not listing.has_labels:
        notes = "".join(f" {note}" for note in listing.notes)
        raise DataError(
            f"{listing.root} holds no labels: no *scripts.txt, *.trn, *.json or *.jsonl, no "
            "archive with some, no text beside a clip. Pass the folder that holds 1.Training, or a "
            f"manifest.{notes} · 전사 파일이 없습니다."
        )


def unpack_hint(listing: Listing) -> str:
    """Return the command that unpacks the first audio archive, and how many others there are."""
    first, *others = listing.audio_archives
    likewise = f", and likewise {len(others):,} more" if others else ""
    return printable(f"run  {unpack_command(first)}{likewise}. Label archives may stay packed.")


def _folders(listing: Listing, output: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder of the corpus with the names of its files; links are followed."""
    visited = {os.path.realpath(output)}
    unreadable: list[OSError] = []
    walk = os.walk(listing.root, followlinks=True, onerror=unreadable.append)
    progress = tqdm(walk, f"listing {listing.root.name}", unit=" folders", delay=2)
    for folder, subfolders, names in progress:
        real = os.path.realpath(folder)
        # A link that leads back, or the folder that is written into.
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        if "preprocessing.json" in names and {"korean.jsonl", "foreign.jsonl"} & {*names}:
            _note(listing, f"{folder} was left out: script 1 wrote it.")
            subfolders.clear()
            continue
        # macOS puts a `._name` beside each file that it copies to a foreign disk.
        yield folder, [name for name in names if not name.startswith("._")]
    for error in unreadable:
        _note(listing, f"{error.filename} was left out: {error.strerror}.")


def _note(listing: Listing, note: str) -> None:
    """Add a note once; folders may be walked twice."""
    if printable(note) not in listing.notes:
        listing.notes.append(printable(note))


def _file_archive(archive: str, listing: Listing, suffixes: tuple[str, ...]) -> None:
    """Sort an archive under labels, audio or both, by AI Hub's names or by its content."""
    *folders, base = parts_of(archive)
    is_ai_hub_audio = "[원천]" in base or base.startswith(("TS_", "VS_"))
    if is_ai_hub_audio or any("원천데이터" in folder for folder in folders):
        listing.audio_archives.append(archive)
        return
    names, are_all = archive_names(archive)
    holds_audio = any(name.lower().endswith(suffixes) for name in names)
    if holds_audio:
        listing.audio_archives.append(archive)
    # One that cannot be read counts as labels, so that it is refused by name when it is read.
    if any(is_label(name) or is_metadata(name) for name in names) or not (holds_audio or are_all):
        listing.label_archives.append(archive)
    elif not holds_audio:
        _note(listing, f"{archive} was left out: it holds neither labels nor audio.")


# --- Joining labels to audio ---


def raw_utterances(listing: Listing) -> Iterator[RawUtterance]:
    """Yield every label in the order of its files, then the audio that no label claimed."""
    for member in _members(listing, is_metadata):
        if member.file:
            _read_metadata(member.file, listing)
        elif is_metadata(member.name):
            yield RawUtterance(member.name, "", None, member.problem)
    for member in _members(listing, is_label):
        # Metadata that was refused has been reported above.
        if is_metadata(member.name):
            continue
        listing.n_label_files += 1
        is_json = member.name.lower().endswith((".json", ".jsonl"))
        reader = _json_labels if is_json else _script_labels
        try:
            if member.problem:
                yield RawUtterance(member.name, "", None, member.problem)
            else:
                yield from reader(member, listing)
        except ARCHIVE_ERRORS as error:
            # The archive is damaged further down.
            yield RawUtterance(member.name, "", None, problem_of(error))
    for path in listing.clip_texts:
        listing.n_label_files += 1
        for member in label_file(path):
            yield _clip_text(member, listing)
    for stem, path, reason in listing.audio.unclaimed():
        yield RawUtterance(stem, "", path, reason)


def _members(listing: Listing, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Yield label files on disk, then those in archives, except files that are on disk as well."""
    for path in listing.labels:
        if wanted(path):
            yield from label_file(path)
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
            _note(listing, f"{archive} holds no labels.")
        if n_unpacked and wanted is is_label:
            what = f"{n_unpacked:,} label files are there unpacked as well, and are read once."
            _note(listing, f"{archive}: {what}")


def _read_metadata(file: IO[bytes], listing: Listing) -> None:
    """Give the facts of metadata to the audio; lines of another shape are skipped."""
    try:
        while line := file.readline(MAX_LINE_BYTES):
            listing.digest.update(line)
            if found := metadata_facts(line):
                listing.audio.describe(*found)
    except ARCHIVE_ERRORS:
        # No clip depends on metadata, and what was read so far holds.
        pass


def _script_labels(member: Member, listing: Listing) -> Iterator[RawUtterance]:
    """Join the lines of a script, a clip each.

    The theme is taken from each clip's name, since a script may have the name of another theme.
    """
    part, has_themes = member.part, member.name.lower().endswith("scripts.txt")
    for number, line in enumerate(label_lines(member.file, listing.digest), 1):
        if line is None:
            yield RawUtterance(f"{member.name}, line {number}", "", None, TOO_LARGE)
            continue
        label = script_label(line)
        if label is None:
            continue
        if not label.is_readable:
            yield _unreadable(label.name, f"{member.name}, line {number}", label, listing)
            continue
        if ".." in label.name and ".." in parts_of(label.name):
            yield RawUtterance(label.name.strip(), label.raw, None, UNSAFE, label.encoding)
            continue
        claim = listing.audio.claim(label.name)
        theme = stem_of(label.name).rpartition("_")[0] if has_themes else ""
        facts = _script_facts(theme, part, claim.facts)
        yield RawUtterance(claim.id, label.raw, claim.audio, claim.reason, label.encoding, facts)


@lru_cache(maxsize=10_000)
def _script_facts(theme: str, part: str | None, facts: Facts) -> dict[str, str]:
    """Cached, so that a million clips share a few hundred dictionaries."""
    values = {"theme": theme, "part": part, **dict(facts)}
    return {key: value for key, value in values.items() if value}


def _json_labels(member: Member, listing: Listing) -> Iterator[RawUtterance]:
    """Join one label, or a manifest: any .jsonl, or a .json whose first line is a whole clip."""
    lines = enumerate(label_lines(member.file, listing.digest), 1)
    first = next((item for item in lines if item[1] is None or item[1].strip()), (1, b""))
    if member.name.lower().endswith(".jsonl") or is_manifest_line(first[1] or b""):
        yield from _manifest_lines(chain([first], lines), member, listing)
        return
    content = bytearray()
    for _, line in chain([first], lines):
        if line is None or len(content) > MAX_LINE_BYTES:
            yield RawUtterance(member.name, "", None, TOO_LARGE)
            return
        content += line
    yield _json_label(json_label(bytes(content)), member, listing)


def _json_label(label: Label, member: Member, listing: Listing) -> RawUtterance:
    # Labels and audio have parallel folders: 1.Training/라벨링데이터/…/1. 한국생활 and
    # 1.Training/원천데이터/…/1. 한국생활.
    folder = f"{os.path.dirname(member.path)}/{os.path.dirname(member.inside)}"
    if not label.is_readable:
        return _unreadable(f"{folder}/{member.base}", member.name, label, listing)
    name = label.name or member.base
    if leaves_its_folder(name):
        return RawUtterance(name, label.raw, None, UNSAFE, label.encoding)
    # Label and audio were renamed together, but not the name inside the label.
    if stem_of(name) not in listing.audio and stem_of(member.base) in listing.audio:
        name = member.base
    claim = listing.audio.claim(f"{folder}/{name}")
    facts = dict(label.facts)
    if part := member.part:
        facts["part"] = part
    return RawUtterance(claim.id, label.raw, claim.audio, claim.reason, label.encoding, facts)


def _unreadable(audio: str, name: str, label: Label, listing: Listing) -> RawUtterance:
    """Reject a label that cannot be read, under the id of the audio that it seems to mean."""
    if stem_of(audio) in listing.audio:
        name = listing.audio.claim(audio).id
    return RawUtterance(name, label.raw, None, UNREADABLE, label.encoding)


def _manifest_lines(
    lines: Iterator[tuple[int, bytes | None]], member: Member, listing: Listing
) -> Iterator[RawUtterance]:
    for number, line in lines:
        line_name = f"{member.name}, line {number}"
        if line is None:
            yield RawUtterance(line_name, "", None, TOO_LARGE)
        elif line.strip():
            label = manifest_label(line, listing.fact_keys)
            if label.is_readable:
                yield _manifest_clip(label, member, listing)
            else:
                yield RawUtterance(line_name, label.raw, None, UNREADABLE, label.encoding)


def _manifest_clip(label: Label, member: Member, listing: Listing) -> RawUtterance:
    """Join a line of a manifest. Only if the user names the manifest may its audio lie anywhere."""
    path = os.path.normpath(os.path.join(os.path.dirname(member.path), label.name))
    is_named_by_user = str(listing.root) == member.path
    # What is not a regular file is claimed as well, so that its audio is rejected as unreadable.
    if is_named_by_user and os.path.exists(path):
        claim = listing.audio.claim_file(*os.path.split(path))
    elif not is_named_by_user and _leads_out(label.name, path, listing.root):
        return RawUtterance(label.name, label.raw, None, UNSAFE, label.encoding)
    else:
        claim = listing.audio.claim(path)
    name, reason = claim.id, claim.reason
    if reason is None and label.id not in ("", stem_of(label.name)):
        name = label.id
        reason = None if listing.audio.is_new_id(name) else "duplicate id"
    if label.is_part and reason in (None, "duplicate id"):
        reason = "part of a file"
    return RawUtterance(name, label.raw, claim.audio, reason, label.encoding, label.facts)


def _leads_out(name: str, path: str, root: Path) -> bool:
    """Return whether a name with `..` in it gives a path outside the root."""
    is_inside = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))
    return ".." in parts_of(name) and not is_inside


def _clip_text(member: Member, listing: Listing) -> RawUtterance:
    """Join the text beside a clip, as KsponSpeech has it: CP949 with CR, no name inside."""
    content, problem = b"", member.problem
    try:
        if member.file:
            content = member.file.read(MAX_LINE_BYTES + 1)
    except OSError:
        problem = UNREADABLE
    listing.digest.update(content)
    label = clip_text(content)
    raw = label.raw
    if len(content) > MAX_LINE_BYTES:
        raw, problem = "", TOO_LARGE
    elif not label.is_readable:
        problem = UNREADABLE
    claim = listing.audio.claim(member.path)
    return RawUtterance(claim.id, raw, claim.audio, problem or claim.reason, label.encoding)
