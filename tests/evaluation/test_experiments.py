"""The table of what each experiment brought, from files alone."""

import dataclasses
import json
from functools import cache
from pathlib import Path

import pytest

from korean_asr.errors import DataError, UsageError
from korean_asr.evaluation.comparison import differences
from korean_asr.evaluation.experiment_report import (
    compared_experiments,
    experiment_lines,
    show_experiments,
    shown_value,
    write_experiments,
)
from korean_asr.evaluation.experiment_table import experiment_table
from korean_asr.evaluation.experiments import experiments_in
from korean_asr.files import write_json, write_json_lines
from korean_asr.messages import n_columns

TEXTS = ["가나다라마", "바사아자차", "카타파하", "가나 다라", "마바사아"] * 4
# Right, one letter wrong at the end, the same in half of the clips.
GOOD = [(text, text) for text in TEXTS]
BAD = [(text, text[:-1] + "힣") for text in TEXTS]
MIXED = [(text, text[:-1] + "힣" if n % 2 else text) for n, text in enumerate(TEXTS)]
RECIPE = {"name": "v3", "learning_rate": 0.0001, "epochs": 10.0}


@pytest.fixture
def folder(tmp_path):
    """The folder that the models lie in."""
    return tmp_path / "models"


@pytest.fixture(scope="module")
def made(scored):
    """A function that makes the .json and the rows of the .jsonl of some texts, each once."""

    @cache
    def results(pairs, corpus):
        one = scored(list(pairs), corpus, manifest=f"{corpus}.jsonl")
        return one.summary, one.rows(Path("/"))

    return results


@pytest.fixture
def write_texts(made):
    """A function that writes the .json and the .jsonl of a model's results, without their page."""

    def write(pairs, folder, corpus="korean", model="m", stem=None, weights=None):
        summary, rows = made(tuple(pairs), corpus)
        checksums = summary["checksums"] | {"weights": weights or f"weights of {model}"}
        of_model = summary | {"model": model, "checksums": checksums}
        write_json(folder / f"{stem or corpus}.json", of_model)
        write_json_lines(folder / f"{stem or corpus}.jsonl", rows)

    return write


@pytest.fixture
def add(folder, write_texts):
    """A function that adds a model: pairs of each corpus, and what its experiment.json holds.

    beside: (name, pairs) of another model that was scored with it on Korean speakers.
    """

    def added(name, korean=None, foreign=None, recipe=None, tokens=None, beside=None, **record):
        model = folder / name
        if korean:
            write_texts(korean, model / "results", model=name)
        if foreign:
            write_texts(foreign, model / "results", "foreign", name)
        if beside:
            other, pairs = beside
            write_texts(pairs, model / "results", model=other, stem=f"korean.{other}")
        if recipe:
            write_json(model / "experiment.json", {"recipe": recipe, **record})
        if tokens:
            write_json(model / "vocab.json", {token: n for n, token in enumerate(tokens)})
        return model

    return added


@pytest.fixture
def table_of(folder):
    return lambda: experiment_table(experiments_in(folder))


@pytest.fixture
def printed_table(table_of):
    return lambda: "\n".join(experiment_lines(table_of()))


def cells(text, model, title):
    """The cells of a model's row in the block of that title."""
    block = text.partition(f"\n{title}")[2].partition("\n\n")[0]
    return next(line.split() for line in block.splitlines() if line.split()[:1] == [model])[1:]


