"""A listed corpus -> raw utterances: labels joined to audio by name, every file accounted for.

Names and keys show what the labels are; labels.py lists the formats. Archives (.tar .tar.gz .tgz
.zip) are read where they lie and never unpacked. What a label or an archive says is never used
to open or write a file of another folder: a clip's audio is looked up among the files that were
found.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from korean_asr.archive_file import Place, path_within
from korean_asr.audio_file import UnreadableAudio
from korean_asr.files import json_line
from korean_asr.manifest import absolute_audio, clip_name, cut_name
from korean_asr.preprocessing.archive_scan import TOO_LARGE, UNREADABLE, UNSAFE, Scanned
from korean_asr.preprocessing.archive_walk import leaves_its_folder
from korean_asr.preprocessing.archives import (
    ARCHIVE_ERRORS,
    Member,
    label_file,
    label_members,
    problem_of,
)
from korean_asr.preprocessing.audio_index import AudioIndex, Claim, Facts, parts_of, stem_of
from korean_asr.preprocessing.json_labels import MAX_JSON_BYTES, json_labels
from korean_asr.preprocessing.labels import (
    MAX_LINE_BYTES,
    Label,
    clip_text,
    is_label,
    is_manifest_line,
    is_metadata,
    label_lines,
    manifest_label,
    metadata_facts,
    script_label,
    trans_label,
)
from korean_asr.preprocessing.listing import Listing
from korean_asr.preprocessing.tables import Row, part_of, table_rows

# JSON that is sound, but no label of a corpus that is read here.
UNKNOWN = "unknown label"


# Not frozen, as labels.Label: a frozen one takes three times as long to make.
@dataclass(slots=True)
class RawUtterance:
    """One label, or one audio file that no label names.

    problem: what is wrong with the label, where more is known than the reason.
    rivals: of a second label of a clip: where the first label lies, and where this one.
    """

    id: str
    raw: str  # the transcript as it stands
    audio: str | None  # path
    reason: str | None = None  # why the clip must be rejected
    encoding: str = "utf-8"  # of the label
    facts: dict[str, str] = field(default_factory=dict)  # Utterance fields
    rivals: tuple[str, str] | None = None
    # Seconds, where the clip is cut out of a longer file; a duration of None or 0: to its end.
    offset: float | None = None
    duration: float | None = None
    problem: str = ""
    # Where the bytes of audio in an archive lie; `audio` is then its address.
    audio_offset: int | None = None
    audio_bytes: int | None = None
    audio_index: str | None = None


def raw_utterances(listing: Listing) -> Iterator[RawUtterance]:
    """Yield every label in the order of its files, then the audio that no label claimed."""
    for member in _members(listing, is_metadata):
        if member.file:
            _read_metadata(member, listing)
        elif is_metadata(member.name):
            yield RawUtterance(member.name, "", None, member.problem)
    for member in _members(listing, is_label):
        # Metadata that was refused has been reported above.
        if is_metadata(member.name):
            continue
        listing.n_label_files += 1
        listing.audio.claimant = _place_of_labels(member)
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
    for member in listing.texts_beside_clips():
        listing.n_label_files += 1
        listing.audio.claimant = os.path.dirname(member.name)
        yield _clip_text(member, listing)
    for table in listing.tables:
        yield from _table_clips(table, listing)
    if summary := listing.embedded.summary():
        listing.note(summary)
    for name, reason in listing.refused:
        yield RawUtterance(name, "", None, reason)
    listing.note_unknown()
    listing.pass_over_other_splits()
    for stem, path, reason in listing.audio.unclaimed():
        yield RawUtterance(stem, "", path, reason)


def _place_of_labels(member: Member) -> str:
    """Return the folder of a file that holds one label, or the name of a file that holds many."""
    if not member.name.lower().endswith(".json"):
        return member.name
    is_at_top = member.inside and "/" not in member.inside
    return member.path if is_at_top else os.path.dirname(member.name)


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
    for found in listing.label_archives:
        n_unpacked = n_found = 0
        for member in chain(label_members(found, wanted), _refused(found, wanted)):
            n_found += 1
            if member.file and (member.base, member.n_bytes) in unpacked:
                n_unpacked += 1
            else:
                yield member
        if not n_found and wanted is is_label:
            listing.note(f"{found.archive.address} holds no labels.")
        if n_unpacked and wanted is is_label:
            what = f"{n_unpacked:,} label files are there unpacked as well, and are read once."
            listing.note(f"{found.archive.address}: {what}")


def _refused(found: Scanned, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Yield what must not be read in an archive of labels, and the archive if it is damaged."""
    path = found.archive.beside
    for name, reason in found.refused:
        if wanted(name) or wanted is is_label:
            yield Member(path, name, problem=reason)
    if wanted is is_label and not found.audio and (found.problem or found.is_cut_off):
        yield Member(path, problem=found.problem or UNREADABLE)


