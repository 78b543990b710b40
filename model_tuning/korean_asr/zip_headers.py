"""The headers that a .zip has before each of its files, and the fields of its directory.

The layouts are those of PKWARE's APPNOTE.TXT 6.3.10.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from korean_asr.archive_file import ReadAt, decoded_name

LOCAL = struct.Struct("<4s5H3I2H")
LOCAL_MARK = b"PK\3\4"
ENTRY = struct.Struct("<4s6H3I5H2I")
END, END_64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q")
# An end record may be followed by a comment.
END_BYTES = END.size + (1 << 16)
ENCRYPTED, STREAMED, SAYS_UTF8 = 1, 8, 0x800
UNICODE_PATH = 0x7075


class LocalHeader(NamedTuple):
    """The header before a file. start: of the header; first: of the n_packed bytes behind it."""

    name: str
    start: int
    first: int
    n_packed: int
    n_unpacked: int
    method: int
    crc: int
    flags: int


class Entry(NamedTuple):
    """What the directory says of a file. raw: its name as it is written; start: of its header."""

    name: str
    raw: bytes
    start: int
    n_packed: int
    n_unpacked: int
    method: int
    crc: int
    flags: int
    attributes: int


def directory_entries(read_at: ReadAt, n_bytes: int) -> Iterator[Entry] | None:
    """The files of a .zip by its directory; None where that is missing.

    n_bytes: of the .zip. A damaged entry ends them with ValueError.
    """
    directory = _directory(read_at, n_bytes)
    return directory and _entries(read_at, *directory)


def _entries(read_at: ReadAt, start: int, size: int, n_before: int) -> Iterator[Entry]:
    content, at = read_at(size, start), 0
    while at + ENTRY.size <= len(content):
        (mark, _, _, flags, method, _, _, crc, n_packed, n_unpacked, n_name, n_extra, n_comment,
         _, _, attributes, offset) = ENTRY.unpack_from(content, at)  # fmt: skip
        if mark != b"PK\1\2":
            raise ValueError("damaged directory")
        at += ENTRY.size
        raw, extra = content[at : at + n_name], content[at + n_name : at + n_name + n_extra]
        at += n_name + n_extra + n_comment
        n_unpacked, n_packed, offset = wide_values(extra, n_unpacked, n_packed, offset)
        name, offset = name_in_zip(raw, flags, extra), offset + n_before
        yield Entry(name, raw, offset, n_packed, n_unpacked, method, crc, flags, attributes)


def _directory(read_at: ReadAt, n_bytes: int) -> tuple[int, int, int] | None:
    """Start and size of the directory, and how many bytes precede the archive; None if missing."""
    first = max(0, n_bytes - END_BYTES)
    tail = read_at(n_bytes - first, first)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + END.size > len(tail):
        return None
    _, _, _, _, _, size, start, _ = END.unpack_from(tail, at)
    end = first + at
    if tail[max(0, at - 20) : at][:4] == b"PK\6\7":
        place = int.from_bytes(tail[at - 12 : at - 4], "little")
        record = read_at(END_64.size, place)
        if len(record) == END_64.size and record[:4] == b"PK\6\6":
            size, start, end = *END_64.unpack(record)[8:10], place
    n_before = max(0, end - size - start)
    return (start + n_before, size, n_before) if start + n_before + size <= n_bytes else None


def local_headers(read_at: ReadAt) -> Iterator[LocalHeader]:
    """Walk a .zip that lost its directory. A size that follows the bytes ends the walk.

    The bytes of the last file may be cut off.
    """
    offset = 0
    while len(header := read_at(LOCAL.size, offset)) == LOCAL.size and header[:4] == LOCAL_MARK:
        (_, _, flags, method, _, _, crc, n_packed, n_unpacked, n_name, n_extra
         ) = LOCAL.unpack(header)  # fmt: skip
        if flags & STREAMED:
            return
        rest = read_at(n_name + n_extra, offset + LOCAL.size)
        raw, extra = rest[:n_name], rest[n_name:]
        n_unpacked, n_packed = wide_values(extra, n_unpacked, n_packed)
        first = offset + LOCAL.size + n_name + n_extra
        name = name_in_zip(raw, flags, extra)
        yield LocalHeader(name, offset, first, n_packed, n_unpacked, method, crc, flags)
        offset = first + n_packed


def wide_values(extra: bytes, *values: int) -> tuple[int, ...]:
    """Sizes and offset, those of 0xFFFFFFFF from the field of 64 bits."""
    field_64, wide = _extra(extra, 1), []
    for value in values:
        if value == 0xFFFFFFFF and len(field_64) >= 8:
            value, field_64 = int.from_bytes(field_64[:8], "little"), field_64[8:]
        wide.append(value)
    return tuple(wide)


def _extra(extra: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, n_bytes = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + n_bytes]
        at += 4 + n_bytes
    return b""


def name_in_zip(raw: bytes, flags: int, extra: bytes) -> str:
    """The name of a file, with slashes; one not marked as UTF-8 is decoded_name()."""
    name = decoded_name(raw)
    unicode_path = b"" if flags & SAYS_UTF8 else _extra(extra, UNICODE_PATH)
    # It holds for the name that it was made for.
    if unicode_path and int.from_bytes(unicode_path[1:5], "little") == zlib.crc32(raw):
        name = unicode_path[5:].decode(errors="replace")
    return name.replace("\\", "/")
