import json
import os
import sys
import tarfile
import unicodedata
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from korean_asr import files, transcripts
from korean_asr.audio import UnreadableAudio, audio_info, sound_checksum
from korean_asr.errors import DataError
from korean_asr.manifest import Utterance, read_manifest
from korean_asr.preprocessing import cleaning
from korean_asr.preprocessing.cleaning import REFUSED, RULE_SENTENCES, Settings, preprocessed
from korean_asr.preprocessing.counts import REASONS, Alphabet, printed_group
from korean_asr.preprocessing.json_labels import LabelKeys
from korean_asr.preprocessing.outputs import write_outputs

SETTINGS = Settings(side="A", order="spelling-first", speaker="A", mixed_turns="select")
OUTPUTS = {"korean.jsonl", "rejected.jsonl", "preprocessing.json", "preprocessing.html"}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "corpus").mkdir()
    return tmp_path / "corpus"


def sound(path, n_samples=16_000, sample_rate=16_000, channels=1):
    """A real clip of this many samples; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((n_samples, channels), 0.1), sample_rate)
    return path


def labels(root, *lines, name="x_scripts.txt"):
    """A script of these lines: (clip, text), or bytes as they are."""
    made = [
        line if isinstance(line, bytes) else f"/{line[0]}.wav :: {line[1]}".encode()
        for line in lines
    ]
    (root / name).write_bytes(b"\n".join(made))


def clips(root, *lines, **options):
    """A corpus of these (clip, text), with audio for each."""
    labels(root, *lines, **options)
    for clip, _ in lines:
        sound(root / f"{clip}.wav")


def clean(root, tmp_path, settings=SETTINGS, n_jobs=1, name="korean", output="out", alphabet=None):
    return preprocessed({root.stem: root}, settings, n_jobs, name, tmp_path / output, alphabet)


def write(tmp_path, *groups, output="out", alphabet=None):
    write_outputs(tmp_path / output, list(groups), RULE_SENTENCES, alphabet)
    return tmp_path / output


def utterances(root, tmp_path, **options):
    return read_manifest(write(tmp_path, clean(root, tmp_path, **options)) / "korean.jsonl")


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_usable_clip_becomes_an_utterance_with_its_facts(root, tmp_path):
    path = sound(root / "dialog_01.wav", n_samples=24_001)
    labels(root, ("dialog_01", "b/ 밥 (3)/(세) 번, 먹었어?"))
    (root / "x_metadata.txt").write_text("/dialog_01.wav|1|2|F|A|5|1|7|1", encoding="utf-8")
    corpus = clean(root, tmp_path)
    facts = {
        "theme": "dialog",
        "gender": "F",
        "age": "성인",
        "residence": "서울·경기",
        "quality": "정상",
        "corpus": "corpus",
    }
    assert read_manifest(write(tmp_path, corpus) / "korean.jsonl") == [
        Utterance("dialog_01", str(path), 1.5001, "밥 3 번, 먹었어?", **facts)  # 24,001 / 16,000
    ]
    assert (corpus.tally.n_clips, corpus.tally.n_rejected, corpus.tally.ticks) == (1, 0, 15_001)
    assert corpus.tally.rules == {"dual": 1, "tag": 1, "spaces": 1}


def test_settings_reach_the_transcript_rules(root, tmp_path):
    clips(root, ("a", "(3)/(세) 번"), ("b", "A: 밥 B: 국"))
    chosen = replace(SETTINGS, side="B", speaker="B")
    assert [utterance.text for utterance in utterances(root, tmp_path, settings=chosen)] == [
        "세 번",
        "국",
    ]
    corpus = clean(root, tmp_path, settings=replace(SETTINGS, mixed_turns="reject"))
    assert corpus.tally.reasons == {"mixed turns": 1}


def test_slips_in_a_dual_are_repaired_but_not_in_the_foreign_corpus(root, tmp_path):
    clips(root, ("a", "(3)/(세) 번"), ("b", "(3) /(세) 번"))
    assert clean(root, tmp_path, name="korean").tally.n_clips == 2
    assert clean(root, tmp_path, name="foreign").tally.reasons == {"bracket": 1}


REJECTED = [
    ("masked", "번호는 ### 이야", "good.wav"),
    ("empty", "b/ .", "good.wav"),
    ("other speaker", "B: 국", "good.wav"),
    ("bracket", "밥 (국 물", "good.wav"),
    ("no audio", "밥", None),
    ("label unreadable", "밥 \ufffd", "good.wav"),
    ("audio missing", "밥", "gone.wav"),
    ("audio empty", "밥", "empty.wav"),
    ("audio unreadable", "밥", "text.wav"),
    ("audio truncated", "밥", "truncated.wav"),
    ("audio too short", "밥", "short.wav"),
    ("masked", "번호는 ### 이야", None),  # the text tells more than the missing file
    ("masked", "번호는 ### 이야", "empty.wav"),
    ("unwritable", "밥 漢字", "good.wav"),
]


@pytest.fixture
def damaged(root):
    """A corpus of REJECTED alone: clip_00, clip_01, …"""
    good = sound(root.parent / "store/good.wav")
    sound(good.parent / "short.wav", n_samples=399)
    (good.parent / "empty.wav").write_bytes(b"")
    (good.parent / "text.wav").write_text("not a sound " * 50, encoding="utf-8")
    (good.parent / "truncated.wav").write_bytes(good.read_bytes()[:-2_000])
    for number, (_, _, name) in enumerate(REJECTED):
        if name:
            (root / f"clip_{number:02}.wav").symlink_to(good.parent / name)
    labels(root, *((f"clip_{number:02}", raw) for number, (_, raw, _) in enumerate(REJECTED)))
    return root


def test_every_rejected_clip_is_counted_and_written_with_its_reason(damaged, tmp_path):
    clips(damaged, ("good", "밥."), name="y_scripts.txt")
    corpus = clean(damaged, tmp_path)
    assert corpus.tally.reasons == Counter(reason for reason, *_ in REJECTED)
    folder = write(tmp_path, corpus)
    assert [utterance.id for utterance in read_manifest(folder / "korean.jsonl")] == ["good"]
    assert rows(folder / "rejected.jsonl") == [
        {"id": f"clip_{number:02}", "raw": raw, "reason": reason, "corpus": "korean"}
        for number, (reason, raw, _) in enumerate(REJECTED)
    ]


def test_every_reason_that_can_be_given_is_explained(damaged):
    assert {reason for reason, *_ in REJECTED} | {*transcripts.REASONS} <= set(REASONS)
    assert set(REFUSED) <= set(REASONS)
    for path in damaged.glob("*.wav"):
        try:
            audio_info(path)
        except UnreadableAudio as error:
            assert str(error) in REASONS


def test_what_is_refused_is_printed_by_name_and_only_ten_of_many(root, tmp_path):
    clips(root, ("good", "밥."))
    labels(
        root, *(("../" * (n + 1) + f"evil\x1b_{n}", "국") for n in range(12)), name="y_scripts.txt"
    )
    lines = printed_group("Korean", clean(root, tmp_path)).splitlines()
    assert lines[3] == f"    rejected       12  unsafe path: {REASONS['unsafe path']}"
    assert lines[-11:-9] == [
        "  refused /../evil?_0.wav: unsafe path.",
        "  refused /../../evil?_1.wav: unsafe path.",
    ]
    assert lines[-1] == "  and 2 more refused; rejected.jsonl names them all."


def test_a_refused_line_of_a_manifest_is_printed_with_the_key_and_the_value(root, tmp_path):
    clip = {"audio_filepath": str(sound(root / "a.wav")), "text": "밥."}
    wrong = [
        clip | {"offset": -1},
        clip | {"offset": float("nan"), "duration": 1.0},
        [clip],
        clip | {"text": 5},
        clip | {"audio_filepath": 5},
        {"audio_filepath": 5, "text": "밥", "offset": "\x1b" * 400},
        clip | {"offset": "a\x9b\u202e" + "b" * 400},
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in [clip, *wrong]))
    corpus = clean(manifest, tmp_path)
    assert corpus.tally.reasons == {"label unreadable": len(wrong)}
    lines = printed_group("Korean", corpus).splitlines()[-len(wrong) :]
    assert lines == [
        f"  refused {manifest}, line {number}: {problem}."
        for number, problem in enumerate(
            [
                "`offset` is -1, not 0 to 1,000,000,000 seconds",
                "`offset` is NaN, not 0 to 1,000,000,000 seconds",
                "it is a JSON array, not an object",
                "`text` is 5, which is not a text",
                "`audio_filepath` is 5, which is not a text",
                "`audio_filepath` is 5, which is not a text",
                f'`offset` is "a??{"b" * 36}..., not 0 to 1,000,000,000 seconds',
            ],
            2,
        )
    ]


@pytest.mark.parametrize(
    ("audio", "line", "converted"),
    [
        ({}, ("a", "밥."), {}),
        ({"sample_rate": 8_000}, ("a", "밥."), {"8,000 Hz -> 16,000 Hz": 1}),
        (
            {"sample_rate": 44_100, "channels": 2},
            ("a", "밥."),
            {"44,100 Hz -> 16,000 Hz": 1, "2 channels -> mono": 1},
        ),
        ({}, "/a.wav :: 밥.".encode("cp949"), {"cp949 label -> UTF-8": 1}),
        ({}, ("a", unicodedata.normalize("NFD", "밥.")), {"NFD text -> NFC": 1}),
    ],
)
def test_an_odd_clip_is_converted_and_counted(root, tmp_path, audio, line, converted):
    sound(root / "a.wav", **audio)
    labels(root, line)
    corpus = clean(root, tmp_path)
    (utterance,) = read_manifest(write(tmp_path, corpus) / "korean.jsonl")
    assert (utterance.text, utterance.duration) == (
        "밥.",
        round(16_000 / audio.get("sample_rate", 16_000), 4),
    )
    assert corpus.tally.converted == converted


def test_clips_that_are_cut_out_of_a_long_file_keep_their_place_and_their_samples(tmp_path, noise):
    soundfile.write(tmp_path / "talk.flac", noise(96_001, 1), 16_000)
    row = {"audio_filepath": "talk.flac", "text": "b/ 밥."}
    # 0.7395625 s are 11,833 samples; rounded to four digits it would be another number of them.
    parts = [
        {"offset": 0.0, "duration": 1.5},
        {"offset": 1.7395625, "duration": 0.7395625, "id": "mine"},
        {"offset": 3},
        {"offset": 5.5, "duration": 0.55},  # rounded up behind the end of the file
        {"offset": 5.5, "duration": 0.8},
        {"offset": 7.0, "duration": 1.0},
        {"offset": 1.0, "duration": 0.01},
    ]
    (tmp_path / "nemo.jsonl").write_text("\n".join(json.dumps(row | part) for part in parts))
    corpus = clean(tmp_path / "nemo.jsonl", tmp_path)
    made = read_manifest(write(tmp_path, corpus) / "korean.jsonl")
    assert [(clip.id, clip.offset, clip.duration, clip.text) for clip in made] == [
        ("mine", 1.7395625, 0.7395625, "밥."),
        ("talk", 0.0, 1.5, "밥."),
        ("talk_3.0000-end", 3.0, 3.0001, "밥."),
        ("talk_5.5000-6.0500", 5.5, 0.55, "밥."),
    ]
    assert corpus.tally.reasons == {"audio truncated": 2, "audio too short": 1}
    # Read from the given manifest, they are the same clips with the same ids and samples.
    given = {clip.id: clip for clip in read_manifest(tmp_path / "nemo.jsonl")}
    for clip in made:
        assert clip.cut == given[clip.id].cut
        assert sound_checksum(clip.audio_filepath, *clip.cut) is not None


def test_an_offset_of_0_with_the_duration_of_the_file_is_the_whole_file(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise(24_001, 1), 16_000)
    row = {"audio_filepath": "a.wav", "text": "밥.", "duration": 24_001 / 16_000}
    made = []
    for number, keys in enumerate(({}, {"offset": 0.0}, {"offset": 0.0, "duration": 1.55})):
        path = tmp_path / "nemo.jsonl"
        path.write_text(json.dumps(row | keys))
        folder = write(
            tmp_path, clean(path, tmp_path, output=f"out{number}"), output=f"out{number}"
        )
        made.append((folder / "korean.jsonl").read_text(encoding="utf-8"))
    assert made[0] == made[1] == made[2] and '"offset"' not in made[0]


def test_samples_without_a_riff_header_are_read_and_counted(root, tmp_path):
    tone = (8_000 * np.sin(np.arange(16_000) / 20)).astype("<i2")
    (root / "a.wav").write_bytes(tone.tobytes())
    (root / "b.pcm").write_bytes(tone.tobytes() + b"\x01")  # KsponSpeech's, with an odd byte
    labels(root, ("a", "밥."), ("b", "국."))
    corpus = clean(root, tmp_path)
    assert corpus.tally.converted == {"no RIFF header -> 16-bit samples at 16,000 Hz": 1}
    assert [
        utterance.duration for utterance in read_manifest(write(tmp_path, corpus) / "korean.jsonl")
    ] == [1.0, 1.0]


def test_conversions_of_a_rejected_clip_are_not_counted(root, tmp_path):
    clips(root, ("a", "###"), ("b", "밥."))
    sound(root / "a.wav", sample_rate=8_000)
    assert clean(root, tmp_path).tally.converted == {}


def test_utterances_are_sorted_by_id_whatever_the_order_of_the_labels(root, tmp_path):
    clips(root, ("b", "밥."), ("c", "밥."), ("a", "밥."))
    assert [utterance.id for utterance in utterances(root, tmp_path)] == ["a", "b", "c"]


def test_a_corpus_without_a_usable_clip_says_why_and_writes_nothing(damaged, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        DataError, match=r"the korean corpus .* has no usable clip: masked 3, .*audio too short 1"
    ):
        clean(damaged, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_labels_without_a_line_are_no_clip_at_all(root, tmp_path):
    labels(root, b"  ")
    with pytest.raises(DataError, match="there is no clip at all"):
        clean(root, tmp_path)


def test_unknown_labels_whose_audio_has_another_name_are_told_the_option(root, tmp_path):
    sound(root / "clip.wav")
    label = {"text": {"said": "밥"}, "sound": "clip.wav"}
    (root / "label.json").write_text(json.dumps(label), encoding="utf-8")
    said = LabelKeys(("text", "said"))
    with pytest.raises(DataError, match=r"no audio 1, no label 1\. Audio .* add --audio-key"):
        preprocessed({"a": root}, Settings(), 1, "korean", tmp_path / "out", keys=said)
    named = said._replace(audio=("sound",))
    group = preprocessed({"a": root}, Settings(), 1, "korean", tmp_path / "out", keys=named)
    assert group.corpora[0].tally.n_clips == 1 and not group.corpora[0].notes


def test_a_link_to_a_store_keeps_the_name_that_tells_its_format(root, tmp_path):
    (root / "store").write_bytes(b"\x00\x01" * 800)
    (root / "a.pcm").symlink_to(root / "store")
    labels(root, ("a", "밥."))
    (utterance,) = utterances(root, tmp_path)
    assert (utterance.audio_filepath, utterance.duration) == (f"{root}/a.pcm", 0.05)


def test_a_relative_corpus_gives_absolute_paths(root, tmp_path, monkeypatch):
    clips(root, ("a", "밥."))
    monkeypatch.chdir(tmp_path)
    (utterance,) = utterances(type(root)("corpus"), tmp_path)
    assert utterance.audio_filepath == f"{root}/a.wav"


@pytest.fixture
def many(root, monkeypatch):
    """More clips than one chunk and one sorted run hold, in no order, some of them bad."""
    monkeypatch.setattr(cleaning, "CHUNK_CLIPS", 40)
    names = [f"clip_{n * 37 % 300:03}" for n in range(300)]
    clips(
        root, *((name, f"b/ 밥 {name[-3:]} 그릇." if name[-1] != "7" else "###") for name in names)
    )
    return root


def test_the_same_corpus_gives_the_same_bytes_with_any_number_of_jobs(many, tmp_path):
    for n_jobs, folder in ((1, "one"), (1, "again"), (3, "three")):
        write(tmp_path, clean(many, tmp_path, n_jobs=n_jobs, output=folder), output=folder)
    assert set(written(tmp_path / "one")) == OUTPUTS
    assert written(tmp_path / "one") == written(tmp_path / "again") == written(tmp_path / "three")


def test_clips_that_memory_does_not_hold_are_sorted_all_the_same(many, tmp_path, monkeypatch):
    whole = utterances(many, tmp_path)
    monkeypatch.setattr(files, "RUN_LINES", 50)
    assert utterances(many, tmp_path) == whole
    assert [utterance.id for utterance in whole] == sorted(utterance.id for utterance in whole)
    assert len(whole) == 270


def test_the_chunks_that_clips_come_in_do_not_show(many, tmp_path, monkeypatch):
    write(tmp_path, clean(many, tmp_path))
    before = written(tmp_path / "out")
    monkeypatch.setattr(cleaning, "CHUNK_CLIPS", 7)
    write(tmp_path, clean(many, tmp_path))
    assert written(tmp_path / "out") == before


def test_a_run_leaves_nothing_but_its_outputs(many, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUN_LINES", 50)
    assert {path.name for path in write(tmp_path, clean(many, tmp_path)).iterdir()} == OUTPUTS


@pytest.mark.parametrize("raw", ["### 밥", "#\u2028밥", "#\x85밥", "#\u3000밥"])
def test_what_an_earlier_run_wrote_of_another_corpus_stays(root, tmp_path, capsys, raw):
    clips(root, ("a", "밥."), ("x", raw))
    both = [clean(root, tmp_path, name=name) for name in ("korean", "foreign")]
    before = written(write(tmp_path, *both))
    assert capsys.readouterr().out == ""
    (root / "x_scripts.txt").unlink()
    (root / "x.wav").unlink()
    labels(root, ("a", "국."))
    folder = write(tmp_path, clean(root, tmp_path))
    assert written(folder)["foreign.jsonl"] == before["foreign.jsonl"]
    assert [utterance.text for utterance in read_manifest(folder / "korean.jsonl")] == ["국."]
    assert rows(folder / "rejected.jsonl") == [
        {"id": "x", "raw": raw, "reason": "masked", "corpus": "foreign"}
    ]
    summary, earlier = (
        json.loads(files["preprocessing.json"]) for files in (written(folder), before)
    )
    assert summary["foreign"] == earlier["foreign"]
    assert summary["korean"]["n_rejected"] == 0 and earlier["korean"]["n_rejected"] == 1
    assert "foreign.jsonl is from an earlier run and was not changed" in capsys.readouterr().out


def test_a_summary_of_a_corpus_whose_manifest_is_gone_is_not_kept(root, tmp_path):
    clips(root, ("a", "밥."))
    folder = write(tmp_path, *(clean(root, tmp_path, name=name) for name in ("korean", "foreign")))
    (folder / "foreign.jsonl").unlink()
    write(tmp_path, clean(root, tmp_path))
    assert list(json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))) == [
        "korean"
    ]


def test_files_of_something_else_in_the_folder_are_replaced(root, tmp_path):
    clips(root, ("a", "밥."))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/preprocessing.json").write_text("[]", encoding="utf-8")
    (tmp_path / "out/rejected.jsonl").write_text("7\n", encoding="utf-8")
    folder = write(tmp_path, clean(root, tmp_path))
    assert (folder / "rejected.jsonl").read_bytes() == b""
    assert list(json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))) == [
        "korean"
    ]


def summary_of(folder):
    return json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))["korean"]


def test_the_summary_tells_settings_counts_examples_and_checksums(damaged, tmp_path):
    sound(damaged / "good.wav", n_samples=32_000, sample_rate=8_000)
    labels(damaged, ("good", "b/ 밥."), name="y_scripts.txt")
    korean = summary_of(write(tmp_path, clean(damaged, tmp_path)))
    assert korean["settings"] == {
        "side": "A",
        "order": "spelling-first",
        "speaker": "A",
        "mixed_turns": "select",
    }
    assert (korean["n_clips"], korean["n_rejected"], korean["hours"]) == (
        1,
        len(REJECTED),
        0.0011,
    )  # 4 s
    assert korean["reasons"] == {**Counter(reason for reason, *_ in REJECTED)}
    assert korean["converted"] == {"8,000 Hz -> 16,000 Hz": 1}
    assert (
        korean["labels"]["n_files"] == 2
        and len(korean["labels"]["sha256"]) == len(korean["sha256"]) == 64
    )
    assert [example["id"] for example in korean["examples"]["reasons"]["masked"]] == [
        "clip_00",
        "clip_11",
        "clip_12",
    ]
    for reason, examples in korean["examples"]["reasons"].items():
        for example in examples:
            path = damaged / f"{example['id']}.wav"
            # The page lets the reader hear it.
            wanted = {"audio_filepath": str(path)} if path.is_symlink() else None
            assert example.get("audio") == wanted, reason
    assert korean["examples"]["rules"]["tag"] == [
        {"id": "clip_01", "before": "b/ .", "after": "  ."},
        {"id": "good", "before": "b/ 밥.", "after": "  밥."},
    ]


def test_the_checksum_of_labels_and_metadata_changes_with_them(root, tmp_path):
    checksums = set()
    for text in ("밥.", "국.", "국."):
        clips(root, ("a", text))
        checksums.add(clean(root, tmp_path).labels_sha256)
    for gender in "FM":
        (root / "x_metadata.txt").write_text(f"/a.wav|1|2|{gender}|A|5|1|7|1", encoding="utf-8")
        checksums.add(clean(root, tmp_path).labels_sha256)
    assert len(checksums) == 4


def test_durations_and_letters_a_second_are_counted_in_bins(root, tmp_path):
    # 0.5, 1, 2.9 and 40 s; of a mark and a space no letter.
    for name, n_samples in (("a", 8_000), ("b", 16_000), ("c", 46_400), ("d", 640_000)):
        sound(root / f"{name}.wav", n_samples)
    labels(root, ("a", "밥 국, 물."), ("b", "밥!"), ("c", "가나 다라 마바"), ("d", "가"))
    korean = summary_of(write(tmp_path, clean(root, tmp_path)))
    assert (korean["durations"]["step"], korean["durations"]["counts"][:4]) == (1.0, [1, 1, 1, 0])
    assert (sum(korean["durations"]["counts"]), korean["durations"]["above"]) == (3, 1)
    # 6, 1, 2.07 and 0.025 letters a second, in steps of a half
    assert [i for i, n in enumerate(korean["rates"]["counts"]) if n] == [0, 2, 4, 12]
    assert korean["rates"]["above"] == 0
    assert [clip["id"] for clip in korean["fastest"]] == ["a", "c", "b", "d"]
    assert [clip["id"] for clip in korean["slowest"]] == ["d", "b", "c", "a"]
    assert korean["fastest"][0] == {"rate": 6.0, "id": "a", "duration": 0.5, "text": "밥 국, 물."}


def test_what_is_beyond_the_last_bin_is_counted_there(root, tmp_path):
    sound(root / "a.wav", n_samples=8_000)
    labels(root, ("a", "말" * 20))  # 40 letters a second
    rates = summary_of(write(tmp_path, clean(root, tmp_path)))["rates"]
    assert (sum(rates["counts"]), rates["above"]) == (0, 1)


def foreign_label(speaker, language, text="밥 먹었어요"):
    label = {
        "file_info": {"speakerID": speaker},
        "transcription": {"AnswerLabelText": text},
        "skill_info": {"motherTongue": language},
    }
    return json.dumps(label, ensure_ascii=False)


def test_clips_of_each_speaker_and_first_language_are_counted(root, tmp_path):
    for name, speaker, language in [
        ("a", "S1", "베트남어"),
        ("b", "S1", "베트남어"),
        ("c", "S2", "영어"),
        ("d", "", ""),
    ]:
        (root / f"{name}.json").write_text(foreign_label(speaker, language), encoding="utf-8")
        sound(root / f"{name}.wav")
    korean = summary_of(write(tmp_path, clean(root, tmp_path)))
    assert korean["speakers"] == {"n": 2, "n_unknown": 1, "clips": {"S1": 2, "S2": 1}}
    assert korean["first_languages"] == {"베트남어": 2, "영어": 1}


def test_characters_that_the_base_model_cannot_write_are_counted_without_those_that_the_recipe_adds(
    root, tmp_path
):
    clips(root, ("a", "밥 3개, 국 3개."), ("b", "밥."), ("c", "TV 봐"))
    alphabet = Alphabet("base", frozenset("밥개국봐 "), ".,?!")
    corpus = clean(root, tmp_path, alphabet=alphabet)
    vocabulary = summary_of(write(tmp_path, corpus, alphabet=alphabet))["vocabulary"]
    assert (vocabulary["n_labels"], vocabulary["n_touched"], vocabulary["n_outside"]) == (3, 2, 4)
    assert vocabulary["lowest_cer"] == round(4 / (11 + 2 + 4), 6)
    assert vocabulary["characters"] == [
        {"character": ".", "n": 2, "n_clips": 2, "added": True},
        {"character": "3", "n": 2, "n_clips": 1, "added": False},
        {"character": ",", "n": 1, "n_clips": 1, "added": True},
        {"character": "T", "n": 1, "n_clips": 1, "added": False},
        {"character": "V", "n": 1, "n_clips": 1, "added": False},
    ]
    printed = printed_group("Korean", corpus)
    assert (
        "2 of 3" in printed
        and "lowest reachable CER 0.2353" in printed
        and "--extra-tokens 5" in printed
    )
    # The corpus has no dual that would give a character less.
    assert "--side auto" not in printed


@pytest.mark.parametrize(
    ("side", "text", "advised"),
    [
        ("A", "(3개)/(세 개) 줘", True),
        ("A", "(TV)/(티비) 봐", True),
        ("A", "((3개)/(세 개)) 줘", True),
        ("A", "(그러면)/(그럼) 3개", False),
        ("A", "밥 3개, TV", False),
        ("B", "(3개)/(세 개) 줘 5", False),
        ("B", "(세 개)/(3개) 줘", True),
        ("auto", "(3개)/(세 개) 줘 5", False),
    ],
)
def test_side_auto_is_advised_where_a_dual_gives_fewer_digits_and_latin_letters_with_it(
    root, tmp_path, side, text, advised
):
    clips(root, ("a", "밥."), ("b", text))
    corpus = clean(root, tmp_path, Settings(side=side), alphabet=Alphabet("base", frozenset(), ""))
    assert ("--side auto" in printed_group("Korean", corpus)) == advised
    vocabulary = summary_of(write(tmp_path, corpus, alphabet=Alphabet("base", frozenset(), "")))
    assert ("--side auto" in vocabulary["vocabulary"]["advice"]) == advised


def test_without_a_base_model_no_character_is_compared(root, tmp_path):
    clips(root, ("a", "밥 3개."))
    corpus = clean(root, tmp_path)
    assert summary_of(write(tmp_path, corpus))["vocabulary"] is None
    assert "vocabulary" not in printed_group("Korean", corpus)


def test_the_printed_paragraph_counts_clips_reasons_and_conversions(root, tmp_path):
    clips(root, ("a", "밥."), ("b", "#"))
    sound(root / "a.wav", n_samples=8_000, sample_rate=8_000)
    assert printed_group("Korean", clean(root, tmp_path)).splitlines() == [
        "",
        f"Korean: {root}",
        "  2 clips, 1 usable (0.00 h), 1 rejected",
        f"    rejected        1  masked: {REASONS['masked']}",
        "    converted       1  8,000 Hz -> 16,000 Hz (when it is read)",
        "    rule            1  masked digits",
    ]


def test_a_whole_corpus_with_undecodable_folder_names_goes_from_disk_to_manifest(root, tmp_path):
    folder = root / os.fsdecode(b"\xc0\xcf\xbb\xf3")  # 일상 in CP949, as unzip leaves it
    folder.mkdir()
    path = sound(root / "dialog_1.wav").rename(folder / "dialog_1.wav")
    labels(folder, ("dialog_1", "밥."), ("dialog_2", "국."))
    corpus = clean(root, tmp_path)
    assert corpus.tally.reasons == {"no audio": 1}
    (utterance,) = read_manifest(write(tmp_path, corpus) / "korean.jsonl")
    assert (utterance.id, utterance.audio_filepath) == ("dialog_1", str(path))


def test_audio_that_is_partly_packed_is_said_with_the_command_that_unpacks_it(
    root, tmp_path, monkeypatch
):
    monkeypatch.setattr("korean_asr.preprocessing.archives.find_spec", lambda name: None)
    clips(root, ("a", "밥."))
    labels(root, ("b", "국."), name="y_scripts.txt")
    with tarfile.open(root / "[원천]more.tar.gz", "w:gz") as archive:
        archive.add(root / "a.wav", "b.wav")
    printed = printed_group("Korean", clean(root, tmp_path))
    assert f"or run  tar -xf '{root}/[원천]more.tar.gz' -C {root}." in printed


@pytest.mark.parametrize("suffix", ["m4a", "AAC", "wma", "mp4", "amr", "opus", "wav"])
def test_without_pyav_audio_of_another_type_is_said_with_what_to_install(
    root, tmp_path, suffix, monkeypatch
):
    monkeypatch.setitem(sys.modules, "av", None)
    labels(root, ("a", "밥"), ("b", "국"), ("c", "물"))
    sound(root / "c.wav")
    (root / f"a.{suffix}").write_bytes(b"\0\0\0\x20ftypM4A ")
    (root / f"more.{suffix}").write_bytes(b"x")
    corpus = clean(root, tmp_path)
    reason = "audio of another type"
    assert corpus.tally.reasons == {reason: 1, "no audio": 1, "no label": 1}
    (line,) = [line for line in printed_group("korean", corpus).splitlines() if reason in line]
    assert line.startswith(f"    rejected        1  {reason}: m4a, mp4, webm and others are read")
    assert "pip install -r requirements-optional.txt" in line
    (root / "c.wav").unlink()
    with pytest.raises(DataError, match=r"another type \(pip install -r requirements-optional.txt"):
        clean(root, tmp_path)


@pytest.mark.parametrize("suffix", ["aiff", "w64", "caf"])
def test_audio_of_a_rare_type_is_read_where_it_can_be(root, tmp_path, suffix):
    labels(root, ("a", "밥"))
    sound(root / f"a.{suffix}")
    assert clean(root, tmp_path).tally.n_clips == 1


def rival_labels(root, first, second):
    """Labels of the clips c0, c1 … in two folders, as text a clip, and audio beside them."""
    for folder, texts in (("pron", first), ("spell", second)):
        for number, text in enumerate(texts):
            path = root / folder / "01" / f"c{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = {"transcription": {"AnswerLabelText": text}}
            path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            sound(root / "audio" / f"c{number}.wav")


@pytest.mark.parametrize("chunk", [1, 1000])
def test_two_folders_with_other_texts_of_the_same_clips_are_said_once(
    root, tmp_path, chunk, monkeypatch
):
    monkeypatch.setattr(cleaning, "CHUNK_CLIPS", chunk)
    rival_labels(root, ["삼 번", "밥, 먹어?", "###", "물"], ["3 번", "밥먹어", "국", "물 (국"])
    corpus = clean(root, tmp_path)
    assert corpus.tally.reasons == {"duplicate id": 4, "masked": 1}
    assert corpus.notes == [
        f"1 clip has two labels that differ in letters: the one in {root}/pron is used, "
        f"not the one in {root}/spell. To use that one, move the labels in {root}/pron out of the "
        "corpus. · 한 발화의 두 라벨이 서로 다르면 첫 번째를 사용합니다."
    ]


def test_second_labels_with_the_same_letters_are_not_worth_a_note(root, tmp_path):
    rival_labels(root, ["밥 먹어.", "국"], ["밥먹어", "국!"])
    assert clean(root, tmp_path).notes == []


def test_second_labels_of_several_clips_in_another_file_are_said_in_one_sentence(root, tmp_path):
    clips(root, ("a", "밥"), ("b", "국"))
    labels(root, ("a", "물"), ("b", "죽"), name="y_scripts.txt")
    (note,) = clean(root, tmp_path).notes
    assert note.partition(" · ")[0] == (
        f"2 clips have two labels that differ in letters: the one in {root}/x_scripts.txt is used, "
        f"not the one in {root}/y_scripts.txt. To use that one, move the labels in "
        f"{root}/x_scripts.txt out of the corpus."
    )


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        ([("a", "밥"), ("b", "국"), ("a", "물")], "1 clip has two"),
        ([("a", "밥"), ("b", "국"), ("a", "물"), ("b", "죽")], "2 clips have two"),
    ],
)
def test_a_second_label_in_the_same_file_is_said_to_be_there(root, tmp_path, lines, start):
    clips(root, *lines)
    (note,) = clean(root, tmp_path).notes
    assert note == (
        f"{start} labels that differ in letters, both in {root}/x_scripts.txt: the first is used. "
        "To use the second, take the first out. "
        "· 한 발화의 두 라벨이 서로 다르면 첫 번째를 사용합니다."
    )


def test_each_second_label_is_compared_with_that_of_its_own_clip(root, tmp_path):
    for part, text in (("1.Training", "밥"), ("2.Validation", "국")):
        sound(root / part / "c.wav")
        labels(root / part, (f"{part}/c", text))
        labels(root / part, (f"{part}/c", text), name="y_scripts.txt")
    assert clean(root, tmp_path).notes == []
