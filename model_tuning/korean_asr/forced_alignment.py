"""CTC forced alignment: the frames of each label of a text that is known, and how it was heard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Log posteriors count in 128ths. Frames of silence are equal but for noise of 0.00001 that comes
# from the batch; in whole numbers they are equal, so the rule for equal paths decides and not the
# noise. No frame is off by more than 0.004.
GRAIN = 128
# Frames times states, of the clips that are aligned together (16 MB) and of a clip alone (256 MB):
# 12 minutes at five characters a second.
MAX_GROUP_CELLS, MAX_CLIP_CELLS = 1 << 24, 1 << 28
# Frames on either side of a letter in which another letter competes with it.
N_AROUND = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the frames of a clip say about the labels of its reference; natural logarithms.

    log_posteriors: (n_frames, n_tokens) float32, of the blank first, then of the other tokens.
    rivals: (n_frames, 2) float32, of the likeliest letter and of the second likeliest.
    rival_ids: (n_frames,) int64, token id of the likeliest letter.
    """

    log_posteriors: np.ndarray
    rivals: np.ndarray
    rival_ids: np.ndarray


def best_paths(
    log_posteriors: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> list[np.ndarray | None]:
    """Find each clip's likeliest path through the labels and the blanks around them (Viterbi).

    log_posteriors: of each clip, (n_frames, n_tokens); column 0 is the blank.
    labels: of each clip, (n_labels,) int, the column of each label; never 0.
    Returns of each clip (n_frames,) int32: 2 i + 1 in a frame of label i, 2 i in a blank before it.
    None if the labels do not fit, since each needs a frame and equal neighbours a blank between
    them, or if the clip exceeds MAX_CLIP_CELLS. Of equal paths the one whose labels end earliest is
    taken. The topology is that of Graves et al., Connectionist Temporal Classification, 2006.
    """
    paths: list[np.ndarray | None] = [None] * len(labels)
    sizes = [(len(log_posteriors[clip]), 2 * len(labels[clip]) + 1) for clip in range(len(labels))]
    for group in _groups(sizes):
        made = _paths([log_posteriors[clip] for clip in group], [labels[clip] for clip in group])
        for clip, path in zip(group, made, strict=True):
            paths[clip] = path
    return paths


def _groups(sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Clips of similar length; what is padded to the longest is at most MAX_GROUP_CELLS.

    sizes: frames and states of each clip. Clips over MAX_CLIP_CELLS are left out.
    """
    group: list[int] = []
    most_states = 0
    for clip in sorted(range(len(sizes)), key=lambda clip: -sizes[clip][0]):
        n_frames, n_states = sizes[clip]
        if n_frames * n_states > MAX_CLIP_CELLS:
            continue
        most_states = max(most_states, n_states)
        if group and sizes[group[0]][0] * most_states * (len(group) + 1) > MAX_GROUP_CELLS:
            yield group
            group, most_states = [], n_states
        group.append(clip)
    if group:
        yield group


def _paths(log_posteriors: list[np.ndarray], labels: list[np.ndarray]) -> list[np.ndarray | None]:
    """The paths of clips that are padded to one another, all clips of a frame at once."""
    emissions, tokens = _padded(log_posteriors, labels)
    moves, last = _forward(emissions, tokens)
    clips = np.arange(len(labels))
    ends = np.array([2 * len(own) for own in labels])
    # A path ends in the blank behind the last label, or in that label.
    before = np.maximum(ends - 1, 0)
    states = np.where(last[clips, before] > last[clips, ends], before, ends)
    fits = np.isfinite(last[clips, states])
    made = np.empty((len(moves), len(clips)), np.int32)
    for frame in range(len(moves) - 1, -1, -1):
        made[frame] = states
        states = states - moves[frame, clips, states]
    return [
        made[len(made) - len(frames) :, clip] if fits[clip] else None
        for clip, frames in enumerate(log_posteriors)
    ]


def _padded(
    log_posteriors: list[np.ndarray], labels: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Emissions (n_frames, n_clips, n_tokens) in GRAINs, and the column (n_clips, n_states).

    All clips end in the last frame. Before a shorter one begins, only the blank costs nothing, so
    that its path waits in the first state.
    """
    n_frames = max(map(len, log_posteriors))
    n_tokens = max(frames.shape[1] for frames in log_posteriors)
    emissions = np.full((n_frames, len(labels), n_tokens), -np.inf)
    tokens = np.zeros((len(labels), 2 * max(map(len, labels)) + 1), np.intp)
    for clip, (frames, own) in enumerate(zip(log_posteriors, labels, strict=True)):
        start = n_frames - len(frames)
        emissions[:start, clip, 0] = 0
        emissions[start:, clip, : frames.shape[1]] = np.rint(frames * np.float32(GRAIN))
        tokens[clip, 1 : 2 * len(own) : 2] = own
    return emissions, tokens


def _forward(emissions: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states that each state's best path came up in each frame, and the last frame's scores.

    Returns moves (n_frames, n_clips, n_states) uint8, 0 to 2, and scores (n_clips, n_states).
    """
    n_frames, (n_clips, n_states) = len(emissions), tokens.shape
    # A blank between two labels may be left out unless they are equal, as two blanks are.
    skipping = np.full(tokens.shape, -np.inf)
    skipping[:, 2:][tokens[:, 2:] != tokens[:, :-2]] = 0
    # Two states before the first, which no path is in, spare the edges.
    scores = np.full((2, n_clips, n_states + 2), -np.inf)
    scores[0, :, 2] = 0
    moves = np.empty((n_frames, n_clips, n_states), np.uint8)
    is_step = moves.view(bool)
    best, skipped, emitted = np.empty((3, n_clips, n_states))
    is_skip = np.empty(tokens.shape, bool)
    columns = tokens + emissions.shape[2] * np.arange(n_clips)[:, None]
    emissions = emissions.reshape(n_frames, -1)
    for frame in range(n_frames):
        old, new = scores[frame % 2], scores[1 - frame % 2]
        # Numbers are whole, so equal means equal; then the path stays.
        np.greater(old[:, 1:-1], old[:, 2:], out=is_step[frame])
        np.maximum(old[:, 1:-1], old[:, 2:], out=best)
        np.add(old[:, :-2], skipping, out=skipped)
        np.greater(skipped, best, out=is_skip)
        np.putmask(moves[frame], is_skip, 2)
        np.maximum(best, skipped, out=best)
        np.take(emissions[frame], columns, out=emitted, mode="clip")
        np.add(best, emitted, out=new[:, 2:])
    return moves, scores[n_frames % 2, :, 2:]


def label_frames(path: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each label of a path, and the frame behind its last; (n_labels,) int each."""
    states = 2 * np.arange(n_labels) + 1
    return np.searchsorted(path, states, "left"), np.searchsorted(path, states, "right")


def listener_scores(
    evidence: Evidence,
    labels: np.ndarray,
    token_ids: np.ndarray,
    firsts: np.ndarray,
    ends: np.ndarray,
) -> np.ndarray:
    """The listener's score of each label, (n_labels,) float64; see evaluation/README.md.

    The highest log posterior of the label in its frames, less that of the likeliest other letter in
    these and in N_AROUND frames on either side.
    labels: (n_labels,) int, their columns in log_posteriors. token_ids: (n_labels,) int, their
        tokens. firsts, ends: (n_labels,) int, as label_frames gives them; no label is empty.
    """
    if not len(labels):
        return np.empty(0)
    frames, label, starts = _flat(firsts, ends)
    own = np.maximum.reduceat(evidence.log_posteriors[frames, labels[label]], starts)
    n_frames = len(evidence.rivals)
    around = np.maximum(firsts - N_AROUND, 0), np.minimum(ends + N_AROUND, n_frames)
    frames, label, starts = _flat(*around)
    is_own = evidence.rival_ids[frames] == token_ids[label]
    others = np.where(is_own, evidence.rivals[frames, 1], evidence.rivals[frames, 0])
    return own.astype(np.float64) - np.maximum.reduceat(others, starts)


def _flat(firsts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All frames of all labels in a row, the label of each, and where in the row a label starts."""
    lengths = ends - firsts
    starts = np.cumsum(lengths) - lengths
    label = np.repeat(np.arange(len(lengths)), lengths)
    frames = np.arange(lengths.sum()) + np.repeat(firsts - starts, lengths)
    return frames, label, starts
