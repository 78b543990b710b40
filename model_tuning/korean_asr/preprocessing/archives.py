"""Label files, on disk and in archives that are read where they lie.

Nothing is unpacked to disk. An archive may be damaged or hostile: the sizes and names that it gives
are checked before they are used.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import IO

from korean_asr.archive_file import decoded_name, tar_name

# Suffix -> the command that unpacks such a file. AI Hub's zip archives name their files in CP949
# without saying so, and only Debian's unzip has -O, which sets it.
UNPACK_COMMANDS = {
    ".tar": "tar -xf {archive} -C {folder}",
    ".tar.gz": "tar -xf {archive} -C {folder}",
    ".tgz": "tar -xf {archive} -C {folder}",
    ".zip": "python -m zipfile --metadata-encoding cp949 -e {archive} {folder}",
}
ARCHIVE_SUFFIXES = tuple(UNPACK_COMMANDS)
# The labels of all 2.5 million clips of 한국인 대화 음성 in one file would take 0.4 GB.
MAX_LABEL_FILE_BYTES = 2 << 30
# How many times smaller real files become: *scripts.txt 10, JSON labels 20, *metadata.txt 30. A zip
# bomb reaches 1,000, the most that the format allows.
MAX_RATIO = 100
# Up to this size the ratio is not checked.
UNSUSPICIOUS_BYTES = 16 << 20
TAR_BLOCK_BYTES = 512
# All headers of a tar member together; a path has 4,096 bytes at most.
MAX_HEADER_BYTES = 16 << 10
# Names to read from a .tar: enough to tell labels from audio.
N_NAMES = 1000
UNSAFE, TOO_LARGE, UNREADABLE = "unsafe path", "label too large", "label unreadable"


class Refused(Exception):
    """A file that must not be read, or not any further; the message is the reason."""


# What the standard library raises for archives that are damaged, encrypted, or packed in a way that
# it does not know.
ARCHIVE_ERRORS = (
    Refused, OSError, EOFError, RuntimeError, ValueError, OverflowError, struct.error, zlib.error,
    tarfile.TarError, zipfile.BadZipFile,
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
    """Return the command that unpacks an archive into its own folder."""
    suffix = next(suffix for suffix in ARCHIVE_SUFFIXES if archive.lower().endswith(suffix))
    folder = shlex.quote(os.path.dirname(archive))
    return UNPACK_COMMANDS[suffix].format(archive=shlex.quote(archive), folder=folder)


def label_file(path: str) -> Iterator[Member]:
    """Yield one label file on disk, open or refused."""
    try:
        with opened_file(path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes > MAX_LABEL_FILE_BYTES:
                yield Member(path, problem=TOO_LARGE)
            else:
                # A file of /proc, which a link may lead to, has 0 bytes and may never end: it is
                # read as empty.
                yield Member(path, file=file if n_bytes else io.BytesIO(), n_bytes=n_bytes)
    except ARCHIVE_ERRORS as error:
        yield Member(path, problem=problem_of(error))


def label_members(archive: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Yield the wanted files of an archive, and everything that is refused.

    Read each before asking for the next. Links, devices, files that are too large, and paths that
    would leave the folder are refused.
    """
    members = _zip_members if archive.lower().endswith(".zip") else _tar_members
    try:
        yield from members(archive, wanted)
    except ARCHIVE_ERRORS as error:
        yield Member(archive, problem=problem_of(error))


def archive_names(archive: str) -> tuple[list[str], bool]:
    """Return the names of an archive's files, and whether these are all.

    Reads only the first N_NAMES of a .tar. A damaged archive gives the names before the damage.
    """
    names: list[str] = []
    is_zip = archive.lower().endswith(".zip")
    try:
        if is_zip:
            with opened_file(archive) as packed, zipfile.ZipFile(packed) as opened:
                names += map(_zip_name, opened.infolist())
        else:
            for member in islice(_tar_members(archive, lambda name: True), N_NAMES):
                names.append(member.inside)
    except ARCHIVE_ERRORS:
        return names, False
    # A .zip lists all its names. A .tar may have more if N_NAMES were read.
    return names, is_zip or len(names) < N_NAMES


