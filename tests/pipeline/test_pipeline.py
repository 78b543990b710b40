"""The four scripts as a user runs them: processes of their own, real audio, the bundled corpus and base model."""

import getpass
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file

from korean_asr.manifest import read_manifest
from korean_asr.model import SEVEN_FILES

pytestmark = pytest.mark.pipeline

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = {int(path.name[0]): path for path in (REPOSITORY / "model_tuning").glob("[1-4]. *.py")}
KOREAN, FOREIGN, BASE = (
    REPOSITORY / "data" / "demo" / name for name in ("korean", "foreign", "base_model")
)
FEW_UPDATES = [
    "--recipe",
    "demo",
    "--epochs",
    "0.5",
    "--eval-steps",
    "4",
    "--save-steps",
    "4",
]  # 12 updates


def command(number, *arguments):
    return [sys.executable, str(SCRIPTS[number]), *map(str, arguments)]


def run(arguments, status=0, cwd=None, **options):
    """Run to the end in a folder of its own choice; the output, once the exit status is as wanted."""
    result = subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, timeout=600, **options
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def processed(work):
    printed = run(
        command(1, "--korean", KOREAN, "--foreign", FOREIGN, "--output", work / "processed")
    )
    return work / "processed", printed


def places_in(folder, processed):
    """Script 2's options for its inputs, and for outputs of its own in a folder."""
    inputs = ["--data", processed[0], "--base-model", BASE]
    return [*inputs, "--output", folder / "model", "--checkpoints", folder / "checkpoints"]


@pytest.fixture(scope="module")
def trained(work, processed):
    places = places_in(work, processed)
    printed = run(command(2, *places, *FEW_UPDATES))
    return work / "model", printed


def json_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_script_1_accounts_for_every_clip_of_the_demo(processed):
    folder, printed = processed
    korean, foreign = (
        read_manifest(folder / "korean.jsonl"),
        read_manifest(folder / "foreign.jsonl"),
    )
    rejected, summary = rows_of(folder / "rejected.jsonl"), json_of(folder / "preprocessing.json")
    n_lines = sum(
        len(path.read_text(encoding="utf-8").splitlines()) for path in KOREAN.rglob("*_scripts.txt")
    )
    assert len(korean) + sum(row["corpus"] == "korean" for row in rejected) == n_lines
    assert len(foreign) == len(list(FOREIGN.rglob("*.json")))
    assert summary["korean"]["reasons"] == {"masked": 2, "bracket": 1, "empty": 1, "no audio": 1}
    assert f"{len(korean):,} usable" in printed
    assert all(Path(utterance.audio_filepath).is_file() for utterance in korean + foreign)
    assert {utterance.theme for utterance in korean} == {"dialog", "hobby"}
    assert {utterance.task for utterance in foreign} == {"read", "answer"}


