import unicodedata

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.metrics import (
    EditCounts,
    HitCounts,
    aligned_jamo,
    corpus_counts,
    edit_counts,
    first_code_counts,
    jamo_counts,
    jamo_position,
    normalised,
    panel_counts,
    punctuation_counts,
    respaced,
    spacing_counts,
    utterance_counts,
    without_punctuation,
)

KOREAN = st.text(alphabet="가나다라밥먹었어요네 .,?!⁇a1", max_size=24).map(normalised)


@pytest.mark.parametrize(
    ("name", "reference", "hypothesis", "errors", "length"),
    [
        # 밥 먹었어? is six characters with its space and its mark.
        ("cer", "밥 먹었어?", "밥 먹었어?", (0, 0, 0), 6),
        ("cer", "밥 먹었어?", "밥 먹었어", (0, 1, 0), 6),
        ("cer", "밥 먹었어?", "밥먹었어.", (1, 1, 0), 6),
        ("cer", "밥 먹었어?", "", (0, 6, 0), 6),
        ("wer", "밥 먹었어?", "밥 먹었어", (1, 0, 0), 2),
        ("wer", "밥 먹었어?", "밥먹었어?", (1, 1, 0), 2),
        ("cer_no_punctuation", "밥 먹었어?", "밥 먹었어", (0, 0, 0), 5),
        ("cer_no_punctuation", "아, 네", "아 네", (0, 0, 0), 3),
        ("wer_no_punctuation", "밥, 먹었어?", "밥 먹었어", (0, 0, 0), 2),
        ("cer_no_space", "밥 먹었어?", "밥먹 었 어", (0, 0, 0), 4),
        ("cer_no_space", "밥 먹었어?", "법 먹어", (1, 1, 0), 4),
        # An unknown token equals nothing, and is punctuation by category.
        ("cer", "3시", "⁇시", (1, 0, 0), 2),
        ("cer_no_punctuation", "3시", "⁇시", (0, 1, 0), 2),
        ("cer", "가", "가나다", (0, 0, 2), 1),
        ("cer", "", "가나", (0, 0, 2), 0),
        ("cer", "", "", (0, 0, 0), 0),
    ],
)
def test_each_score_counts_what_its_name_says(name, reference, hypothesis, errors, length):
    count = utterance_counts(reference, hypothesis)[name]
    assert (count.substitutions, count.deletions, count.insertions) == errors
    assert count.reference_length == length


@pytest.mark.parametrize(
    ("reference", "hypothesis", "cer", "wer"),
    [
        # Equal neighbours are merged, on the side of the reference alone.
        ("밥밥 먹어", "밥 먹어", (0, 4), (0, 2)),
        ("밥밥 먹어", "밥밥 먹어", (1, 4), (1, 2)),
        # Letters outside the vocabulary are dropped before that, and so may be a whole word.
        ("밥3밥", "밥", (0, 1), (0, 1)),
        ("밥 3 먹어?", "밥 먹어", (0, 4), (0, 2)),
        ("3 밥", "⁇ 밥", (2, 1), (1, 1)),
        ("?", "밥", (1, 0), (1, 0)),
    ],
)
def test_the_original_code_drops_and_merges_letters_of_the_reference(
    reference, hypothesis, cer, wer
):
    counts = first_code_counts(reference, hypothesis, frozenset("밥먹어 "))
    found = [(count.errors, count.reference_length) for count in counts.values()]
    assert list(counts) == ["cer_first_code", "wer_first_code"] and found == [cer, wer]


# What a label or a hypothesis may hold: syllables, conjoining jamo (NFD), emoji with modifiers,
# marks, other spaces.
TEXT = st.text(
    alphabet="가나다라밥먹었어요네ㅋ .,?!⁇a1é\u3000\t\u1112\u1161\u11ab\u0301👍🏽\u200d",
    max_size=24,
)


def scored_as_by_jiwer(reference, hypothesis):
    counts = utterance_counts(reference, hypothesis)
    reference, hypothesis = normalised(reference), normalised(hypothesis)
    characters = jiwer.process_characters([reference], [hypothesis])
    words = jiwer.process_words([reference], [hypothesis])
    for ours, theirs in ((counts["cer"], characters), (counts["wer"], words)):
        assert (ours.substitutions, ours.deletions, ours.insertions) == (
            theirs.substitutions,
            theirs.deletions,
            theirs.insertions,
        )
    assert counts["cer"].rate == characters.cer
    assert counts["wer"].rate == words.wer


