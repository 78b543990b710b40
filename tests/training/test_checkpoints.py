import json
from pathlib import Path

import pytest
import torch

from korean_asr.errors import DataError, UsageError
from korean_asr.model import SEVEN_FILES, expanded_base_model, load_recogniser
from korean_asr.training.checkpoints import (
    COMPLETE_FILE,
    Progress,
    claim,
    is_finished,
    last_complete_checkpoint,
    open_experiment,
    read_checkpoint,
    refuse_another_experiment,
    run_identity,
    set_aside,
    write_checkpoint,
)
from korean_asr.training.splits import Split
from recipes import RECIPES

V3 = RECIPES["v3"]


@pytest.fixture
def split(utterances):
    return Split(utterances[:8], utterances[8:10], utterances[10:], ())


@pytest.fixture
def state(tiny_base):
    recogniser, _ = expanded_base_model(str(tiny_base), V3)
    optimizer = torch.optim.AdamW(recogniser.model.parameters())
    return recogniser, optimizer, torch.amp.GradScaler("cpu", enabled=False)


@pytest.fixture
def identity(state, split):
    return run_identity(V3, split, state[0], 1)


def test_a_checkpoint_is_a_model_folder_and_gives_back_what_was_written(
    tiny_base, state, utterances, tmp_path
):
    recogniser, optimizer, scaler = state
    for values in recogniser.model.parameters():
        values.grad = torch.ones_like(values)
    optimizer.step()
    progress = Progress(
        update=7, log=[{"step": 7, "eval_cer": 0.5}], best_update=7, best_cer=0.5, n_nonfinite=2
    )
    checkpoint = write_checkpoint(tmp_path, recogniser, optimizer, scaler, progress)
    assert checkpoint.name == "checkpoint-7"
    other, _ = expanded_base_model(str(tiny_base), V3)
    optimizer_again = torch.optim.AdamW(other.model.parameters())
    assert read_checkpoint(checkpoint, other.model, optimizer_again, scaler) == progress
    for name, value in recogniser.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value), name
    ours, theirs = (list(o.state_dict()["state"].values()) for o in (optimizer, optimizer_again))
    assert all(
        torch.equal(one["exp_avg"], two["exp_avg"]) for one, two in zip(ours, theirs, strict=True)
    )
    assert (
        load_recogniser(str(checkpoint)).tokenizer.get_vocab() == recogniser.tokenizer.get_vocab()
    )


def test_the_marker_is_the_newest_file_and_names_all_others(state, tmp_path):
    checkpoint = write_checkpoint(tmp_path, *state, Progress(update=1))
    marked = json.loads((checkpoint / COMPLETE_FILE).read_text())
    others = [path for path in checkpoint.iterdir() if path.name != COMPLETE_FILE]
    assert marked == {path.name: path.stat().st_size for path in others}
    assert {*SEVEN_FILES, "optimizer.pt", "progress.json"} == marked.keys()
    assert (checkpoint / COMPLETE_FILE).stat().st_mtime_ns >= max(
        path.stat().st_mtime_ns for path in others
    )


def test_a_half_written_checkpoint_is_passed_over_and_named(tmp_path):
    for number, complete in ((5, True), (10, True), (200, False)):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{number}" / COMPLETE_FILE).write_text("{}")
    (tmp_path / "checkpoint-old").mkdir()
    assert last_complete_checkpoint(tmp_path) == (
        tmp_path / "checkpoint-10",
        [tmp_path / "checkpoint-200"],
    )


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_a_checkpoint_whose_file_was_cut_off_is_not_complete(state, tmp_path, name):
    checkpoint = write_checkpoint(tmp_path, *state, Progress(update=1))
    (checkpoint / name).write_bytes((checkpoint / name).read_bytes()[:-1])
    assert last_complete_checkpoint(tmp_path) == (None, [checkpoint])
    (checkpoint / name).unlink()
    assert last_complete_checkpoint(tmp_path) == (None, [checkpoint])


def test_a_checkpoint_with_damage_inside_is_named_with_what_to_do(state, tmp_path):
    checkpoint = write_checkpoint(tmp_path, *state, Progress(update=1))
    size = (checkpoint / "optimizer.pt").stat().st_size
    (checkpoint / "optimizer.pt").write_bytes(b"x" * size)
    with pytest.raises(DataError, match=r"checkpoint-1 cannot be read.*Rename that folder"):
        read_checkpoint(checkpoint, state[0].model, *state[1:])


def test_no_checkpoint_means_a_fresh_start(tmp_path):
    assert last_complete_checkpoint(tmp_path / "nothing") == (None, [])


def test_a_folder_of_the_same_experiment_may_be_used_again(identity, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    assert claim(tmp_path, "run.json", identity, "--checkpoints")
    assert not claim(tmp_path / "new", "run.json", identity, "--checkpoints")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda identity: identity["recipe"].update(learning_rate=7.0),
            "recipe learning_rate was 0.0001, is 7.0",
        ),
        (
            lambda identity: identity["recipe"].update(new_value=1),
            "recipe new_value was None, is 1",
        ),
        (lambda identity: identity["recipe"].pop("seed"), "recipe seed was 42, is None"),
        (lambda identity: identity["split"].update(test="0" * 64), "split test"),
        (lambda identity: identity["base_model"].update(sha256="0" * 64), "base_model sha256"),
        (lambda identity: identity.update(n_processes=2), "n_processes was 1, is 2"),
    ],
)
def test_a_folder_of_another_experiment_is_refused_by_what_differs(
    identity, tmp_path, change, named
):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    change(identity)
    with pytest.raises(DataError, match=named):
        claim(tmp_path, "run.json", identity, "--checkpoints")
    assert claim(tmp_path, "run.json", identity, "--checkpoints", fresh=True)


