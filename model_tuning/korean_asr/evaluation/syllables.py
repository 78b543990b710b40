"""Find the syllables of learners that a listener hears less well than 95 % of natives' syllables.

The listener's score of a syllable is defined in evaluation/README.md.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from korean_asr.evaluation.confusions import letter
from korean_asr.evaluation.intervals import drawn_rates, interval
from korean_asr.evaluation.scores import Evaluation
from korean_asr.metrics import JAMO_POSITIONS

# The share of natives' syllables below the threshold.
NATIVE_SHARE = 0.05
# With fewer syllables of natives, five or less lie below it, and the threshold is chance.
MIN_NATIVE_SYLLABLES = 100
# Below this number of natives' syllables with a jamo, their share for it says little.
MIN_NATIVE_JAMO = 20
# Rows of each position, and the clips of a row.
N_MOST, N_CLIPS = 10, 3
# Why there are no shares.
NO_NATIVES, FEW_NATIVES, NO_SCORES = "no natives", "few natives", "no scores"

# A syllable is 0xAC00 + 588 onset + 28 nucleus + coda (The Unicode Standard, section 3.12).
FIRST_SYLLABLE, N_SYLLABLES = 0xAC00, 11_172
N_NUCLEI_AND_CODAS, N_CODAS = 588, 28
N_JAMO = {"onset": 19, "nucleus": 21, "coda": 28}
# The conjoining jamo before the first coda stands for no coda.
FIRST_JAMO = {"onset": 0x1100, "nucleus": 0x1161, "coda": 0x11A7}


@dataclass(frozen=True, slots=True)
class Syllables:
    """The Hangul syllables of all references that have a listener's score.

    codes: (n,) int, 0 is 가. scores, starts, ends: (n,) float; times in seconds.
    clips: (n,) int, the index of each syllable's clip.
    n_unknown: (n_clips,) int, syllables of each reference without a score.
    """

    codes: np.ndarray
    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    clips: np.ndarray
    n_unknown: np.ndarray

    def jamo(self, position: str) -> np.ndarray:
        """The number of each syllable's onset, nucleus or coda; (n,) int, coda 0 is none."""
        if position == "onset":
            return self.codes // N_NUCLEI_AND_CODAS
        if position == "nucleus":
            return self.codes % N_NUCLEI_AND_CODAS // N_CODAS
        return self.codes % N_CODAS


def _is_syllable(character: str) -> bool:
    return 0 <= ord(character) - FIRST_SYLLABLE < N_SYLLABLES


def syllables_of(evaluation: Evaluation) -> Syllables:
    """Collect the syllables from the letters of an evaluation."""
    found: list[tuple[int, float, float, float, int]] = []
    n_unknown = []
    clips = zip(evaluation.utterances, evaluation.hypotheses, strict=True)
    for index, (utterance, hypothesis) in enumerate(clips):
        n_before = len(found)
        for character, start, end, score in (hypothesis.letters or {}).get("reference", ()):
            if score is not None and _is_syllable(character):
                found.append((ord(character) - FIRST_SYLLABLE, score, start, end, index))
        n_unknown.append(sum(map(_is_syllable, utterance.text)) - len(found) + n_before)
    codes, scores, starts, ends, clip = np.array(found or np.empty((0, 5)), np.float64).T
    return Syllables(
        codes.astype(np.intp), scores, starts, ends, clip.astype(np.intp), np.array(n_unknown)
    )


def threshold(scores: np.ndarray) -> float:
    """The highest score below which at most NATIVE_SHARE of the scores lie; (n,) float, n > 0."""
    return float(np.sort(scores)[int(NATIVE_SHARE * len(scores))])


def syllable_shares(
    evaluation: Evaluation, natives: Evaluation | None, languages: dict[str, list[int]]
) -> dict[str, Any]:
    """The shares of syllables below the natives' threshold, as JSON holds them.

    natives: the same model's evaluation on Korean speakers.
    languages: indices of the clips of each first language.
    Without shares, `threshold` is None and `unknown` says why.
    """
    own = syllables_of(evaluation)
    if not len(own.codes):
        return {"threshold": None, "unknown": NO_SCORES}
    if natives is None:
        return {"threshold": None, "unknown": NO_NATIVES}
    yardstick = syllables_of(natives)
    if len(yardstick.codes) < MIN_NATIVE_SYLLABLES:
        return {"threshold": None, "unknown": FEW_NATIVES}
    limit = threshold(yardstick.scores)
    below = int((yardstick.scores < limit).sum())
    shares = _Shares(evaluation, own, own.scores < limit, _native_shares(yardstick, limit))
    return {
        "threshold": limit,
        "natives": {
            "n": len(yardstick.codes),
            "below": below,
            "share": round(below / len(yardstick.codes), 6),
            "n_unknown": int(yardstick.n_unknown.sum()),
            "n_clips": len(natives.utterances),
            "manifest": natives.manifest,
        },
        "all": shares.part(range(len(evaluation.utterances))),
        "first_languages": {name: shares.part(indices) for name, indices in languages.items()},
    }


