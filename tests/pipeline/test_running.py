"""Two runs at once, and runs whose output nobody reads."""

import subprocess

import pytest

from korean_asr.manifest import REPOSITORY

pytestmark = pytest.mark.pipeline

DEMO = REPOSITORY / "data" / "demo"


def test_script_1_leaves_a_folder_alone_where_another_is_at_work(command, run, holder, tmp_path):
    holder(tmp_path / "out")
    arguments = command(1, "--korean", DEMO / "korean", "--output", tmp_path / "out")
    printed = run(arguments, 1)
    assert f"another run is writing into {tmp_path / 'out'} (process " in printed
    assert printed.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["model", "checkpoints"])
def test_script_2_leaves_folders_alone_where_another_is_at_work(
    on, run, holder, options_in, few_updates, tmp_path, folder
):
    holder(tmp_path / folder)
    printed = run(on(1 if folder == "model" else 2, 2, *options_in(tmp_path), *few_updates), 1)
    assert f"another run is writing into {tmp_path / folder} (process " in printed
    assert printed.count("another run") == 1 and "loading" not in printed
    assert {path.name for path in tmp_path.iterdir()} == {f".{folder}.lock"}


def test_scripts_3_and_4_may_run_at_once_but_neither_twice(
    command, run, holder, processed, tmp_path
):
    results = tmp_path / "results"
    holder(results, "korean")
    model = ["--model", DEMO / "base_model", "--manifest", processed[0] / "foreign.jsonl"]
    printed = run(command(3, *model, "--output", results), 1)
    assert f"another run is writing into {results} (process " in printed
    run(command(4, *model, "--limit", "2", "--output", results))
    printed = run(command(3, "--rescore", results / "foreign.jsonl", "--output", results), 1)
    assert f"another run is writing into {results} (process " in printed


def test_every_script_writes_its_files_where_nobody_reads_its_output(
    command, processed, few_updates, tmp_path
):
    def quiet(redirection, number, *arguments):
        words = " ".join(f"'{word}'" for word in command(number, *arguments))
        shell = f"{words} {redirection}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr and "ignored" not in done.stderr

    data, model = tmp_path / "processed", tmp_path / "model"
    quiet("| true", 1, "--korean", DEMO / "korean", "--output", data)
    assert (data / "preprocessing.html").is_file()
    folders = ["--output", model, "--checkpoints", tmp_path / "checkpoints"]
    inputs = ["--data", data, "--base-model", DEMO / "base_model"]
    few = ["--epochs", "0.04", "--clips-before-split", "30"]
    quiet("2>&1 | head -1", 2, *inputs, *folders, *few_updates, *few)
    assert (model / "model.safetensors").is_file()
    quiet(">&-", 3, "--model", model)
    foreign = ["--manifest", processed[0] / "foreign.jsonl", "--limit", "2"]
    quiet(">&- 2>&-", 4, "--model", model, *foreign)
    assert len(list((model / "results").glob("*.html"))) == 2
