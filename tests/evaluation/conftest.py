"""Evaluations without a model, and one of the tiny model; Excel files that are read back."""

import io
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from korean_asr.evaluation.command_line import Plan, evaluate, reports_of
from korean_asr.evaluation.report import report_lines, write_reports
from korean_asr.evaluation.scores import Evaluation
from korean_asr.manifest import Utterance
from korean_asr.messages import OVERLAP_KINDS
from korean_asr.metrics import Hypothesis

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def column_number(reference):
    """The index of a column: "A1" is 0, "AB7" is 27."""
    number = 0
    for letter in re.match("[A-Z]+", reference)[0]:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


class Book:
    """Sheets of a workbook as lists of dictionaries, and all its XML."""

    def __init__(self, content):
        archive = zipfile.ZipFile(io.BytesIO(content))
        self.xml = {name: archive.read(name).decode() for name in archive.namelist()}
        names = ElementTree.fromstring(self.xml["xl/workbook.xml"]).iter(f"{MAIN}sheet")
        self.sheets = {
            sheet.get("name"): self.rows(f"xl/worksheets/sheet{number}.xml")
            for number, sheet in enumerate(names, 1)
        }

    def rows(self, name):
        table = [
            {column_number(cell.get("r")): self.value(cell) for cell in row}
            for row in ElementTree.fromstring(self.xml[name]).iter(f"{MAIN}row")
        ]
        header = table[0] if table else {}
        return [{header[i]: value for i, value in row.items()} for row in table[1:]]

    def value(self, cell):
        if cell.get("t") == "inlineStr":
            return "".join(text.text or "" for text in cell.iter(f"{MAIN}t"))
        content = cell.find(f"{MAIN}v")
        if content is None:
            return None
        return bool(int(content.text)) if cell.get("t") == "b" else float(content.text)


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


@pytest.fixture(scope="session")
def workbook_in():
    """A function that reads the bytes of an .xlsx file: its `sheets`, and all its `xml`."""
    return Book
