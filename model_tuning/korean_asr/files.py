"""Write whole files or none, read JSON, sort lines that exceed memory, take checksums."""

import errno
import hashlib
import heapq
import json
import math
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from korean_asr.errors import DataError, writing_into

# SortedLines spills to disk beyond these.
RUN_LINES, RUN_CHARACTERS = 50_000, 32 << 20
# A run is read back by so many lines at a time.
PORTION_LINES = 100
# SpilledLines holds so much in memory before it moves to disk.
SPILL_CHARACTERS = 8 << 20
# Each run is an open file, and a process may have 1,024.
MAX_RUNS = 200
# Far more than any file of ours has, and far less than Python's recursion limit.
MAX_JSON_LEVELS = 100

Record = TypeVar("Record")


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents. Raises OSError that names the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        # Under /proc, for example. Treated like any other folder that cannot be written into.
        raise PermissionError(errno.EACCES, "no folder can be made here", str(folder)) from None


def refuse_unusable_folder(folder: Path) -> None:
    """Raise OSError now, not after hours of work, if a folder cannot be written into.

    The folder need not exist yet, and is not made.
    """
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(existing))
    try:
        _nameless_file(existing).close()
    except FileNotFoundError:
        # As in make_folder().
        raise PermissionError(errno.EACCES, "no file can be made here", str(existing)) from None
    except OSError as error:
        error.filename = str(existing)
        raise


def free_name(path: Path) -> Path:
    """The path, or the first of path2, path3 and so on, at which nothing is."""
    numbers = ("", *range(2, 10_000))
    names = (path.with_name(f"{path.name}{number}") for number in numbers)
    return next(name for name in names if not name.exists())


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """Open a temporary text file beside `path`, and rename it to `path` when the block succeeds.

    A killed or failed run leaves the old file, or none, but never half of the new one. A missing
    folder is made.
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
        # The OSError of a failed write() has no file name.
        error.filename = error.filename or str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises ValueError for NaN and Infinity, which JSON does not have.
    """
    with whole_file(path) as file:
        json.dump(content, file, ensure_ascii=False, allow_nan=False, indent=1)
        file.write("\n")


# One encoder for all lines: json.dumps() would make a new one for each. A lone surrogate (from
# undecodable bytes in a file name, or a broken label) is written as \udcc7, which JSON reads back.
# NaN and Infinity, which JSON does not have, raise ValueError.
json_line = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object on each line, the whole file or nothing."""
    with whole_file(path) as file:
        file.writelines(json_line(row) + "\n" for row in rows)


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


# One decoder for all JSON. Other programs write NaN, Infinity and 1e999, which are not JSON, and
# raw tabs and line ends inside texts. The former are read as null, an unknown number.
_decode_json = json.JSONDecoder(
    parse_constant=lambda _: None, parse_float=_finite, strict=False
).decode


def parsed_json(text: str) -> Any:
    """Parse a JSON text, of whatever file: the only place where this project does.

    Numbers are finite; a byte order mark is skipped; of a repeated key the last value counts.
    Raises ValueError for anything else, also for JSON that is nested too deep for Python.
    """
    try:
        return _decode_json(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


# Leaves NaN, Infinity and 1e999 as they are.
_decode_infinite_json = json.JSONDecoder(strict=False).decode


def parsed_clip(text: str) -> Any:
    """Parse a line about a clip as parsed_json does, but keep an `offset` that is NaN or infinite.

    Read as null, it would make the clip its whole file. Raises ValueError.
    """
    try:
        row = parsed_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg}, column {error.colno})") from None
    if isinstance(row, dict) and "offset" in row and row["offset"] is None:
        row["offset"] = _decode_infinite_json(text.removeprefix("\ufeff"))["offset"]
    return row


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises OSError if it cannot be opened, such as FileNotFoundError, and ValueError that says what
    is wrong with its content.
    """
    try:
        content = parsed_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"its bytes are not UTF-8 (byte {error.start})") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if _n_levels_exceed(content, MAX_JSON_LEVELS):
        # Whoever walks through it, or writes it again, would exceed Python's limit.
        raise ValueError("it is nested too deep")
    return content


def _n_levels_exceed(content: Any, n_levels: int) -> bool:
    if not isinstance(content, dict | list):
        return False
    parts = content.values() if isinstance(content, dict) else content
    return not n_levels or any(_n_levels_exceed(part, n_levels - 1) for part in parts)


def as_read(content: Any) -> Any:
    """Return plain data as it will be read from JSON: keys are texts, and infinity is null."""
    return parsed_json(json.dumps(content))


