"""Two models on the same clips, and one model on native and on learners' speech: what differs, and how sure that is."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .bootstrap import interval
from .errors import DataError
from .evaluation import SAMPLE_SEED, Evaluation
from .metrics import RULE, HitCounts
from .results import rescored

GAP_SCORES = ("cer_no_punctuation", "wer_no_punctuation", "cer_no_space", "jamo")


def differences(first: Evaluation, other: Evaluation) -> dict[str, dict[str, Any]]:
    """For each error rate, how much lower the other model's is (negative: higher), with its interval over the same draws.

    Paired bootstrap (Bisani and Ney 2004). Raises DataError where the two did not hear the same clips.
    """
    if [u.text for u in first.utterances] != [u.text for u in other.utterances]:
        raise DataError(
            f"{first.model} and {other.model} were not scored on the same clips, so they cannot be compared."
        )
    ours, theirs = first.drawn, other.drawn
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


def gap_to_korean(foreign: Evaluation, results: Path) -> dict[str, dict[str, Any]] | None:
    """How much more of learners' speech than of native speech is misheard by the same model, by the results of script 3.

    None where there are none, of these weights and this rule. The two samples are independent, so their draws are too.
    """
    for path in sorted(results.glob("korean*.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            same = summary["checksums"]["weights"] == foreign.facts.get("weights_sha256") and summary["rule"] == RULE
            if not (same and summary["corpus"] == "korean" and path.with_suffix(".jsonl").is_file()):
                continue
            korean = rescored(path.with_suffix(".jsonl"), "korean")
        except (OSError, ValueError, KeyError, TypeError, DataError):
            continue
        ours, theirs = foreign.drawn, korean.drawn
        rng = np.random.default_rng(SAMPLE_SEED)
        gaps = {}
        for name in GAP_SCORES:
            number = list(foreign.totals).index(name)
            rates = foreign.totals[name].rate, korean.totals[name].rate
            gaps[name] = {
                "korean": round(rates[1], 6),
                "foreign": round(rates[0], 6),
                "difference": round(rates[0] - rates[1], 6),
                "interval": interval(ours[:, number] - rng.permutation(theirs[:, number])),
            }
        return gaps
    return None
