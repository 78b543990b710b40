"""Compare evaluations: two models on the same clips, one model on native and foreign speakers."""

from collections import Counter
from typing import Any

import numpy as np

from korean_asr.errors import DataError
from korean_asr.evaluation.intervals import Units, drawn_rates, interval
from korean_asr.evaluation.repair import repair_ratios, slips_of
from korean_asr.evaluation.scores import Evaluation
from korean_asr.metrics import ERROR_RATES
from korean_asr.rates import stored_rate

GAP_SCORES = ("cer_no_punctuation", "wer_no_punctuation", "cer_no_space", "jamo")
GAP_SEED = 42
# The error rates beside the repair rate.
SIDE_BY_SIDE = ("cer", "cer_no_punctuation")


def same_clips(first: Evaluation, other: Evaluation) -> bool:
    """Whether two evaluations are of the same clips, by texts and ids.

    Texts alone are not enough, since corpora of read speech repeat sentences. But clips of a file
    without ids are numbered from 1, and then only the texts are compared.
    """
    if [u.text for u in first.utterances] != [u.text for u in other.utterances]:
        return False
    ids = [[u.id for u in evaluation.utterances] for evaluation in (first, other)]
    numbered = [str(number) for number in range(1, len(ids[0]) + 1)]
    return ids[0] == ids[1] or numbered in ids


def refuse_different_clips(evaluations: list[Evaluation]) -> None:
    """Raise DataError unless all evaluations are of the same clips."""
    first = evaluations[0]
    for other in evaluations[1:]:
        if not same_clips(first, other):
            raise DataError(
                f"{first.model} and {other.model} were not scored on the same clips, "
                "so they cannot be compared. · 같은 발화로 평가한 결과만 비교할 수 있습니다."
            )


def shared_units(first: Units, other: Units) -> Units:
    """What the draws of a comparison take: speakers if either of two evaluations draws speakers."""
    return first if first.resampled == "speakers" else other


def names_apart(names: list[str]) -> list[str]:
    """The names of models, numbered where two files of results, or two folders, have one name."""
    if max(Counter(names).values(), default=0) < 2:
        return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]


def comparison(first: Evaluation, other: Evaluation) -> dict[str, Any]:
    """The differences of another model from the first, and what was drawn, as JSON holds them.

    `repair_rate` is that of the repair rate, with what it drew; it is there only where learners'
    clips have slips.
    """
    compared = {
        "model": first.model,
        "drawn": shared_units(first.units, other.units).drawn,
        "differences": differences(first, other),
    }
    repair = repair_difference(first, other) if first.corpus == "foreign" else None
    return compared | ({"repair_rate": repair} if repair else {})


def differences(first: Evaluation, other: Evaluation) -> dict[str, dict[str, Any]]:
    """How much lower each error rate of the other model is, with the interval of the difference.

    A negative value means higher. Both evaluations must be of the same clips.
    Paired bootstrap (Bisani and Ney 2004): both models get the same draws, of shared_units().
    """
    units = shared_units(first.units, other.units)
    drawn = [drawn_rates(evaluation.ratios, units) for evaluation in (first, other)]
    found = {}
    for column, name in enumerate(first.totals):
        if name not in ERROR_RATES:
            continue
        lower_by = first.totals[name].rate - other.totals[name].rate
        found[name] = _difference(lower_by, drawn[0][:, column] - drawn[1][:, column])
    return found


def _difference(lower_by: float, drawn: np.ndarray) -> dict[str, Any]:
    """A difference of two rates; drawn: the same in each draw, (N_DRAWS,)."""
    bounds = interval(drawn)
    decided = bool(bounds and (bounds[0] > 0 or bounds[1] < 0))
    return {"lower_by": stored_rate(lower_by), "interval": bounds, "decided": decided}


def repair_difference(first: Evaluation, other: Evaluation) -> dict[str, Any] | None:
    """How much lower the repair rate of the other model is, as differences() has it, and `drawn`.

    The lower rate is the better listener's. The draws take the clips in which either has slips.
    None where one of them has none, as in a file of results without prompts.
    """
    found = [slips_of(evaluation) for evaluation in (first, other)]
    clips = [index for index in range(len(found[0])) if any(slips[index].slips for slips in found)]
    ratios = [repair_ratios(slips, clips) for slips in found] if clips else []
    sums = [ratio.sum(axis=(0, 1)).tolist() for ratio in ratios]
    if not clips or not all(n_slips for _, n_slips in sums):
        return None
    units = shared_units(first.units_among(clips), other.units_among(clips))
    drawn = [drawn_rates(ratio, units)[:, 0] for ratio in ratios]
    rates = [n_repaired / n_slips for n_repaired, n_slips in sums]
    return {**_difference(rates[0] - rates[1], drawn[0] - drawn[1]), "drawn": units.drawn}


def side_by_side(
    summaries: list[dict[str, Any]], comparisons: list[dict[str, Any] | None]
) -> list[dict[str, Any]]:
    """What tells a listener from a corrector, of each of several models: CER and repair rate.

    summaries: of learners, with `repair`. comparisons: comparison() of the same model and each;
    None for that model itself. Returns a row a model: `cer`, `cer_no_punctuation`, `repair`, and
    the `differences` of these; no row where no model has slips.
    """
    if not any(summary["repair"]["n"] for summary in summaries):
        return []
    names = names_apart([summary["model"] for summary in summaries])
    rows = []
    for name, summary, compared in zip(names, summaries, comparisons, strict=True):
        scores = {score: summary["scores"][score] for score in SIDE_BY_SIDE}
        repair = {key: value for key, value in summary["repair"].items() if key != "slips"}
        known = {**compared["differences"], **compared} if compared else {}
        found = {key: known[key] for key in (*SIDE_BY_SIDE, "repair_rate") if key in known}
        rows.append({"model": name, **scores, "repair": repair, "differences": found})
    return rows


def gap(foreign: Evaluation, korean: Evaluation) -> dict[str, Any]:
    """How much higher the same model's error rates are on foreign than on Korean speakers.

    Returns {"korean": manifest, number of clips and what was drawn, "scores": the gap in each of
    GAP_SCORES}. The two samples are independent.
    """
    # Shuffled, because equal seeds would pair the draws of the two samples.
    order = np.random.default_rng(GAP_SEED).permutation(len(korean.drawn))
    gaps = {}
    for name in GAP_SCORES:
        column = list(foreign.totals).index(name)
        foreign_rate, korean_rate = foreign.totals[name].rate, korean.totals[name].rate
        gaps[name] = {
            "korean": stored_rate(korean_rate),
            "foreign": stored_rate(foreign_rate),
            "difference": stored_rate(foreign_rate - korean_rate),
            "interval": interval(foreign.drawn[:, column] - korean.drawn[order, column]),
        }
    return {
        "korean": {
            "manifest": korean.manifest,
            "n_clips": len(korean.utterances),
            "drawn": korean.units.drawn,
        },
        "scores": gaps,
    }
