"""Labels and audio in archives that are read where they lie, and label files on disk.

Nothing is unpacked to disk, and nothing is written beside the archives.
"""

import gzip
import io
import os
import shlex
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from korean_asr.archive_file import (
    MAX_MEMBER_BYTES,
    PART,
    Extent,
    JoinedFile,
    ReadAt,
    leading_parts,
)
from korean_asr.errors import printable
from korean_asr.gzip_file import GZIP_MARK, gzip_index, opened_gzip
from korean_asr.preprocessing.archive_scan import (
    DEFLATED,
    TOO_LARGE,
    UNREADABLE,
    UNSAFE,
    Archive,
    Found,
    Members,
    Scanned,
)
from korean_asr.preprocessing.archive_walk import (
    CutOff,
    Damaged,
    walked_tar,
    walked_zip,
)

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
# Names to read from a .tar.gz without an index: enough to tell labels from audio.
N_NAMES = 1000
# Bytes of a deflated label that are read at a time.
READ_BYTES = 1 << 16


class Refused(Exception):
    """A file that must not be read, or not any further; the message is the reason."""


# What the standard library raises for archives that are damaged, encrypted, or packed in a way that
# it does not know.
ARCHIVE_ERRORS = (
    Refused, CutOff, Damaged, OSError, EOFError, RuntimeError, ValueError, OverflowError,
    struct.error, zlib.error, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip


def problem_of(error: Exception) -> str:
    """Return the reason of one of ARCHIVE_ERRORS, for rejected.jsonl."""
    return str(error) if isinstance(error, Refused) else UNREADABLE


@dataclass(frozen=True, slots=True)
class Member:
    """A label file: open until the next one is asked for, or refused for a reason.

    path: the file, or its archive.
    inside: its name in the archive; "" for a file on disk.
    file: None if it is refused; problem: the reason.
    """

    path: str
    inside: str = ""
    file: IO[bytes] | None = None
    problem: str | None = None
    n_bytes: int = 0

    @property
    def name(self) -> str:
        return f"{self.path}: {self.inside}" if self.inside else self.path

    @property
    def base(self) -> str:
        return (self.inside or self.path).rpartition("/")[2]

    @property
    def part(self) -> str | None:
        """`training` or `validation`, by a folder such as 1.Training or the name of a .trn file."""
        base = self.base.lower()
        if base.endswith(".trn"):
            return "training" if base.startswith("train") else "validation"
        folders = f"{self.path}/{self.inside}".lower().replace("\\", "/").split("/")[:-1]
        for folder in reversed(folders):
            for part in ("training", "validation"):
                if folder.endswith(part):
                    return part
        return None


def unpack_command(archive: str) -> str:
    """Return the command that unpacks a .tar.gz, or its parts, into its own folder."""
    folder = shlex.quote(os.path.dirname(archive))
    if os.path.lexists(archive):
        return f"tar -xf {shlex.quote(archive)} -C {folder}"
    return f"cat {shlex.quote(archive)}.part* | tar -xz -C {folder}"


def unpack_hint(archives: list[str]) -> str:
    """Return the command that unpacks the first of these, and how many others there are."""
    first, *others = archives
    likewise = f", and likewise {len(others):,} more" if others else ""
    return printable(
        f"install rapidgzip, pip install -r requirements-optional.txt, or run  "
        f"{unpack_command(first)}{likewise}. Other archives may stay packed."
    )


def label_file(path: str) -> Iterator[Member]:
    """Yield one label file on disk, open or refused."""
    try:
        with opened_file(path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes > MAX_MEMBER_BYTES:
                yield Member(path, problem=TOO_LARGE)
            else:
                # A file of /proc, which a link may lead to, has 0 bytes and may never end: it is
                # read as empty.
                yield Member(path, file=file if n_bytes else io.BytesIO(), n_bytes=n_bytes)
    except ARCHIVE_ERRORS as error:
        yield Member(path, problem=problem_of(error))


@contextmanager
def opened_file(path: str) -> Iterator[IO[bytes]]:
    """Open a file for reading. Raises Refused for a device or a pipe, which could block."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(UNSAFE)
        yield file


# --- Finding: each archive is scanned once ---


def archives_of(paths: Iterable[str]) -> list[Archive]:
    """The archives of files on disk, in order; parts are grouped, and left out beside a whole."""
    whole: set[str] = set()
    parts: dict[str, dict[int, str]] = {}
    for path in sorted(paths):
        if part := PART.fullmatch(path):
            parts.setdefault(part[1], {}).setdefault(int(part[2]), path)
        else:
            whole.add(path)
    archives = [Archive(path, ()) for path in whole]
    for path, numbered in parts.items():
        if path not in whole:
            sizes = {number: (number, _size(part)) for number, part in numbered.items()}
            used = leading_parts(sizes)
            extents = tuple(Extent(numbered[number], 0, n) for number, n in used)
            archives.append(Archive(path, extents))
    return sorted(archives)


def is_archive(name: str) -> bool:
    """Whether a file is an archive, or a part of one, by its name."""
    part = PART.fullmatch(name)
    return (part[1] if part else name).lower().endswith(ARCHIVE_SUFFIXES)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def scanned(
    archives: list[Archive], kind_of: Callable[[str], str], folder: Path, n_jobs: int
) -> Iterator[list[Scanned]]:
    """Scan each archive, several at a time; yield it and the archives in it.

    kind_of: a member's name -> "audio", "label", "archive" or "".
    folder: where the indexes of .tar.gz are kept.
    """
    under_way: deque[Future[list[Scanned]]] = deque()
    # Threads: a scan waits for the disk more than it computes.
    with ThreadPoolExecutor(n_jobs) as pool:
        try:
            for archive in archives:
                under_way.append(pool.submit(_scanned, archive, kind_of, folder))
                if len(under_way) > n_jobs:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _scanned(archive: Archive, kind_of: Callable[[str], str], folder: Path) -> list[Scanned]:
    found = Scanned(archive)
    try:
        if not archive.extents:
            with opened_file(archive.path) as file:
                n_bytes = os.fstat(file.fileno()).st_size
            archive = archive._replace(extents=(Extent(archive.path, 0, n_bytes),))
            found.archive = archive
        with JoinedFile(archive.extents) as file:
            _scan(file, found, kind_of, folder)
            if archive.inner:
                return [found]
            inner = []
            for one in found.inner_archives(file):
                inner += _scanned(one, kind_of, folder)
            return [found, *inner]
    except ARCHIVE_ERRORS as error:
        found.problem = problem_of(error)
        return [found]


def _scan(file: JoinedFile, found: Scanned, kind_of: Callable[[str], str], folder: Path) -> None:
    archive = found.archive
    if archive.is_zip:
        _take_members(walked_zip(file.read_at, file.n_bytes), file.n_bytes, found, kind_of)
    elif file.read_at(2, 0) != GZIP_MARK:
        _take_members(walked_tar(file.read_at), file.n_bytes, found, kind_of)
    else:
        kinds, are_all = _first_kinds(file, kind_of)
        if "audio" in kinds and not archive.inner and find_spec("rapidgzip"):
            _scan_by_index(found, kind_of, folder)
        else:
            found.has_packed_audio = "audio" in kinds
            found.is_streamed = "label" in kinds or not (are_all or found.has_packed_audio)


def _take_members(
    members: Iterator[Found], n_bytes: int, found: Scanned, kind_of: Callable[[str], str]
) -> None:
    """n_bytes: of the archive, unpacked by gzip where it was packed."""
    try:
        for member in members:
            if member.offset + member.n_packed > n_bytes and not member.problem:
                found.n_cut += 1
            else:
                found.take(member, kind_of(member.name))
    except CutOff:
        found.is_cut_off = True
    except ARCHIVE_ERRORS:
        found.problem = UNREADABLE


def _first_kinds(file: JoinedFile, kind_of: Callable[[str], str]) -> tuple[set[str], bool]:
    """The kinds of the first files of a .tar.gz, and whether these are all."""
    kinds: set[str] = set()
    try:
        for number, member in enumerate(walked_tar(Forwards(file).read_at)):
            if number == N_NAMES:
                return kinds, False
            kinds.add(kind_of(member.name))
    except ARCHIVE_ERRORS:
        return kinds, False
    return kinds, True


def _scan_by_index(found: Scanned, kind_of: Callable[[str], str], folder: Path) -> None:
    path = found.archive.path
    # Named by the path, so that two archives of one name keep apart.
    index = str(folder / f"{sha256(os.fsencode(path)).hexdigest()[:16]}.gzindex")
    gzip_index(path, index)
    with opened_gzip(path, index) as unpacked:
        n_bytes = unpacked.seek(0, os.SEEK_END)
        _take_members(walked_tar(_reader_of(unpacked)), n_bytes, found, kind_of)
    found.index = index


def _reader_of(unpacked: IO[bytes]) -> ReadAt:
    def read_at(n_bytes: int, offset: int) -> bytes:
        unpacked.seek(offset)
        return unpacked.read(n_bytes)

    return read_at


class Forwards:
    """The unpacked bytes of a .gz, read forwards; what was read last may be read again."""

    def __init__(self, packed: JoinedFile) -> None:
        packed.seek(0)
        self._unpacked = gzip.GzipFile(fileobj=packed)
        self._start, self._held = 0, b""

    def read_at(self, n_bytes: int, offset: int) -> bytes:
        if offset < self._start:
            raise Damaged
        while self._start < offset:
            self._held = self._held or self._next(READ_BYTES)
            if not self._held:
                return b""
            n = min(offset - self._start, len(self._held))
            self._start, self._held = self._start + n, self._held[n:]
        while len(self._held) < n_bytes:
            more = self._next(n_bytes - len(self._held))
            if not more:
                break
            self._held += more
        return self._held[:n_bytes]

    def _next(self, n_bytes: int) -> bytes:
        """At most so many bytes; none at the end, also where the .gz is cut off."""
        # Not read(), which loses what lies before the place of the cut.
        with suppress(EOFError):
            return self._unpacked.read1(n_bytes)
        return b""

    def check_end(self) -> None:
        """Read to the end, where gzip compares the checksum. Raises its errors."""
        while self._unpacked.read(READ_BYTES):
            pass


# --- Reading labels ---


def label_members(found: Scanned, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Yield the wanted files of a scanned archive. Read each before asking for the next."""
    path = found.archive.beside
    try:
        with JoinedFile(found.archive.extents) as file:
            if found.is_streamed:
                yield from _streamed(file, path, wanted)
            elif found.index:
                with opened_gzip(found.archive.path, found.index) as unpacked:
                    yield from _noted(_reader_of(unpacked), found.labels, path, wanted)
            else:
                yield from _noted(file.read_at, found.labels, path, wanted)
    except ARCHIVE_ERRORS as error:
        yield Member(path, problem=problem_of(error))


def _noted(
    read_at: ReadAt, labels: Members, path: str, wanted: Callable[[str], bool]
) -> Iterator[Member]:
    for label in labels:
        if wanted(label.name):
            content = io.BufferedReader(Content(read_at, label))
            yield Member(path, label.name, content, n_bytes=label.n_bytes)


def _streamed(file: JoinedFile, path: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    stream = Forwards(file)
    for label in walked_tar(stream.read_at):
        if label.problem:
            yield Member(path, label.name, problem=label.problem)
        elif wanted(label.name):
            if label.n_bytes > MAX_MEMBER_BYTES:
                yield Member(path, label.name, problem=TOO_LARGE)
            else:
                content = io.BufferedReader(Content(stream.read_at, label))
                yield Member(path, label.name, content, n_bytes=label.n_bytes)
    stream.check_end()


class Content(io.RawIOBase):
    """The bytes of a label in an archive, inflated where they are deflated.

    Raises EOFError where they end too early, BadZipFile for a wrong checksum.
    """

    def __init__(self, read_at: ReadAt, label: Found) -> None:
        self._read_at, self._label = read_at, label
        self._at, self._end = label.offset, label.offset + label.n_packed
        self._n_left, self._crc, self._packed = label.n_bytes, 0, b""
        self._inflater = zlib.decompressobj(-15) if label.method == DEFLATED else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._n_left:
            if self._label.crc not in (-1, self._crc):
                raise zipfile.BadZipFile("wrong checksum")
            return 0
        n_bytes = min(len(buffer), self._n_left)
        content = self._inflated(n_bytes) if self._inflater else self._next(n_bytes)
        if not content:
            raise EOFError("a label ends too early")
        if self._label.crc != -1:
            self._crc = zlib.crc32(content, self._crc)
        self._n_left -= len(content)
        buffer[: len(content)] = content
        return len(content)

    def _next(self, n_bytes: int) -> bytes:
        content = self._read_at(min(n_bytes, self._end - self._at), self._at)
        self._at += len(content)
        return content

    def _inflated(self, n_bytes: int) -> bytes:
        content = b""
        while not content and not self._inflater.eof:
            self._packed = self._packed or self._next(READ_BYTES)
            content = self._inflater.decompress(self._packed, n_bytes)
            if not content and not self._packed:
                break
            self._packed = self._inflater.unconsumed_tail
        return content
