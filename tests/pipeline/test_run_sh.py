"""run.sh on a copy of the repository: the demo, single stages, wrong usage."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from korean_asr.manifest import REPOSITORY, read_manifest
from korean_asr.model_folder import base_of

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
    run, json_of, rows_of, clone, demo, monkeypatch
):
    printed = run(["./run.sh"], cwd=clone)
    results = clone / "demo_output" / "wav2vec2_korean_demo" / "results"
    tuned, listener, base = (
        json_of(results / f"korean{of}.json")["scores"]
        for of in ("", ".wav2vec2_korean_demo-listener", ".base_model")
    )
    assert base["cer"]["rate"] - listener["cer"]["rate"] > demo.punctuation_gain
    assert base["cer"]["rate"] - tuned["cer"]["rate"] > demo.punctuation_gain
    gain = base["cer_no_punctuation"]["rate"] - tuned["cer_no_punctuation"]["rate"]
    assert gain > demo.gain
    hypotheses = [row["pred_text"] for row in rows_of(results / "korean.jsonl")]
    assert all(any(mark in text for text in hypotheses) for mark in demo.marks)
    # Three models on natives, on learners, and on the slips, where each slip is kept or not.
    assert printed.count("\nCER: ") == printed.count("\nWER: ") == 9
    assert "demo-listener" in (results / "experiments.md").read_text(encoding="utf-8")
    # Written last, with the learners.
    experiments = (clone / "demo_output" / "experiments.md").read_text(encoding="utf-8")
    assert "demo-listener" in experiments and "repair rate" in experiments
    assert "demo_output/experiments.html" in printed.rpartition(">>> open in a browser")[2]
    repair = json_of(results / "slips" / "foreign.json")["repair"]
    assert repair["n"] == demo.n_slip_clips and repair["kept"] > repair["repaired"]
    # Both models are scored on the learners who chose nothing.
    assert json_of(results / "foreign.json")["n_clips"] < demo.n_learner_clips
    assert printed.count("recipe demo") >= 3
    for name in ("korean", "foreign"):
        assert (
            f"  demo_output/wav2vec2_korean_demo/results/{name}.json\n"
            in printed.rpartition(">>> written")[2]
        )
    # experiment.json holds the folder of the base model, by which --with-base finds it.
    monkeypatch.chdir(clone)
    assert base_of("demo_output/wav2vec2_korean_demo") == "data/demo/base_model"
    outside = {"demo_output", ".venv"}
    new = {path.name for path in clone.iterdir()} - {path.name for path in REPOSITORY.iterdir()}
    assert new <= outside, new


def test_single_stages_run_on_a_corpus_named_from_where_the_user_stands(run, clone, tmp_path):
    (tmp_path / "mine").symlink_to(KOREAN)
    clip = next(KOREAN.rglob("*.flac"))
    (tmp_path / "my own.jsonl").write_text(f'{{"audio_filepath": "{clip}", "text": "네"}}\n')
    arguments = [str(clone / "run.sh"), "--korean", "mine", "--korean", "my own.jsonl"]
    printed = run([*arguments, "--stage", "1", "--stop-stage", "1"], cwd=tmp_path)
    assert "252 usable" in printed and "253 usable" in printed and "stage 2" not in printed
    clips = read_manifest(clone / "data" / "processed" / "korean.jsonl")
    assert len(clips) == 253 and {clip.corpus for clip in clips} == {"mine", "my own"}


def test_recordings_are_heard_that_are_named_from_where_the_user_stands(run, clone, tmp_path):
    (clip,) = KOREAN.rglob("dialog_00000003.flac")
    shutil.copy(clip, tmp_path / "내 녹음.flac")
    model = ["--model", str(clone / "data" / "demo" / "base_model")]
    output = ["--output", "들은 것.txt"]
    printed = run([str(clone / "run.sh"), "listen", *model, "내 녹음.flac", *output], cwd=tmp_path)
    assert printed.startswith("내 녹음.flac  ") and "실컷" in printed
    assert "실컷" in (tmp_path / "들은 것.txt").read_text(encoding="utf-8")
    # What is optional is for --page.
    assert not (clone / ".venv" / "installed-optional.txt").exists()
    assert "--sentence TEXT" in run(["./run.sh", "listen", "--help"], cwd=clone)
    assert "./run.sh listen --model M" in run(["./run.sh", "--help"], cwd=clone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--korea", "x"], "unknown option --korea"),
        (["--korean"], "--korean wants a value"),
        (["--stage", "5"], "numbers from 1 to 4"),
        (["--stage", "3", "--stop-stage", "2"], "comes after"),
        (["--korean", "x", "--gpus", "many"], "--gpus many"),
        (["--recipe", "v1"], "go with --korean"),
        (["--korean", "x", "--recipe", "nope"], "no recipe 'nope'. There are: v1,"),
        (["--korean", ""], '--korean "": a value is wanted'),
    ],
)
def test_run_sh_tells_wrong_usage_in_one_line(run, clone, arguments, message):
    assert message in run(["./run.sh", *arguments], 2, clone)


def test_a_look_at_the_options_of_the_benchmarks_installs_nothing(run, clone):
    # Should it fail, nothing is installed either.
    environment = {**os.environ, "PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1"}
    printed = run(["./run.sh", "bench", "--help"], cwd=clone, env=environment)
    assert "--device {cpu,cuda}" in printed and "installing" not in printed
    assert not (clone / ".venv" / "installed-benchmarks.txt").exists()


OLD_DRIVER = """#!/bin/sh
if [ "$1" = -L ]; then echo "GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-0a)"; exit; fi
echo "| NVIDIA-SMI 535.183.01   Driver Version: 535.183.01   CUDA Version: 12.2  |"
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """programs(name=script): put programs in front of the path."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def put(name, script):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)

    return put


def test_a_driver_too_old_for_the_pinned_torch_is_told_before_anything_is_installed(
    run, clone, programs, tmp_path
):
    programs("nvidia-smi", OLD_DRIVER)
    bare = tmp_path / "bare"
    shutil.copytree(clone, bare, ignore=shutil.ignore_patterns(".venv", "data", "demo_output"))
    printed = run(["./run.sh"], 1, bare)
    assert "nothing was installed: torch==" in printed and "1 NVIDIA GeForce RTX 3090" in printed
    assert "CUDA version is 12.2, that of torch==" in printed
    assert "pytorch.org/get-started" in printed and 'CUDA_VISIBLE_DEVICES="" ./run.sh' in printed
    assert not (bare / ".venv").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the card")
def test_cards_that_torch_cannot_use_are_told_before_script_1(run, clone, programs):
    programs("nvidia-smi", OLD_DRIVER)
    for arguments in (["--korean", str(KOREAN)], []):
        printed = run(["./run.sh", *arguments], 1, clone)
        assert "torch cannot use 1 x NVIDIA GeForce RTX 3090" in printed
        assert "stage 1" not in printed and printed.count("\n") == 1


def test_an_old_python3_is_told_with_the_ways_on(run, clone, programs, tmp_path):
    programs("python3", "#!/bin/sh\n[ $1 = -V ] && echo Python 3.10.12\nexit 1\n")
    bare = tmp_path / "bare"
    shutil.copytree(clone, bare, ignore=shutil.ignore_patterns(".venv", "data", "demo_output"))
    printed = run(["./run.sh"], 2, bare)
    assert "Python 3.11 or newer is needed, and python3 is Python 3.10.12" in printed
    assert "PYTHON=python3.12 ./run.sh" in printed and "conda create" in printed
    # Another one is named, and makes the environment. No package is installed for this test.
    (bare / "requirements.txt").write_text("")
    environment = {**os.environ, "PYTHON": sys.executable}
    arguments = ["./run.sh", "--korean", "nowhere", "--stop-stage", "1"]
    printed = run(arguments, 1, bare, env=environment)
    assert "stage 1 of 4" in printed and (bare / ".venv" / "bin" / "python").exists()
