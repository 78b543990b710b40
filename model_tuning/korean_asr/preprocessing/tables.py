"""Tables of clips, a row each: Parquet, CSV and TSV with a header, an AudioFolder's metadata.csv.

A data set of the hub is downloaded, and is then a folder of such tables. A row names a file, which
stays where it lies, or holds the audio itself, which embedded_audio.py writes once.
"""

import codecs
import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, UsageError, is_disk_full, printable
from korean_asr.files import shown_json
from korean_asr.manifest import duration_in, offset_in
from korean_asr.preprocessing.labels import UTF_16_MARKS, Label

HUB = "hf:"
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")
# Columns that hold the transcript and the audio, where no option names them.
TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript", "normalized_text")
AUDIO_COLUMNS = ("audio", "file_name", "path", "audio_filepath", "file")
# Names of splits in the names of files and folders, as `datasets` knows them -> our `part`.
PARTS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
# JSON that `datasets` and the hub put beside tables; no labels.
RECORDS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
# Rows in memory at a time: clips of 20 s at 48 kHz take 30 MB.
BATCH_ROWS = 16
BUFFER_BYTES = 1 << 20
# What the readers of tables raise for a damaged one; pyarrow's errors are among them.
TABLE_ERRORS = (OSError, ValueError, csv.Error)


@dataclass(slots=True)
class Row:
    """One clip of a table.

    place: where it stands, such as `x.parquet, row 3`.
    label: its name is the audio's path as the table writes it; "" if there is none.
    sound: the bytes of the audio file, if the table holds them.
    """

    place: str
    label: Label
    sound: bytes | None = None


@dataclass(slots=True)
class _Table:
    """An open table.

    sounds: the columns that hold audio itself. names: column -> names of its numbered classes.
    rows: yields the values of the given columns; None for a row of another width.
    """

    columns: list[str]
    rows: Callable[[list[str]], Iterator[dict[str, Any] | None]]
    sounds: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)
    encoding: str = "utf-8"


def is_table(name: str) -> bool:
    """Return whether a file found in a folder is a table of clips, by its name in lower case."""
    return name.endswith(".parquet") or name == "metadata.csv"


def part_of(table: str, root: Path) -> str | None:
    """The split that the name of a table, or a folder of it below the root, gives: `training`.

    `validated_clean-00000-of-00002.parquet` gives a name of its own. None where there is none.
    """
    path = Path(table)
    if written_by_datasets := re.match(r"(.+?)-\d{5}-of-\d{5}", path.name):
        name = written_by_datasets[1]
        return PARTS.get(name.lower(), name)
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    for name in (path.stem, *reversed(folders)):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in PARTS:
                return PARTS[word]
    return None


def tables_of_split(tables: list[str], root: Path, split: str | None) -> list[str]:
    """The tables of a split, or all for None. Raises DataError that lists the splits."""
    if split is None:
        return tables
    wanted = PARTS.get(split.lower(), split)
    chosen = [table for table in tables if part_of(table, root) == wanted]
    if not chosen:
        found = sorted({part_of(table, root) or "(no name)" for table in tables})
        raise DataError(
            f"{root} has no split '{split}', but {', '.join(found)}. Pass one of these as --split, "
            "or leave it out to read all. · --split 값을 확인하세요."
        )
    return chosen


def notes_about_missing_files(tables: list[str]) -> list[str]:
    """A note for each set of files `x-00001-of-00004.parquet` of which some are not there."""
    numbers: dict[tuple[str, str], set[str]] = {}
    for table in tables:
        if found := re.match(r"(.+)-(\d{5})-of-(\d{5})", table):
            numbers.setdefault((found[1], found[3]), set()).add(found[2])
    return [
        f"{start}-*-of-{total}: {int(total) - len(there):,} of {int(total):,} files are missing. "
        "Finish the download to use all clips. · 내려받지 못한 파일이 있습니다."
        for (start, total), there in numbers.items()
        if len(there) < int(total)
    ]


