import numpy as np
import pytest

from korean_asr.evaluation.intervals import (
    N_DRAWS,
    Units,
    drawn_rates,
    interval,
    none_or_all,
    units_of,
)

LETTERS = [chr(0xAC00 + n) for n in range(50)]  # a sentence for each clip


def ratios_of(errors, lengths):
    return np.stack([errors, lengths], axis=-1)[:, None, :].astype(float)  # (n_clips, 1, 2)


def test_speakers_are_drawn_where_twenty_are_known_else_clips():
    nineteen = [f"s{n % 19}" for n in range(100)]
    units = units_of(nineteen, [*map(str, range(100))])
    assert (units.resampled, units.n) == ("clips", 100)
    units = units_of([*nineteen, "s19", None, None], ["가"] * 103)
    assert (units.resampled, units.n) == ("speakers", 22)  # a clip without a speaker stands alone
    assert units.of_clip[0] == units.of_clip[19] != units.of_clip[1]
    assert len(set(units.of_clip[-2:])) == 2


@pytest.mark.parametrize(
    ("speakers", "sentences", "resampled", "n", "drawn"),
    [
        (["s1"] * 3, ["가", "나", "가"], "sentences", 2, "2 sentences (FEW, and sentences repeat)"),
        ([None] * 3, ["가", "나", "다"], "clips", 3, "3 clips (FEW)"),
        # One sentence cannot be drawn: every draw would be the same.
        ([None] * 3, ["가"] * 3, "clips", 3, "3 clips (FEW)"),
        ([None], ["가"], "clips", 1, "1 clip (FEW)"),
        # Texts of marks alone are no sentence.
        ([None] * 3, ["", "", "가"], "clips", 3, "3 clips (FEW)"),
        (
            [None] * 5,
            ["", "", "가", "가", "나"],
            "sentences",
            4,
            "2 sentences and 2 clips without letters (FEW, and sentences repeat)",
        ),
        (LETTERS[:41], ["가"] * 41, "speakers", 41, "41 speakers"),
        ([*LETTERS[:41], ""], ["가"] * 42, "speakers", 42, "41 speakers and 1 clip OF"),
        (
            [*LETTERS[:41], *[None] * 14],
            LETTERS + LETTERS[:5],
            "speakers",
            55,
            "41 speakers and 14 clips OF",
        ),
    ],
)
def test_what_is_drawn_is_said_with_its_reason(speakers, sentences, resampled, n, drawn):
    units = units_of(speakers, sentences)
    drawn = drawn.replace("FEW", "fewer than 20 speakers are known")
    assert units.drawn == drawn.replace("OF", "of unknown speakers")
    assert (units.resampled, units.n, len(set(units.of_clip))) == (resampled, n, n)


def test_intervals_of_repeated_sentences_are_as_wide_as_those_of_the_sentences():
    # Half of 20 sentences are always wrong, whoever says them: 200 clips are 20 observations.
    sentences = [f"{n % 20}" for n in range(200)]
    errors = np.array([int(name) % 2 for name in sentences])
    ratios = ratios_of(errors, np.ones(200))
    widths = [
        np.ptp(interval(drawn_rates(ratios, units)[:, 0]))
        for units in (units_of([None] * 200, sentences), units_of([None] * 200, [""] * 200))
    ]
    assert 2.5 < widths[0] / widths[1] < 4  # the square root of 10


def test_clips_of_one_speaker_are_drawn_together():
    errors, lengths = np.array([1, 1, 0, 0]), np.array([1, 1, 1, 1])
    together = Units("speakers", np.array([0, 0, 1, 1]), 2)
    assert set(drawn_rates(ratios_of(errors, lengths), together)[:, 0]) == {0.0, 0.5, 1.0}
    apart = units_of([None] * 4, [*"abcd"])
    assert {0.25, 0.75} <= set(drawn_rates(ratios_of(errors, lengths), apart)[:, 0])


