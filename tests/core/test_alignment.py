import random
import tracemalloc
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from korean_asr.alignment import aligned, matches

SHORT = st.text(alphabet="가나다", max_size=5)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "pairs"),
    [
        ("", "", []),
        ("가나", "", [(0, None), (1, None)]),
        ("", "가나", [(None, 0), (None, 1)]),
        ("가나", "가나", [(0, 0), (1, 1)]),
        ("가나", "가다", [(0, 0), (1, 1)]),
        # Ties. From the end the diagonal comes first: the second 가 is kept, the first is deleted.
        ("가가", "가", [(0, None), (1, 0)]),
        ("가", "가가", [(None, 0), (0, 1)]),
        # Two substitutions cost as much as a deletion and an insertion, and the diagonal wins.
        ("가나", "나다", [(0, 0), (1, 1)]),
        # Three edits in any case. From the end: 다 -> 가, 나 -> 나, and the first 가 is deleted.
        ("가나다", "나가", [(0, None), (1, 0), (2, 1)]),
    ],
)
def test_ties_are_broken_from_the_end_diagonal_first(reference, hypothesis, pairs):
    assert list(aligned(reference, hypothesis)) == pairs


def every_alignment(i, j):
    """All paths from the start to (i, j), as steps from the end.

    0 is a diagonal step, 1 a deletion, 2 an insertion.
    """
    if not i and not j:
        yield ()
    if i and j:
        yield from ((0, *steps) for steps in every_alignment(i - 1, j - 1))
    if i:
        yield from ((1, *steps) for steps in every_alignment(i - 1, j))
    if j:
        yield from ((2, *steps) for steps in every_alignment(i, j - 1))


def walked(steps, i, j):
    pairs = []
    for step in steps:
        i, j = i - (step != 2), j - (step != 1)
        pairs.append((i if step != 2 else None, j if step != 1 else None))
    return pairs[::-1]


def cost(pairs, reference, hypothesis):
    return sum(i is None or j is None or reference[i] != hypothesis[j] for i, j in pairs)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(SHORT, SHORT)
def test_of_all_cheapest_alignments_it_is_the_first_in_the_order_of_the_rule(reference, hypothesis):
    ways = [
        (steps, walked(steps, len(reference), len(hypothesis)))
        for steps in every_alignment(len(reference), len(hypothesis))
    ]
    steps, pairs = min(ways, key=lambda way: (cost(way[1], reference, hypothesis), way[0]))
    assert list(aligned(reference, hypothesis)) == pairs


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(alphabet="가나다라 .", max_size=40), st.text(alphabet="가나다라 .", max_size=40))
def test_every_distance_is_rapidfuzzs_and_every_index_comes_once(reference, hypothesis):
    pairs = aligned(reference, hypothesis)
    assert cost(pairs, reference, hypothesis) == Levenshtein.distance(reference, hypothesis)
    assert [i for i, _ in pairs if i is not None] == list(range(len(reference)))
    assert [j for _, j in pairs if j is not None] == list(range(len(hypothesis)))


def traced_back(reference, hypothesis):
    """The alignment of the rule, from the whole matrix of distances (Wagner and Fischer 1974)."""
    distances = [list(range(len(hypothesis) + 1))]
    for row, letter in enumerate(reference, 1):
        distances.append([row])
        for column, other in enumerate(hypothesis, 1):
            above, left = distances[row - 1][column], distances[row][column - 1]
            diagonal = distances[row - 1][column - 1] + (letter != other)
            distances[row].append(min(diagonal, above + 1, left + 1))
    i, j, pairs = len(reference), len(hypothesis), []
    while i or j:
        differ = i and j and reference[i - 1] != hypothesis[j - 1]
        if i and j and distances[i - 1][j - 1] + differ == distances[i][j]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and distances[i - 1][j] + 1 == distances[i][j]:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


# Blocks end at every 256th letter of the reference.
@pytest.mark.parametrize("n_letters", [1, 30, 255, 256, 257, 300])
def test_long_texts_are_aligned_as_the_whole_matrix_says(n_letters):
    rng = random.Random(n_letters)
    reference = "".join(rng.choices("가나다", k=n_letters))
    for hypothesis in (
        reference[::-1],
        "".join(rng.choices("가나다라", k=max(1, n_letters - 20))),
        "".join(letter for letter in reference if rng.random() > 0.1),
        reference + "라",
        "마" + reference[:-1],
    ):
        assert aligned(reference, hypothesis) == traced_back(reference, hypothesis)
        assert aligned(hypothesis, reference) == traced_back(hypothesis, reference)


def test_matches_are_the_aligned_pairs_of_equal_letters():
    assert matches("가나다", "나가") == ((1, 0),)
    assert matches("가나", "") == matches("", "가나") == ()


def test_the_jamo_of_thousands_of_syllables_are_aligned_in_little_memory():
    rng = random.Random(0)
    text = unicodedata.normalize("NFD", "".join(rng.choices("각난닫랄맘", k=2_000)))
    tracemalloc.start()
    pairs = aligned(text, text[::-1])
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cost(pairs, text, text[::-1]) == Levenshtein.distance(text, text[::-1])
    # The matrix of distances would take 144 MB, all rows of bits 9 MB.
    assert highest < 5 << 20