@settings(max_examples=500, derandomize=True, deadline=None)
@given(TEXT, TEXT)
def test_cer_and_wer_equal_jiwer_to_the_last_bit_on_any_pair(reference, hypothesis):
    scored_as_by_jiwer(reference, hypothesis)


@pytest.mark.slow
@settings(max_examples=10_000, derandomize=True, deadline=None)
@given(TEXT, TEXT)
def test_cer_and_wer_equal_jiwer_to_the_last_bit_on_10_000_pairs(reference, hypothesis):
    scored_as_by_jiwer(reference, hypothesis)


@pytest.mark.parametrize(
    "reference", ["", "밥 먹었어?", "👍🏽", unicodedata.normalize("NFD", "한국 사람")]
)
@pytest.mark.parametrize(
    "hypothesis", ["", "법 먹어", "👍", unicodedata.normalize("NFD", "한국사람")]
)
def test_empty_texts_emoji_and_nfd_are_scored_as_by_jiwer(reference, hypothesis):
    scored_as_by_jiwer(reference, hypothesis)


def test_a_corpus_rate_is_summed_before_it_is_divided():
    references, hypotheses = ["가나다라 마", "네", "밥 먹었어?"], ["가나다 마", "아니요", "밥 먹어"]
    pairs = zip(references, hypotheses, strict=True)
    totals = corpus_counts(
        [utterance_counts(reference, hypothesis) for reference, hypothesis in pairs]
    )
    assert totals["cer"].rate == jiwer.cer(references, hypotheses)
    assert totals["wer"].rate == jiwer.wer(references, hypotheses)


def test_decomposed_hangul_scores_nothing_against_itself_composed():
    composed = "한국 사람"
    assert utterance_counts(composed, unicodedata.normalize("NFD", composed))["cer"].errors == 0


def test_words_are_compared_whole_whatever_characters_they_share():
    assert edit_counts(["밥을", "먹어"], ["밥을", "먹어요"]) == EditCounts(1, 0, 0, 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("아, 네.", "아 네"),
        ("밥 , 먹어", "밥 먹어"),
        ("⁇ 시", "시"),
        ("(가)", "가"),
        ("30%", "30"),
        ("3+4", "3+4"),
    ],
)
def test_punctuation_is_unicode_category_p_and_space_is_tidied_behind_it(text, wanted):
    assert without_punctuation(text) == wanted


def test_an_empty_reference_costs_one_for_each_inserted_character():
    assert utterance_counts("", "가나")["cer"].rate == 2.0
    assert utterance_counts("", "")["cer"].rate == 0.0


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wanted"),
    [
        ("나는 밥을 먹었다", "나는밥을 먹 었다", "나는 밥을 먹었다"),  # spacing alone differs
        ("나는 밥을 먹었다", "나는 법을 먹었다", "나는 법을 먹었다"),
        # 밥 and 법 are not equal, so the hypothesis keeps its own boundary before 법: none.
        ("나는 밥을", "나는법을", "나는법을"),
        ("나는 밥을", "나는 법을", "나는 법을"),
        # An inserted 또 keeps its own space; 밥 behind it takes the reference's.
        ("나는 밥을", "나는 또밥을", "나는 또 밥을"),
        ("나는 밥을", "", ""),
        ("", "나는 밥을", "나는 밥을"),
        # 나 is aligned to the second one, from the end. That one has a space before it, but a text
        # never starts with a space.
        ("나 나", "나", "나"),
    ],
)
def test_the_hypothesis_takes_the_references_spacing_where_letters_are_equal(
    reference, hypothesis, wanted
):
    assert respaced(reference, hypothesis) == wanted


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("나는 밥을 먹었다.", "나는밥을 먹 었다", (0, 0, 0, 3)),
        ("나는 밥을 먹었다", "나는법을 먹었다", (1, 1, 0, 3)),  # 나는법을 is one word for two
        ("나는 밥을 먹었다", "나는 법을 먹었다", (1, 0, 0, 3)),
    ],
)
def test_swer_forgives_spacing_and_nothing_else(reference, hypothesis, errors):
    assert panel_counts(reference, hypothesis)["swer"] == EditCounts(*errors)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wanted"),
    [
        ("나는 밥을 먹었다", "나는 밥을 먹었다", (2, 2, 2)),
        ("나는 밥을 먹었다", "나는밥을 먹 었다", (1, 2, 2)),
        ("나는 밥을", "나는 법을", (0, 1, 1)),  # the boundary stands before another letter
        ("나는 밥을", "", (0, 1, 0)),
        ("나는", "나 는", (0, 0, 1)),
        ("", "", (0, 0, 0)),
    ],
)
def test_a_boundary_counts_before_the_same_letter_alone(reference, hypothesis, wanted):
    assert spacing_counts(reference, hypothesis) == HitCounts(*wanted)