@pytest.mark.parametrize("fresh", [False, True])
def test_the_checkpoints_of_another_recipe_are_refused_by_name(identity, tmp_path, fresh):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    identity["recipe"]["name"] = "v7"
    with pytest.raises(
        DataError, match=r"belongs to recipe v3, and this is recipe v7. Pass --checkpoints .*_v7"
    ):
        claim(tmp_path, "run.json", identity, "--checkpoints", fresh)


def test_a_damaged_run_file_is_named(identity, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        claim(tmp_path, "run.json", identity, "--checkpoints")


def test_a_fresh_start_renames_the_old_folders_and_deletes_nothing(identity, split, tmp_path):
    model, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    assert open_experiment(model, checkpoints, identity, split) == []
    (checkpoints / "checkpoint-1").mkdir()
    assert open_experiment(model, checkpoints, identity, split) == []
    identity["recipe"]["learning_rate"] = 7.0
    for suffix in ("old", "old2"):
        notes = open_experiment(model, checkpoints, identity, split, fresh=True)
        assert [note.split()[-2].rpartition("/")[2] for note in notes] == [
            f"model.{suffix}",
            f"checkpoints.{suffix}",
        ]
    assert (tmp_path / "checkpoints.old" / "checkpoint-1").is_dir()
    assert (tmp_path / "model.old" / "split" / "train.jsonl").is_file()
    assert not (checkpoints / "checkpoint-1").exists()
    assert not is_finished(model)


def test_a_folder_is_set_aside_under_the_first_free_name(tmp_path):
    for number in range(3):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / str(number)).touch()
        set_aside(tmp_path / "x")
    assert [
        (tmp_path / name / str(i)).is_file() for i, name in enumerate(("x.old", "x.old2", "x.old3"))
    ] == [True] * 3


def test_a_model_that_script_2_did_not_make_is_not_written_over(identity, split, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    with pytest.raises(DataError, match="not of script 2"):
        open_experiment(tmp_path / "model", tmp_path / "checkpoints", identity, split, fresh=True)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_of_nobody_knows_which_experiment_are_neither_continued_nor_deleted(
    identity, split, tmp_path
):
    (tmp_path / "ck" / "checkpoint-1000").mkdir(parents=True)  # of the Trainer, for instance
    with pytest.raises(DataError, match=r"ck holds checkpoints without the run.json .*--fresh"):
        open_experiment(tmp_path / "model", tmp_path / "ck", identity, split)
    assert not (tmp_path / "model").exists()
    notes = open_experiment(tmp_path / "model", tmp_path / "ck", identity, split, fresh=True)
    assert notes == [f"{tmp_path / 'ck'} was renamed to {tmp_path / 'ck.old'} (--fresh)."]
    assert (tmp_path / "ck.old" / "checkpoint-1000").is_dir()


@pytest.mark.parametrize(("output", "checkpoints"), [("run", "run/ck"), ("ck/model", "ck")])
def test_a_fresh_start_sets_a_folder_within_the_other_aside_too(
    identity, split, tmp_path, output, checkpoints
):
    places = tmp_path / output, tmp_path / checkpoints
    open_experiment(*places, identity, split)
    (places[1] / "checkpoint-1").mkdir()
    assert len(open_experiment(*places, identity, split, fresh=True)) == 2
    assert [path.name for path in tmp_path.rglob("checkpoint-1")] == ["checkpoint-1"]
    assert (places[0] / "experiment.json").is_file() and (places[1] / "run.json").is_file()


@pytest.mark.parametrize(
    ("output", "checkpoints", "told"),
    [
        (".", "ck", "--output .: name a folder of its own"),
        ("model", "..", "--checkpoints ..: name a folder of its own"),
        ("model", "./model", "--output and --checkpoints are both model"),
    ],
)
def test_folders_that_cannot_be_set_aside_or_told_apart_are_wrong_usage(
    identity, tmp_path, monkeypatch, output, checkpoints, told
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told.replace(".", r"\.")):
        refuse_another_experiment(Path(output), Path(checkpoints), identity)


def test_the_split_lies_beside_the_checkpoints_too_with_what_the_base_was_trained_on(
    identity, split, utterances, tmp_path
):
    open_experiment(tmp_path / "model", tmp_path / "ck", identity, split, earlier=utterances[:2])
    names = {"train.jsonl", "validation.jsonl", "test.jsonl", "earlier.jsonl"}
    for folder in ("model", "ck"):
        assert {path.name for path in (tmp_path / folder / "split").iterdir()} == names
    open_experiment(tmp_path / "new", tmp_path / "new_ck", identity, split)
    assert not (tmp_path / "new" / "split" / "earlier.jsonl").exists()
