"""The results of one model on one manifest as a page: scores, charts, confusions, every clip."""

import json
import math
import re
from collections import Counter
from typing import Any

from markupsafe import Markup
from rapidfuzz.distance import Levenshtein

from korean_asr import messages
from korean_asr.metrics import too_long
from korean_asr.pages import learners
from korean_asr.pages.html import can_be_seen, page, percent

N_SHOWN = 1_000  # characters of a clip that is too long to be aligned
N_CONFUSIONS = 10  # of one position, in the list beside its map


def evaluation_page(
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    audio: list[str | None],
    embedded: bool = False,
    experiments: Any = None,
) -> str:
    """Render one self-contained page about a korean.json or foreign.json, to be written as UTF-8.

    summary: the content of that file; the page leaves out what it lacks.
    rows: the clips of the .jsonl beside it.
    audio: the address for each clip's player, or None.
    embedded: the addresses are data: URLs, so the page says that the corpus' licence applies.
    experiments: what compares several models, or None: notes, and blocks, each with title, columns,
        rows and notes.
    """
    slices = _slices(rows)
    return page(
        "evaluation.html",
        summary=summary,
        n_rows=len(rows),
        confusions=_confusions(summary.get("confusions") or {}, rows),
        has_confidence=any(_number(row.get("confidence"), 3) is not None for row in rows),
        learners=learners.section(summary, rows),
        slices=slices,
        data=_json({"columns": _columns(rows, audio), "slices": _slice_columns(rows, slices)}),
        embedded=embedded,
        experiments=experiments,
    )


def experiments_page(experiments: Any) -> str:
    """Render a page that compares several models; see evaluation_page."""
    return page("experiments.html", experiments=experiments)


# Clips


def aligned(reference: str, hypothesis: str) -> list[str | list[str]]:
    """Cut both texts into pieces, in order, by the alignment that CER counts.

    A piece is a string where the texts are equal, else [reference, hypothesis]: equally long where
    characters are substituted; ["가", ""] is a deletion, ["", "가"] an insertion.
    The start of the reference of a clip that is too long, as a deletion.
    """
    if too_long(reference, hypothesis):
        return [[reference[:N_SHOWN] + "…" * (len(reference) > N_SHOWN), ""]]
    return [
        reference[i:j] if kind == "equal" else [reference[i:j], hypothesis[k:m]]
        for kind, i, j, k, m in Levenshtein.opcodes(reference, hypothesis)
    ]


def _columns(rows: list[dict[str, Any]], audio: list[str | None]) -> dict[str, list[Any]]:
    """Return the clips as columns for the page's script.

    Rows would repeat each name for each clip: with 3,000 clips that is a quarter of the page.
    """
    return {
        "id": [str(row.get("id", "")) for row in rows],
        "audio": audio,
        "duration": [_number(row.get("duration"), 2) for row in rows],
        "cer": [_number(row.get("cer"), 4) for row in rows],
        "wer": [_number(row.get("wer"), 4) for row in rows],
        "confidence": [_number(row.get("confidence"), 3) for row in rows],
        "problem": [_known(row, "problem") for row in rows],
        "pieces": [aligned(row.get("text") or "", row.get("pred_text") or "") for row in rows],
    }


def _slices(rows: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Return field -> value -> number of clips, for the fields that clips are filtered by."""
    counts = {}
    for key in messages.SLICES:
        values = sorted(value for row in rows if (value := _known(row, key)) is not None)
        if values and key != "duration":
            counts[key] = Counter(values)
    return counts


def _slice_columns(rows: list[dict[str, Any]], slices: dict[str, Counter[str]]) -> dict[str, Any]:
    """Return field -> its values, and the index of each clip's value; -1 where none is known."""
    columns = {}
    for key, counts in slices.items():
        indices = {value: index for index, value in enumerate(counts)}
        columns[key] = {
            "values": list(counts),
            "clips": [indices.get(_known(row, key), -1) for row in rows],
        }
    return columns


def _known(row: dict[str, Any], key: str) -> str | None:
    value = row.get(key)
    return None if value is None or value == "" else str(value)


def _number(value: Any, n_digits: int) -> float | None:
    """Round a number; return None for anything else, and for NaN and infinity."""
    known = isinstance(value, int | float) and math.isfinite(value)
    return round(value, n_digits) if known else None


def _json(value: Any) -> Markup:
    """Write JSON for a <script>, with escape sequences for "<" and for invisible characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(re.sub("[^ -~가-힣]|[<\x7f]", lambda match: _escape_sequence(match[0]), text))


def _escape_sequence(character: str) -> str:
    if can_be_seen(character) and character != "<":
        return character
    return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())


# Confusions


def _confusions(
    confusions: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return first language -> a heat map for each position; all speakers come first."""
    # If ids repeat, take the first clip.
    indices = {str(row.get("id", "")): i for i, row in reversed(list(enumerate(rows)))}
    return {
        name: [
            {"position": position, **_heat_map(confusions[name][position], indices)}
            for position in messages.JAMO_POSITIONS
            if confusions[name].get(position)
        ]
        for name in sorted(confusions, key=lambda name: name != "all")
    }


def _heat_map(pairs: list[dict[str, Any]], indices: dict[str, int]) -> dict[str, Any]:
    """Arrange confused pairs in rows and columns, and list the most frequent with their clips."""
    references = sorted({pair["reference"] for pair in pairs}, key=_alphabetical)
    hypotheses = sorted({pair["hypothesis"] for pair in pairs}, key=_alphabetical)
    cells = {(pair["reference"], pair["hypothesis"]): pair for pair in pairs}
    return {
        "columns": hypotheses,
        "rows": [(jamo, [cells.get((jamo, heard)) for heard in hypotheses]) for jamo in references],
        "strongest": max(percent(pair["n"], pair["of"]) for pair in pairs) or 1,
        "most": [pair | {"clips": _clips(pair, indices)} for pair in pairs[:N_CONFUSIONS]],
    }


def _clips(pair: dict[str, Any], indices: dict[str, int]) -> list[dict[str, Any]]:
    """Return id and index of a pair's clips that the page shows."""
    ids = map(str, pair.get("clips") or [])
    return [{"id": id, "index": indices[id]} for id in ids if id in indices]


def _alphabetical(jamo: str) -> tuple[bool, str]:
    """Sort nothing ("") first, then jamo as a dictionary does, then other letters."""
    is_other = jamo != "" and not "ㄱ" <= jamo <= "ㅣ"
    return (is_other, jamo)