def _read_metadata(member: Member, listing: Listing) -> None:
    """Give the facts of metadata to the audio; lines of another shape are skipped."""
    try:
        for line in label_lines(member.file, listing.digest):
            if line and (found := metadata_facts(line)):
                listing.audio.describe(*found)
    except ARCHIVE_ERRORS:
        # No clip depends on metadata, and what was read so far holds.
        pass


def _script_labels(member: Member, listing: Listing) -> Iterator[RawUtterance]:
    """Join the lines of a script, a clip each.

    The theme is taken from each clip's name, since a script may have the name of another theme.
    """
    part, has_themes = member.part, member.name.lower().endswith("scripts.txt")
    read = trans_label if member.name.lower().endswith(".trans.txt") else script_label
    for number, line in enumerate(label_lines(member.file, listing.digest), 1):
        if line is None:
            yield RawUtterance(f"{member.name}, line {number}", "", None, TOO_LARGE)
            continue
        label = read(line)
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
        if label.facts:
            facts = facts | label.facts
        yield _joined(label, claim, facts)


def _joined(label: Label, claim: Claim, facts: dict[str, str]) -> RawUtterance:
    return RawUtterance(
        claim.id,
        label.raw,
        claim.audio,
        claim.reason,
        label.encoding,
        facts,
        claim.rivals,
        label.offset,
        label.duration,
        "",
        *(claim.place[1:] if claim.place else ()),
    )


@lru_cache(maxsize=10_000)
def _script_facts(theme: str, part: str | None, facts: Facts) -> dict[str, str]:
    """Cached, so that a million clips share a few hundred dictionaries."""
    values = {"theme": theme, "part": part, **dict(facts)}
    return {key: value for key, value in values.items() if value}


def _json_labels(member: Member, listing: Listing) -> Iterator[RawUtterance]:
    """Join labels, or a manifest: any .jsonl, or a .json whose first line is a whole clip."""
    has_lines = member.name.lower().endswith(".jsonl")
    max_bytes = MAX_LINE_BYTES if has_lines else MAX_JSON_BYTES
    lines = enumerate(label_lines(member.file, listing.digest, max_bytes), 1)
    first = next((item for item in lines if item[1] is None or item[1].strip()), (1, b""))
    if has_lines or is_manifest_line(first[1] or b""):
        yield from _manifest_lines(chain([first], lines), member, listing)
        return
    content = bytearray()
    for _, line in chain([first], lines):
        if line is None or len(content) > MAX_JSON_BYTES:
            yield RawUtterance(member.name, "", None, TOO_LARGE)
            return
        content += line
    labels = json_labels(bytes(content), listing.keys)
    # One line of a manifest, written over several lines.
    if labels[0].unknown_keys and is_manifest_line(content):
        yield from _manifest_lines(iter([(1, bytes(content))]), member, listing)
    else:
        yield from _json_clips(labels, member.name, member, listing)


def _json_clips(
    labels: list[Label], name: str, member: Member, listing: Listing
) -> Iterator[RawUtterance]:
    """Join the clips of one JSON value; `name` says where it lies."""
    listing.n_keyed += labels[0].is_keyed
    for number, label in enumerate(labels, 1):
        clip_name = name if len(labels) == 1 else f"{name}, clip {number}"
        yield _json_label(label, clip_name, member, listing)


def _json_label(label: Label, name: str, member: Member, listing: Listing) -> RawUtterance:
    # Labels and audio have parallel folders: 1.Training/라벨링데이터/…/1. 한국생활 and
    # 1.Training/원천데이터/…/1. 한국생활.
    folder = f"{os.path.dirname(member.path)}/{os.path.dirname(member.inside)}"
    if not label.is_readable:
        # One of many clips does not mean the audio of the label's name.
        audio = f"{folder}/{member.base}" if name == member.name else ""
        return _unreadable(audio, name, label, listing)
    name = label.name or member.base
    if leaves_its_folder(name):
        return RawUtterance(name, label.raw, None, UNSAFE, label.encoding)
    # Label and audio were renamed together, but not the name inside the label.
    if stem_of(name) not in listing.audio and stem_of(member.base) in listing.audio:
        name = member.base
    cut = "" if label.offset is None else cut_name(label.offset, label.duration)
    claim = listing.audio.claim(f"{folder}/{name}", cut)
    facts = dict(label.facts)
    if part := member.part:
        facts["part"] = part
    return _joined(label, claim, facts)


