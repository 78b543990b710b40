"""Two models on the same clips, and one model on native and on learners' speech: what differs, and how sure that is."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from korean_asr.errors import DataError
from korean_asr.evaluation.intervals import drawn_rates, interval
from korean_asr.evaluation.rescoring import rescored
from korean_asr.evaluation.scores import SAMPLE_SEED, Evaluation
from korean_asr.metrics import RULE, HitCounts

GAP_SCORES = ("cer_no_punctuation", "wer_no_punctuation", "cer_no_space", "jamo")


def differences(first: Evaluation, other: Evaluation) -> dict[str, dict[str, Any]]:
    """For each error rate, how much lower the other model's is (negative: higher), with its interval over the same draws.

    Paired bootstrap (Bisani and Ney 2004): both meet the draws of the one that knows speakers. Raises DataError where the two
    did not hear the same clips.
    """
    if not _same_clips(first, other):
        raise DataError(
            f"{first.model} and {other.model} were not scored on the same clips, so they cannot be compared."
        )
    units = first.units if first.units.resampled == "speakers" else other.units
    ours, theirs = (drawn_rates(evaluation.ratios, units) for evaluation in (first, other))
    found = {}
    for number, name in enumerate(first.totals):
        if isinstance(first.totals[name], HitCounts) or " " in name:
            continue
        bounds = interval(ours[:, number] - theirs[:, number])
        found[name] = {
            "lower_by": round(first.totals[name].rate - other.totals[name].rate, 6),
            "interval": bounds,
            "decided": bool(bounds and (bounds[0] > 0 or bounds[1] < 0)),
        }
    return found


def _same_clips(first: Evaluation, other: Evaluation) -> bool:
    """By texts, and by ids where both files of results bring some of their own: read-aloud corpora repeat their sentences."""
    if [u.text for u in first.utterances] != [u.text for u in other.utterances]:
        return False
    ids = [[u.id for u in evaluation.utterances] for evaluation in (first, other)]
    numbered = [
        str(number) for number in range(1, len(ids[0]) + 1)
    ]  # by rescored(), for a file without ids
    return ids[0] == ids[1] or numbered in ids


def gap_to_korean(foreign: Evaluation, folders: list[Path]) -> dict[str, Any] | None:
    """How much more of learners' speech than of native speech is misheard by the same model, by the results of script 3.

    {"korean": what it was measured on, "scores": ...}. None where no folder has results of these weights and this rule; those
    with clips of the training data say nothing. The two samples are independent, so their draws are too.
    """
    for path in (path for folder in folders for path in sorted(folder.glob("korean*.json"))):
        korean = _clean_korean_results(path, foreign.facts.get("weights_sha256"))
        if korean is None:
            continue
        rng = np.random.default_rng(SAMPLE_SEED)
        order = rng.permutation(
            len(korean.drawn)
        )  # a pair of draws of one number would not be independent
        gaps = {}
        for name in GAP_SCORES:
            number = list(foreign.totals).index(name)
            rates = foreign.totals[name].rate, korean.totals[name].rate
            gaps[name] = {
                "korean": round(rates[1], 6),
                "foreign": round(rates[0], 6),
                "difference": round(rates[0] - rates[1], 6),
                "interval": interval(foreign.drawn[:, number] - korean.drawn[order, number]),
            }
        return {
            "korean": {"manifest": korean.manifest, "n_clips": len(korean.utterances)},
            "scores": gaps,
        }
    return None


def _clean_korean_results(path: Path, weights_sha256: str | None) -> Evaluation | None:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        same = (
            summary["checksums"]["weights"] == weights_sha256 is not None
            and summary["rule"] == RULE
        )
        if not same or summary["corpus"] != "korean" or summary["warning"]:
            return None
        korean = rescored(path.with_suffix(".jsonl"), "korean")
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None
    return korean if korean.facts else None  # none: the two files are not of one run
