"""The scores of rule ko-1: counts that are summed over the corpus, then divided."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jiwer

from korean_asr.alignment import aligned, matches

RULE = "ko-1"
MARKS = ".,?!"
# Longer texts are not scored: the time of an alignment grows with the square of the length. Two
# texts of this length, which are about an hour of speech, take five seconds.
MAX_CHARACTERS = 20_000
NOT_SCORED = f"more than {MAX_CHARACTERS:,} characters, not scored"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The model's text for one clip.

    problem: why the clip could not be decoded.
    confidence: 0 to 1, the mean over the written tokens of each one's highest posterior; None for
        an empty text.
    is_silent: all samples are equal, so any text is invented.
    letters: when each letter was said, as letters.Letters; None where nobody asked.
    """

    text: str
    problem: str | None = None
    confidence: float | None = None
    is_silent: bool = False
    letters: dict[str, list[list[Any]]] | None = None


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Substitutions, deletions and insertions that turn a reference into its hypothesis.

    Counts of several clips are added; rates are never averaged.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_length: int = 0

    def __add__(self, other: "EditCounts") -> "EditCounts":
        return EditCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors over reference length; for an empty reference the number of insertions."""
        if self.reference_length == 0:
            return float(self.insertions)
        return self.errors / self.reference_length

    @property
    def ratio(self) -> tuple[int, int]:
        """Numerator and denominator of the rate."""
        return self.errors, self.reference_length


@dataclass(frozen=True, slots=True)
class HitCounts:
    """Count a punctuation mark, or word boundaries, in reference and hypothesis.

    hits: those that both texts have at aligned characters.
    A rate is None if it would divide by 0.
    """

    hits: int = 0
    reference: int = 0
    hypothesis: int = 0

    def __add__(self, other: "HitCounts") -> "HitCounts":
        return HitCounts(
            self.hits + other.hits,
            self.reference + other.reference,
            self.hypothesis + other.hypothesis,
        )

    @property
    def precision(self) -> float | None:
        return self.hits / self.hypothesis if self.hypothesis else None

    @property
    def recall(self) -> float | None:
        return self.hits / self.reference if self.reference else None

    @property
    def rate(self) -> float | None:
        """F1, the harmonic mean of precision and recall: 2 hits / (reference + hypothesis)."""
        hits, both = self.ratio
        return hits / both if both else None

    @property
    def ratio(self) -> tuple[int, int]:
        """Numerator and denominator of F1."""
        return 2 * self.hits, self.reference + self.hypothesis


Counts = EditCounts | HitCounts


def edit_counts(reference: str | list[str], hypothesis: str | list[str]) -> EditCounts:
    """Count the edits between two sequences: the characters of strings, or the words of lists."""
    if not hypothesis:
        # What jiwer counts too, but with 200 bytes a unit.
        return EditCounts(deletions=len(reference), reference_length=len(reference))
    # Pass the units unchanged: they are normalised, and jiwer's default transforms would strip and
    # split them again.
    found = jiwer.process_words([list(reference)], [list(hypothesis)], _unchanged, _unchanged)
    return EditCounts(found.substitutions, found.deletions, found.insertions, len(reference))


def _unchanged(units: list[list[str]]) -> list[list[str]]:
    return units


def too_long(reference: str, hypothesis: str) -> bool:
    """Whether a clip is not scored because one of its texts has more than MAX_CHARACTERS."""
    return max(len(reference), len(hypothesis)) > MAX_CHARACTERS


def scored_text(reference: str, hypothesis: str) -> str:
    """The hypothesis as it is counted: empty, so all deletions, for a clip that is too long."""
    return "" if too_long(reference, hypothesis) else hypothesis


def normalised(text: str) -> str:
    """Compose to NFC, strip outer spaces, and make one space of each run of spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def without_punctuation(text: str) -> str:
    """Remove Unicode punctuation (category P), then normalise the spaces."""
    for character in set(text):
        if unicodedata.category(character).startswith("P"):
            text = text.replace(character, "")
    return normalised(text)


def without_punctuation_and_spaces(text: str) -> str:
    """Remove punctuation and spaces, as Korean leaderboards do."""
    return without_punctuation(text).replace(" ", "")


def _words(text: str) -> list[str]:
    return normalised(text).split()


# The units that each score compares. `cer` counts spaces as characters; `cer_no_space` is the rate
# that Korean leaderboards print.
SCORED_UNITS = {
    "cer": normalised,
    "wer": _words,
    "cer_no_punctuation": without_punctuation,
    "wer_no_punctuation": lambda text: without_punctuation(text).split(),
    "cer_no_space": without_punctuation_and_spaces,
}


ERROR_RATES = (
    "cer",
    "wer",
    "cer_no_punctuation",
    "wer_no_punctuation",
    "cer_no_space",
    "swer",
    "jamo",
)


def utterance_counts(reference: str, hypothesis: str) -> dict[str, EditCounts]:
    """Count the edits of one clip for each score of SCORED_UNITS."""
    return {
        name: edit_counts(units(reference), units(hypothesis))
        for name, units in SCORED_UNITS.items()
    }


