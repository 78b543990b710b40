"""The audio files of a corpus by name, and which of them a label has claimed."""

import os
import re
import unicodedata
from bisect import bisect, insort
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, takewhile
from typing import NamedTuple

from korean_asr.archive_file import Place
from korean_asr.audio import OTHER_AUDIO_SUFFIXES
from korean_asr.preprocessing.archive_scan import PackedAudio, Scanned

# (key, value) pairs: clips with equal metadata share one object.
Facts = tuple[tuple[str, str], ...]
_ARCHIVE_SUFFIX = re.compile(r"\.(?:tar|tar\.gz|tgz|zip)$", re.I)
# At most so many folders that agree equally well are compared: a million files named 1.wav must not
# take hours.
MAX_COMPARED = 100


# Not frozen: a frozen one takes three times as long to make, and a corpus has millions.
@dataclass(slots=True)
class Claim:
    """What a label gets: the clip's id and audio file, or the reason why it gets no file.

    rivals: of a second label of a clip: the claimant of the first label, and of this one. `audio`
        is then the file that the first label has.
    place: of audio in an archive; `audio` is then its address.
    """

    id: str
    audio: str | None
    reason: str | None
    facts: Facts = ()
    rivals: tuple[str, str] | None = None
    place: Place | None = None


# Named tuples: as small as tuples, equal by value and hashable, so that clips can share them.


class _File(NamedTuple):
    """One audio file. A suffix that starts with "/" is a whole file name, unlike the stem.

    claimed_by: the claimant whose label has the file as a whole; "" if none has. is_cut: whether
        clips are cut out of it. archive: the number of the archive that it lies in; 0 for the disk.
    """

    suffix: str
    claimed_by: str = ""
    is_cut: bool = False
    archive: int = 0


class _Clip(NamedTuple):
    """The files of one stem in one folder, sorted by suffix, and the facts that metadata gives."""

    folder: str
    facts: Facts = ()
    files: tuple[_File, ...] = ()

    @property
    def is_claimed(self) -> bool:
        return any(file.claimed_by for file in self.files)


class _WayUp(NamedTuple):
    """A folder, and its parts from the last one upwards, by which folders are sorted."""

    parts: tuple[str, ...]
    folder: str


@dataclass(slots=True)
class _Namesakes:
    """Clips of one stem in several folders. Only the label's path tells them apart."""

    n_claimed: int = 0
    clips: dict[str, _Clip] = field(default_factory=dict)  # by folder
    ways_up: list[_WayUp] = field(default_factory=list)  # sorted

    def put(self, clip: _Clip) -> None:
        if clip.folder not in self.clips:
            insort(self.ways_up, _way_up(clip.folder))
        self.clips[clip.folder] = clip

    def folder_of(self, name: str) -> str:
        """Return the folder with the longest end in common with a label's path, in whole parts.

        Ties go to the folder that shares the most parts anywhere, then to the first by name.
        """
        *wanted, _ = parts_of(name)
        upwards = tuple(reversed(wanted))
        index = bisect(self.ways_up, _WayUp(upwards, ""))
        # Ways up are sorted, so the longest agreement is with a neighbour.
        neighbours = self.ways_up[max(index - 1, 0) : index + 1]
        length = max(_n_equal(upwards, way.parts) for way in neighbours)
        first = bisect(self.ways_up, _WayUp(upwards[:length], ""))
        alike = takewhile(
            lambda way: way.parts[:length] == upwards[:length],
            self.ways_up[first : first + MAX_COMPARED],
        )
        return min(alike, key=lambda way: (-len({*way.parts} & {*wanted}), way.folder)).folder


