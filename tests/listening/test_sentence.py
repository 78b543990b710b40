"""What was heard instead of a sentence, letter by letter."""

import pytest

from korean_asr.letters import no_letters
from korean_asr.listening.heard import Heard, listened
from korean_asr.listening.report import comparison_lines
from korean_asr.listening.sentence import (
    LetterPair,
    UnusableSentence,
    cleaned_sentence,
    letter_pairs,
)
from korean_asr.metrics import Hypothesis
from korean_asr.vocabulary import outside_vocabulary

WRITABLE = frozenset("가나다라마밥물국 .")


def letters_of(reference, hypothesis):
    """Reference letters 1 s apart, from (letter, score); hypothesis letters from 0.5 s on."""
    meant = [
        [letter, None, None, None] if score is None else [letter, 1.0 * i, i + 0.1, score]
        for i, (letter, score) in enumerate(reference)
    ]
    heard = [[letter, i + 0.5, i + 0.6, 0.9] for i, letter in enumerate(hypothesis)]
    return {"reference": meant, "hypothesis": heard}


def differing(reference, hypothesis):
    pairs = letter_pairs(letters_of(reference, hypothesis))
    return [(p.meant, p.heard, p.start, p.score) for p in pairs if not p.is_heard]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "pairs"),
    [
        ([("밥", 3.0), ("물", 0.0)], "밥물", []),
        # Heard as written, though another letter was likelier there.
        ([("밥", 3.0), ("물", -0.1)], "밥물", [("물", "물", 1.0, -0.1)]),
        ([("밥", -2.5), ("물", 3.0)], "방물", [("밥", "방", 0.0, -2.5)]),
        ([("밥", 1.5), ("물", 3.0)], "방물", [("밥", "방", 0.0, 1.5)]),
        ([("밥", 3.0), ("물", -1.0), ("국", 2.0)], "밥국", [("물", None, 1.0, -1.0)]),
        ([("밥", 3.0), ("국", 2.0)], "밥물국", [(None, "물", 1.5, None)]),
        ([("밥", -3.0)], "", [("밥", None, 0.0, -3.0)]),
        # Marks are not heard, in the sentence or by the model; the unknown sign is a letter.
        ([("밥", 3.0), (",", -4.0), ("국", 2.0)], "밥국.", []),
        ([("밥", -3.0), ("국", 2.0)], "⁇국", [("밥", "⁇", 0.0, -3.0)]),
        # Without a score: the model cannot write it, or nothing could be aligned.
        ([("밥", 3.0), ("핥", None)], "밥가", [("핥", "가", None, None)]),
        ([("밥", None)], "밥", []),
    ],
)
def test_a_letter_is_told_that_differs_or_that_another_letter_outdoes(reference, hypothesis, pairs):
    assert differing(reference, hypothesis) == pairs


def test_all_letters_are_paired_in_order():
    pairs = letter_pairs(letters_of([("밥", 3.0), ("물", -1.0)], "밥국물"))
    assert pairs == [
        LetterPair("밥", "밥", 0.0, 3.0),
        LetterPair(None, "국", 1.5, None),
        LetterPair("물", "물", 1.0, -1.0),
    ]


def compared(sentence, reference, heard_text):
    letters = letters_of(reference, heard_text.replace(" ", ""))
    heard = Heard("a.wav", 3.0, Hypothesis(heard_text, letters=letters), sentence)
    return comparison_lines(heard, outside_vocabulary([sentence], WRITABLE))


def test_the_comparison_is_printed_as_the_two_texts_and_a_line_a_letter():
    reference = [("밥", -2.5), ("물", 3.0), ("국", -11.25)]
    assert compared("밥물 국", reference, "방 물") == [
        "  sentence · 문장    밥물 국",
        "  heard · 인식 결과  방 물",
        "     time  meant  heard       score",
        "     시각  문장   들린 글자    점수",
        "  0:00.00  밥     방          -2.50",
        "  0:02.00  국     ∅          -11.25",
    ]


def test_spaces_and_marks_do_not_differ_and_all_letters_heard_is_said():
    assert compared("밥물 국.", [("밥", 2.0), ("물", 3.0), ("국", 4.0), (".", -3.0)], "밥 물국")[
        2:
    ] == ["  every letter was heard · 모든 글자가 문장대로 들렸습니다."]


def test_letters_outside_the_vocabulary_and_a_sentence_that_does_not_fit_are_told():
    lines = compared("밥핥3", [("밥", 2.0), ("핥", None), ("3", None)], "밥")
    assert "the model cannot write 3 핥" in lines[2] and "–  3      ∅" in lines[-1]
    lines = compared("밥물", [("밥", None), ("물", None)], "")
    assert lines[1] == "  heard · 인식 결과  ∅" and "does not fit into the recording" in lines[2]
    assert not any("fit" in line for line in compared("밥물", [("밥", 2.0), ("물", None)], "밥"))
    assert not any("fit" in line for line in compared("핥", [("핥", None)], ""))


def test_the_tiny_model_scores_the_letters_of_a_sentence(tiny_recogniser, recordings):
    (heard,) = listened(tiny_recogniser, recordings[:1], "가나 밥.")
    letters = heard.hypothesis.letters["reference"]
    # It has no full stop.
    assert [letter[0] for letter in letters] == ["가", "나", "밥", "."]
    assert all(type(score) is float for *_, score in letters[:3]) and letters[3][3] is None
    meant = [pair.meant for pair in letter_pairs(heard.hypothesis.letters) if pair.meant]
    assert meant == ["가", "나", "밥"] and no_letters().keys() == heard.hypothesis.letters.keys()


@pytest.mark.parametrize(
    ("sentence", "cleaned"),
    [(" 밥을   먹다 . ", "밥을 먹다."), ("(3)/(세) 명 n/", "3 명"), ("\u1100\u1161", "가")],
)
def test_a_sentence_is_cleaned_as_labels_are(sentence, cleaned):
    assert cleaned_sentence(sentence) == cleaned


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("", "it holds no letter"),
        (" ?! ", "it holds no letter"),
        ("밥 (국", "it holds a round bracket"),
        ("○○ 은행", "signs such as"),
        ("밥 βγ", "read aloud in another way"),
        ("B: 밥", "another speaker"),
    ],
)
def test_a_sentence_of_which_no_label_would_be_made_is_wrong_usage(sentence, why):
    with pytest.raises(UnusableSentence, match=why):
        cleaned_sentence(sentence)