def test_script_1_writes_the_same_bytes_again(processed, tmp_path):
    folder, _ = processed
    run(command(1, "--korean", KOREAN, "--foreign", FOREIGN, "--output", tmp_path, "--jobs", "1"))
    for name in ("korean.jsonl", "foreign.jsonl", "rejected.jsonl", "preprocessing.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.fixture(scope="module")
def large_corpus(tmp_path_factory):
    """6,000 clips with real labels, in packed and unpacked label files; hard links to one sound."""
    root = tmp_path_factory.mktemp("large")
    scripts = sorted(KOREAN.rglob("*_scripts.txt"))
    texts = [
        line.partition(" :: ")[2]
        for path in scripts
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    sound = root / "audio" / "dialog_00000000.wav"
    sound.parent.mkdir()
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    for number in range(1, 6_000):
        os.link(sound, sound.with_name(f"dialog_{number:08}.wav"))
    for part in range(3):
        numbers = range(5_999 - part, -1, -3)  # last ones first
        lines = [
            f"/x/dialog_{number:08}.wav :: {texts[number % len(texts)]}\n" for number in numbers
        ]
        (root / f"part_{part}_scripts.txt").write_text("".join(lines), encoding="utf-8")
    with tarfile.open(root / "[라벨]part_2.tar.gz", "w:gz") as archive:
        archive.add(root / "part_2_scripts.txt", "part_2_scripts.txt")
    (root / "part_2_scripts.txt").unlink()
    return root


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    "moment",
    [
        "0.05 s",
        "0.2 s",
        "workers",
        "0.5 s",
        "0.7 s",
        ".korean.jsonl.part",
        "korean.jsonl",
        "rejected.jsonl",
    ]
    + ["preprocessing.json", ".preprocessing.html.part"],
)
def test_script_1_killed_at_any_moment_and_run_again_gives_the_bytes_of_an_uninterrupted_run(
    large_corpus, tmp_path, moment
):
    arguments = ["--korean", large_corpus, "--jobs", "2", "--base-model", BASE, "--output"]
    whole = large_corpus.parent / "whole"
    if not whole.exists():
        run(command(1, *arguments, whole))
    # Over the outputs of another run, so that what is old could be taken for new.
    run(command(1, "--korean", KOREAN, "--output", tmp_path / "out"))
    old = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    killed = subprocess.Popen(
        command(1, *arguments, tmp_path / "out"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers = []
    if moment.endswith(" s"):
        time.sleep(float(moment[:-2]))
    else:
        path = tmp_path / "out" / moment
        while killed.poll() is None:
            workers = children_of(killed.pid) or workers
            if moment == "workers" and len(workers) > 1:
                break
            if path.exists() and path.stat().st_mtime_ns != old.get(moment):
                break
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    for _ in range(200):  # the workers go when they see that nobody is left to work for
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            break
        time.sleep(0.05)
    else:
        raise AssertionError(f"{workers} are still there")

    run(command(1, *arguments, tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        path.name for path in whole.iterdir()
    }
    for path in whole.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_script_2_writes_every_file_of_the_model_folder(trained):
    model, printed = trained
    assert {path.name for path in model.iterdir()} == {
        *SEVEN_FILES, "split", "experiment.json", "training_log.jsonl", "training_curve.png", "README.md",
    }  # fmt: skip
    assert "tokens added: . , ? !" in printed
    assert "float32 on the CPU" in printed
    experiment = json_of(model / "experiment.json")
    assert experiment["recipe"]["name"] == "demo"
    assert experiment["updates"] == 12
    assert experiment["tokens_added"] == list(".,?!")
    assert "  train/test                  0         0         0   unknown\n" in printed
    assert experiment["overlap"]["train/test"] == {
        "id": 0,
        "audio": 0,
        "sentence": 0,
        "speaker": None,
    }
    assert "labels with characters outside the vocabulary" in printed
    assert [part["n_labels"] for part in experiment["outside_vocabulary"].values()] == [192, 24, 24]
    assert "not the file that script 1 described" not in printed
    evaluations = [
        row["step"] for row in rows_of(model / "training_log.jsonl") if "eval_cer" in row
    ]
    assert evaluations == [4, 8, 12]
    assert (model / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    first = rows_of(model / "training_log.jsonl")[0]
    assert {
        "loss",
        "learning_rate",
        "padding_waste",
        "audio_seconds_per_second",
        "seconds_left",
    } < first.keys()


def test_script_2_proves_that_the_new_tokens_disturb_nothing_and_that_the_saved_folder_is_the_model(
    trained,
):
    model, printed = trained
    proof = json_of(model / "experiment.json")["step_0"]
    assert proof["holds"] and proof["n_same_text"] == proof["n_clips"] == 16
    assert proof["n_equal_logits"] == proof["n_frames"] > 1_000 and proof["rows_kept"]
    assert proof["n_frames_of_new_tokens"] == 0
    assert f"step 0: 16 of 16 clips give the base model's text, {proof['n_frames']:,} of" in printed
    assert "loaded again, it gives the same text for 16 of 16 clips" in printed


def test_the_final_model_is_the_best_checkpoint(trained):
    model, printed = trained
    scores = {
        row["step"]: row["eval_cer"]
        for row in rows_of(model / "training_log.jsonl")
        if "eval_cer" in row
    }
    best = min(scores, key=lambda update: (scores[update], update))
    experiment = json_of(model / "experiment.json")
    assert experiment["final_update"] == best
    assert experiment["validation"]["cer"] == pytest.approx(scores[best], abs=1e-6)
    checkpoint = model.parent / "checkpoints" / f"checkpoint-{best}" / "model.safetensors"
    assert (model / "model.safetensors").read_bytes() == checkpoint.read_bytes()
    assert f"final model: update {best} of 12 (best)" in printed


def test_a_checkpoint_is_scored_as_any_model_is(trained, tmp_path):
    checkpoint, manifest = (
        trained[0].parent / "checkpoints" / "checkpoint-8",
        trained[0] / "split" / "validation.jsonl",
    )
    run(command(3, "--model", checkpoint, "--manifest", manifest, "--output", tmp_path))
    row = next(
        row
        for row in rows_of(trained[0] / "training_log.jsonl")
        if row["step"] == 8 and "eval_cer" in row
    )
    assert json_of(tmp_path / "korean.json")["scores"]["cer"]["rate"] == pytest.approx(
        row["eval_cer"], abs=1e-6
    )


def test_nothing_that_script_2_writes_tells_of_the_machine_but_the_audio_in_manifests(trained):
    model, _ = trained
    secrets = {
        str(REPOSITORY),
        str(model.parent),
        str(Path.home()) + "/",
        str(Path(tempfile.gettempdir())) + "/",
    }
    for path in [*model.rglob("*"), *(model.parent / "checkpoints").rglob("*")]:
        if path.is_file() and path.parent.name not in ("split", "results"):
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], path
    names = {getpass.getuser(), socket.gethostname()} - {""}
    texts = [
        model / "README.md",
        model / "experiment.json",
        model / "training_log.jsonl",
        model / "config.json",
    ]
    for path in texts:
        words = set(re.split(r"[^\w-]+", path.read_text(encoding="utf-8")))
        assert not names & words, path


def test_the_split_is_8_1_1_of_the_dialog_training_part_without_overlap(trained):
    parts = {
        name: read_manifest(trained[0] / "split" / f"{name}.jsonl")
        for name in ("train", "validation", "test")
    }
    assert [len(part) for part in parts.values()] == [192, 24, 24]
    ids = [utterance.id for part in parts.values() for utterance in part]
    assert len(set(ids)) == 240
    assert all(
        utterance.theme == "dialog" and utterance.part == "training"
        for p in parts.values()
        for utterance in p
    )


def test_scripts_3_and_4_report_base_and_fine_tuned_side_by_side(trained, processed):
    model, _ = trained
    printed = run(command(3, "--model", model, "--model", BASE))
    assert (
        f"CER: {json_of(model / 'results' / 'korean.json')['scores']['cer']['rate']:.4f}"
        in printed.splitlines()
    )
    assert "Side by side" in printed
    assert {path.name for path in (model / "results").iterdir()} == {
        f"korean{name}.{suffix}"
        for name in ("", ".base_model")
        for suffix in ("json", "jsonl", "html", "xlsx")
    }
    base = json_of(model / "results" / "korean.base_model.json")
    assert base["scores"]["cer_no_space"]["rate"] < 0.2  # the base model recognises
    assert not any(
        mark in row["pred_text"]
        for row in rows_of(model / "results" / "korean.base_model.jsonl")
        for mark in ".,?!"
    )

    printed = run(
        command(4, "--model", model, "--manifest", processed[0] / "foreign.jsonl", "--limit", "12")
    )
    foreign = json_of(model / "results" / "foreign.json")
    assert foreign["n_clips"] == 12
    languages = foreign["groups"]["first_language"]
    assert {name: part["n_clips"] for name, part in languages.items()} == dict.fromkeys(
        ("영어", "베트남어", "중국어", "일본어"), 3
    )
    assert "12 of 64 clips" in printed
    assert "recipe demo" in printed


def test_the_base_model_recognises_the_demo_that_it_was_not_trained_on(processed, tmp_path):
    run(
        command(
            3, "--model", BASE, "--manifest", processed[0] / "korean.jsonl", "--output", tmp_path
        )
    )
    scores = json_of(tmp_path / "korean.json")["scores"]
    assert scores["cer_no_space"]["reference_length"] > 2_500
    assert scores["cer_no_space"]["rate"] <= 0.15
    texts = [row["text"] for row in rows_of(tmp_path / "korean.jsonl")]
    assert (
        len({character for text in texts for character in text if "가" <= character <= "힣"}) >= 300
    )


def test_clips_that_were_all_moved_away_are_an_error_and_not_a_score(trained, tmp_path):
    (tmp_path / "moved.jsonl").write_text(
        '{"audio_filepath": "/nowhere/a.wav", "duration": 1.0, "text": "밥."}\n'
    )
    printed = run(
        command(
            3,
            "--model",
            trained[0],
            "--manifest",
            tmp_path / "moved.jsonl",
            "--output",
            tmp_path / "r",
        ),
        1,
    )
    assert "none of the 1 clips" in printed and "/nowhere/a.wav" in printed
    assert not (tmp_path / "r").exists()


def test_the_plain_names_belong_to_the_model_whose_results_folder_it_is(trained):
    model, _ = trained
    run(command(3, "--model", BASE, "--model", model))
    assert json_of(model / "results" / "korean.json")["model"] == "model"
    assert json_of(model / "results" / "korean.base_model.json")["model"] == "base_model"


def test_script_2_does_not_write_over_a_model_that_it_did_not_make(processed, tmp_path):
    copy = shutil.copytree(BASE, tmp_path / "mine")
    printed = run(
        command(2, "--data", processed[0], "--base-model", copy, "--output", copy, *FEW_UPDATES),
        1,
        tmp_path,
    )
    assert "mine holds a model that is not of script 2" in printed
    assert (copy / "model.safetensors").read_bytes() == (BASE / "model.safetensors").read_bytes()


def test_script_3_refuses_clips_of_the_training_split(trained):
    model, _ = trained
    printed = run(
        command(3, "--model", model, "--manifest", model / "split" / "train.jsonl"), status=1
    )
    assert "192 of 192 clips are in the training data" in printed and "--allow-overlap" in printed
    checkpoint = model.parent / "checkpoints" / "checkpoint-8"
    printed = run(
        command(3, "--model", checkpoint, "--manifest", model / "split" / "train.jsonl"), status=1
    )
    assert "192 of 192 clips are in the training data" in printed
    assert "Traceback" not in printed


def test_a_copy_of_a_training_clip_in_another_container_is_refused_unless_allowed(
    trained, tmp_path
):
    model, _ = trained
    clip = read_manifest(model / "split" / "train.jsonl")[0]
    soundfile.write(tmp_path / "copy.wav", *soundfile.read(clip.audio_filepath, dtype="int16"))
    test = read_manifest(model / "split" / "test.jsonl")[0]
    rows = [  # as NeMo writes them: absolute paths, three keys
        {
            "audio_filepath": str(tmp_path / "copy.wav"),
            "duration": clip.duration,
            "text": "다른 말.",
        },
        {"audio_filepath": test.audio_filepath, "duration": test.duration, "text": test.text},
    ]
    manifest = tmp_path / "nemo.json"
    manifest.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    arguments = ["--model", model, "--manifest", manifest, "--output", tmp_path / "results"]
    printed = run(command(3, *arguments), status=1)
    assert (
        "1 of 2 clips are in the training data of" in printed
        and "(1 by audio); the first: copy" in printed
    )
    assert not (tmp_path / "results").exists()
    printed = run(command(3, *arguments, "--allow-overlap", "--embed-audio"))
    report = printed[printed.index("WARNING") :].splitlines()  # behind what stderr says
    assert report[0].startswith("WARNING · 경고: 1 of 2 clips are in the training data of model")
    summary = json_of(tmp_path / "results" / "korean.json")
    assert summary["warning"] and summary["seen_in_training"]["audio"] == 1
    page = (tmp_path / "results" / "korean.html").read_text(encoding="utf-8")
    assert "1 of 2 clips are in the training data" in page and page.count("data:audio/") == 2


def test_results_are_scored_again_without_a_model_and_written_only_where_asked(
    trained, processed, tmp_path
):
    model, _ = trained
    manifest = processed[0] / "foreign.jsonl"
    run(command(4, "--model", model, "--manifest", manifest, "--limit", "16", "--output", tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    printed = run(command(4, "--rescore", tmp_path / "foreign.jsonl"), cwd=tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rate = json_of(tmp_path / "foreign.json")["scores"]["cer"]["rate"]
    assert f"CER: {rate:.4f}" in printed.splitlines()
    theirs = [
        {"text": row["text"], "pred_text": row["text"]}
        for row in rows_of(tmp_path / "foreign.jsonl")
    ]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, theirs)), encoding="utf-8")
    both = ["--rescore", tmp_path / "foreign.jsonl", "--rescore", tmp_path / "theirs.jsonl"]
    printed = run(command(4, *both, "--output", tmp_path / "again", "--embed-audio"))
    assert "theirs is lower by" in printed
    assert (tmp_path / "again" / "foreign.html").read_text(encoding="utf-8").count(
        "data:audio/"
    ) == 16
    assert json_of(tmp_path / "again" / "foreign.theirs.json")["scores"]["wer"]["rate"] == 0.0


def test_script_4_tells_the_gap_to_the_same_models_korean_speakers(trained, processed):
    model, _ = trained
    run(command(3, "--model", model))
    printed = run(
        command(4, "--model", model, "--manifest", processed[0] / "foreign.jsonl", "--limit", "8")
    )
    gap = json_of(model / "results" / "foreign.json")["gap_to_korean"]["scores"]["cer_no_space"]
    assert (
        gap["korean"]
        == json_of(model / "results" / "korean.json")["scores"]["cer_no_space"]["rate"]
    )
    assert "gap to Korean speakers" in printed


@pytest.mark.parametrize("moment", ["decoding", "korean.json", ".korean.html.part", ".korean.xlsx.part"])
def test_script_3_killed_leaves_whole_files_or_none(trained, tmp_path, moment):
    arguments = command(3, "--model", trained[0], "--output", tmp_path / "results")
    killed = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while killed.poll() is None and time.monotonic() < deadline:
        if moment == "decoding" and time.monotonic() > deadline - 118:
            break
        if (tmp_path / "results" / moment).exists():
            break
    killed.kill()
    killed.wait()
    for path in (tmp_path / "results").glob("[a-z]*"):
        if path.suffix == ".xlsx":
            assert zipfile.ZipFile(path).testzip() is None
            continue
        content = path.read_text(encoding="utf-8")
        assert content.endswith("\n") or content.rstrip().endswith("</html>"), path
        if path.suffix == ".json":
            json.loads(content)
    run(arguments)
    assert {path.name for path in (tmp_path / "results").iterdir() if path.name[0] != "."} == {
        "korean.json", "korean.jsonl", "korean.html", "korean.xlsx",
    }  # fmt: skip


TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ONE_THREAD = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
}  # sums in the same order, however many cores there are


def on(n_processes, *arguments):
    """Script 2 on so many processes of this machine."""
    program = (
        [*TORCHRUN, "--standalone", f"--nproc_per_node={n_processes}"]
        if n_processes > 1
        else [sys.executable]
    )
    return [*program, str(SCRIPTS[2]), *map(str, arguments)]


def killed_when(arguments, moment, seconds=300):
    """Start, kill -9 the whole tree at the moment when moment() is true; whether it was still running."""
    started = subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ONE_THREAD,
        start_new_session=True,
    )
    end = time.monotonic() + seconds
    while started.poll() is None and not moment():
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.0005)
    running = started.poll() is None
    if running:
        family = [started.pid]
        for pid in family:
            family += children_of(pid)
        for pid in family:
            os.kill(pid, signal.SIGKILL)
    started.wait()
    return running


@pytest.mark.parametrize("n_processes", [1, 2])
def test_script_2_killed_at_any_moment_ends_in_the_weights_of_an_uninterrupted_run(
    processed, tmp_path, n_processes
):
    values = [
        "--recipe",
        "demo",
        "--epochs",
        "0.25",
        "--eval-steps",
        "2",
        "--save-steps",
        "2",
        "--layerdrop",
        "0.2",
    ]
    whole = places_in(tmp_path / "whole", processed)
    run(on(n_processes, *whole, *values), env=ONE_THREAD)

    places = places_in(tmp_path, processed)
    arguments = on(n_processes, *places, *values)
    checkpoints = tmp_path / "checkpoints"
    assert killed_when(arguments, lambda: (checkpoints / "checkpoint-2" / "complete").exists())
    assert not (tmp_path / "model" / "model.safetensors").exists()
    # During a checkpoint: the first file of the next one is there, and its marker is not.
    assert killed_when(arguments, lambda: (checkpoints / "checkpoint-4").exists())
    assert not (checkpoints / "checkpoint-4" / "complete").exists()
    printed = run(arguments, env=ONE_THREAD)
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
    assert "finished" in run(arguments, env=ONE_THREAD)
    assert (tmp_path / "model" / "experiment.json").read_bytes() == experiment
    if n_processes == 1:
        changed = run([*arguments, "--learning-rate", "1e-5", "--extra-tokens", "5"], status=1)
        assert "learning_rate" in changed and "extra_tokens was None, is 5" in changed
        assert "Traceback" not in changed


def test_fresh_starts_over_and_keeps_the_old_folders_under_another_name(
    trained, processed, tmp_path
):
    shutil.copytree(trained[0].parent / "checkpoints", tmp_path / "checkpoints")
    shutil.copytree(trained[0], tmp_path / "model")
    places = places_in(tmp_path, processed)
    values = ["--recipe", "demo", "--epochs", "0.1", "--eval-steps", "2", "--save-steps", "2"]
    refused = run(command(2, *places, *values), status=1)
    assert "epochs was 0.5, is 0.1" in refused and "--fresh" in refused
    printed = run(command(2, *places, *values, "--fresh"))
    assert "continuing" not in printed
    assert f"{tmp_path / 'checkpoints'} was renamed to {tmp_path / 'checkpoints.old'}" in printed
    old = tmp_path / "model.old" / "model.safetensors"
    assert old.read_bytes() == (trained[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "checkpoints.old" / "checkpoint-12" / "complete").is_file()
    refused = run(command(2, *places, "--recipe", "v7", "--gpus", "1", "--fresh"), status=1)
    assert "belongs to recipe demo, and this is recipe v7" in refused


STILL = [
    "--attention-dropout",
    "0",
    "--hidden-dropout",
    "0",
    "--layerdrop",
    "0",
    "--mask-time-prob",
    "0",
]


def test_one_two_and_four_processes_train_the_same_model(processed, tmp_path):
    """33 training clips make four updates of 8 and one of a single clip, of which three of four processes have none."""
    shutil.copytree(processed[0], tmp_path / "data")
    lines = (processed[0] / "korean.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["audio_filepath"] = str((processed[0] / row["audio_filepath"]).resolve())
    used = [row for row in rows if row.get("theme") == "dialog" and row.get("part") == "training"][
        :39
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in used)
    (tmp_path / "data" / "korean.jsonl").write_text(text, encoding="utf-8")
    losses, weights = [], []
    for n_processes in (1, 2, 4):
        places = [
            "--data",
            tmp_path / "data",
            "--base-model",
            BASE,
            "--output",
            tmp_path / f"model_{n_processes}",
        ]
        places += [
            "--checkpoints",
            tmp_path / f"checkpoints_{n_processes}",
            "--recipe",
            "demo",
            "--epochs",
            "1",
        ]
        places += ["--eval-steps", "10", "--save-steps", "10", "--final-model", "last", *STILL]
        places += (
            ["--max-batch-seconds", "8"] if n_processes == 4 else []
        )  # cut otherwise, and the same model still
        printed = run(on(n_processes, *places), env=ONE_THREAD)
        assert "5 updates, the last of 1 clips" in printed
        rows = rows_of(tmp_path / f"model_{n_processes}" / "training_log.jsonl")
        # The norm too: AdamW would hide a gradient that is a multiple of what it should be.
        losses.append([row[key] for row in rows if "loss" in row for key in ("loss", "grad_norm")])
        weights.append(load_file(tmp_path / f"model_{n_processes}" / "model.safetensors"))
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
    processed, tmp_path
):
    values = ["--recipe", "demo", "--epochs", "0.25", "--eval-steps", "6", "--save-steps", "6"]
    values += [
        "--layerdrop",
        "0.6",
        "--gradient-checkpointing",
        "true",
        "--batch-per-gpu",
        "2",
        "--accumulation",
        "4",
    ]
    printed = run(on(2, *places_in(tmp_path, processed), *values), env=ONE_THREAD)
    assert "batch: 2 clips x 2 accumulation x 2 = 8 an update" in printed
    assert "Traceback" not in printed
    rows = rows_of(tmp_path / "model" / "training_log.jsonl")
    assert all(row["loss"] > 0 and row["nonfinite_updates"] == 0 for row in rows if "loss" in row)


def test_two_machines_are_two_agents_that_meet(processed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = ["--recipe", "demo", "--epochs", "0.25", "--eval-steps", "6", "--save-steps", "6"]
    meeting = [
        "--nnodes=2",
        "--nproc_per_node=1",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{port}",
    ]
    arguments = [
        *TORCHRUN,
        *meeting,
        "--rdzv-id=1",
        str(SCRIPTS[2]),
        *map(str, places_in(tmp_path, processed)),
        *values,
    ]
    agents = [
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ONE_THREAD
        )
        for _ in range(2)
    ]
    printed = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], printed
    assert sorted(output.count("saved to") for output in printed) == [0, 1]
    assert "batch: 4 clips x 1 accumulation x 2 = 8 an update" in "".join(printed)
    assert json_of(tmp_path / "model" / "experiment.json")["updates"] == 6


def test_torchrun_on_two_processes_makes_one_split_one_log_one_model_and_one_report(
    trained, processed, tmp_path
):
    torchrun = [*TORCHRUN, "--standalone", "--nproc_per_node=2"]
    environment = ONE_THREAD
    printed = run(on(2, *places_in(tmp_path, processed), *FEW_UPDATES), env=environment)
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
    printed = run(
        [*torchrun, str(SCRIPTS[3]), *map(str, arguments), str(tmp_path / "by_two")],
        env=environment,
    )
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
    again = [str(SCRIPTS[3]), "--rescore", str(tmp_path / "by_two" / "korean.jsonl")]
    assert run([*torchrun, *again], env=environment).count("CER: ") == 1


def test_three_processes_are_wrong_usage(processed, tmp_path):
    environment = {**os.environ, "WORLD_SIZE": "3", "RANK": "0"}
    printed = run(
        command(2, "--data", processed[0], "--base-model", BASE, *FEW_UPDATES),
        2,
        tmp_path,
        env=environment,
    )
    assert "3 processes do not divide the global batch of 8" in printed


def test_check_looks_at_all_inputs_and_writes_nothing(processed, tmp_path):
    printed = run(
        command(2, "--data", processed[0], "--base-model", BASE, "--recipe", "demo", "--check"),
        cwd=tmp_path,
    )
    assert "all inputs are usable" in printed
    assert "longest batch: 8 clips" in printed and "free disk for checkpoints" in printed
    assert "16 of 16 clips give the base model's text" in printed
    assert not list(tmp_path.iterdir())


def test_check_names_every_bad_clip_and_training_leaves_out_its_own(processed, tmp_path):
    rows = rows_of(processed[0] / "korean.jsonl")
    for number, row in enumerate(rows):
        row["audio_filepath"] = str((processed[0] / row["audio_filepath"]).resolve())
        if number % 20 == 0:
            row["audio_filepath"] = f"/nowhere/{row['id']}.wav"
        if number % 20 == 1:
            row["text"] = "ABC"
    (tmp_path / "data").mkdir()
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "data" / "korean.jsonl").write_text(text, encoding="utf-8")
    places = [
        "--data",
        tmp_path / "data",
        "--base-model",
        BASE,
        "--recipe",
        "demo",
        "--group-by",
        "none",
    ]
    printed = run(command(2, *places, "--check"), cwd=tmp_path)
    used = [row for row in rows if row.get("theme") == "dialog" and row.get("part") == "training"]
    gone = [row["id"] for row in used if row["audio_filepath"].startswith("/nowhere")]
    assert len(gone) > 5 and all(f"    {name}  /nowhere/{name}.wav" in printed for name in gone)
    assert "audio missing: train" in printed and "label mostly unknown: train" in printed
    values = ["--epochs", "0.1", "--eval-steps", "2", "--save-steps", "2"]
    run(
        command(
            2, *places, *values, "--output", tmp_path / "model", "--checkpoints", tmp_path / "c"
        )
    )
    experiment = json_of(tmp_path / "model" / "experiment.json")
    assert {name: part["n_clips"] for name, part in experiment["clips"].items()} == {
        "train": 192, "validation": 24, "test": 24,
    }  # fmt: skip
    findings = experiment["checks"]["findings"]
    assert experiment["left_out_of_training"]["audio missing"] == len(
        findings["audio missing"]["train"]
    )
    assert sorted(name for part in findings["audio missing"].values() for name in part) == sorted(
        gone
    )


