"""What a model hears in recordings: text, letters and their times."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.audio_container import with_remedy
from korean_asr.errors import DataError, printable
from korean_asr.listening.cues import Cue, cues_of
from korean_asr.manifest import Utterance
from korean_asr.metrics import Hypothesis


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard in one recording.

    name: its path as the user gave it. seconds: by its samples, 0 where it cannot be read.
    hypothesis: with its letters; its problem says why there is no text.
    sentence: what was read aloud, cleaned; None where nobody said it.
    """

    name: str
    seconds: float
    hypothesis: Hypothesis
    sentence: str | None = None

    @property
    def cues(self) -> list[Cue]:
        """The text in cues; empty where nothing was heard."""
        return cues_of(self.hypothesis)


def listened(
    recogniser: Any,
    recordings: list[Path],
    sentence: str | None = None,
    precision: str = "float32",
) -> list[Heard]:
    """Decode recordings with their letters, in their order; progress is shown.

    recogniser: a model.Recogniser. sentence: what was read aloud in each of them, cleaned.
    Raises DataError if no recording could be decoded, and UsageError for a number format that the
    device lacks.
    """
    heard = heard_in(recogniser, recordings, sentence, precision, "listening")
    _refuse_none_heard(heard)
    return heard


def heard_in(
    recogniser: Any,
    recordings: list[Path],
    sentence: str | None,
    precision: str,
    progress: str | None = None,
) -> list[Heard]:
    """Do what listened() does, but refuse none. progress: title of the bar, None for no bar."""
    # Imported here: it imports torch.
    from korean_asr.decoding import decoded

    clips = [
        Utterance(str(path), os.path.abspath(path), duration=0.0, text=sentence or "")
        for path in recordings
    ]
    found = decoded(recogniser, clips, progress, precision, with_letters=True)
    return [
        Heard(clip.id, seconds, hypothesis, sentence)
        for clip, seconds, hypothesis in zip(
            clips, found.clip_seconds, found.hypotheses, strict=True
        )
    ]


def _refuse_none_heard(recordings: list[Heard]) -> None:
    if any(heard.hypothesis.problem is None for heard in recordings):
        return
    first = told_problem(recordings[0])
    if len(recordings) > 1:
        first = f"none of the {len(recordings):,} recordings was heard; the first: {first}"
    raise DataError(f"{first} Pass another file. · 음성을 읽을 수 없습니다.")


def told_problem(heard: Heard) -> str:
    """Say why a recording was not heard, and what helps."""
    problem = heard.hypothesis.problem
    if problem.startswith("audio"):
        return printable(f"{heard.name} cannot be read: {with_remedy(problem)}.")
    return printable(f"{heard.name} cannot be decoded: {problem}. Try --precision float32.")
