"""Counts that add up, and lines that come back in their order."""

import json

import pytest

from korean_asr import files
from korean_asr.files import SpilledLines
from korean_asr.preprocessing.counts import (
    REASONS,
    Alphabet,
    Tally,
    base_alphabet,
    empty_tally,
)


def usable(name, text="밥 먹어", duration=2.0, **facts):
    return {
        "id": name,
        "audio_filepath": "a.wav",
        "duration": duration,
        "text": text,
        "speaker": None,
        **facts,
    }


def rejected(name, reason="masked"):
    return {"id": name, "raw": "###", "reason": reason, "corpus": "korean"}


def tally_of(items, alphabet=None):
    """A tally of these rows: of rejected.jsonl those that have a reason."""
    tally = empty_tally(alphabet)
    for row in items:
        (tally.add_rejected if "reason" in row else tally.add_row)(row)
    tally.keep_extremes()
    return tally


ITEMS = [
    usable("a", "밥", 0.5, first_language="영어"),
    rejected("b"),
    usable("c", "국 물", 1.0, speaker="S1"),
    rejected("d", "empty"),
    rejected("e"),
    usable("f", "TV", 40.0, speaker="S1"),
]


@pytest.mark.parametrize("cut", range(len(ITEMS) + 1))
def test_the_tallies_of_two_parts_add_up_to_that_of_the_whole(cut):
    alphabet = Alphabet("base", frozenset("밥국"), "")
    parts = [tally_of(part, alphabet) for part in (ITEMS[:cut], ITEMS[cut:])]
    total = empty_tally(alphabet)
    for part in parts:
        total.add_counts(part)
    whole = tally_of(ITEMS, alphabet)
    # The lines stay with the parts.
    assert [line for part in parts for line in part.rows] == whole.rows
    assert [line for part in parts for line in part.rejected] == whole.rejected
    whole.rows, whole.rejected = [], []
    assert total == whole


def test_a_usable_clip_counts_its_letters_without_spaces_and_marks():
    tally = tally_of([usable("a", "밥, 국!", 0.5)])
    assert (tally.fastest[0].rate, tally.ticks) == (4.0, 5_000)


def test_only_the_first_examples_of_a_reason_are_kept():
    tally = tally_of([rejected(f"{i}") for i in range(9)])
    assert [example["id"] for example in tally.reason_examples["masked"]] == ["0", "1", "2"]


def test_what_is_refused_is_counted_and_the_first_ten_are_named():
    tally = Tally()
    for i in range(12):
        tally.add_refused(f"refused {i}")
    assert (tally.n_refused, len(tally.refused)) == (12, 10)


LINES = [json.dumps({"id": f"{i}", "raw": "줄\u2028\x85\n"}, ensure_ascii=False) for i in range(50)]


@pytest.mark.parametrize("n_held", [1, 100, 1 << 20])
def test_rejected_lines_come_back_in_the_order_they_came(tmp_path, monkeypatch, n_held):
    monkeypatch.setattr(files, "SPILL_CHARACTERS", n_held)
    spilled = SpilledLines(tmp_path / "out")
    for first in range(0, len(LINES), 7):
        spilled.extend(LINES[first : first + 7])
    assert list(spilled) == list(spilled) == LINES
    assert [*tmp_path.rglob("*.*")] == []


def test_a_lone_surrogate_is_spilled_as_an_output_file_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SPILL_CHARACTERS", 1)
    spilled = SpilledLines(tmp_path)
    spilled.extend(["a\udcc7b"])
    assert list(spilled) == ["a\\udcc7b"]


def test_few_rejected_lines_make_no_folder(tmp_path):
    SpilledLines(tmp_path / "out").extend(LINES)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_is_named_by_the_output_folder(tmp_path, monkeypatch):
    def full(dir):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "SPILL_CHARACTERS", 1)
    monkeypatch.setattr(files.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError) as error:
        SpilledLines(tmp_path).extend(LINES)
    assert error.value.filename == str(tmp_path)


def test_every_reason_is_explained_in_both_languages():
    assert [reason for reason, title in REASONS.items() if title.count(" · ") != 1] == []


def test_a_cut_outside_its_file_is_not_blamed_on_the_file_alone():
    english, korean = REASONS["audio truncated"].split(" · ")
    assert all("offset" in part and "duration" in part for part in (english, korean))


def test_a_base_model_is_named_without_where_its_folder_lies(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/vocab.json").write_text('{"밥": 0, "|": 1, "[UNK]": 2}', encoding="utf-8")
    alphabet = base_alphabet(str(tmp_path / "base"), ".,")
    assert alphabet == Alphabet("base", frozenset("밥 "), ".,")
