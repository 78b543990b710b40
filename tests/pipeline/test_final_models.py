"""Script 2 with an average and a share of the base, killed, and called again for another model."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from korean_asr.manifest import REPOSITORY

pytestmark = pytest.mark.pipeline

BASE = REPOSITORY / "data" / "demo" / "base_model"
# Training is over, and only the blend is left to make.
EACH_PROCESS = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, "model_tuning")
from korean_asr.errors import SharedError
from korean_asr.hardware import join_processes, rank
from korean_asr.model import expanded_base_model
from korean_asr.recipe import batch_plan
from korean_asr.training.final_model import made_final
from korean_asr.training.loop import prepared_job
from korean_asr.training.progress import Progress
from recipes import RECIPES

join_processes()
recipe = dataclasses.replace(RECIPES["demo"], final_model="last", base_share=0.3)
recogniser, _ = expanded_base_model(sys.argv[1], recipe)
# As if the weights had been others when the run began.
recogniser = dataclasses.replace(recogniser, weights_sha256="0" * 64)
job = prepared_job(recogniser, [], [], recipe, batch_plan(recipe, 2), "float32")
progress = Progress("", update=1, log=[{"step": 1, "eval_cer": 0.5, "eval_wer": 0.5}])
try:
    made_final(job, Path(), progress, print)
except SharedError as error:
    (Path(sys.argv[2]) / f"{rank()}.txt").write_text(str(error), encoding="utf-8")
"""
FROZEN = "wav2vec2.feature_extractor.conv_layers.0.conv.weight"


def by_hand(checkpoints, base, share, name):
    """A weight of the mean of these checkpoints, with a share of the base's."""
    mean = sum(load_file(path / "model.safetensors")[name].double() for path in checkpoints)
    tuned = (mean / len(checkpoints)).float().double()
    n_old = len(base[name])
    tuned[:n_old] = share * base[name].double() + (1 - share) * tuned[:n_old]
    return tuned.float()


def test_a_final_model_is_the_one_made_by_hand_after_a_kill_too_and_is_made_anew(
    run, options_in, json_of, on, killed_when, one_thread, tmp_path
):
    values = ["--recipe", "demo", "--epochs", "0.25", "--eval-steps", "2", "--save-steps", "2"]
    values += ["--learner-validation", "7"]
    new = ["--final-model", "average", "--base-share", "choose"]
    # Two processes: the second scores with the weights that the first one made.
    arguments = on(2, 2, *options_in(tmp_path), *values)
    model, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    last = checkpoints / "checkpoint-6"
    # All updates are made, and the final model is in the making.
    assert killed_when([*arguments, *new], lambda: (last / "complete").exists())
    assert not (model / "model.safetensors").exists()
    printed = run([*arguments, *new], env=one_thread)
    assert "all 6 updates are made" in printed and "longest batch" not in printed
    assert "of the mean of 3 checkpoints (updates 2, 4, 6)" in printed
    record = json_of(model / "experiment.json")
    final, updates = record["final"], [2, 4, 6]
    assert final["averaged"] == updates
    share, rows = final["base_share"], {row["share"]: row for row in final["shares"]}
    assert [*rows] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert rows[share]["cer"] == record["validation"]["cer"]
    sums = {one: row["cer"] + row["learner_cer_no_punctuation"] for one, row in rows.items()}
    assert sums[share] <= min(sums.values()) + 1e-5
    assert (model / "base_shares.png").read_bytes().startswith(b"\x89PNG")
    if final["average"] < final["best"]:
        assert record["final_update"] is None
    else:
        updates = [record["final_update"]]
    base, made = load_file(BASE / "model.safetensors"), load_file(model / "model.safetensors")
    of_updates = [checkpoints / f"checkpoint-{update}" for update in updates]
    names = ["lm_head.weight", "lm_head.bias", "wav2vec2.encoder.layer_norm.weight"]
    for name in [*names, FROZEN]:
        wanted = by_hand(of_updates, base, share, name)
        assert torch.allclose(made[name], wanted, rtol=1e-6, atol=1e-9), name
    assert torch.equal(made[FROZEN], base[FROZEN])
    assert f"{share} × base + " in (model / "README.md").read_text(encoding="utf-8")

    (model / "results").mkdir()
    printed = run([*arguments, "--final-model", "last"], env=one_thread)
    assert "without training" in printed and "longest batch" not in printed
    weights = [(path / "model.safetensors").read_bytes() for path in (model, last)]
    assert weights[0] == weights[1]
    assert (model / "results.old").is_dir() and not (model / "results").exists()
    assert not (model / "base_shares.png").exists()
    record = json_of(model / "experiment.json")
    assert (record["final_update"], record["recipe"]["final_model"]) == (6, "last")
    assert record["final"] == {"last": record["validation"]["cer"]}


def test_every_process_is_told_that_the_base_has_changed(tmp_path, tiny_base, one_thread):
    (tmp_path / "program.py").write_text(EACH_PROCESS, encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, tmp_path / "program.py", tiny_base, tmp_path]
    subprocess.run(
        command, cwd=REPOSITORY, env=one_thread, check=True, capture_output=True, timeout=300
    )
    told = [(tmp_path / f"{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1)]
    assert told[0] == told[1] and "tiny_base has changed since this run began" in told[0]