def test_marks_are_found_where_they_stand():
    counts = punctuation_counts("아, 네. 그래?", "아 네. 그래.")
    assert counts == {
        ".": HitCounts(1, 1, 2),
        ",": HitCounts(0, 1, 0),
        "?": HitCounts(0, 1, 0),
        "!": HitCounts(0, 0, 0),
    }
    assert (counts["."].precision, counts["."].recall, counts["."].rate) == (
        0.5,
        1.0,
        pytest.approx(2 / 3),
    )
    assert (counts[","].precision, counts[","].recall, counts[","].rate) == (None, 0.0, 0.0)
    assert (counts["!"].precision, counts["!"].recall, counts["!"].rate) == (None, None, None)


def test_a_mark_behind_another_word_is_not_a_hit():
    assert punctuation_counts("네. 그래", "네 그래.")["."] == HitCounts(0, 1, 1)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "total", "onset", "nucleus", "coda"),
    [
        # 서울 is ㅅㅓㅇㅜㄹ: two onsets (the silent ㅇ is one), two nuclei, a coda.
        ("서울", "소운", (2, 0, 0, 5), (0, 0, 0, 2), (1, 0, 0, 2), (1, 0, 0, 1)),
        ("밥", "바", (0, 1, 0, 3), (0, 0, 0, 1), (0, 0, 0, 1), (0, 1, 0, 1)),
        ("바", "밥", (0, 0, 1, 2), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 1, 0)),
        ("가", "까", (1, 0, 0, 2), (1, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0)),
        # ㅋ alone and a are no syllables: in the total only.
        ("ㅋ가a", "가", (0, 2, 0, 4), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0)),
        ("가", "ㅋ가", (0, 0, 1, 2), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0)),
        ("", "", (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_jamo_are_counted_by_their_position_in_the_syllable(
    reference, hypothesis, total, onset, nucleus, coda
):
    wanted = {"jamo": total, "onset": onset, "nucleus": nucleus, "coda": coda}
    assert jamo_counts(reference, hypothesis) == {
        name: EditCounts(*numbers) for name, numbers in wanted.items()
    }


def test_onset_and_coda_of_one_letter_are_two_jamo():
    onset, nucleus, coda = unicodedata.normalize("NFD", "각")
    assert [jamo_position(jamo) for jamo in (onset, nucleus, coda, "ㄱ", "a")] == [
        "onset",
        "nucleus",
        "coda",
        None,
        None,
    ]
    assert onset != coda


@settings(max_examples=200, derandomize=True, deadline=None)
@given(KOREAN, KOREAN)
def test_the_panel_of_one_clip_agrees_with_itself(reference, hypothesis):
    counts = panel_counts(reference, hypothesis)
    assert {name: counts[name] for name in utterance_counts("", "")} == utterance_counts(
        reference, hypothesis
    )
    assert (
        counts["swer"].errors <= counts["wer_no_punctuation"].errors + counts["spacing"].hypothesis
    )
    letters = (
        "".join(without_punctuation(reference).split()),
        "".join(without_punctuation(hypothesis).split()),
    )
    pairs = aligned_jamo(*letters)
    for side in (0, 1):
        found = "".join(pair[side] * n for pair, n in pairs.items())
        assert sorted(found) == sorted(unicodedata.normalize("NFD", letters[side]))
    jamo = jiwer.process_characters(*([unicodedata.normalize("NFD", text)] for text in letters))
    assert counts["jamo"].errors == jamo.substitutions + jamo.deletions + jamo.insertions
    same = panel_counts(reference, reference)
    assert all(count.rate in (0.0, 1.0, None) for count in same.values())
    assert sum(count.errors for count in same.values() if isinstance(count, EditCounts)) == 0
