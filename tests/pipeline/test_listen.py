"""listen.py as a user runs it: files, folders, other types, broken files, wrong usage."""

import json
import resource
import shutil
import subprocess
import sys

import pytest
import soundfile

from korean_asr.manifest import REPOSITORY

pytestmark = pytest.mark.pipeline

BASE = REPOSITORY / "data" / "demo" / "base_model"
SENTENCE = "시험이 끝나면 실컷 잘 거야"


@pytest.fixture(scope="module")
def clip():
    """A clip of the demo, of which the base model writes SENTENCE."""
    (path,) = (REPOSITORY / "data" / "demo").rglob("dialog_00000003.flac")
    return path


@pytest.fixture
def folder(tmp_path, clip, monkeypatch):
    """The current folder: recording.flac, a folder with another, one that is cut off, notes."""
    monkeypatch.chdir(tmp_path)
    samples, rate = soundfile.read(clip)
    shutil.copy(clip, "recording.flac")
    (tmp_path / "more" / "deeper").mkdir(parents=True)
    (tmp_path / "silence").mkdir()
    soundfile.write("more/deeper/again.wav", samples, rate)
    soundfile.write("silence/none.wav", 0 * samples, rate)
    content = (tmp_path / "more/deeper/again.wav").read_bytes()
    (tmp_path / "more" / "broken.wav").write_bytes(content[:9_000])
    (tmp_path / "more" / "notes.txt").write_text("no audio")
    return tmp_path


def test_files_and_folders_are_heard_and_one_that_is_broken_does_not_stop_the_others(
    run, listen, folder
):
    arguments = ["recording.flac", "more", "more/deeper/again.wav", "--output", "heard.csv"]
    printed = run(listen("--model", BASE, *arguments), cwd=folder)
    assert "more/broken.wav cannot be read: audio truncated." in printed
    assert "Traceback" not in printed
    blocks = [line for line in printed.splitlines() if "confidence" in line]
    assert [line.split("  ")[0] for line in blocks] == ["recording.flac", "more/deeper/again.wav"]
    assert printed.count(SENTENCE) == 2 and "wrote heard.csv" in printed
    rows = (folder / "heard.csv").read_text(encoding="utf-8-sig").splitlines()
    assert rows[0] == "file,start,end,text,confidence" and len(rows) == 3
    assert f",{SENTENCE}," in rows[1] and rows[1].startswith("recording.flac,0.")


def test_subtitles_and_a_sentence_that_was_heard_and_one_that_was_not(run, listen, folder):
    wanted = ["recording.flac", "--output", "a.srt", "--sentence"]
    printed = run(listen("--model", BASE, *wanted, f"{SENTENCE}."), cwd=folder)
    assert "the model cannot write ." in printed and "every letter was heard" in printed
    subtitles = (folder / "a.srt").read_text(encoding="utf-8")
    assert subtitles.startswith("1\n00:00:00,") and subtitles.endswith(f"\n{SENTENCE}\n\n")
    printed = run(listen("--model", BASE, *wanted, "시험이 끝나면 실컷 놀 거야"), cwd=folder)
    (line,) = [line for line in printed.splitlines() if "놀  " in line and ":" in line]
    _, meant, heard, score = line.split()
    assert (meant, heard) == ("놀", "잘") and float(score) < 0


def test_silence_is_nothing_heard(run, listen, folder):
    printed = run(listen("--model", BASE, "silence"), cwd=folder)
    assert "silence/none.wav  " in printed and "(nothing heard)" in printed