def test_speakers_stay_in_one_split_where_the_manifest_knows_them(processed, tmp_path):
    shutil.copy(
        processed[0] / "foreign.jsonl", tmp_path / "korean.jsonl"
    )  # the demo's foreign speakers are known
    shutil.copy(processed[0] / "preprocessing.json", tmp_path)
    arguments = ["--base-model", BASE, "--recipe", "demo", "--group-by", "speaker", "--check"]
    printed = run(command(2, "--data", tmp_path, *arguments))
    rows = [
        line.split()
        for line in printed.splitlines()
        if line.startswith(("  train/", "  validation/"))
    ]
    assert [(row[0], row[-1]) for row in rows] == [
        ("train/validation", "0"), ("train/test", "0"), ("validation/test", "0"),
    ]  # fmt: skip
    assert "korean.jsonl is not the file that script 1 described" in printed
    printed = run(command(2, "--data", processed[0], *arguments), status=1)
    assert "Pass --group-by sentence" in printed and "Traceback" not in printed


def test_extra_tokens_are_the_characters_that_training_holds_often_enough(processed, tmp_path):
    arguments = [
        "--data",
        processed[0],
        "--base-model",
        BASE,
        "--recipe",
        "demo",
        "--extra-tokens",
        "2",
        "--check",
    ]
    printed = run(command(2, *arguments), cwd=tmp_path)
    assert "tokens added: . , ? ! 0;" in printed
    assert "lowest reachable CER" in printed  # other digits, and letters, were seen once


