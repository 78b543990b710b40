"""Compare evaluations: two models on the same clips, one model on native and foreign speakers."""

from typing import Any

import numpy as np

from korean_asr.errors import DataError
from korean_asr.evaluation.intervals import Units, drawn_rates, interval
from korean_asr.evaluation.scores import Evaluation
from korean_asr.metrics import ERROR_RATES
from korean_asr.rates import stored_rate

GAP_SCORES = ("cer_no_punctuation", "wer_no_punctuation", "cer_no_space", "jamo")
GAP_SEED = 42


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


def shared_units(first: Evaluation, other: Evaluation) -> Units:
    """What the draws of a comparison take: speakers if either evaluation draws speakers."""
    return first.units if first.units.resampled == "speakers" else other.units


def comparison(first: Evaluation, other: Evaluation) -> dict[str, Any]:
    """The differences of another model from the first, and what was drawn, as JSON holds them."""
    return {
        "model": first.model,
        "drawn": shared_units(first, other).drawn,
        "differences": differences(first, other),
    }


def differences(first: Evaluation, other: Evaluation) -> dict[str, dict[str, Any]]:
    """How much lower each error rate of the other model is, with the interval of the difference.

    A negative value means higher. Both evaluations must be of the same clips.
    Paired bootstrap (Bisani and Ney 2004): both models get the same draws, of shared_units().
    """
    units = shared_units(first, other)
    drawn = [drawn_rates(evaluation.ratios, units) for evaluation in (first, other)]
    found = {}
    for column, name in enumerate(first.totals):
        if name not in ERROR_RATES:
            continue
        bounds = interval(drawn[0][:, column] - drawn[1][:, column])
        found[name] = {
            "lower_by": stored_rate(first.totals[name].rate - other.totals[name].rate),
            "interval": bounds,
            "decided": bool(bounds and (bounds[0] > 0 or bounds[1] < 0)),
        }
    return found


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
