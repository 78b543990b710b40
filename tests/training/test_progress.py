import json
import math
from dataclasses import asdict

import pytest

from korean_asr.training.progress import Progress, TrainingBar, read_progress


def made(kept=None, is_first=True, progress=None):
    progress = progress or Progress()
    keep = None if kept is None else lambda now: kept.append([row["step"] for row in now.log])
    return TrainingBar(progress, 20, 10, eval_steps=20, is_first=is_first, keep_log=keep)


def advance(bar, loss=1.0, norm=2.0):
    bar.progress.update += 1
    bar.progress.training_seconds += 2.0
    bar.progress.audio_seconds += 30.0
    bar.progress.padded_seconds += 40.0
    bar.advance({"loss": loss, "grad_norm": norm, "learning_rate": 1e-4})


def test_the_log_is_kept_at_the_start_and_at_each_row():
    kept = []
    bar = made(kept)
    for _ in range(5):
        advance(bar)
    assert kept == [[], [2], [2, 4]]
    bar.evaluated({"cer": 0.5, "wer": 0.75})
    assert kept[-1] == [2, 4, 5]


def test_the_other_processes_keep_nothing_and_have_the_same_log():
    kept = []
    first, other = made([]), made(kept, is_first=False)
    for bar in (first, other):
        for loss in (1.0, 3.0):
            advance(bar, loss)
        bar.evaluated({"cer": 0.5, "wer": 0.75, "loss": 0.25})
    assert kept == []
    assert first.progress.log == other.progress.log
    row, scores = first.progress.log
    assert (row["loss"], row["padding_waste"], row["audio_seconds_per_second"]) == (2.0, 0.25, 15.0)
    assert (scores["eval_cer"], scores["eval_wer"], scores["eval_loss"]) == (0.5, 0.75, 0.25)


def test_a_norm_that_is_not_finite_is_null_in_the_log():
    bar = made()
    advance(bar)
    advance(bar, norm=math.inf)
    assert bar.progress.log[0]["grad_norm"] is None


def test_the_line_tells_a_loss_from_the_first_update_on():
    bar = made()
    advance(bar, 4.0)
    assert bar.bar.facts.startswith("loss 4.000, lr 1.0e-04, 15 s of audio/s, padding 25%")
    advance(bar, 2.0)
    advance(bar, 9.0)
    assert bar.bar.facts.startswith("loss 3.000")


@pytest.mark.parametrize(
    ("scores", "end"),
    [
        ({"cer": 0.5, "wer": 0.75, "loss": 0.25}, "CER 0.5000  WER 0.7500  loss 0.250\n"),
        ({"cer": 0.5, "wer": 0.75}, "CER 0.5000  WER 0.7500\n"),
    ],
)
def test_an_evaluation_is_printed_with_its_loss(capsys, scores, end):
    made().evaluated(scores)
    assert capsys.readouterr().out == f"update      0  epoch 0.00  validation {end}"


@pytest.mark.parametrize("loss", [{}, {"eval_loss": 0.25}])
def test_progress_with_and_without_validation_loss_is_read_and_its_rates_are_rates(tmp_path, loss):
    log = [{"step": 2, "epoch": 1.0, "eval_cer": 0.5, "eval_wer": 0.75, **loss}]
    progress = Progress("sha", 2, log, best_update=2, best_cer=0.5)
    path = tmp_path / "progress.json"
    path.write_text(json.dumps(asdict(progress)))
    assert read_progress(path) == progress
    assert read_progress(path).rates_of(2) == {"cer": 0.5, "wer": 0.75}
