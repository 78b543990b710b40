"""Label readers as tables: the bytes of a label, and what it says."""

import hashlib
import io
import json

import pytest

from korean_asr.manifest import OPTIONAL_KEYS
from korean_asr.preprocessing import labels
from korean_asr.preprocessing.labels import (
    Label,
    clip_text,
    is_label,
    is_manifest_line,
    is_metadata,
    label_lines,
    manifest_label,
    metadata_facts,
    script_label,
    shown_keys,
    trans_label,
)


@pytest.mark.parametrize(
    ("line", "label"),
    [
        (" /a/b_1.wav :: 밥 먹어 \n".encode(), Label(" /a/b_1.wav ".lstrip(), "밥 먹어", "utf-8")),
        ("/b_1.wav :: 밥".encode("cp949"), Label("/b_1.wav ", "밥", "cp949")),
        ("\ufeff/b_1.wav::밥 :: 국".encode(), Label("/b_1.wav", "밥 :: 국", "utf-8")),
        (b"b_1.wav some words", Label("b_1.wav", "b_1.wav some words", "utf-8", {}, False)),
        (b"b_1.wav :: \0", Label("b_1.wav", "b_1.wav :: \0", "utf-8", {}, False)),
        ("\ufeffb_1.wav :: 밥".encode("utf-16-le"), Label("b_1.wav ", "밥", "utf-16")),
        ("\ufeffb_1.wav :: 밥".encode("utf-16-be"), Label("b_1.wav ", "밥", "utf-16")),
        (b" \r\n", None),
    ],
)
def test_a_line_of_a_script_names_its_audio_and_its_text(line, label):
    assert script_label(line) == label


@pytest.mark.parametrize(
    ("line", "label"),
    [
        (
            "104_003_0001 그 바람 에 \r\n",
            Label("104_003_0001", "그 바람 에", "utf-8", {"speaker": "104"}),
        ),
        ("84-121-0000 밥 먹어", Label("84-121-0000", "밥 먹어", "utf-8")),
        ("_1 밥", Label("_1", "밥", "utf-8")),
        ("104_003_0001", Label("104_003_0001", "104_003_0001", "utf-8", {}, False)),
        (" \n", None),
    ],
)
def test_a_line_of_zeroth_names_its_audio_and_its_speaker(line, label):
    assert trans_label(line.encode()) == label


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "/a.wav | 1 | 2 | F | T | 5 | 4 | 7 | 2",
            (
                "/a.wav",
                (("gender", "F"), ("age", "청소년"), ("residence", "경상"), ("quality", "노이즈")),
            ),
        ),
        ("/a.wav|1|2|X|?|5|8|7|0", ("/a.wav", ())),
        ("/a.wav|1|2|F|T|5|4|7", None),
    ],
)
def test_a_line_of_metadata_gives_the_facts_whose_codes_are_established(line, found):
    assert metadata_facts(line.encode()) == found


def test_clips_with_equal_metadata_share_one_object():
    facts = [metadata_facts(f"/{name}.wav|1|2|F|A|5|1|7|1".encode())[1] for name in "ab"]
    assert facts[0] is facts[1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"기본정보": {}, "전사정보": {"OrgLabelText": "밥"}}, "기본정보, 전사정보.OrgLabelText"),
        ({"id": "DG1", "utterance": [{"text": "밥"}, {"other": 1}]}, "id, utterance.text"),
        ([{"id": 1, "form": "밥"}], "[id, form]"),
        ({f"k{i}": i for i in range(41)}, ", ".join(f"k{i}" for i in range(40)) + ", …"),
        ({"k" * 99: 1}, "k" * 30),
        ({"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}, "a.b.c.d.e"),
        ([], ""),
        ([7], ""),
        ({}, ""),
        (7, ""),
    ],
)
def test_the_keys_of_a_label_are_shown_as_the_option_names_them(value, shown):
    assert shown_keys(value) == shown


@pytest.mark.parametrize(
    ("row", "label"),
    [
        (
            {"audio_filepath": "a.wav", "text": "밥", "id": 7, "speaker": "S", "words": ["밥"]},
            Label("a.wav", "밥", "utf-8", {"speaker": "S"}, id="7"),
        ),
        (
            {"audio_filepath": "a.wav", "text": None, "offset": 1.5},
            Label("a.wav", "", "utf-8", offset=1.5),
        ),
        (
            {"audio_filepath": "a.wav", "text": "밥", "offset": "1.5", "duration": float("nan")},
            Label("a.wav", "밥", "utf-8", offset=1.5),
        ),
        # Without an offset the duration is measured, whatever the manifest says.
        (
            {"audio_filepath": "a.wav", "text": "밥", "offset": None, "duration": "x"},
            Label("a.wav", "밥", "utf-8"),
        ),
    ],
)
def test_a_line_of_a_manifest_keeps_the_facts_that_manifests_have(row, label):
    line = json.dumps(row, ensure_ascii=False).encode()
    assert manifest_label(line, OPTIONAL_KEYS) == label