def _unreadable(audio: str, name: str, label: Label, listing: Listing) -> RawUtterance:
    """Reject a label that cannot be read, under the id of the audio that it seems to mean."""
    reason = UNREADABLE
    if label.unknown_keys:
        reason = UNKNOWN
        listing.add_unknown(label.unknown_keys, name)
    if audio and stem_of(audio) in listing.audio:
        name = listing.audio.claim(audio).id
    return RawUtterance(name, label.raw, None, reason, label.encoding, problem=label.problem)


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
            elif label.unknown_keys and listing.keys.text:
                labels = json_labels(line, listing.keys)
                yield from _json_clips(labels, line_name, member, listing)
            else:
                yield _unreadable("", line_name, label, listing)


def _manifest_clip(label: Label, member: Member, listing: Listing) -> RawUtterance:
    """Join a line of a manifest. Only if the user names the manifest may its audio lie anywhere."""
    path = os.path.normpath(os.path.join(os.path.dirname(member.path), label.name))
    if (is_named_by_user := str(listing.root) == member.path) and label.place:
        return _archived_clip(label, listing.root.resolve().parent, listing)
    if not is_named_by_user and _leads_out(label.name, path, listing.root):
        return RawUtterance(label.name, label.raw, None, UNSAFE, label.encoding)
    claim = _manifest_claim(label, path, is_named_by_user, listing.audio)
    # A clip that is rejected keeps its own id too, so that the user finds it again.
    if label.id not in ("", claim.id, stem_of(label.name)):
        claim.id = label.id
        if claim.reason is None and not listing.audio.is_new_id(label.id):
            claim.reason = "duplicate id"
    return _joined(label, claim, label.facts)


def _archived_clip(label: Label, folder: Path, listing: Listing) -> RawUtterance:
    """A line of a manifest whose clip lies in an archive, such as those that script 1 writes."""
    name = label.id or clip_name(stem_of(path_within(label.name)), label.offset, label.duration)
    address, (start, n_bytes, index) = absolute_audio(label.name, folder), label.place.values()
    place = Place(address, start, n_bytes, index and os.path.normpath(folder / index))
    reason = None if listing.audio.is_new_id(name) else "duplicate id"
    return _joined(label, Claim(name, address, reason, place=place), label.facts)


def _table_clips(table: str, listing: Listing) -> Iterator[RawUtterance]:
    listing.n_label_files += 1
    listing.audio.claimant = table
    part = part_of(table, listing.root)
    for row in table_rows(table, listing.keys.dotted(), listing.fact_keys):
        label = row.label
        listing.digest.update(json_line([label.name, label.raw, label.facts]).encode())
        if not label.is_readable:
            reason, problem = UNREADABLE, label.problem
            yield RawUtterance(row.place, label.raw, None, reason, label.encoding, problem=problem)
            continue
        if part:
            label.facts.setdefault("part", part)
        if row.sound is not None:
            yield _embedded_clip(row, part or "all", listing)
        elif label.name:
            yield _manifest_clip(label, Member(table), listing)
        else:
            yield RawUtterance(row.place, label.raw, None, "no audio", label.encoding)


def _embedded_clip(row: Row, split: str, listing: Listing) -> RawUtterance:
    """Write the audio that a table holds; its name gives the id."""
    label, name = row.label, listing.embedded.name_of(row.label.name, split)
    stem = name.rpartition("/")[2]
    clip = RawUtterance(stem, label.raw, None, None, label.encoding, label.facts)
    if not listing.audio.is_new_id(stem):
        clip.id = name
    try:
        clip.audio = listing.embedded.write(row.sound, label.name, name)
    except UnreadableAudio as error:
        clip.reason = str(error)
    return clip


def _manifest_claim(label: Label, path: str, is_named_by_user: bool, audio: AudioIndex) -> Claim:
    """Claim the file of a manifest's line, or the part of it that is cut out.

    A part takes the stem as its id, as a whole file does, where it starts the file or where the
    manifest says so.
    """
    claimed = partial(audio.claim, path)
    if is_named_by_user and _is_judged(path):
        claimed = partial(audio.claim_file, *os.path.split(path))
    cut = "" if label.offset is None else cut_name(label.offset, label.duration)
    if label.offset and label.id != stem_of(label.name):
        return claimed(cut)
    claim = claimed()
    return claimed(cut) if cut and claim.reason == "duplicate id" else claim


def _is_judged(path: str) -> bool:
    """Return whether the judge of audio is asked about a path.

    What is not a regular file is unreadable, and so is a name that no file can have.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return os.path.isdir(os.path.dirname(path))
    return True


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
    except ARCHIVE_ERRORS:
        problem = UNREADABLE
    listing.digest.update(content)
    label = clip_text(content)
    if len(content) > MAX_LINE_BYTES:
        label.raw, problem = "", TOO_LARGE
    elif not label.is_readable:
        problem = UNREADABLE
    claim = listing.audio.claim(member.inside or member.path)
    claim.reason = problem or claim.reason
    return _joined(label, claim, {})