@pytest.fixture
def messy_corpus(tmp_path):
    """Twelve usable clips, four of them odd, and one of each kind that cannot be used."""
    root = tmp_path / "corpus"
    source = sorted(KOREAN.rglob("dialog_01/001/*.flac"))[:20]
    labels, audio = (
        root / "1.Training" / "1.라벨링데이터" / "dialog_01",
        root / "1.Training" / "2.원천데이터" / "001",
    )
    labels.mkdir(parents=True)
    audio.mkdir(parents=True)
    lines = []
    for number, path in enumerate(source[:18]):
        waveform, rate = soundfile.read(path)
        name, text = f"dialog_{number:08}.wav", "오늘 뭐 먹을까?"
        if number == 1:
            waveform, rate = waveform[::2], 8_000
        if number == 2:
            waveform, rate = waveform.repeat(2).reshape(-1, 2), 44_100
        if number == 3:
            text = unicodedata.normalize("NFD", text)
        if number != 12:  # a label without audio
            soundfile.write(audio / name, waveform, rate)
        if number == 13:
            (audio / name).write_bytes(b"")
        if number == 14:
            (audio / name).write_bytes((audio / name).read_bytes()[:9_000])
        if number == 15:
            (audio / name).write_text("이것은 음성이 아닙니다")
        if number == 16:
            text = "b/ n/"
        if number != 17:  # audio without a label
            lines.append(f"/x/001/{name} :: {text}".encode("cp949" if number == 4 else "utf-8"))
    (labels / "dialog_01_scripts.txt").write_bytes(b"\r\n".join(lines))
    return root


