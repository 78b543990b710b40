"""The bytes of a clip that lies in an archive, read in place.

A place that script 1 wrote is not searched, but compared with the header that an archive has before
each of its files: an archive that has changed must not give another clip's sound.
"""

import os
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from io import BufferedReader
from typing import NamedTuple

import numpy as np

from korean_asr.archive_file import (
    MAX_MEMBER_BYTES,
    JoinedFile,
    Place,
    ReadAt,
    Step,
    inner_file,
    joined_file,
    steps_of,
    tar_name,
)
from korean_asr.errors import DataError, printable
from korean_asr.gzip_file import GZIP_MARK, READERS, changed_archive, missing_archive
from korean_asr.zip_headers import (
    ENCRYPTED,
    LOCAL,
    LOCAL_MARK,
    STREAMED,
    directory_entries,
    local_headers,
)

# Opening one again takes microseconds, and searching one again seconds.
MAX_OPEN, MAX_SEARCHED = 32, 64
TAR_BLOCK = 512
ADLER_BASE = 65_521  # RFC 1950
OCTAL = re.compile(rb" *[0-7]+[ \0]*")
# 4 GB and more are written elsewhere, and so is every size if the file was packed on the fly.
ZIP_ELSEWHERE = 0xFFFFFFFF
# Longer extra fields cost a second read.
ZIP_EXTRA_BYTES, MAX_ZIP_EXTRA_BYTES = 1_024, 1 << 16


class ClipBytes(NamedTuple):
    """The bytes of a clip: their number, how they are read, and the first of them."""

    n_bytes: int
    read_at: ReadAt
    head: bytes


def clip_bytes(place: Place, n_head: int) -> ClipBytes:
    """Find a clip in an archive; of a plain or stored one, its first n_head bytes alone are read.

    Raises OSError for a file that is encrypted, damaged, or larger than MAX_MEMBER_BYTES; DataError
    where the archive is missing, changed or unreadable, or holds no such file.
    """
    steps, path = steps_of(place.address)
    if place.offset is None or place.n_bytes is None:
        return _found(tuple(steps), path, n_head)
    if place.n_bytes > MAX_MEMBER_BYTES:
        raise OSError("larger than a clip can be")
    if place.index is not None:
        read_at, n_there = partial(_unpacked, path, place.index, os.getpid()), place.n_bytes
    else:
        read_at, n_there = _archive(path, os.getpid()).read_at, min(n_head, place.n_bytes)
    name, is_tar = steps[-1].name, steps[-1].protocol == "tar"
    n_before = TAR_BLOCK if is_tar else LOCAL.size + 3 * len(name) + ZIP_EXTRA_BYTES
    n_before = min(n_before, place.offset)
    # One read for both: a .tar.gz unpacks anew for each, and has the whole clip from here.
    read = read_at(n_before + n_there, place.offset - n_before)
    before, there = read[:n_before], read[n_before:]
    fits = fits_tar if is_tar else _fits_zip
    is_it = len(there) == n_there and fits(before, name, place.n_bytes)
    if not is_it and not is_tar and len(there) == n_there:
        n_before = min(n_before + MAX_ZIP_EXTRA_BYTES, place.offset)
        is_it = _fits_zip(read_at(n_before, place.offset - n_before), name, place.n_bytes)
    if not is_it:
        raise DataError(changed_archive(path))
    if place.index is not None:
        return _in_memory(there, n_head)
    return ClipBytes(place.n_bytes, _within(read_at, place.offset, place.n_bytes, path), there)


def _within(read_at: ReadAt, start: int, n_bytes: int, path: str) -> ReadAt:
    """Read a range of an archive as a file; DataError where the archive has lost some of it."""

    def read_clip_at(n: int, offset: int) -> bytes:
        n = min(n, max(0, n_bytes - offset))
        read = read_at(n, start + offset)
        if len(read) < n:
            raise DataError(changed_archive(path))
        return read

    return read_clip_at


def _in_memory(content: bytes, n_head: int) -> ClipBytes:
    return ClipBytes(len(content), lambda n, offset: content[offset : offset + n], content[:n_head])


# By the process, too: a forked one opens its own. A file that leaves the cache is closed when
# nobody reads it any more.
@lru_cache(MAX_OPEN)
def _archive(path: str, process: int) -> JoinedFile:
    try:
        return joined_file(path)
    except (OSError, ValueError):
        raise DataError(missing_archive(path)) from None


def fits_tar(before: bytes, name: str, n_bytes: int) -> bool:
    """Whether bytes are a .tar's header of a file of this name and size."""
    if len(before) < TAR_BLOCK:
        return False
    try:
        size = _number(before[124:136])
    except tarfile.HeaderError:
        return False
    is_file = before[156:157] in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
    is_it = is_file and size == n_bytes and is_tar_header(before)
    return is_it and _is_named(name, before[:100])


