"""Label archives read where they lie: nothing is unpacked to disk, and what an archive says of itself is not believed."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import IO

# Suffix -> the command that unpacks such a file. AI Hub's zip archives name their files in CP949 without saying so; unzip's
# -O, which would tell it, is Debian's alone.
UNPACK_COMMANDS = {
    ".tar": "tar -xf {archive} -C {folder}",
    ".tar.gz": "tar -xf {archive} -C {folder}",
    ".tgz": "tar -xf {archive} -C {folder}",
    ".zip": "python -m zipfile --metadata-encoding cp949 -e {archive} {folder}",
}
ARCHIVE_SUFFIXES = tuple(UNPACK_COMMANDS)
# The labels of all 2.5 million clips of 한국인 대화 음성 in one file would take 0.4 GB.
MAX_LABEL_FILE_BYTES = 2 << 30
# Scripts shrink to a tenth, JSON labels to a twentieth, bare metadata to a thirtieth; a bomb to a thousandth, which is as far
# as the format allows.
MAX_RATIO = 100
UNSUSPICIOUS_BYTES = 16 << 20
TAR_BLOCK_BYTES = 512
MAX_HEADER_BYTES = 16 << 10  # all headers of a tar member; a path has 4,096 bytes at most
N_NAMES = 1000  # of a .tar: enough to tell labels from audio
UNSAFE, TOO_LARGE, UNREADABLE = "unsafe path", "label too large", "label unreadable"


class Refused(Exception):
    """A file that must not be read, or not further; the message is the reason."""


# What the standard library raises for archives that are damaged, encrypted, or packed in a way that it does not know.
ARCHIVE_ERRORS = (
    Refused, OSError, EOFError, RuntimeError, ValueError, OverflowError, struct.error, zlib.error, tarfile.TarError,
    zipfile.BadZipFile,
)  # fmt: skip


def problem_of(error: Exception) -> str:
    """The reason behind one of ARCHIVE_ERRORS."""
    return str(error) if isinstance(error, Refused) else UNREADABLE


@dataclass(frozen=True, slots=True)
class Member:
    """A label file: its bytes while it is the current one, or what is wrong with it.

    path is where it lies, or its archive does; inside is its name in the archive, "" for a file on disk.
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


