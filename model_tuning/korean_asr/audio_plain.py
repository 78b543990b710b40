"""Plain PCM samples in a WAV file: counted and read without libsndfile."""

import numpy as np

from korean_asr.audio_file import CONTENT_BYTES, MAX_RATE, MIN_RATE, AudioFile, AudioInfo, cut


def plain_info(file: AudioFile, offset: float, duration: float | None) -> AudioInfo | None:
    """AudioInfo by the fields of a plain PCM header, ten times as fast as libsndfile; else None."""
    header = file.header
    if header is None or header.form is None:
        return None
    sample_rate, channels, n_samples, _ = header.form
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        return None
    first, last = cut(n_samples, sample_rate, offset, duration)
    return AudioInfo(
        (last - first) / sample_rate, sample_rate, channels, False, header.is_overstated
    )


def plain_samples(file: AudioFile, offset: float, duration: float | None) -> np.ndarray | None:
    """(n_samples, n_channels) float32 of 16-bit samples, as libsndfile decodes them; else None.

    In a third of its time, and for a file in an archive as fast as for one on disk.
    """
    header = file.header
    if header is None or header.form is None or header.form.sample_bytes != 2:
        return None
    sample_rate, channels, n_samples, _ = header.form
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        return None
    first, last = cut(n_samples, sample_rate, offset, duration)
    n_bytes = 2 * channels * (last - first)
    if n_bytes > CONTENT_BYTES:
        return None
    content = file.read_at(n_bytes, header.offset + 2 * channels * first)
    if len(content) < n_bytes:
        return None
    # A power of two, so that nothing is rounded.
    values = np.frombuffer(content, "<i2").astype(np.float32)
    values *= np.float32(1 / 32_768)
    return values.reshape(-1, channels)