def test_bad_clips_are_rejected_with_their_reason_and_odd_ones_converted(messy_corpus, tmp_path):
    printed = run(command(1, "--korean", messy_corpus, "--output", tmp_path / "out"))
    reasons = {
        row["id"][-2:]: row["reason"] for row in rows_of(tmp_path / "out" / "rejected.jsonl")
    }
    assert reasons == {
        "12": "no audio", "13": "audio empty", "14": "audio truncated", "15": "audio unreadable", "16": "empty",
        "17": "no label",
    }  # fmt: skip
    clips = read_manifest(tmp_path / "out" / "korean.jsonl")
    assert len(clips) == 12
    assert {clip.text for clip in clips} == {"오늘 뭐 먹을까?"}
    converted = json_of(tmp_path / "out" / "preprocessing.json")["korean"]["converted"]
    assert converted == {
        "8,000 Hz -> 16,000 Hz": 1, "44,100 Hz -> 16,000 Hz": 1, "2 channels -> mono": 1, "cp949 label -> UTF-8": 1,
        "NFD text -> NFC": 1,
    }  # fmt: skip
    assert "rejected        1  audio truncated" in printed


@pytest.mark.parametrize(
    ("number", "arguments", "status", "told"),
    [
        (1, ["--korean", "nowhere"], 1, "nowhere does not exist"),
        (1, ["--korean", str(KOREAN / "1.Training" / "2.원천데이터")], 1, "no *scripts.txt"),
        (1, ["--korean", str(BASE)], 1, "has no usable clip: label unreadable"),
        (1, ["--korean", str(KOREAN), "--base-model", "nowhere"], 1, "no model folder nowhere"),
        (1, ["--korean", str(KOREAN), "--output", "/proc/x"], 1, "/proc/x cannot be used"),
        (1, [], 2, "--korean"),
        (1, ["--korean", ".", "--jobs", "0"], 2, "--jobs 0"),
        (2, ["--data", "nowhere"], 1, "Run 'model_tuning/1. script_preprocessing.py' first"),
        (2, ["--recipe", "v33"], 2, "Did you mean 'v3'?"),
        (2, ["--learnin-rate", "1"], 2, "Did you mean '--learning-rate'?"),
        (2, ["--learning-rate", "fast"], 2, "a number is wanted"),
        (3, ["--model", "nowhere"], 1, "Run script 2 first"),
        (
            3,
            ["--model", str(KOREAN), "--manifest", "processed/korean.jsonl"],
            1,
            "lacks config.json",
        ),
        (
            4,
            ["--model", str(BASE), "--manifest", "processed/nothing.jsonl"],
            1,
            "nothing.jsonl is missing",
        ),
        (3, [], 2, "give either --model MODEL or --rescore RESULTS.jsonl"),
        (
            3,
            ["--model", "a", "--rescore", "b"],
            2,
            "give either --model MODEL or --rescore RESULTS.jsonl",
        ),
        (3, ["--rescore", "nothing.jsonl"], 1, "nothing.jsonl is missing"),
        (4, ["--rescore", "processed/foreign.jsonl"], 1, "foreign.jsonl, line 1: no result"),
        (4, ["--rescore", "x.jsonl", "--with-base"], 2, "--with-base goes with --model"),
        (4, ["--rescore", "x.jsonl", "--manifest", "y.jsonl"], 2, "--manifest goes with --model"),
        (
            3,
            ["--model", str(BASE), "--with-base", "--manifest", "processed/korean.jsonl"],
            1,
            "does not say which base model",
        ),
        (
            3,
            ["--model", str(BASE), "--precision", "fp16", "--manifest", "processed/korean.jsonl"],
            2,
            "fp16",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_exit_status(
    processed, work, number, arguments, status, told
):
    printed = run(command(number, *arguments), status, cwd=work)
    assert told in printed
    assert "Traceback" not in printed


def test_a_corpus_without_a_usable_clip_leaves_the_earlier_manifest(processed, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "dialog_01_scripts.txt").write_text(
        "/x/dialog_00000001.wav :: 네.\n", encoding="utf-8"
    )
    shutil.copytree(processed[0], tmp_path / "out")
    printed = run(command(1, "--korean", corpus, "--output", tmp_path / "out"), status=1)
    assert "no usable clip: no audio 1" in printed
    for name in ("korean.jsonl", "rejected.jsonl", "preprocessing.json"):
        assert (tmp_path / "out" / name).read_bytes() == (processed[0] / name).read_bytes()


def _small_files_only(n_bytes):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def test_script_1_on_a_full_disk_says_so_and_leaves_the_earlier_manifest(processed, tmp_path):
    shutil.copytree(processed[0], tmp_path / "out")
    arguments = command(1, "--korean", KOREAN, "--output", tmp_path / "out")
    printed = run(arguments, status=1, preexec_fn=_small_files_only(20_000))
    assert "the disk is full while writing" in printed
    assert "Traceback" not in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        path.name for path in processed[0].iterdir()
    }
    assert (tmp_path / "out" / "korean.jsonl").read_bytes() == (
        processed[0] / "korean.jsonl"
    ).read_bytes()


def test_script_2_on_a_full_disk_says_so_and_continues_when_there_is_room(processed, tmp_path):
    places = places_in(tmp_path, processed)
    printed = run(
        command(2, *places, *FEW_UPDATES), status=1, preexec_fn=_small_files_only(1_000_000)
    )
    assert f"the disk is full while writing {tmp_path / 'checkpoints'}" in printed
    assert "Traceback" not in printed
    run(command(2, *places, *FEW_UPDATES))
    assert (tmp_path / "model" / "model.safetensors").stat().st_size > 1_000_000


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository without what runs have written, set up with the packages of this Python."""
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


def test_the_demo_ends_with_both_reports_and_learns_to_write_punctuation(clone):
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
    script_3 = [
        sys.executable,
        "model_tuning/3. model_test_ko.py",
        "--model",
        "demo_output/wav2vec2_korean_demo",
    ]
    printed = run(
        [*script_3, "--with-base"], cwd=clone
    )  # the folder of the base model is in experiment.json
    assert "base_model against wav2vec2_korean_demo" in printed
    outside = {"demo_output", ".venv"}
    new = {path.name for path in clone.iterdir()} - {path.name for path in REPOSITORY.iterdir()}
    assert new <= outside, new


def test_single_stages_run_on_a_corpus_named_from_where_the_user_stands(clone, tmp_path):
    (tmp_path / "mine").symlink_to(KOREAN)
    arguments = [str(clone / "run.sh"), "--korean", "mine", "--stage", "1", "--stop-stage", "1"]
    printed = run(arguments, cwd=tmp_path)
    assert "252 usable" in printed and "stage 2" not in printed
    assert len(read_manifest(clone / "data" / "processed" / "korean.jsonl")) == 252


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--korea", "x"], "unknown option --korea"),
        (["--korean"], "--korean wants a value"),
        (["--stage", "5"], "numbers from 1 to 4"),
        (["--stage", "3", "--stop-stage", "2"], "comes after"),
        (["--korean", "x", "--gpus", "many"], "--gpus many"),
        (["--recipe", "v1"], "go with --korean"),
    ],
)
def test_run_sh_tells_wrong_usage_in_one_line(clone, arguments, told):
    assert told in run(["./run.sh", *arguments], 2, clone)
