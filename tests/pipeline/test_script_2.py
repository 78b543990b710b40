"""Script 2 as a user runs it on one process: what it checks, splits, trains and saves."""

import getpass
import json
import re
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from korean_asr.files import file_checksum
from korean_asr.manifest import REPOSITORY, read_manifest
from korean_asr.model import SEVEN_FILES

pytestmark = pytest.mark.pipeline

BASE = REPOSITORY / "data" / "demo" / "base_model"


def test_script_2_writes_every_file_of_the_model_folder(json_of, rows_of, trained):
    model, printed = trained
    others = {"split", "experiment.json", "training_log.jsonl", "training_curve.png", "README.md"}
    # Scripts 3 and 4 add results/, in tests that may run earlier.
    assert {path.name for path in model.iterdir()} - {"results"} == {*SEVEN_FILES, *others}
    assert "tokens added: . , ? !" in printed
    assert "float32 on the CPU" in printed
    experiment = json_of(model / "experiment.json")
    assert experiment["recipe"]["name"] == "demo"
    assert experiment["updates"] == 12
    assert experiment["tokens_added"] == list(".,?!")
    assert re.search(r"^ +train/test +0 +0 +0 +unknown$", printed, re.M)
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
    json_of, trained
):
    model, printed = trained
    proof = json_of(model / "experiment.json")["step_0"]
    assert proof["holds"] and proof["n_same_text"] == proof["n_clips"] == 16
    assert proof["n_equal_logits"] == proof["n_frames"] > 1_000 and proof["rows_kept"]
    assert proof["n_frames_of_new_tokens"] == 0
    assert f"step 0: 16 of 16 clips give the base model's text, {proof['n_frames']:,} of" in printed
    assert "loaded again, it gives the same text for all 16 clips" in printed


def test_the_final_model_is_the_best_checkpoint(json_of, rows_of, trained):
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
    assert experiment["weights_sha256"] == file_checksum(checkpoint)
    assert f"final model: update {best} of 12 (best)" in printed


def test_a_checkpoint_is_scored_as_any_model_is(command, run, json_of, rows_of, trained, tmp_path):
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


def test_script_2_does_not_write_over_a_model_that_it_did_not_make(
    command, run, few_updates, processed, tmp_path
):
    copy = shutil.copytree(BASE, tmp_path / "mine")
    printed = run(
        command(2, "--data", processed[0], "--base-model", copy, "--output", copy, *few_updates),
        1,
        tmp_path,
    )
    assert "mine holds a model that script 2 did not make" in printed
    assert (copy / "model.safetensors").read_bytes() == (BASE / "model.safetensors").read_bytes()


def test_check_looks_at_all_inputs_and_writes_nothing(command, run, processed, tmp_path):
    printed = run(
        command(2, "--data", processed[0], "--base-model", BASE, "--recipe", "demo", "--check"),
        cwd=tmp_path,
    )
    assert "all inputs are usable" in printed
    assert "longest batch: 8 clips" in printed and "free disk for checkpoints" in printed
    assert "16 of 16 clips give the base model's text" in printed
    assert not list(tmp_path.iterdir())


def test_check_names_every_bad_clip_and_training_leaves_out_its_own(
    command, run, json_of, rows_of, processed, tmp_path
):
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
    options = ["--data", tmp_path / "data", "--base-model", BASE, "--recipe", "demo"]
    options += ["--group-by", "none"]
    printed = run(command(2, *options, "--check"), cwd=tmp_path)
    used = [row for row in rows if row.get("theme") == "dialog" and row.get("part") == "training"]
    gone = [row["id"] for row in used if row["audio_filepath"].startswith("/nowhere")]
    assert len(gone) > 5 and all(f"    {name}  /nowhere/{name}.wav" in printed for name in gone)
    assert "audio missing: train" in printed and "label mostly unknown: train" in printed
    values = ["--epochs", "0.1", "--eval-steps", "2", "--save-steps", "2"]
    folders = ["--output", tmp_path / "model", "--checkpoints", tmp_path / "c"]
    run(command(2, *options, *values, *folders))
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


def test_speakers_stay_in_one_split_where_the_manifest_knows_them(
    command, run, processed, tmp_path
):
    # The demo knows its foreign speakers, not its Korean ones.
    shutil.copy(processed[0] / "foreign.jsonl", tmp_path / "korean.jsonl")
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


def test_extra_tokens_are_the_characters_that_training_holds_often_enough(
    command, run, processed, tmp_path
):
    arguments = ["--data", processed[0], "--base-model", BASE]
    arguments += ["--recipe", "demo", "--extra-tokens", "2", "--check"]
    printed = run(command(2, *arguments), cwd=tmp_path)
    assert "tokens added: . , ? ! 0;" in printed
    # Other digits and letters occur once, so they stay outside the vocabulary. The advice is
    # followed already.
    assert "lowest reachable CER" in printed and "--extra-tokens" not in printed
