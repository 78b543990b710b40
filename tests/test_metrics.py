import unicodedata

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.metrics import EditCounts, corpus_counts, edit_counts, normalised, utterance_counts, without_punctuation

KOREAN = st.text(alphabet="가나다라밥먹었어요네 .,?!⁇a1", max_size=24)


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


@settings(max_examples=300, derandomize=True)
@given(KOREAN, KOREAN)
def test_cer_and_wer_equal_jiwer_on_any_pair(reference, hypothesis):
    reference, hypothesis = normalised(reference), normalised(hypothesis)
    counts = utterance_counts(reference, hypothesis)
    characters = jiwer.process_characters([reference], [hypothesis])
    words = jiwer.process_words([reference], [hypothesis])
    for ours, theirs in ((counts["cer"], characters), (counts["wer"], words)):
        assert (ours.substitutions, ours.deletions, ours.insertions) == (
            theirs.substitutions,
            theirs.deletions,
            theirs.insertions,
        )
    if reference:
        assert counts["cer"].rate == characters.cer
        assert counts["wer"].rate == words.wer


def test_a_corpus_rate_is_summed_before_it_is_divided():
    references, hypotheses = ["가나다라 마", "네", "밥 먹었어?"], ["가나다 마", "아니요", "밥 먹어"]
    pairs = zip(references, hypotheses, strict=True)
    totals = corpus_counts([utterance_counts(reference, hypothesis) for reference, hypothesis in pairs])
    assert totals["cer"].rate == jiwer.cer(references, hypotheses)
    assert totals["wer"].rate == jiwer.wer(references, hypotheses)


def test_decomposed_hangul_scores_nothing_against_itself_composed():
    composed = "한국 사람"
    assert utterance_counts(composed, unicodedata.normalize("NFD", composed))["cer"].errors == 0


def test_words_are_compared_whole_whatever_characters_they_share():
    assert edit_counts(["밥을", "먹어"], ["밥을", "먹어요"]) == EditCounts(1, 0, 0, 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("아, 네.", "아 네"), ("밥 , 먹어", "밥 먹어"), ("⁇ 시", "시"), ("(가)", "가"), ("30%", "30"), ("3+4", "3+4")],
)
def test_punctuation_is_unicode_category_p_and_space_is_tidied_behind_it(text, wanted):
    assert without_punctuation(text) == wanted


def test_an_empty_reference_costs_one_for_each_inserted_character():
    assert utterance_counts("", "가나")["cer"].rate == 2.0
    assert utterance_counts("", "")["cer"].rate == 0.0
