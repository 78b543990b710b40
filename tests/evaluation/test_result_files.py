"""Files of results: those of a model are not replaced by another's, or of other clips."""

import argparse
import json
import shutil
from pathlib import Path

import pytest

from korean_asr.errors import DataError, UsageError
from korean_asr.evaluation.command_line import show, show_rescored
from korean_asr.evaluation.experiments import experiments_in
from korean_asr.evaluation.natives import rescored
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


@pytest.fixture
def of(scored):
    """A function that makes an evaluation of a text by a model of these weights."""

    def make(text="가나", weights="w", corpus="korean", **fields):
        return scored([(text, "가나")], corpus, facts={"weights_sha256": weights}, **fields)

    return make


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def earlier_in(folder):
    """The files that were renamed, by their names without `earlier-`."""
    return {
        name.removeprefix("earlier-"): content
        for name, content in contents(folder).items()
        if name.startswith("earlier-")
    }


FILES = [f"korean.{suffix}" for suffix in ("html", "json", "jsonl", "xlsx")]


@pytest.mark.parametrize("other", [{"text": "가다"}, {"weights": "v"}, {"weights": None}])
def test_results_of_other_clips_or_weights_move_before_new_ones_take_their_names(
    of, tmp_path, capsys, other
):
    show([of()], tmp_path)
    first = contents(tmp_path)
    show([of(**other)], tmp_path)
    assert earlier_in(tmp_path) == {f"1.{name}": content for name, content in first.items()}
    assert names_in(tmp_path)[4:] == FILES
    assert contents(tmp_path)["korean.json"] != first["korean.json"]
    told = [line for line in capsys.readouterr().out.splitlines() if ", are now " in line]
    assert len(told) == 1 and told[0].startswith(
        f"{tmp_path}/korean.*, of other or unknown clips or weights, are now "
        f"{tmp_path}/earlier-1.korean.*"
    )
    second = {name: contents(tmp_path)[name] for name in FILES}
    show([of()], tmp_path)
    kept = earlier_in(tmp_path)
    assert {f"2.{name}": content for name, content in second.items()}.items() <= kept.items()
    assert len(kept) == 8


def test_results_of_the_same_clips_and_weights_are_replaced_without_a_word(of, tmp_path, capsys):
    show([of(), of(weights="v", model="base")], tmp_path)
    again = [of(notes=("in bf16",)), of(weights="v", model="base")]
    show(again, tmp_path)
    show([rescored(tmp_path / "korean.jsonl", "korean")], tmp_path)
    # Learners' results have names of their own.
    show([of("가다", corpus="foreign")], tmp_path)
    assert not earlier_in(tmp_path) and ", are now " not in capsys.readouterr().out
    # Of another system the weights are unknown, and the name tells it from others.
    show([of(weights=None, model="one")], tmp_path / "theirs")
    show([of(weights=None, model="one")], tmp_path / "theirs")
    assert names_in(tmp_path / "theirs") == FILES
    show([of(weights=None, model="two")], tmp_path / "theirs")
    assert earlier_in(tmp_path / "theirs")


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"checksums": 3}', None])
def test_results_whose_summary_is_damaged_or_missing_may_be_of_anything(of, tmp_path, damage):
    show([of()], tmp_path)
    (tmp_path / "korean.json").unlink()
    if damage:
        (tmp_path / "korean.json").write_text(damage, encoding="utf-8")
    before = contents(tmp_path)
    show([of()], tmp_path)
    assert earlier_in(tmp_path) == {f"1.{n}": text for n, text in before.items()}


@pytest.mark.parametrize("n_moved", range(4))
def test_a_run_killed_between_two_files_loses_none_and_the_next_moves_the_rest(
    of, tmp_path, monkeypatch, n_moved
):
    show([of()], tmp_path)
    before = contents(tmp_path)
    moves = []

    def rename(path, target):
        if len(moves) == n_moved:
            raise KeyboardInterrupt
        moves.append(path.name)
        shutil.move(path, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", rename)
        show([of("가다")], tmp_path)
    now = contents(tmp_path)
    assert sorted(now.values()) == sorted(before.values())
    show([of("가다")], tmp_path)
    assert earlier_in(tmp_path) == {f"1.{n}": text for n, text in before.items()}


def test_earlier_results_are_no_results_of_a_model_but_can_be_scored_again(of, tmp_path):
    results = tmp_path / "m" / "results"
    show([of(model="m")], results)
    show([of("가다", model="m")], results)
    models = experiments_in(tmp_path).models
    assert [one.name for one in models] == ["m"]
    assert models[0].evaluations["korean"].utterances[0].text == "가다"
    for folder in (results.parent, results):
        with pytest.raises(DataError, match="is a model|is itself a model"):
            experiments_in(folder)
    assert rescored(results / "earlier-1.korean.jsonl", "korean").model == "m"
    # Audio is named from the folder, which is the same; so are the natives to compare with.
    show([of("가라", corpus="foreign", model="m")], results)
    show([of("가마", corpus="foreign", model="m")], results)
    natives = rescored(results / "earlier-1.foreign.jsonl", "foreign").facts["natives"]
    assert natives is not None
