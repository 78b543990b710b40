"""One audio file -> mono float32 waveform at 16 kHz; durations without decoding."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16_000  # of wav2vec2
# The convolutional encoder of wav2vec2 needs this many samples for its first 20 ms frame (kernels 10,3,3,3,3,2,2 with
# strides 5,2,2,2,2,2,2), and makes no frame of less.
MIN_SAMPLES = 400
AUDIO_SUFFIXES = {".wav", ".pcm", ".flac"}
# Data sizes that a program writes which cannot go back to fill in the header: ffmpeg the second, sox the third.
STREAMED_SIZES = {0, 0xFFFFFFFF, 0x7FFFF000}


class UnreadableAudio(Exception):
    """A file that gives no usable waveform; the message is the reason, in two or three words."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """duration in seconds; sample_rate and channels as the file has them."""

    duration: float
    sample_rate: int
    channels: int


def audio_info(path: str | Path) -> AudioInfo:
    """What the header says, checked against the file's end, without decoding it.

    Raises UnreadableAudio: audio missing, empty, unreadable, truncated, too short.
    """
    path = Path(path)
    try:
        n_bytes = path.stat().st_size
        if n_bytes == 0:
            raise UnreadableAudio("audio empty")
        with _opened(path) as file:
            n_frames, sample_rate, channels = file.frames, file.samplerate, file.channels
            if n_frames == 0:
                raise UnreadableAudio("audio empty")
            _refuse_truncated(path, file, n_bytes)
    except FileNotFoundError:
        raise UnreadableAudio("audio missing") from None
    except (soundfile.SoundFileError, OSError):
        raise UnreadableAudio("audio unreadable") from None
    duration = n_frames / sample_rate
    if duration * SAMPLE_RATE < MIN_SAMPLES:
        raise UnreadableAudio("audio too short")
    return AudioInfo(duration, sample_rate, channels)


def read_waveform(path: str | Path) -> np.ndarray:
    """(n_samples,) float32 at 16 kHz in -1 to 1: channels are averaged, other sample rates converted.

    Raises UnreadableAudio: audio missing, empty, unreadable, too short.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            samples, sample_rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except FileNotFoundError:
        raise UnreadableAudio("audio missing") from None
    except (soundfile.SoundFileError, OSError):
        raise UnreadableAudio("audio missing" if not path.exists() else "audio unreadable") from None
    waveform = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if sample_rate != SAMPLE_RATE:
        import soxr  # a clip in a thousand needs it

        waveform = soxr.resample(waveform, sample_rate, SAMPLE_RATE)
    if len(waveform) == 0:
        raise UnreadableAudio("audio empty")
    if len(waveform) < MIN_SAMPLES:
        raise UnreadableAudio("audio too short")
    if not np.isfinite(waveform).all():  # a float WAV may hold NaN, and one such clip makes every weight NaN
        raise UnreadableAudio("audio unreadable")
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _opened(path: Path) -> soundfile.SoundFile:
    name = os.fsencode(path)  # bytes: soundfile cannot encode the name of a file unpacked in another code page
    if path.suffix.lower() == ".pcm":  # KsponSpeech's: no header; an odd last byte is dropped by libsndfile
        return soundfile.SoundFile(
            name, samplerate=SAMPLE_RATE, channels=1, format="RAW", subtype="PCM_16", endian="LITTLE"
        )
    return soundfile.SoundFile(name)


def _refuse_truncated(path: Path, file: soundfile.SoundFile, n_bytes: int) -> None:
    """libsndfile shortens a WAV whose bytes are missing without a word, and believes the header of a FLAC."""
    if file.format in ("WAV", "WAVEX"):
        if _declared_wav_bytes(path) > n_bytes:
            raise UnreadableAudio("audio truncated")
        return
    try:
        file.seek(file.frames - 1)
        n_read = len(file.read(1))
    except soundfile.SoundFileError:
        n_read = 0
    if n_read != 1:
        raise UnreadableAudio("audio truncated")


def _declared_wav_bytes(path: Path) -> int:
    """Where the data chunk of a RIFF file ends by its own header; 0 if it does not say."""
    with path.open("rb") as file:
        file.seek(12)  # RIFF, size, WAVE
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                return 0 if size in STREAMED_SIZES else file.tell() + size
            file.seek(size + size % 2, 1)
    return 0