# The types of JSON, as error messages name them.
_JSON_TYPES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def json_value(content: dict[str, Any], key: str, kind: type) -> Any:
    """Return content[key], which must be of one of the types of JSON; `float` takes any number.

    Raises ValueError that names the key where it is missing, of another type, or a whole number of
    more than 64 bits.
    """
    if key not in content:
        raise ValueError(f"it has no `{key}`")
    value = content[key]
    kinds = (int, float) if kind is float else kind
    # In Python, but not in JSON, true is a number.
    is_other = not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool)
    if is_other or (isinstance(value, int) and value.bit_length() > 63):
        raise ValueError(f"`{key}` is {shown_json(value)}, which is not {_JSON_TYPES[kind]}")
    return value


def shown_json(value: Any) -> str:
    """A value of JSON as error messages show it: in one line, and not too long."""
    if isinstance(value, dict | list):
        return _JSON_TYPES[type(value)]
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."


@dataclass(frozen=True, slots=True)
class LineFormat:
    """A kind of JSON lines file, as its error messages describe it.

    file, line: what they are called, such as "manifest" and "clip".
    keys: the keys that every line needs.
    if_missing, if_empty: what the user should do.
    """

    file: str
    line: str
    keys: tuple[str, ...]
    if_missing: str
    if_empty: str


def read_json_lines(
    path: Path, form: LineFormat, record: Callable[[dict[str, Any], int], Record]
) -> list[Record]:
    """Read a file of JSON lines; blank lines and a byte order mark are skipped.

    record: makes a record of a row, as parsed_clip reads it, and its line number, counted from 1.
    A ValueError, KeyError, TypeError or AttributeError in it means that the line is not of this
    format.
    Raises DataError that names the file, and the line where there is one.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "is missing"
        raise DataError(f"{path} {what}. {form.if_missing}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a {form.file}: its bytes are not UTF-8 (byte {error.start})."
        ) from None
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append(record(parsed_clip(line), number))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise DataError(
                f"{path}, line {number}: not a {form.line}. "
                f"Each line is a JSON object with {', '.join(form.keys)}."
            ) from None
    if not records:
        raise DataError(f"{path} holds no {form.line}. {form.if_empty}")
    return records


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SortedLines:
    """Any number of lines, in the order of their keys: sorted runs on disk, merged on reading.

    The runs are nameless files in the folder, so that a killed process leaves nothing behind.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: list[tuple[str, str]] = []
        self._n_characters = 0
        self._runs: list[IO[bytes]] = []

    def extend(self, keys_and_lines: list[tuple[str, str]]) -> None:
        """Add (key, line) pairs in any order."""
        self._run += keys_and_lines
        self._n_characters += sum(len(line) for _, line in keys_and_lines)
        if len(self._run) >= RUN_LINES or self._n_characters >= RUN_CHARACTERS:
            if len(self._runs) >= MAX_RUNS:
                self._runs = [self._written(heapq.merge(*map(_run_on_disk, self._runs)))]
            self._runs.append(self._written(sorted(self._run)))
            self._run, self._n_characters = [], 0

    def __iter__(self) -> Iterator[str]:
        """The lines in the order of their keys."""
        for _, line in heapq.merge(*map(_run_on_disk, self._runs), sorted(self._run)):
            yield line

    def _written(self, keys_and_lines: Iterable[tuple[str, str]]) -> IO[bytes]:
        make_folder(self._folder)
        with writing_into(self._folder):
            file = _nameless_file(self._folder)
            pairs = iter(keys_and_lines)
            while portion := list(islice(pairs, PORTION_LINES)):
                pickle.dump(portion, file)
            file.flush()
        return file


class SpilledLines:
    """Lines in the order of extend(); beyond SPILL_CHARACTERS they move to a nameless file.

    folder: where that file is made. It has no name, so a killed process leaves nothing behind.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[str] = []
        self._n_characters = 0
        self._file: IO[bytes] | None = None

    def extend(self, lines: list[str]) -> None:
        self._held += lines
        self._n_characters += sum(map(len, lines))
        if self._n_characters >= SPILL_CHARACTERS:
            self._spill()

    def __iter__(self) -> Iterator[str]:
        if self._file:
            self._file.seek(0)
            for line in self._file:
                yield line.decode().removesuffix("\n")
        yield from self._held

    def _spill(self) -> None:
        make_folder(self._folder)
        try:
            self._file = self._file or _nameless_file(self._folder)
            for line in self._held:
                # Lone surrogates become escape sequences, as in whole_file.
                self._file.write(f"{line}\n".encode(errors="backslashreplace"))
            self._file.flush()
        except OSError as error:
            error.filename = str(self._folder)
            raise
        self._held, self._n_characters = [], 0


def _nameless_file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _run_on_disk(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """The (key, line) pairs of a run, from its start."""
    file.seek(0)
    while True:
        try:
            # Not by one Unpickler: it keeps its memo, and would mix up the portions' texts.
            yield from pickle.load(file)
        except EOFError:
            return
