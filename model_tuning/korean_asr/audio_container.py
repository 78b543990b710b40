"""Audio that libsndfile does not read, such as m4a, mp4 and webm, decoded by PyAV.

PyAV brings FFmpeg's libraries. It is optional (requirements-optional.txt), and is imported only for
such a file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np

from korean_asr import audio_file
from korean_asr.audio_file import MAX_RATE, MIN_RATE, AudioFile, UnreadableAudio

OTHER_TYPE = "audio of another type"
INSTALL = "pip install -r requirements-optional.txt"
# (place, bytes) that these files start with: MP4 and QuickTime; Matroska and WebM; ASF (wma); AMR;
# Monkey's Audio; WavPack; AVI; Flash video; DSF.
SIGNATURES = (
    *((4, name) for name in (b"ftyp", b"moov", b"mdat", b"wide")),
    (0, bytes.fromhex("1a45dfa3")),
    (0, bytes.fromhex("3026b2758e66cf11")),
    (0, b"#!AMR"),
    (0, b"MAC "),
    (0, b"wvpk"),
    (8, b"AVI "),
    (0, b"FLV\1"),
    (0, b"DSD "),
)
# Shorter marks, which other bytes may look like: they count only under these suffixes.
MARKS_BY_SUFFIX = {
    ".aac": (b"\xff\xf1", b"\xff\xf9", b"ID3"),
    ".ac3": (b"\x0b\x77",),
    ".spx": (b"OggS",),
}
# These give the length of their sound; of others FFmpeg guesses it from the size of the file.
EXACT_FORMATS = ("mov", "matroska", "asf")
# A length may count silence that an encoder adds, and what is decoded may lack it.
PADDING_S = 0.25
# More samples than any file has: the length is not known before the end.
UNKNOWN_LENGTH = 1 << 60


def with_remedy(problem: str) -> str:
    """A reason of UnreadableAudio, with what to install where that helps."""
    return f"{problem} ({INSTALL})" if problem == OTHER_TYPE else problem


def is_container(file: AudioFile) -> bool:
    """Whether the first bytes are those of a type that PyAV reads and libsndfile does not."""
    return any(file.head[place : place + len(mark)] == mark for place, mark in SIGNATURES) or (
        file.head.startswith(MARKS_BY_SUFFIX.get(file.suffix, ()))
    )


@contextmanager
def decoder_of(file: AudioFile) -> Iterator[Any]:
    """Open a file by PyAV if its content asks for it, else as audio_file.decoder_of does.

    Raises UnreadableAudio: audio of another type, where PyAV is not installed; audio empty,
    unreadable; audio rate not 4 to 384 kHz.
    """
    if not is_container(file):
        with audio_file.decoder_of(file) as decoder:
            yield decoder
        return
    try:
        import av
    except ImportError:
        raise UnreadableAudio(OTHER_TYPE) from None
    try:
        with av.open(_Content(file), metadata_errors="replace") as container:
            yield ContainerDecoder(container)
    # PyAV raises ValueError where rate or channels change within the sound.
    except (av.FFmpegError, OSError, ValueError):
        raise UnreadableAudio("audio unreadable") from None


class _Content:
    """The bytes of an open file, as PyAV reads them."""

    def __init__(self, file: AudioFile) -> None:
        self._file = file
        self._place = 0

    def read(self, n_bytes: int) -> bytes:
        n_bytes = max(0, min(n_bytes, self._file.n_bytes - self._place))
        content = self._file.read_at(n_bytes, self._place)
        self._place += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.n_bytes}
        self._place = max(0, start[whence] + offset)
        return self._place

    def tell(self) -> int:
        return self._place


class ContainerDecoder:
    """The first sound of a container, read from its start to its end as audio_file.Decoder is.

    frames: not known before the end, so more than there can be. samplerate: in Hz.
    Raises UnreadableAudio: audio empty, truncated; audio rate not 4 to 384 kHz.
    """

    format = subtype = "CONTAINER"
    frames = UNKNOWN_LENGTH

    def __init__(self, container: Any) -> None:
        if not container.streams.audio:
            raise UnreadableAudio("audio empty")
        self._container = container
        self._stream = container.streams.audio[0]
        decoded = container.decode(self._stream)
        first = next(decoded, None)
        if first is None:
            raise UnreadableAudio("audio truncated" if self._promised_end() else "audio empty")
        # Of the decoded sound: a header may give half the rate of HE-AAC.
        self.samplerate, self.channels = first.sample_rate, first.layout.nb_channels
        if not MIN_RATE <= self.samplerate <= MAX_RATE:
            raise UnreadableAudio("audio rate not 4 to 384 kHz")
        self._sound = self._float32(chain([first], decoded))
        self._rest = np.empty((0, self.channels), np.float32)

    def _float32(self, decoded: Iterable[Any]) -> Iterator[np.ndarray]:
        """Yield the samples of decoded frames, (n, n_channels) each."""
        from av import AudioResampler

        resampler = None
        end = 0.0
        for frame in decoded:
            resampler = resampler or AudioResampler("fltp", frame.layout, frame.sample_rate)
            end = (frame.time or end) + frame.samples / frame.sample_rate
            for part in resampler.resample(frame):
                yield part.to_ndarray().T
        if self._promised_end() > end + PADDING_S:
            raise UnreadableAudio("audio truncated")

    def _promised_end(self) -> float:
        """Where the sound ends by the header, in seconds; 0 where no header says it."""
        if not self._container.format.name.startswith(EXACT_FORMATS):
            return 0.0
        stream = self._stream
        if stream.duration is not None:
            return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        # In seconds / 1,000,000. A video may be longer than its sound.
        has_video = len(self._container.streams) > 1
        return 0.0 if has_video else (self._container.duration or 0) / 1e6

    def blocks(self, n_samples: int) -> Iterator[np.ndarray]:
        """Yield (n, n_channels) float32 each, up to n_samples together or the end of the file."""
        while n_samples > 0:
            block = self._rest if len(self._rest) else next(self._sound, None)
            if block is None:
                return
            block, self._rest = block[:n_samples], block[n_samples:]
            n_samples -= len(block)
            yield block

    def skip(self, n_samples: int) -> None:
        """Decode so many samples and drop them: most codecs cannot be entered at any sample."""
        if sum(map(len, self.blocks(n_samples))) < n_samples:
            raise UnreadableAudio("audio truncated")
