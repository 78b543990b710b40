"""Read Excel files back as what they are: XML in a zip archive."""

import dataclasses

import pytest

from korean_asr.evaluation.command_line import reports_of
from korean_asr.evaluation.spreadsheet import MAX_CELL_UNITS, workbook
from korean_asr.messages import SCORES


@pytest.fixture
def book(workbook_in, tmp_path):
    """A function that makes the workbook of one evaluation and reads it back."""

    def read_back(evaluation):
        report = reports_of([evaluation], tmp_path)[0]
        clips = [row | counts for row, counts in zip(report.rows, report.counts, strict=True)]
        return workbook_in(workbook(report.summary, clips))

    return read_back


def test_sums_of_a_spreadsheet_give_the_rates_of_the_report(evaluation, book):
    sheets = book(evaluation).sheets
    assert list(sheets) == ["scores", "slices", "confusions", "clips"]
    rates = {row["score"]: row for row in sheets["scores"]}
    assert rates.keys() == set(evaluation.totals)
    for name in SCORES:
        errors = sum(row[f"{name}_errors"] for row in sheets["clips"])
        length = sum(row[f"{name}_reference_length"] for row in sheets["clips"])
        assert errors / length == pytest.approx(rates[name]["rate"], abs=1e-6)
        assert length == rates[name]["reference_length"]
    bins = [row for row in sheets["slices"] if row["slice"] == "duration" and row["score"] == "cer"]
    assert sum(row["n_clips"] for row in bins) == 12
    assert sum(row["reference_length"] for row in bins) == rates["cer"]["reference_length"]
    assert {row["model"] for row in sheets["scores"]} == {"tiny_base"}


def test_confusions_have_their_letters_and_clips(scored, book):
    values = {"first_language": ["영어", "영어"]}
    rows = book(scored([("서울", "소울")] * 2, "foreign", clips=values)).sheets["confusions"]
    assert [(row["first_language"], row["reference"], row["hypothesis"]) for row in rows] == [
        ("all", "ㅓ", "ㅗ"),
        ("영어", "ㅓ", "ㅗ"),
    ]
    assert (rows[0]["position"], rows[0]["n"], rows[0]["clips"]) == ("nucleus", 2.0, "c0 c1")


def test_learners_have_sheets_of_their_own(scored, workbook_in, tmp_path):
    pairs = [("먹어어요", "먹었어여")] * 5
    values = {"first_language": ["영어"] * 5, "speaker": ["=A1"] * 5, "prompt": ["먹었어요"] * 5}
    evaluation, natives = scored(pairs, "foreign", clips=values), scored([("가" * 200, "가")])
    for each, score in ((evaluation, -2.0), (natives, 1.0)):
        for clip, heard in enumerate(each.hypotheses):
            letters = [[letter, 0.1, 0.2, score] for letter in each.utterances[clip].text]
            found = {"reference": letters, "hypothesis": []}
            each.hypotheses[clip] = dataclasses.replace(heard, letters=found)
    evaluation.facts["natives"] = natives
    report = reports_of([evaluation], tmp_path, by_speaker=True)[0]
    sheets = workbook_in(workbook(report.summary, report.rows)).sheets
    assert list(sheets)[3:] == ["repair", "syllables", "cards", "clips"]
    repair = sheets["repair"]
    assert [(row["first_language"], row["n"], row["repaired"]) for row in repair] == [
        ("all", 5, 5),
        ("영어", 5, 5),
    ]
    assert (repair[0]["rate"], repair[0]["interval_high"]) == (1, 1)
    syllables = sheets["syllables"]
    assert [row["first_language"] for row in syllables[:2]] == ["natives", "all"]
    assert (syllables[1]["n"], syllables[1]["below"], syllables[1]["share"]) == (20, 20, 1)
    onset = next(row for row in syllables if row.get("position") == "onset")
    assert (onset["jamo"], onset["n"], onset["below"]) == ("ㅁ", 5, 5)
    assert onset["clips"] == "c0 c1 c2"
    (card,) = sheets["cards"]
    assert (card["speaker"], card["position"], card["jamo"]) == ("=A1", "nucleus", "ㅛ")


@pytest.mark.parametrize(
    "text",
    ["=1+1", "{=1+1}", "http://example.org", "internal:A1", "007", "+82", "@SUM(1)", "<b>&amp;"],
)
def test_text_stays_text_whatever_it_looks_like(scored, book, text):
    made = book(scored([("가", "나")], clips={"id": [text], "gender": [text]}, model=text))
    clip = made.sheets["clips"][0]
    assert (clip["id"], clip["gender"]) == (text, text)
    assert made.sheets["scores"][0]["model"] == text
    for name, xml in made.xml.items():
        if name.startswith("xl/worksheets/"):
            assert "<f>" not in xml and "<hyperlink" not in xml


def test_a_text_that_excel_cannot_hold_is_cut_visibly(scored, book):
    # An emoji is two UTF-16 units.
    fits, long = "가" * MAX_CELL_UNITS, "👍" * MAX_CELL_UNITS
    clips = book(scored([("가", "가")] * 2, clips={"id": [fits, long]})).sheets["clips"]
    assert clips[0]["id"] == fits
    assert clips[1]["id"] == "👍" * ((MAX_CELL_UNITS - 1) // 2) + "…"


def test_names_of_undecodable_bytes_and_control_characters_leave_the_file_readable(scored, book):
    names = ["a\udcc7", "b\x00\x1b", "c\uffff", "d\n"]
    clips = book(scored([("가", "가")] * 4, clips={"id": names})).sheets["clips"]
    assert clips[0]["id"] == "a\\udcc7"
    assert [clip["id"][0] for clip in clips] == ["a", "b", "c", "d"]


def test_what_is_unknown_is_an_empty_cell(scored, book):
    sheets = book(scored([("", "")], confidences=[None])).sheets
    rows = {row["score"]: row for row in sheets["scores"]}
    assert rows["spacing"].get("f1") is None and rows["cer"].get("interval_low") is None
    assert sheets["clips"][0].get("speaker") is None


def test_more_clips_than_rows_of_a_sheet_go_on_in_another(scored, book, monkeypatch):
    monkeypatch.setattr("korean_asr.evaluation.spreadsheet.MAX_ROWS", 2)
    sheets = book(scored([("가", "나")] * 5)).sheets
    assert [len(sheets[name]) for name in ("clips", "clips 2", "clips 3")] == [2, 2, 1]
