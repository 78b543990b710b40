import json
import math
import re
import unicodedata

import numpy as np
import pytest

from korean_asr.forced_alignment import Evidence
from korean_asr.letters import (
    FRAME_S,
    Alphabet,
    hypothesis_letters,
    known_letters,
    no_letters,
    reference_letters,
)
from korean_asr.manifest import REPOSITORY

#              0      1     2     3      4     5     6      7 (blank)
TEXTS = dict(enumerate(["", "밤", "밥", "을", ".", " ", "⁇", ""]))
BLANK = 7
ALPHABET = Alphabet.of({**TEXTS, 8: "", 9: "밖"}, BLANK, 8)


def test_a_frame_lasts_20_ms():
    assert FRAME_S == 0.02


def test_an_alphabet_knows_which_tokens_write_letters():
    # <s>, the space and the blank write none. A token outside the head cannot be written.
    assert ALPHABET.silent_ids == [0, 5, 7]
    assert ALPHABET.ids == {"밤": 1, "밥": 2, "을": 3, ".": 4, " ": 5}


@pytest.mark.parametrize(
    ("text", "tokens", "labels", "characters"),
    [
        ("", [7], [], []),
        ("밤밤", [7, 1], [1, 1], [("밤", 0), ("밤", 1)]),
        ("밥 을.", [7, 2, 5, 3, 4], [1, 2, 3, 4], [("밥", 0), ("을", 2), (".", 3)]),
        # Outside the vocabulary: a digit, a letter beyond the head, the unknown sign itself.
        ("3밖⁇", [7], [], [("3", None), ("밖", None), ("⁇", None)]),
        ("3밥", [7, 2], [1], [("3", None), ("밥", 0)]),
    ],
)
def test_a_reference_is_spelled_in_the_tokens_of_the_model(text, tokens, labels, characters):
    spelled = ALPHABET.reference(text)
    assert spelled.tokens.tolist() == tokens
    assert spelled.labels.tolist() == labels
    assert spelled.characters == characters


def evidence_of(text: str, rows: list[dict[int, float]]) -> Evidence:
    """Evidence for a text; a row holds the posteriors of a frame by token, others have 0.001."""
    posteriors = np.full((len(rows), 8), 0.001, np.float32)
    for frame, row in enumerate(rows):
        for token, posterior in row.items():
            posteriors[frame, token] = posterior
    logs = np.log(posteriors)
    letters = logs.copy()
    letters[:, ALPHABET.silent_ids] = -1e4
    return Evidence(
        logs[:, ALPHABET.reference(text).tokens],
        np.sort(letters, 1)[:, :-3:-1],
        letters.argmax(1),
    )


# "밤을" was read, and the model hears "밥을".
SAID = [{7: 0.97}, {1: 0.3, 2: 0.6}, {7: 0.97}, {7: 0.97}, {7: 0.97}, {3: 0.96}, {7: 0.9}]


def aligned(text: str, rows: list[dict[int, float]]) -> list:
    return reference_letters([ALPHABET.reference(text)], [evidence_of(text, rows)])[0]


def test_each_letter_of_a_reference_has_its_times_and_its_listeners_score():
    assert aligned("밤을", SAID) == [
        ["밤", 0.02, 0.04, round(math.log(0.3 / 0.6), 2)],
        ["을", 0.1, 0.12, round(math.log(0.96 / 0.001), 2)],
    ]


def test_the_example_of_the_readme_is_true():
    readme = REPOSITORY / "model_tuning" / "korean_asr" / "evaluation" / "README.md"
    text = readme.read_text(encoding="utf-8")
    row = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    alphabet = Alphabet.of({0: "", 1: "밤", 2: "밥", 3: "을"}, 0, 4)
    lines = [re.search(rf"^\| {name} \|(.*)\|$", text, re.M)[1] for name in ("blank", *"밤밥을")]
    posteriors = np.array([[float(cell) for cell in line.split("|")] for line in lines]).T
    logs = np.log(posteriors).astype(np.float32)
    reference = alphabet.reference(row["text"])
    ranked = np.sort(logs[:, 1:], 1)[:, ::-1]
    evidence = Evidence(logs[:, reference.tokens], ranked[:, :2], logs[:, 1:].argmax(1) + 1)
    labels = posteriors.argmax(1)
    assert row["letters"] == {
        "reference": reference_letters([reference], [evidence])[0],
        "hypothesis": hypothesis_letters(labels, posteriors.max(1), alphabet),
    }


def test_letters_that_cannot_be_written_have_nulls_and_the_others_are_aligned():
    assert aligned("3밤9을⁇", SAID) == [
        ["3", None, None, None],
        aligned("밤을", SAID)[0],
        ["9", None, None, None],
        aligned("밤을", SAID)[1],
        ["⁇", None, None, None],
    ]
    assert aligned("39", SAID) == [["3", None, None, None], ["9", None, None, None]]
    assert aligned("", SAID) == []


def test_a_text_that_does_not_fit_has_nulls_alone():
    assert aligned("밤밤", SAID[:2]) == [["밤", None, None, None]] * 2
    assert aligned("밤밤", SAID[:3])[0][1:3] == [0.0, 0.02]


