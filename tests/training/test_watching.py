import dataclasses
import json

import matplotlib.image
import numpy as np
import pytest

from korean_asr import recipe_options
from korean_asr.errors import DataError, UsageError
from korean_asr.recipe_options import chosen_recipe
from korean_asr.training.progress import Progress
from korean_asr.training.watching import CURVE_FILE, LOG_FILE, Watch, draw_training_curve
from recipes import RECIPES

TENSORBOARD = dataclasses.replace(RECIPES["demo"], report_to="tensorboard")


def row(step, loss=1.0):
    facts = {"grad_norm": 2.0, "learning_rate": 1e-4, "audio_seconds_per_second": 50.0}
    return {"step": step, "epoch": step / 10, "loss": loss, **facts}


def evaluation(step, cer=0.5, **more):
    return {"step": step, "epoch": step / 10, "eval_cer": cer, "eval_wer": 0.75, **more}


def logged(folder):
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def watched(folder, recipe, progress, rows):
    """Start to watch, then add the rows one by one, as a run does."""
    watch = Watch(folder, recipe)
    watch(progress)
    for one in rows:
        progress.log.append(one)
        watch(progress)
        assert logged(folder) == progress.log
    return watch


def test_each_row_is_in_the_log_at_once_and_a_continued_run_drops_what_was_behind(tmp_path):
    watched(tmp_path, RECIPES["demo"], Progress(), [row(2), evaluation(2), row(4), row(6)])
    # The file is cut off within a line, as by kill -9.
    path = tmp_path / LOG_FILE
    path.write_text(path.read_text()[:-9])
    progress = Progress(update=2, log=[row(2), evaluation(2)])
    watched(tmp_path, RECIPES["demo"], progress, [row(4, 0.75), row(6, 0.5)])
    assert [one["step"] for one in logged(tmp_path)] == [2, 2, 4, 6]
    assert not (tmp_path / "runs").exists()


def test_a_model_folder_that_is_renamed_during_training_is_told_in_one_line(tmp_path):
    progress = Progress()
    watch = watched(tmp_path / "model", RECIPES["demo"], progress, [row(2)])
    (tmp_path / "model").rename(tmp_path / "mine")
    progress.log.append(row(4))
    with pytest.raises(DataError, match="model is gone: .* Run the same command again"):
        watch(progress)
    assert not (tmp_path / "model").exists()


def test_the_curve_is_drawn_anew_at_each_evaluation(tmp_path):
    progress = Progress()
    watch = watched(tmp_path, RECIPES["demo"], progress, [row(2)])
    assert not (tmp_path / CURVE_FILE).exists()
    pictures = []
    for step in (2, 4):
        progress.log.append(evaluation(step, 1 / step, eval_loss=0.5))
        watch(progress)
        pictures.append((tmp_path / CURVE_FILE).read_bytes())
    assert pictures[0] != pictures[1]


def test_a_curve_that_cannot_be_drawn_is_told_and_stops_nothing(tmp_path, capsys):
    (tmp_path / CURVE_FILE).mkdir()
    watched(tmp_path, RECIPES["demo"], Progress(), [row(2), evaluation(2), row(4)])
    (line,) = capsys.readouterr().out.splitlines()
    assert CURVE_FILE in line and "training goes on" in line


def n_green(path):
    """Pixels of a picture in the colour of the mark, matplotlib's tab:green."""
    picture = matplotlib.image.imread(path)[..., :3]
    return int((np.abs(picture - np.array([44, 160, 44]) / 255).max(-1) < 0.02).sum())


def test_the_chosen_checkpoint_is_marked_in_the_curve(tmp_path):
    log = [row(2), evaluation(2, 0.5), row(4), evaluation(4, 0.4)]
    marks = []
    for chosen in ([], [4], [2, 4]):
        draw_training_curve(log, chosen, tmp_path / "curve.png")
        marks.append(n_green(tmp_path / "curve.png"))
    assert marks[0] == 0 and 100 < marks[1] < marks[2]


@pytest.mark.parametrize(("final_model", "is_marked"), [("best", True), ("last", False)])
def test_the_best_checkpoint_so_far_is_marked_where_the_best_is_chosen(
    tmp_path, final_model, is_marked
):
    recipe = dataclasses.replace(RECIPES["demo"], final_model=final_model)
    progress = Progress(update=2, best_update=2, best_cer=0.5)
    watched(tmp_path, recipe, progress, [row(2), evaluation(2)])
    assert (n_green(tmp_path / CURVE_FILE) > 0) == is_marked


@pytest.mark.parametrize("rows", [[], [row(2)], [evaluation(2)], [row(2), evaluation(2)]])
def test_a_curve_is_drawn_of_any_log_also_one_without_validation_loss(tmp_path, rows):
    draw_training_curve(rows, [2], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def points(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "runs"))
    events.Reload()
    return {
        name: [(one.step, pytest.approx(one.value)) for one in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


@pytest.fixture
def tensorboard():
    return pytest.importorskip("tensorboard")


def test_tensorboard_gets_every_scalar(tensorboard, tmp_path):
    rows = [row(2, 3.0), evaluation(2, eval_loss=0.25), {**row(4), "grad_norm": None}]
    watched(tmp_path, TENSORBOARD, Progress(), rows)
    assert points(tmp_path) == {
        "train/loss": [(2, 3.0), (4, 1.0)],
        "train/learning_rate": [(2, 1e-4), (4, 1e-4)],
        "train/grad_norm": [(2, 2.0)],
        "train/audio_seconds_per_second": [(2, 50.0), (4, 50.0)],
        "validation/loss": [(2, 0.25)],
        "validation/cer": [(2, 0.5)],
        "validation/wer": [(2, 0.75)],
    }


def test_a_continued_run_doubles_no_point_in_tensorboard(tensorboard, tmp_path):
    watched(tmp_path, TENSORBOARD, Progress(), [row(2), evaluation(2), row(4, 7.0), row(6, 7.0)])
    # Killed; the last checkpoint was made at update 3.
    progress = Progress(update=3, log=[row(2), evaluation(2)])
    watched(tmp_path, TENSORBOARD, progress, [row(4, 0.5), row(6, 0.25)])
    made = points(tmp_path)
    assert made["train/loss"] == [(2, 1.0), (4, 0.5), (6, 0.25)]
    assert made["validation/cer"] == [(2, 0.5)]


def test_a_run_that_is_reported_from_its_middle_on_shows_its_beginning_too(tensorboard, tmp_path):
    watched(tmp_path, RECIPES["demo"], Progress(), [row(2)])
    watched(tmp_path, TENSORBOARD, Progress(update=2, log=[row(2)]), [row(4)])
    assert points(tmp_path)["train/loss"] == [(2, 1.0), (4, 1.0)]


def test_a_missing_tensorboard_is_wrong_usage_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(recipe_options, "find_spec", lambda name: None)
    assert chosen_recipe(RECIPES, "v3", {}).report_to == "none"
    with pytest.raises(UsageError, match=r"--report-to tensorboard: .*requirements-optional\.txt"):
        chosen_recipe(RECIPES, "v3", {"report_to": "tensorboard"})
