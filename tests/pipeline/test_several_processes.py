"""Scripts 2 and 3 on several processes: the model, the split and the texts of one."""

import json
import shutil
import socket
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from korean_asr.manifest import REPOSITORY, read_manifest

pytestmark = pytest.mark.pipeline

BASE = REPOSITORY / "data" / "demo" / "base_model"
# Nothing is drawn for a process, so that every number of them computes the same gradients.
STILL = ["--attention-dropout", "0", "--hidden-dropout", "0"]
STILL += ["--layerdrop", "0", "--mask-time-prob", "0"]
# These are drawn for a clip.
AUGMENTED = ["--speeds", "0.9,1,1.1", "--gains", "-6,6", "--mask-feature-prob", "0.1"]
AUGMENTED += ["--head-learning-rate", "1e-3"]


def test_one_two_and_four_processes_train_the_same_model(
    run, rows_of, on, one_thread, processed, tmp_path
):
    """33 training clips make four updates of 8 and one of 1, where three of four processes idle."""
    shutil.copytree(processed[0], tmp_path / "data")
    lines = (processed[0] / "korean.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["audio_filepath"] = str((processed[0] / row["audio_filepath"]).resolve())
    used = [row for row in rows if row.get("theme") == "dialog" and row.get("part") == "training"]
    used = used[:39]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in used)
    (tmp_path / "data" / "korean.jsonl").write_text(text, encoding="utf-8")
    losses, weights = [], []
    for n_processes in (1, 2, 4):
        model, checkpoints = tmp_path / f"model_{n_processes}", tmp_path / f"c_{n_processes}"
        options = ["--data", tmp_path / "data", "--base-model", BASE, "--output", model]
        options += ["--checkpoints", checkpoints, "--recipe", "demo", "--epochs", "1"]
        options += ["--eval-steps", "2", "--save-steps", "2", "--final-model", "average"]
        options += ["--base-share", "0.3"]
        options += [*STILL, *AUGMENTED]
        # Micro-batches by seconds instead of clips must still give the same model.
        if n_processes == 4:
            options += ["--max-batch-seconds", "8"]
        printed = run(on(n_processes, 2, *options), env=one_thread)
        assert "5 updates, the last of 1 clips" in printed
        rows = rows_of(model / "training_log.jsonl")
        # The norm too: AdamW would hide a gradient that is a multiple of what it should be.
        losses.append([row[key] for row in rows if "loss" in row for key in ("loss", "grad_norm")])
        weights.append(load_file(model / "model.safetensors"))
    assert len(losses[0]) == 2 * 5
    start = load_file(BASE / "model.safetensors")
    for n_processes, loss, other in zip((2, 4), losses[1:], weights[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=5e-3), n_processes
        apart = sum(float(((other[name] - weights[0][name]) ** 2).sum()) for name in other) ** 0.5
        moved = (
            sum(
                float(((weights[0][name] - start[name]) ** 2).sum())
                for name in start
                if name in weights[0] and start[name].shape == weights[0][name].shape
            )
            ** 0.5
        )
        assert apart < 0.01 * moved, (n_processes, apart, moved)


def test_layerdrop_unused_parameters_and_gradient_checkpointing_work_on_two_processes(
    run, options_in, rows_of, on, one_thread, tmp_path
):
    values = ["--recipe", "demo", "--epochs", "0.25", "--eval-steps", "6", "--save-steps", "6"]
    values += ["--layerdrop", "0.6", "--gradient-checkpointing", "true"]
    values += ["--batch-per-gpu", "2", "--accumulation", "4"]
    printed = run(on(2, 2, *options_in(tmp_path), *values), env=one_thread)
    assert "batch: 2 clips x 2 accumulation x 2 = 8 an update" in printed
    assert "Traceback" not in printed
    rows = rows_of(tmp_path / "model" / "training_log.jsonl")
    assert all(row["loss"] > 0 and row["nonfinite_updates"] == 0 for row in rows if "loss" in row)


def test_two_machines_are_two_agents_that_meet(command, options_in, json_of, one_thread, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = ["--recipe", "demo", "--epochs", "0.25", "--eval-steps", "6", "--save-steps", "6"]
    meeting = ["--nnodes=2", "--nproc_per_node=1", "--rdzv-backend=c10d", "--rdzv-id=1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting]
    script = command(2, *options_in(tmp_path), *values)[1:]
    arguments = [*torchrun, f"--rdzv-endpoint=127.0.0.1:{port}", *script]
    agents = [
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=one_thread
        )
        for _ in range(2)
    ]
    printed = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], printed
    assert sorted(output.count("saved to") for output in printed) == [0, 1]
    assert "batch: 4 clips x 1 accumulation x 2 = 8 an update" in "".join(printed)
    assert json_of(tmp_path / "model" / "experiment.json")["updates"] == 6


def test_torchrun_on_two_processes_makes_one_split_one_log_one_model_and_one_report(
    command, run, options_in, json_of, rows_of, on, few_updates, one_thread, trained, tmp_path
):
    arguments = on(2, 2, *options_in(tmp_path), *few_updates)
    printed = run(arguments, env=one_thread, real_torchrun=True)
    assert printed.count("tokens added") == printed.count("saved to") == 1
    assert "batch: 4 clips x 1 accumulation x 2 = 8 an update" in printed
    one, two = trained[0], tmp_path / "model"
    for name in ("train", "validation", "test"):
        ids = [
            [utterance.id for utterance in read_manifest(m / "split" / f"{name}.jsonl")]
            for m in (one, two)
        ]
        assert ids[0] == ids[1]
    assert [row["step"] for row in rows_of(two / "training_log.jsonl") if "eval_cer" in row] == [
        4,
        8,
        12,
    ]
    assert json_of(two / "experiment.json")["n_processes"] == 2

    arguments = ["--model", two, "--output"]
    printed = run(on(2, 3, *arguments, tmp_path / "by_two"), env=one_thread)
    assert printed.count("CER: ") == 1
    run(command(3, *arguments, tmp_path / "by_one"))
    summaries = [json_of(tmp_path / folder / "korean.json") for folder in ("by_one", "by_two")]
    decoding = [summary.pop("decoding") for summary in summaries]
    assert summaries[0].pop("calibration")["error"] == pytest.approx(
        summaries[1].pop("calibration")["error"], abs=1e-4
    )
    assert summaries[0] == summaries[1]
    assert [made["n_processes"] for made in decoding] == [1, 2]
    texts = [
        [(row["id"], row["pred_text"]) for row in rows_of(tmp_path / folder / "korean.jsonl")]
        for folder in ("by_one", "by_two")
    ]
    assert texts[0] == texts[1]
    again = on(2, 3, "--rescore", tmp_path / "by_two" / "korean.jsonl")
    assert run(again, env=one_thread).count("CER: ") == 1


def test_three_processes_are_wrong_usage(
    command, run, few_updates, one_thread, processed, tmp_path
):
    environment = {**one_thread, "WORLD_SIZE": "3", "RANK": "0"}
    printed = run(
        command(2, "--data", processed[0], "--base-model", BASE, *few_updates),
        2,
        tmp_path,
        env=environment,
    )
    assert "3 processes do not divide the global batch of 8" in printed