def test_the_table_shows_recipe_training_scores_and_differences(add, printed_table):
    trained = {
        "clips": {"train": {"n_clips": 6400, "hours": 8.5}},
        "updates": 1000,
        "speed": {"training_seconds": 5400.0},
    }
    add("a_first", BAD, BAD, RECIPE, **trained)
    more = {
        "train": {"n_clips": 6400, "hours": 8.5},
        "foreign_train": {"n_clips": 10, "hours": 0.2},
    }
    add("b_mixed", MIXED, GOOD, RECIPE | {"learning_rate": 3e-4}, **(trained | {"clips": more}))
    add("c_base", GOOD)
    text = printed_table()
    assert cells(text, "a_first", "Recipe values that differ") == ["v3", "0.0001"]
    assert cells(text, "b_mixed", "Recipe values that differ") == ["v3", "0.0003"]
    assert cells(text, "c_base", "Recipe values that differ") == ["–", "–"]
    assert "epochs" not in text
    assert cells(text, "a_first", "Training") == ["6,400", "8.50", "1,000", "1.50"]
    assert cells(text, "b_mixed", "Training")[:2] == ["6,410", "8.70"]
    assert cells(text, "c_base", "Training") == ["–"] * 4
    # 20 wrong letters of 92 with the spaces, and 10.
    korean = "Korean speakers ·"
    assert cells(text, "a_first", korean)[:2] == ["20", "0.2174"]
    assert cells(text, "a_first", korean)[3] == "–"
    mixed = cells(text, "b_mixed", korean)
    assert mixed[:2] == ["20", "0.1087"] and mixed[3] == "-0.1087"
    low, to, high = mixed[4:7]
    assert (low[0], to, high[-1]) == ("(", "to", ")") and float(low[1:]) < -0.1087 < float(
        high[:-1]
    )
    assert cells(text, "b_mixed", "Foreign speakers of Korean ·")[1] == "0.0000"
    assert cells(text, "c_base", "Foreign speakers of Korean ·") == ["–"] * 7
    assert "clips of foreign.jsonl" in text


def test_values_that_a_record_lacks_were_the_defaults(add, table_of):
    add("a", GOOD, recipe={"name": "v3", "mask_time_prob": 0.05})
    add("b", GOOD, recipe={"name": "v3", "freeze_feature_encoder": True, "layerdrop": 0.2})
    add("c", GOOD, recipe={"name": "v9", "split_caps": None, "value_of_later": "choose"})
    table = table_of()
    assert table.values == ["layerdrop", "value_of_later"]
    rows = {row["model"]: row["values"] for row in table.rows}
    # No Recipe of today has value_of_later, so its default is unknown.
    assert rows == {
        "a": {"layerdrop": 0.1},
        "b": {"layerdrop": 0.2},
        "c": {"layerdrop": 0.1, "value_of_later": "choose"},
    }


def test_a_column_of_each_base_model_is_there_where_they_differ(add, printed_table):
    add("a", GOOD, recipe=RECIPE, base_model={"name": "owner/one"})
    add("b", GOOD, recipe=RECIPE, base_model={"name": "owner/one"})
    assert "base model" not in printed_table() and "every value is equal" in printed_table()
    add("c", GOOD, recipe=RECIPE, base_model={"name": "owner/two"})
    assert cells(printed_table(), "c", "Training")[0] == "owner/two"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("learning_rate", 1e-4, "0.0001"),
        ("split_caps", [80, 10, 10], "80,10,10"),
        ("split_caps", None, "none"),
        ("max_duration_s", None, "inf"),
        ("freeze_feature_encoder", True, "true"),
        ("added_tokens", ".,?!", ".,?!"),
        ("unheard_of", None, "none"),
        ("unheard_of", {"a": 1}, '{"a": 1}'),
    ],
)
def test_a_recipe_value_is_shown_as_it_is_typed(name, value, shown):
    assert shown_value(name, value) == shown


@pytest.mark.parametrize(("n_values", "first"), [(2, "model"), (3, "recipe value")])
def test_the_longer_side_of_the_recipes_runs_down(add, printed_table, n_values, first):
    values = dict(list({"epochs": 1.0, "seed": 7, "layerdrop": 0.0}.items())[:n_values])
    for name, changes in (("a", {}), ("b", values), ("c", {})):
        add(name, GOOD, recipe=RECIPE | changes)
    title, _, header = printed_table().partition("Recipe values that differ")[2].partition("\n")
    assert header.split("  ")[1].strip() == first


def test_columns_align_whatever_script_a_name_has(add, printed_table):
    add("가나다", GOOD)
    add("abcdef", GOOD)
    block = printed_table().partition("Korean speakers ·")[2].splitlines()[2:4]
    assert [line.split()[0] for line in block] == ["abcdef", "가나다"]
    ends = {n_columns(line[: line.index("20") + 2]) for line in block}
    assert len(ends) == 1


