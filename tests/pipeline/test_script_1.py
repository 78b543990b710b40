"""Script 1 as a user runs it: a process of its own, on the bundled corpus."""

import os
import shutil
import signal
import subprocess
import tarfile
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from korean_asr.manifest import REPOSITORY, read_manifest

pytestmark = pytest.mark.pipeline

KOREAN = REPOSITORY / "data" / "demo" / "korean"
FOREIGN = REPOSITORY / "data" / "demo" / "foreign"
BASE = REPOSITORY / "data" / "demo" / "base_model"


def test_script_1_accounts_for_every_clip_of_the_demo(json_of, rows_of, processed):
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


def test_script_1_writes_the_same_bytes_again(command, run, processed, tmp_path):
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
        # Last ones first, so that the order of the outputs is not that of the labels.
        numbers = range(5_999 - part, -1, -3)
        lines = [
            f"/x/dialog_{number:08}.wav :: {texts[number % len(texts)]}\n" for number in numbers
        ]
        (root / f"part_{part}_scripts.txt").write_text("".join(lines), encoding="utf-8")
    with tarfile.open(root / "[라벨]part_2.tar.gz", "w:gz") as archive:
        archive.add(root / "part_2_scripts.txt", "part_2_scripts.txt")
    (root / "part_2_scripts.txt").unlink()
    return root


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
    command, run, children_of, large_corpus, moment
):
    arguments = ["--korean", large_corpus, "--jobs", "2", "--base-model", BASE, "--output"]
    whole = large_corpus.parent / "whole"
    if not whole.exists():
        run(command(1, *arguments, whole))
    # Beside the other, because the page links to audio by relative paths.
    out = whole.with_name(f"out {moment.strip('.')}")
    # The folder holds the outputs of another run, which must not be taken for new ones.
    run(command(1, "--korean", KOREAN, "--output", out))
    old = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    killed = subprocess.Popen(
        command(1, *arguments, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers = []
    if moment.endswith(" s"):
        time.sleep(float(moment[:-2]))
    else:
        path = out / moment
        while killed.poll() is None:
            workers = children_of(killed.pid) or workers
            if moment == "workers" and len(workers) > 1:
                break
            if path.exists() and path.stat().st_mtime_ns != old.get(moment):
                break
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    # The workers end when they notice that the main process is gone.
    for _ in range(200):
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            break
        time.sleep(0.05)
    else:
        raise AssertionError(f"{workers} are still there")

    run(command(1, *arguments, out))
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


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


def test_bad_clips_are_rejected_with_their_reason_and_odd_ones_converted(
    command, run, json_of, rows_of, messy_corpus, tmp_path
):
    printed = run(command(1, "--korean", messy_corpus, "--output", tmp_path / "out"))
    reasons = {
        row["id"][-2:]: row["reason"] for row in rows_of(tmp_path / "out" / "rejected.jsonl")
    }
    assert reasons == {
        "12": "no audio", "13": "audio empty", "14": "audio truncated",
        "15": "audio unreadable", "16": "empty", "17": "no label",
    }  # fmt: skip
    clips = read_manifest(tmp_path / "out" / "korean.jsonl")
    assert len(clips) == 12
    assert {clip.text for clip in clips} == {"오늘 뭐 먹을까?"}
    converted = json_of(tmp_path / "out" / "preprocessing.json")["korean"]["converted"]
    assert converted == {
        "8,000 Hz -> 16,000 Hz": 1, "44,100 Hz -> 16,000 Hz": 1, "2 channels -> mono": 1,
        "cp949 label -> UTF-8": 1, "NFD text -> NFC": 1,
    }  # fmt: skip
    assert "rejected        1  audio truncated" in printed


def test_a_corpus_without_a_usable_clip_leaves_the_earlier_manifest(
    command, run, processed, tmp_path
):
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


@pytest.mark.parametrize("option", ["--korean", "--foreign"])
@pytest.mark.parametrize(
    "name", ["korean.jsonl", "foreign.jsonl", "rejected.jsonl", "preprocessing.json", "link.jsonl"]
)
def test_a_manifest_that_script_1_would_replace_is_refused_before_anything_is_read(
    command, run, processed, tmp_path, option, name
):
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(processed[0] / "korean.jsonl", folder / name)
    if name == "link.jsonl":
        (folder / "link.jsonl").rename(folder / "korean.jsonl")
        (folder / "link.jsonl").symlink_to("korean.jsonl")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # A Korean corpus that is not there would be said if it were read first.
    first = ["--korean", "nowhere"] if option == "--foreign" else []
    arguments = [*first, option, folder / name, "--output", folder]
    printed = run(command(1, *arguments), status=1)
    assert f"{folder / name} would be replaced: script 1 writes {folder}/" in printed
    assert "Pass another --output" in printed and printed.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_manifest_is_cleaned_again_into_another_folder(
    command, run, processed, tmp_path
):
    earlier = processed[0] / "korean.jsonl"
    run(command(1, "--korean", earlier, "--output", tmp_path / "out"))
    assert (tmp_path / "out" / "korean.jsonl").read_bytes() == earlier.read_bytes()


def test_script_1_on_a_full_disk_says_so_and_leaves_the_earlier_manifest(
    command, run, small_files_only, processed, tmp_path
):
    shutil.copytree(processed[0], tmp_path / "out")
    arguments = command(1, "--korean", KOREAN, "--output", tmp_path / "out")
    printed = run(arguments, status=1, preexec_fn=small_files_only(20_000))
    assert "the disk is full while writing" in printed
    assert "Traceback" not in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        path.name for path in processed[0].iterdir()
    }
    assert (tmp_path / "out" / "korean.jsonl").read_bytes() == (
        processed[0] / "korean.jsonl"
    ).read_bytes()
