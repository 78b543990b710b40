"""Scores of scripts 3 and 4 on the cards of the models that script 2 made."""

import dataclasses
import re

import pytest
from huggingface_hub import ModelCard

from korean_asr.card_file import CardResult, model_index, new_card, scores_block
from korean_asr.evaluation.model_cards import renew_cards
from korean_asr.files import write_json_lines
from korean_asr.manifest import manifest_rows

PAIRS = [("가나다라.", "가나다라"), ("밥을 먹어요", "밥을 먹어요")]


@pytest.fixture
def made(tmp_path):
    """A function that makes a model folder with a card, as script 2 leaves them."""

    def folder(name="mine"):
        path = tmp_path / name
        (path / "split").mkdir(parents=True)
        (path / "experiment.json").write_text("{}")
        validation = CardResult("korean", "split/validation.jsonl", 2, {"cer": 0.5, "wer": 0.5})
        index = model_index(name, [validation])
        card = new_card({"model-index": index}, f"# {name}\n\n{scores_block(index)}\n")
        (path / "README.md").write_text(card, encoding="utf-8")
        return path

    return folder


def renewed(folder, evaluation, manifest="split/test.jsonl", results=None):
    renew_cards([str(folder)], [evaluation], folder / manifest, results or folder / "results")
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_has_the_scores_that_the_report_prints(made, scored, printed, capsys):
    evaluation = scored(PAIRS * 3)
    card = renewed(made(), evaluation)
    cer, wer = re.findall(r"^[CW]ER: (\S+)$", printed(evaluation), re.M)
    assert f"| Korean speakers, split/test.jsonl | 6 | ko-1 | {cer} | {wer} |" in card
    index = ModelCard(card).data.to_dict()["model-index"]
    (row,) = (row for row in index[0]["results"] if row["dataset"]["split"] == "test")
    scores = evaluation.summary["scores"]
    assert [metric["value"] for metric in row["metrics"]] == [
        scores[name]["rate"] for name in ("cer", "wer", "cer_no_punctuation")
    ]
    assert capsys.readouterr().out.startswith("wrote ")


def test_each_model_gets_its_own_scores_and_learners_stand_beside_natives(made, scored):
    one, two = made("one"), made("two")
    evaluations = [scored(PAIRS), scored([(text, text) for text, _ in PAIRS])]
    sources, manifest = [str(one), str(two)], one / "split" / "test.jsonl"
    renew_cards(sources, evaluations, manifest, one / "results")
    first, second = ((path / "README.md").read_text(encoding="utf-8") for path in (one, two))
    assert "| Korean speakers, split/test.jsonl | 2 | ko-1 | 0.0909 |" in first
    assert "| Korean speakers, test.jsonl | 2 | ko-1 | 0.0000 |" in second
    first = renewed(one, scored(PAIRS, "foreign"), "foreign.jsonl")
    assert "| Foreign speakers of Korean, foreign.jsonl | 2 |" in first
    assert "| Korean speakers, split/test.jsonl | 2 | ko-1 | 0.0909 |" in first


def test_a_copy_of_the_split_is_told_as_the_split_and_not_once_more(made, scored, tmp_path):
    folder, evaluation = made(), scored(PAIRS)
    beside = tmp_path / "another" / "test.jsonl"
    beside.parent.mkdir()
    for path in (folder / "split" / "test.jsonl", beside):
        write_json_lines(path, manifest_rows(evaluation.utterances, path.parent))
    assert "| Korean speakers, split/test.jsonl | 2 |" in renewed(folder, evaluation, beside)
    assert "Korean speakers, test.jsonl" not in renewed(folder, evaluation)
    # Other clips under the same name.
    fewer = renewed(folder, scored(PAIRS[:1]), beside)
    assert "| Korean speakers, test.jsonl | 1 |" in fewer


@pytest.mark.parametrize("missing", ["split", "experiment.json", "README.md"])
def test_a_folder_that_script_2_did_not_make_is_never_written_into(made, scored, capsys, missing):
    folder = made()
    path = folder / missing
    path.rmdir() if path.is_dir() else path.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    results = folder / "results" if missing != "split" else None
    renew_cards([str(folder)], [scored(PAIRS)], folder / "x.jsonl", results or folder)
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert capsys.readouterr().out == ""


def test_another_models_card_is_told_and_left_alone(made, scored, capsys):
    folder = made()
    theirs = "---\nlicense: mit\n---\n# Another model\n"
    (folder / "README.md").write_text(theirs)
    assert renewed(folder, scored(PAIRS)) == theirs
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("WARNING · 경고: ") and "the two comments around its scores" in line
    assert str(folder / "results") in line


def test_results_in_another_folder_and_clips_of_the_training_leave_the_card(made, scored, tmp_path):
    folder = made()
    before = (folder / "README.md").read_text(encoding="utf-8")
    assert renewed(folder, scored(PAIRS), results=tmp_path / "elsewhere") == before
    trained_on = dataclasses.replace(scored(PAIRS), overlap=frozenset({0}))
    assert renewed(folder, trained_on) == before


def test_only_the_first_process_writes(made, scored, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    folder = made()
    before = (folder / "README.md").read_text(encoding="utf-8")
    assert renewed(folder, scored(PAIRS)) == before


def test_a_name_with_a_line_end_stays_within_its_row(made, scored):
    folder = made()
    for name in ("a\nb\u2028.jsonl", "\udcff.jsonl"):
        card = renewed(folder, scored(PAIRS), name)
        assert renewed(folder, scored(PAIRS), name) == card
    assert "| Korean speakers, a?b?.jsonl | 2 |" in card and "| Korean speakers, ?.jsonl |" in card