@contextmanager
def opened_file(path: str) -> Iterator[IO[bytes]]:
    """Open a file for reading. Raises Refused for a device or a pipe, which could block."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(UNSAFE)
        yield file


def leaves_its_folder(name: str) -> bool:
    """Return whether a name leads out of the folder that it is looked up in."""
    path = PurePosixPath(name.replace("\\", "/"))
    # Such as C:
    has_drive = name[1:2] == ":"
    return path.is_absolute() or ".." in path.parts or has_drive or "\0" in name


def _zip_members(archive: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    with opened_file(archive) as packed, zipfile.ZipFile(packed) as opened:
        # Limit the total too: entries may overlap, so a few kilobytes can unpack to any size.
        bytes_left = max(UNSUSPICIOUS_BYTES, MAX_RATIO * os.fstat(packed.fileno()).st_size)
        for info in opened.infolist():
            name = _zip_name(info)
            # The kind is 0 in archives that were packed on Windows.
            kind = stat.S_IFMT(info.external_attr >> 16)
            limit = max(UNSUSPICIOUS_BYTES, MAX_RATIO * info.compress_size)
            if leaves_its_folder(name) or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                yield Member(archive, name, problem=UNSAFE)
            elif info.is_dir():
                continue
            elif info.file_size > min(limit, MAX_LABEL_FILE_BYTES):
                yield Member(archive, name, problem=TOO_LARGE)
            elif wanted(name):
                bytes_left -= info.file_size
                if bytes_left < 0:
                    raise Refused(TOO_LARGE)
                try:
                    # zipfile unpacks bzip2 and LZMA without a limit: 8 kB may become 10 GB.
                    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise Refused(UNREADABLE)
                    file = opened.open(info)
                except ARCHIVE_ERRORS as error:
                    # It is encrypted, or not where the directory says.
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
                # tarfile would keep every member, a kilobyte each.
                opened.members = []
                name = tar_name(info)
                if info.isdir() and not leaves_its_folder(name):
                    pass
                elif leaves_its_folder(name) or not info.isreg() or info.sparse is not None:
                    yield Member(archive, name, problem=UNSAFE)
                elif not 0 <= info.size <= MAX_LABEL_FILE_BYTES:
                    yield Member(archive, name, problem=TOO_LARGE)
                elif wanted(name):
                    source.n_bytes_allowed = info.size
                    yield Member(archive, name, opened.extractfile(info), n_bytes=info.size)
                source.n_bytes_allowed = MAX_HEADER_BYTES
        source.check_end()


class _TarSource:
    """A file for tarfile to read forwards: the bytes of a .tar, or of an unpacked .tar.gz.

    tarfile alone would load a header of gigabytes into memory, unpack a whole gzip bomb just to
    skip a member, and take a damaged header for the end of the archive.
    n_bytes_allowed: how many bytes tarfile may still read, until this is set again.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        is_gzip = packed.peek(2)[:2] == b"\x1f\x8b"
        self._unpacked = gzip.GzipFile(fileobj=packed) if is_gzip else packed
        self._last = b""
        self.n_bytes_allowed = MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._unpacked.tell()

    def seek(self, offset: int) -> None:
        # A member of negative size would send tarfile back to the same header for ever.
        if offset < self.tell():
            raise Refused(UNREADABLE)
        if self._unpacked is self._packed:
            self._packed.seek(offset)
        while self.tell() < offset:
            if not self._next(min(offset - self.tell(), 1 << 16)):
                break

    def read(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= self.n_bytes_allowed:
            raise Refused(TOO_LARGE)
        self.n_bytes_allowed -= n_bytes
        self._last = self._next(n_bytes)
        return self._last

    def check_end(self) -> None:
        """Raise Refused unless the .tar ended in a block of zeros; may raise gzip's errors."""
        if self._last != bytes(TAR_BLOCK_BYTES):
            raise Refused(UNREADABLE)
        if self._unpacked is not self._packed:
            # At its end gzip compares the checksum.
            while self._next(1 << 16):
                pass

    def _next(self, n_bytes: int) -> bytes:
        content = self._unpacked.read(n_bytes)
        if self.tell() > max(UNSUSPICIOUS_BYTES, MAX_RATIO * self._packed.tell()):
            raise Refused(TOO_LARGE)
        return content


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    says_utf8 = info.flag_bits & 0x800
    if not says_utf8:
        # zipfile decoded it as CP437. A name that cannot be encoded back came from an extra field
        # in Unicode: keep it.
        with suppress(UnicodeEncodeError):
            name = decoded_name(name.encode("cp437"))
    return name.replace("\\", "/")
