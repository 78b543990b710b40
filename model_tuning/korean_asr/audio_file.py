"""An audio file: opened once, judged by its header, decoded in blocks by soundfile."""

import io
import math
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import soundfile

from korean_asr.archive_clip import ClipBytes, clip_bytes
from korean_asr.archive_file import Place, ReadAt, path_within
from korean_asr.audio_header import (
    BYTE_ORDERS,
    HEAD_BYTES,
    MAX_EXCESS_BYTES,
    PLACEHOLDER_BYTES,
    Header,
    chunk_header,
    is_marked,
    mp3_gives_its_length,
    ogg_is_truncated,
)

# Below, speech is not understood; above, no recorder works. A header with such a rate is damaged,
# and would make a waveform of gigabytes out of a small file.
MIN_RATE, MAX_RATE = 4_000, 384_000
# Manifests round offsets and durations: a clip may end so much behind its file.
CUT_TOLERANCE_S = 0.1
CONTENT_BYTES = 1 << 30
# A file in an archive is read whole up to this size, 30 s at 16 kHz; of a longer one the parts that
# are asked for, so many bytes at a time.
MAX_CLIP_BYTES, SEEKABLE_BYTES = 1 << 20, 1 << 16
# Values that are decoded at a time, 65 s at 16 kHz: no header decides how much memory is taken.
BLOCK_VALUES = 1 << 20
# (sample rate, encoding) of files that hold samples alone, by suffix.
HEADERLESS = {
    ".pcm": (16_000, "PCM_16"),
    ".wav": (16_000, "PCM_16"),
    ".vox": (8_000, "VOX_ADPCM"),
    ".gsm": (8_000, "GSM610"),
    ".au": (8_000, "ULAW"),
    ".snd": (8_000, "ULAW"),
}
# Fewer samples do not tell speech from other bytes; 25 ms at 16 kHz.
LEAST_SPEECH = 400
# An MP3 decoder needs the frames before one, and is silent where it lacks them: nine at most.
MP3_LEAD = 16 * 1_152
# Excess is compared in bytes; sound that is compressed counts as 16-bit samples.
BYTES_A_SAMPLE = 2
# In these every sample takes the same room, so that libsndfile counts them without decoding.
COUNTED_FORMATS = ("WAV", "WAVEX", "RF64")
COUNTED_ENCODINGS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW")
# A path, or a place in an archive.
Audio = str | Path | Place


class UnreadableAudio(Exception):
    """A file without a usable waveform; the message is the reason, in a few words."""


# A named tuple: script 1 makes one for every clip, and a frozen dataclass takes longer to make.
class AudioInfo(NamedTuple):
    """Duration of a clip in seconds, and sample rate and channels of its file.

    headerless: a .wav that holds samples alone, without a header.
    overstated: the header says more than the file holds.
    """

    duration: float
    sample_rate: int
    channels: int
    headerless: bool = False
    overstated: bool = False