def is_tar_header(header: bytes) -> bool:
    """Whether the checksum of a .tar's header holds: the sum of its bytes, its own as spaces."""
    written = header[148:156]
    if not OCTAL.fullmatch(written):
        return False
    # Adler-32 holds the sum of all bytes, and takes a tenth of the time of sum().
    total = (zlib.adler32(header) & 0xFFFF) - 1
    return (int(written.strip(b" \0"), 8) + sum(written) - 8 * ord(" ") - total) % ADLER_BASE == 0


def _number(field: bytes) -> int:
    """A number in a .tar's header. Raises tarfile.HeaderError."""
    # As most programs write it, in a third of tarfile's time.
    try:
        return int(field.rstrip(b"\0 "), 8)
    except ValueError:
        return tarfile.nti(field)


def _fits_zip(before: bytes, name: str, n_bytes: int) -> bool:
    """Whether bytes end in a .zip's header of a stored file of this name and size."""
    start = before.rfind(LOCAL_MARK)
    # Name and extra field may hold the mark.
    while start >= 0:
        if start + LOCAL.size <= len(before):
            _, _, flags, method, *_, packed, size, n_name, n_extra = LOCAL.unpack_from(
                before, start
            )
            end = start + LOCAL.size + n_name
            if end + n_extra == len(before):
                is_size_here = not flags & STREAMED and size != ZIP_ELSEWHERE
                return (
                    method == zipfile.ZIP_STORED
                    and not flags & ENCRYPTED
                    and (not is_size_here or packed == size == n_bytes)
                    and _is_named(name, before[end - n_name : end])
                )
        start = before.rfind(LOCAL_MARK, 0, start)
    return False


def _is_named(name: str, written: bytes) -> bool:
    """Whether a header's name can be that of a file, by what lies behind the last slash.

    Headers hold the start of a long name, and question marks for Hangul: any name fits these.
    """
    encoded = name.encode(errors="replace")
    # As it is for almost all.
    if written.rstrip(b"\0") == encoded:
        return True
    base = posixpath.basename(name)
    if not base.isascii() or len(encoded) >= 100:
        return True
    written = written.partition(b"\0")[0].replace(b"\\", b"/")
    return written.rpartition(b"/")[2] == base.encode()


class Members(NamedTuple):
    """What an archive holds, in 56 bytes a file: an archive may hold a million.

    names: sorted hashes of the names, (n_files,) int64. rows: (n_files, 6) int64 for each.
    """

    file: JoinedFile
    names: np.ndarray
    rows: np.ndarray


class Row(NamedTuple):
    """Where a file lies in an archive. start: of its bytes, or in a .zip of the header before them.

    method: of the compression in a .zip. is_opaque: whether it is encrypted, or sparse.
    """

    start: int
    n_packed: int
    n_bytes: int
    method: int
    is_opaque: int
    crc: int


IN_A_TAR = -1


def _found(steps: tuple[Step, ...], path: str, n_head: int) -> ClipBytes:
    """Search a clip by its name; an archive is searched once in a process."""
    members = _members(steps[:-1], steps[-1].protocol, path, os.getpid())
    name = _key(steps[-1].name)
    number = int(np.searchsorted(members.names, name))
    if number == len(members.names) or members.names[number] != name:
        raise DataError(
            printable(
                f"{path} holds no {steps[-1].name}. If it has changed since its clips were listed, "
                "run script 1 again. · 압축 파일에 이 음성이 없습니다. 압축 파일이 바뀌었다면 1번 "
                "스크립트를 다시 실행하세요."
            )
        )
    row = Row(*members.rows[number].tolist())
    if row.is_opaque or max(row.n_bytes, row.n_packed) > MAX_MEMBER_BYTES:
        raise OSError("encrypted, sparse, or larger than a clip can be")
    read_at = members.file.read_at
    if row.method == IN_A_TAR:
        read_clip_at = _within(read_at, row.start, row.n_bytes, path)
        return ClipBytes(row.n_bytes, read_clip_at, read_clip_at(n_head, 0))
    start = _first_byte(members.file, row)
    if row.method == zipfile.ZIP_STORED:
        read_clip_at = _within(read_at, start, row.n_bytes, path)
        return ClipBytes(row.n_bytes, read_clip_at, read_clip_at(n_head, 0))
    return _in_memory(_inflated(row, start, tuple(steps[:-1]), path, os.getpid()), n_head)


def _first_byte(file: JoinedFile, row: Row) -> int:
    """Where the bytes of a file in a .zip start, behind their header. Raises OSError."""
    header = file.read_at(LOCAL.size, row.start)
    if len(header) < LOCAL.size or header[:4] != LOCAL_MARK:
        raise OSError("a .zip without the file that it lists")
    return row.start + LOCAL.size + sum(LOCAL.unpack(header)[-2:])


