"""One walk over a .tar or a .zip: its files by name and place, without unpacking.

An archive may be cut off, damaged or hostile: what it says is checked before it is used.
"""

import re
import stat
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePosixPath

from korean_asr.archive_clip import OCTAL, TAR_BLOCK, fits_tar, is_tar_header
from korean_asr.archive_file import ReadAt, decoded_name, tar_name
from korean_asr.preprocessing.archive_scan import DEFLATED, STORED, UNREADABLE, UNSAFE, Found
from korean_asr.zip_headers import (
    ENCRYPTED,
    LOCAL,
    LOCAL_MARK,
    STREAMED,
    directory_entries,
    local_headers,
)

# A .tar may be made of damaged headers alone.
MAX_DAMAGED = 20
# All headers of a tar member together; a path has 4,096 bytes at most.
MAX_HEADER_BYTES = 16 << 10
# While looking for the next header behind a damaged one.
SEARCH_BYTES, MAX_SEARCH_BYTES = 1 << 20, 1 << 28


class CutOff(Exception):
    """The archive ends before its end mark."""


class Damaged(Exception):
    """Bytes that are no archive, or not any more."""


def leaves_its_folder(name: str) -> bool:
    """Return whether a name leads out of the folder that it is looked up in."""
    # Most names are plain, and paths take ten times as long.
    if ".." not in name and name[:1] != "/" and name[1:2] != ":" and name.isprintable():
        return name[:1] == "\\"
    path = PurePosixPath(name.replace("\\", "/"))
    # Such as C:
    has_drive = name[1:2] == ":"
    return path.is_absolute() or ".." in path.parts or has_drive or "\0" in name


def walked_tar(read_at: ReadAt) -> Iterator[Found]:
    """Yield the files of a .tar. Behind a damaged header the next sound one is looked for.

    The last one yielded may be cut off. Raises CutOff, and Damaged where a header was damaged.
    """
    offset, n_damaged, long_name = 0, 0, b""
    while True:
        header = read_at(TAR_BLOCK, offset)
        if len(header) < TAR_BLOCK:
            raise CutOff
        if not header.strip(b"\0"):
            break
        start = offset + TAR_BLOCK
        is_sound, kind, size = is_tar_header(header), header[156:157], header[124:136]
        if not is_sound or (kind in b"0\0L" and not OCTAL.fullmatch(size)):
            found = _by_tarfile(read_at, offset) if is_sound else None
        elif kind == b"L" and int(size.strip(b" \0"), 8) <= MAX_HEADER_BYTES:
            n_bytes = int(size.strip(b" \0"), 8)
            long_name = read_at(n_bytes, start).rstrip(b"\0")
            offset = start + _padded(n_bytes)
            continue
        elif kind in b"0\0":
            name = long_name or header[:100].partition(b"\0")[0]
            if not long_name and header[257:263] == b"ustar\0" and header[345]:
                name = header[345:500].partition(b"\0")[0] + b"/" + name
            n_bytes = int(size.strip(b" \0"), 8)
            found = (_judged(decoded_name(name), start, n_bytes), start + _padded(n_bytes))
            if long_name and found[0]:
                found = (_as_written(found[0], header), found[1])
        else:
            found = _by_tarfile(read_at, offset)
            if found and long_name:
                renamed = found[0] and found[0]._replace(name=decoded_name(long_name))
                found = (renamed and _as_written(renamed, header), found[1])
        long_name = b""
        if found is None or found[1] <= offset:
            n_damaged += 1
            # What is damaged from its start is no .tar.
            goes_on = offset and n_damaged <= MAX_DAMAGED
            offset = _next_header(read_at, offset) if goes_on else -1
            if offset < 0:
                break
            continue
        if found[0]:
            yield found[0]
        offset = found[1]
    if n_damaged:
        raise Damaged


def _judged(name: str, offset: int, n_bytes: int) -> Found | None:
    # Old programs mark a folder by the slash alone.
    if name.endswith("/"):
        return None
    problem = UNSAFE if leaves_its_folder(name) else ""
    return Found(name, offset, n_bytes, n_bytes, problem=problem)


def _as_written(found: Found, header: bytes) -> Found:
    """A file whose name and size are not written in its own header alone, refused if they differ.

    Scripts 2 to 4 know a clip by that header.
    """
    is_it = found.problem or fits_tar(header, found.name, found.n_bytes)
    return found if is_it else found._replace(problem=UNREADABLE)


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // TAR_BLOCK) * TAR_BLOCK


