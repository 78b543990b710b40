"""listener_area.py counts right, and its README shows what it tries."""

import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.decoding import decoded
from korean_asr.letters import Alphabet
from korean_asr.manifest import REPOSITORY, Utterance
from korean_asr.model import load_recogniser

BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
#                       0     1     2     3     4 (blank)
TEXTS = dict(enumerate(["가", "카", "각", " ", ""]))
ALPHABET = Alphabet.of(TEXTS, 4, 5)


@pytest.fixture(scope="module", autouse=True)
def _on_the_path():
    before = sys.path[:]
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def area(_on_the_path):
    import listener_area

    return listener_area


@pytest.fixture(scope="module")
def tried(_on_the_path):
    import tried_scores

    return tried_scores


def random_heard(tried, text: str, n_frames: int, seed: int):
    logits = np.random.default_rng(seed).normal(0, 2, (n_frames, 5)).astype(np.float32)
    logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
    clip = Utterance(id="a", audio_filepath="a.wav", duration=1.0, text=text)
    return tried.Heard(clip, logits, tried.Syllables(ALPHABET, 5))


def likelihood(log_posteriors: np.ndarray, labels: list[int]) -> float:
    """The sum over all sequences of tokens that are written as the labels."""
    total = 0.0
    for tokens in product(range(5), repeat=len(log_posteriors)):
        written = [b for a, b in zip([None, *tokens], tokens, strict=False) if a != b and b != 4]
        if written == labels:
            total += np.exp(log_posteriors[range(len(tokens)), tokens].sum())
    return total


@pytest.mark.parametrize("text", ["가", "가카", "가가", "각 카"])
def test_texts_with_another_syllable_have_the_likelihood_of_all_their_paths(tried, text):
    heard = random_heard(tried, text, 5, len(text))
    others, without = heard.instead
    labels = heard.labels.tolist()
    for i in range(len(labels)):
        fewer = labels[:i] + labels[i + 1 :]
        assert np.exp(without[i]) == pytest.approx(likelihood(heard.log_posteriors, fewer))
        for number, token in enumerate(heard.syllables.ids):
            other = [*labels[:i], int(token), *labels[i + 1 :]]
            expected = likelihood(heard.log_posteriors, other)
            assert np.exp(others[i, number]) == pytest.approx(expected)


def test_the_first_definition_is_the_score_that_results_hold(tried, area, tiny_base, syllables):
    text = "".join(syllables[:3])
    clip = Utterance(
        id="a",
        audio_filepath=str(next((REPOSITORY / "data/demo/foreign_slips").rglob("*.flac"))),
        duration=0.0,
        text=text,
    )
    (made,) = decoded(load_recogniser(str(tiny_base)), [clip], with_letters=True).hypotheses
    (heard,) = area.heard_clips(str(tiny_base), [clip])
    scores = [score for *_, score in made.letters["reference"]]
    assert tried.gap(heard) == pytest.approx(scores, abs=0.011)


def test_a_syllable_that_is_heard_scores_higher_by_every_definition(tried):
    """가 is heard in one clip, 카 in the other, of the text 가."""
    scores = []
    for token in (0, 1):
        posteriors = np.full((5, 5), 0.01, np.float32)
        posteriors[:, 4] = 0.96
        posteriors[2, [token, 4]] = 0.9, 0.07
        clip = Utterance(id="a", audio_filepath="a.wav", duration=1.0, text="가")
        heard = tried.Heard(clip, np.log(posteriors), tried.Syllables(ALPHABET, 5))
        scores.append([float(made(heard)[0]) for made in tried.DEFINITIONS.values()])
    for name, said, other in zip(tried.DEFINITIONS, *scores, strict=True):
        assert said > other, name


@settings(derandomize=True, database=None, max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), max_size=12))
def test_the_area_is_the_share_of_pairs_in_the_right_order(rows):
    import listener_area

    low = [(score, n) for score, accented, n in rows if accented]
    high = [(score, n) for score, accented, n in rows if not accented]
    n_pairs = sum(n for _, n in low) * sum(n for _, n in high)
    if not n_pairs:
        return
    right = sum(n * m * ((a < b) + (a == b) / 2) for a, n in low for b, m in high)
    scores, accented, weights = map(np.array, zip(*rows, strict=True))
    (area,) = listener_area.areas(scores.astype(float), accented, weights[None])
    assert area == pytest.approx(right / n_pairs)


def test_natives_of_the_same_jamo_are_subtracted(area, tried):
    learners = [area.Scored(0, 0, "가", 1.0)]
    natives = [area.Scored(0, 0, "가", 4.0), area.Scored(0, 1, "나", 2.0)]
    by_syllable, by_jamo = tried.BY_NATIVES.values()
    # The mean of 가 is (4 + 5 x 3) / 6.
    (one,) = area.less_natives(learners, natives, by_syllable)
    assert one.score == pytest.approx(1 - 19 / 6)
    # ㄱ 19 / 6; ㅏ and no coda (6 + 5 x 3) / 7 each.
    (one,) = area.less_natives(learners, natives, by_jamo)
    assert one.score == pytest.approx(1 - 19 / 6 - 3 - 3)


def test_an_accent_has_a_row_from_ten_syllables_on(area, tried):
    heard = random_heard(tried, "가카", 5, 0)
    rows = [area.Scored(0, 0, "가", 0.0)] * 10 + [area.Scored(0, 1, "카", 1.0)] * 2
    accents = {0: area.accents_of({"accented": [
        {"index": 0, "place": "onset", "jamo": "ㄱ", "heard": "ㅋ"},
    ]})}  # fmt: skip
    assert area.by_accent(rows, accents, [heard]) == {"None: onset ㄱ as ㅋ": (10, 1.0)}
    assert area.by_accent(rows[1:], accents, [heard]) == {}


def test_the_readme_has_a_row_for_each_definition(tried):
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for name in [*tried.DEFINITIONS, *tried.BY_NATIVES]:
        assert f"| {name} |" in readme
