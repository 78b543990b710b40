"""The section about learners on the page of script 4: repairs, syllables, report cards."""

from typing import Any

from korean_asr import messages
from korean_asr.pages.clips import clips_shown, indices_of

Record = dict[str, Any]


def section(summary: Record, rows: list[Record]) -> Record:
    """What learners.html shows; empty where the summary says nothing of learners.

    summary: the content of a foreign.json. rows: the clips of the .jsonl beside it.
    Each clip that the page shows is named by its index in rows, so that a link finds it.
    """
    indices = indices_of(rows)
    found = {}
    if repair := summary.get("repair"):
        found["repair"] = _repair(summary, repair, indices)
    if syllables := summary.get("syllables"):
        found["syllables"] = _syllables(syllables, indices)
    if cards := summary.get("report_cards"):
        shown = [_card(card, indices) for card in cards.get("cards") or []]
        found["report_cards"] = cards | {"cards": shown}
    return found


def _repair(summary: Record, repair: Record, indices: dict[str, int]) -> Record:
    """Rates of everybody and of each first language with slips, and the slips by outcome."""
    groups = (summary.get("groups") or {}).get("first_language") or {}
    parts = {name: part.get("repair") or {} for name, part in groups.items()}
    slips = repair.get("slips") or {}
    return repair | {
        "parts": {name: part for name, part in parts.items() if part.get("n")},
        "slips": {
            name: [slip | {"clips": clips_shown([slip], indices)} for slip in slips[name]]
            for name in messages.OUTCOMES
            if slips.get(name)
        },
    }


def _syllables(found: Record, indices: dict[str, int]) -> Record:
    """The shares of everybody ("all") and of each first language, with their jamo and clips."""
    if found.get("threshold") is None:
        return found
    parts = {"all": found["all"], **found["first_languages"]}
    return found | {"parts": {name: _part(part, indices) for name, part in parts.items()}}


def _part(part: Record, indices: dict[str, int]) -> Record:
    positions = {
        position: [row | {"clips": clips_shown(row["clips"], indices)} for row in rows]
        for position, rows in part["positions"].items()
        if rows and position in messages.JAMO_POSITIONS
    }
    return part | {"positions": positions}


def _card(card: Record, indices: dict[str, int]) -> Record:
    sounds = [
        sound | {"clips": clips_shown([{"id": name} for name in sound["clips"]], indices)}
        for sound in card["sounds"]
    ]
    return card | {"sounds": sounds}
