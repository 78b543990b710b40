"""Pictures of the clips with most errors: mel spectrogram and waveform, as the page draws them."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from korean_asr.audio import SAMPLE_RATE, UnreadableAudio, read_waveform
from korean_asr.errors import DataError
from korean_asr.pages.players import audio_of

N_PICTURES = 10
# Of a longer clip the start is drawn.
MAX_SECONDS = 30.0
N_FFT, HOP = 400, 160  # 25 ms and 10 ms, as speech is usually shown
N_MELS, MAX_COLUMNS, N_PEAKS = 80, 1000, 400
# Sound that is weaker than the loudest by more is white.
RANGE_DB = 70.0
# Few shades of grey make a PNG half as large, and nobody sees the difference.
N_SHADES = 24


def pictures(rows: list[dict[str, Any]], folder: Path) -> dict[int, dict[str, Any]]:
    """Draw the clips with the highest CER, as the page sorts them; return index -> picture.

    folder: that of the page; paths of audio may be relative to it.
    Clips without an error have no picture, and clips that cannot be read none either.
    """
    drawn: dict[int, dict[str, Any]] = {}
    for index in sorted(range(len(rows)), key=lambda index: -rows[index]["cer"]):
        if len(drawn) == N_PICTURES or not rows[index]["cer"]:
            break
        if rows[index].get("problem"):
            continue
        try:
            audio, offset, duration = audio_of(rows[index], folder)
            drawn[index] = picture(read_waveform(audio, offset, duration))
        except (UnreadableAudio, DataError, OSError, ValueError):
            # It was moved since it was decoded.
            continue
    return drawn


def picture(waveform: np.ndarray) -> dict[str, Any]:
    """Draw a waveform, (n_samples,) float32 at 16 kHz.

    Returns `duration` in seconds of what is drawn, `spectrogram`, a PNG as a data: URI, loud is
    dark, and `waveform`, the highest magnitude of each of equal parts in percent of the loudest.
    """
    waveform = waveform[: int(MAX_SECONDS * SAMPLE_RATE)]
    content = base64.b64encode(_png(_shades(waveform))).decode("ascii")
    return {
        "duration": round(len(waveform) / SAMPLE_RATE, 3),
        "spectrogram": f"data:image/png;base64,{content}",
        "waveform": _peaks(waveform),
    }


def _shades(waveform: np.ndarray) -> np.ndarray:
    """The mel spectrogram as shades of grey, (N_MELS, n_columns) uint8; low sounds come last."""
    # Imported here: it takes two seconds, and results that are scored again may have no audio.
    import librosa

    hop = max(HOP, -(-len(waveform) // MAX_COLUMNS))
    power = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=hop, n_mels=N_MELS
    )
    loudness = librosa.power_to_db(power, ref=max(float(power.max()), 1e-10), top_db=RANGE_DB)
    darkness = np.clip(loudness / RANGE_DB + 1, 0, 1)
    levels = np.round(darkness[::-1] * (N_SHADES - 1)) / (N_SHADES - 1)
    return (255 - np.round(255 * levels)).astype(np.uint8)


def _png(shades: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _peaks(waveform: np.ndarray) -> list[int]:
    parts = np.array_split(np.abs(waveform), min(N_PEAKS, len(waveform)))
    peaks = np.array([part.max() for part in parts])
    return np.round(100 * peaks / (peaks.max() or 1)).astype(int).tolist()
