"""The players on a page: what each of them plays."""

import base64
import io
import os
import urllib.parse
from pathlib import Path
from typing import Any

import soundfile

from korean_asr.archive_file import Place, path_within
from korean_asr.audio import Audio, UnreadableAudio, file_content, read_samples
from korean_asr.errors import DataError
from korean_asr.manifest import absolute_audio, audio_at, place_in

# Characters of embedded audio on a page, unless all is asked for: 350 clips of four seconds.
MAX_EMBEDDED = 64 << 20
EMBEDDED_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}


def players(rows: list[dict[str, Any]], folder: Path, embed_audio: bool) -> list[str | None]:
    """The address of each clip's player on the page in `folder`.

    A browser opens no file in an archive. Such clips are embedded, those with most errors first,
    until the page is large; with embed_audio all clips are.
    """
    urls: list[str | None] = [None] * len(rows)
    n_left = MAX_EMBEDDED
    for index in sorted(range(len(rows)), key=lambda index: -rows[index]["cer"]):
        audio, *cut = audio_of(rows[index], folder)
        if embed_audio:
            urls[index] = embedded_audio(audio, *cut)
        elif not isinstance(audio, Place):
            urls[index] = linked_audio(audio, folder, *cut)
        elif n_left > 0:
            urls[index] = embedded_audio(audio, *cut)
            n_left -= len(urls[index] or "")
    return urls


def audio_of(row: dict[str, Any], folder: Path) -> tuple[Audio, float, float | None]:
    """The audio of a row of results in `folder`, and the offset and duration of its cut.

    They are what read_samples takes. Raises ValueError for a malformed row.
    """
    path = absolute_audio(row["audio_filepath"], folder.resolve())
    audio = audio_at(path, **place_in(row, folder.resolve()))
    cut = (row["offset"], row["duration"] or None) if "offset" in row else (0.0, None)
    return audio, *cut


def linked_audio(
    path: str, folder: Path, offset: float = 0.0, duration: float | None = None
) -> str | None:
    """A clip's relative URL from the folder of a page; None for files that no browser plays.

    offset, duration: where the clip lies in a longer file, in seconds. Browsers play that part
    alone (W3C, Media Fragments URI 1.0).
    """
    if Path(path).suffix.lower() not in EMBEDDED_TYPES:
        return None
    try:
        name = os.fsencode(os.path.relpath(path, folder.resolve()))
    except UnicodeEncodeError:
        # A lone surrogate, which no name of a file holds.
        return None
    end = "" if duration is None else f",{offset + duration:.4f}"
    part = f"#t={offset:.4f}{end}" if offset or end else ""
    return urllib.parse.quote(name) + part


def embedded_audio(audio: Audio, offset: float = 0.0, duration: float | None = None) -> str | None:
    """A clip as a data: URI; None for one that cannot be read.

    offset, duration: as for linked_audio. A whole WAV, FLAC or Ogg file is taken as it is, anything
    else becomes 16-bit WAV.
    """
    try:
        is_whole = not offset and duration is None
        path = path_within(audio.address) if isinstance(audio, Place) else audio
        kind = EMBEDDED_TYPES.get(Path(path).suffix.lower())
        content = file_content(audio) if kind and is_whole else b""
        if content[:4] not in (b"RIFF", b"fLaC", b"OggS"):
            samples, buffer = read_samples(audio, offset, duration), io.BytesIO()
            soundfile.write(
                buffer, samples.values, samples.sample_rate, format="WAV", subtype="PCM_16"
            )
            kind, content = "audio/wav", buffer.getvalue()
    except (UnreadableAudio, DataError, OSError, ValueError):
        return None
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