def test_differences_are_those_of_the_comparison_on_the_same_draws(add, table_of, scored):
    add("a", BAD)
    add("b", MIXED)
    first, other = scored(BAD), scored(MIXED)
    expected = differences(first, other)
    scores = table_of().rows[1]["corpora"]["korean"]["scores"]
    for name in ("cer", "wer"):
        assert scores[name]["difference"] == expected[name]
        assert scores[name]["interval"] == other.summary["scores"][name]["interval"]
        assert scores[name]["rate"] == other.summary["scores"][name]["rate"]


def test_models_that_err_as_often_in_other_clips_are_too_close_to_call(add, printed_table):
    add("a", MIXED)
    add("b", [(text, text if n % 2 else text[:-1] + "힣") for n, text in enumerate(TEXTS)])
    assert "too close to call  0" in printed_table()
    assert "뚜렷한 차이 없음" not in printed_table()


def test_a_base_model_is_found_in_the_results_of_another_model(add, table_of):
    add("tuned", GOOD, recipe=RECIPE, beside=("base", BAD))
    rows = table_of().rows
    assert [row["model"] for row in rows] == ["base", "tuned"]
    assert rows[0]["recipe"] is None and rows[0]["updates"] is None
    cer = rows[1]["corpora"]["korean"]["scores"]["cer"]
    assert cer["difference"]["lower_by"] == pytest.approx(20 / 92, abs=1e-6)


def test_results_in_a_folder_of_their_own_belong_to_the_model_of_that_name(
    add, folder, write_texts, table_of
):
    add("tuned", GOOD, recipe=RECIPE)
    write_texts(BAD, folder / "results_base", model="base")
    assert [row["model"] for row in table_of().rows] == ["base", "tuned"]


def test_models_of_other_clips_are_not_compared_and_it_is_told_in_one_line(add, printed_table):
    add("a", GOOD)
    add("b", BAD[:10])
    add("c", BAD[:15])
    text = printed_table()
    assert cells(text, "b", "Korean speakers ·")[0] == "10"
    assert cells(text, "b", "Korean speakers ·")[3] == "–"
    notes = [line for line in text.splitlines() if line.startswith("Note: ")]
    assert notes == [
        "Note: Korean speakers: b, c and a were not scored on the same clips, so they are not "
        "compared. Score them in one run of the script. "
        "· 같은 발화로 평가한 결과만 비교할 수 있습니다."
    ]


def test_models_of_other_test_splits_are_compared_where_one_run_scored_both(add, table_of):
    add("a", BAD[:10])
    add("b", MIXED, beside=("a", BAD))
    table = table_of()
    assert [row["corpora"]["korean"]["n_clips"] for row in table.rows] == [20, 20]
    assert table.rows[1]["corpora"]["korean"]["scores"]["cer"]["difference"]["decided"]
    assert table.notes == []


def test_nothing_is_compared_with_a_first_model_that_has_no_results(add, table_of):
    add("a", GOOD)
    add("b", GOOD, GOOD)
    add("c", GOOD, BAD)
    table = table_of()
    assert table.rows[2]["corpora"]["foreign"]["scores"]["cer"]["difference"] is None
    assert table.notes == [
        "Foreign speakers of Korean: a has no results, so no model is compared with it. "
        "· 첫 모델의 결과가 없어 비교하지 않습니다."
    ]


def test_results_that_are_missing_are_told_with_the_script_that_makes_them(add, table_of):
    add("a", GOOD, BAD)
    add("b", GOOD)
    add("c", GOOD)
    assert table_of().notes == [
        "Foreign speakers of Korean: no results of b, c. Run script 4 with --model and that "
        "folder. · 평가 결과가 없습니다. 4번 스크립트로 평가하세요."
    ]
    add("d", foreign=GOOD)
    assert any(
        "Korean speakers: no results of d. Run script 3" in note for note in table_of().notes
    )


def test_the_original_codes_rates_need_results_and_vocabulary(add, printed_table):
    pairs = [("밥밥 먹어.", "밥 먹어")] * 3
    add("a", pairs, tokens=["밥", "먹", "어", "|", "[PAD]"])
    add("b", pairs, tokens=["밥", "먹", "어", "|", ".", "[PAD]"])
    add("c", pairs)
    add("d", foreign=pairs, tokens=["밥", "|"])
    text, title = printed_table(), "Korean speakers, as the original code counts"
    # 밥 먹어 of four characters; 밥 먹어. of five, whose mark is missing.
    assert cells(text, "a", title) == ["0.0000", "0.0000"]
    assert cells(text, "b", title) == ["0.2000", "0.5000"]
    assert cells(text, "c", title) == cells(text, "d", title) == ["–", "–"]


