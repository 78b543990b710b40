"""Count which slips of readers the model kept, and which it repaired.

A slip is where the label, which holds what was said, differs from the prompt that was to be read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from korean_asr.alignment import aligned, matches
from korean_asr.evaluation.intervals import drawn_rates, interval, none_or_all
from korean_asr.evaluation.scores import Evaluation
from korean_asr.metrics import NOT_SCORED, too_long, without_punctuation_and_spaces
from korean_asr.rates import stored_rate
from korean_asr.transcripts import n_digits_and_latin, without_tags

OUTCOMES = ("kept", "repaired", "else")
# A reader whose slips cover more of the prompt or of the label has read another sentence.
MAX_SHARE = 0.5
# Slips of each outcome that the summary lists, for the page.
N_LISTED = 100


@dataclass(frozen=True, slots=True)
class Slip:
    """A maximal run of unequal operations between prompt and label; each part may be empty.

    model: the model's letters there; None for a clip that was not decoded.
    """

    prompt: str
    label: str
    model: str | None

    @property
    def outcome(self) -> str:
        """One of OUTCOMES."""
        if self.model == self.label:
            return "kept"
        return "repaired" if self.model == self.prompt else "else"

    @property
    def is_writing(self) -> bool:
        """Whether one side alone has digits or Latin letters: 3시 and 세 시 are read alike."""
        return bool(n_digits_and_latin(self.prompt)) != bool(n_digits_and_latin(self.label))


@dataclass(frozen=True, slots=True)
class ClipSlips:
    """The slips of a clip that count, and what was left out of it.

    n_writing: differences of writing (see Slip.is_writing).
    is_other_sentence: the slips cover more than MAX_SHARE of the prompt or of the label.
    """

    slips: tuple[Slip, ...] = ()
    n_writing: int = 0
    is_other_sentence: bool = False


def clip_slips(prompt: str | None, label: str, model: str | None) -> ClipSlips:
    """Find the slips of a clip, and what the model wrote there.

    Punctuation and spaces are removed from all texts. model: None for a clip that was not decoded.
    A clip whose prompt is None or has no letters has no slip.
    """
    prompt, label = (without_punctuation_and_spaces(text or "") for text in (prompt, label))
    if not prompt or prompt == label:
        return ClipSlips()
    if too_long(prompt, label):
        return ClipSlips(is_other_sentence=True)
    heard = None if model is None else without_punctuation_and_spaces(model)
    found = list(_slips(prompt, label, heard))
    slips = tuple(slip for slip in found if not slip.is_writing)
    n_writing = len(found) - len(slips)
    covered = [sum(len(slip.prompt) for slip in slips), sum(len(slip.label) for slip in slips)]
    if covered[0] > MAX_SHARE * len(prompt) or covered[1] > MAX_SHARE * len(label):
        return ClipSlips(n_writing=n_writing, is_other_sentence=True)
    return ClipSlips(slips, n_writing)


def _slips(prompt: str, label: str, model: str | None) -> Iterator[Slip]:
    """The runs between the letters that prompt and label share, from start to end."""
    bounds = None if model is None else _bounds(label, model)
    first, start = 0, 0
    for i, j in [*matches(prompt, label), (len(prompt), len(label))]:
        if i > first or j > start:
            heard = None if bounds is None else model[bounds[0][start] : bounds[1][j]]
            yield Slip(prompt[first:i], label[start:j], heard)
        first, start = i + 1, j + 1


def _bounds(label: str, model: str) -> tuple[list[int], list[int]]:
    """Where the model's letters of a run of the label start, and where they end.

    They lie between the model's letters that are aligned to the letters of the label before and
    behind the run. Where the model left such a neighbour out, the next one further away counts.
    Returns for each index in the label, its end included: the index in the model behind what
    is aligned to the letters before it, and the index of what is aligned to it or to a later one.
    """
    letters: list[int | None] = [None] * len(label)
    for i, j in aligned(label, model):
        if i is not None:
            letters[i] = j
    starts, ends = [0], [len(model)]
    for index in letters:
        starts.append(starts[-1] if index is None else index + 1)
    for index in reversed(letters):
        ends.append(ends[-1] if index is None else index)
    return starts, ends[::-1]


def slips_of(evaluation: Evaluation) -> list[ClipSlips]:
    """The slips of each clip, tags removed from all texts.

    A clip that was not decoded keeps none and repairs none; one that is too long has no slip.
    """
    found = []
    for index, (label, model) in enumerate(evaluation.fair_pairs):
        prompt, problem = evaluation.utterances[index].prompt, evaluation.problems[index]
        if not prompt or problem == NOT_SCORED:
            found.append(ClipSlips())
        else:
            found.append(clip_slips(without_tags(prompt), label, None if problem else model))
    return found


def repair_rate(
    evaluation: Evaluation, found: list[ClipSlips], indices: Sequence[int]
) -> dict[str, Any]:
    """How many slips of some clips were kept and repaired, as JSON holds it.

    found: the slips of each clip of the evaluation.
    The rate is repaired over all; it is None without slips. Its interval draws the clips with
    slips, or is that of none_or_all().
    """
    clips = [index for index in indices if found[index].slips]
    outcomes = [slip.outcome for index in clips for slip in found[index].slips]
    row: dict[str, Any] = {"n": len(outcomes)}
    row |= {name: outcomes.count(name) for name in OUTCOMES}
    row |= {"rate": None, "interval": None, "n_clips": len(clips), "drawn": None}
    if clips:
        units = evaluation.units_among(clips)
        row["rate"] = stored_rate(row["repaired"] / row["n"])
        if row["repaired"] in (0, row["n"]):
            row["interval"] = none_or_all(row["n"], is_all=row["repaired"] > 0)
        else:
            row["interval"] = interval(drawn_rates(repair_ratios(found, clips), units)[:, 0])
        row["drawn"] = units.drawn
    row["n_other_sentences"] = sum(found[index].is_other_sentence for index in indices)
    row["n_other_writing"] = sum(found[index].n_writing for index in indices)
    return row


def repair_ratios(found: list[ClipSlips], indices: Sequence[int]) -> np.ndarray:
    """Repaired slips and all slips of each of some clips, (n_clips, 1, 2)."""
    clips = [found[index].slips for index in indices]
    pairs = [(sum(slip.outcome == "repaired" for slip in slips), len(slips)) for slips in clips]
    return np.array(pairs, np.float64)[:, None, :]


def listed_slips(evaluation: Evaluation, found: list[ClipSlips]) -> dict[str, list[dict[str, Any]]]:
    """The first N_LISTED slips of each outcome, with the ids of their clips."""
    listed: dict[str, list[dict[str, Any]]] = {name: [] for name in OUTCOMES}
    for utterance, clip in zip(evaluation.utterances, found, strict=True):
        for slip in clip.slips:
            rows = listed[slip.outcome]
            if len(rows) < N_LISTED:
                texts = {"prompt": slip.prompt, "label": slip.label, "model": slip.model}
                rows.append({"id": utterance.id, **texts})
    return listed
