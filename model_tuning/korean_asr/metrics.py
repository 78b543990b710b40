"""The scores of rule ko-1: each one defined once, as counts that add up over the corpus and are divided at the end."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from rapidfuzz.distance import Levenshtein

RULE = "ko-1"
UNKNOWN = "⁇"  # U+2047, as SentencePiece writes an unknown token: equals nothing, and is punctuation by category
MARKS = ".,?!"


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Substitutions, deletions and insertions that turn the reference into the hypothesis; add them, never average rates."""

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
        """Errors over reference length. An empty reference gives 0 without insertions, else their number (as jiwer does)."""
        if self.reference_length == 0:
            return float(self.insertions)
        return self.errors / self.reference_length

    @property
    def ratio(self) -> tuple[int, int]:
        """What the rate divides by what."""
        return self.errors, self.reference_length


@dataclass(frozen=True, slots=True)
class HitCounts:
    """How many marks of the reference the hypothesis has in the same place; a score of its own is None without any mark."""

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
        """What F1 divides by what."""
        return 2 * self.hits, self.reference + self.hypothesis


Counts = EditCounts | HitCounts


def edit_counts(reference: str | list[str], hypothesis: str | list[str]) -> EditCounts:
    """Counts of a least-cost alignment of two sequences: characters of strings, or words of lists.

    The alignment is rapidfuzz's, which jiwer counts by, so that substitutions, deletions and insertions are jiwer's too.
    """
    counts = {"replace": 0, "delete": 0, "insert": 0}
    for operation in Levenshtein.editops(reference, hypothesis):
        counts[operation.tag] += 1
    return EditCounts(counts["replace"], counts["delete"], counts["insert"], len(reference))