def test_results_of_training_clips_are_noted(add, table_of):
    path = add("a", GOOD) / "results" / "korean.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[3]["seen_in_training"] = True
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert table_of().notes == [
        "Korean speakers: 1 of 20 clips are in the training data of a (1 by id)"
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("results/korean.jsonl", "{", "korean.jsonl, line 1: no result: it is not JSON"),
        ("results/korean.jsonl", "", "korean.jsonl holds no result."),
        ("results/foreign.jsonl", '{"text": "가"}', "line 1: no result: it has no `pred_text`"),
        ("experiment.json", "{", "experiment.json is damaged"),
        ("experiment.json", '{"recipe": 3}', "experiment.json is damaged (`recipe` is 3"),
        ("vocab.json", "[]", "vocab.json cannot be read (it is not a JSON object)"),
    ],
)
def test_a_damaged_file_is_told_in_one_line_and_the_rest_is_shown(
    add, printed_table, name, content, told
):
    add("a", GOOD, GOOD, RECIPE)
    (add("b", BAD, BAD, RECIPE, tokens="가") / name).write_text(content, encoding="utf-8")
    text = printed_table()
    notes = [line for line in text.splitlines() if line.startswith("Note: ")]
    assert [told in line for line in notes].count(True) == 1
    assert cells(text, "a", "Korean speakers ·")[1] == "0.0000"


def test_results_of_other_weights_than_the_models_are_left_out(add, table_of):
    add("a", GOOD)
    path = add("b", GOOD, BAD) / "results" / "foreign.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    summary["checksums"]["weights"] = "others"
    path.write_text(json.dumps(summary), encoding="utf-8")
    table = table_of()
    assert [[*row["corpora"]] for row in table.rows] == [["korean"], ["korean"]]
    assert len(table.notes) == 1
    assert "foreign.jsonl is of other weights than the other results of b" in table.notes[0]


def test_results_beside_another_model_belong_to_the_weights_that_wrote_them(
    add, folder, write_texts, table_of
):
    add("a", GOOD)
    add("renamed", MIXED)
    # Scored with a: an earlier model of the name "renamed", and this one under its earlier name.
    beside = folder / "a" / "results"
    write_texts(BAD, beside, model="renamed", stem="korean.renamed", weights="earlier weights")
    own = "weights of renamed"
    write_texts(BAD, beside, "foreign", model="b", stem="foreign.b", weights=own)
    table = table_of()
    assert [row["model"] for row in table.rows] == ["a", "renamed"]
    corpora = table.rows[1]["corpora"]
    assert corpora["korean"]["scores"]["cer"]["rate"] == pytest.approx(10 / 92, abs=1e-6)
    assert corpora["foreign"]["scores"]["cer"]["rate"] == pytest.approx(20 / 92, abs=1e-6)
    assert "korean.renamed.jsonl is of other weights than the other results of" in table.notes[0]


def test_a_model_that_was_trained_again_does_not_get_the_scores_of_its_predecessor(
    add, folder, write_texts, table_of
):
    add("a", GOOD, recipe=RECIPE)
    add("b", recipe=RECIPE | {"epochs": 2.0}, weights_sha256="new weights")
    beside = folder / "a" / "results"
    write_texts(BAD, beside, model="b", stem="korean.b", weights="old weights")
    table = table_of()
    assert [(row["model"], [*row["corpora"]]) for row in table.rows] == [
        ("a", ["korean"]),
        ("b", []),
    ]
    assert "korean.b.jsonl is of other weights than the model b. Score it again" in table.notes[0]
    # Its predecessor, which --fresh renamed, is there.
    add("b.old", recipe=RECIPE, weights_sha256="old weights")
    table = table_of()
    assert not any("other weights" in note for note in table.notes)
    corpora = {row["model"]: row["corpora"] for row in table.rows}
    assert corpora["b"] == {}
    assert corpora["b.old"]["korean"]["scores"]["cer"]["rate"] == pytest.approx(20 / 92, abs=1e-6)
    # Its own results, copied from there, are not its own either.
    write_texts(GOOD, folder / "b" / "results", model="b", weights="old weights")
    assert {row["model"]: [*row["corpora"]] for row in table_of().rows}["b"] == []
    write_texts(MIXED, folder / "b" / "results", model="b", weights="new weights")
    corpora = {row["model"]: row["corpora"] for row in table_of().rows}
    assert corpora["b"]["korean"]["scores"]["cer"]["rate"] == pytest.approx(10 / 92, abs=1e-6)


