"""Archives as one file each: parts on disk or inside a .tar, read as if they were joined.

A clip in an archive has fsspec's chained address, `tar://a/b.wav::/data/x.tar`. AI Hub cuts large
archives into `x.zip.part0`, `x.zip.part1073741824` and so on, where the number is the offset of the
part in bytes, and packs such parts into a .tar.
"""

import io
import os
import re
import stat
import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

ReadAt = Callable[[int, int], bytes]  # (number of bytes, offset) -> bytes

# An address is split only where another one follows, or the path on disk: a name may hold "::".
_LINK = re.compile(r"::(?=(?:tar|zip)://)")
_PROTOCOL = re.compile(r"(tar|zip)://", re.S)
_ADDRESS = re.compile(r"(?:tar|zip)://.+::.+", re.S)
PART = re.compile(r"(.+)\.part(\d+)", re.S)
# Of a file in an archive that is held in memory: far more than a clip, less than a bomb makes.
MAX_MEMBER_BYTES = 1 << 30


class Step(NamedTuple):
    """One step of an address: a file in an archive of a protocol, `tar` or `zip`."""

    protocol: str
    name: str


def is_address(path: str) -> bool:
    """Whether a path is the address of a file in an archive."""
    return bool(_ADDRESS.fullmatch(path))


class Place(NamedTuple):
    """Where a clip lies in an archive.

    offset, n_bytes: of its bytes in the file at the end of the address, or, where that is a .tar.gz
        with an index, in the unpacked tar; None where they have to be searched.
    index: path of the index of a .tar.gz.
    """

    address: str
    offset: int | None = None
    n_bytes: int | None = None
    index: str | None = None


def path_within(audio: str) -> str:
    """The path of a file, as if each archive in its address were a folder; a plain path stays."""
    steps, path = steps_of(audio)
    return "/".join([path, *(step.name for step in steps)])


def split_address(audio: str) -> tuple[str, str]:
    """An address without the path on disk, and that path; ("", path) for a plain path.

    Together they are the whole again.
    """
    path = steps_of(audio)[1]
    return audio[: len(audio) - len(path)], path


def steps_of(address: str) -> tuple[list[Step], str]:
    """The steps of an address from the file on disk inwards, and the path of that file.

    `zip://a.wav::tar://x.zip::/d.tar` gives ([tar x.zip, zip a.wav], "/d.tar"); a plain path gives
    ([], path).
    """
    if not is_address(address):
        return [], address
    # Of one step, as almost all are, in a third of the time.
    if address.count("://") == 1:
        protocol, _, rest = address.partition("://")
        name, _, path = rest.rpartition("::")
        return [Step(protocol, name)], path
    chain, _, path = address.rpartition("::")
    steps = [_PROTOCOL.split(link, maxsplit=1)[1:] for link in _LINK.split(chain)]
    return [Step(*step) for step in reversed(steps)], path


class Extent(NamedTuple):
    """Bytes of a file on disk. path: of the file; start: of the first byte."""

    path: str
    start: int
    n_bytes: int


class JoinedFile(io.RawIOBase):
    """Extents of files on disk, read as one file. Each process opens its own.

    Raises OSError where a file is missing or is no regular file.
    """

    def __init__(self, extents: Iterable[Extent]) -> None:
        self.extents = [extent for extent in extents if extent.n_bytes]
        self._starts = list(accumulate((e.n_bytes for e in self.extents), initial=0))
        self._position = 0
        self._descriptors: dict[str, int] = {}
        try:
            for extent in self.extents:
                if extent.path not in self._descriptors:
                    self._descriptors[extent.path] = _opened(extent.path)
        except BaseException:
            self.close()
            raise

    @property
    def n_bytes(self) -> int:
        return self._starts[-1]

    @property
    def mtime_ns(self) -> int:
        """When the last of the files was changed, in nanoseconds."""
        return max(
            (os.fstat(descriptor).st_mtime_ns for descriptor in self._descriptors.values()),
            default=0,
        )

    def read_at(self, n_bytes: int, offset: int) -> bytes:
        """Up to n_bytes from an offset, less at the end; the position stays."""
        pieces = []
        number = max(0, bisect_right(self._starts, offset) - 1)
        while n_bytes > 0 and number < len(self.extents):
            extent, inside = self.extents[number], offset - self._starts[number]
            n = min(n_bytes, extent.n_bytes - inside)
            piece = os.pread(self._descriptors[extent.path], n, extent.start + inside)
            if not piece:
                break
            pieces.append(piece)
            n_bytes, offset = n_bytes - len(piece), offset + len(piece)
            number += offset >= self._starts[number + 1]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def within(self, start: int, n_bytes: int) -> list[Extent]:
        """The extents of a range of these bytes, as far as it lies here."""
        found = []
        for extent, first in zip(self.extents, self._starts, strict=False):
            low, high = max(start, first), min(start + n_bytes, first + extent.n_bytes)
            if low < high:
                found.append(Extent(extent.path, extent.start + low - first, high - low))
        return found

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.n_bytes}[whence]
        if start + offset < 0:
            raise ValueError("negative position")
        self._position = start + offset
        return self._position

    def readinto(self, buffer) -> int:
        read = self.read_at(len(buffer), self._position)
        buffer[: len(read)] = read
        self._position += len(read)
        return len(read)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        super().close()


