"""run.sh on a copy of the repository: the demo, single stages, wrong usage."""

import shutil
import sys
from pathlib import Path

import pytest

from korean_asr.manifest import REPOSITORY, read_manifest

pytestmark = pytest.mark.pipeline

KOREAN = REPOSITORY / "data" / "demo" / "korean"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository without outputs of runs; its .venv calls this Python."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    written = shutil.ignore_patterns(
        ".git", ".venv", "*cache*", "demo_output", "processed", "raw", "wav2vec2_*", "results_*"
    )
    shutil.copytree(REPOSITORY, folder, ignore=written)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for program in ("python", "torchrun"):
        (folder / ".venv" / "bin" / program).write_text(
            f'#!/bin/sh\nexec "{Path(sys.executable).parent}/{program}" "$@"\n'
        )
        (folder / ".venv" / "bin" / program).chmod(0o755)
    shutil.copy(folder / "requirements.txt", folder / ".venv" / "installed-requirements.txt")
    return folder


def test_the_demo_ends_with_both_reports_and_learns_to_write_punctuation(
    run, json_of, rows_of, clone
):
    printed = run(["./run.sh"], cwd=clone)
    results = clone / "demo_output" / "wav2vec2_korean_demo" / "results"
    tuned, base = (
        json_of(results / name)["scores"] for name in ("korean.json", "korean.base_model.json")
    )
    assert base["cer"]["rate"] - tuned["cer"]["rate"] > 0.02
    hypotheses = [row["pred_text"] for row in rows_of(results / "korean.jsonl")]
    assert all(any(mark in text for text in hypotheses) for mark in ".,?")
    assert printed.count("CER: ") == printed.count("WER: ") == 4
    assert printed.count("recipe demo") >= 3
    for name in ("korean", "foreign"):
        assert (
            f"  demo_output/wav2vec2_korean_demo/results/{name}.json\n"
            in printed.rpartition(">>> written")[2]
        )
    script_3 = [sys.executable, "model_tuning/3. model_test_ko.py"]
    script_3 += ["--model", "demo_output/wav2vec2_korean_demo"]
    # experiment.json holds the folder of the base model.
    printed = run([*script_3, "--with-base"], cwd=clone)
    assert "base_model against wav2vec2_korean_demo" in printed
    outside = {"demo_output", ".venv"}
    new = {path.name for path in clone.iterdir()} - {path.name for path in REPOSITORY.iterdir()}
    assert new <= outside, new


def test_single_stages_run_on_a_corpus_named_from_where_the_user_stands(run, clone, tmp_path):
    (tmp_path / "mine").symlink_to(KOREAN)
    arguments = [str(clone / "run.sh"), "--korean", "mine", "--stage", "1", "--stop-stage", "1"]
    printed = run(arguments, cwd=tmp_path)
    assert "252 usable" in printed and "stage 2" not in printed
    assert len(read_manifest(clone / "data" / "processed" / "korean.jsonl")) == 252


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--korea", "x"], "unknown option --korea"),
        (["--korean"], "--korean wants a value"),
        (["--stage", "5"], "numbers from 1 to 4"),
        (["--stage", "3", "--stop-stage", "2"], "comes after"),
        (["--korean", "x", "--gpus", "many"], "--gpus many"),
        (["--recipe", "v1"], "go with --korean"),
    ],
)
def test_run_sh_tells_wrong_usage_in_one_line(run, clone, arguments, message):
    assert message in run(["./run.sh", *arguments], 2, clone)