def test_counts_are_summed_before_they_are_divided():
    # 1 of 1 and 0 of 99: a mean of rates would give up to 1.0 and 0.5 in the middle.
    drawn = drawn_rates(
        ratios_of(np.array([1, 0]), np.array([1, 99])), units_of([None] * 2, [*"ab"])
    )
    assert set(drawn[:, 0].round(6)) == {0.0, 0.01, 1.0}


def test_one_seed_gives_one_interval_and_two_scores_meet_the_same_draws():
    rng = np.random.default_rng(0)
    errors, lengths = rng.integers(0, 5, 50), np.full(50, 10)
    one = drawn_rates(ratios_of(errors, lengths), units_of([None] * 50, LETTERS))
    assert np.array_equal(
        one, drawn_rates(ratios_of(errors, lengths), units_of([None] * 50, LETTERS))
    )
    both = drawn_rates(
        np.concatenate([ratios_of(errors, lengths)] * 2, axis=1), units_of([None] * 50, LETTERS)
    )
    assert np.array_equal(both[:, 0], both[:, 1]) and np.array_equal(both[:, :1], one)


def test_the_middle_of_the_draws_is_taken():
    assert interval(np.arange(1001.0)) == [25.0, 975.0]
    assert interval(np.array([np.nan, *np.arange(1001.0)])) == [25.0, 975.0]
    assert interval(np.full(N_DRAWS, np.nan)) is None


def test_a_score_without_anything_to_divide_by_has_no_interval():
    drawn = drawn_rates(
        ratios_of(np.array([0, 0]), np.array([0, 0])), units_of([None] * 2, [*"ab"])
    )
    assert np.isnan(drawn).all() and interval(drawn[:, 0]) is None


def test_the_fast_draws_are_those_of_a_plain_loop():
    rng = np.random.default_rng(3)
    speakers = [f"s{n}" for n in rng.integers(0, 25, 120)]
    errors, lengths = rng.integers(0, 9, 120), rng.integers(5, 30, 120)
    units = units_of(speakers, speakers)
    fast = drawn_rates(ratios_of(errors, lengths), units)[:, 0]
    from korean_asr.evaluation.intervals import SEED

    again = np.random.default_rng(SEED)
    for rate in fast[:50]:
        chosen = again.integers(0, units.n, units.n)
        clips = [clip for unit in chosen for clip in np.flatnonzero(units.of_clip == unit)]
        assert rate == pytest.approx(errors[clips].sum() / lengths[clips].sum())


@pytest.mark.slow
def test_the_interval_covers_the_true_rate_about_95_times_in_100():
    """50 speakers of 8 clips each, whose own error rates differ; the true rate is their mean."""
    rng = np.random.default_rng(11)
    n_speakers, n_clips, length = 50, 8, 25
    a, b = 2.0, 18.0  # a speaker's own rate is drawn from Beta(2, 18), whose mean is 0.1
    covered = 0
    for _ in range(400):
        rates = rng.beta(a, b, n_speakers).repeat(n_clips)
        errors = rng.binomial(length, rates)
        speakers = [f"s{n // n_clips}" for n in range(n_speakers * n_clips)]
        drawn = drawn_rates(
            ratios_of(errors, np.full(len(errors), length)), units_of(speakers, speakers)
        )
        low, high = interval(drawn[:, 0])
        covered += low <= a / (a + b) <= high
    assert 0.90 <= covered / 400 <= 0.98


@pytest.mark.parametrize("n", [1, 2, 8, 48, 5_000])
def test_the_bounds_of_none_and_of_all_are_where_they_have_2_5_percent(n):
    low, high = none_or_all(n, is_all=False)
    # The chance of none of n, if the share is the upper bound.
    assert low == 0.0 and (1 - high) ** n == pytest.approx(0.025, rel=0.02)
    assert none_or_all(n, is_all=True) == pytest.approx([1 - high, 1.0], abs=1e-6)