def test_script_3_scores_a_jsonl_with_a_sentence(run, listen, command, folder):
    output = ["--output", "heard.jsonl", "--sentence", "시험이 끝나면 실컷 놀 거야"]
    run(listen("--model", BASE, "recording.flac", *output), cwd=folder)
    (line,) = (folder / "heard.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["pred_text"] == SENTENCE
    printed = run(command(3, "--rescore", "heard.jsonl", "--output", "scores"), cwd=folder)
    # One letter of fifteen, spaces included.
    assert f"CER: {1 / 15:.4f}" in printed.splitlines()
    (row,) = (folder / "scores" / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["letters"] == json.loads(line)["letters"]
    run(listen("--model", BASE, "recording.flac", *output[:2]), cwd=folder)
    printed = run(command(3, "--rescore", "heard.jsonl"), 1, cwd=folder)
    assert "line 1: no result: it has no `text`" in printed


def test_m4a_is_heard_where_pyav_is_installed(run, listen, folder):
    av = pytest.importorskip("av", reason="PyAV is optional")
    samples, rate = soundfile.read("recording.flac", dtype="float32")
    with av.open("recording.m4a", "w", format="ipod") as file:
        stream = file.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for part in av.AudioResampler("fltp", "mono", rate).resample(frame):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    printed = run(listen("--model", BASE, "recording.m4a"), cwd=folder)
    assert printed.startswith("recording.m4a  ") and "시험이" in printed


def test_other_ctc_models_are_heard_and_whisper_which_has_no_times_is_refused(
    run, listen, folder, other_ctc, tiny_mms, tiny_whisper
):
    for words in (["--model", other_ctc("hubert")], ["--model", tiny_mms, "--language", "ko"]):
        printed = run(listen(*words, "recording.flac"), cwd=folder)
        assert printed.startswith("recording.flac  ") and "confidence" in printed
    for words, status, message in (
        (["--model", tiny_whisper], 1, "tiny_whisper is a whisper model; listen.py takes"),
        (["--model", tiny_mms], 2, "pass --language kor"),
        (["--model", tiny_mms, "--language", "fra"], 2, "--language fra"),
        (["--model", BASE, "--language", "kor"], 2, "writes one language alone"),
    ):
        printed = run(listen(*words, "recording.flac"), status, folder)
        assert message in printed.splitlines()[-1] and "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "the following arguments are required: --model"),
        (["--model", BASE], 2, "no recording is given"),
        (["--model", BASE, "--page", "recording.flac"], 2, "a recording does not go with --page"),
        (["--model", BASE, "--page", "--sentence", "밥"], 2, "--sentence does not go with --page"),
        (["--model", BASE, "--page", "--output", "a.txt"], 2, "--output does not go with --page"),
        (["--model", "nowhere", "--page"], 1, "no model folder nowhere"),
        (["--model", BASE, ""], 2, "'' is empty"),
        (["--model", BASE, "--model", "b", "recording.flac"], 2, "it was given twice"),
        (["--model", BASE, "recording.flac", "--language", ""], 2, "'' is empty"),
        (["--model", BASE, "--language", "a", "--language", "b", "x"], 2, "it was given twice"),
        (["--model", BASE, "--precision", "a", "--precision", "b", "x"], 2, "it was given twice"),
        (["--model", BASE, "no\nway.wav"], 1, "no?way.wav does not exist"),
        (["--model", BASE, "nowhere.wav"], 1, "nowhere.wav does not exist"),
        (["--model", "nowhere", "recording.flac"], 1, "no model folder nowhere"),
        (["--model", "more", "recording.flac"], 1, "it lacks config.json"),
        (["--model", BASE, "more/deeper", "recording.flac", "--output", "a.srt"], 2, "2 are given"),
        (["--model", BASE, "recording.flac", "--output", "a.doc"], 2, "its ending says"),
        (["--model", BASE, "recording.flac", "--output", "more"], 2, "its ending says"),
        (["--model", BASE, "recording.flac", "--output", "x/a.txt"], 2, "there is no folder x"),
        (["--model", BASE, "more", "--sentence", "밥"], 2, "--sentence is of one recording, and 2"),
        (["--model", BASE, "recording.flac", "--sentence", " "], 2, "it holds no letter"),
        (["--model", BASE, "recording.flac", "--precision", "fp8"], 2, "--precision fp8: choose"),
        (["--model", BASE, "more/broken.wav"], 1, "more/broken.wav cannot be read: audio trunc"),
        (["--model", BASE, "more/notes.txt"], 1, "more/notes.txt cannot be read: audio unreadable"),
    ],
)
def test_a_mistake_is_told_in_one_line(run, listen, folder, arguments, status, message):
    printed = run(listen(*arguments), status, folder)
    assert message in printed.splitlines()[-1] and "Traceback" not in printed
    assert {path.name for path in folder.iterdir()} == {"recording.flac", "more", "silence"}


def test_two_runs_never_write_the_same_file_at_once(run, listen, folder):
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'model_tuning')!r})\n"
        "from pathlib import Path\nfrom korean_asr.lock import lock\n"
        "lock(Path('.'), 'a.csv'); print('locked', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "locked\n"
        words = ["--model", BASE, "recording.flac", "--output"]
        printed = run(listen(*words, "a.csv"), 1, folder)
        assert "another run is writing" in printed and printed.count("\n") == 1
        run(listen(*words, "b.csv"), cwd=folder)
        other.communicate("\n")
    run(listen(*words, "a.csv"), cwd=folder)
    assert [*folder.parent.glob(".*.lock")] == []


def test_help_and_wrong_usage_are_answered_within_a_second_without_torch(folder, listen):
    for arguments, status in (["--help"], 0), (["--model", "nowhere", "recording.flac"], 1):
        command = listen(*arguments)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [command[0], "-X", "importtime", *command[1:]], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == status and "korean_asr.listening" in done.stderr
        assert "torch" not in done.stderr and "pandas" not in done.stderr
        # Of the processor: others may use the machine, too.
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
