import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr import forced_alignment
from korean_asr.forced_alignment import (
    GRAIN,
    N_AROUND,
    Evidence,
    best_paths,
    label_frames,
    listener_scores,
)

FEW = settings(max_examples=60, derandomize=True, database=None, deadline=None)


def log_posteriors(rows) -> np.ndarray:
    return np.log(np.array(rows, np.float32))


@st.composite
def clips(draw):
    """Log posteriors of 1 to 6 frames in whole GRAINs, blank and two tokens, and 0 to 3 labels.

    Few values: many paths are equal.
    """
    n_frames = draw(st.integers(1, 6))
    rows = draw(
        st.lists(st.tuples(*[st.integers(-4, 0)] * 3), min_size=n_frames, max_size=n_frames)
    )
    return np.array(rows, np.float32), draw(st.lists(st.integers(1, 2), max_size=3))


def collapsed(tokens) -> list[int]:
    return [token for token, _ in itertools.groupby(tokens) if token]


def best_of_all(frames: np.ndarray, labels: list[int]) -> float:
    """The sum of the best of all sequences of tokens that collapse to the labels."""
    columns = range(frames.shape[1])
    sums = [
        sum(frames[frame, token] for frame, token in enumerate(tokens))
        for tokens in itertools.product(columns, repeat=len(frames))
        if collapsed(tokens) == labels
    ]
    return max(sums, default=-math.inf)


def tokens_of(path: np.ndarray, labels: list[int]) -> list[int]:
    return [labels[state // 2] if state % 2 else 0 for state in path]


@FEW
@given(st.lists(clips(), min_size=1, max_size=3))
def test_a_path_is_as_likely_as_the_best_of_all_paths(batch):
    found = best_paths(
        [frames for frames, _ in batch], [np.array(labels, np.intp) for _, labels in batch]
    )
    for (frames, labels), path in zip(batch, found, strict=True):
        best = best_of_all(frames, labels)
        assert (path is None) == (best == -math.inf)
        if path is not None:
            tokens = tokens_of(path, labels)
            assert collapsed(tokens) == labels
            assert sum(frames[range(len(frames)), tokens]) == best
            assert set(np.diff(path, prepend=0)) <= {0, 1, 2}


@FEW
@given(st.lists(clips(), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_a_path_depends_neither_on_its_batch_nor_on_the_order(batch, random):
    alone = [best_paths([frames], [np.array(own, np.intp)])[0] for frames, own in batch]
    order = random.sample(range(len(batch)), len(batch))
    together = best_paths(
        [batch[i][0] for i in order], [np.array(batch[i][1], np.intp) for i in order]
    )
    for i, path in zip(order, together, strict=True):
        assert np.array_equal(path, alone[i])


def test_clips_that_are_too_many_for_one_group_are_aligned_in_several(monkeypatch):
    rng = np.random.default_rng(0)
    frames = [rng.normal(-3, 2, (n, 4)).astype(np.float32) for n in (40, 7, 25, 12, 60, 1)]
    labels = [rng.integers(1, 4, n) for n in (9, 2, 5, 0, 12, 1)]
    whole = best_paths(frames, labels)
    monkeypatch.setattr(forced_alignment, "MAX_GROUP_CELLS", 1_600)
    groups = list(forced_alignment._groups([(60, 25), (40, 19), (25, 11), (1, 3), (7, 5)]))
    assert groups == [[0], [1, 2], [4, 3]]
    for path, other in zip(best_paths(frames, labels), whole, strict=True):
        assert np.array_equal(path, other)


def test_a_clip_that_is_too_long_for_memory_has_no_path_and_costs_its_neighbours_nothing(
    monkeypatch,
):
    frames = [np.zeros((50, 2), np.float32), np.zeros((9, 2), np.float32)]
    labels = [np.ones(20, np.intp), np.ones(2, np.intp)]
    assert all(path is not None for path in best_paths(frames, labels))
    monkeypatch.setattr(forced_alignment, "MAX_CLIP_CELLS", 50 * 41 - 1)
    long_clip, short_clip = best_paths(frames, labels)
    assert long_clip is None and short_clip is not None


@pytest.mark.parametrize(
    ("n_frames", "labels", "fits"),
    [
        (1, [], True),
        (1, [1], True),
        (1, [1, 2], False),
        (2, [1, 2], True),
        (2, [1, 1], False),  # 밤밤 needs a blank between them
        (3, [1, 1], True),
        (5, [1, 1, 2, 2], False),
        (6, [1, 1, 2, 2], True),
    ],
)
def test_labels_need_a_frame_each_and_equal_neighbours_a_blank_between(n_frames, labels, fits):
    [path] = best_paths([np.zeros((n_frames, 3), np.float32)], [np.array(labels, np.intp)])
    assert (path is not None) == fits


def test_no_clip_and_no_label_give_nothing_but_blanks():
    assert best_paths([], []) == []
    [path] = best_paths([np.zeros((4, 1), np.float32)], [np.array([], np.intp)])
    assert path.tolist() == [0, 0, 0, 0]
    firsts, ends = label_frames(path, 0)
    assert firsts.tolist() == ends.tolist() == []


def test_noise_as_of_another_batch_moves_no_letter_in_frames_that_are_equal():
    silence = np.full((400, 5), -1.6, np.float32)
    labels = np.array([1, 2, 2, 3, 4, 1])
    paths = set()
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 1e-5, silence.shape).astype(np.float32)
        [path] = best_paths([silence + noise], [labels])
        paths.add(path.tobytes())
    assert len(paths) == 1
    # Labels end as early as they can.
    assert label_frames(path, 6)[1].tolist() == [1, 2, 4, 5, 6, 7]


def test_of_equal_paths_the_one_whose_labels_end_earliest_is_taken():
    # Columns: blank, 1, 2. Frames 1 and 2 may be the first label or a blank.
    frames = -8 * np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 1, 0]], np.float32)
    assert best_paths([frames], [np.array([1, 2])])[0].tolist() == [1, 2, 2, 3]


