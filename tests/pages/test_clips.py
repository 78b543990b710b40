"""The clips of an evaluation as data of its page."""

import json

import pytest

from korean_asr.pages.clips import clip_data, coded_letters, script_json


def row_of(text, pred_text, reference, hypothesis):
    letters = {"reference": reference, "hypothesis": hypothesis}
    return {"id": "a", "text": text, "pred_text": pred_text, "letters": letters}


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        # From 0.02 s to 0.04 s with a score of 6.68, then 0.16 s later.
        (
            row_of(
                "가 나",
                "가",
                [["가", 0.02, 0.04, 6.68], ["나", 0.2, 0.24, -1.5]],
                [["가", 0, 0.02, 0.912]],
            ),
            [[2, 2, 668, 16, 4, -150], [0, 2, 912]],
        ),
        # The model cannot write 7.
        (
            row_of("7가", "", [["7", None, None, None], ["가", 0.1, 0.12, 0.0]], []),
            [[None, 10, 2, 0], []],
        ),
        # Times of another system, with a number that no clip has.
        (
            row_of("가나", "", [["가", 0, 1e300, 1.0], ["나", 1.234, 1.5, 1e9]], []),
            [[None, None], []],
        ),
        # Letters of another text.
        (row_of("가", "나", [["다", 0, 0.02, 1.0]], [["나", 0, 0.02, 1.0]]), None),
        # It was not decoded.
        (row_of("가", "", [], []), None),
        ({"id": "a", "text": "가", "pred_text": "가"}, None),
        ({"id": "a", "text": "가", "pred_text": "가", "letters": "<script>"}, None),
    ],
)
def test_letters_are_numbers_in_the_order_of_the_text(row, codes):
    assert coded_letters(row) == codes


def test_other_models_come_with_their_texts_and_letters():
    mine = row_of("가", "가", [["가", 0, 0.02, 1.0]], [["가", 0, 0.02, 1.0]])
    other = mine | {"pred_text": "나", "cer": 1.0, "letters": None}
    data = clip_data([mine], [None], [("B", [other])], {})
    assert data["others"] == [
        {"name": "B", "cer": [1.0], "pieces": [[["가", "나"]]], "letters": [None]}
    ]


def test_nothing_in_the_data_ends_the_script():
    bad = "</script><!--\u2028\u2029'\"\\"
    text = script_json({"others": [{"name": bad}]})
    assert "<" not in text and "\u2028" not in text and json.loads(text)["others"][0]["name"] == bad
