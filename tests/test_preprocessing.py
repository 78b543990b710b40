import json
import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from korean_asr import corpora, transcripts
from korean_asr.audio import UnreadableAudio, audio_info
from korean_asr.corpora import RawUtterance
from korean_asr.errors import DataError
from korean_asr.manifest import Utterance, read_manifest
from korean_asr.preprocessing import REASONS, Settings, preprocessed, printed_corpus, write_outputs

SETTINGS = Settings(side="A", order="spelling-first", speaker="A")


@pytest.fixture
def audio(tmp_path):
    """Makes a real clip of this many samples and gives its path."""

    def made(name, n_samples=16_000, sample_rate=16_000, channels=1):
        path = tmp_path / "audio" / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.full((n_samples, channels), 0.1), sample_rate)
        return path

    return made


def clean(*clips, n_jobs=2, name="korean"):
    return preprocessed(Path("corpus"), iter(clips), SETTINGS, n_jobs, name)


def test_a_usable_clip_becomes_an_utterance_with_its_facts(audio):
    path = audio("a.wav", n_samples=24_001)
    clip = RawUtterance("a", "b/ 밥 (3)/(세) 번, 먹었어?", path, facts={"theme": "dialog", "gender": "F"})
    corpus = clean(clip)
    assert corpus.utterances == [
        Utterance("a", str(path), 1.5001, "밥 3 번, 먹었어?", theme="dialog", gender="F")  # 24,001 / 16,000
    ]
    assert (corpus.rejected, corpus.reasons, corpus.converted) == ([], Counter(), Counter())
    assert corpus.hours == 1.5001 / 3600
    assert corpus.rules.total() >= 2  # the tag and the dual


def test_settings_reach_the_transcript_rules(audio):
    clips = [RawUtterance("a", "(3)/(세) 번", audio("a.wav")), RawUtterance("b", "A: 밥 B: 국", audio("b.wav"))]
    corpus = preprocessed(
        Path("corpus"), iter(clips), Settings(side="B", order="spelling-first", speaker="B"), 1, "korean"
    )
    assert [utterance.text for utterance in corpus.utterances] == ["세 번", "국"]


REJECTED = [
    ("masked", "번호는 ### 이야", "good.wav", None),
    ("empty", "b/ .", "good.wav", None),
    ("other speaker", "B: 국", "good.wav", None),
    ("bracket", "밥 (국 물", "good.wav", None),
    ("no audio", "밥", None, "no audio"),
    ("no label", "", "good.wav", "no label"),
    ("duplicate id", "밥", None, "duplicate id"),
    ("label unreadable", "dialog_1.wav 밥", None, "label unreadable"),
    ("label unreadable", "밥 \ufffd", "good.wav", None),
    ("audio missing", "밥", "gone.wav", None),
    ("audio empty", "밥", "empty.wav", None),
    ("audio unreadable", "밥", "text.wav", None),
    ("audio truncated", "밥", "truncated.wav", None),
    ("audio too short", "밥", "short.wav", None),
    ("masked", "번호는 ### 이야", None, "no audio"),  # the text tells more than the missing file
    ("masked", "번호는 ### 이야", "empty.wav", None),
]


@pytest.fixture
def damaged(tmp_path, audio):
    good = audio("good.wav")
    audio("short.wav", n_samples=399)
    (good.parent / "empty.wav").write_bytes(b"")
    (good.parent / "text.wav").write_text("not a sound " * 50, encoding="utf-8")
    (good.parent / "truncated.wav").write_bytes(good.read_bytes()[:-100])
    return [
        RawUtterance(f"bad_{number:02}", raw, name and good.parent / name, given)
        for number, (_, raw, name, given) in enumerate(REJECTED)
    ]


