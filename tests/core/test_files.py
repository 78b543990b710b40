import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr import files
from korean_asr.errors import DataError
from korean_asr.files import (
    LineFormat,
    SortedLines,
    file_checksum,
    json_line,
    json_value,
    parsed_clip,
    parsed_json,
    read_json,
    read_json_lines,
    refuse_unusable_folder,
    whole_file,
    write_json,
    write_json_lines,
)


def test_a_block_that_raises_leaves_the_old_content_and_no_part(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write("half of the new")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_block_that_raises_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "out.txt") as file:
        file.write("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_the_old_content_is_there_until_the_block_ends(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old", encoding="utf-8")
    with whole_file(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_an_open_reader_reads_the_old_file_to_its_end(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old", encoding="utf-8")
    with path.open(encoding="utf-8") as reader:
        # The new file takes over the name; the old content is not overwritten.
        with whole_file(path) as file:
            file.write("new")
        assert reader.read() == "old"


def test_missing_folders_are_made(tmp_path):
    write_json(tmp_path / "a" / "b" / "out.json", {})
    assert (tmp_path / "a" / "b" / "out.json").read_bytes() == b"{}\n"


def test_a_failed_write_names_the_file(tmp_path):
    with pytest.raises(OSError) as failure, whole_file(tmp_path / "out.txt"):
        raise OSError(28, "No space left on device")
    assert failure.value.filename == str(tmp_path / "out.txt")


def test_a_failure_that_names_another_file_keeps_that_name(tmp_path):
    with pytest.raises(OSError) as failure, whole_file(tmp_path / "out.txt"):
        raise OSError(5, "Input/output error", "other.wav")
    assert failure.value.filename == "other.wav"


def test_json_is_utf_8_with_hangul_as_it_is_and_ends_its_line(tmp_path):
    write_json(tmp_path / "out.json", {"text": "밥"})
    assert (tmp_path / "out.json").read_bytes() == '{\n "text": "밥"\n}\n'.encode()


def test_json_lines_are_one_row_a_line_whatever_the_row_holds(tmp_path):
    rows = [{"text": "밥\n국"}, {"text": "가\u2028나\x85다"}, {}]
    write_json_lines(tmp_path / "out.jsonl", rows)
    lines = (tmp_path / "out.jsonl").read_bytes().decode().split("\n")
    assert lines[-1] == "" and [json.loads(line) for line in lines[:-1]] == rows


def test_no_rows_are_an_empty_file(tmp_path):
    write_json_lines(tmp_path / "out.jsonl", [])
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_a_name_of_undecodable_bytes_is_written_and_read_back(tmp_path):
    # 한 in CP949, as unzip leaves it.
    row = {"audio_filepath": os.fsdecode(b"/raw/\xc7\xd1.wav")}
    write_json_lines(tmp_path / "out.jsonl", [row])
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8")) == row


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_never_written(tmp_path, number):
    for write in (
        lambda: write_json(tmp_path / "out.json", {"a": [number]}),
        lambda: write_json_lines(tmp_path / "out.jsonl", [{"a": number}]),
        lambda: json_line({"a": number}),
    ):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('{"밥": [1, 2.5, true, null]}', {"밥": [1, 2.5, True, None]}),
        ('\ufeff{"a": 1}\r\n', {"a": 1}),
        # What other programs write beyond the standard.
        ('{"a": NaN, "b": [Infinity, -Infinity, 1e999, -1e999]}', {"a": None, "b": [None] * 4}),
        ('{"a": "a tab\t, a line\nend"}', {"a": "a tab\t, a line\nend"}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": "\\ud800"}', {"a": "\ud800"}),
        ("[" * 90 + "]" * 90, None),
    ],
)
def test_json_is_parsed_as_other_programs_write_it(text, content):
    found = parsed_json(text)
    assert content is None or found == content


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_of_the_numbers_that_json_does_not_have_only_an_offset_is_kept(number):
    row = parsed_clip(f'\ufeff{{"offset": {number}, "a": [{number}], "b": "\t"}}')
    assert (row["a"], row["b"]) == ([None], "\t")
    assert row["offset"] is not None and not math.isfinite(row["offset"])
    assert parsed_clip(f'{{"offset": {number}, "offset": null}}') == {"offset": None}
    assert parsed_clip(number) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"it is not JSON \(Expecting value, column 1\)"),
        ('{"offset": NaN', r"it is not JSON \(Expecting ',' delimiter, column 15\)"),
        ("[" * 100_000, "it is nested too deep"),
    ],
    ids=lambda text: text[:20],
)
def test_a_line_that_is_not_json_says_so(text, problem):
    with pytest.raises(ValueError, match=problem):
        parsed_clip(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{'a': 1}",
        '{"a": 1} {"b": 2}',
        '{"a": ' + "9" * 5_000 + "}",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_not_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parsed_json(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"[1]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b'{"a": "\xb9\xe4"}', r"its bytes are not UTF-8 \(byte 7\)"),
        (b'{"a":' * 100_000, "it is nested too deep"),
        # Python reads it, and would not write it again.
        (b'{"a":' * 200 + b"1" + b"}" * 200, "it is nested too deep"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "it is nested too deep"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_without_a_json_object_says_what_is_wrong(tmp_path, content, reason):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (int, [0, -7, 2**63 - 1], [1.0, "16000", True, None, 2**63, [1]]),
        (float, [0, 2.5, -7], ["0.5", True, None, 10**400, {}]),
        (str, ["", "밥"], [1, None, ["밥"]]),
        (bool, [True, False], [0, 1, "true", None]),
        (dict, [{}], [[], None, "{}"]),
        (list, [[]], [{}, None, "[]"]),
    ],
)
def test_a_value_is_of_the_wanted_type_or_named(kind, right, wrong):
    for value in right:
        assert json_value({"a": value}, "a", kind) == value
    for value in wrong:
        with pytest.raises(ValueError, match="`a` is .*, which is not "):
            json_value({"a": value}, "a", kind)
    with pytest.raises(ValueError, match="it has no `a`"):
        json_value({}, "a", kind)


def test_a_checksum_is_the_sha_256_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        file_checksum(tmp_path / "abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


FORM = LineFormat(
    file="menu",
    line="dish",
    keys=("name", "price"),
    if_missing="Write one first.",
    if_empty="Add a dish.",
)


def dish(row, number):
    return number, row["name"], int(row["price"])


def test_json_lines_are_read_with_their_numbers_without_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "menu.jsonl"
    path.write_bytes(
        '\ufeff{"name": "밥", "price": 1}\r\n \n{"name": "국\u2028물", "price": "2"}'.encode()
    )
    assert read_json_lines(path, FORM, dish) == [(1, "밥", 1), (3, "국\u2028물", 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, " is missing. Write one first."),
        (b"", " holds no dish. Add a dish."),
        (b"\xef\xbb\xbf\n\n", " holds no dish. Add a dish."),
        (b"12345\xb9\xe4", " is not a menu: its bytes are not UTF-8 (byte 5)."),
        *(
            (
                b'{"name": "a", "price": 1}\n\n' + line,
                ", line 3: not a dish. Each line is a JSON object with name, price.",
            )
            for line in (
                b"{",
                b"[]",
                b"null",
                b"7",
                b"[" * 100_000,
                b'{"name": "a"}',
                b'{"name": "a", "price": "dear"}',
                b'{"name": "a", "price": null}',
                b'{"name": "a", "price": Infinity}',
            )
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_json_lines_that_cannot_be_read_are_named_by_file_and_line(tmp_path, content, message):
    path = tmp_path / "menu.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as failure:
        read_json_lines(path, FORM, dish)
    assert str(failure.value) == f"{path}{message}"


@settings(derandomize=True, max_examples=60, deadline=None, database=None)
@given(
    st.lists(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=9), max_size=9)
)
def test_lines_that_memory_does_not_hold_come_back_in_the_order_of_their_keys(
    tmp_path_factory, parts
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "RUN_LINES", 10)
        patch.setattr(files, "RUN_CHARACTERS", 20)
        patch.setattr(files, "MAX_RUNS", 3)
        lines = SortedLines(tmp_path_factory.getbasetemp() / "sorted")
        for part in parts:
            lines.extend(part)
    assert list(lines) == [line for _, line in sorted(item for part in parts for item in part)]


def test_a_key_that_is_its_line_comes_back_from_disk_as_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUN_LINES", 3)
    lines = SortedLines(tmp_path)
    lines.extend([(text, text) for text in ("c", "a", "b")])
    assert list(lines) == ["a", "b", "c"]


def test_sorting_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUN_LINES", 1)
    lines = SortedLines(tmp_path / "out")
    lines.extend([("b", "2"), ("a", "1")])
    lines.extend([("c", "3")])
    assert (list(lines), list((tmp_path / "out").iterdir())) == (["1", "2", "3"], [])


def test_sorting_holds_few_files_open_however_many_lines_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUN_LINES", 1)
    monkeypatch.setattr(files, "MAX_RUNS", 3)
    before = len(os.listdir("/proc/self/fd"))
    lines = SortedLines(tmp_path)
    for number in range(40):
        lines.extend([(f"{39 - number:02}", str(number))])
    assert len(os.listdir("/proc/self/fd")) - before <= 4
    assert list(lines) == [str(number) for number in reversed(range(40))]


def test_a_folder_that_cannot_be_written_raises_before_the_work_and_nothing_is_made(tmp_path):
    (tmp_path / "file").write_text("x")
    refuse_unusable_folder(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/x")):
        with pytest.raises(OSError) as failure:
            refuse_unusable_folder(folder)
        assert failure.value.filename in (str(tmp_path / "file"), "/proc")
