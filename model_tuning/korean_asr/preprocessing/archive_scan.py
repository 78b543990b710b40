"""What an archive holds: which audio, labels and inner archives lie where in it."""

import os
import posixpath
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from korean_asr.archive_file import (
    MAX_MEMBER_BYTES,
    PART,
    Extent,
    JoinedFile,
    Place,
    leading_parts,
)

UNSAFE, TOO_LARGE, UNREADABLE = "unsafe path", "label too large", "label unreadable"
AUDIO_UNREADABLE = "audio unreadable"
STORED, DEFLATED = 0, 8


class Found(NamedTuple):
    """A file in an archive.

    offset: of its bytes as they are packed, n_packed of them. method: STORED or DEFLATED.
    problem: why it must not be read: UNSAFE or UNREADABLE.
    """

    name: str
    offset: int
    n_bytes: int
    n_packed: int
    method: int = STORED
    crc: int = -1
    problem: str = ""


class Members:
    """Files in an archive as columns: a million of them must not take a gigabyte."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers = array("q")

    def __len__(self) -> int:
        return len(self.names)

    def add(self, found: Found) -> None:
        self.names.append(found.name)
        self.numbers.extend(found[1:6])

    def __iter__(self) -> Iterator[Found]:
        for i, name in enumerate(self.names):
            yield Found(name, *self.numbers[5 * i : 5 * i + 5])


class Archive(NamedTuple):
    """An archive on disk, or inside a .tar on disk.

    path: on disk; the disk may have its parts alone. extents: its bytes on disk.
    inner: its name in the .tar at `path`; ranges: (start, n_bytes) of it or its parts there.
    """

    path: str
    extents: tuple[Extent, ...]
    inner: str = ""
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def address(self) -> str:
        protocol = "zip" if self.path.lower().endswith(".zip") else "tar"
        return f"{protocol}://{self.inner}::{self.path}" if self.inner else self.path

    @property
    def beside(self) -> str:
        """The path that the archive has, or would have if its .tar were unpacked beside itself."""
        return f"{os.path.dirname(self.path)}/{self.inner}" if self.inner else self.path

    @property
    def is_zip(self) -> bool:
        return self.beside.lower().endswith(".zip")

    def on_disk(self, offsets: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Offsets in the file at `path`; -1 where the bytes do not lie whole there."""
        if not self.inner:
            return offsets
        starts = np.array([start for start, _ in self.ranges])
        ends = np.array([*accumulate(n for _, n in self.ranges)])
        number = np.minimum(np.searchsorted(ends, offsets, "right"), len(ends) - 1)
        firsts = ends - np.array([n for _, n in self.ranges])
        is_whole = (offsets >= 0) & (offsets + sizes <= ends[number])
        return np.where(is_whole, offsets - firsts[number] + starts[number], -1)


@dataclass(slots=True)
class Scanned:
    """What one archive holds.

    refused: (name, reason) of members that are not read. archives: the archives in it, and
    parts; an empty place for what is compressed or damaged.
    n_cut: members that are not whole. is_cut_off: the archive ends too early. problem: UNREADABLE
    where it is damaged. index: path of the index of a .tar.gz.
    """

    archive: Archive
    audio: Members = field(default_factory=Members)
    labels: Members = field(default_factory=Members)
    refused: list[tuple[str, str]] = field(default_factory=list)
    archives: dict[str, dict[int, tuple[int, ...]]] = field(default_factory=dict)
    n_cut: int = 0
    is_cut_off: bool = False
    problem: str = ""
    index: str | None = None
    # Of a .tar.gz without an index: its labels are read forwards, its audio not at all.
    is_streamed: bool = False
    has_packed_audio: bool = False

    def take(self, found: Found, kind: str) -> None:
        """File a member under its kind: audio, label, archive, or "" for other things."""
        if found.problem == UNSAFE:
            self.refused.append((found.name, UNSAFE))
        elif kind == "archive":
            part = PART.fullmatch(found.name)
            name, number = (part[1], int(part[2])) if part else (found.name, -1)
            is_there = found.method == STORED and not found.problem
            place = (found.offset, found.n_bytes) if is_there else ()
            self.archives.setdefault(name, {})[number] = place
        elif kind in ("audio", "label"):
            is_audio = kind == "audio"
            if found.problem:
                self.refused.append((found.name, AUDIO_UNREADABLE if is_audio else UNREADABLE))
            elif not 0 <= found.n_bytes <= MAX_MEMBER_BYTES:
                self.refused.append((found.name, AUDIO_UNREADABLE if is_audio else TOO_LARGE))
            else:
                (self.audio if is_audio else self.labels).add(found)

    @property
    def unread_archives(self) -> list[str]:
        """Names of the archives in this one that cannot be read in place."""
        is_deep = bool(self.archive.inner or self.index)
        return sorted(
            name
            for name, parts in self.archives.items()
            if is_deep or not all(parts.values()) or (self.archive.is_zip and -1 not in parts)
        )

    def inner_archives(self, file: JoinedFile) -> Iterator[Archive]:
        """The archives in this one, one level deep."""
        for name, parts in sorted(self.archives.items()):
            if name in self.unread_archives:
                continue
            ranges = (parts[-1],) if -1 in parts else leading_parts(parts)
            extents = tuple(extent for one in ranges for extent in file.within(*one))
            yield Archive(self.archive.path, extents, name, ranges)


class PackedAudio:
    """Where the audio of one archive lies, 24 bytes a clip.

    folders: folder in the archive -> folder as if it were unpacked; inner: the reverse.
    """

    def __init__(self, archive: Archive, audio: Members, index: str | None) -> None:
        self.folders: dict[str, str] = {}
        self.inner: dict[str, str] = {}
        real = os.path.realpath(os.path.dirname(archive.path))
        path = f"{real}/{os.path.basename(archive.path)}"
        self._tail = f"::{archive._replace(path=path).address}"
        self._protocol = "zip" if archive.is_zip else "tar"
        self._index = index
        columns = np.array(audio.numbers, dtype=np.int64).reshape(-1, 5)
        offsets, sizes, is_stored = columns[:, 0], columns[:, 1], columns[:, 3] == STORED
        offsets = np.where(is_stored, archive.on_disk(offsets, sizes), -1)
        # One folder may be written as `a` and as `./a`.
        names = map(posixpath.normpath, audio.names)
        hashes = np.fromiter(map(hash, names), np.int64, len(audio))
        # Of two members of one name the last one holds, as if both were unpacked.
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._offsets, self._sizes = hashes[order], offsets[order], sizes[order]

    def place(self, folder: str, base: str) -> Place:
        """The place of a clip; without an offset where its bytes do not lie whole in the file."""
        number = self._number(folder, base)
        offset, n_bytes = int(self._offsets[number]), int(self._sizes[number])
        address = self.address(folder, base)
        return Place(address) if offset < 0 else Place(address, offset, n_bytes, self._index)

    def n_bytes(self, folder: str, base: str) -> int:
        return int(self._sizes[self._number(folder, base)])

    def address(self, folder: str, base: str) -> str:
        return f"{self._protocol}://{self._name(folder, base)}{self._tail}"

    def _number(self, folder: str, base: str) -> int:
        name = hash(posixpath.normpath(self._name(folder, base)))
        return int(np.searchsorted(self._hashes, name, "right")) - 1

    def _name(self, folder: str, base: str) -> str:
        inner = self.inner[folder]
        return f"{inner}/{base}" if inner else base
