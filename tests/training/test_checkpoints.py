import dataclasses
import json

import pytest
import torch

from korean_asr.errors import DataError
from korean_asr.model import SEVEN_FILES, expanded_base_model, load_recogniser
from korean_asr.training.checkpoints import (
    COMPLETE_FILE,
    bytes_on_disk,
    complete_checkpoints,
    last_complete_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    remove_leftovers,
    remove_old_checkpoints,
    write_checkpoint,
)
from korean_asr.training.progress import Progress, read_progress
from recipes import RECIPES

V3 = RECIPES["v3"]


@pytest.fixture
def state(tiny_base):
    recogniser, _ = expanded_base_model(str(tiny_base), V3)
    optimizer = torch.optim.AdamW(recogniser.model.parameters())
    return recogniser, optimizer, torch.amp.GradScaler("cpu", enabled=False)


def test_a_checkpoint_is_a_model_folder_and_gives_back_what_was_written(
    tiny_base, state, utterances, tmp_path
):
    recogniser, optimizer, scaler = state
    for values in recogniser.model.parameters():
        values.grad = torch.ones_like(values)
    optimizer.step()
    progress = Progress(
        update=7,
        log=[{"step": 7, "epoch": 1.0, "eval_cer": 0.5, "eval_wer": 0.7}],
        best_update=7,
        best_cer=0.5,
        n_nonfinite=2,
    )
    checkpoint = write_checkpoint(tmp_path, recogniser, optimizer, scaler, progress)
    assert checkpoint.name == "checkpoint-7"
    other, _ = expanded_base_model(str(tiny_base), V3)
    optimizer_again = torch.optim.AdamW(other.model.parameters())
    restored = read_checkpoint(checkpoint, other.model, optimizer_again, scaler)
    assert restored == progress
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


EVALUATION = {"step": 2, "epoch": 0.5, "eval_cer": 0.5, "eval_wer": 0.7}
UPDATE = {"step": 1, "epoch": 0.2, "loss": 3.0, "learning_rate": 1e-4, "grad_norm": None}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"update": "7"}, '`update` is "7", which is not a whole number'),
        ({"update": 6.5}, "`update` is 6.5"),
        ({"update": None}, "`update` is null"),
        ({"best_cer": "low"}, "`best_cer` is"),
        ({"training_seconds": "long"}, "`training_seconds` is"),
        ({"clips_sha256": 5}, "`clips_sha256` is 5, which is not a text"),
        ({"log": {}}, "`log` is an object, which is not a list"),
        ({"log": [1]}, "`a row of `log`` is 1"),
        ({"log": [UPDATE | {"loss": "low"}]}, "`loss` is"),
        ({"log": [EVALUATION | {"eval_wer": None}]}, "`eval_wer` is null"),
        ({"log": [{"step": 1}]}, "it has no `l"),
        ({"best_update": 5}, "`log` has no evaluation of `best_update`"),
        ({"unknown": 1}, "`unknown` is unknown"),
        (None, "nested too deep"),
    ],
)
def test_a_progress_file_of_other_types_is_named_with_its_key(tmp_path, change, told):
    progress = Progress(update=2, log=[UPDATE, EVALUATION], best_update=2, best_cer=0.5)
    content = dataclasses.asdict(progress)
    path = tmp_path / "progress.json"
    path.write_text(json.dumps(content))
    assert read_progress(path) == progress
    path.write_text("[" * 100_000 if change is None else json.dumps(content | change))
    with pytest.raises(ValueError, match=f"progress.json: .*{told}"):
        read_progress(path)


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


def test_the_last_ones_and_the_best_are_kept_and_their_bytes_are_counted(tmp_path):
    for update in (1, 2, 3, 4):
        (tmp_path / f"checkpoint-{update}").mkdir()
        (tmp_path / f"checkpoint-{update}" / COMPLETE_FILE).write_text("{}")
    remove_old_checkpoints(tmp_path, 2, best={1})
    assert {path.name[-1] for path in tmp_path.iterdir()} == {"1", "3", "4"}
    assert bytes_on_disk(tmp_path) == 3 * len("{}")


def test_results_in_a_checkpoint_outlive_it(tmp_path):
    for _ in range(2):
        for update in (1, 2):
            (tmp_path / f"checkpoint-{update}").mkdir(exist_ok=True)
            (tmp_path / f"checkpoint-{update}" / COMPLETE_FILE).write_text("{}")
        (tmp_path / "checkpoint-1" / "results").mkdir()
        (tmp_path / "checkpoint-1" / "results" / "korean.json").write_text("{}")
        remove_old_checkpoints(tmp_path, 1, best=())
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("korean.json")}
    assert found == {"checkpoint-1.results/korean.json", "checkpoint-1.results2/korean.json"}
    assert numbered_checkpoints(tmp_path).keys() == {2}


@pytest.mark.parametrize(
    ("best", "kept"),
    [
        ((), {5, 6}),
        ({2}, {2, 5, 6}),
        # For an average: some of the best may be among the last.
        ({2, 1}, {1, 2, 5, 6}),
        ({3, 5}, {3, 5, 6}),
        # One that is gone already, and one that is half written: 4.
        ({9, 4}, {4, 5, 6}),
    ],
)
def test_so_many_best_ones_are_kept_as_are_needed(tmp_path, best, kept):
    for update in range(1, 7):
        (tmp_path / f"checkpoint-{update}").mkdir()
        if update != 4:
            (tmp_path / f"checkpoint-{update}" / COMPLETE_FILE).write_text("{}")
    remove_old_checkpoints(tmp_path, 2, best)
    assert numbered_checkpoints(tmp_path).keys() == kept
    assert complete_checkpoints(tmp_path).keys() == kept - {4}


@pytest.mark.parametrize("left", [".complete.part", "model.safetensors", ".config.json.part"])
def test_a_checkpoint_that_was_killed_while_it_was_written_is_whole_when_it_is_written_again(
    state, tmp_path, left
):
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / left).write_text("{")
    checkpoint = write_checkpoint(tmp_path, *state, Progress(update=1))
    assert last_complete_checkpoint(tmp_path) == (checkpoint, [])
    assert not (checkpoint / ".complete.part").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_where_no_checkpoint_is_complete_none_is_removed(tmp_path):
    for update in (2, 4):
        (tmp_path / f"checkpoint-{update}").mkdir()
    remove_old_checkpoints(tmp_path, 2, best=())
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_run_left_is_removed_at_the_next_start(tmp_path, monkeypatch):
    for update in (2, 4, 6, 8):
        (tmp_path / f"checkpoint-{update}").mkdir()
        (tmp_path / f"checkpoint-{update}" / COMPLETE_FILE).write_text("{}")
    (tmp_path / "checkpoint-9").mkdir()

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", killed)
        remove_old_checkpoints(tmp_path, 2, best=())
    # Half removed by an earlier version: it had lost its marker, and kept its name.
    (tmp_path / "checkpoint-4" / COMPLETE_FILE).unlink()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"checkpoint-{end}" for end in ("2.removed", "4", "6", "8", "9")}
    # The user's, not a checkpoint.
    (tmp_path / "notes.removed").touch()
    remove_leftovers(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint-6", "checkpoint-8", "checkpoint-9", "notes.removed"}
