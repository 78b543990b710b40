"""The recordings that a command line names: files, and the audio files of folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from korean_asr.audio import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES
from korean_asr.errors import DataError

SUFFIXES = (*AUDIO_SUFFIXES, *OTHER_AUDIO_SUFFIXES)


def found_recordings(paths: Iterable[Path]) -> list[Path]:
    """List files as they are named, and the audio files of folders, sorted; each file once.

    A file may have any ending. Raises DataError for a path that is missing, and for a folder that
    holds no audio; OSError that names a folder that cannot be read.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise DataError(
                f"{path} does not exist. Pass a recording, or a folder of recordings. "
                "· 파일이나 폴더가 없습니다. 경로를 확인하세요."
            )
        for recording in _audio_files(path) if path.is_dir() else [path]:
            found.setdefault(os.path.realpath(recording), recording)
    return list(found.values())


def _audio_files(folder: Path) -> list[Path]:
    files = sorted(_walked(folder))
    if not files:
        raise DataError(
            f"{folder} holds no audio file ({' '.join(sorted(AUDIO_SUFFIXES))} and others). Pass "
            "another folder, or a file. · 폴더에 음성 파일이 없습니다."
        )
    return files


def _walked(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, onerror=_raised):
        for name in names:
            # `._a.wav` is what macOS writes beside a.wav.
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _raised(error: OSError) -> None:
    raise error
