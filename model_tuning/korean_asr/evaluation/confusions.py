"""Count which jamo the model heard as another one, separately for onset, nucleus and coda."""

import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from korean_asr.metrics import (
    JAMO_POSITIONS,
    aligned_jamo,
    jamo_position,
    without_punctuation_and_spaces,
)

# Clip ids kept with each confusion.
N_CLIPS = 3
# Confusions kept for each position; rarer ones occur once or twice.
N_MOST = 30
# Korean stops and affricates have three phonation types, ㅅ has two. Learners confuse them first.
PHONATION = {"plain": "ㄱㄷㅂㅈㅅ", "tense": "ㄲㄸㅃㅉㅆ", "aspirated": "ㅋㅌㅍㅊ"}
# Letters that differ in phonation alone.
FAMILIES = ("ㄱㄲㅋ", "ㄷㄸㅌ", "ㅂㅃㅍ", "ㅈㅉㅊ", "ㅅㅆ")


def letter(jamo: str) -> str:
    """Write a conjoining jamo as a letter of its own: ㄱ for onset and coda alike, "" for ""."""
    if not jamo:
        return ""
    try:
        return unicodedata.lookup("HANGUL LETTER " + unicodedata.name(jamo).rpartition("SEONG ")[2])
    except (KeyError, ValueError):
        # Some old jamo have no such letter.
        return jamo


def kind_of(reference: str, hypothesis: str) -> str | None:
    """Name a confusion of phonation types, such as `plain heard as tense`; None for any other."""
    same_family = any(reference in family and hypothesis in family for family in FAMILIES)
    if not (reference and hypothesis and same_family):
        return None
    return f"{_phonation(reference)} heard as {_phonation(hypothesis)}"


def _phonation(consonant: str) -> str:
    return next(name for name, letters in PHONATION.items() if consonant in letters)


def clip_confusions(reference: str, hypothesis: str) -> tuple[Counter, Counter]:
    """Count the letters of one reference, and those that the model heard as another letter.

    Returns counts by (position, letter), and counts by (position, letter, heard letter).
    A dropped or added coda is a confusion too, since learners drop and add codas; "" is its missing
    letter. Other deletions and insertions are not, nor are two jamo of different positions.
    """
    said: Counter = Counter()
    heard: Counter = Counter()
    texts = (without_punctuation_and_spaces(text) for text in (reference, hypothesis))
    for (reference_jamo, hypothesis_jamo), n in aligned_jamo(*texts).items():
        position = jamo_position(reference_jamo or hypothesis_jamo)
        if position is None:
            continue
        if reference_jamo:
            said[position, letter(reference_jamo)] += n
        if _is_confusion(reference_jamo, hypothesis_jamo, position):
            heard[position, letter(reference_jamo), letter(hypothesis_jamo)] += n
    return said, heard


def _is_confusion(reference_jamo: str, hypothesis_jamo: str, position: str) -> bool:
    if reference_jamo == hypothesis_jamo:
        return False
    if reference_jamo and hypothesis_jamo:
        return jamo_position(hypothesis_jamo) == position
    return position == "coda"


@dataclass(slots=True)
class Tally:
    """Confusions of a group of clips, counted as by clip_confusions."""

    said: Counter = field(default_factory=Counter)
    heard: Counter = field(default_factory=Counter)
    # How often each clip holds a confusion, by confusion, then by clip id.
    clips: dict[tuple, Counter] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, clip_id: str, said: Counter, heard: Counter) -> None:
        """Add the counts of one clip."""
        self.said += said
        self.heard += heard
        for confusion, n in heard.items():
            self.clips[confusion][clip_id] += n

    def rows(self, position: str) -> list[dict[str, Any]]:
        """The N_MOST most frequent confusions of a position, most frequent first."""
        found = [(key, n) for key, n in most_frequent(self.heard) if key[0] == position]
        return [self._row(*key, n) for key, n in found[:N_MOST]]

    def _row(self, position: str, reference: str, hypothesis: str, n: int) -> dict[str, Any]:
        clips = most_frequent(self.clips[position, reference, hypothesis])
        return {
            "reference": reference,
            "hypothesis": hypothesis,
            "n": n,
            "of": self.said[position, reference],
            "kind": kind_of(reference, hypothesis),
            "clips": [clip_id for clip_id, _ in clips[:N_CLIPS]],
        }


def confusions(
    ids: list[str], languages: list[str | None], counted: list[tuple[Counter, Counter]]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Confusions of all clips ("all") and of each first language, by position.

    ids, languages, counted: id, first language, and clip_confusions of each clip.
    The keys of a row:
        reference, hypothesis: letters; "" for a missing coda.
        n, of: how often the letter was confused so, and how often the references have it.
        kind: see kind_of.
        clips: ids of the clips with the most such confusions.
    """
    if not ids:
        return {}
    everybody, groups = Tally(), defaultdict(Tally)
    for clip_id, language, (said, heard) in zip(ids, languages, counted, strict=True):
        everybody.add(clip_id, said, heard)
        if language:
            groups[language].add(clip_id, said, heard)
    tallies = {"all": everybody, **dict(sorted(groups.items()))}
    return {
        name: {position: tally.rows(position) for position in JAMO_POSITIONS}
        for name, tally in tallies.items()
    }


def most_frequent(counts: Counter) -> list[tuple[Any, int]]:
    """Keys and counts, most frequent first; equal counts in the order of their keys."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
