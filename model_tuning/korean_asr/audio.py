"""Read a clip as a mono waveform at 16 kHz, and its duration without decoding where that will do.

Every script judges a file by these functions: what one of them takes, the others take.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from korean_asr.audio_container import decoder_of
from korean_asr.audio_file import (
    Audio,
    AudioInfo,
    UnreadableAudio,
    counted_info,
    decoded,
    mono,
    opened,
)
from korean_asr.audio_plain import plain_info, plain_samples

# The rate that wav2vec2 is trained at.
SAMPLE_RATE = 16_000
# (kernel, stride) of wav2vec2's convolutional layers: one frame every 320 samples, or 20 ms.
ENCODER_LAYERS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
# A shorter waveform has no frame.
MIN_SAMPLES = 400
AUDIO_SUFFIXES = {".wav", ".pcm", ".flac", ".mp3", ".ogg"}
# Types of audio that need not be readable. They are found too, so that a clip of such a type is not
# said to be missing.
OTHER_AUDIO_SUFFIXES = (
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".dsf",
    ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp4", ".mpga", ".nist", ".oga", ".opus",
    ".spx", ".sph", ".voc", ".w64", ".webm", ".wma", ".wv",
)  # fmt: skip


def n_frames(n_samples: int) -> int:
    """Number of frames that wav2vec2 makes of a 16 kHz waveform; each carries at most one label."""
    for kernel, stride in ENCODER_LAYERS:
        n_samples = max(0, (n_samples - kernel) // stride + 1)
    return n_samples


def audio_info(audio: Audio, offset: float = 0.0, duration: float | None = None) -> AudioInfo:
    """Judge a clip as read_waveform does, by the header alone where its samples are plain PCM.

    offset, duration: where the clip lies in a longer file, in seconds; None means to its end. The
    duration that is returned is the clip's.
    Raises UnreadableAudio: audio missing, empty, unreadable, truncated, too short; audio rate not 4
    to 384 kHz.
    """
    info = _of_what_is_there(_info, audio, offset, duration)
    _refuse_short(round(info.duration * info.sample_rate), info.sample_rate)
    return info


def _of_what_is_there(
    judge: Callable[..., Any], audio: Audio, offset: float, duration: float | None
) -> Any:
    """Call judge(audio, offset, duration), with None if a clip from 0 on is longer than its file.

    Manifests of whole files may have an offset of 0, too, and a wrong duration.
    """
    try:
        return judge(audio, offset, duration)
    except UnreadableAudio as problem:
        if offset or duration is None or str(problem) != "audio truncated":
            raise
        return judge(audio, offset, None)


def _info(audio: Audio, offset: float, duration: float | None) -> AudioInfo:
    with opened(audio, duration) as file:
        info = plain_info(file, offset, duration)
        if info is None:
            with decoder_of(file) as decoder:
                info = counted_info(decoder, file, offset, duration) or decoded(
                    decoder, file, offset, duration, take=lambda block: None
                )
        return info


def _refuse_short(n_samples: int, sample_rate: int) -> None:
    """Raise UnreadableAudio for a clip that has no sample, or makes no frame at 16 kHz."""
    if n_samples == 0:
        raise UnreadableAudio("audio empty")
    if n_samples * SAMPLE_RATE < MIN_SAMPLES * sample_rate:
        raise UnreadableAudio("audio too short")


@dataclass(frozen=True, slots=True)
class Samples:
    """The decoded samples of a clip.

    values: (n_samples, n_channels) float32, -1 to 1. sample_rate: of the file, in Hz.
    """

    values: np.ndarray
    sample_rate: int

    def waveform(self) -> np.ndarray:
        """(n_samples,) float32 at 16 kHz, the mean of the channels.

        Raises UnreadableAudio: audio empty, too short.
        """
        _refuse_short(len(self.values), self.sample_rate)
        waveform = mono(self.values)
        if self.sample_rate != SAMPLE_RATE:
            waveform = resampled(waveform, self.sample_rate)
        return np.ascontiguousarray(waveform, dtype=np.float32)

    def checksum(self) -> str | None:
        """SHA-256 of the sound, the same in any lossless container and under any name.

        None where every sample is equal: two silent clips are not copies of each other.
        """
        if len(self.values) == 0 or (self.values == self.values[0]).all():
            return None
        form = f"{self.sample_rate} Hz, {self.values.shape[1]} channels\n"
        digest = hashlib.sha256(form.encode())
        digest.update(np.ascontiguousarray(self.values))
        return digest.hexdigest()


def resampled(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """(n_samples,) at 16 kHz from a waveform at another rate."""
    # Imported here: it takes two seconds, and few corpora need it.
    import librosa

    # fix=False: the default may append a zero to reach a length of its own.
    return librosa.resample(
        waveform, orig_sr=sample_rate, target_sr=SAMPLE_RATE, res_type="soxr_hq", fix=False
    )


def read_samples(audio: Audio, offset: float = 0.0, duration: float | None = None) -> Samples:
    """Decode a file, or the part of it that starts at `offset` and takes `duration`, in seconds.

    Raises UnreadableAudio as audio_info does; a clip may be empty or too short.
    """
    return _of_what_is_there(_samples, audio, offset, duration)


def _samples(audio: Audio, offset: float, duration: float | None) -> Samples:
    blocks: list[np.ndarray] = []
    with opened(audio, duration) as file:
        values = plain_samples(file, offset, duration)
        if values is not None:
            return Samples(values, file.header.form.sample_rate)
        with decoder_of(file) as decoder:
            decoded(decoder, file, offset, duration, take=blocks.append)
            return Samples(_joined(blocks, decoder.channels), decoder.samplerate)


def _joined(blocks: list[np.ndarray], channels: int) -> np.ndarray:
    """(n_samples, n_channels) from blocks, which are emptied: the sound is not held twice."""
    if len(blocks) == 1:
        return blocks[0]
    end = sum(map(len, blocks))
    values = np.empty((end, channels), np.float32)
    while blocks:
        block = blocks.pop()
        values[end - len(block) : end] = block
        end -= len(block)
    return values


def read_waveform(audio: Audio, offset: float = 0.0, duration: float | None = None) -> np.ndarray:
    """Decode a clip as (n_samples,) float32 at 16 kHz, -1 to 1; see read_samples.

    Raises UnreadableAudio as audio_info does.
    """
    return read_samples(audio, offset, duration).waveform()


def sound_checksum(audio: Audio, offset: float = 0.0, duration: float | None = None) -> str | None:
    """Samples.checksum of a clip; None also for one that cannot be read."""
    try:
        return read_samples(audio, offset, duration).checksum()
    except UnreadableAudio:
        return None


def file_content(audio: Audio) -> bytes:
    """The bytes of an audio file as they are. Raises UnreadableAudio as audio_info does.

    The samples are not decoded.
    """
    with opened(audio, None) as file:
        return file.content()
