"""Edit counts and error rates by rule ko-1: each one defined once, summed over the corpus, then divided."""

import unicodedata
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

RULE = "ko-1"
UNKNOWN = "⁇"  # U+2047, as SentencePiece writes an unknown token: equals nothing, and is punctuation by category


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


def _characters(text: str) -> str:
    return normalised(text)


def _words(text: str) -> list[str]:
    return normalised(text).split()


# Name -> what is compared. Spaces count in `cer`; `cer_no_space` is the number that Korean leaderboards print.
SCORED_UNITS = {
    "cer": _characters,
    "wer": _words,
    "cer_no_punctuation": without_punctuation,
    "wer_no_punctuation": lambda text: without_punctuation(text).split(),
    "cer_no_space": lambda text: without_punctuation(text).replace(" ", ""),
}


def utterance_counts(reference: str, hypothesis: str) -> dict[str, EditCounts]:
    """Edit counts of one clip by the name of each score."""
    return {name: edit_counts(units(reference), units(hypothesis)) for name, units in SCORED_UNITS.items()}


def corpus_counts(per_utterance: list[dict[str, EditCounts]]) -> dict[str, EditCounts]:
    """Edit counts of a corpus: the sum over its clips, by the name of each score."""
    return {name: sum((counts[name] for counts in per_utterance), EditCounts()) for name in SCORED_UNITS}