@pytest.mark.parametrize("record", [{}, {"weights_sha256": None}, {"weights_sha256": [3]}])
def test_a_record_that_does_not_tell_the_weights_leaves_results_to_the_model_of_their_name(
    add, table_of, record
):
    add("a", GOOD, beside=("b", BAD))
    add("b", recipe=RECIPE, **record)
    assert [[*row["corpora"]] for row in table_of().rows] == [["korean"], ["korean"]]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nowhere", "nowhere does not exist. --experiments wants the folder"),
        ("models/a/results/korean.json", "korean.json is not a folder"),
        ("models/a/results", "no folder in .* is a model"),
        (
            "models/a",
            "a is itself a model. Pass the folder that it lies in: --experiments .*/models",
        ),
    ],
)
def test_a_folder_without_models_is_an_error(add, tmp_path, path, told):
    add("a", GOOD, recipe=RECIPE)
    with pytest.raises(DataError, match=told):
        experiments_in(tmp_path / path)


def test_odd_values_of_an_old_record_are_unknown(add, table_of):
    add("a", recipe=RECIPE, clips={"train": 3}, updates=True, speed=[], base_model=None)
    (row,) = table_of().rows
    assert {row[key] for key in ("train_clips", "train_hours", "updates", "training_hours")} == {
        None
    }


def test_numbers_of_the_workbook_are_those_of_the_table(add, table_of, workbook_in, tmp_path):
    add("a_base", BAD)
    add("b_tuned", MIXED, BAD, RECIPE, tokens="가나다라마바사아자차카타파하|", updates=7)
    add("c_tuned", MIXED, BAD, RECIPE | {"split_caps": [80, 10, 10]})
    table = table_of()
    markdown, path = write_experiments(table, tmp_path / "out")
    assert (markdown.name, path.name) == ("experiments.md", "experiments.xlsx")
    sheets = workbook_in(path.read_bytes()).sheets
    assert list(sheets) == ["experiments", "sources", "notes"]
    rows = {row["model"]: row for row in sheets["experiments"]}
    tuned = rows["b_tuned"]
    cer = table.rows[1]["corpora"]["korean"]["scores"]["cer"]
    assert tuned["korean_cer"] == cer["rate"] and tuned["updates"] == 7
    assert [tuned["korean_cer_low"], tuned["korean_cer_high"]] == cer["interval"]
    assert tuned["korean_cer_difference"] == -cer["difference"]["lower_by"] < 0
    bounds = [tuned[f"korean_cer_difference_{end}"] for end in ("low", "high")]
    assert bounds == [-bound for bound in cer["difference"]["interval"][::-1]]
    assert tuned["korean_cer_decided"] is True and tuned.get("foreign_cer_difference") is None
    assert tuned["cer_first_code"] > 0 and rows["a_base"].get("cer_first_code") is None
    assert (tuned["split_caps"], rows["c_tuned"]["split_caps"]) == ("none", "80,10,10")
    assert [(row["model"], row["corpus"]) for row in sheets["sources"]] == [
        ("a_base", "korean"),
        ("b_tuned", "korean"),
        ("b_tuned", "foreign"),
        ("c_tuned", "korean"),
        ("c_tuned", "foreign"),
    ]
    assert [row["note"] for row in sheets["notes"]] == table.notes


def test_a_name_can_neither_end_a_cell_of_markdown_nor_write_to_the_terminal(
    add, folder, tmp_path, capsys
):
    add("a|<b>\x1b[1m", GOOD)
    show_experiments(folder, tmp_path / "out")
    text = (tmp_path / "out" / "experiments.md").read_text(encoding="utf-8")
    assert r"| a\|&lt;b>?[1m | 20 |" in text
    assert "\x1b" not in capsys.readouterr().out
    page = (tmp_path / "out" / "experiments.html").read_text(encoding="utf-8")
    assert "<b>" not in page and "\x1b" not in page


