"""The results of one model on one manifest as a page: scores, charts, confusions, every clip."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from korean_asr import messages
from korean_asr.pages import learners
from korean_asr.pages.clips import (
    OtherModel,
    clip_data,
    clips_shown,
    indices_of,
    model_letters,
    number,
    script_json,
    slices_of,
)
from korean_asr.pages.html import page, percent

N_CONFUSIONS = 10  # of one position, in the list beside its map


def evaluation_page(
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    audio: list[str | None],
    embedded: bool = False,
    others: Sequence[OtherModel] = (),
    pictures: Mapping[int, dict[str, Any]] = MappingProxyType({}),
    experiments: Any = None,
) -> str:
    """Render one self-contained page about a korean.json or foreign.json, to be written as UTF-8.

    summary: the content of that file; the page leaves out what it lacks.
    rows: the clips of the .jsonl beside it.
    audio: the address for each clip's player, or None.
    embedded: the addresses are data: URLs, so the page says that the corpus' licence applies.
    others: (name, rows) of each other model that was scored on the same clips, in the same order.
    pictures: index of a clip -> what it sounds like; see evaluation/pictures.py.
    experiments: what compares several models, or None: notes, and blocks, each with title, columns,
        rows and notes.
    """
    data = clip_data(rows, audio, list(others), dict(pictures))
    return page(
        "evaluation.html",
        summary=summary,
        n_rows=len(rows),
        leading=_leading(summary),
        confusions=_confusions(summary.get("confusions") or {}, rows),
        has_confidence=any(number(row.get("confidence"), 3) is not None for row in rows),
        has_letters=any(data["columns"]["letters"]),
        learners=learners.section(summary, rows),
        others=[name for name, _ in others],
        model_letters=model_letters(1 + len(others)),
        slices=slices_of(rows),
        has_pictures=bool(pictures),
        data=script_json(data),
        embedded=embedded,
        experiments=experiments,
    )


def experiments_page(experiments: Any) -> str:
    """Render a page that compares several models; see evaluation_page."""
    return page("experiments.html", experiments=experiments)


def _leading(summary: dict[str, Any]) -> str:
    """The score that leads the slices; CER where one of them lacks the corpus's own."""
    score = messages.LEADING.get(summary.get("corpus"), "cer")
    groups = (summary.get("groups") or {}).values()
    scored = [part.get("scores") or {} for parts in groups for part in (parts or {}).values()]
    return score if all(score in scores for scores in scored) else "cer"


# Confusions


def _confusions(
    confusions: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return first language -> a heat map for each position; all speakers come first."""
    indices = indices_of(rows)
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
        "most": [
            pair | {"clips": clips_shown([{"id": id} for id in pair.get("clips") or []], indices)}
            for pair in pairs[:N_CONFUSIONS]
        ],
    }


def _alphabetical(jamo: str) -> tuple[bool, str]:
    """Sort nothing ("") first, then jamo as a dictionary does, then other letters."""
    is_other = jamo != "" and not "ㄱ" <= jamo <= "ㅣ"
    return (is_other, jamo)
