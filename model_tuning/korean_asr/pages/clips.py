"""The clips of an evaluation as the data of its page: texts, times of letters, slices, pictures.

The page's script decodes them in texts.js.
"""

import json
import math
import re
from collections import Counter
from itertools import chain, count, islice, product
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup
from rapidfuzz.distance import Levenshtein

from korean_asr import messages
from korean_asr.letters import Letter, known_letters
from korean_asr.metrics import too_long
from korean_asr.pages.html import can_be_seen

N_SHOWN = 1_000  # characters of a clip that is too long to be aligned
# Times are whole hundredths of a second, scores hundredths, posteriors thousandths.
TIME_UNIT, SCORE_UNIT, POSTERIOR_UNIT = 100, 100, 1000
MAX_CODED = 1e6  # seconds, or a score; a file of another system may hold any number
# Rows of a model, with its name
OtherModel = tuple[str, list[dict[str, Any]]]


def clip_data(
    rows: list[dict[str, Any]],
    audio: list[str | None],
    others: list[OtherModel],
    pictures: dict[int, dict[str, Any]],
) -> dict[str, Any]:
    """Return what the page's script reads about the clips; see evaluation_page."""
    return {
        "columns": _columns(rows, audio),
        "slices": _slice_columns(rows, slices_of(rows)),
        "others": [_other(name, of_other, rows) for name, of_other in others],
        "pictures": {str(index): picture for index, picture in pictures.items()},
    }


def _columns(rows: list[dict[str, Any]], audio: list[str | None]) -> dict[str, list[Any]]:
    """Return the clips as columns.

    Rows would repeat each name for each clip: with 3,000 clips that is a quarter of the page.
    """
    return {
        "id": [str(row.get("id", "")) for row in rows],
        "audio": audio,
        "duration": [number(row.get("duration"), 2) for row in rows],
        "cer": [number(row.get("cer"), 4) for row in rows],
        "wer": [number(row.get("wer"), 4) for row in rows],
        "confidence": [number(row.get("confidence"), 3) for row in rows],
        "problem": [_known(row, "problem") for row in rows],
        "pieces": [_pieces(row) for row in rows],
        "letters": [coded_letters(row) for row in rows],
    }


def _other(name: str, of_other: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what another model wrote for the same clips, in the same order."""
    texts = [row | {"text": mine.get("text")} for row, mine in zip(of_other, rows, strict=True)]
    return {
        "name": name,
        "cer": [number(row.get("cer"), 4) for row in texts],
        "pieces": [_pieces(row) for row in texts],
        "letters": [coded_letters(row) for row in texts],
    }


def model_letters(n: int) -> list[str]:
    """Return what names n models in the table of clips: A to Z, then AA, AB, as spreadsheets do."""
    lengths = (product(ascii_uppercase, repeat=length) for length in count(1))
    return ["".join(letters) for letters in islice(chain.from_iterable(lengths), n)]


# Links to clips


def indices_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return id -> index of each clip; of clips with one id the first one's."""
    return {str(row.get("id", "")): index for index, row in reversed(list(enumerate(rows)))}


def clips_shown(clips: list[dict[str, Any]], indices: dict[str, int]) -> list[dict[str, Any]]:
    """Add `index` to the clips that the page shows, and leave out the others.

    clips: records with the `id` of a clip. indices: of indices_of().
    """
    known = [clip for clip in clips if str(clip["id"]) in indices]
    return [clip | {"index": indices[str(clip["id"])]} for clip in known]


# Texts and their letters


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


def _pieces(row: dict[str, Any]) -> list[str | list[str]]:
    return aligned(row.get("text") or "", row.get("pred_text") or "")


def coded_letters(row: dict[str, Any]) -> list[list[int | None]] | None:
    """Return the letters of the reference and of the hypothesis as numbers; None where unknown.

    The page has the characters in the texts, so each letter is three numbers: hundredths of a
    second from the end of the letter before it to its start, hundredths from there to its end, and
    its score in hundredths or its posterior in thousandths. A letter without them is one null.
    """
    texts = row.get("text") or "", row.get("pred_text") or ""
    letters = known_letters(row.get("letters"), *texts)
    if letters is None or too_long(*texts) or not any(letters.values()):
        return None
    return [
        _codes(letters["reference"], SCORE_UNIT),
        _codes(letters["hypothesis"], POSTERIOR_UNIT),
    ]


def _codes(letters: list[Letter], unit: int) -> list[int | None]:
    codes: list[int | None] = []
    end = 0
    for _, start_s, end_s, value in letters:
        known = start_s is not None and 0 <= start_s <= end_s <= MAX_CODED
        if not known or abs(value) > MAX_CODED:
            codes.append(None)
            continue
        first, last = round(TIME_UNIT * start_s), round(TIME_UNIT * end_s)
        codes += [first - end, last - first, round(unit * value)]
        end = last
    return codes


# Slices


def slices_of(rows: list[dict[str, Any]]) -> dict[str, Counter[str]]:
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


def number(value: Any, n_digits: int) -> float | None:
    """Round a number; return None for anything else, and for NaN and infinity."""
    known = isinstance(value, int | float) and math.isfinite(value)
    return round(value, n_digits) if known else None


# JSON in a page


def script_json(value: Any) -> Markup:
    """Write JSON for a <script>, with escape sequences for "<" and for invisible characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(re.sub("[^ -~가-힣]|[<\x7f]", lambda match: _escape_sequence(match[0]), text))


def _escape_sequence(character: str) -> str:
    if can_be_seen(character) and character != "<":
        return character
    return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())
