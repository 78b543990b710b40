import pytest

from korean_asr.training.base_shares import (
    SHARES,
    ScoredShare,
    chosen_share,
    draw_shares,
    printed_shares,
)

# Natives lose a little with each step, learners gain, as on the demo.
SCORED = [
    ScoredShare(0.0, 0.117, 0.347),
    ScoredShare(0.1, 0.119, 0.330),
    ScoredShare(0.2, 0.124, 0.318),
    ScoredShare(0.3, 0.133, 0.312),
]


def test_the_shares_to_choose_from_are_six_from_0_to_a_half():
    assert SHARES == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        # Sums 0.464, 0.449, 0.442, 0.445.
        ([(one.share, one.cer, one.learner_cer) for one in SCORED], 0.2),
        # The base helps nobody.
        ([(0.0, 0.1, 0.3), (0.1, 0.2, 0.4)], 0.0),
        # Natives pay less than learners gain.
        ([(0.0, 0.1, 0.5), (0.1, 0.2, 0.3), (0.2, 0.3, 0.25)], 0.1),
        # Of equal sums that with less of the base, whatever the order.
        ([(0.2, 0.25, 0.25), (0.1, 0.125, 0.375), (0.0, 0.5, 0.5)], 0.1),
    ],
)
def test_the_chosen_share_has_the_lowest_sum_of_both_errors(scores, chosen):
    assert chosen_share([ScoredShare(*one) for one in scores]).share == chosen


def test_a_share_is_judged_by_natives_with_punctuation_and_by_learners_without():
    natives = {"cer": 0.125, "wer": 0.9, "cer_no_punctuation": 0.8}
    learners = {"cer": 0.7, "wer": 0.9, "cer_no_punctuation": 0.25}
    scored = ScoredShare.of_rates(0.3, natives, learners)
    assert scored == ScoredShare(0.3, 0.125, 0.25) and scored.sum == 0.375
    assert ScoredShare.of_rates(0.3, natives, None) == ScoredShare(0.3, 0.125, None)
    assert scored.record() == {"share": 0.3, "cer": 0.125, "learner_cer_no_punctuation": 0.25}


def test_the_table_has_a_line_for_each_share_and_marks_the_chosen_one():
    title, header, *lines = printed_shares(SCORED, 0.2)
    assert title.startswith("blended with the base model")
    assert header.split("  ")[-1] == "learners' CER without punctuation"
    assert [line.split() for line in lines] == [
        ["0", "0.1170", "0.3470"],
        ["0.1", "0.1190", "0.3300"],
        ["0.2", "0.1240", "0.3180", "*"],
        ["0.3", "0.1330", "0.3120"],
    ]
    assert printed_shares([ScoredShare(0.35, 0.1, None)], 0.35)[-1].split() == [
        "0.35", "0.1000", "–", "*",
    ]  # fmt: skip


def test_the_picture_is_written_whole(tmp_path):
    path = tmp_path / "base_shares.png"
    draw_shares([one.record() for one in SCORED], 0.2, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
