"""Shares of learners' syllables below the threshold that natives set."""

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.evaluation.learners import summary_with_learners
from korean_asr.evaluation.syllables import (
    FEW_NATIVES,
    NO_NATIVES,
    NO_SCORES,
    syllable_shares,
    syllables_of,
    threshold,
)
from korean_asr.manifest import REPOSITORY
from korean_asr.metrics import Hypothesis

README = REPOSITORY / "model_tuning" / "korean_asr" / "evaluation" / "README.md"
EXAMPLE = r"\(100 syllables, five below (0\.05)\) \| ([\d.]+) \| (.*) \| ([\d.]+) \|"
NATIVE_SCORES = [n / 100 for n in range(100)]


@pytest.fixture
def heard(scored):
    """A function that makes an evaluation of texts with the listener's score of each letter.

    Each letter takes a tenth of a second.
    """

    def make(texts, scores, corpus="foreign", **clips):
        evaluation = scored([(text, text) for text in texts], corpus, clips=clips)
        scores = iter(scores)
        for index, text in enumerate(texts):
            letters = [
                [letter, *((None,) * 3 if score is None else (at / 10, at / 10 + 0.1, score))]
                for at, (letter, score) in enumerate(
                    zip(text.replace(" ", ""), scores, strict=False)
                )
            ]
            found = {"reference": letters, "hypothesis": []}
            evaluation.hypotheses[index] = Hypothesis(text, letters=found)
        return evaluation

    return make


@pytest.fixture
def natives(heard):
    """Natives who say 가 a hundred times; five of the scores are below 0.05."""
    return heard(["가" * 50] * 2, NATIVE_SCORES, "korean")


def shares(evaluation, natives=None):
    evaluation.facts["natives"] = natives
    return summary_with_learners(evaluation)["syllables"]


def test_the_example_of_the_readme_is_what_the_code_gives(heard, natives):
    example = re.search(EXAMPLE, README.read_text(encoding="utf-8"))
    scores = [float(score) for score in example[3].split(", ")]
    found = shares(heard(["가나다라"], scores), natives)
    assert f"{found['threshold']:.2f}" == example[1] == example[2]
    assert f"{found['all']['share']:.4f}" == example[4]
    assert found["natives"].items() >= {"n": 100, "below": 5, "share": 0.05}.items()


@settings(derandomize=True, database=None, max_examples=100)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=90))
def test_the_threshold_is_the_highest_with_at_most_a_twentieth_below(scores):
    fits = [x for x in scores if sum(score < x for score in scores) * 20 <= len(scores)]
    assert threshold(np.array(scores, float)) == max(fits)


def test_the_jamo_of_these_syllables_are_counted_by_position(heard, natives):
    learners = heard(["밥을", "가"], [-1.0, -2.0, 1.0])
    positions = shares(learners, natives)["all"]["positions"]
    counts = {
        position: [(row["jamo"], row["n"], row["of"]) for row in rows]
        for position, rows in positions.items()
    }
    assert counts == {
        "onset": [("ㅂ", 1, 1), ("ㅇ", 1, 1)],
        "nucleus": [("ㅡ", 1, 1), ("ㅏ", 1, 2)],
        "coda": [("ㄹ", 1, 1), ("ㅂ", 1, 1)],
    }
    assert positions["nucleus"][1]["natives"] == {"n": 5, "of": 100}
    assert positions["coda"][0]["clips"] == [
        {"id": "c0", "syllable": "을", "start": 0.1, "end": 0.2, "score": -2.0}
    ]


def test_the_lowest_syllables_are_heard_each_in_another_clip(heard, natives):
    learners = heard(["가가", "가", "가", "가"], [-5.0, -4.0, -1.0, -3.0, -2.0])
    (row,) = shares(learners, natives)["all"]["positions"]["onset"]
    assert [(clip["id"], clip["score"]) for clip in row["clips"]] == [
        ("c0", -5.0),
        ("c2", -3.0),
        ("c3", -2.0),
    ]


def test_what_natives_are_not_heard_in_either_comes_later(heard):
    # Natives' 카 is always below the threshold, and so is the learners'.
    natives = heard(["카" * 20, "가" * 400], [-1.0] * 20 + [1.0] * 400, "korean")
    learners = heard(["카카", "다", "나나나나"], [-2.0, -2.0, -2.0, 2.0, 2.0, 2.0, 2.0])
    rows = shares(learners, natives)["all"]["positions"]["onset"]
    assert [row["jamo"] for row in rows] == ["ㄷ", "ㅋ"]


def test_each_first_language_has_its_share(heard, natives):
    learners = heard(["가", "나", "다"], [-1.0, 1.0, 1.0], first_language=["영어", "영어", None])
    found = shares(learners, natives)["first_languages"]
    assert {name: part["share"] for name, part in found.items()} == {"영어": 0.5, "unknown": 0.0}
    low, high = found["영어"]["interval"]
    assert (low, high) == (0.0, 1.0)


def test_marks_digits_and_syllables_without_a_score_are_no_syllables(heard, natives):
    learners = heard(["가, 3나다"], [-1.0, -1.0, -1.0, None, 1.0])
    found = shares(learners, natives)["all"]
    assert (found["n"], found["below"], found["n_unknown"]) == (2, 1, 1)
    learners.hypotheses[0] = Hypothesis("", problem="audio missing")
    assert syllables_of(learners).n_unknown.tolist() == [3]


def test_without_natives_or_letters_it_is_said_why(heard, natives, scored, printed):
    learners = heard(["가"], [-1.0])
    assert shares(learners) == {"threshold": None, "unknown": NO_NATIVES}
    assert "syllables below the natives' threshold: unknown. Run script 3" in printed(learners)
    few = heard(["가" * 99], NATIVE_SCORES[:99], "korean")
    assert shares(learners, few)["unknown"] == FEW_NATIVES
    assert shares(scored([("가", "가")], "foreign"), natives)["unknown"] == NO_SCORES


def test_shares_are_printed_with_the_threshold(heard, natives, printed):
    learners = heard(["밥", "가"], [-1.0, 1.0], first_language=["영어", "영어"])
    learners.facts["natives"] = natives
    text = printed(learners)
    assert "threshold 0.05: 5 of 100 syllables of natives lie below it, 2 clips of m.jsonl" in text
    assert re.search(r"  영어 +2 +1  0\.5000  0\.0000–1\.0000  ㅂ- 1/1, -ㅏ- 1/2, -ㅂ 1/1", text)


def test_three_thousand_clips_take_a_moment(heard, natives):
    texts = ["친구를 만나서 같이 요리해요 밥을 먹었어요"] * 3000
    languages = [f"언어 {n % 10}" for n in range(3000)]
    scores = np.random.default_rng(1).normal(1, 2, 60_000).tolist()
    learners = heard(texts, scores, first_language=languages)
    languages = {name: list(range(n, 3000, 10)) for n, name in enumerate(sorted({*languages}))}
    start = time.process_time()
    found = syllable_shares(learners, natives, languages)
    # Two seconds on a free machine; another process may have the other half of a core.
    assert time.process_time() - start < 4 and found["all"]["n"] > 50_000