def hub_folder(source: str) -> Path:
    """The folder of a data set of the hub, `hf:owner/name` or `hf:owner/name/config`.

    It is downloaded into the hub's cache once; without a network the cache is used.
    Raises UsageError for another form, and DataError if it cannot be downloaded.
    """
    found = re.fullmatch(rf"{HUB}(\w[\w.-]*/\w[\w.-]*)(?:/(\w[\w.-]*))?", source)
    if not found:
        raise UsageError(
            f"'{source}' is no data set of the hub: write {HUB}owner/name, or "
            f"{HUB}owner/name/config. · 허브 데이터셋의 이름을 확인하세요."
        )
    name, config = found.groups()
    # Imported here: it takes a quarter of a second, which a local folder does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = [f"{config}/*", f"*/{config}/*"] if config else None
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=wanted))
    except Exception as error:
        # Offline, no such name, a licence that was not accepted: each raises a class of its own.
        if is_disk_full(error):
            raise
        is_offline = isinstance(error, LocalEntryNotFoundError)
        why = "the hub cannot be reached, or HF_HUB_OFFLINE is set" if is_offline else str(error)
        folder = Path(name).name
        raise DataError(
            f"the data set '{name}' cannot be downloaded: {printable(why)[:200]}. On a machine "
            f"with internet run 'hf download {name} --repo-type dataset --local-dir {folder}', "
            f"copy the folder here and pass it instead of {source}. · 인터넷을 사용할 수 없으면 "
            "다른 컴퓨터에서 데이터셋을 내려받아 그 폴더를 지정하세요."
        ) from None


def table_rows(path: str, columns: tuple[str, str], fact_keys: tuple[str, ...]) -> Iterator[Row]:
    """Yield the clips of a table in its order.

    A row that cannot be read says so, as does the table itself where it is damaged.
    columns: of the transcript and of the audio; "" to find one by its name.
    fact_keys: the columns that are kept as facts, where the table has them.
    Raises DataError where a column is not there, or cannot be told from another.
    """
    number = 0
    try:
        table = _parquet(path) if path.lower().endswith(".parquet") else _text_table(path)
        text, audio = _text_and_audio(table, path, *columns)
        facts = [key for key in fact_keys if key in table.columns and key not in (text, audio)]
        cut = [key for key in ("offset", "duration") if key in table.columns]
        # dict: a column may serve twice.
        for values in table.rows(list(dict.fromkeys([text, audio, *facts, *cut]))):
            number += 1
            place = f"{path}, row {number}"
            if values is None:
                problem = f"it has more or fewer cells than the {len(table.columns)} of the header"
                yield Row(place, _unreadable("", problem))
            else:
                yield _row(place, _named(values, table.names), text, audio, facts, table.encoding)
    except TABLE_ERRORS as error:
        where = f"after row {number}: " if number else ""
        yield Row(path, _unreadable("", printable(f"{where}{error}")))


def _unreadable(raw: str, problem: str) -> Label:
    return Label("", raw, "utf-8", is_readable=False, problem=problem)


def _named(values: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """Numbers of classes by their names: of a gender in `datasets`, 0 may be `male`."""
    for key in names.keys() & values.keys():
        number = values[key]
        values[key] = names[key][number] if number in range(len(names[key])) else None
    return values


def _row(
    place: str, values: dict[str, Any], text: str, audio: str, facts: list[str], encoding: str
) -> Row:
    raw = "" if values[text] is None else values[text]
    if not isinstance(raw, str) or "\0" in raw:
        shown = shown_json(raw) if isinstance(raw, str | int | float) else "of another type"
        return Row(place, _unreadable("", f"`{text}` is {shown}, which is not a text"))
    name, sound = _path_and_sound(values[audio])
    if sound is None:
        name = _in_clips(os.path.dirname(place), name)
    label = Label(name, raw, encoding)
    label.facts = {
        key: str(values[key])
        for key in facts
        if isinstance(values[key], str | int | float) and values[key] != ""
    }
    if sound is None:
        try:
            cut = {key: values.get(key) for key in ("offset", "duration")}
            # An empty cell of a CSV.
            label.offset = None if cut["offset"] == "" else offset_in(cut)
            label.duration = None if label.offset is None else duration_in(cut)
        except ValueError as problem:
            return Row(place, _unreadable(raw, str(problem)))
    return Row(place, label, sound)


def _path_and_sound(value: Any) -> tuple[str, bytes | None]:
    """The path and the bytes of a cell: `datasets` stores both, and either may be missing."""
    if isinstance(value, dict):
        path, sound = value.get("path"), value.get("bytes")
    else:
        path, sound = (None, value) if isinstance(value, bytes) else (value, None)
    sound = sound if isinstance(sound, bytes) else None
    return path.strip() if isinstance(path, str) else "", sound


def _in_clips(folder: str, name: str) -> str:
    """A file's name as it stands, or in `clips`, whose files Common Voice names without it."""
    if not name or "/" in name or "\0" in name or os.path.exists(f"{folder}/{name}"):
        return name
    return f"clips/{name}" if os.path.exists(f"{folder}/clips/{name}") else name


# --- Columns ---


def _text_and_audio(table: _Table, path: str, text_key: str, audio_key: str) -> tuple[str, str]:
    """The columns of the transcript and of the audio. Raises DataError."""
    named = [key for key in TEXT_COLUMNS if key in table.columns]
    text = _column(table, path, "transcript", "--text-key", text_key, named)
    others = [key for key in table.columns if key in AUDIO_COLUMNS and key != text]
    found = table.sounds or others
    return text, _column(table, path, "audio", "--audio-key", audio_key, found)


def _column(table: _Table, path: str, what: str, option: str, key: str, found: list[str]) -> str:
    """The column that the user names, else the only one that was found. Raises DataError."""
    if key in table.columns:
        return key
    if not key and len(found) == 1:
        return found[0]
    problem = f"no column '{key}'" if key else f"no column that is known to hold the {what}"
    if not key and found:
        problem = f"several columns that may hold the {what} ({', '.join(found)})"
    shown = printable(", ".join(table.columns)[:500])
    raise DataError(
        f"{path} has {problem}; its columns are {shown}. Name one: {option} COLUMN. "
        "· 열 이름을 지정하세요."
    )


# --- Parquet ---


def _parquet(path: str) -> _Table:
    """Raises OSError or ValueError for a damaged file.

    Read by pyarrow, as `datasets` does it, but a few rows at a time: a file may be one row group.
    """
    import pyarrow.parquet

    # Closed with its last reference.
    file = pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
    schema = file.schema_arrow
    sounds, names = _features(schema)

    def rows(columns: list[str]) -> Iterator[dict[str, Any]]:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()

    return _Table(schema.names, rows, sounds, names)


def _features(schema: Any) -> tuple[list[str], dict[str, list[str]]]:
    """The columns that hold audio files, and the names of numbered classes.

    Without the notes of `datasets` in the schema, audio is a struct of `bytes` and `path`, or a
    binary column with a usual name. Raises ValueError where the notes are damaged.
    """
    from datasets import Audio, ClassLabel, Features

    try:
        features = Features.from_arrow_schema(schema)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"damaged notes of `datasets` in its schema: {error}") from None
    sounds = [key for key, feature in features.items() if isinstance(feature, Audio)]
    names = {key: value.names for key, value in features.items() if isinstance(value, ClassLabel)}
    return sounds or [column.name for column in schema if _may_hold_files(column)], names


