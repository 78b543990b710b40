"""The accents of learners of Korean: which sound of it is replaced by which, by first language.

For make_corpus.py. An accent replaces sounds always in the same way, so that a report can be
checked against it; real learners differ from each other and from one word to the next.
"""

from collections.abc import Sequence
from typing import NamedTuple

from phonemes import Places, Syllable, standard_places


class Replacement(NamedTuple):
    """What a learner says for a jamo.

    place: onset, nucleus or coda. heard: what a Korean listener takes it for, in jamo; "" for
    nothing. why: where it is described; "expected" where only the sounds of the language suggest
    it.
    """

    place: str
    jamo: str
    heard: str
    phonemes: str
    why: str


def _each(place: str, why: str, *said: str) -> tuple[Replacement, ...]:
    """One replacement for each `jamo heard phonemes`; `-` is nothing."""
    words = [[word.strip("-") for word in each.split()] for each in said]
    return tuple(Replacement(place, *each, why) for each in words)


ACCENTS = {
    "영어": (
        *_each(
            "onset",
            "Tense stops are heard as English voiced or voiceless ones (Nagle, Bruun and "
            "Baese-Berk 2023); learners say plain ones (arXiv 2306.10821).",
            *("ㄲ ㄱ ɡ", "ㄸ ㄷ d", "ㅃ ㅂ b", "ㅉ ㅈ ʥ"),
        ),
        *_each("nucleus", "ㅡ and ㅜ are confused (Chang and Kwon 2020).", "ㅡ ㅜ u"),
    ),
    "중국어": (
        *_each(
            "onset",
            "Plain and aspirated sounds are one category of Mandarin (Holliday 2014).",
            *("ㄱ ㅋ kʰ", "ㄷ ㅌ tʰ", "ㅂ ㅍ pʰ", "ㅈ ㅊ ʨʰ"),
        ),
        *_each(
            "coda",
            "Codas are left out (arXiv 2306.10821); Mandarin has no stop in this place.",
            *("ㄱ - -", "ㄷ - -", "ㅂ - -"),
        ),
    ),
    "일본어": (
        *_each(
            "nucleus",
            "Commonly described: Japanese has five vowels, and one for each of these pairs.",
            *("ㅓ ㅗ o", "ㅕ ㅛ jo", "ㅡ ㅜ u"),
        ),
        *_each(
            "coda",
            "Japanese listeners confuse final n and ng, in English (Aoyama 2003).",
            "ㅇ ㄴ n",
        ),
    ),
    "스페인어": (
        *_each(
            "onset",
            "Expected: the stops of Spanish are not aspirated (Lisker and Abramson 1964).",
            *("ㅋ ㄲ kˈ", "ㅌ ㄸ tˈ", "ㅍ ㅃ pˈ", "ㅊ ㅉ ʨˈ"),
        ),
        *_each(
            "nucleus",
            "Commonly described: Spanish has five vowels, and o for ㅓ and ㅗ.",
            *("ㅓ ㅗ o", "ㅕ ㅛ jo"),
        ),
    ),
    "힌디어": (
        *_each(
            "nucleus",
            "Expected: schwa is the nearest vowel of Hindi (Ohala 1999).",
            "ㅡ ㅓ ə",
        ),
        *_each(
            "coda",
            "Expected: in Hindi ng stands before stops of its place alone (Ohala 1999).",
            "ㅇ ㄴ n",
        ),
    ),
    "포르투갈어": (
        *_each(
            "coda",
            "Expected: Brazilian Portuguese has w for a final l, i after a final stop, and a "
            "nasal vowel for a final nasal (Barbosa and Albano 2004).",
            *("ㄹ ㅜ w", "ㄱ ㄱㅣ ki", "ㅂ ㅂㅣ pi", "ㄴ ㅇ ŋ", "ㅁ ㅇ ŋ"),
        ),
    ),
}


def accented(
    spoken: Sequence[Syllable], first_language: str
) -> tuple[list[Places], dict[int, list[Replacement]]]:
    """How a learner says syllables.

    Returns the phonemes of each syllable, and the replacements that are heard in some of them,
    by the number of the syllable from 0.
    """
    said, carried = standard_places(spoken), {}
    for number, syllable in enumerate(spoken):
        for replacement in ACCENTS[first_language]:
            place = replacement.place
            changed = getattr(said[number], place) != replacement.phonemes
            if getattr(syllable, place) == replacement.jamo and changed:
                said[number] = said[number]._replace(**{place: replacement.phonemes})
                carried.setdefault(number, []).append(replacement)
    return said, carried