def panel_counts(reference: str, hypothesis: str) -> dict[str, Counts]:
    """All counts of one clip, by score.

    Adds to utterance_counts: swer, spacing, jamo, a `punctuation <mark>` for each of MARKS, and a
    `jamo <position>` for each of JAMO_POSITIONS.
    """
    marks = punctuation_counts(normalised(reference), normalised(hypothesis))
    jamo = jamo_counts(
        without_punctuation_and_spaces(reference), without_punctuation_and_spaces(hypothesis)
    )
    spaced = without_punctuation(reference), without_punctuation(hypothesis)
    return {
        **utterance_counts(reference, hypothesis),
        "swer": edit_counts(spaced[0].split(), respaced(*spaced).split()),
        "spacing": spacing_counts(*spaced),
        **{f"punctuation {mark}": counts for mark, counts in marks.items()},
        "jamo": jamo["jamo"],
        **{f"jamo {position}": jamo[position] for position in JAMO_POSITIONS},
    }


def corpus_counts(per_utterance: Iterable[dict[str, Counts]]) -> dict[str, Counts]:
    """Sum the counts of all clips, by score."""
    sums: dict[str, Counts] = {}
    for counts in per_utterance:
        for name, count in counts.items():
            sums[name] = sums[name] + count if name in sums else count
    return sums


def _boundaries(text: str) -> list[bool]:
    """Whether a space stands before each character that is not a space; text is normalised."""
    return [
        index > 0 and text[index - 1] == " "
        for index, character in enumerate(text)
        if character != " "
    ]


def respaced(reference: str, hypothesis: str) -> str:
    """Give the hypothesis the reference's spacing, so that sWER counts no spacing error.

    Both texts are normalised. Before a character that is aligned to an equal one, the reference
    decides whether a space stands; before every other character the hypothesis keeps its own.
    """
    letters = reference.replace(" ", ""), hypothesis.replace(" ", "")
    wanted, spaces = _boundaries(reference), _boundaries(hypothesis)
    for i, j in matches(*letters):
        spaces[j] = wanted[i]
    spaced = zip(spaces, letters[1], strict=True)
    return "".join(f" {letter}" if space else letter for space, letter in spaced).strip()


def spacing_counts(reference: str, hypothesis: str) -> HitCounts:
    """Count word boundaries, both texts normalised.

    A hit is a boundary on both sides before characters that are aligned and equal.
    """
    letters = reference.replace(" ", ""), hypothesis.replace(" ", "")
    boundaries = _boundaries(reference), _boundaries(hypothesis)
    hits = sum(boundaries[0][i] and boundaries[1][j] for i, j in matches(*letters))
    return HitCounts(hits, sum(boundaries[0]), sum(boundaries[1]))


def punctuation_counts(reference: str, hypothesis: str) -> dict[str, HitCounts]:
    """Count each of `. , ? !`, both texts normalised; a hit is a mark aligned to itself.

    Spaces are left out of the alignment.
    """
    letters = reference.replace(" ", ""), hypothesis.replace(" ", "")
    if not any(mark in text for text in letters for mark in MARKS):
        return dict.fromkeys(MARKS, HitCounts())
    hits = [letters[0][i] for i, _ in matches(*letters)]
    return {
        mark: HitCounts(hits.count(mark), letters[0].count(mark), letters[1].count(mark))
        for mark in MARKS
    }


JAMO_POSITIONS = ("onset", "nucleus", "coda")


def jamo_position(jamo: str) -> str | None:
    """onset, nucleus or coda of a conjoining jamo, else None (Unicode 16, block Hangul Jamo)."""
    code = ord(jamo)
    if 0x1100 <= code < 0x1160:
        return "onset"
    if 0x1160 <= code < 0x11A8:
        return "nucleus"
    return "coda" if 0x11A8 <= code < 0x1200 else None


def aligned_jamo(reference: str, hypothesis: str) -> Counter[tuple[str, str]]:
    """Align the NFD of two texts and count the pairs; "" is the other side of a deleted jamo, and
    of an inserted one.
    """
    jamo = unicodedata.normalize("NFD", reference), unicodedata.normalize("NFD", hypothesis)
    if not hypothesis:
        # The reference may have millions of letters, and each pair of indices would take 100 bytes.
        return Counter({(letter, ""): n for letter, n in Counter(jamo[0]).items()})
    return Counter(
        ("" if i is None else jamo[0][i], "" if j is None else jamo[1][j])
        for i, j in aligned(*jamo)
    )


def edit_kind(reference: str, hypothesis: str) -> str:
    """Name the edit between two aligned units; "" stands for a missing one."""
    if reference == hypothesis:
        return "equal"
    if not reference:
        return "insertion"
    return "substitution" if hypothesis else "deletion"


def jamo_counts(reference: str, hypothesis: str) -> dict[str, EditCounts]:
    """Count the edits of jamo: `jamo` over all letters, and each of JAMO_POSITIONS.

    An error belongs to the position of the reference's jamo, an insertion to the position of the
    hypothesis' jamo. Letters other than Hangul syllables count in `jamo` alone.
    """
    kinds: Counter[tuple[str | None, str]] = Counter()
    for (reference_jamo, hypothesis_jamo), n in aligned_jamo(reference, hypothesis).items():
        kind = edit_kind(reference_jamo, hypothesis_jamo)
        kinds["jamo", kind] += n
        kinds[jamo_position(reference_jamo or hypothesis_jamo), kind] += n
    return {
        name: EditCounts(
            kinds[name, "substitution"],
            kinds[name, "deletion"],
            kinds[name, "insertion"],
            kinds[name, "equal"] + kinds[name, "substitution"] + kinds[name, "deletion"],
        )
        for name in ("jamo", *JAMO_POSITIONS)
    }