def _native_shares(natives: Syllables, limit: float) -> dict[str, np.ndarray]:
    """Natives' syllables with each jamo: below the threshold, and all; (2, n_jamo) a position."""
    return {
        position: np.stack(
            [
                _counts(natives.jamo(position)[natives.scores < limit], position),
                _counts(natives.jamo(position), position),
            ]
        )
        for position in JAMO_POSITIONS
    }


def _counts(jamo: np.ndarray, position: str) -> np.ndarray:
    return np.bincount(jamo, minlength=N_JAMO[position])


@dataclass(frozen=True, slots=True)
class _Shares:
    """Learners' syllables, which of them are below the threshold, and natives' counts by jamo."""

    evaluation: Evaluation
    syllables: Syllables
    is_below: np.ndarray
    natives: dict[str, np.ndarray]

    def part(self, indices: Sequence[int]) -> dict[str, Any]:
        """The share of some clips, and the jamo that most of these syllables hold."""
        n_clips = len(self.evaluation.utterances)
        counts = [
            np.bincount(clips, minlength=n_clips)[list(indices)]
            for clips in (self.syllables.clips[self.is_below], self.syllables.clips)
        ]
        ratios = np.stack(counts, axis=-1)[:, None, :].astype(np.float64)
        n_below, n = (int(count.sum()) for count in counts)
        units = self.evaluation.units_among(indices)
        chosen = np.zeros(n_clips, bool)
        chosen[list(indices)] = True
        chosen = chosen[self.syllables.clips]
        return {
            "n": n,
            "below": n_below,
            "share": round(n_below / n, 6) if n else None,
            "interval": interval(drawn_rates(ratios, units)[:, 0]),
            "drawn": units.drawn,
            "n_unknown": int(self.syllables.n_unknown[list(indices)].sum()),
            "positions": {position: self._rows(position, chosen) for position in JAMO_POSITIONS},
        }

    def _rows(self, position: str, chosen: np.ndarray) -> list[dict[str, Any]]:
        """The N_MOST jamo with most syllables below the threshold beyond what is usual.

        Usual is natives' share of the same jamo, or the share of the part where it is higher:
        frequent jamo would come first otherwise.
        chosen: (n,) bool, the syllables of the part.
        """
        jamo = self.syllables.jamo(position)
        of = _counts(jamo[chosen], position)
        below = _counts(jamo[chosen & self.is_below], position)
        native_below, native_of = self.natives[position]
        known = native_of >= MIN_NATIVE_JAMO
        usual = np.where(known, native_below / np.maximum(native_of, 1), NATIVE_SHARE)
        excess = below - np.maximum(usual, below.sum() / max(of.sum(), 1)) * of
        order = [number for number in np.argsort(-excess, kind="stable") if below[number]][:N_MOST]
        lowest = self._lowest(jamo, chosen & self.is_below & np.isin(jamo, order))
        return [
            {
                "jamo": _written(position, number),
                "n": int(below[number]),
                "of": int(of[number]),
                "natives": {"n": int(native_below[number]), "of": int(native_of[number])},
                "clips": lowest[number],
            }
            for number in order
        ]

    def _lowest(self, jamo: np.ndarray, chosen: np.ndarray) -> dict[int, list[dict[str, Any]]]:
        """The lowest syllables of each jamo, each of another clip."""
        indices = np.flatnonzero(chosen)
        indices = indices[np.argsort(self.syllables.scores[indices], kind="stable")]
        lowest: dict[int, dict[int, int]] = defaultdict(dict)
        numbers, clips = jamo[indices].tolist(), self.syllables.clips[indices].tolist()
        for index, number, clip in zip(indices.tolist(), numbers, clips, strict=True):
            found = lowest[number]
            if len(found) < N_CLIPS:
                found.setdefault(clip, index)
        return {
            number: [self._example(index) for index in found.values()]
            for number, found in lowest.items()
        }

    def _example(self, index: int) -> dict[str, Any]:
        own = self.syllables
        return {
            "id": self.evaluation.utterances[own.clips[index]].id,
            "syllable": chr(FIRST_SYLLABLE + own.codes[index]),
            "start": float(own.starts[index]),
            "end": float(own.ends[index]),
            "score": float(own.scores[index]),
        }


def _written(position: str, number: int) -> str:
    """A jamo as a letter of its own; "" for no coda."""
    return letter(chr(FIRST_JAMO[position] + number)) if position != "coda" or number else ""
