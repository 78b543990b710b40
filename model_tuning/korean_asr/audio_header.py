"""What the header of an audio file promises, and what the file holds; nothing is decoded."""

import struct
from typing import NamedTuple

from korean_asr.archive_file import ReadAt

# A WAV header takes 44 bytes, and a few hundred with a list of tags.
HEAD_BYTES = 512
# Byte order of the sizes in a file of chunks. RF64 is a WAV of more than 4 GB, RIFX one of a
# big-endian machine; AIFF is a FORM.
BYTE_ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}
ENTRIES = {mark: struct.Struct(f"{order}4sI") for mark, order in BYTE_ORDERS.items()}
FORM = struct.Struct("<HHIIHH")
CONTENTS = (b"WAVE", b"AIFF", b"AIFC")
# A file that starts with one of these has a header, whole or damaged.
MARKS = (*BYTE_ORDERS, b"fLaC", b"OggS")
SAMPLE_CHUNKS = (b"data", b"SSND")
# libsndfile reads more of the format, and skips tags; any other chunk may change what it finds.
SKIPPED_CHUNKS = (b"LIST", b"JUNK", b"junk")
# libsndfile stops at a format of another size.
FORM_SIZES = (16, 18, 40)
PCM_ENCODING, MAX_CHANNELS = 1, 1024
# A program that writes to a stream cannot go back and fill in the size of the data. It writes 0 or
# a size of 2 GB or more: 0x7FFFF000 is sox's, 0xFFFFFFFF is ffmpeg's.
PLACEHOLDER_BYTES = 0x7FFFF000
# In RF64 the size has 64 bits.
PLACEHOLDER_BYTES_64 = 1 << 62
# Some programs count the header or a tag as sound. A file that ends earlier lacks sound.
MAX_EXCESS_BYTES = 1024
# A file may consist of empty chunks.
MAX_CHUNKS = 1000
# The longest page of an Ogg stream (RFC 3533).
OGG_PAGE_BYTES = 65_307


# Named tuples: script 1 makes one of each for every clip, and a frozen dataclass takes three times
# as long.
class Form(NamedTuple):
    """The format of plain PCM samples; n_samples: how many of each channel the file holds."""

    sample_rate: int
    channels: int
    n_samples: int
    sample_bytes: int


class Header(NamedTuple):
    """Where the sound of a file lies, in bytes.

    size: as the header says. held: what the file has of it. form: None unless these are PCM samples
    that libsndfile finds in the same place.
    """

    offset: int
    size: int
    held: int
    is_overstated: bool = False
    is_truncated: bool = False
    form: Form | None = None


def is_marked(head: bytes) -> bool:
    """Whether the first bytes of a file belong to a header, so that they are no samples."""
    return head[:4] in MARKS or head[8:12] in CONTENTS


def chunk_header(head: bytes, n_bytes: int, read_at: ReadAt) -> Header | None:
    """Walk the chunks of a WAV or AIFF file up to its sound; None where there is none to be found.

    head: the first HEAD_BYTES. n_bytes: of the whole file.
    Layout: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0", 1991; Apple,
    "Audio Interchange File Format", 1989; EBU Tech 3306 for RF64.
    """
    entry = ENTRIES.get(head[:4])
    if entry is None or head[8:12] not in CONTENTS:
        return None
    offset, form, size_64, is_usual = 12, None, 0, head[:4] == b"RIFF"
    for _ in range(MAX_CHUNKS):
        if offset + 8 <= len(head):
            name, size = entry.unpack_from(head, offset)
        elif len(read := read_at(8, offset)) == 8:
            name, size = entry.unpack(read)
        else:
            return None
        offset += 8
        if name in SAMPLE_CHUNKS:
            if size_64 and size == 0xFFFFFFFF:
                return _sound(offset, size_64, n_bytes, PLACEHOLDER_BYTES_64, None)
            if size == 0 and _is_chunks_to_the_end(offset, n_bytes, entry, read_at):
                return Header(offset, 0, 0)
            return _sound(offset, size, n_bytes, PLACEHOLDER_BYTES, form if is_usual else None)
        if name == b"fmt " and form is None and size in FORM_SIZES and offset + 16 <= len(head):
            form = FORM.unpack_from(head, offset)
        elif name == b"ds64":
            size_64 = int.from_bytes(read_at(8, offset + 8), "little")
        elif name not in SKIPPED_CHUNKS and not (name == b"fact" and size == 4):
            is_usual = False
        # Chunks of odd size are followed by a padding byte.
        offset += size + size % 2
    return None


def _sound(
    offset: int, size: int, n_bytes: int, placeholder: int, form: tuple[int, ...] | None
) -> Header:
    """Compare the size that the header gives with what lies there."""
    there = n_bytes - offset
    if 0 < size <= there:
        # Nothing may follow but a padding byte: libsndfile goes on, and may stop at what it finds.
        is_plain = form is not None and there - size <= 1
        found = _plain_form(form, size) if is_plain else None
        return Header(offset, size, size, False, False, found)
    is_harmless = not 0 < size < placeholder or size - there <= MAX_EXCESS_BYTES
    held = max(0, there)
    found = _plain_form(form, held) if form else None
    return Header(offset, size, held, is_harmless, not is_harmless, found)


def _plain_form(form: tuple[int, ...], held: int) -> Form | None:
    """The fields of a fmt chunk, if they are those of plain PCM."""
    encoding, channels, sample_rate, _, frame_bytes, bits = form
    if encoding != PCM_ENCODING or bits not in (8, 16, 24, 32):
        return None
    if not 1 <= channels <= MAX_CHANNELS or frame_bytes != channels * bits // 8:
        return None
    return Form(sample_rate, channels, held // frame_bytes, bits // 8)


def _is_chunks_to_the_end(offset: int, n_bytes: int, entry: struct.Struct, read_at: ReadAt) -> bool:
    """Whether other chunks follow, so that a size of 0 means that there is no sound."""
    for _ in range(MAX_CHUNKS):
        if offset >= n_bytes:
            return True
        read = read_at(8, offset)
        if len(read) < 8 or not read[:4].isascii() or not read[:4].decode().isprintable():
            return False
        offset += 8 + entry.unpack(read)[1]
        offset += offset % 2
        if offset > n_bytes + 1:
            return False
    return False


def mp3_gives_its_length(read_at: ReadAt) -> bool:
    """Whether the first frame of an MP3 file says how long it is; else its length is a guess.

    The tags of LAME and Fraunhofer lie in the first frame, behind an ID3 tag, whose size has seven
    bits in each byte.
    """
    head = read_at(10, 0)
    start = 0
    if head[:3] == b"ID3":
        start = 10 + sum(byte << 7 * (3 - index) for index, byte in enumerate(head[6:]))
    first = read_at(64, start)
    return any(tag in first for tag in (b"Xing", b"Info", b"VBRI"))


def ogg_is_truncated(n_bytes: int, read_at: ReadAt) -> bool:
    """Whether an Ogg file ends within a page; libsndfile passes over such a page in silence."""
    end = read_at(OGG_PAGE_BYTES, max(0, n_bytes - OGG_PAGE_BYTES))
    page = end[max(0, end.rfind(b"OggS")) :]
    # A page has a head of 27 bytes, the last of them the number of sizes that follow.
    return len(page) < 27 or 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page)
