"""Audio that tables hold themselves, written once as FLAC where scripts 2 to 4 can read it."""

import hashlib
import io
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from korean_asr.audio_file import HEADERLESS, UnreadableAudio, decoded, decoder_of, opened
from korean_asr.errors import printable, writing_into
from korean_asr.files import make_folder
from korean_asr.preprocessing.audio_index import stem_of

# Encodings with more than 16 bits; FLAC has 24 at most, as float32 has. All others, such as MP3 and
# A-law, give 16 bits.
FINE_ENCODINGS = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
# Start of the names of files that are being written.
PART = ".part"
MAX_NAME_BYTES = 200
# The first bytes of a FLAC file.
FLAC_MARK = b"fLaC"


@dataclass(slots=True)
class EmbeddedAudio:
    """The FLAC files of one corpus: <folder>/<split>/<name>.flac.

    FLAC is kept byte by byte. A file made of other audio says in its comment of which bytes, so
    that a second run with the same data writes nothing.
    """

    folder: Path
    n_files: int = 0
    n_bytes: int = 0
    _names: set[str] = field(default_factory=set)
    _n_rows: Counter[str] = field(default_factory=Counter)  # by split

    def name_of(self, path: str, split: str) -> str:
        """A new name `split/stem` for the next row of a split; its number where the stem repeats.

        path: as the table writes it; no folder in it is used.
        """
        self._n_rows[split] += 1
        number = f"{self._n_rows[split]:08}"
        stem = stem_of(path)
        is_usable = stem.isprintable() and 0 < len(stem.encode()) <= MAX_NAME_BYTES
        name = f"{split}/{stem if is_usable and stem[0] != '.' else number}"
        while name in self._names:
            name += f"_{number}"
        self._names.add(name)
        return name

    def write(self, sound: bytes, path: str, name: str) -> str:
        """Write a clip unless it is there, and return the path of its file.

        sound: the bytes of an audio file. path: its suffix tells how bare samples are read.
        Raises UnreadableAudio for what all scripts reject, and OSError.
        """
        target = self.folder / f"{name}.flac"
        if not _is_made_of(target, sound):
            try:
                with writing_into(self.folder):
                    self._make(target, sound, os.path.splitext(path)[1].lower())
            finally:
                self._remove_parts()
        self.n_files += 1
        self.n_bytes += target.stat().st_size
        return str(target)

    def _make(self, target: Path, sound: bytes, suffix: str) -> None:
        make_folder(target.parent)
        content = sound
        if not sound.startswith(FLAC_MARK):
            # A file, so that it is judged as all others are.
            source = self.folder / f"{PART}{suffix if suffix in HEADERLESS else ''}"
            source.write_bytes(sound)
            content = _flac(source, hashlib.sha256(sound).hexdigest())
            # Before the clip is there: only a clip that is not makes the next run tidy up.
            source.unlink()
        part = self.folder / f"{PART}.flac"
        part.write_bytes(content)
        part.replace(target)

    def _remove_parts(self) -> None:
        """What a killed run has left too."""
        for part in self.folder.glob(f"{PART}*"):
            part.unlink()

    def summary(self) -> str:
        """One line about all files; "" where there is none."""
        if not self.n_files:
            return ""
        return printable(
            f"the audio of {self.n_files:,} clips lay inside tables: it is FLAC under "
            f"{self.folder}, {self.n_bytes / 1e6:,.1f} MB, which the manifest names. Keep it. "
            "· 표 안의 음성을 FLAC으로 저장했습니다. 지우지 마세요."
        )


def _is_made_of(path: Path, sound: bytes) -> bool:
    """Whether a clip's file is there, and was made of these bytes."""
    try:
        if sound.startswith(FLAC_MARK):
            return path.stat().st_size == len(sound) and path.read_bytes() == sound
        with soundfile.SoundFile(path) as file:
            return file.comment == hashlib.sha256(sound).hexdigest()
    except (soundfile.SoundFileError, OSError):
        return False


def _flac(source: Path, digest: str) -> bytes:
    """An audio file as FLAC with the same samples; those of a float file are cut to -1 to 1.

    Raises UnreadableAudio.
    """
    content = io.BytesIO()
    with opened(source, None) as file, decoder_of(file) as decoder:
        encoding = "PCM_24" if decoder.subtype in FINE_ENCODINGS else "PCM_16"
        form = (decoder.samplerate, decoder.channels, encoding)
        with soundfile.SoundFile(content, "w", *form, format="FLAC") as flac:
            flac.comment = digest
            info = decoded(decoder, file, 0.0, None, flac.write)
    if not info.duration:
        raise UnreadableAudio("audio empty")
    return content.getvalue()
