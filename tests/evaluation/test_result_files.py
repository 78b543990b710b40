"""Files of results: those of a model are not replaced by another's, or of other clips."""

import argparse
import json

import pytest

from korean_asr.errors import UsageError
from korean_asr.evaluation.command_line import show_rescored
from korean_asr.files import write_json, write_json_lines

THEIRS = [{"text": "가나", "pred_text": "나나"}]


@pytest.fixture
def model(tmp_path, scored, write_results):
    """A model with its results, and those of another one that was scored beside it."""
    folder = tmp_path / "model"
    write_json(folder / "experiment.json", {})
    both = [
        scored([("가나", pred)], corpus, model=name, facts={"weights_sha256": name})
        for corpus in ("korean", "foreign")
        for name, pred in (("model", "가나"), ("owner/base", "가가"))
    ]
    write_results(both[:2], folder / "results")
    write_results(both[2:], folder / "results")
    write_json_lines(tmp_path / "theirs.jsonl", THEIRS)
    return folder


def rescore(paths, output, corpus="korean"):
    arguments = argparse.Namespace(rescore=paths, output=output, embed_audio=False)
    show_rescored(arguments, corpus)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def name_in(path):
    return json.loads(path.read_text(encoding="utf-8"))["model"]


@pytest.mark.parametrize("corpus", ["korean", "foreign"])
@pytest.mark.parametrize("record", ["experiment.json", "config.json"])
def test_another_systems_results_do_not_become_those_of_a_model(model, tmp_path, corpus, record):
    (model / "experiment.json").rename(model / record)
    results, theirs = model / "results", tmp_path / "theirs.jsonl"
    before = contents(results)
    (tmp_path / "link").symlink_to(results)
    for output in (results, tmp_path / "link", model / "split" / ".." / "results"):
        with pytest.raises(UsageError) as refused:
            rescore([theirs], output, corpus)
        assert str(output) in str(refused.value) and str(theirs) in str(refused.value)
        assert "--output results_theirs" in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(UsageError):
        rescore([results / f"{corpus}.jsonl", theirs], results, corpus)
    # Results of the other corpus are none of this one.
    with pytest.raises(UsageError):
        rescore(
            [results / f"{'foreign' if corpus == 'korean' else 'korean'}.jsonl"], results, corpus
        )
    assert contents(results) == before
    rescore([theirs], tmp_path / "results", corpus)
    rescore([theirs], model / "theirs", corpus)


@pytest.mark.parametrize("names", [["korean"], ["korean.base"], ["korean.base", "korean"]])
def test_a_model_s_own_results_are_renewed_each_under_its_name(model, names):
    results = model / "results"
    before = contents(results)
    rescore([results / f"{name}.jsonl" for name in names], results)
    after = contents(results)
    assert after.keys() == before.keys()
    renewed = {name for name in after if name.endswith(".json") and after[name] != before[name]}
    assert renewed == {f"{name}.json" for name in names}
    assert name_in(results / "korean.json") == "model"
    assert name_in(results / "korean.base.json") == "owner/base"


def test_results_beside_a_model_keep_the_name_in_their_file_where_nothing_else_tells_it(model):
    path = model / "results" / "korean.base.json"
    path.unlink()
    rescore([path.with_suffix(".jsonl")], model / "results")
    assert name_in(path) == "base"
