"""Script 2 in this process, on a tiny model and twelve clips."""

import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import pytest
from huggingface_hub import ModelCard

from korean_asr.manifest import read_manifest, write_manifest

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
        assert "README.md, of the final model before, was renamed to" in printed
        assert (model / "README.md.old").is_file()
        assert script_2(*run, "--final-model", "last")[1].count("finished") == 1
        # And back: the same bytes as when it was trained.
        status, printed = script_2(*run, "--final-model", "average", "--base-share", "0.3")
        assert status == 0 and (model / "model.safetensors").read_bytes() == weights
    (last / "complete").unlink()
    status, printed = script_2(*run)
    assert status == 1 and f"{last.name} is not there, or not whole" in printed
    assert "Traceback" not in printed and "loading" not in printed
    assert (model / "model.safetensors").read_bytes() == weights


SNIPPET = re.compile("```python\n(.*?)```", re.S)


def test_the_card_can_be_published_and_its_lines_of_python_run_as_they_stand(
    script_2, tmp_path, capsys
):
    (tmp_path / "data" / "preprocessing.json").write_text(
        '{"korean": {"folder": "/data/of/kim/a, hf:owner/set/ko", "corpora": '
        '{"a": {"folder": "/data/of/kim/a"}, "set": {"folder": "hf:owner/set/ko"}}}}'
    )
    clips = read_manifest(tmp_path / "data" / "korean.jsonl")
    named = [replace(clip, corpus=("a", "set")[n % 2]) for n, clip in enumerate(clips)]
    write_manifest(tmp_path / "data" / "korean.jsonl", named)
    status, printed = script_2("--license", "CC-BY-NC-4.0")
    assert status == 0, printed
    card = ModelCard.load(tmp_path / "wav2vec2_korean_demo" / "README.md")
    data = card.data
    assert (data.license, data.license_name) == ("cc-by-nc-4.0", None)
    assert (data.language, data.library_name, data.metrics) == (
        "ko",
        "transformers",
        ["cer", "wer"],
    )
    assert data.pipeline_tag == "automatic-speech-recognition"
    # The base is a folder, and one of the corpora.
    assert data.base_model is None and data.datasets == ["owner/set"]
    assert "`a`, `owner/set`" in card.text and "kim" not in str(card)
    (rate,) = re.findall(r"validation CER (\S+)  WER \S+$", printed, re.M)[-1:]
    assert f"| Korean speakers, split/validation.jsonl | 1 | ko-1 | {rate} |" in card.text
    values = [one.metric_value for one in data.eval_results]
    assert f"{values[0]:.4f}" == rate and data.eval_results[0].metric_name == "CER"

    copyfile(clips[0].audio_filepath, tmp_path / "recording.wav")
    (code,) = SNIPPET.findall(card.text)
    assert 'model="wav2vec2_korean_demo"' in code
    exec(code, {})
    assert capsys.readouterr().out.endswith("\n")


def test_another_license_is_no_other_experiment_and_only_changes_the_card(script_2, tmp_path):
    path = tmp_path / "wav2vec2_korean_demo" / "README.md"
    assert script_2()[0] == 0
    first = path.read_text(encoding="utf-8")
    assert "license: other\n" in first and "https://aihub.or.kr" in first
    path.write_text(first.replace("\n## Data", "\nMine.\n\n## Data"), encoding="utf-8")
    status, printed = script_2("--license", "mit")
    assert status == 0 and "finished" in printed and "names the license mit" in printed
    second = path.read_text(encoding="utf-8")
    assert "license: mit\n" in second and "\nMine.\n" in second and "aihub" not in second
    path.write_text("no metadata", encoding="utf-8")
    status, printed = script_2("--license", "mit")
    assert status == 0 and "stays as it is, because it lacks the two comments" in printed
    status, printed = script_2("--license", "do what you like")
    assert status == 2 and "'do what you like' is no id of a license" in printed


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