def test_a_space_is_aligned_but_is_neither_a_letter_nor_a_rival():
    rows = [{1: 0.9}, {5: 0.99}, {3: 0.901}]
    letters = aligned("밤 을", rows)
    assert [letter[:3] for letter in letters] == [["밤", 0.0, 0.02], ["을", 0.04, 0.06]]
    # 밤 competes with 을, two frames on, and not with the likelier space between them.
    assert letters[0][3] == letters[1][3] == 0.0
    # Not -0.0, which the score of -0.001 is rounded to.
    assert math.copysign(1, letters[0][3]) == 1


def test_clips_of_one_call_are_aligned_as_if_alone():
    texts = ["밤을", "", "3을", "밤밥밤밥"]
    rows = [SAID, SAID[:1], SAID[3:], SAID[:2]]
    together = reference_letters(
        [ALPHABET.reference(text) for text in texts], list(map(evidence_of, texts, rows))
    )
    assert together == list(map(aligned, texts, rows))


def written(tokens: list[int], posteriors: list[float], alphabet: Alphabet = ALPHABET) -> list:
    return hypothesis_letters(np.array(tokens), np.array(posteriors, np.float32), alphabet)


def test_each_written_letter_has_its_frames_and_its_highest_posterior():
    tokens = [7, 2, 2, 7, 2, 5, 3, 6, 4, 0]
    posteriors = [0.9, 0.6, 0.71239, 0.9, 0.5, 0.8, 0.9, 0.4, 1.0, 0.9]
    assert written(tokens, posteriors) == [
        ["밥", 0.02, 0.06, 0.712],
        ["밥", 0.08, 0.1, 0.5],
        ["을", 0.12, 0.14, 0.9],
        ["⁇", 0.14, 0.16, 0.4],
        [".", 0.16, 0.18, 1.0],
    ]
    assert written([7, 5, 7], [0.9] * 3) == []


@pytest.mark.parametrize(
    ("texts", "letters"),
    [
        # A model of jamo: what is one letter of the text took several tokens.
        (["ᄇ", "ᅡ", "ᆷ", "."], [["밤", 0.0, 0.06, 0.7], [".", 0.06, 0.08, 0.6]]),
        (["ᄇ", "ᅡ", "ᄇ", "ᅡ"], [["바", 0.0, 0.04, 0.8], ["바", 0.04, 0.08, 0.6]]),
        (["가", "ᆷ", " ", "a"], [["감", 0.0, 0.04, 0.8], ["a", 0.06, 0.08, 0.6]]),
        # The accent composes with the letter before the cedilla.
        (
            ["a", "\u0327", "\u0301", "x"],
            [["á", 0.0, 0.06, 0.7], ["\u0327", 0.0, 0.06, 0.7], ["x", 0.06, 0.08, 0.6]],
        ),
    ],
)
def test_letters_are_composed_like_the_text(texts, letters):
    alphabet = Alphabet.of({**dict(enumerate(texts)), 9: ""}, 9, 10)
    found = written([0, 1, 2, 3], [0.9, 0.8, 0.7, 0.6], alphabet)
    assert found == letters
    text = unicodedata.normalize("NFC", "".join(texts)).replace(" ", "")
    assert "".join(letter[0] for letter in found) == text


def test_a_token_of_several_characters_gives_each_of_them_its_times():
    alphabet = Alphabet.of({0: "밤을", 1: ""}, 1, 2)
    assert written([0, 1], [0.5, 0.5], alphabet) == [["밤", 0.0, 0.02, 0.5], ["을", 0.0, 0.02, 0.5]]


WHOLE = {
    "reference": [["밤", 0.0, 0.02, -1], ["3", None, None, None]],
    "hypothesis": [["밥", 0, 1, 1]],
}


def test_letters_of_a_row_are_known_where_they_are_those_of_its_texts():
    assert known_letters(WHOLE, "밤 3", "밥") == WHOLE
    assert known_letters(no_letters(), "밤 3", "") == no_letters()


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [],
        {},
        {"reference": WHOLE["reference"]},
        {**WHOLE, "more": []},
        {**WHOLE, "reference": None},
        {**WHOLE, "reference": WHOLE["reference"][:1]},
        {**WHOLE, "hypothesis": []},
        {**WHOLE, "hypothesis": ["밥"]},
        {**WHOLE, "hypothesis": [["밥", 0, 1]]},
        {**WHOLE, "hypothesis": [["밤", 0, 1, 1]]},
        {**WHOLE, "hypothesis": [[5, 0, 1, 1]]},
        {**WHOLE, "hypothesis": [["밥", 0, 1, None]]},
        {**WHOLE, "hypothesis": [["밥", "0", 1, 1]]},
        {**WHOLE, "hypothesis": [["밥", True, 1, 1]]},
        {**WHOLE, "hypothesis": [["밥", 0, 1, math.nan]]},
        {**WHOLE, "hypothesis": [["밥", 0, 1, math.inf]]},
    ],
)
def test_letters_of_another_text_or_shape_are_not_taken(value):
    assert known_letters(value, "밤 3", "밥") is None
