"""The files of --output, byte by byte, and read back."""

import json

import pandas
import pytest

from korean_asr.errors import UsageError
from korean_asr.evaluation.rescoring import read_results
from korean_asr.listening.heard import Heard, listened
from korean_asr.listening.outputs import refuse_unusable_output, result_row, write_output
from korean_asr.metrics import Hypothesis


def test_subtitles_are_numbered_and_have_milliseconds(tmp_path, heard_of):
    # 1000 * 2.01 is less than 2010 in binary.
    heard = heard_of("a.wav", "밥. 물 국.", [0.42, 0.6, 2.01, 3599.9, 3661.05])
    write_output(tmp_path / "a.srt", [heard])
    assert (tmp_path / "a.srt").read_bytes().decode() == (
        "1\n00:00:00,420 --> 00:00:00,700\n밥.\n\n"
        "2\n00:00:02,010 --> 00:00:02,110\n물\n\n"
        "3\n00:59:59,900 --> 01:01:01,150\n국.\n\n"
    )


def test_a_table_opens_in_excel_and_has_a_row_a_cue(tmp_path, heard_of, unreadable):
    first = heard_of("a, b.wav", "밥. 물", [0.4, 0.6, 1.5])
    undecodable = heard_of("x\udcc7.wav", "국", [2.0])
    write_output(tmp_path / "a.csv", [first, unreadable, heard_of("c.wav", ""), undecodable])
    content = (tmp_path / "a.csv").read_bytes()
    # The mark of UTF-8, without which Excel shows no Hangul; no carriage returns.
    assert content.startswith("\ufefffile,start,end,text,confidence\n".encode())
    assert content.decode("utf-8-sig").splitlines()[1:] == [
        '"a, b.wav",0.4,0.7,밥.,0.5',
        '"a, b.wav",1.5,1.6,물,0.5',
        "c.wav,,,,",
        "x\\udcc7.wav,2.0,2.1,국,0.5",
    ]
    table = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert list(table["text"]) == ["밥.", "물", "", "국"] and list(table["end"])[:2] == [
        "0.7",
        "1.6",
    ]


def test_a_text_has_a_line_a_cue_of_one_recording_and_a_line_a_recording_of_several(
    tmp_path, heard_of, unreadable
):
    first = heard_of("a.wav", "밥. 물", [0.4, 0.6, 1.5])
    write_output(tmp_path / "one.txt", [first])
    assert (tmp_path / "one.txt").read_text(encoding="utf-8") == "밥.\n물\n"
    several = [first, unreadable, heard_of("b\t\n.wav", "국", [0.1]), heard_of("c.wav", "")]
    write_output(tmp_path / "several.txt", several)
    assert (tmp_path / "several.txt").read_text(encoding="utf-8") == (
        "a.wav\t밥. 물\nb??.wav\t국\nc.wav\t\n"
    )


def test_a_row_of_jsonl_has_the_keys_of_results(tmp_path, monkeypatch, heard_of, unreadable):
    monkeypatch.chdir(tmp_path)
    silent = Heard("s.wav", 1.23456, Hypothesis("", is_silent=True, letters={}), "밥")
    write_output(tmp_path / "a.jsonl", [heard_of("a.wav", "밥", [0.4]), unreadable, silent])
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    letters = {"reference": [], "hypothesis": [["밥", 0.4, 0.5, 0.5]]}
    none = {"reference": [], "hypothesis": []}
    assert [json.loads(line) for line in lines] == [
        {
            "audio_filepath": str(tmp_path / "a.wav"),
            "duration": 10.0,
            "pred_text": "밥",
            "confidence": 0.5,
            "letters": letters,
        },
        {
            "audio_filepath": str(tmp_path / "broken.wav"),
            "duration": 0.0,
            "pred_text": "",
            "problem": "audio truncated",
            "letters": none,
        },
        {
            "audio_filepath": str(tmp_path / "s.wav"),
            "duration": 1.2346,
            "text": "밥",
            "pred_text": "",
            "is_silent": True,
            "letters": {},
        },
    ]


def test_a_jsonl_with_a_sentence_is_a_file_of_results(tmp_path, tiny_recogniser, recordings):
    (heard,) = listened(tiny_recogniser, recordings[:1], "가나 밥.")
    write_output(tmp_path / "a.jsonl", [heard])
    results = read_results(tmp_path / "a.jsonl")
    (clip,), (hypothesis,) = results.utterances, results.hypotheses
    assert (clip.id, clip.audio_filepath) == ("녹음 0", str(recordings[0]))
    assert (clip.text, clip.duration) == ("가나 밥.", 2.0)
    assert hypothesis.text == heard.hypothesis.text != ""
    # The letters are taken only where they are those of both texts.
    assert hypothesis.letters == heard.hypothesis.letters
    assert hypothesis.confidence == pytest.approx(heard.hypothesis.confidence, abs=1e-6)
    assert "text" not in result_row(Heard(heard.name, heard.seconds, heard.hypothesis))


@pytest.mark.parametrize(
    ("output", "n", "message"),
    [
        ("a.docx", 1, "its ending says what is written, one of .csv, .jsonl, .srt, .txt"),
        ("a", 1, "its ending says"),
        ("folder.txt", 1, "folder.txt is a folder"),
        ("nowhere/a.txt", 1, "there is no folder .*nowhere"),
        ("a.wav.txt", 1, "is one of the recordings"),
        ("a.srt", 2, "subtitles are of one recording, and 2 are given"),
    ],
)
def test_an_output_that_cannot_be_written_is_wrong_usage(tmp_path, output, n, message):
    (tmp_path / "folder.txt").mkdir()
    # A recording may have any name.
    recordings = [tmp_path / "a.wav.txt", tmp_path / "b.wav"][:n]
    recordings[0].write_bytes(b"RIFF")
    with pytest.raises(UsageError, match=message):
        refuse_unusable_output(tmp_path / output, recordings)


def test_a_recording_is_not_written_over_by_another_name_of_it(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"RIFF")
    (tmp_path / "link.wav").symlink_to("a.txt")
    with pytest.raises(UsageError, match="is one of the recordings"):
        refuse_unusable_output(tmp_path / "a.txt", [tmp_path / "link.wav"])


def test_an_ending_in_capitals_is_taken_and_a_folder_that_takes_no_file_is_told(tmp_path, heard_of):
    refuse_unusable_output(tmp_path / "A.TXT", [tmp_path / "a.wav"])
    write_output(tmp_path / "A.TXT", [heard_of("a.wav", "밥", [0.1])])
    assert (tmp_path / "A.TXT").read_text(encoding="utf-8") == "밥\n"
    with pytest.raises(OSError, match="no file can be made here"):
        refuse_unusable_output(type(tmp_path)("/proc/a.txt"), [tmp_path / "a.wav"])
