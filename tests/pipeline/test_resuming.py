"""Script 2 stopped by a signal, a full disk or a changed setting, and run again."""

import shutil

import pytest

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("n_processes", [1, 2])
def test_script_2_killed_at_any_moment_ends_in_the_weights_of_an_uninterrupted_run(
    run, options_in, rows_of, on, killed_when, one_thread, tmp_path, n_processes
):
    values = ["--recipe", "demo", "--epochs", "0.25", "--eval-steps", "2"]
    values += ["--save-steps", "2", "--layerdrop", "0.2", "--head-learning-rate", "1e-3"]
    values += ["--speeds", "0.9,1,1.1", "--gains", "-6,6", "--mask-feature-prob", "0.1"]
    whole = options_in(tmp_path / "whole")
    run(on(n_processes, 2, *whole, *values), env=one_thread)

    options = options_in(tmp_path)
    arguments = on(n_processes, 2, *options, *values)
    checkpoints = tmp_path / "checkpoints"
    assert killed_when(arguments, lambda: (checkpoints / "checkpoint-2" / "complete").exists())
    assert not (tmp_path / "model" / "model.safetensors").exists()
    # Now while a checkpoint is being written: its folder exists, its marker does not.
    assert killed_when(arguments, lambda: (checkpoints / "checkpoint-4").exists())
    assert not (checkpoints / "checkpoint-4" / "complete").exists()
    printed = run(arguments, env=one_thread)
    assert f"{checkpoints / 'checkpoint-4'} is only half written" in printed
    assert f"continuing from {checkpoints / 'checkpoint-2'}" in printed
    for name in ("model/model.safetensors", "checkpoints/checkpoint-6/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    losses = [
        [
            (row["step"], row["loss"])
            for row in rows_of(folder / "model" / "training_log.jsonl")
            if "loss" in row
        ]
        for folder in (tmp_path, tmp_path / "whole")
    ]
    assert losses[0] == losses[1]

    experiment = (tmp_path / "model" / "experiment.json").read_bytes()
    assert "finished" in run(arguments, env=one_thread)
    assert (tmp_path / "model" / "experiment.json").read_bytes() == experiment
    if n_processes == 1:
        changed = run([*arguments, "--learning-rate", "1e-5", "--extra-tokens", "5"], status=1)
        assert "learning_rate" in changed and "extra_tokens was None, is 5" in changed
        assert "Traceback" not in changed


def test_fresh_starts_over_and_keeps_the_old_folders_under_another_name(
    command, run, options_in, trained, tmp_path
):
    shutil.copytree(trained[0].parent / "checkpoints", tmp_path / "checkpoints")
    shutil.copytree(trained[0], tmp_path / "model")
    options = options_in(tmp_path)
    values = ["--recipe", "demo", "--epochs", "0.1", "--eval-steps", "2", "--save-steps", "2"]
    refused = run(command(2, *options, *values), status=1)
    assert "epochs was 0.5, is 0.1" in refused and "--fresh" in refused
    printed = run(command(2, *options, *values, "--fresh"))
    assert "continuing" not in printed
    assert f"{tmp_path / 'checkpoints'} was renamed to {tmp_path / 'checkpoints.old'}" in printed
    old = tmp_path / "model.old" / "model.safetensors"
    assert old.read_bytes() == (trained[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "checkpoints.old" / "checkpoint-12" / "complete").is_file()
    refused = run(command(2, *options, "--recipe", "v7", "--gpus", "1", "--fresh"), status=1)
    assert "belongs to recipe demo, and this is recipe v7" in refused


def test_script_2_on_a_full_disk_says_so_and_continues_when_there_is_room(
    command, run, options_in, small_files_only, tmp_path
):
    values = ["--recipe", "demo", "--epochs", "0.125", "--eval-steps", "1", "--save-steps", "1"]
    arguments = command(2, *options_in(tmp_path), *values)
    printed = run(arguments, status=1, preexec_fn=small_files_only(1_000_000))
    assert f"the disk is full while writing {tmp_path / 'checkpoints'}" in printed
    assert "Traceback" not in printed
    run(arguments)
    assert (tmp_path / "model" / "model.safetensors").stat().st_size > 1_000_000