def _opened(path: str) -> int:
    # O_NONBLOCK: opening a pipe without a writer would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


def joined_file(path: str) -> JoinedFile:
    """The archive at a path, or its parts where the disk has those alone.

    Raises OSError, FileNotFoundError where there is neither.
    """
    paths = [path] if os.path.lexists(path) else parts_on_disk(path)
    if not paths:
        raise FileNotFoundError(path)
    return JoinedFile(Extent(part, 0, os.stat(part).st_size) for part in paths)


def files_of_archive(path: Path) -> list[str]:
    """The name of an archive on disk; of a part of one, the names of all its parts."""
    part = PART.fullmatch(path.name)
    if not part:
        return [path.name]
    others = map(PART.fullmatch, sorted(os.listdir(path.parent)))
    return [other[0] for other in others if other and other[1] == part[1]]


def parts_on_disk(path: str) -> list[str]:
    """The parts `<path>.part<number>` on disk, by number, up to the first that is missing."""
    folder, base = os.path.split(path)
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError:
        return []
    parts: dict[int, str] = {}
    for name in names:
        if (match := PART.fullmatch(name)) and match[1] == base:
            parts.setdefault(int(match[2]), os.path.join(folder, name))
    sizes = {number: (number, os.stat(part).st_size) for number, part in parts.items()}
    return [parts[number] for number, _ in leading_parts(sizes)]


def leading_parts(parts: dict[int, tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The (start, n_bytes) of parts in order, up to the first that is missing.

    A part has its offset as its number, or its place in the order, counted from 0 or from 1.
    """
    found, n_bytes, first = [], 0, int(0 not in parts)
    for place, number in enumerate(sorted(parts), first):
        if number not in (n_bytes, place):
            break
        found.append(parts[number])
        n_bytes += parts[number][1]
    return tuple(found)


def inner_file(outer: JoinedFile, name: str) -> JoinedFile:
    """The file of a name inside an uncompressed .tar, or its parts there, by number.

    Raises OSError, FileNotFoundError where there is neither; tarfile.TarError for a damaged .tar.
    """
    whole: list[Extent] = []
    parts: dict[int, tuple[int, int]] = {}
    outer.seek(0)
    buffered = io.BufferedReader(outer)
    with tarfile.open(fileobj=buffered, mode="r:", encoding="utf-8") as opened:
        for member in opened:
            found = PART.fullmatch(tar_name(member))
            if member.isreg() and tar_name(member) == name:
                whole = outer.within(member.offset_data, member.size)
            elif member.isreg() and found and found[1] == name:
                parts[int(found[2])] = (member.offset_data, member.size)
    # Otherwise it would close the outer file when it is deleted.
    buffered.detach()
    ranges = leading_parts(parts)
    extents = whole or [extent for part in ranges for extent in outer.within(*part)]
    if not extents:
        raise FileNotFoundError(name)
    return JoinedFile(extents)


def tar_name(member: tarfile.TarInfo) -> str:
    """The name of a member of a .tar that was opened with encoding="utf-8"; else read as CP949."""
    return decoded_name(member.name.encode(errors="surrogateescape"))


def decoded_name(name: bytes) -> str:
    """Decode UTF-8, and everything else as CP949."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp949", errors="replace")