class AudioIndex:
    """Every audio file under one folder, for labels to claim.

    A million clips must not take a gigabyte. A clip costs its stem and one reference, because all
    clips of one folder, suffix and metadata share one _Clip. Only stems that repeat in other
    folders cost more.
    claimant: who claims now: the label file or the folder of label files that is being read.
    """

    def __init__(self, root: str) -> None:
        self.claimant = root
        self._root = root
        self._clips: dict[str, _Clip | _Namesakes] = {}  # by stem
        self._shared: dict[_Clip, _Clip] = {}
        self._real: dict[str, str] = {}  # folder as it was walked -> folder without links
        self._walked: dict[str, str] = {}  # the reverse
        self._other_ids: set[str] = set()
        self._archives: list[PackedAudio] = []
        self._cuts: dict[str, str] = {}  # id of a clip that is cut out of a file -> folder

    def __len__(self) -> int:
        return len(self._clips)

    def __contains__(self, stem: str) -> bool:
        return stem in self._clips

    def add(self, folder: str, name: str) -> None:
        """Add a file that was found."""
        if folder not in self._real:
            real = self._real[folder] = os.path.realpath(folder)
            self._walked[real] = folder
        stem = stem_of(name)
        self._put_file(stem, folder, _File(_suffix(stem, name)))

    def _put_file(self, stem: str, folder: str, file: _File) -> None:
        clip = self._clip(stem, folder)
        # Sorted, because the order of a folder listing differs between machines.
        files = sorted((*clip.files, file))
        self._put(stem, _Clip(folder, clip.facts, tuple(files)))

    def add_archive(self, found: Scanned) -> int:
        """Add the audio of an archive, as if it were unpacked beside it.

        Returns how many clips are copies, and are not added: those with the name and the size of a
        file on disk, in the folder that it was unpacked into, or with the name, folder and size of
        a file in an archive that was added before. One of another size there lies, as it were, in
        the folder that has the archive's name.
        """
        archive, number = found.archive, len(self._archives) + 1
        self._archives.append(PackedAudio(archive, found.audio, found.index))
        beside, packed = os.path.dirname(archive.beside), self._archives[-1]
        # Not up to the first dot: it is `TS_1. 영어.zip`.
        own = _ARCHIVE_SUFFIX.sub("", archive.beside)
        n_copies = 0
        for name, n_bytes in zip(found.audio.names, found.audio.numbers[1::5], strict=True):
            inner, _, base = name.rpartition("/")
            folder = packed.folders.get(inner)
            if folder is None:
                folder = packed.folders[inner] = self._folder_in(packed, beside, inner)
            stem = stem_of(base)
            suffix, entry = _suffix(stem, base), self._clips.get(stem)
            if entry is not None:
                same = self._file(stem, folder, suffix)
                if same and same.archive not in (0, number):
                    other = self._archives[same.archive - 1]
                    if other.n_bytes(folder, _base(stem, suffix)) != n_bytes:
                        folder = self._folder_in(packed, own, inner)
                        same = self._file(stem, folder, suffix)
                # `tar cf x.tar .` writes ./ before all names.
                ends = (os.path.normpath(inner), own)
                if same or self._is_on_disk(entry, stem, suffix, ends, n_bytes):
                    n_copies += not (same and same.archive == number)
                    continue
            self._put_file(stem, folder, _File(suffix, archive=number))
        return n_copies

    def _folder_in(self, packed: PackedAudio, place: str, inner: str) -> str:
        """The folder of an archive as if it were unpacked at a place."""
        folder = os.path.normpath(f"{place}/{inner}")
        packed.inner.setdefault(folder, inner)
        self._real.setdefault(folder, os.path.realpath(folder))
        return folder

    def _file(self, stem: str, folder: str, suffix: str) -> _File | None:
        files = self._clip(stem, folder).files
        return next((file for file in files if file.suffix == suffix), None)

    def _is_on_disk(
        self, entry: "_Clip | _Namesakes", stem: str, suffix: str, ends: tuple[str, str], size: int
    ) -> bool:
        """Whether a clip lies unpacked in another folder; ends: how the folder may end."""
        clips = entry.clips.values() if isinstance(entry, _Namesakes) else [entry]
        for clip in islice(clips, MAX_COMPARED):
            if not any(f"/{clip.folder}".endswith(f"/{end}") for end in ends):
                continue
            for file in clip.files:
                if file.suffix == suffix and not file.archive:
                    with suppress(OSError):
                        if os.path.getsize(self._path(stem, clip.folder, file)) == size:
                            return True
        return False

    def describe(self, name: str, facts: Facts) -> None:
        """Give facts to the clip of that name, if there is one."""
        stem = stem_of(name)
        folder = self._folder_of(stem, name)
        if folder is not None:
            self._put(stem, _Clip(folder, facts, self._clip(stem, folder).files))

    def claim(self, name: str, cut: str = "") -> Claim:
        """Claim the clip that a label calls `name`; the folders in it may have other names here.

        cut: names the part of the file that the clip is, such as `_1.5000-3.2500`; "" for all.
        """
        stem = stem_of(name)
        folder = self._folder_of(stem, name)
        if folder is None:
            return Claim(stem, None, "no audio")
        clip = self._clip(stem, folder)
        suffix = clip.files[0].suffix
        if len(clip.files) > 1:
            # A clip with several files: claim one of a type that is surely read, if possible the
            # one that the label names, else the .wav.
            wanted = _suffix(stem, parts_of(name)[-1])
            suffix = min(
                (file.suffix for file in clip.files),
                key=lambda suffix: (
                    suffix.lower().endswith(OTHER_AUDIO_SUFFIXES),
                    suffix != wanted,
                    suffix != ".wav",
                    suffix,
                ),
            )
        return self._claimed(stem, clip, suffix, cut)

    def claim_file(self, folder: str, name: str, cut: str = "") -> Claim:
        """Claim exactly the file that a manifest names, even if it was not found before.

        cut: as for claim.
        """
        if folder not in self._real:
            folder = self._walked.get(os.path.realpath(folder), folder)
        stem = stem_of(name)
        suffix = _suffix(stem, name)
        if all(file.suffix != suffix for file in self._clip(stem, folder).files):
            self.add(folder, name)
        return self._claimed(stem, self._clip(stem, folder), suffix, cut)

    def is_new_id(self, name: str) -> bool:
        """Return whether no clip has this id yet, and reserve it.

        name: an id that a manifest gives and that is not the stem of the audio.
        """
        is_new = name not in self._other_ids and name not in self._clips
        self._other_ids.add(name)
        return is_new

    def unclaimed(self) -> Iterator[tuple[str, str, str]]:
        """Yield (stem, path, reason) of every file that no label claimed, by name.

        A file is a copy if a label claimed another file of the same clip.
        """
        for stem in sorted(self._clips):
            entry = self._clips[stem]
            clips = sorted(entry.clips.values()) if isinstance(entry, _Namesakes) else [entry]
            for clip in clips:
                unclaimed = [file for file in clip.files if not (file.claimed_by or file.is_cut)]
                reason = "audio copy" if len(unclaimed) < len(clip.files) else "no label"
                for file in unclaimed:
                    yield stem, self._path(stem, clip.folder, file), reason

    def _folder_of(self, stem: str, name: str) -> str | None:
        """Return the folder of the clip that a label calls `name`; None where there is none."""
        entry = self._clips.get(stem)
        return entry.folder_of(name) if isinstance(entry, _Namesakes) else entry and entry.folder

    def _clip(self, stem: str, folder: str) -> _Clip:
        """Return the clip of a stem in a folder; one without files where there is none yet."""
        entry = self._clips.get(stem)
        if isinstance(entry, _Namesakes):
            return entry.clips.get(folder) or _Clip(folder)
        return entry if entry and entry.folder == folder else _Clip(folder)

    def _put(self, stem: str, clip: _Clip) -> None:
        entry = self._clips.get(stem)
        if isinstance(entry, _Namesakes):
            entry.put(clip)
        elif entry is None or entry.folder == clip.folder:
            self._clips[stem] = self._shared.setdefault(clip, clip)
        else:
            namesakes = self._clips[stem] = _Namesakes(n_claimed=int(entry.is_claimed))
            namesakes.put(entry)
            namesakes.put(clip)

    def _claimed(self, stem: str, clip: _Clip, suffix: str, cut: str) -> Claim:
        if cut:
            return self._cut_out(stem, clip, suffix, cut)
        if clip.is_claimed:
            first = next(file for file in clip.files if file.claimed_by)
            path = self._path(stem, clip.folder, first)
            return Claim(stem, path, "duplicate id", rivals=(first.claimed_by, self.claimant))
        entry = self._clips[stem]
        is_second = stem in self._other_ids
        if isinstance(entry, _Namesakes):
            is_second = is_second or entry.n_claimed > 0
            entry.n_claimed += 1
        files = tuple(
            file._replace(claimed_by=self.claimant if file.suffix == suffix else "")
            for file in clip.files
        )
        self._put(stem, _Clip(clip.folder, clip.facts, files))
        path, place = self._audio(stem, clip, suffix)
        name = self._longer_id(stem, clip.folder, path) if is_second else stem
        return Claim(name, path, None, clip.facts, place=place)

    def _cut_out(self, stem: str, clip: _Clip, suffix: str, cut: str) -> Claim:
        """Claim a part of a file once; its other parts and the whole stay free."""
        (path, place), name = self._audio(stem, clip, suffix), stem + cut
        if self._cuts.get(name, clip.folder) != clip.folder:
            name = self._longer_id(stem, clip.folder, path) + cut
        if not self.is_new_id(name):
            return Claim(name, None, "duplicate id")
        self._cuts[name] = clip.folder
        files = tuple(
            file._replace(is_cut=True) if file.suffix == suffix else file for file in clip.files
        )
        self._put(stem, _Clip(clip.folder, clip.facts, files))
        return Claim(name, path, None, clip.facts, place=place)

    def _longer_id(self, stem: str, folder: str, path: str) -> str:
        """Return an id that includes the folder, because another clip has the stem as its id."""
        way = os.path.relpath(folder, self._root)
        # way is "." for the root: a bare stem would be the first clip's id.
        return os.path.splitext(path)[0] if way.startswith("..") else f"{way}/{stem}"

    def _audio(self, stem: str, clip: _Clip, suffix: str) -> tuple[str, Place | None]:
        """The path of a clip's file, or its address and place in an archive."""
        file = next(file for file in clip.files if file.suffix == suffix)
        if not file.archive:
            return self._path(stem, clip.folder, file), None
        place = self._archives[file.archive - 1].place(clip.folder, _base(stem, suffix))
        return place.address, place

    def _path(self, stem: str, folder: str, file: _File) -> str:
        base = _base(stem, file.suffix)
        if file.archive:
            return self._archives[file.archive - 1].address(folder, base)
        # Only the folder is resolved: a link .pcm -> store/abc123 must keep the name that tells its
        # format.
        return f"{self._real[folder]}/{base}"


def _base(stem: str, suffix: str) -> str:
    return suffix[1:] if suffix.startswith("/") else stem + suffix


def stem_of(name: str) -> str:
    """Return a clip's name without folders and suffix, in NFC: macOS decomposes Hangul names."""
    base = _composed(name).rpartition("/")[2]
    dot = base.rfind(".")
    return base[:dot] if dot > 0 else base


def parts_of(name: str) -> list[str]:
    """Return the folders and the file name of a path from a label or a disk, in NFC."""
    return [part for part in _composed(name).split("/") if part not in ("", ".")]


def _composed(name: str) -> str:
    name = name.strip().replace("\\", "/")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _suffix(stem: str, name: str) -> str:
    return name[len(stem) :] if name.startswith(stem) else "/" + name


@lru_cache(maxsize=1 << 16)
def _way_up(folder: str) -> _WayUp:
    """Cached, so that all clips of a folder share one object."""
    return _WayUp(tuple(reversed(parts_of(folder))), folder)


def _n_equal(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Count the leading parts that are equal."""
    n_common = min(len(one), len(other))
    return next((i for i in range(n_common) if one[i] != other[i]), n_common)
