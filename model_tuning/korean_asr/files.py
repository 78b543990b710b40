"""Writing whole files or none, sorting more lines than memory holds, and checksums of what was written."""

import errno
import hashlib
import heapq
import json
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from korean_asr.errors import writing_into

# Of SortedLines, what is held in memory at a time.
RUN_LINES, RUN_CHARACTERS = 50_000, 32 << 20
MAX_RUNS = 200  # open files; a process may have 1,024


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (
        FileNotFoundError
    ):  # under /proc, say: as with any other place that cannot be written into
        raise PermissionError(errno.EACCES, "no folder can be made there", str(folder)) from None


def refuse_unusable_place(folder: Path) -> None:
    """Raise the OSError that writing into a folder, which need not be there yet, would raise after hours of work."""
    existing = next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(existing))
    try:
        _nameless_file(existing).close()
    except OSError as error:
        error.filename = str(existing)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """Open a text file for writing beside its place, and rename it there when the block ends well.

    A killed or failed run leaves the old file, or none, but never half of the new one. The folder is made if missing.
    """
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write() knows no name
        raise
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    with whole_file(path) as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.write("\n")


# A lone surrogate (a file name of undecodable bytes, a broken label) becomes \udcc7, which JSON reads back.
json_line = json.JSONEncoder(
    ensure_ascii=False
).encode  # json.dumps() would make an encoder for each line


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    with whole_file(path) as file:
        file.writelines(json_line(row) + "\n" for row in rows)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SortedLines:
    """Lines in the order of their keys, however many: sorted runs on disk, merged when they are read.

    The runs are nameless files of the folder, so that a killed process leaves nothing behind.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: list[tuple[str, str]] = []
        self._n_characters = 0
        self._runs: list[IO[bytes]] = []

    def extend(self, keys_and_lines: list[tuple[str, str]]) -> None:
        self._run += keys_and_lines
        self._n_characters += sum(len(line) for _, line in keys_and_lines)
        if len(self._run) >= RUN_LINES or self._n_characters >= RUN_CHARACTERS:
            if len(self._runs) >= MAX_RUNS:
                self._runs = [self._written(heapq.merge(*map(_run_on_disk, self._runs)))]
            self._runs.append(self._written(sorted(self._run)))
            self._run, self._n_characters = [], 0

    def __iter__(self) -> Iterator[str]:
        for _, line in heapq.merge(*map(_run_on_disk, self._runs), sorted(self._run)):
            yield line

    def _written(self, keys_and_lines: Iterable[tuple[str, str]]) -> IO[bytes]:
        make_folder(self._folder)
        with writing_into(self._folder):
            file = _nameless_file(self._folder)
            for item in keys_and_lines:
                pickle.dump(item, file)
            file.flush()
        return file


def _nameless_file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _run_on_disk(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    file.seek(0)
    load = pickle.Unpickler(file).load
    while True:
        try:
            yield load()
        except EOFError:
            return
