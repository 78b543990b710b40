"""Evaluations without a model, and one of the tiny model."""

from pathlib import Path

import pytest

from korean_asr.evaluation.command_line import Plan, evaluate, reports_of
from korean_asr.evaluation.report import report_lines, write_reports
from korean_asr.evaluation.scores import Evaluation
from korean_asr.manifest import Utterance
from korean_asr.messages import OVERLAP_KINDS
from korean_asr.metrics import Hypothesis


@pytest.fixture(scope="session")
def scored():
    """A function that makes an evaluation of (reference, hypothesis) pairs.

    Each of `clips` and `confidences` is a list of one value a clip; the others are fields of
    Evaluation.
    """

    def make(pairs, corpus="korean", confidences=None, clips=None, **fields):
        clips = clips or {}
        utterances = [
            Utterance(
                **{"id": f"c{n}", "audio_filepath": f"/c{n}.wav", "duration": 1.0, "text": text}
                | {key: values[n] for key, values in clips.items()}
            )
            for n, (text, _) in enumerate(pairs)
        ]
        confidences = confidences or [None] * len(pairs)
        hypotheses = [
            Hypothesis(text, None, confidence)
            for (_, text), confidence in zip(pairs, confidences, strict=True)
        ]
        values = {"model": "m", "manifest": "m.jsonl", "seen": dict.fromkeys(OVERLAP_KINDS)}
        return Evaluation(
            corpus=corpus, utterances=utterances, hypotheses=hypotheses, **(values | fields)
        )

    return make


@pytest.fixture
def plan(tiny_base, utterances, tmp_path):
    """The plan of scoring twelve clips with the tiny model."""
    return Plan("korean", [str(tiny_base)], tmp_path / "clips.jsonl", utterances)


@pytest.fixture
def evaluation(plan):
    """Twelve clips, decoded and scored with the tiny model."""
    return evaluate(plan)[0]


@pytest.fixture(scope="session")
def printed():
    """A function that makes the text of one evaluation's report."""
    return lambda evaluation: "\n".join(report_lines(reports_of([evaluation], Path())[0]))


@pytest.fixture(scope="session")
def write_results():
    """A function that writes the files of evaluations into a folder."""

    def write(evaluations, folder, owner=0, embed_audio=False):
        return write_reports(reports_of(evaluations, folder, owner), folder, owner, embed_audio)

    return write