class AudioFile(NamedTuple):
    """An open regular file, or one in an archive, which has an address and no descriptor.

    head: its first bytes. header: of WAV and AIFF.
    """

    path: str | Path
    descriptor: int | None
    read_at: ReadAt
    n_bytes: int
    head: bytes
    header: Header | None

    @property
    def suffix(self) -> str:
        return os.path.splitext(path_within(os.fspath(self.path)))[1].lower()

    def from_start(self) -> int | io.BytesIO | io.BufferedReader:
        """What soundfile reads from the first byte on."""
        if self.descriptor is None:
            if self.n_bytes > MAX_CLIP_BYTES:
                return io.BufferedReader(_Seekable(self), SEEKABLE_BYTES)
            return io.BytesIO(self.content())
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return self.descriptor

    def content(self) -> bytes:
        """All bytes; one call reads 2 GB at most."""
        # A read takes the memory of what is asked for, however little is there.
        return b"".join(
            self.read_at(min(CONTENT_BYTES, self.n_bytes - offset), offset)
            for offset in range(0, self.n_bytes, CONTENT_BYTES)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


class _Seekable(io.RawIOBase):
    """A long file in an archive, of which a clip needs a part: read at where it is sought."""

    def __init__(self, file: AudioFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.n_bytes}
        self._position = max(0, starts[whence] + offset)
        return self._position

    def readinto(self, buffer) -> int:
        n_bytes = min(len(buffer), max(0, self._file.n_bytes - self._position))
        content = self._file.read_at(n_bytes, self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def opened(audio: Audio, duration: float | None) -> AudioFile:
    """Open an audio file and read its header; the file at hand is the one that is decoded.

    Raises UnreadableAudio: audio missing, empty, unreadable, truncated; DataError for an archive
    that is missing, changed or unreadable.
    """
    if isinstance(audio, Place):
        return _opened_in_archive(audio, duration)
    path = audio
    try:
        # O_NONBLOCK: opening a pipe without a writer would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableAudio("audio missing") from None
    except (OSError, ValueError):
        raise UnreadableAudio("audio unreadable") from None
    try:
        return _looked_into(path, descriptor, duration)
    except OSError:
        os.close(descriptor)
        raise UnreadableAudio("audio unreadable") from None
    except BaseException:
        os.close(descriptor)
        raise


def _looked_into(path: str | Path, descriptor: int, duration: float | None) -> AudioFile:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableAudio("audio unreadable")
    read_at = partial(os.pread, descriptor)
    clip = ClipBytes(status.st_size, read_at, read_at(HEAD_BYTES, 0))
    return _judged(path, descriptor, clip, duration)


def _opened_in_archive(place: Place, duration: float | None) -> AudioFile:
    try:
        clip = clip_bytes(place, HEAD_BYTES)
        return _judged(place.address, None, clip, duration)
    except OSError:
        raise UnreadableAudio("audio unreadable") from None


def _judged(
    path: str | Path, descriptor: int | None, clip: ClipBytes, duration: float | None
) -> AudioFile:
    """Judge a file by its first HEAD_BYTES, its size and its header."""
    n_bytes, read_at, head = clip
    header = chunk_header(head, n_bytes, read_at)
    if not head or (header and not header.held):
        raise UnreadableAudio("audio empty")
    # The part that a manifest asks for may be there.
    if header and header.is_truncated and duration is None:
        raise UnreadableAudio("audio truncated")
    return AudioFile(path, descriptor, read_at, n_bytes, head, header)


def cut(n_samples: int, sample_rate: int, offset: float, duration: float | None) -> tuple[int, int]:
    """The first sample of a clip in a longer file, and the one behind its last.

    n_samples: of the file. offset, duration: in seconds; None means to the file's end.
    Raises UnreadableAudio where the clip does not lie in the file.
    """
    if not offset and duration is None:
        return 0, n_samples
    end = n_samples / sample_rate if duration is None else offset + duration
    if not (0 <= offset < math.inf and offset <= end < math.inf):
        reason = "audio truncated" if duration is None and offset > end else "audio unreadable"
        raise UnreadableAudio(reason)
    first, last = round(offset * sample_rate), round(end * sample_rate)
    if first >= n_samples or last > n_samples + CUT_TOLERANCE_S * sample_rate:
        raise UnreadableAudio("audio truncated")
    return first, min(last, n_samples)


def counted_info(
    decoder: soundfile.SoundFile, file: AudioFile, offset: float, duration: float | None
) -> AudioInfo | None:
    """AudioInfo by libsndfile's count of samples, where decoding cannot find another; else None."""
    is_raw = decoder.format == "RAW" and decoder.subtype == "PCM_16"
    if not is_raw and decoder.format not in COUNTED_FORMATS:
        return None
    if decoder.subtype not in COUNTED_ENCODINGS:
        return None
    first, last = cut(decoder.frames, decoder.samplerate, offset, duration)
    return _info(decoder, file, last - first, bool(file.header and file.header.is_overstated))


def _info(
    decoder: soundfile.SoundFile, file: AudioFile, n_samples: int, overstated: bool
) -> AudioInfo:
    return AudioInfo(
        duration=n_samples / decoder.samplerate,
        sample_rate=decoder.samplerate,
        channels=decoder.channels,
        headerless=decoder.format == "RAW" and file.suffix == ".wav",
        overstated=overstated,
    )


class Decoder(soundfile.SoundFile):
    """A file that is read from its start to its end.

    soundfile seeks after each read. Not every encoding can, and a wrong length makes it fail.
    """

    def seekable(self) -> bool:
        return False

    def blocks(self, n_samples: int) -> Iterator[np.ndarray]:
        """Yield (n, n_channels) float32 each, up to n_samples together or the end of the file."""
        while n_samples > 0:
            n = min(n_samples, max(1, BLOCK_VALUES // self.channels))
            block = self.read(n, dtype="float32", always_2d=True)
            if len(block) == 0:
                return
            n_samples -= len(block)
            yield block

    def skip(self, n_samples: int) -> None:
        """Go to a sample: by a seek where the file has an index or a length, else by reading."""
        if super().seekable() and self.frames < PLACEHOLDER_BYTES:
            start = max(0, n_samples - (MP3_LEAD if self.format == "MP3" else 0))
            if start:
                self.seek(start)
            n_samples -= start
        for _ in self.blocks(n_samples):
            pass


@contextmanager
def decoder_of(file: AudioFile) -> Iterator[Decoder]:
    """Open a file by its header, or as bare samples.

    Raises UnreadableAudio: audio unreadable; audio rate not 4 to 384 kHz.
    """
    try:
        with _by_header_or_bare(file) as decoder:
            if not MIN_RATE <= decoder.samplerate <= MAX_RATE:
                raise UnreadableAudio("audio rate not 4 to 384 kHz")
            yield decoder
    except (soundfile.SoundFileError, OSError):
        raise UnreadableAudio("audio unreadable") from None


def _by_header_or_bare(file: AudioFile) -> Decoder:
    """Raises SoundFileError."""
    is_bare = file.suffix in HEADERLESS and not is_marked(file.head)
    # Samples may look like the start of an MP3 frame, so a .pcm is not tried as one.
    if not (is_bare and file.suffix == ".pcm"):
        try:
            return _by_header(file)
        except soundfile.SoundFileError:
            if not is_bare or (file.suffix == ".wav" and not _holds_samples_alone(file)):
                raise
    sample_rate, encoding = HEADERLESS[file.suffix]
    return Decoder(
        file.from_start(),
        samplerate=sample_rate,
        channels=1,
        format="RAW",
        subtype=encoding,
        endian="LITTLE",
        closefd=False,
    )


def _by_header(file: AudioFile) -> Decoder:
    header = file.header
    if header and not header.size and file.head[:4] in (b"RIFF", b"RIFX"):
        # libsndfile reads nothing where the header says 0, so it is given the size.
        content = io.BytesIO(file.content())
        size = struct.pack(f"{BYTE_ORDERS[file.head[:4]]}I", min(header.held, 0xFFFFFFFF))
        content.seek(header.offset - 4)
        content.write(size)
        content.seek(0)
        return Decoder(content)
    return Decoder(file.from_start(), closefd=False)


def _holds_samples_alone(file: AudioFile) -> bool:
    """Whether a .wav without a RIFF header holds 16-bit speech, as in some corpora.

    Neighbouring samples of speech are alike: their correlation was 0.82 to 0.96 in ten real clips
    and at least 0.80 in the demo. It is 0 in compressed, encrypted and random bytes, and up to 0.7
    in text; but text has no zero byte, and speech has many.
    """
    content = file.read_at(1 << 16, 0)
    samples = np.frombuffer(content[: len(content) // 2 * 2], dtype="<i2").astype(np.float64)
    if len(samples) < LEAST_SPEECH or b"\0" not in content:
        return False
    samples -= samples.mean()
    power = np.dot(samples, samples)
    return bool(power > 0 and np.dot(samples[1:], samples[:-1]) / power > 0.5)


def decoded(
    decoder: Decoder,
    file: AudioFile,
    offset: float,
    duration: float | None,
    take: Callable[[np.ndarray], None],
) -> AudioInfo:
    """Decode a clip and hand each block of it over, (n_samples, n_channels) float32.

    Raises UnreadableAudio: audio unreadable, truncated.
    """
    first, last = cut(decoder.frames, decoder.samplerate, offset, duration)
    n_samples = 0
    try:
        decoder.skip(first)
        for block in decoder.blocks(last - first):
            _refuse_other_than_numbers(block)
            n_samples += len(block)
            take(block)
    except soundfile.SoundFileError:
        raise UnreadableAudio(_why_it_stopped(decoder, file)) from None
    missing = last - first - n_samples
    if duration is not None:
        # The length that the header gives does not matter, if the part that was asked for is there.
        is_truncated = missing > CUT_TOLERANCE_S * decoder.samplerate or n_samples == 0 < missing
        is_overstated = False
    else:
        is_overstated = missing > 0 and _promises_its_length(decoder, file)
        n_bytes = missing * decoder.channels * BYTES_A_SAMPLE
        is_harmless = decoder.frames >= PLACEHOLDER_BYTES or n_bytes <= MAX_EXCESS_BYTES
        is_truncated = (is_overstated and not is_harmless) or (
            decoder.format == "OGG" and ogg_is_truncated(file.n_bytes, file.read_at)
        )
    if is_truncated:
        raise UnreadableAudio("audio truncated")
    is_overstated |= bool(file.header and file.header.is_overstated)
    return _info(decoder, file, n_samples, is_overstated)


def _refuse_other_than_numbers(block: np.ndarray) -> None:
    """A float WAV may hold NaN, and one such clip in training makes every weight NaN."""
    # Channels of opposite infinities have no mean, those of huge values an infinite one.
    with np.errstate(all="ignore"):
        is_finite = np.isfinite(mono(block)).all()
    if not is_finite:
        raise UnreadableAudio("audio unreadable")


def mono(values: np.ndarray) -> np.ndarray:
    """(n_samples,) from (n_samples, n_channels)."""
    return values.mean(axis=1) if values.shape[1] > 1 else values[:, 0]


def _promises_its_length(decoder: Decoder, file: AudioFile) -> bool:
    """Whether the number of samples is the header's; else libsndfile has measured or guessed it."""
    return decoder.format == "FLAC" or (
        decoder.format == "MP3" and mp3_gives_its_length(file.read_at)
    )


def _why_it_stopped(decoder: Decoder, file: AudioFile) -> str:
    """The reason where decoding ended with an error: a FLAC without its end, or other damage."""
    if decoder.format != "FLAC" or decoder.frames >= PLACEHOLDER_BYTES:
        return "audio unreadable"
    try:
        with _by_header(file) as again:
            again.seek(again.frames - 1)
            has_end = len(again.read(1)) == 1
    except soundfile.SoundFileError:
        has_end = False
    return "audio unreadable" if has_end else "audio truncated"
