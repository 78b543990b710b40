"""The headers that a .zip has before each of its files, and the fields of its directory.

The layouts are those of PKWARE's APPNOTE.TXT 6.3.10.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from korean_asr.archive_file import decoded_name

LOCAL = struct.Struct("<4s5H3I2H")
LOCAL_MARK = b"PK\3\4"
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


def local_headers(read_at: Callable[[int, int], bytes]) -> Iterator[LocalHeader]:
    """Walk a .zip that lost its directory. A size that follows the bytes ends the walk.

    read_at: (number of bytes, offset) -> bytes. The bytes of the last file may be cut off.
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