def test_every_rejected_clip_is_counted_and_written_with_its_reason(audio, damaged, tmp_path):
    good = RawUtterance("good", "밥.", audio("ok.wav"))
    corpus = clean(*damaged, good)
    assert [utterance.id for utterance in corpus.utterances] == ["good"]
    assert corpus.reasons == Counter(reason for reason, *_ in REJECTED)
    write_outputs(tmp_path / "out", {"korean": corpus}, SETTINGS)
    rows = [json.loads(row) for row in (tmp_path / "out/rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"id": f"bad_{number:02}", "raw": raw, "reason": reason, "corpus": "korean"}
        for number, (reason, raw, *_) in enumerate(REJECTED)
    ]


def test_every_reason_that_can_be_given_is_explained(damaged):
    assert {reason for reason, *_ in REJECTED} | {"mixed turns"} == set(REASONS)
    assert set(transcripts.REASONS) <= set(REASONS)
    for clip in damaged:
        if clip.audio:
            try:
                audio_info(clip.audio)
            except UnreadableAudio as error:
                assert str(error) in REASONS


@pytest.mark.parametrize(
    ("sound", "clip", "converted"),
    [
        ({}, {}, []),
        ({"sample_rate": 8_000}, {}, ["8,000 Hz -> 16,000 Hz"]),
        ({"sample_rate": 44_100, "channels": 2}, {}, ["44,100 Hz -> 16,000 Hz", "2 channels -> mono"]),
        ({}, {"encoding": "cp949"}, ["cp949 label -> UTF-8"]),
        ({}, {"raw": unicodedata.normalize("NFD", "밥.")}, ["NFD text -> NFC"]),
    ],
)
def test_an_odd_clip_is_converted_and_counted(audio, sound, clip, converted):
    path = audio("a.wav", **sound)
    corpus = clean(RawUtterance(**{"id": "a", "raw": "밥.", "audio": path, **clip}))
    assert [utterance.text for utterance in corpus.utterances] == ["밥."]
    assert corpus.utterances[0].duration == round(16_000 / sound.get("sample_rate", 16_000), 4)
    assert corpus.converted == Counter(converted)


def test_conversions_of_a_rejected_clip_are_not_counted(audio):
    path = audio("a.wav", sample_rate=8_000)
    corpus = clean(RawUtterance("a", "###", path), RawUtterance("b", "밥.", audio("b.wav")))
    assert corpus.converted == Counter()


def test_utterances_are_sorted_by_id(audio):
    corpus = clean(*(RawUtterance(name, "밥.", audio("a.wav")) for name in ("b", "c", "a")))
    assert [utterance.id for utterance in corpus.utterances] == ["a", "b", "c"]


def test_a_corpus_without_a_usable_clip_says_why_and_writes_nothing(damaged, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"the korean corpus has no usable clip: masked 3, .*audio too short 1"):
        clean(*damaged)
    with pytest.raises(DataError, match="there is no clip at all"):
        clean()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_store_keeps_the_name_that_tells_its_format(tmp_path):
    (tmp_path / "store").write_bytes(b"\x00\x01" * 800)
    (tmp_path / "a.pcm").symlink_to(tmp_path / "store")
    (utterance,) = clean(RawUtterance("a", "밥.", tmp_path / "a.pcm")).utterances
    assert (utterance.audio_filepath, utterance.duration) == (f"{tmp_path}/a.pcm", 0.05)


def test_a_relative_path_is_made_absolute(audio, monkeypatch):
    path = audio("a.wav")
    monkeypatch.chdir(path.parent)
    (utterance,) = clean(RawUtterance("a", "밥.", type(path)("a.wav"))).utterances
    assert utterance.audio_filepath == str(path)


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_corpus_gives_the_same_bytes_with_any_number_of_jobs(audio, damaged, tmp_path):
    path = audio("a.wav")
    clips = [RawUtterance(f"clip_{n:03}", f"b/ 밥 {n} 그릇.", path) for n in range(300)] + damaged
    for n_jobs, folder in ((1, "one"), (1, "again"), (4, "four")):
        write_outputs(tmp_path / folder, {"korean": clean(*clips, n_jobs=n_jobs)}, SETTINGS)
    assert set(written(tmp_path / "one")) == {"korean.jsonl", "rejected.jsonl", "preprocessing.json"}
    assert written(tmp_path / "one") == written(tmp_path / "again") == written(tmp_path / "four")


def test_writing_twice_into_one_folder_changes_nothing(audio, damaged, tmp_path):
    corpus = {"korean": clean(RawUtterance("a", "밥.", audio("a.wav")), *damaged)}
    write_outputs(tmp_path / "out", corpus, SETTINGS)
    before = written(tmp_path / "out")
    write_outputs(tmp_path / "out", corpus, SETTINGS)
    assert written(tmp_path / "out") == before


@pytest.mark.parametrize("raw", ["### 밥", "#\u2028", "#\x85", "#\n", "#\ud800"])
def test_what_an_earlier_run_wrote_of_another_corpus_stays(audio, tmp_path, capsys, raw):
    good, bad = RawUtterance("a", "밥.", audio("a.wav")), RawUtterance("x", raw, None, "no audio")
    both = {name: clean(good, bad, name=name) for name in ("korean", "foreign")}
    write_outputs(tmp_path / "out", both, SETTINGS)
    before = written(tmp_path / "out")
    assert capsys.readouterr().out == ""
    korean = clean(RawUtterance("b", "국.", audio("b.wav")), name="korean")
    write_outputs(tmp_path / "out", {"korean": korean}, SETTINGS)
    assert written(tmp_path / "out")["foreign.jsonl"] == before["foreign.jsonl"]
    assert [utterance.id for utterance in read_manifest(tmp_path / "out/korean.jsonl")] == ["b"]
    rows = [json.loads(row) for row in (tmp_path / "out/rejected.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert rows == [{"id": "x", "raw": raw, "reason": "masked", "corpus": "foreign"}]
    summary, earlier = (json.loads(files["preprocessing.json"]) for files in (written(tmp_path / "out"), before))
    assert summary["foreign"] == earlier["foreign"]
    assert summary["korean"]["n_rejected"] == 0 and earlier["korean"]["n_rejected"] == 1
    assert "foreign.jsonl is of an earlier run and stays as it is" in capsys.readouterr().out


def test_files_of_something_else_in_the_folder_are_replaced(audio, tmp_path):
    (tmp_path / "preprocessing.json").write_text("[]", encoding="utf-8")
    (tmp_path / "rejected.jsonl").write_text("7\n", encoding="utf-8")
    write_outputs(tmp_path, {"korean": clean(RawUtterance("a", "밥.", audio("a.wav")))}, SETTINGS)
    assert (tmp_path / "rejected.jsonl").read_bytes() == b""
    assert list(json.loads((tmp_path / "preprocessing.json").read_text(encoding="utf-8"))) == ["korean"]


def test_the_summary_tells_settings_counts_and_the_checksum(audio, damaged, tmp_path):
    path = audio("a.wav", n_samples=32_000, sample_rate=8_000)
    paths = write_outputs(tmp_path / "out", {"korean": clean(RawUtterance("a", "밥.", path), *damaged)}, SETTINGS)
    assert [path.name for path in paths] == ["korean.jsonl", "rejected.jsonl", "preprocessing.json"]
    korean = json.loads(paths[2].read_text(encoding="utf-8"))["korean"]
    assert korean["settings"] == {"side": "A", "order": "spelling-first", "speaker": "A", "mixed_turns": "select"}
    assert (korean["n_clips"], korean["n_rejected"], korean["hours"]) == (1, 16, 0.0011)  # 4 s
    assert korean["reasons"] == {**Counter(reason for reason, *_ in REJECTED)}
    assert korean["converted"] == {"8,000 Hz -> 16,000 Hz": 1}
    assert len(korean["sha256"]) == 64


def test_the_printed_paragraph_counts_clips_reasons_and_conversions(audio, tmp_path):
    clips = [RawUtterance("a", "밥.", audio("a.wav", n_samples=8_000, sample_rate=8_000)), RawUtterance("b", "#", None)]
    lines = printed_corpus("Korean", clean(*clips)).splitlines()
    assert lines[:5] == [
        "",
        "Korean: corpus",
        "  2 clips, 1 usable (0.00 h), 1 rejected",
        "    rejected        1  masked: personal data is masked in the text, not in the audio · 비식별",
        "    converted       1  8,000 Hz -> 16,000 Hz (when it is read)",
    ]


def test_a_whole_corpus_with_undecodable_folder_names_goes_from_disk_to_manifest(audio, tmp_path):
    root = tmp_path / os.fsdecode(b"\xc0\xcf\xbb\xf3")  # 일상 in CP949, as unzip leaves it
    root.mkdir()
    audio("dialog_1.wav").rename(root / "dialog_1.wav")
    (root / "x_scripts.txt").write_text("/dialog_1.wav :: 밥.\n/dialog_2.wav :: 국.\n", encoding="utf-8")
    corpus = preprocessed(root, corpora.korean_utterances(root), SETTINGS, 2, "korean")
    assert corpus.reasons == Counter({"no audio": 1})
    write_outputs(tmp_path / "out", {"korean": corpus}, SETTINGS)
    assert read_manifest(tmp_path / "out/korean.jsonl") == corpus.utterances