def _stored_in(outer: JoinedFile, name: str) -> JoinedFile:
    """The file of a name inside a .zip. Raises OSError where it is missing, or not stored."""
    rows = _of_zip(outer)
    row = rows.get(_key(name))
    if row is None or row.is_opaque or row.method != zipfile.ZIP_STORED:
        raise OSError("no archive that is stored")
    return JoinedFile(outer.within(_first_byte(outer, row), row.n_bytes))


# The clips of a long recording follow each other: it is unpacked once for all of them.
@lru_cache(1)
def _unpacked(path: str, index: str, process: int, n_bytes: int, offset: int) -> bytes:
    return READERS.read_at(path, index, n_bytes, offset)


@lru_cache(1)
def _inflated(row: Row, start: int, outer: tuple[Step, ...], path: str, process: int) -> bytes:
    """The bytes of a deflated file, which are packed from `start` on.

    Raises OSError for another compression than deflate, and other bytes than were packed.
    """
    if row.method != zipfile.ZIP_DEFLATED:
        raise OSError("of an unknown compression")
    packed = _members(outer, "zip", path, process).file.read_at(row.n_packed, start)
    try:
        # Not one byte more than the .zip says.
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, row.n_bytes + 1)
    except zlib.error as error:
        raise OSError(str(error)) from None
    if len(content) != row.n_bytes or zlib.crc32(content) != row.crc:
        raise OSError("damaged")
    return content


def _key(name: str) -> int:
    # Names are only ever compared: `..` leads nowhere.
    return hash(posixpath.normpath(name))


@lru_cache(MAX_SEARCHED)
def _members(outer: tuple[Step, ...], protocol: str, path: str, process: int) -> Members:
    """Search an archive. Raises DataError where there is none that can be read."""
    # Opened anew: threads that search at once would share a position.
    file = JoinedFile(_archive(path, process).extents)
    try:
        for step in outer:
            is_in_tar = step.protocol == "tar"
            file = inner_file(file, step.name) if is_in_tar else _stored_in(file, step.name)
        rows = _of_tar(file, path) if protocol == "tar" else _of_zip(file)
    except (OSError, ValueError, tarfile.TarError):
        names = "".join(f", {step.name}" for step in outer)
        raise DataError(
            f"{path}{names}: not a .{protocol} that can be read. Download it again, then run "
            f"script 1. · {protocol} 파일이 손상되었습니다. 다시 받아 1번 스크립트를 실행하세요."
        ) from None
    names = np.fromiter(rows, np.int64, len(rows))
    order = np.argsort(names)
    values = np.array([*rows.values()], np.int64).reshape(-1, len(Row._fields))
    return Members(file, names[order], values[order])


def _of_tar(file: JoinedFile, path: str) -> dict[int, Row]:
    """The files of a .tar, up to where it is cut off; of equal names the last counts."""
    if file.read_at(2, 0) == GZIP_MARK:
        raise DataError(
            f"{path}: clips in a .tar.gz are read by the index that script 1 makes. Run script 1 "
            "on it, or unpack it. · 1번 스크립트를 먼저 실행하거나 압축을 풀어 주세요."
        )
    rows = {}
    with (
        _buffered(file) as buffered,
        tarfile.open(fileobj=buffered, mode="r:", encoding="utf-8") as opened,
        # Of a download that was cut off, the whole files count.
        suppress(tarfile.ReadError),
    ):
        for member in opened:
            size = member.size
            if member.isreg() and member.offset_data + size <= file.n_bytes:
                rows[_key(tar_name(member))] = Row(
                    member.offset_data, size, size, IN_A_TAR, int(member.issparse()), 0
                )
            # tarfile keeps all that it has seen.
            opened.members = []
    return rows


def _of_zip(file: JoinedFile) -> dict[int, Row]:
    """The files of a .zip by its directory, else by its headers; of equal names the last counts.

    Script 1 finds them in the same way. Raises ValueError for what is no .zip.
    """
    entries, rows = directory_entries(file.read_at, file.n_bytes), {}
    # Of a damaged directory the files before the damage count.
    with suppress(ValueError):
        for entry in entries or local_headers(file.read_at):
            # Of a download that was cut off, the whole files count.
            if entry.start + entry.n_packed <= file.n_bytes:
                rows[_key(entry.name)] = Row(
                    entry.start,
                    entry.n_packed,
                    entry.n_unpacked,
                    entry.method,
                    entry.flags & ENCRYPTED,
                    entry.crc,
                )
    if not rows:
        raise ValueError("no .zip")
    return rows


@contextmanager
def _buffered(file: JoinedFile) -> Iterator[BufferedReader]:
    """Read a file from its start through a buffer, and leave it open."""
    file.seek(0)
    buffered = BufferedReader(file)
    try:
        yield buffered
    finally:
        # Otherwise it would close the file when it is deleted.
        buffered.detach()