CUT = '{"audio_filepath": "a.wav", "text": "밥", "offset": '


@pytest.mark.parametrize(
    ("line", "keys", "problem"),
    [
        ('{"audio_filepath": " ", "text": ""}', "", "`audio_filepath` is empty"),
        ('{"audio_filepath": 5, "text": ""}', "", "`audio_filepath` is 5, which is not a text"),
        ('{"audio_filepath": "a.wav", "text": "\\u0000"}', "", "`text` holds the character NUL"),
        ('{"audio_filepath": "a.wav", "text": 5}', "", "`text` is 5, which is not a text"),
        ('{"audio_filepath": "a.wav", "text": []}', "", "`text` is a list, which is not a text"),
        ('{"text": "밥"}', "text", "it has no `audio_filepath`, only text"),
        ('[{"audio_filepath": "a.wav"}]', "", "it is a JSON array, not an object"),
        ("{}", "", "it has no `audio_filepath`, only no key at all"),
        ("7", "", "it is a JSON value, not an object"),
        ("{", "", "it is not JSON (Expecting property name"),
        *(
            (f"{CUT}{value}}}", "", f"`offset` is {shown}, not 0 to 1,000,000,000 seconds")
            for value, shown in (
                ("-1", "-1"),
                ("NaN", "NaN"),
                ("1e400", "Infinity"),
                ('""', '""'),
                ("true", "true"),
                ("{}", "an object"),
            )
        ),
        (f'{CUT}1, "duration": true}}', "", "`duration` is true, not 0 to 1,000,000,000 seconds"),
        (f'{CUT}1, "duration": "x"}}', "", '`duration` is "x", not 0 to 1,000,000,000 seconds'),
    ],
)
def test_a_line_of_a_manifest_that_cannot_be_read_says_which_key_is_wrong(line, keys, problem):
    label = manifest_label(line.encode(), OPTIONAL_KEYS)
    assert (label.is_readable, label.raw, label.unknown_keys) == (False, line, keys)
    assert label.problem.startswith(problem)


def test_a_manifest_is_known_by_the_key_of_its_audio():
    assert is_manifest_line(b'{"audio_filepath": "a.wav"}')
    assert not any(map(is_manifest_line, (b'{"text": "a"}', b"{", b"7")))


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("밥\r\n".encode("cp949"), Label("", "밥", "cp949")),
        ("\ufeff밥\r".encode("utf-16-le"), Label("", "밥", "utf-16")),
        ("\ufeff밥\r".encode("utf-16-be"), Label("", "밥", "utf-16")),
        (b"a\0b", Label("", "a\0b", "utf-8", {}, False)),
        (b"\xff\xff", Label("", "\ufffd\ufffd", "cp949")),
    ],
)
def test_the_text_beside_a_clip_is_read_whole(content, label):
    assert clip_text(content) == label


def test_a_line_that_is_too_long_is_none_and_the_next_one_is_read(monkeypatch):
    monkeypatch.setattr(labels, "MAX_LINE_BYTES", 8)
    content = b"short\n" + b"x" * 30 + b"\n1234567\nlast"
    digest = hashlib.sha256()
    lines = list(label_lines(io.BytesIO(content), digest))
    assert lines == [b"short\n", None, b"1234567\n", b"last"]
    assert digest.digest() == hashlib.sha256(content).digest()


ENDS = "one\rtwo\r\nthree\n\r\rsix\u2028six\x85six\vsix\fsix"
LINES = ["one", "two", "three", "", "", "six\u2028six\x85six\vsix\fsix"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("n_bytes", range(2, 24))
def test_a_line_ends_at_lf_and_cr_and_nothing_else_wherever_a_read_ends(encoding, n_bytes):
    content, digest = ENDS.encode(encoding), hashlib.sha256()
    file = io.BufferedReader(io.BytesIO(content), buffer_size=n_bytes)
    # clip_text() decodes a line, and takes white space off its ends.
    assert [clip_text(line).raw for line in label_lines(file, digest)] == LINES
    assert digest.digest() == hashlib.sha256(content).digest()


def test_each_line_of_a_file_in_utf_16_says_so():
    content = "\ufeffa.wav :: 밥\r\n\r\nb.wav :: 국".encode("utf-16-be")
    found = map(script_label, label_lines(io.BytesIO(content), hashlib.sha256()))
    assert list(found) == [Label("a.wav ", "밥", "utf-16"), None, Label("b.wav ", "국", "utf-16")]


@pytest.mark.parametrize(
    "name", ["x_scripts.txt", "train.TRN", "104_003.trans.txt", "a.json", "m.jsonl"]
)
def test_label_files_are_known_by_their_names(name):
    assert is_label(name) and not is_metadata(name)


def test_metadata_is_no_label():
    assert is_metadata("x_METADATA.txt") and not is_label("x_metadata.txt")