def _by_tarfile(read_at: ReadAt, offset: int) -> tuple[Found | None, int] | None:
    """A member with headers of other kinds, and where the next one starts; None if damaged."""
    window = BytesIO(read_at(MAX_HEADER_BYTES + 2 * TAR_BLOCK, offset))
    try:
        with tarfile.open(fileobj=window, mode="r:", encoding="utf-8") as opened:
            info = opened.next()
            after = opened.offset
    except (tarfile.TarError, OSError, ValueError, LookupError, ArithmeticError, EOFError):
        return None
    if info is None or info.size < 0:
        return None
    name, after = tar_name(info), offset + after
    if info.isdir() and not leaves_its_folder(name):
        return None, after
    is_plain = info.isreg() and info.sparse is None and not leaves_its_folder(name)
    problem, start = "" if is_plain else UNSAFE, info.offset_data
    found = Found(name, offset + start, info.size, info.size, problem=problem)
    header = window.getvalue()[start - TAR_BLOCK : start]
    return _as_written(found, header), after


def _next_header(read_at: ReadAt, offset: int) -> int:
    """Where the next sound header starts; -1 if there is none."""
    offset += TAR_BLOCK
    end = offset + MAX_SEARCH_BYTES
    while offset < end and (block := read_at(SEARCH_BYTES, offset)):
        for match in re.finditer(rb"ustar", block):
            start = match.start() - 257
            header = block[max(0, start) : start + TAR_BLOCK]
            is_block = start >= 0 and start % TAR_BLOCK == 0
            if is_block and len(header) == TAR_BLOCK and is_tar_header(header):
                return offset + start
        offset += SEARCH_BYTES
    return -1


def walked_zip(read_at: ReadAt, n_bytes: int) -> Iterator[Found]:
    """Yield the files of a .zip by its directory, or by its local headers where that is missing.

    Raises CutOff, and Damaged for what is no .zip.
    """
    entries = directory_entries(read_at, n_bytes)
    if entries is None:
        if read_at(4, 0) != LOCAL_MARK:
            raise Damaged
        yield from _by_local_headers(read_at)
        raise CutOff
    for name, raw, start, n_packed, n_unpacked, method, crc, flags, attributes in entries:
        kind = stat.S_IFMT(attributes >> 16)
        # The kind is 0 in archives that were packed on Windows.
        is_unsafe = leaves_its_folder(name) or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
        if name.endswith("/") and not is_unsafe:
            continue
        problem, first = UNSAFE if is_unsafe else "", -1
        if not is_unsafe:
            first = _content_offset(read_at, start, raw, (method, n_packed, n_unpacked))
            is_known = method in (STORED, DEFLATED) and (method or n_packed == n_unpacked)
            is_there = first >= 0 and first + n_packed <= n_bytes
            problem = "" if is_known and is_there and not flags & ENCRYPTED else UNREADABLE
        yield Found(name, first, n_unpacked, n_packed, method, crc, problem)


def _content_offset(read_at: ReadAt, offset: int, name: bytes, what: tuple[int, int, int]) -> int:
    """Where the bytes behind a local header start; -1 if the header is that of another file.

    what: method and both sizes by the directory.
    """
    header = read_at(LOCAL.size + len(name), offset)
    if len(header) < LOCAL.size or header[:4] != LOCAL_MARK or header[LOCAL.size :] != name:
        return -1
    _, _, flags, method, *_, n_packed, n_unpacked, n_name, n_extra = LOCAL.unpack_from(header)
    # Such sizes are written elsewhere.
    sizes = what[1:] if flags & STREAMED or n_unpacked == 0xFFFFFFFF else (n_packed, n_unpacked)
    is_it = n_name == len(name) and (method, *sizes) == what and not flags & ENCRYPTED
    return offset + LOCAL.size + n_name + n_extra if is_it else -1


def _by_local_headers(read_at: ReadAt) -> Iterator[Found]:
    for header in local_headers(read_at):
        if not header.name.endswith("/"):
            is_stored = header.method == STORED and header.n_packed == header.n_unpacked
            is_known = is_stored or header.method == DEFLATED
            problem = "" if is_known and not header.flags & ENCRYPTED else UNREADABLE
            problem = UNSAFE if leaves_its_folder(header.name) else problem
            yield Found(
                header.name,
                header.first,
                header.n_unpacked,
                header.n_packed,
                header.method,
                header.crc,
                problem,
            )
