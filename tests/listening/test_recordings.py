"""Which recordings a command line names, what the model hears in them, and how it is printed."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from korean_asr.errors import DataError
from korean_asr.listening.heard import Heard, listened, told_problem
from korean_asr.listening.recordings import found_recordings
from korean_asr.listening.report import clock, heard_lines
from korean_asr.metrics import Hypothesis


def test_files_are_taken_as_named_and_folders_sorted_with_those_below_each_file_once(tmp_path):
    names = ["b/2.WAV", "b/1.m4a", "b/a/3.flac", "b/notes.txt", "b/._1.m4a", "c.xyz"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.flac").symlink_to(tmp_path / "b/a/3.flac")
    named = [tmp_path / "c.xyz", tmp_path / "link.flac", tmp_path / "b", tmp_path / "b/../c.xyz"]
    found = [str(path.relative_to(tmp_path)) for path in found_recordings(named)]
    assert found == ["c.xyz", "link.flac", "b/1.m4a", "b/2.WAV"]


def test_a_missing_path_and_a_folder_without_audio_are_told(tmp_path):
    with pytest.raises(DataError, match="nowhere.wav does not exist"):
        found_recordings([tmp_path, tmp_path / "nowhere.wav"][1:])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=f"{tmp_path} holds no audio file"):
        found_recordings([tmp_path])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_told_rather_than_passed_over(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(PermissionError, match="closed"):
        found_recordings([tmp_path])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.00"), (0.42, "0:00.42"), (59.999, "1:00.00"), (83.5, "1:23.50"),
     (3599.99, "59:59.99"), (3723.04, "1:02:03.04")],
)  # fmt: skip
def test_a_time_has_minutes_and_hundredths(seconds, text):
    assert clock(seconds) == text


def test_a_recording_is_printed_with_a_line_a_cue(heard_of):
    heard = heard_of("a\x1b.wav", "밥. 물", [58.0, 58.2, 659.4])
    assert heard_lines(heard) == [
        "a?.wav  10.0 s  confidence 0.50",
        "  0:58.00–0:58.30    밥.  0.50",
        "  10:59.40–10:59.50  물  0.50",
    ]
    assert heard_lines(heard_of("a.wav", "")) == [
        "a.wav  10.0 s",
        "  (nothing heard) · 들린 말이 없습니다.",
    ]


def test_text_of_a_silent_recording_is_told_to_be_invented(heard_of):
    spoken = heard_of("a.wav", "밥", [0.0])
    hypothesis = Hypothesis("밥", confidence=0.5, is_silent=True, letters=spoken.hypothesis.letters)
    lines = heard_lines(Heard("a.wav", 1.0, hypothesis))
    assert "the text is invented" in lines[-1] and len(lines) == len(heard_lines(spoken)) + 1


def test_the_tiny_model_hears_recordings_in_their_order_with_letters(heard_by_tiny, recordings):
    assert [heard.name for heard in heard_by_tiny] == [str(path) for path in recordings]
    assert [heard.seconds for heard in heard_by_tiny] == [2.0, 2.5, 3.0]
    for heard in heard_by_tiny:
        letters = [letter[0] for letter in heard.hypothesis.letters["hypothesis"]]
        assert "".join(letters) == heard.hypothesis.text.replace(" ", "") != ""
        assert 0 <= heard.cues[0].start < heard.cues[-1].end <= heard.seconds
        assert heard.sentence is None and heard.hypothesis.letters["reference"] == []


def test_a_recording_that_cannot_be_read_keeps_its_place_and_its_reason(
    tiny_recogniser, recordings, tmp_path
):
    broken, missing = tmp_path / "broken\n.wav", tmp_path / "b.wav"
    broken.write_bytes(recordings[0].read_bytes()[:20_000])
    heard = listened(tiny_recogniser, [broken, recordings[1]])
    assert [one.hypothesis.problem for one in heard] == ["audio truncated", None]
    assert told_problem(heard[0]) == f"{tmp_path}/broken?.wav cannot be read: audio truncated."
    with pytest.raises(DataError, match="none of the 2 recordings.*b.wav cannot be read"):
        listened(tiny_recogniser, [missing, broken])
    with pytest.raises(DataError, match=r"^[^;]*b.wav cannot be read: audio missing\."):
        listened(tiny_recogniser, [missing])


def test_another_type_without_pyav_names_what_to_install_and_a_fault_of_the_model_the_format():
    def told(problem):
        return told_problem(Heard("a.m4a", 0.0, Hypothesis("", problem)))

    assert "pip install -r requirements-optional.txt" in told("audio of another type")
    assert "cannot be decoded: logits are NaN" in told("logits are NaN or infinite")


def test_a_recording_over_a_minute_is_heard_in_windows_to_its_end(
    tiny_recogniser, tmp_path, recordings, noise
):
    shutil.copy(recordings[0], tmp_path / "short.wav")
    soundfile.write(tmp_path / "long.wav", np.tile(noise(16_000 * 7, 1), 10), 16_000)
    (long, short) = listened(tiny_recogniser, found_recordings([tmp_path]))
    assert (long.seconds, short.seconds) == (70.0, 2.0)
    ends = [cue.end for cue in long.cues]
    assert ends == sorted(ends) and 60 < ends[-1] <= 70
