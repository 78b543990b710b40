import hashlib
import json
import math
import unicodedata
from dataclasses import replace

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from korean_asr.archive_file import Place
from korean_asr.errors import DataError
from korean_asr.manifest import (
    OPTIONAL_KEYS,
    REPOSITORY,
    Utterance,
    content_checksum,
    manifest_rows,
    read_manifest,
    write_manifest,
)
from korean_asr.metrics import normalised

CLIP = {"audio_filepath": "/raw/a.wav", "duration": 1.5, "text": "밥."}

texts = st.text(st.characters(codec="utf-8"), max_size=20).map(
    lambda text: unicodedata.normalize("NFC", text)
)
names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
utterances = st.builds(
    Utterance,
    id=texts.filter(bool),
    audio_filepath=names.map(lambda name: f"/raw/{name}"),
    duration=st.floats(0, 1e5, allow_subnormal=False),
    text=texts.map(normalised),
    offset=st.none() | st.floats(0, 1e5, allow_subnormal=False),
    **dict.fromkeys(OPTIONAL_KEYS, st.none() | texts),
)


def written(path, *rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(clips=st.lists(utterances, min_size=1, max_size=4, unique_by=lambda clip: clip.id))
def test_what_is_written_is_read_back(tmp_path, clips):
    write_manifest(tmp_path / "korean.jsonl", clips)
    assert read_manifest(tmp_path / "korean.jsonl") == clips


def test_the_keys_are_those_of_nemo_then_what_the_corpus_knows():
    clip = Utterance("a", "/raw/a.wav", 1.5, "밥.", gender="F", topik_level="4")
    assert manifest_rows([clip], REPOSITORY) == [
        {"id": "a", "audio_filepath": "/raw/a.wav", "duration": 1.5, "text": "밥.", "speaker": None,
         "gender": "F", "topik_level": "4"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "audio", "wanted"),
    [
        (REPOSITORY / "data/processed", REPOSITORY / "data/raw/한/a.wav", "../raw/한/a.wav"),
        (REPOSITORY / "data", REPOSITORY / "data/a.wav", "a.wav"),
        ("/elsewhere/processed", REPOSITORY / "data/raw/a.wav", str(REPOSITORY / "data/raw/a.wav")),
        (REPOSITORY / "data/processed", "/raw/a.wav", "/raw/a.wav"),
        (REPOSITORY / "data/processed", f"{REPOSITORY}_raw/a.wav", f"{REPOSITORY}_raw/a.wav"),
        ("/elsewhere", "/elsewhere/a.wav", "/elsewhere/a.wav"),
    ],
)
def test_audio_is_relative_only_where_it_shares_the_repository_with_the_manifest(
    folder, audio, wanted, tmp_path
):
    clip = Utterance("a", str(audio), 1.5, "밥.")
    (row,) = manifest_rows([clip], tmp_path.joinpath(folder))
    assert row["audio_filepath"] == wanted


def test_a_clone_may_move_with_its_audio(tmp_path, monkeypatch):
    monkeypatch.setattr("korean_asr.manifest.REPOSITORY", tmp_path)
    write_manifest(
        tmp_path / "here/data/korean.jsonl",
        [Utterance("a", f"{tmp_path}/here/raw/a.wav", 1.5, "밥.")],
    )
    (tmp_path / "here").rename(tmp_path / "there")
    (clip,) = read_manifest(tmp_path / "there/data/korean.jsonl")
    assert clip.audio_filepath == f"{tmp_path}/there/raw/a.wav"


def test_a_nemo_line_is_named_by_its_audio_and_its_other_keys_are_dropped(tmp_path):
    row = {
        "audio_filepath": "/raw/KsponSpeech_01.pcm",
        "duration": 2,
        "text": "밥.",
        "offset": 0,
        "lang": "ko",
    }
    path = written(tmp_path / "nemo.json", row)
    assert read_manifest(path) == [
        Utterance("KsponSpeech_01", "/raw/KsponSpeech_01.pcm", 2.0, "밥.", offset=0.0)
    ]


CUT = {"audio_filepath": "/raw/talk.wav", "text": "밥."}


@pytest.mark.parametrize(
    ("keys", "offset", "cut"),
    [
        # Without an offset the clip is the whole file, whatever the duration is.
        ({"duration": 1.5}, None, (0.0, None)),
        ({"duration": 1.5, "offset": None}, None, (0.0, None)),
        # An offset of 0 cuts, too, as NeMo does.
        ({"duration": 1.5, "offset": 0}, 0.0, (0.0, 1.5)),
        ({"duration": 1.5, "offset": 2.25}, 2.25, (2.25, 1.5)),
        # A number in quotes is one, as in a table.
        ({"duration": "1.5", "offset": "2.25"}, 2.25, (2.25, 1.5)),
        # An unknown duration means to the end of the file.
        ({"duration": 0, "offset": 2.25}, 2.25, (2.25, None)),
        ({"offset": 2.25}, 2.25, (2.25, None)),
    ],
)
def test_a_clip_is_cut_out_of_its_file_where_the_manifest_has_an_offset(
    tmp_path, keys, offset, cut
):
    (clip,) = read_manifest(written(tmp_path / "m.jsonl", CUT | keys))
    assert (clip.offset, clip.cut) == (offset, cut)
    (row,) = manifest_rows([clip], tmp_path)
    assert row.get("offset") == offset


def test_two_cuts_of_one_file_are_two_clips(tmp_path):
    rows = [
        {**CUT, "duration": 1.5, "offset": 0.0},
        {**CUT, "duration": 1.5, "offset": 1.5},
        {**CUT, "duration": 2.25, "offset": 1.5},
        {**CUT, "duration": 1, "offset": 7, "id": "mine"},
    ]
    clips = read_manifest(written(tmp_path / "m.jsonl", *rows))
    assert [clip.id for clip in clips] == [
        "talk",
        "talk_1.5000-3.0000",
        "talk_1.5000-3.7500",
        "mine",
    ]


def test_cuts_whose_names_repeat_are_named_by_path_and_cut(tmp_path):
    rows = [
        {**CUT, "audio_filepath": f"/{folder}/talk.wav", "duration": duration, "offset": offset}
        for folder, offset, duration in (("a", 1, 2), ("b", 1, 2), ("a", 0, 1), ("a", 0, 2))
    ]
    clips = read_manifest(written(tmp_path / "m.jsonl", *rows))
    assert [clip.id for clip in clips] == [
        "/a/talk_1.0000-3.0000",
        "/b/talk_1.0000-3.0000",
        "/a/talk_0.0000-1.0000",
        "/a/talk_0.0000-2.0000",
    ]


def test_a_missing_duration_is_measured_from_the_offset_on(tmp_path, noise):
    soundfile.write(tmp_path / "talk.wav", noise(40_000, 0), 16_000)
    row = {"audio_filepath": "talk.wav", "text": "밥."}
    rows = [
        row,
        {**row, "duration": None},
        {**row, "offset": 0.5},
        {**row, "offset": 9},
        {**row, "audio_filepath": "gone.wav"},
        {**row, "audio_filepath": "a\0b.wav"},
        {**row, "duration": 0},
    ]
    clips = read_manifest(written(tmp_path / "m.jsonl", *rows))
    # 0 is unknown: what is wrong with the audio is told where it is read.
    assert [clip.duration for clip in clips] == [2.5, 2.5, 2.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("given_id", "wanted"), [(None, "a"), ("", "a"), (0, "0"), (17, "17"), ("b", "b")]
)
def test_an_id_of_any_type_is_kept_as_text(tmp_path, given_id, wanted):
    assert read_manifest(written(tmp_path / "m.jsonl", {**CLIP, "id": given_id}))[0].id == wanted


def test_relative_audio_starts_at_the_folder_of_the_manifest_wherever_the_script_runs(
    tmp_path, monkeypatch
):
    (tmp_path / "data").mkdir()
    written(tmp_path / "data/m.jsonl", {**CLIP, "audio_filepath": "../raw/a.wav"})
    monkeypatch.chdir(tmp_path / "data")
    assert read_manifest(type(tmp_path)("m.jsonl"))[0].audio_filepath == f"{tmp_path}/raw/a.wav"


def test_bom_crlf_and_blank_lines_are_no_part_of_a_clip(tmp_path):
    line = json.dumps(CLIP, ensure_ascii=False)
    (tmp_path / "m.jsonl").write_bytes(f"\ufeff{line}\r\n\r\n{line}\r\n\n".encode())
    assert (
        read_manifest(tmp_path / "m.jsonl") == [Utterance("/raw/a", "/raw/a.wav", 1.5, "밥.")] * 2
    )


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    path = written(tmp_path / "m.jsonl", {**CLIP, "text": "밥\u2028국\x85물"})
    assert [clip.text for clip in read_manifest(path)] == ["밥 국 물"]


def test_decomposed_text_is_composed(tmp_path):
    path = written(tmp_path / "m.jsonl", {**CLIP, "text": "\u1112\u1161\u11ab\u1100\u116e\u11a8"})
    assert read_manifest(path)[0].text == "한국"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("밥.", "not a clip"),
        ('{"audio_filepath": "/raw/a.wav", "duration": 1.5, "text": "밥', "not a clip"),
        ("[" * 100_000, "not a clip"),
        (json.dumps([CLIP]), "it is a JSON array, not an object"),
        ("null", "it is a JSON value, not an object"),
        ('"text"', "it is a JSON value, not an object"),
        ("{}", "it has no `audio_filepath`, only no key at all"),
        (
            json.dumps({"path": "a.wav", "sentence": "밥."}),
            "it has no `audio_filepath`, only path, sentence",
        ),
        (
            json.dumps({"audio_filepath": "a.wav", "sentence": "밥."}),
            "it has no `text`, only audio_filepath, sentence",
        ),
        (json.dumps({**CLIP, "text": None}), "`text` is null, which is not a text"),
        (json.dumps({**CLIP, "text": 7}), "`text` is 7, which is not a text"),
        (json.dumps({**CLIP, "text": ["밥"]}), "`text` is a list, which is not a text"),
        (json.dumps({**CLIP, "audio_filepath": ""}), "`audio_filepath` is empty"),
        (json.dumps({**CLIP, "audio_filepath": None}), "`audio_filepath` is null, which is not"),
        (json.dumps({**CLIP, "audio_filepath": 7}), "`audio_filepath` is 7, which is not a text"),
        *(
            (json.dumps({**CLIP, key: value}), f"`{key}` is {shown}, not 0 to 1,000,000,000 s")
            for key in ("duration", "offset")
            for value, shown in (
                ("long", '"long"'),
                ([1.5], "a list"),
                ({}, "an object"),
                (True, "true"),
                (False, "false"),
                *((number, str(number)) for number in (-1, -0.001, 1.1e9, 1e308)),
            )
        ),
        # No unknown number: the clip would be its whole file.
        *(
            (f'{json.dumps(CLIP)[:-1]}, "offset": {value}}}', f"`offset` is {shown}, not 0 to 1,")
            for value, shown in (
                ("NaN", "NaN"),
                ("Infinity", "Infinity"),
                ("-Infinity", "-Infinity"),
                ("1e400", "Infinity"),
                ("-1e400", "-Infinity"),
                ('""', '""'),
                ('" "', '" "'),
                ('"nan"', '"nan"'),
                ("[NaN]", "a list"),
            )
        ),
        (json.dumps({**CLIP, "duration": 10**400}), "`duration` is 1000"),
    ],
    ids=lambda text: text[:60],
)
def test_a_damaged_line_is_named_by_file_line_and_key(tmp_path, line, problem):
    path = tmp_path / "m.jsonl"
    path.write_text(f"{json.dumps(CLIP)}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as failure:
        read_manifest(path)
    message = str(failure.value)
    assert message.startswith(f"{path}, line 3: {problem}")
    assert "Each line is a JSON object with audio_filepath, text." in message
    assert len(message) < len(str(path)) + 250


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_unknown(tmp_path, number):
    row = json.dumps(CLIP)[:-1]
    path = tmp_path / "m.jsonl"
    path.write_text(f'{row}, "duration": {number}, "age": {number}}}\n')
    (clip,) = read_manifest(path)
    assert (clip.duration, clip.age) == (0.0, None)


def test_a_sum_of_the_longest_durations_is_finite(tmp_path):
    rows = [{**CLIP, "duration": 1e9, "id": name} for name in "abc"]
    clips = read_manifest(written(tmp_path / "m.jsonl", *rows))
    assert math.isfinite(sum(clip.duration for clip in clips))


def test_a_missing_manifest_says_which_script_writes_it(tmp_path):
    with pytest.raises(
        DataError,
        match=r"korean\.jsonl is missing\. Run 'model_tuning/1\. script_preprocessing\.py'",
    ):
        read_manifest(tmp_path / "korean.jsonl")
    with pytest.raises(DataError, match=r"is not a file\. Run"):
        # The path of a folder.
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_manifest_without_a_clip_is_refused(tmp_path, content):
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.jsonl holds no clip"):
        read_manifest(tmp_path / "m.jsonl")


def test_bytes_that_are_not_utf_8_are_named(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b'{"text": "' + "밥".encode("cp949"))
    with pytest.raises(
        DataError, match=r"m\.jsonl is not a manifest: its bytes are not UTF-8 \(byte 10\)"
    ):
        read_manifest(tmp_path / "m.jsonl")


def test_the_checksum_follows_ids_durations_texts_and_order_but_not_the_path():
    one, two = Utterance("a", "/x/a.wav", 1.5, "밥."), Utterance("b", "/x/b.wav", 2.0, "국.")
    value = content_checksum([one, two])
    assert content_checksum([replace(one, audio_filepath="/y/a.wav"), two]) == value
    for other in (
        [two, one],
        [one],
        [replace(one, id="c"), two],
        [replace(one, duration=1.6), two],
        [replace(one, text="밥"), two],
        [replace(one, offset=0.0), two],
        [replace(one, offset=1.5), two],
    ):
        assert content_checksum(other) != value


def test_the_checksum_of_clips_without_an_offset_stays_what_it_was():
    # Models that were trained before offsets were read are recognised by it.
    clips = [Utterance("a", "/x/a.wav", 1.5, "밥."), Utterance("b", "/x/b.wav", 2.0, "국.")]
    old = "".join(f"{clip.id}\t{clip.duration}\t{clip.text}\n" for clip in clips)
    assert content_checksum(clips) == hashlib.sha256(old.encode()).hexdigest()


def test_an_id_of_undecodable_bytes_has_a_checksum_too():
    assert content_checksum([Utterance("\udcc7", "/x/a.wav", 1.5, "밥.")])


def test_text_is_read_as_it_will_be_scored(tmp_path):
    path = written(tmp_path / "nemo.jsonl", {**CLIP, "text": "  밥,\t 먹었어?\n"})
    assert read_manifest(path)[0].text == "밥, 먹었어?"


def test_clips_without_an_id_whose_stems_repeat_are_named_by_their_paths(tmp_path):
    rows = [{**CLIP, "audio_filepath": f"/raw/{name}.wav"} for name in ("a/006", "b/006", "b/007")]
    clips = read_manifest(written(tmp_path / "nemo.jsonl", *rows))
    assert [clip.id for clip in clips] == ["/raw/a/006", "/raw/b/006", "007"]


PACKED = {"text": "밥.", "duration": 1.5}


@pytest.mark.parametrize(
    ("written_as", "read_as", "name"),
    [
        ("tar://d/a.b.wav::x.tar", "tar://d/a.b.wav::{}/x.tar", "a.b"),
        ("tar://../../etc/passwd::../x.tar", "tar://../../etc/passwd::{parent}/x.tar", "passwd"),
        ("zip://가.wav::tar://y/x.zip::/d.tar", "zip://가.wav::tar://y/x.zip::/d.tar", "가"),
        # No archive follows: a path like any other.
        ("tar://a.wav", "{}/tar:/a.wav", "a"),
    ],
)
def test_of_an_address_only_the_path_at_its_end_starts_at_the_folder(
    tmp_path, written_as, read_as, name
):
    row = {**PACKED, "audio_filepath": written_as}
    (clip,) = read_manifest(written(tmp_path / "m.jsonl", row))
    assert clip.audio_filepath == read_as.format(tmp_path, parent=tmp_path.parent)
    assert clip.id == name


def test_the_place_of_a_clip_in_an_archive_is_kept(tmp_path):
    row = {
        **PACKED,
        "audio_filepath": "tar://d/a.wav::x.tar.gz",
        "audio_offset": 512,
        "audio_bytes": 44,
        "audio_index": "index/x",
    }
    (clip,) = read_manifest(written(tmp_path / "m.jsonl", row))
    place = Place(f"tar://d/a.wav::{tmp_path}/x.tar.gz", 512, 44, f"{tmp_path}/index/x")
    assert clip.audio == place
    write_manifest(tmp_path / "again.jsonl", [clip])
    assert read_manifest(tmp_path / "again.jsonl") == [clip]
    inside = f"{REPOSITORY}/data/x.tar"
    moved = replace(clip, audio_filepath=f"tar://d/a.wav::{inside}", audio_index=f"{inside}.index")
    (row,) = manifest_rows([moved], REPOSITORY / "data" / "processed")
    assert (row["audio_filepath"], row["audio_index"]) == (
        "tar://d/a.wav::../x.tar",
        "../x.tar.index",
    )


def test_clips_of_one_name_in_an_archive_stay_apart(tmp_path):
    rows = [{**PACKED, "audio_filepath": f"tar://{folder}/a.wav::/x.tar"} for folder in "de"]
    clips = read_manifest(written(tmp_path / "m.jsonl", *rows))
    assert [clip.id for clip in clips] == ["/x.tar/d/a", "/x.tar/e/a"]


@pytest.mark.parametrize("key", ["audio_offset", "audio_bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, "12", True, 1 << 64])
def test_a_place_that_is_no_number_of_bytes_is_named(tmp_path, key, value):
    row = {**PACKED, "audio_filepath": "tar://a.wav::/x.tar", key: value}
    with pytest.raises(DataError, match=f"line 1: `{key}` is "):
        read_manifest(written(tmp_path / "m.jsonl", row))