def normalised(text: str) -> str:
    """NFC, outer space stripped, runs of space made one."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def without_punctuation(text: str) -> str:
    """Unicode punctuation (category P) removed, then space made tidy again."""
    return normalised("".join(c for c in text if not unicodedata.category(c).startswith("P")))


def without_punctuation_and_spaces(text: str) -> str:
    """The text that Korean leaderboards score."""
    return without_punctuation(text).replace(" ", "")


def _words(text: str) -> list[str]:
    return normalised(text).split()


# Name -> what is compared. Spaces count in `cer`; `cer_no_space` is the number that Korean leaderboards print.
SCORED_UNITS = {
    "cer": normalised,
    "wer": _words,
    "cer_no_punctuation": without_punctuation,
    "wer_no_punctuation": lambda text: without_punctuation(text).split(),
    "cer_no_space": without_punctuation_and_spaces,
}


def utterance_counts(reference: str, hypothesis: str) -> dict[str, EditCounts]:
    """Edit counts of one clip by the name of each of SCORED_UNITS."""
    return {
        name: edit_counts(units(reference), units(hypothesis))
        for name, units in SCORED_UNITS.items()
    }


def panel_counts(reference: str, hypothesis: str) -> dict[str, Counts]:
    """All counts of one clip: utterance_counts; swer, spacing; `punctuation .` and so on; jamo, `jamo onset` and so on."""
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
    """Counts of a corpus: the sum over its clips, by the name of each score."""
    sums: dict[str, Counts] = {}
    for counts in per_utterance:
        for name, count in counts.items():
            sums[name] = sums[name] + count if name in sums else count
    return sums


Pair = tuple[
    int | None, int | None
]  # places in reference and hypothesis; None: an insertion, a deletion


def edit_distances(reference: str, hypothesis: str) -> np.ndarray:
    """(R + 1, H + 1) int32: the Levenshtein distance of each two beginnings (Wagner and Fischer 1974).

    A row at a time: an insertion costs one more than the cell to its left, so that a row is the running minimum of
    (best of diagonal and above) - column, plus column.
    """
    letters = np.array([ord(character) for character in hypothesis], dtype=np.int32)
    columns = np.arange(len(hypothesis) + 1, dtype=np.int32)
    distances = np.empty((len(reference) + 1, len(hypothesis) + 1), dtype=np.int32)
    distances[0] = columns
    for row, character in enumerate(reference, 1):
        above = distances[row - 1]
        best = above + 1
        np.minimum(best[1:], above[:-1] + (letters != ord(character)), out=best[1:])
        distances[row] = np.minimum.accumulate(best - columns) + columns
    return distances


@lru_cache(maxsize=4)  # two scores in turn read the alignment of the same two texts
def aligned(reference: str, hypothesis: str) -> tuple[Pair, ...]:
    """Places of reference and hypothesis beside each other, from start to end, at the least edit distance.

    Of several such alignments the one that rule ko-1 names: traced back from the end, a diagonal step (equal or substituted)
    first, then a deletion, then an insertion.
    """
    if reference == hypothesis:  # the diagonal is the only way
        return tuple((place, place) for place in range(len(reference)))
    distances = edit_distances(reference, hypothesis)
    row, column = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while row or column:
        here = distances[row, column]
        if row and column:
            differs = reference[row - 1] != hypothesis[column - 1]
            if distances[row - 1, column - 1] + differs == here:
                row, column = row - 1, column - 1
                pairs.append((row, column))
                continue
        if row and distances[row - 1, column] + 1 == here:
            row -= 1
            pairs.append((row, None))
        else:
            column -= 1
            pairs.append((None, column))
    return tuple(reversed(pairs))


def _boundaries(text: str) -> list[bool]:
    """Of each character but spaces, whether a space stands before it; text: normalised."""
    return [
        place > 0 and text[place - 1] == " "
        for place, character in enumerate(text)
        if character != " "
    ]


def respaced(reference: str, hypothesis: str) -> str:
    """The hypothesis in the reference's spacing, both normalised: what sWER compares, so that spacing costs no word.

    Before a character that is aligned to an equal one stands a space where the reference has one; before every other
    character the hypothesis keeps its own.
    """
    letters = hypothesis.replace(" ", "")
    spaces = _boundaries(hypothesis)
    of_reference, of_letters = _boundaries(reference), reference.replace(" ", "")
    for there, here in aligned(of_letters, letters):
        if there is not None and here is not None and of_letters[there] == letters[here]:
            spaces[here] = of_reference[there]
    return "".join(
        " " * space + letter for letter, space in zip(letters, spaces, strict=True)
    ).strip()


def spacing_counts(reference: str, hypothesis: str) -> HitCounts:
    """Word boundaries, both texts normalised: a hit stands before the same aligned equal character on both sides."""
    letters = reference.replace(" ", ""), hypothesis.replace(" ", "")
    there, here = _boundaries(reference), _boundaries(hypothesis)
    hits = sum(
        there[i] and here[j] and letters[0][i] == letters[1][j]
        for i, j in aligned(*letters)
        if i is not None and j is not None
    )
    return HitCounts(hits, sum(there), sum(here))


def punctuation_counts(reference: str, hypothesis: str) -> dict[str, HitCounts]:
    """For each of `. , ? !`, both texts normalised: a hit is a mark aligned to itself, spaces left out."""
    letters = reference.replace(" ", ""), hypothesis.replace(" ", "")
    if not any(mark in text for text in letters for mark in MARKS):
        return dict.fromkeys(MARKS, HitCounts())
    hits = [
        letters[0][i]
        for i, j in aligned(*letters)
        if i is not None and j is not None and letters[0][i] == letters[1][j]
    ]
    return {
        mark: HitCounts(hits.count(mark), letters[0].count(mark), letters[1].count(mark))
        for mark in MARKS
    }


JAMO_POSITIONS = ("onset", "nucleus", "coda")


def jamo_position(jamo: str) -> str | None:
    """onset, nucleus or coda of a conjoining jamo; None for whatever else (Unicode 16, block Hangul Jamo)."""
    code = ord(jamo)
    if 0x1100 <= code < 0x1160:
        return "onset"
    if 0x1160 <= code < 0x11A8:
        return "nucleus"
    return "coda" if 0x11A8 <= code < 0x1200 else None


def aligned_jamo(reference: str, hypothesis: str) -> list[tuple[str, str]]:
    """Jamo beside each other, "" for nothing, by one alignment over the NFD of both texts."""
    jamo = unicodedata.normalize("NFD", reference), unicodedata.normalize("NFD", hypothesis)
    return [
        ("" if i is None else jamo[0][i], "" if j is None else jamo[1][j])
        for i, j in aligned(*jamo)
    ]  # fmt: skip


def jamo_counts(reference: str, hypothesis: str) -> dict[str, EditCounts]:
    """`jamo` over all letters, and apart for each of JAMO_POSITIONS.

    An error belongs to the position of the reference's jamo, an insertion to that of the hypothesis'. Letters that are no
    Hangul syllable count in the total alone.
    """
    counts = {name: [0, 0, 0, 0] for name in ("jamo", *JAMO_POSITIONS)}
    for there, here in aligned_jamo(reference, hypothesis):
        names = {"jamo", jamo_position(there or here)} - {None}
        error = None if there == here else 0 if there and here else 1 if there else 2
        for name in names:
            counts[name][3] += bool(there)
            if error is not None:
                counts[name][error] += 1
    return {name: EditCounts(*numbers) for name, numbers in counts.items()}
