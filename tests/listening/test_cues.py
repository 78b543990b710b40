"""The cues of a text: where they end, their times, and that no letter is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korean_asr.letters import no_letters
from korean_asr.listening.cues import LONGEST_S, Cue, cues_of
from korean_asr.metrics import Hypothesis, normalised


def evenly(n, step=0.2):
    return [round(step * index, 2) for index in range(n)]


@pytest.mark.parametrize(
    ("text", "starts", "cues"),
    [
        ("", [], []),
        ("밥", [0.4], ["밥"]),
        ("밥. 물? 말! 국", evenly(7), ["밥.", "물?", "말!", "국"]),
        # A mark ends its sentence where the model wrote no space behind it, too.
        ("밥.물", evenly(3), ["밥.", "물"]),
        ("밥?! 물", evenly(4), ["밥?!", "물"]),
        ('밥." 물', evenly(4), ['밥." 물']),
        ("3.5 밥", evenly(4), ["3.5 밥"]),
        ("밥, 물", evenly(3), ["밥, 물"]),
        # Letters end 0.1 s after their start: pauses of 0.69 and of 0.70 s.
        ("밥 물", [0.0, 0.79], ["밥 물"]),
        ("밥 물", [0.0, 0.8], ["밥", "물"]),
        # 2.01 - 1.31 is less than 0.7 in binary.
        ("밥물", [1.21, 2.01], ["밥", "물"]),
        # A mark, which is not heard, stays with its sentence, and pauses before and behind are one.
        ("밥. 물", [0.0, 1.5, 1.7], ["밥.", "물"]),
        ("밥, 물", [0.0, 0.4, 0.8], ["밥,", "물"]),
        ("⁇ 물", [0.0, 0.8], ["⁇", "물"]),
        ("밥⁇", [0.0, 0.8], ["밥", "⁇"]),
        ("밥 , ⁇ 물", [0.0, 0.4, 0.8, 1.0], ["밥 ,", "⁇ 물"]),
    ],
)
def test_a_cue_ends_at_a_sentence_mark_and_at_a_pause(hypothesis_of, text, starts, cues):
    assert [cue.text for cue in cues_of(hypothesis_of(text, starts))] == cues


def test_a_long_cue_is_cut_at_the_space_nearest_to_its_middle(hypothesis_of):
    # 6.1 s: the middle is 3.05 s. The second space is at 2.75 s, the third at 4.75 s.
    text = "가나 다라마바사아자차카타파하 밥국물말가나다라마바 사아자차카타파"
    starts = evenly(31)
    assert sum(letter != " " for letter in text) == 31
    whole = hypothesis_of(text, starts)
    assert [cue.text for cue in cues_of(whole)] == [
        "가나 다라마바사아자차카타파하",
        "밥국물말가나다라마바 사아자차카타파",
    ]
    shorter = hypothesis_of(text[:-1], starts[:-1])
    assert [cue.text for cue in cues_of(shorter)] == [text[:-1]]


def test_halves_are_cut_again_and_a_long_word_stays_whole(hypothesis_of):
    words = ["가나다라마바사아자차"] * 8
    cues = cues_of(hypothesis_of(" ".join(words), evenly(80)))
    assert [cue.text for cue in cues] == [" ".join(words[:2])] * 4
    word = "가" * 40
    assert [cue.text for cue in cues_of(hypothesis_of(word, evenly(40)))] == [word]


def test_a_cue_has_the_times_of_its_letters_and_the_mean_of_their_posteriors():
    letters = [["밥", 0.42, 0.44, 0.9], ["물", 0.6, 0.66, 0.8], [".", 0.9, 0.92, 0.4]]
    heard = Hypothesis("밥물.", letters={**no_letters(), "hypothesis": letters})
    assert cues_of(heard) == [Cue(0.42, 0.92, "밥물.", 0.7)]


heard_letters = st.lists(
    st.tuples(
        st.sampled_from("가밥물⁇.,?!3A"),
        st.booleans(),
        st.integers(0, 150),
        st.integers(1, 20),
        st.floats(0, 1),
    ),
    max_size=60,
)


@given(heard_letters)
def test_cues_keep_every_letter_in_order_and_their_times_ascend(drawn):
    text, letters, now = "", [], 0.0
    for letter, spaced, gap, length, posterior in drawn:
        text += f" {letter}" if spaced else letter
        start = round(now + gap / 50, 2)
        now = round(start + length / 50, 2)
        letters.append([letter, start, now, posterior])
    text = normalised(text)
    cues = cues_of(Hypothesis(text, letters={**no_letters(), "hypothesis": letters}))
    joined = "".join(cue.text for cue in cues)
    assert joined.replace(" ", "") == "".join(letter[0] for letter in letters)
    # Each cue is a part of the text as it is written.
    place = 0
    for cue in cues:
        place = text.index(cue.text, place) + len(cue.text)
        assert cue.text == cue.text.strip() != "" and 0 <= cue.confidence <= 1
        assert cue.end - cue.start <= LONGEST_S + 0.001 or " " not in cue.text
    times = [time for cue in cues for time in (cue.start, cue.end)]
    assert times == sorted(times)
    if letters:
        assert (times[0], times[-1]) == (letters[0][1], letters[-1][2])