def test_a_frame_is_off_by_less_than_a_two_hundredth():
    assert 0.5 / GRAIN < 0.005


# The example of evaluation/README.md. Columns: blank, 밤, 밥, 을.
FRAMES = log_posteriors(
    [
        [0.97, 0.01, 0.01, 0.01],
        [0.09, 0.30, 0.60, 0.01],
        [0.96, 0.02, 0.01, 0.01],
        [0.97, 0.01, 0.01, 0.01],
        [0.97, 0.01, 0.01, 0.01],
        [0.02, 0.01, 0.01, 0.96],
        [0.49, 0.01, 0.01, 0.49],
    ]
)


def evidence_of(frames: np.ndarray) -> Evidence:
    """Evidence of which all tokens but the blank are letters, and ids are columns."""
    ranked = np.sort(frames[:, 1:], 1)[:, ::-1]
    return Evidence(frames, ranked[:, :2], frames[:, 1:].argmax(1) + 1)


def scores_of(frames: np.ndarray, labels: np.ndarray) -> tuple[list[int], list[int], np.ndarray]:
    [path] = best_paths([frames], [labels])
    firsts, ends = label_frames(path, len(labels))
    scores = listener_scores(evidence_of(frames), labels, labels, firsts, ends)
    return firsts.tolist(), ends.tolist(), scores


def test_a_score_is_the_letters_best_frame_against_the_best_other_letter_around():
    firsts, ends, scores = scores_of(FRAMES, np.array([1, 3]))
    assert (firsts, ends) == ([1, 5], [2, 6])
    # 밤 0.30 against 밥 0.60; 을 0.96 against 0.01, since 밥 is three frames away.
    assert scores == pytest.approx([math.log(0.30 / 0.60), math.log(0.96 / 0.01)], abs=1e-4)


@FEW
@given(st.data())
def test_scores_equal_those_of_a_loop_over_letters_frames_and_tokens(data):
    frames, labels = data.draw(clips())
    frames = frames + np.float32(0.25) * np.arange(3, dtype=np.float32)
    own = np.array(labels, np.intp)
    [path] = best_paths([frames], [own])
    if path is None:
        return
    firsts, ends, scores = scores_of(frames, own)
    spans = zip(firsts, ends, strict=True)
    for index, (label, (first, end), score) in enumerate(zip(labels, spans, scores, strict=True)):
        assert [frame for frame, s in enumerate(path) if s == 2 * index + 1] == [*range(first, end)]
        mine = max(frames[frame, label] for frame in range(first, end))
        around = range(max(0, first - N_AROUND), min(len(frames), end + N_AROUND))
        other = max(frames[frame, token] for frame in around for token in (1, 2) if token != label)
        assert score == mine - other


def test_a_text_without_labels_has_no_scores():
    nothing = np.array([], np.intp)
    assert scores_of(FRAMES, nothing)[2].tolist() == []
