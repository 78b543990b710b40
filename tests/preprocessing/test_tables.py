"""Tables of clips: Parquet, as `datasets` and pyarrow write it, AudioFolder, CSV, TSV, the hub."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.errors import DataError, UsageError
from korean_asr.manifest import OPTIONAL_KEYS, REPOSITORY, Utterance, read_manifest, write_manifest
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.json_labels import LabelKeys, given_key
from korean_asr.preprocessing.listing import listed_corpus
from korean_asr.preprocessing.tables import part_of, table_rows

RATE = 16_000


def wave(form="WAV", encoding="PCM_16", seed=0, n_samples=1_600, channels=1, rate=RATE):
    """The bytes of an audio file, and its samples as float32, (n_samples, channels)."""
    content = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.9, 0.9, (n_samples, channels))
    soundfile.write(content, samples, rate, encoding, format=form)
    content.seek(0)
    read, _ = soundfile.read(content, dtype="float32", always_2d=True)
    return content.getvalue(), read


KEYS = ("text_key", "audio_key")


@pytest.fixture
def read(tmp_path):
    """read(root, **options): the listing, and its raw utterances by id."""

    def listed(root, split=None, **keys):
        keys = LabelKeys(*(given_key(keys[key]) if key in keys else () for key in KEYS))
        output = tmp_path / "processed"
        listing = listed_corpus(root, output, AUDIO_SUFFIXES, OPTIONAL_KEYS, "korean", keys, split)
        clips = list(raw_utterances(listing))
        assert len({clip.id for clip in clips}) == len(clips)
        return listing, {clip.id: clip for clip in clips}

    return listed


@pytest.fixture
def parquet(tmp_path):
    """parquet(name, rows): a file of these rows, as pyarrow writes them; returns its corpus."""

    def written(name, rows, **options):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
        return tmp_path / "set"

    return written


def row(stem, text="밥 먹었어?", seed=0, **others):
    return {"audio": {"bytes": wave(seed=seed)[0], "path": f"{stem}.wav"}, "text": text, **others}


def outcome(clips):
    return {clip.id: (clip.raw, clip.reason) for clip in clips.values()}


# Audio inside the table


@pytest.mark.parametrize(
    "form, encoding, kept",
    [
        ("WAV", "PCM_16", "PCM_16"),
        ("FLAC", "PCM_16", "PCM_16"),
        ("FLAC", "PCM_24", "PCM_24"),
        ("WAV", "PCM_24", "PCM_24"),
        ("WAV", "PCM_U8", "PCM_16"),
        ("WAV", "ULAW", "PCM_16"),
        ("MP3", "MPEG_LAYER_III", "PCM_16"),
    ],
)
def test_audio_inside_a_table_becomes_a_flac_with_the_same_samples(
    read, parquet, form, encoding, kept
):
    sound, samples = wave(form, encoding, channels=2)
    root = parquet("a.parquet", [{"audio": {"bytes": sound, "path": "a.x"}, "text": "네."}])
    _, clips = read(root)
    with soundfile.SoundFile(clips["a"].audio) as file:
        assert (file.format, file.subtype, file.samplerate) == ("FLAC", kept, RATE)
        kept_samples = file.read(dtype="float32", always_2d=True)
    # An MP3 has no bits to keep, and exceeds 1.
    assert np.abs(kept_samples - samples.clip(-1, 1)).max() <= (2**-15 if form == "MP3" else 0)


@pytest.mark.parametrize("encoding", ["FLOAT", "DOUBLE", "PCM_32"])
def test_audio_with_more_than_24_bits_keeps_24(read, parquet, encoding):
    sound, samples = wave("WAV", encoding)
    root = parquet("a.parquet", [{"audio": {"bytes": sound, "path": None}, "text": "네."}])
    (clip,) = read(root)[1].values()
    kept, _ = soundfile.read(clip.audio, dtype="float32", always_2d=True)
    assert soundfile.info(clip.audio).subtype == "PCM_24"
    assert np.abs(kept - samples).max() <= 2**-23


def test_a_flac_inside_a_table_is_kept_byte_by_byte(read, parquet):
    sound, _ = wave("FLAC", "PCM_24")
    root = parquet("a.parquet", [{"audio": {"bytes": sound, "path": "a.flac"}, "text": "네."}])
    for _ in range(2):
        assert Path(read(root)[1]["a"].audio).read_bytes() == sound


def test_a_second_run_with_the_same_data_writes_no_audio_and_gives_the_same_clips(read, parquet):
    flac = {"audio": {"bytes": wave("FLAC")[0], "path": "c.flac"}, "text": "네."}
    root = parquet("a.parquet", [row("a"), row("b", seed=1), flac])
    listing, first = read(root)
    times = {clip.audio: os.stat(clip.audio).st_mtime_ns for clip in first.values()}
    again, second = read(root)
    assert second == first
    assert {path: os.stat(path).st_mtime_ns for path in times} == times
    assert again.notes == listing.notes
    assert again.digest.hexdigest() == listing.digest.hexdigest()


def test_other_data_under_the_same_names_replaces_the_audio(read, parquet):
    read(parquet("a.parquet", [row("a", seed=1)]))
    _, clips = read(parquet("a.parquet", [row("a", seed=2)]))
    kept, _ = soundfile.read(clips["a"].audio, dtype="float32", always_2d=True)
    assert (kept == wave(seed=2)[1]).all()


def test_the_size_of_the_audio_is_said_in_one_line(read, parquet, tmp_path):
    listing, clips = read(parquet("a.parquet", [row("a"), row("b", seed=1)]))
    n_bytes = sum(os.path.getsize(clip.audio) for clip in clips.values())
    (note,) = listing.notes
    assert note.startswith("the audio of 2 clips lay inside tables")
    assert f"{tmp_path / 'processed' / 'audio' / 'korean'}, {n_bytes / 1e6:,.1f} MB" in note


def test_rows_that_cannot_be_used_are_rejected_with_a_reason(read, parquet):
    rows = [row("good"), row("bytes"), row("empty"), row("short"), row("nan"), row("none")]
    rows[1]["audio"]["bytes"] = "음성이 아닙니다".encode()
    rows[2]["audio"]["bytes"] = b""
    rows[3]["audio"]["bytes"] = rows[3]["audio"]["bytes"][:1_000]
    broken = io.BytesIO()
    soundfile.write(broken, np.full(1_600, np.nan, np.float32), RATE, "FLOAT", format="WAV")
    rows[4]["audio"]["bytes"] = broken.getvalue()
    rows[5]["audio"] = None
    rows += [row("other", text=None), row("null", text="a\0b")]
    root = parquet("a.parquet", rows)
    path = root / "a.parquet"
    assert outcome(read(root)[1]) == {
        "good": ("밥 먹었어?", None),
        "bytes": ("밥 먹었어?", "audio unreadable"),
        "empty": ("밥 먹었어?", "audio empty"),
        "short": ("밥 먹었어?", "audio truncated"),
        "nan": ("밥 먹었어?", "audio unreadable"),
        f"{path}, row 6": ("밥 먹었어?", "no audio"),
        "other": ("", None),
        f"{path}, row 8": ("", "label unreadable"),
    }
    left = {file.name for file in (root.parent / "processed").rglob("*") if file.is_file()}
    assert left == {"good.flac", "other.flac"}


def test_names_inside_a_table_never_lead_out_of_the_folder_and_stay_apart(read, parquet, tmp_path):
    names = ["../../up.wav", "/etc/passwd", ".hidden.wav", "가" * 100 + ".wav", "a.wav", "a.wav"]
    rows = [row("x", seed=seed) for seed in range(len(names))]
    for content, name in zip(rows, names, strict=True):
        content["audio"]["path"] = name
    _, clips = read(parquet("train-00000-of-00001.parquet", rows))
    folder = tmp_path / "processed" / "audio" / "korean" / "training"
    assert {clip.id for clip in clips.values()} == {
        "up", "passwd", "00000003", "00000004", "a", "a_00000006",
    }  # fmt: skip
    assert {clip.audio for clip in clips.values()} == {f"{folder}/{name}.flac" for name in clips}


def test_one_name_in_two_splits_gives_two_ids(read, parquet):
    parquet("data/train-00000-of-00001.parquet", [row("1", seed=1)])
    root = parquet("data/test-00000-of-00001.parquet", [row("1", seed=2)])
    _, clips = read(root)
    assert {clip.id: clip.facts["part"] for clip in clips.values()} == {
        "1": "test",
        "training/1": "training",
    }


# Splits


@pytest.mark.parametrize(
    "name, part",
    [
        ("data/train-00000-of-00002.parquet", "training"),
        ("test/metadata.csv", "test"),
        ("dev.tsv", "validation"),
        ("data/eval_other-00000-of-00001.parquet", "eval_other"),
        ("0000.parquet", None),
        ("latest/strain.csv", None),
    ],
)
def test_the_name_of_a_table_tells_its_split(tmp_path, name, part):
    assert part_of(str(tmp_path / name), tmp_path) == part


def test_split_reads_one_split_and_names_the_others_where_there_is_none(read, parquet):
    parquet("data/train-00000-of-00001.parquet", [row("a")])
    root = parquet("data/test-00000-of-00001.parquet", [row("b")])
    assert set(read(root, split="train")[1]) == set(read(root, split="training")[1]) == {"a"}
    assert set(read(root)[1]) == {"a", "b"}
    with pytest.raises(DataError, match="has no split 'dev', but test, training"):
        read(root, split="dev")


def test_audio_of_a_split_that_is_not_wanted_is_not_told_to_lack_a_label(read, written, tmp_path):
    files = {
        "train/metadata.csv": 'file_name,text\na.wav,네.\n../gone.wav,네.\n"x\0.wav",네.\n',
        "train/a.wav": wave(seed=1)[0],
        "test/metadata.csv": "file_name,text\na.wav,아니요.\n",
        "test/a.wav": wave(seed=2)[0],
        "test/left.wav": wave(seed=3)[0],
    }
    _, clips = read(written(tmp_path / "x", files), split="test")
    assert {name: clip.reason for name, clip in clips.items()} == {"a": None, "left": "no label"}


def test_a_download_that_lacks_files_is_named(read, parquet):
    listing, _ = read(parquet("data/train-00001-of-00003.parquet", [row("a")]))
    assert any("train-*-of-00003: 2 of 3 files are missing" in note for note in listing.notes)


# Columns


def test_facts_are_the_columns_with_our_names_and_classes_have_names(read, tmp_path):
    from datasets import Audio, ClassLabel, Dataset

    columns = {
        "sound": [{"bytes": wave()[0], "path": "a.wav"}],
        "sentence": ["네."],
        "gender": [1],
        "speaker": [17],
        "speaker_id": [3],
        "age": [None],
    }
    (tmp_path / "set").mkdir()
    data = Dataset.from_dict(columns).cast_column("sound", Audio(decode=False))
    data = data.cast_column("gender", ClassLabel(names=["male", "female"]))
    data.to_parquet(tmp_path / "set" / "train.parquet")
    _, clips = read(tmp_path / "set")
    assert clips["a"].raw == "네."
    assert clips["a"].facts == {"gender": "female", "speaker": "17", "part": "training"}


@pytest.mark.parametrize(
    "columns, options, message",
    [
        ({"words": "네."}, {}, "transcript; its columns are audio, words. Name one: --text-key"),
        (
            {"text": "네.", "normalized_text": "네"},
            {},
            "several columns that may hold the transcript (text, normalized_text); its columns "
            "are audio, text, normalized_text. Name one: --text-key",
        ),
        ({"text": "네."}, {"text_key": "t"}, "no column 't'; its columns are audio, text."),
        ({"text": "네."}, {"audio_key": "a"}, "no column 'a'; its columns are audio, text."),
        (
            {"text": "네.", "second": {"bytes": b"", "path": ""}},
            {},
            "several columns that may hold the audio (audio, second)",
        ),
    ],
)
def test_columns_that_cannot_be_told_are_listed_with_the_option(
    read, parquet, columns, options, message
):
    root = parquet("a.parquet", [{"audio": {"bytes": wave()[0], "path": "a"}, **columns}])
    with pytest.raises(DataError) as error:
        read(root, **options)
    assert message in str(error.value)


def test_the_options_choose_among_columns(read, parquet):
    rows = [row("a", normalized_text="밥 먹었어", other={"bytes": wave(seed=5)[0], "path": "b"})]
    _, clips = read(parquet("a.parquet", rows), text_key="normalized_text", audio_key="other")
    assert outcome(clips) == {"b": ("밥 먹었어", None)}


# What lies beside tables


def test_records_of_datasets_are_no_labels(read, parquet):
    root = parquet("train-00000-of-00001.parquet", [row("a")])
    (root / "dataset_infos.json").write_text("{}")
    assert outcome(read(root)[1]) == {"a": ("밥 먹었어?", None)}


def test_other_json_beside_tables_is_named_and_left_out(read, parquet):
    root = parquet("train-00000-of-00001.parquet", [row("a")])
    (root / "config.json").write_text('{"version": 1}')
    listing, clips = read(root)
    assert outcome(clips) == {"a": ("밥 먹었어?", None)}
    assert f"1 files, such as {root}/config.json, are no labels of tables." in listing.notes


def test_tables_beside_labels_of_a_known_corpus_are_left_out_with_a_note(read, parquet):
    root = parquet("a.parquet", [row("a")])
    (root / "x_scripts.txt").write_text("/x/b.wav :: 네.\n", encoding="utf-8")
    (root / "b.wav").write_bytes(wave()[0])
    listing, clips = read(root)
    assert set(clips) == {"b"}
    (note,) = listing.notes
    assert note.startswith(f"1 tables, such as {root}/a.parquet, were left out")


def test_a_folder_with_a_csv_of_another_name_says_to_pass_the_csv(read, written, tmp_path):
    root = written(tmp_path / "x", {"train.csv": "path,text\na.wav,네.\n", "a.wav": wave()[0]})
    with pytest.raises(DataError, match="such as .*train.csv, were left out: pass the table"):
        read(root)


def test_split_without_tables_is_said_to_have_no_effect(read, written, tmp_path):
    root = written(tmp_path / "x", {"x_scripts.txt": "/x/a.wav :: 네.\n", "a.wav": wave()[0]})
    listing, _ = read(root, split="train")
    assert listing.notes == ["--split has no effect here: it is for tables and hub data sets."]


@pytest.mark.parametrize("content", ["RIFF", [82, 73]])
def test_audio_of_a_type_that_is_no_bytes_is_no_audio(read, parquet, content):
    rows = [{"audio": {"bytes": content, "path": ""}, "text": "밥"}]
    _, clips = read(parquet("a.parquet", rows))
    assert [clip.reason for clip in clips.values()] == ["no audio"]


def test_a_table_with_damaged_notes_of_datasets_is_rejected_by_name(read, parquet):
    root = parquet("a.parquet", [row("a")])
    notes = {"huggingface": json.dumps({"info": {"features": 5}})}
    table = pyarrow.parquet.read_table(root / "a.parquet").replace_schema_metadata(notes)
    pyarrow.parquet.write_table(table, root / "b.parquet")
    _, clips = read(root)
    assert "damaged notes of `datasets`" in clips[f"{root}/b.parquet"].problem


def test_a_damaged_table_is_rejected_by_name_and_the_others_are_read(read, parquet):
    root = parquet("a.parquet", [row("a")])
    content = (root / "a.parquet").read_bytes()
    (root / "b.parquet").write_bytes(content[: len(content) // 2])
    _, clips = read(root)
    assert outcome(clips) == {
        "a": ("밥 먹었어?", None),
        f"{root}/b.parquet": ("", "label unreadable"),
    }
    assert "Parquet" in clips[f"{root}/b.parquet"].problem


def test_rows_are_read_a_few_at_a_time(parquet):
    # 40 MB in one group of rows, which pyarrow would take whole. A page is the least it reads.
    sounds = [{"bytes": os.urandom(100_000), "path": f"{n}.wav"} for n in range(400)]
    rows = [{"audio": sound, "text": "네."} for sound in sounds]
    pages = {"row_group_size": 1_000, "use_dictionary": False, "write_batch_size": 10}
    root = parquet("a.parquet", rows, **pages)
    rows = table_rows(str(root / "a.parquet"), ("", ""), ())
    assert max(pyarrow.total_allocated_bytes() for _ in rows) < 10 << 20


# AudioFolder, CSV, TSV


def test_an_audiofolder_is_read_where_it_lies(read, written, tmp_path):
    root = written(
        tmp_path / "folder",
        {
            "train/metadata.csv": "file_name,transcription,speaker\n"
            'a.wav,"네, 맞아요.",s1\nsub/b.wav,아니요.,\n../test/c.wav,밖.,\n',
            "train/a.wav": wave()[0],
            "train/sub/b.wav": wave(seed=1)[0],
            "train/unnamed.wav": wave(seed=2)[0],
        },
    )
    listing, clips = read(root)
    assert outcome(clips) == {
        "a": ("네, 맞아요.", None),
        "b": ("아니요.", None),
        "c": ("밖.", "no audio"),
        "unnamed": ("", "no label"),
    }
    assert clips["a"].audio == f"{root}/train/a.wav"
    assert clips["a"].facts == {"speaker": "s1", "part": "training"}
    assert listing.notes == []
    assert not (tmp_path / "processed").exists()


def test_a_row_of_an_audiofolder_never_leads_out_of_it(read, written, tmp_path):
    (tmp_path / "secret.wav").write_bytes(wave()[0])
    root = written(
        tmp_path / "folder",
        {"metadata.csv": "file_name,text\n../secret.wav,네.\n", "a.wav": wave()[0]},
    )
    assert outcome(read(root)[1]) == {
        "../secret.wav": ("네.", "unsafe path"),
        "a": ("", "no label"),
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_a_csv_has_any_encoding_that_spreadsheets_save(read, written, tmp_path, encoding):
    content = 'path,sentence\r\na.wav,"그는 ""응""이라고, 했다."\r\n\r\nb.wav,119\r\nc.wav,NA\r\n'
    sounds = {f"{name}.wav": wave()[0] for name in "abc"}
    written(tmp_path / "x", {"train.csv": content.encode(encoding), **sounds})
    _, clips = read(tmp_path / "x" / "train.csv")
    assert outcome(clips) == {
        "a": ('그는 "응"이라고, 했다.', None),
        "b": ("119", None),
        "c": ("NA", None),
    }
    assert {clip.encoding for clip in clips.values()} == {encoding.removesuffix("-sig")}


def test_a_tsv_may_hold_lone_quotes_and_quoted_cells(read, written, tmp_path):
    content = 'path\tsentence\na.wav\t"네\nb.wav\t"그는 ""응""이라고 했다."\nc.wav\t응" 했다\n'
    sounds = {f"{name}.wav": wave()[0] for name in "abc"}
    written(tmp_path / "x", {"all.tsv": content, **sounds})
    _, clips = read(tmp_path / "x" / "all.tsv")
    assert [clip.raw for clip in clips.values()] == ['"네', '그는 "응"이라고 했다.', '응" 했다']


def test_the_audio_of_a_csv_that_the_user_names_may_lie_anywhere(read, written, tmp_path):
    sound = tmp_path / "elsewhere" / "a.wav"
    written(tmp_path, {"elsewhere/a.wav": wave()[0]})
    content = f"file;text\n{sound};네.\n../elsewhere/b.wav;응.\n"
    _, clips = read(written(tmp_path / "x", {"a.csv": content}) / "a.csv")
    assert outcome(clips) == {"a": ("네.", None), "b": ("응.", "no audio")}
    assert clips["a"].audio == str(sound)


def test_the_clips_of_common_voice_are_found_in_their_folder(read, written, tmp_path):
    content = "client_id\tpath\tsentence\ts\nx\tcommon_voice_ko_1.mp3\t네.\t\n"
    sounds = {"clips/common_voice_ko_1.mp3": wave("MP3", "MPEG_LAYER_III", n_samples=16_000)[0]}
    root = written(tmp_path / "ko", {"validated.tsv": content, **sounds})
    _, clips = read(root / "validated.tsv")
    assert clips["common_voice_ko_1"].audio == f"{root}/clips/common_voice_ko_1.mp3"


def test_a_row_with_another_number_of_cells_is_rejected_by_its_number(read, written, tmp_path):
    content = "path,text\na.wav,네, 맞아요.\nb.wav,응.\n"
    root = written(tmp_path / "x", {"a.csv": content, "b.wav": wave()[0]})
    _, clips = read(root / "a.csv")
    assert outcome(clips) == {
        f"{root}/a.csv, row 1": ("", "label unreadable"),
        "b": ("응.", None),
    }
    assert "more or fewer cells" in clips[f"{root}/a.csv, row 1"].problem


def test_a_csv_may_cut_clips_out_of_longer_files(read, written, tmp_path):
    content = "path,text,offset,duration\na.wav,네.,0.02,0.05\na.wav,응.,x,1\na.wav,어.,,\n"
    root = written(tmp_path / "x", {"a.csv": content, "a.wav": wave()[0]})
    _, clips = read(root / "a.csv")
    assert [(clip.raw, clip.offset, clip.duration, clip.reason) for clip in clips.values()] == [
        ("네.", 0.02, 0.05, None),
        ("응.", None, None, "label unreadable"),
        ("어.", None, None, None),
    ]


def test_a_csv_without_a_header_is_named_with_its_first_row(read, written, tmp_path):
    root = written(tmp_path / "x", {"a.csv": "a.wav,네.\n"})
    with pytest.raises(DataError, match="its columns are a.wav, 네.. Name one: --text-key"):
        read(root / "a.csv")


# The hub


def test_a_hub_data_set_that_cannot_be_reached_gives_one_line(read, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as error:
        read("hf:nobody/no_such_set")
    message = str(error.value)
    assert "'nobody/no_such_set' cannot be downloaded" in message
    assert "HF_HUB_OFFLINE" in message
    assert "hf download nobody/no_such_set --repo-type dataset --local-dir no_such_set" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["hf:", "hf:zeroth", "hf:a/b/c/d", "hf:../b"])
def test_a_hub_name_of_another_form_is_wrong_usage(read, name):
    with pytest.raises(UsageError, match="write hf:owner/name"):
        read(name)


def test_a_hub_data_set_is_read_from_the_folder_of_its_download(read, parquet, monkeypatch):
    root = parquet("data/train-00000-of-00001.parquet", [row("a")])
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(root)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert set(read("hf:owner/name/ko_kr")[1]) == {"a"}
    assert asked == {
        "name": "owner/name",
        "repo_type": "dataset",
        "allow_patterns": ["ko_kr/*", "*/ko_kr/*"],
    }


# Script 1 as a process, and its manifests as a data set

SCRIPT = next((REPOSITORY / "model_tuning").glob("1. *.py"))


@pytest.mark.pipeline
def test_script_1_killed_while_it_writes_audio_gives_the_files_of_an_uninterrupted_run(
    parquet, tmp_path
):
    rows = [row(f"clip_{n:04}", f"오늘 {n % 7} 뭐 먹을까?", seed=n) for n in range(200)]
    rows[5]["audio"]["bytes"] = b"nonsense"
    root = parquet("data/train-00000-of-00001.parquet", rows, row_group_size=100)
    output = tmp_path / "out"
    command = [sys.executable, SCRIPT, "--korean", root, "--output", output]

    def finished():
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return printed, {path: path.read_bytes() for path in output.rglob("*.*")}

    printed, whole = finished()
    assert "200 clips, 199 usable" in printed
    assert "the audio of 199 clips lay inside tables" in printed
    shutil.rmtree(output)
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while killed.poll() is None and len([*output.rglob("clip_*.flac")]) < 20:
        time.sleep(0.001)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    times = {path: path.stat().st_mtime_ns for path in output.rglob("clip_*.flac")}
    assert 20 <= len(times) < 199
    _, again = finished()
    assert again == whole
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.fixture
def loaded(tmp_path):
    """loaded(path): a manifest as `datasets` loads it by the line that the README shows."""
    from datasets import load_dataset

    options = {"split": "train", "cache_dir": str(tmp_path / "cache"), "chunksize": 1 << 30}
    return lambda path: load_dataset("json", data_files=str(path), **options)


@pytest.mark.slow
def test_the_manifests_of_the_demo_and_a_split_load_as_a_data_set(loaded, tmp_path):
    demo = REPOSITORY / "data" / "demo"
    corpora = ["--korean", demo / "korean", "--foreign", demo / "foreign"]
    subprocess.run([sys.executable, SCRIPT, *corpora, "--output", tmp_path], check=True)
    clips = read_manifest(tmp_path / "korean.jsonl")
    split = [replace(clip, audio_sha256=f"{number:064x}") for number, clip in enumerate(clips)]
    write_manifest(tmp_path / "split" / "train.jsonl", split)
    for name in ("korean.jsonl", "foreign.jsonl", "split/train.jsonl"):
        path = tmp_path / name
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [
            {key: value for key, value in loaded_row.items() if value is not None}
            for loaded_row in loaded(path)
        ] == [
            {key: value for key, value in json.loads(line).items() if value is not None}
            for line in lines
        ]


@pytest.mark.slow
def test_a_manifest_in_which_only_late_clips_have_a_speaker_loads_as_a_data_set(loaded, tmp_path):
    # `datasets` takes the types from the first 10 MB where it is not told otherwise.
    clips = [Utterance(f"{n:08}", f"/{'x' * 100}/{n:08}.wav", 2.5, "네.") for n in range(60_000)]
    clips[-1] = replace(clips[-1], speaker="s1", gender="F")
    write_manifest(tmp_path / "korean.jsonl", clips)
    assert (tmp_path / "korean.jsonl").stat().st_size > 10 << 20
    data = loaded(tmp_path / "korean.jsonl")
    assert (data[0]["speaker"], data[-1]["speaker"], data[-1]["gender"]) == (None, "s1", "F")
