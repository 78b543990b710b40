"""Korean pronunciations as the phonemes of Kokoro, which was taught no Korean.

For make_corpus.py, make_base_material.py and accents.py. A pronunciation is written in Hangul as
it is heard (표준 발음법), so that each jamo is one sound: `같이 먹는` is `가치 멍는`.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
NUCLEI = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
CODAS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
FIRST_SYLLABLE, LAST_SYLLABLE = "가", "힣"


class Syllable(NamedTuple):
    """A syllable in its jamo.

    index: the position of its character in the pronunciation. onset: "ㅇ" where there is none.
    coda: "" where there is none, else one of ㄱ ㄴ ㄷ ㄹ ㅁ ㅂ ㅇ.
    """

    index: int
    onset: str
    nucleus: str
    coda: str


class Places(NamedTuple):
    """The phonemes of one syllable, by place."""

    onset: str
    nucleus: str
    coda: str


# Tuned by the judge (judge.py) over 24 voices: how likely it finds each syllable of what was said.
# Tense consonants stand before a stressed vowel, and ㅆ is long.
# Plain stops have a second sound between voiced ones.
ONSET_PHONEMES = {
    "ㄱ": "k",
    "ㄲ": "kˈ",
    "ㄴ": "n",
    "ㄷ": "t",
    "ㄸ": "tˈ",
    "ㄹ": "ɾ",
    "ㅁ": "m",
    "ㅂ": "p",
    "ㅃ": "pˈ",
    "ㅅ": "s",
    "ㅆ": "ssˈ",
    "ㅇ": "",
    "ㅈ": "ʨ",
    "ㅉ": "ʨˈ",
    "ㅊ": "ʨʰ",
    "ㅋ": "kʰ",
    "ㅌ": "tʰ",
    "ㅍ": "pʰ",
    "ㅎ": "h",
}
VOICED_ONSETS = {"ㄱ": "ɡ", "ㄷ": "d", "ㅂ": "b", "ㅈ": "ʥ"}
PALATAL_ONSETS = {"ㅅ": "ɕ", "ㅆ": "ɕɕˈ"}
NUCLEUS_PHONEMES = {
    "ㅏ": "a",
    "ㅐ": "ɛ",
    "ㅑ": "ja",
    "ㅒ": "jɛ",
    "ㅓ": "ɔ",
    "ㅔ": "e",
    "ㅕ": "jɔ",
    "ㅖ": "je",
    "ㅗ": "o",
    "ㅘ": "wa",
    "ㅙ": "wɛ",
    "ㅚ": "we",
    "ㅛ": "jo",
    "ㅜ": "u",
    "ㅝ": "wɔ",
    "ㅞ": "we",
    "ㅟ": "wi",
    "ㅠ": "ju",
    "ㅡ": "ɯ",
    "ㅢ": "ɰi",
    "ㅣ": "i",
}
CODA_PHONEMES = {
    "": "",
    "ㄱ": "k",
    "ㄴ": "n",
    "ㄷ": "t",
    "ㄹ": "l",
    "ㅁ": "m",
    "ㅂ": "p",
    "ㅇ": "ŋ",
}
# PALATAL_ONSETS are said before these.
PALATAL_NUCLEI = "ㅣㅑㅒㅕㅖㅛㅠㅟ"
SONORANT_CODAS = ("", "ㄴ", "ㄹ", "ㅁ", "ㅇ")


def is_syllable(character: str) -> bool:
    return FIRST_SYLLABLE <= character <= LAST_SYLLABLE


def syllables(pronunciation: str) -> list[Syllable]:
    """The syllables of a pronunciation; spaces and marks are left out.

    ValueError where a coda is spelled but not spoken, such as ㅆ: that is not a pronunciation.
    """
    found = []
    for index, character in enumerate(unicodedata.normalize("NFC", pronunciation)):
        if not is_syllable(character):
            continue
        rest, coda = divmod(ord(character) - ord(FIRST_SYLLABLE), len(CODAS))
        onset, nucleus = divmod(rest, len(NUCLEI))
        if CODAS[coda] not in CODA_PHONEMES:
            raise ValueError(f"{pronunciation!r}: the coda of {character} is not a sound")
        found.append(Syllable(index, ONSETS[onset], NUCLEI[nucleus], CODAS[coda]))
    return found


def standard_places(spoken: Sequence[Syllable]) -> list[Places]:
    """The phonemes of a native speaker, one Places for each syllable.

    Syllables whose indexes follow each other stand in one word.
    """
    places = []
    for number, syllable in enumerate(spoken):
        before = spoken[number - 1] if number else None
        if before is not None and before.index != syllable.index - 1:
            before = None
        places.append(
            Places(
                _onset(syllable, before),
                NUCLEUS_PHONEMES[syllable.nucleus],
                CODA_PHONEMES[syllable.coda],
            )
        )
    return places


def _onset(syllable: Syllable, before: Syllable | None) -> str:
    """before: the syllable before it in the same word."""
    onset = syllable.onset
    if before is not None and before.coda in SONORANT_CODAS and onset in VOICED_ONSETS:
        return VOICED_ONSETS[onset]
    if onset in PALATAL_ONSETS and syllable.nucleus in PALATAL_NUCLEI:
        return PALATAL_ONSETS[onset]
    if onset == "ㄹ" and before is not None and before.coda == "ㄹ":
        return "l"
    return ONSET_PHONEMES[onset]


def spoken_phonemes(pronunciation: str, accent: Sequence[Places] | None = None) -> str:
    """The phonemes of a pronunciation with its spaces and marks.

    accent: the phonemes of each syllable, where it is not a native speaker who says them.
    """
    spoken = syllables(pronunciation)
    parts = list(pronunciation)
    for syllable, places in zip(spoken, accent or standard_places(spoken), strict=True):
        parts[syllable.index] = "".join(places)
    return "".join(parts)
