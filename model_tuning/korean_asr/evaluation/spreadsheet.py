"""The Excel file of an evaluation: scores, slices, confusions, learners, every clip's counts."""

import io
from collections.abc import Iterator
from typing import Any

from korean_asr.evaluation.learner_report import learner_sheets

# Excel's limits: UTF-16 units in a cell, and rows in a sheet besides its header.
MAX_CELL_UNITS = 32_767
MAX_ROWS = 1_048_575
# Text stays text: an id such as `=1+1` must not become a formula, nor a path a link. Rows are
# written as they come: all cells at once would take a gigabyte for 200,000 clips.
OPTIONS = {"strings_to_formulas": False, "strings_to_urls": False, "constant_memory": True}

Row = dict[str, Any]


def workbook(summary: Row, clips: list[Row]) -> bytes:
    """Return the bytes of an .xlsx file, whose counts add up to the rates of the report.

    summary: the content of korean.json.
    clips: the rows of korean.jsonl, each with its counts.
    """
    scores = ({**row, **_origin(summary)} for row in _score_rows(summary["scores"]))
    sheets = {
        "scores": list(scores),
        "slices": list(_slice_rows(summary["groups"])),
        "confusions": list(_confusion_rows(summary["confusions"])),
        **learner_sheets(summary),
    }
    for number, start in enumerate(range(0, len(clips), MAX_ROWS), 1):
        name = "clips" if number == 1 else f"clips {number}"
        sheets[name] = clips[start : start + MAX_ROWS]
    return workbook_of(sheets)


def workbook_of(sheets: dict[str, list[Row]]) -> bytes:
    """Return the bytes of an .xlsx file with these sheets, by name."""
    # Imported here because --help need not wait for it.
    import xlsxwriter

    content = io.BytesIO()
    with xlsxwriter.Workbook(content, OPTIONS) as book:
        for name, rows in sheets.items():
            _add_sheet(book, name, rows)
    return content.getvalue()


def _add_sheet(book: Any, name: str, rows: list[Row]) -> None:
    """Add a sheet with a header; a cell stays empty where its value is None or missing."""
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    keys = dict.fromkeys(key for row in rows for key in row)
    # A list has no place in a cell.
    columns = [key for key in keys if key != "letters"]
    sheet.write_row(0, 0, columns, book.add_format({"bold": True}))
    for index, row in enumerate(rows, 1):
        sheet.write_row(index, 0, [_cell(row.get(column)) for column in columns])


def _origin(summary: Row) -> Row:
    """Columns that say which run a score comes from, so that rows of several files can be mixed."""
    return {
        "warning": summary["warning"],
        "corpus": summary["corpus"],
        "model": summary["model"],
        "manifest": summary["manifest"],
        "rule": summary["rule"],
        "draws_of": summary["intervals"]["drawn"],
        "clips_sha256": summary["checksums"]["clips"],
        "weights_sha256": summary["checksums"]["weights"],
    }


def _score_rows(scores: Row) -> Iterator[Row]:
    """A row for each score; `jamo onset` and `punctuation .` have rows of their own."""
    for name, score in scores.items():
        # A score has rates of its own, parts such as `jamo onset`, or both.
        parts = {f"{name} {part}": row for part, row in score.items() if isinstance(row, dict)}
        if "interval" in score:
            parts = {name: score, **parts}
        for title, row in parts.items():
            low, high = row["interval"] or (None, None)
            numbers = {key: n for key, n in row.items() if isinstance(n, int | float)}
            yield {"score": title, **numbers, "interval_low": low, "interval_high": high}


def _slice_rows(groups: Row) -> Iterator[Row]:
    """A row for each score of each slice."""
    for key, parts in groups.items():
        for value, part in parts.items():
            clips = {
                "n_clips": part["n_clips"],
                "few_clips": part["small"],
                "draws_of": part["drawn"],
            }
            for row in _score_rows(part["scores"]):
                yield {"slice": key, "value": value, **clips, **row}


def _confusion_rows(confusions: Row) -> Iterator[Row]:
    for group, positions in confusions.items():
        for position, rows in positions.items():
            for row in rows:
                clips = {"clips": " ".join(row["clips"])}
                yield {"first_language": group, "position": position, **row, **clips}


def _cell(value: Any) -> Any:
    """Make a text fit a cell of Excel: at most MAX_CELL_UNITS, with … where it was cut."""
    if not isinstance(value, str):
        return value
    # A lone surrogate, from undecodable bytes, has no place in XML; it is written as \udcc7.
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MAX_CELL_UNITS:
        return text
    return units[: 2 * (MAX_CELL_UNITS - 1)].decode("utf-16-le", "ignore") + "…"
