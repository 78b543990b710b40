import pytest

from korean_asr.manifest import duration_bin
from korean_asr.messages import SCORES, english, n_columns, table
from korean_asr.metrics import ERROR_RATES


def test_a_hangul_syllable_takes_two_columns():
    assert [n_columns(text) for text in ("CER", "글자", "글a", "")] == [3, 4, 3, 0]


def test_columns_stand_below_each_other_whatever_alphabet_their_cells_are_in():
    lines = table([["score", "rate"], ["띄어쓰기", "0.1"], ["a", "12.3456"]], "<>")
    assert lines == ["score        rate", "띄어쓰기      0.1", "a         12.3456"]
    assert len({n_columns(line) for line in lines}) == 1


def test_a_short_row_leaves_its_last_columns_empty_and_no_line_ends_in_spaces():
    assert table([["a", "b", "c"], ["long", ""]], "<<<", indent="  ") == ["  a     b  c", "  long"]


def test_the_english_half_of_a_title_is_what_stands_before_the_dot():
    assert (english("onset · 초성"), english("CER")) == ("onset", "CER")


@pytest.mark.parametrize(
    ("duration", "name"),
    [(0.0, None), (0.1, "0-2 s"), (2.0, "2-4 s"), (19.9, "15-20 s"), (20.0, "over 20 s")],
)
def test_a_duration_falls_into_its_slice(duration, name):
    assert duration_bin(duration) == name


def test_every_error_rate_has_a_title_in_the_order_of_reports():
    assert tuple(SCORES) == ERROR_RATES
