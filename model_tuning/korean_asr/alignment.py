"""Align two texts at the least edit distance, with ties broken as in rule ko-1."""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

# Index in the reference (None: an insertion) and index in the hypothesis (None: a deletion).
Pair = tuple[int | None, int | None]
# Rows of the distance matrix whose steps are held at a time: 4 MB for texts of 60,000 letters. The
# whole matrix would take 900 MB.
N_ROWS = 256


def aligned(reference: str, hypothesis: str) -> list[Pair]:
    """Align two texts at the least edit distance; returns index pairs from start to end.

    Ties are broken as in rule ko-1: going back from the end, a diagonal step (equal or substituted)
    comes first, then a deletion, then an insertion.
    Time grows with the product of both lengths, 64 cells at once; memory with their sum.
    """
    if reference == hypothesis:
        return [(index, index) for index in range(len(reference))]
    bits: dict[str, int] = defaultdict(int)
    for column, letter in enumerate(hypothesis):
        bits[letter] |= 1 << column
    # The state before each block of rows. Rows are computed again when the way back reaches them.
    blocks = [reference[start : start + N_ROWS] for start in range(0, len(reference), N_ROWS)]
    states = [((1 << len(hypothesis)) - 1, 0)]
    for block in blocks[:-1]:
        *_, (_, _, state) = _rows(block, bits, len(hypothesis), states[-1])
        states.append(state)
    row, column = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while row and column:
        rows = list(_rows(blocks.pop(), bits, len(hypothesis), states.pop()))
        while rows and column:
            as_diagonal, above_plus_1, _ = rows[-1]
            differ = reference[row - 1] != hypothesis[column - 1]
            if differ and as_diagonal >> (column - 1) & 1:
                # No substitution: this cell would be 1 more than its diagonal neighbour.
                if not above_plus_1 >> (column - 1) & 1:
                    column -= 1
                    pairs.append((None, column))
                    continue
                pairs.append((row - 1, None))
            else:
                column -= 1
                pairs.append((row - 1, column))
            rows.pop()
            row -= 1
    pairs += [(index, None) for index in reversed(range(row))]
    pairs += [(None, index) for index in reversed(range(column))]
    return pairs[::-1]


def _rows(
    letters: str, bits: dict[str, int], n_columns: int, state: tuple[int, int]
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Rows of the distance matrix as whole numbers, a bit for each letter of the hypothesis.

    bits: where each letter stands in the hypothesis; the first letter is the lowest bit.
    state: the cells that are 1 more than their left neighbour, and those that are 1 less.
    Returns for each letter: the cells that equal their diagonal neighbour, the cells that are 1
    more than the one above, and the state (Myers 1999; Hyyrö 2003).
    """
    every = (1 << n_columns) - 1
    more, less = state
    for letter in letters:
        equal = bits.get(letter, 0)
        as_diagonal = ((((equal & more) + more) ^ more) | equal | less) & every
        above_plus_1 = less | (every ^ (as_diagonal | more))
        # Cells whose left neighbour is 1 more than the one above it, or 1 less. Column 0 is always
        # 1 more.
        left_rose = above_plus_1 << 1 | 1
        left_fell = (as_diagonal & more) << 1
        more = (left_fell | (every ^ (as_diagonal | left_rose))) & every
        less = left_rose & as_diagonal
        yield as_diagonal, above_plus_1, (more, less)


# Cached because swer and spacing read the alignment of the same two texts.
@lru_cache(maxsize=4)
def matches(reference: str, hypothesis: str) -> tuple[tuple[int, int], ...]:
    """The index pairs of aligned() whose letters are equal."""
    if not hypothesis:
        return ()
    return tuple(
        (i, j)
        for i, j in aligned(reference, hypothesis)
        if i is not None and j is not None and reference[i] == hypothesis[j]
    )
