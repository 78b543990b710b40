"""The end of a .gz that is cut off, packed anew: rapidgzip indexes whole files alone."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from korean_asr.archive_file import JoinedFile
from korean_asr.files import whole_file

READ_BYTES = 1 << 20
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
GZIP_WBITS = 16 + zlib.MAX_WBITS


def write_end(packed: JoinedFile, offsets: dict[int, int], end: Path) -> int:
    """Pack anew what zlib can unpack from the last block on; return how many bytes come before it.

    offsets: bit -> unpacked bytes before it, of deflate blocks of the .gz.
    The bits of the last block's first byte that belong to the block before are kept, and an empty
    stored block fills the byte up (RFC 1951, 3.2.4). Header and checksum are those of RFC 1952.
    Raises ValueError, and writes nothing, where the .gz is damaged or nothing can be unpacked.
    """
    within = (offset for offset in offsets.items() if offset[0] < 8 * packed.n_bytes)
    bit, n_before = max(within, default=(0, 0))
    n_used, n_bits = divmod(bit, 8)
    if n_before:
        kept = packed.read_at(1, n_used)[0] & ((1 << n_bits) - 1)
        # The three bits of a block that is not the last one, and stored: zeros.
        start = kept.to_bytes(1 if n_bits + 3 <= 8 else 2, "little") + b"\0\0\xff\xff"
    else:
        n_used, start = 0, HEADER
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    # Of the member that is cut off: a .gz may have several.
    checksum, n_of_member, n_unpacked = 0, 0, 0
    with whole_file(end) as text_file:
        file = text_file.buffer
        file.write(start)
        for content, is_end in _unpacked(packed):
            checksum = zlib.crc32(content, checksum)
            file.write(packer.compress(content[max(0, n_before - n_unpacked) :]))
            n_unpacked, n_of_member = n_unpacked + len(content), n_of_member + len(content)
            if is_end and n_unpacked <= n_before:
                checksum, n_of_member = 0, 0
        if not n_unpacked:
            raise ValueError("damaged: nothing can be unpacked")
        file.write(packer.flush())
        file.write(checksum.to_bytes(4, "little") + (n_of_member % (1 << 32)).to_bytes(4, "little"))
    return n_used


def _unpacked(packed: JoinedFile) -> Iterator[tuple[bytes, bool]]:
    """Yield what can be unpacked of a .gz, and whether a member of it ends there."""
    unpacker = zlib.decompressobj(GZIP_WBITS)
    offset, is_behind = 0, False
    while rest := packed.read_at(READ_BYTES, offset):
        offset += len(rest)
        while rest:
            try:
                # So much at a time: a few bytes may unpack to gigabytes.
                content = unpacker.decompress(rest, READ_BYTES)
            except zlib.error as error:
                # What follows a member and is none is ignored, as gzip does: tapes are padded.
                if is_behind:
                    return
                # What was unpacked before may be noise already.
                raise ValueError(f"damaged: {error}") from None
            yield content, unpacker.eof
            rest, is_behind = unpacker.unconsumed_tail, unpacker.eof
            if unpacker.eof:
                rest, unpacker = unpacker.unused_data, zlib.decompressobj(GZIP_WBITS)
    yield unpacker.flush(), False
