"""The alignment of reference and hypothesis that sWER, spacing, punctuation and jamo are read from, defined by rule ko-1."""

from functools import lru_cache

import numpy as np

Pair = tuple[int | None, int | None]  # places in reference and hypothesis; None: an insertion, a deletion


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
