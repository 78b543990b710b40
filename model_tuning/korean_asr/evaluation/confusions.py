"""What a Korean listener hears instead: jamo that are heard as another, apart for onset, nucleus and coda."""

import unicodedata
from collections import Counter, defaultdict
from typing import Any

from korean_asr.manifest import Utterance
from korean_asr.metrics import (
    JAMO_POSITIONS,
    aligned_jamo,
    jamo_position,
    without_punctuation_and_spaces,
)

N_CLIPS = 3  # named for each confusion
N_MOST = 30  # confusions kept for each position: the rest were heard once or twice
# The three ways of Korean stops and affricates, and the two of ㅅ: what learners confuse first.
LARYNGEAL = {"plain": "ㄱㄷㅂㅈㅅ", "tense": "ㄲㄸㅃㅉㅆ", "aspirated": "ㅋㅌㅍㅊ"}
_PLACES = ("ㄱㄲㅋ", "ㄷㄸㅌ", "ㅂㅃㅍ", "ㅈㅉㅊ", "ㅅㅆ")
NOTHING = ""  # a coda that was not heard, or heard where none is


def letter(jamo: str) -> str:
    """The jamo as it stands alone: ㄱ for onset and coda alike; nothing for nothing."""
    if not jamo:
        return NOTHING
    try:
        return unicodedata.lookup("HANGUL LETTER " + unicodedata.name(jamo).rpartition("SEONG ")[2])
    except (KeyError, ValueError):  # an old jamo: it has no such letter
        return jamo


def kind_of(reference: str, hypothesis: str) -> str | None:
    """`plain heard as tense` and the like, for two letters of one place of articulation; else None."""
    if not (
        reference
        and hypothesis
        and any(reference in place and hypothesis in place for place in _PLACES)
    ):
        return None
    ways = [
        next(way for way, letters in LARYNGEAL.items() if one in letters)
        for one in (reference, hypothesis)
    ]
    return f"{ways[0]} heard as {ways[1]}"


def clip_confusions(reference: str, hypothesis: str) -> tuple[Counter, Counter]:
    """How often (position, letter) stands in the reference; how often (position, letter, heard letter) differs.

    A coda may be heard as nothing, or where there is none: learners drop and add them. Other deletions and insertions are no
    confusion, and neither is a jamo that is aligned to one of another position.
    """
    said: Counter = Counter()
    heard: Counter = Counter()
    texts = (without_punctuation_and_spaces(text) for text in (reference, hypothesis))
    for there, here in aligned_jamo(*texts):
        position = jamo_position(there or here)
        if position is None:
            continue
        if there:
            said[position, letter(there)] += 1
        if there == here or (not (there and here) and position != "coda"):
            continue
        if there and here and jamo_position(here) != position:
            continue
        heard[position, letter(there), letter(here)] += 1
    return said, heard


def confusions(
    utterances: list[Utterance], pairs: list[tuple[str, str]]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """`all` and each first language -> position -> confusions, the most frequent first, each with three clips.

    pairs: reference and hypothesis of each clip. A row: reference, hypothesis (letters, "" for a coda that is not there), n, of
    (how often the reference's letter was to be heard), kind, clips (ids, those with the most of it first).
    """
    said: dict[str, Counter] = defaultdict(Counter)
    heard: dict[str, Counter] = defaultdict(Counter)
    clips: dict[str, dict[tuple, Counter]] = defaultdict(lambda: defaultdict(Counter))
    for utterance, pair in zip(utterances, pairs, strict=True):
        its_said, its_heard = clip_confusions(*pair)
        for group in ("all", *filter(None, [utterance.first_language])):
            said[group] += its_said
            heard[group] += its_heard
            for confusion, n in its_heard.items():
                clips[group][confusion][utterance.id] += n
    groups = ["all", *sorted(heard.keys() - {"all"})] if utterances else []
    return {
        group: {
            position: [
                {
                    "reference": confusion[1],
                    "hypothesis": confusion[2],
                    "n": n,
                    "of": said[group][confusion[:2]],
                    "kind": kind_of(*confusion[1:]),
                    "clips": [clip for clip, _ in _most(clips[group][confusion])[:N_CLIPS]],
                }
                for confusion, n in _most(heard[group])
                if confusion[0] == position
            ][:N_MOST]
            for position in JAMO_POSITIONS
        }
        for group in groups
    }


def _most(counts: Counter) -> list[tuple[Any, int]]:
    """Most frequent first, equals in the order of their names."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
