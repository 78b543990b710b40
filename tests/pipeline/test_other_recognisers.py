"""Scripts 3 and 4 as a user runs them with HuBERT, MMS and Whisper."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from korean_asr.audio import sound_checksum
from korean_asr.manifest import Utterance, write_manifest

pytestmark = pytest.mark.pipeline


@pytest.fixture
def manifest(noise, tmp_path):
    """Six clips: of 1 to 3 s, of 31 and of 61 s, and a silent one."""
    lengths = {"a": 16_000, "b": 30_000, "c": 48_000, "long": 16_000 * 31, "longer": 16_000 * 61}
    sounds = {name: noise(length, len(name)) for name, length in lengths.items()}
    sounds["silent"] = np.zeros(20_000, np.float32)
    clips = []
    for name, samples in sounds.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, 16_000)
        clips.append(
            Utterance(
                name, str(path), len(samples) / 16_000, "가나 다라", speaker=name,
                first_language="영어", prompt="가나 다 라",
            )
        )  # fmt: skip
    write_manifest(tmp_path / "clips.jsonl", clips)
    return tmp_path / "clips.jsonl"


def rows_by_id(rows):
    return {row["id"]: row for row in rows}


def test_models_of_two_kinds_are_compared_in_one_run(
    command, run, json_of, rows_of, tiny_whisper, other_ctc, manifest, tmp_path
):
    models = ["--model", tiny_whisper, "--model", other_ctc("hubert")]
    options = [*models, "--manifest", manifest, "--output", tmp_path / "out"]
    printed = run(command(3, *options))
    assert "Side by side" in printed and "Traceback" not in printed
    assert "kind of model · 모델 종류: whisper, language ko" in printed.splitlines()
    assert "kind of model · 모델 종류: hubert" in printed.splitlines()
    whisper, hubert = (
        json_of(tmp_path / "out" / f"korean{name}.json") for name in ("", ".tiny_hubert")
    )
    assert (whisper["kind"], hubert["kind"]) == ("whisper", "hubert")
    assert whisper["rule"] == hubert["rule"] and whisper["checksums"] != hubert["checksums"]
    assert whisper["checksums"]["clips"] == hubert["checksums"]["clips"]
    assert (whisper["n_silent"], hubert["n_silent"]) == (1, 1)
    for name in ("", ".tiny_hubert"):
        rows = rows_by_id(rows_of(tmp_path / "out" / f"korean{name}.jsonl"))
        assert len(rows) == 6 and all(rows[id_]["pred_text"] for id_ in ("a", "long", "longer"))
        assert [id_ for id_, row in rows.items() if row.get("is_silent")] == ["silent"]
        assert all(("letters" in row) == bool(name) for row in rows.values())
    again = run(command(3, "--rescore", tmp_path / "out" / "korean.jsonl"))
    assert "kind of model · 모델 종류: whisper, language ko" in again.splitlines()


def test_script_4_scores_whisper_on_learners_and_tells_the_gap(
    command, run, json_of, tiny_whisper, manifest, tmp_path
):
    options = ["--model", tiny_whisper, "--manifest", manifest, "--output", tmp_path / "out"]
    run(command(3, *options))
    printed = run(command(4, *options, "--by-speaker"))
    foreign = json_of(tmp_path / "out" / "foreign.json")
    assert foreign["kind"] == "whisper" and foreign["gap_to_korean"]["korean"]["n_clips"] == 6
    assert "Traceback" not in printed


def test_mms_is_told_its_language(command, run, json_of, tiny_mms, manifest, tmp_path):
    options = ["--model", tiny_mms, "--manifest", manifest, "--output", tmp_path / "out"]
    printed = run(command(3, *options), status=2)
    lines = printed.strip().splitlines()
    assert len(lines) == 1 and "pass --language kor. Its vocabulary has kor, eng" in lines[0]
    assert "does not know it" in run(command(3, *options, "--language", "xyz"), status=2)
    run(command(3, *options, "--language", "ko"))
    korean = json_of(tmp_path / "out" / "korean.json")
    assert (korean["kind"], korean["decoding"]["language"]) == ("wav2vec2", "kor")


def test_a_kind_that_is_not_run_is_refused_in_one_line(command, run, manifest, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "wav2vec2-bert"}))
    options = ["--model", tmp_path / "model", "--manifest", manifest]
    printed = run(command(3, *options), status=1).strip()
    assert printed.count("\n") == 0 and "--rescore RESULTS.jsonl" in printed


def test_the_guard_holds_for_other_kinds_too(command, run, manifest, tiny_whisper, tmp_path):
    model = shutil.copytree(tiny_whisper, tmp_path / "model")
    (model / "split").mkdir()
    lines = manifest.read_text(encoding="utf-8").splitlines()
    # The same sound under another name and in another folder.
    shutil.copy(tmp_path / "a.wav", model / "split" / "other.wav")
    row = json.loads(lines[0]) | {"id": "other", "audio_filepath": "other.wav"}
    row["audio_sha256"] = sound_checksum(str(tmp_path / "a.wav"))
    (model / "split" / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    options = ["--model", model, "--manifest", manifest, "--output", tmp_path / "out"]
    printed = run(command(3, *options), status=1)
    assert "1 of 6 clips are in the training data" in printed and "the first: a" in printed
    assert "WARNING" in run(command(3, *options, "--allow-overlap")).splitlines()[0]


def test_two_processes_write_what_one_writes(
    on, run, rows_of, json_of, tiny_whisper, other_ctc, manifest, tmp_path
):
    models = ["--model", tiny_whisper, "--model", other_ctc("hubert", "group")]
    for n_processes in (1, 2):
        output = tmp_path / str(n_processes)
        options = [*models, "--manifest", manifest, "--output", output]
        run(on(n_processes, 3, *options))
    for name in ("korean", "korean.tiny_hubert"):
        one, two = (
            [(row["id"], row["pred_text"]) for row in rows_of(tmp_path / n / f"{name}.jsonl")]
            for n in ("1", "2")
        )
        assert one == two
        assert json_of(tmp_path / "2" / f"{name}.json")["decoding"]["n_processes"] == 2