def label_members(archive: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The wanted files of an archive, each to be read before the next is asked for, and everything that is refused.

    Refused are members that would leave the folder they are unpacked into, links, devices, and what is too large.
    """
    members = _zip_members if archive.lower().endswith(".zip") else _tar_members
    try:
        yield from members(archive, wanted)
    except ARCHIVE_ERRORS as error:
        yield Member(archive, problem=problem_of(error))


def archive_names(archive: str) -> tuple[list[str], bool]:
    """The names of an archive's files, and whether these are all: of a .tar the first are told, and those before damage."""
    names: list[str] = []
    try:
        if archive.lower().endswith(".zip"):
            with opened_file(archive) as packed, zipfile.ZipFile(packed) as opened:
                names += map(_zip_name, opened.infolist())
        else:
            for member in islice(_tar_members(archive, lambda name: True), N_NAMES):
                names.append(member.inside)
    except ARCHIVE_ERRORS:
        return names, False
    return names, len(names) < N_NAMES or archive.lower().endswith(".zip")


@contextmanager
def opened_file(path: str) -> Iterator[IO[bytes]]:
    """A file opened for reading. Raises Refused for a device or a pipe, which must not be waited for."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(UNSAFE)
        yield file


def leaves_its_folder(name: str) -> bool:
    """Whether a name leads out of the folder that it is looked up in."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":" or "\0" in name


def _zip_members(archive: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    with opened_file(archive) as packed, zipfile.ZipFile(packed) as opened:
        # Of all members together: entries may overlap, and a few kilobytes stand for any number of labels.
        bytes_left = max(UNSUSPICIOUS_BYTES, MAX_RATIO * os.fstat(packed.fileno()).st_size)
        for info in opened.infolist():
            name = _zip_name(info)
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where a program of Windows packed it
            if leaves_its_folder(name) or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                yield Member(archive, name, problem=UNSAFE)
            elif info.is_dir():
                continue
            elif info.file_size > min(
                MAX_LABEL_FILE_BYTES, max(UNSUSPICIOUS_BYTES, MAX_RATIO * info.compress_size)
            ):
                yield Member(archive, name, problem=TOO_LARGE)
            elif wanted(name):
                bytes_left -= info.file_size
                if bytes_left < 0:
                    raise Refused(TOO_LARGE)
                try:
                    # zipfile unpacks bzip2 and LZMA in pieces of any size: 8 kB may be 10 GB.
                    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise Refused(UNREADABLE)
                    file = opened.open(info)
                except ARCHIVE_ERRORS as error:  # encrypted, or not where the directory says
                    yield Member(archive, name, problem=problem_of(error))
                    continue
                with file:
                    # Buffered: zipfile's own readline() with a limit goes byte by byte.
                    yield Member(archive, name, io.BufferedReader(file), n_bytes=info.file_size)


def _tar_members(archive: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    with opened_file(archive) as packed:
        source = _TarSource(packed)
        with tarfile.open(fileobj=source, mode="r:", encoding="utf-8") as opened:
            while info := opened.next():
                opened.members = []  # it would remember every member, a kilobyte each
                name = _tar_name(info)
                if info.isdir() and not leaves_its_folder(name):
                    pass
                elif leaves_its_folder(name) or not info.isreg() or info.sparse is not None:
                    yield Member(archive, name, problem=UNSAFE)
                elif not 0 <= info.size <= MAX_LABEL_FILE_BYTES:
                    yield Member(archive, name, problem=TOO_LARGE)
                elif wanted(name):
                    source.n_bytes_wanted = info.size
                    yield Member(archive, name, opened.extractfile(info), n_bytes=info.size)
                source.n_bytes_wanted = MAX_HEADER_BYTES
        source.check_end()


class _TarSource:
    """What tarfile reads through: the bytes of a .tar, or of what a .tar.gz unpacks to, forwards.

    tarfile takes a header of gigabytes into memory, unpacks a bomb to skip it, and ends without a word at a damaged header.
    n_bytes_wanted is what it may read until the next header or member.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        is_gzip = packed.peek(2)[:2] == b"\x1f\x8b"
        self._unpacked = gzip.GzipFile(fileobj=packed) if is_gzip else packed
        self._last = b""
        self.n_bytes_wanted = MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._unpacked.tell()

    def seek(self, place: int) -> None:
        if place < self.tell():  # a member of negative size, which is its own successor
            raise Refused(UNREADABLE)
        if self._unpacked is self._packed:
            self._packed.seek(place)
        while (n_bytes := place - self.tell()) > 0 and self._next(min(n_bytes, 1 << 16)):
            pass

    def read(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= self.n_bytes_wanted:
            raise Refused(TOO_LARGE)
        self.n_bytes_wanted -= n_bytes
        self._last = self._next(n_bytes)
        return self._last

    def check_end(self) -> None:
        """Raise Refused unless the archive was read to its mark of zeros, and gzip's errors for what is behind it."""
        if self._last != bytes(TAR_BLOCK_BYTES):
            raise Refused(UNREADABLE)
        if self._unpacked is not self._packed:
            while self._next(1 << 16):
                pass

    def _next(self, n_bytes: int) -> bytes:
        content = self._unpacked.read(n_bytes)
        if self.tell() > max(UNSUSPICIOUS_BYTES, MAX_RATIO * self._packed.tell()):
            raise Refused(TOO_LARGE)
        return content


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if (
        not info.flag_bits & 0x800
    ):  # the archive does not say that it is UTF-8, and zipfile took it for CP437
        with suppress(
            UnicodeEncodeError
        ):  # but for a name that stands in Unicode in an extra field
            name = _decoded(name.encode("cp437"))
    return name.replace("\\", "/")


def _tar_name(info: tarfile.TarInfo) -> str:
    return _decoded(info.name.encode(errors="surrogateescape"))


def _decoded(name: bytes) -> str:
    """Bytes that are no UTF-8 are CP949."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp949", errors="replace")