def test_files_go_into_the_folder_unless_another_is_named(add, folder, tmp_path, capsys):
    add("a", GOOD)
    names = {f"experiments.{suffix}" for suffix in ("md", "xlsx", "html")}
    show_experiments(folder, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert {path.name for path in folder.iterdir()} == {"a"}
    show_experiments(folder, None)
    assert {path.name for path in folder.iterdir()} == names | {"a"}
    assert f"wrote {folder / 'experiments.md'}" in capsys.readouterr().out


def test_torchrun_is_refused(add, folder, monkeypatch):
    add("a", GOOD)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="run it with python instead of torchrun"):
        show_experiments(folder, None)


def test_scored_models_meet_their_foreign_results_by_their_weights(scored, write_texts, tmp_path):
    results = tmp_path / "results"
    for name, weights, pairs in (("x", "w1", GOOD), ("y", "w2", BAD), ("z", "w3", GOOD)):
        write_texts(pairs, results, "foreign", name, f"foreign.{name}", weights)
    evaluations = [
        scored(pairs, model="m", facts={"weights_sha256": weights})
        for weights, pairs in (("w1", BAD), ("w2", GOOD), ("w4", GOOD))
    ]
    write_json(tmp_path / "model" / "vocab.json", {"가": 0, "나": 1})
    sources = [str(tmp_path / "model")] * 3
    assert compared_experiments(sources[:1], evaluations[:1], results) is None
    table = compared_experiments(sources, evaluations, results)
    assert [row["model"] for row in table.rows] == ["m (1)", "m (2)", "m (3)"]
    assert [[*row["corpora"]] for row in table.rows] == [
        ["korean", "foreign"],
        ["korean", "foreign"],
        ["korean"],
    ]
    cer = [row["corpora"]["foreign"]["scores"]["cer"]["rate"] for row in table.rows[:2]]
    assert cer[0] == 0.0 < cer[1]
    assert table.rows[0]["first_code"].keys() == {"cer_first_code", "wer_first_code"}


def test_only_the_first_process_compares(scored, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    two = [scored(GOOD), dataclasses.replace(scored(BAD), model="b")]
    assert compared_experiments(["a", "b"], two, tmp_path) is None


def test_the_repair_rate_stands_beside_the_learners_cer(
    add, folder, scored, printed_table, table_of, workbook_in
):
    said, prompt = "밥을 먹어어요", "밥을 먹었어요"
    texts = {"a_corrector": [prompt] * 15 + [said] * 5, "b_listener": [prompt] + [said] * 19}
    for name, heard in texts.items():
        clips = {"prompt": [prompt] * 20}
        one = scored([(said, text) for text in heard], "foreign", clips=clips, manifest="f.jsonl")
        write_json(folder / name / "results" / "foreign.json", one.summary | {"model": name})
        write_json_lines(folder / name / "results" / "foreign.jsonl", one.rows(Path("/")))
    add("c_without_slips", GOOD, GOOD)
    text, title = printed_table(), "Foreign speakers of Korean, slips of readers"
    # 15 wrong letters of 140 with the spaces, and one.
    assert cells(text, "a_corrector", title)[:4] == ["0.1071", "5/20", "15/20", "0.7500"]
    listener = cells(text, "b_listener", title)
    assert listener[:4] == ["0.0071", "19/20", "1/20", "0.0500"] and listener[5] == "-0.7000"
    assert cells(text, "c_without_slips", title) == ["–"] * 6
    assert "below 0 is the better listener" in text
    paths = write_experiments(table_of(), folder / "written")
    first, second, third = workbook_in(paths[1].read_bytes()).sheets["experiments"]
    assert (first["repair_rate"], first["repair_rate_n"], first["repair_rate_kept"]) == (
        0.75,
        20,
        5,
    )
    assert second["repair_rate"] == 0.05 and second["repair_rate_repaired"] == 1
    assert second["repair_rate_difference"] == -0.7 and second["repair_rate_decided"] is True
    assert third.get("repair_rate") is None and third["repair_rate_n"] == 0
    assert "repair" not in workbook_in(paths[1].read_bytes()).sheets["sources"][0]
    assert "| b_listener | 0.0071 | 19/20 | 1/20 | 0.0500 |" in paths[0].read_text("utf-8")
