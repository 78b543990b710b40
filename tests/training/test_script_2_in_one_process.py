"""Script 2 in this process, on a tiny model and twelve clips."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from korean_asr.manifest import write_manifest

SCRIPT = next(Path(__file__).parents[2].glob("model_tuning/2. *.py"))
VALUES = ["--recipe", "demo", "--group-by", "none", "--epochs", "0.5"]
VALUES += ["--eval-steps", "1", "--save-steps", "1"]


@pytest.fixture
def script_2(tiny_base, utterances, tmp_path, monkeypatch, capsys):
    """Run script 2 with these options, in a folder of its own; returns status and output."""
    write_manifest(tmp_path / "data" / "korean.jsonl", utterances)
    monkeypatch.chdir(tmp_path)

    def run(*options):
        inputs = ["--data", "data", "--base-model", str(tiny_base), *VALUES, *options]
        monkeypatch.setattr("sys.argv", [str(SCRIPT), *inputs])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        output = capsys.readouterr()
        return end.value.code, output.out + output.err

    return run


def refused(*_, **__):
    raise AssertionError("nothing may be loaded or read")


def test_a_finished_experiment_is_told_before_the_model_is_loaded_or_a_clip_is_read(
    script_2, monkeypatch, tmp_path
):
    status, printed = script_2()
    assert status == 0 and "saved to wav2vec2_korean_demo" in printed
    assert (tmp_path / "wav2vec2_finetune_ko_demo" / "run.json").is_file()
    for name in ("model._checked_load", "audio.read_samples", "training.batches.read_waveform"):
        monkeypatch.setattr(f"korean_asr.{name}", refused)
    status, printed = script_2()
    assert status == 0 and "holds this very experiment, finished" in printed
    assert "loading" not in printed
    # Other values of the recipe are another experiment, which is refused as early.
    status, printed = script_2("--learning-rate", "1e-5")
    assert status == 1 and "recipe learning_rate was 0.0002, is 1e-05" in printed


def test_another_final_model_of_a_finished_run_is_made_without_training(
    script_2, monkeypatch, tmp_path
):
    run = ["--epochs", "4", "--checkpoints-kept", "2"]
    model, checkpoints = tmp_path / "wav2vec2_korean_demo", tmp_path / "wav2vec2_finetune_ko_demo"
    status, printed = script_2(*run, "--final-model", "average", "--base-share", "0.3")
    assert status == 0, printed
    weights = (model / "model.safetensors").read_bytes()
    (model / "results").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("korean_asr.training.loop.Updater.make", refused)
        patch.setattr("korean_asr.training.trial.try_longest_batch", refused)
        status, printed = script_2(*run, "--final-model", "last")
        assert status == 0, printed
        assert "another final model is made from wav2vec2_finetune_ko_demo" in printed
        assert "results, of the final model before, was renamed to" in printed
        last = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
        assert (model / "model.safetensors").read_bytes() == (
            last / "model.safetensors"
        ).read_bytes()
        assert (model / "results.old").is_dir() and not (model / "results").exists()
        assert script_2(*run, "--final-model", "last")[1].count("finished") == 1
        # And back: the same bytes as when it was trained.
        status, printed = script_2(*run, "--final-model", "average", "--base-share", "0.3")
        assert status == 0 and (model / "model.safetensors").read_bytes() == weights
    (last / "complete").unlink()
    status, printed = script_2(*run)
    assert status == 1 and f"{last.name} is not there, or not whole" in printed
    assert "Traceback" not in printed and "loading" not in printed
    assert (model / "model.safetensors").read_bytes() == weights


def test_check_looks_at_everything_and_writes_nothing(script_2, tmp_path):
    status, printed = script_2("--check")
    assert status == 0 and "nothing was written (--check)" in printed
    assert "step 0: 1 of 1 clips" in printed and "longest batch: 8 clips" in printed
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["data"]


def test_help_and_wrong_usage_are_answered_without_a_heavy_package():
    code = f"""
import runpy, sys
for words, status in ((["--help"], 0), (["--learnin-rate", "1"], 2), (["--epochs", "x"], 2)):
    sys.argv = ["script", *words]
    try:
        runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
    except SystemExit as end:
        assert end.code == status, (words, end.code)
    assert not {{"torch", "transformers", "datasets", "pandas", "librosa"}} & sys.modules.keys()
"""
    command = [sys.executable, "-c", code]
    folder = SCRIPT.parent
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Did you mean '--learning-rate'?" in result.stderr


def test_the_script_is_under_eighty_lines_and_shows_five_numbered_steps():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
    steps = [line.strip()[2] for line in lines if line.strip()[:2] == "# " and ". " in line[6:9]]
    assert steps == ["1", "2", "3", "4", "5"]