def _may_hold_files(column: Any) -> bool:
    from pyarrow.types import is_binary, is_large_binary, is_struct

    if is_struct(column.type):
        return column.type.get_field_index("bytes") >= 0
    is_bytes = is_binary(column.type) or is_large_binary(column.type)
    return is_bytes and column.name in AUDIO_COLUMNS


# --- CSV and TSV ---


def _text_table(path: str) -> _Table:
    """Raises OSError, ValueError or csv.Error.

    Not read by `datasets`: it guesses types, so that the transcript 119 becomes a number, and NA
    nothing.
    """
    encoding = _encoding_of(path)
    with open(path, encoding=encoding, errors="replace", newline="") as file:
        delimiter = max(",\t;|", key=file.readline().count)
    cells = _tab_cells if delimiter == "\t" else _quoted_cells

    def all_rows() -> Iterator[list[str]]:
        with open(path, encoding=encoding, errors="replace", newline="") as file:
            yield from filter(None, cells(file, delimiter))

    def rows(columns: list[str]) -> Iterator[dict[str, str] | None]:
        lines = all_rows()
        indices = [header.index(column) for column in columns]
        next(lines)
        for line in lines:
            is_whole = len(line) == len(header)
            yield {header[i]: line[i].strip() for i in indices} if is_whole else None

    header = [name.strip() for name in next(all_rows(), [])]
    return _Table(header, rows, encoding=encoding.removesuffix("-sig"))


def _quoted_cells(file: Any, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(file, delimiter=delimiter)


def _tab_cells(file: Any, delimiter: str) -> Iterator[list[str]]:
    """Cells between tabs. Common Voice quotes none, spreadsheets those with a quote or a tab.

    A reader that expects quotes would take all rows from a lone one to the next as one cell.
    """
    for line in file:
        if line.strip():
            yield [_unquoted(cell) for cell in line.rstrip("\r\n").split(delimiter)]


def _unquoted(cell: str) -> str:
    is_quoted = re.fullmatch(r'"(?:[^"]|"")*"', cell)
    return cell[1:-1].replace('""', '"') if is_quoted else cell


def _encoding_of(path: str) -> str:
    """utf-8-sig, which reads UTF-8 without a byte order mark too; utf-16 by its mark; else cp949.

    A table has one encoding throughout, as the program that saved it has.
    """
    with open(path, "rb") as file:
        if file.read(len(codecs.BOM_UTF16_LE)) in UTF_16_MARKS:
            return "utf-16"
    try:
        with open(path, encoding="utf-8-sig") as file:
            while file.read(BUFFER_BYTES):
                pass
    except UnicodeDecodeError:
        return "cp949"
    return "utf-8-sig"
