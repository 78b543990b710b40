import dataclasses
import json

import numpy as np
import pytest

from korean_asr.evaluation.scores import SMALL_SLICE, calibration, slices
from korean_asr.manifest import Utterance
from korean_asr.messages import OVERLAP_KINDS
from korean_asr.metrics import NOT_SCORED, EditCounts, scored_text, utterance_counts
from korean_asr.transcripts import without_tags


def test_the_summary_holds_what_readers_of_korean_json_rely_on(evaluation, utterances):
    content = evaluation.summary
    assert content["rule"] == "ko-1"
    assert content["corpus"] == "korean"
    assert content["model"] == "tiny_base"
    assert (content["n_clips"], content["n_unreadable"]) == (12, 0)
    assert content["duration"] == pytest.approx(
        sum(utterance.duration for utterance in utterances), abs=1e-3
    )
    assert set(content["scores"]) == {
        "cer",
        "wer",
        "cer_no_punctuation",
        "wer_no_punctuation",
        "cer_no_space",
        "swer",
        "spacing",
        "punctuation",
        "jamo",
    }
    cer = content["scores"]["cer"]
    assert cer["reference_length"] == sum(len(utterance.text) for utterance in utterances)
    errors = cer["substitutions"] + cer["deletions"] + cer["insertions"]
    assert cer["rate"] == pytest.approx(errors / cer["reference_length"], abs=1e-6)
    assert cer["interval"][0] <= cer["rate"] <= cer["interval"][1]
    assert set(content["scores"]["punctuation"]) == set(".,?!")
    assert {"onset", "nucleus", "coda", "rate", "interval"} <= set(content["scores"]["jamo"])
    assert content["intervals"] == {
        "resampled": "sentences",
        "n_units": 11,
        "drawn": "11 sentences (fewer than 20 speakers are known, and sentences repeat)",
        "draws": 1000,
        "level": 0.95,
    }
    assert content["seen_in_training"] == dict.fromkeys(OVERLAP_KINDS)
    assert content["decoding"]["precision"] == "float32"
    assert 0 < content["lowest_reachable_cer"] < 1  # the tiny base cannot write . , ? !
    json.dumps(content)


def test_the_rates_are_those_of_the_corpus_and_not_means_of_clips(evaluation):
    pairs = zip(evaluation.utterances, evaluation.hypotheses, strict=True)
    counts = [utterance_counts(u.text, h.text)["cer"] for u, h in pairs]
    wanted = sum(count.errors for count in counts) / sum(count.reference_length for count in counts)
    assert evaluation.summary["scores"]["cer"]["rate"] == pytest.approx(wanted, abs=1e-6)


def test_each_clip_result_can_be_read_by_any_scorer(evaluation, tmp_path):
    rows = evaluation.rows(tmp_path)
    assert [row["id"] for row in rows] == [utterance.id for utterance in evaluation.utterances]
    assert all(
        {"id", "audio_filepath", "duration", "text", "pred_text"} <= set(row) for row in rows
    )


def test_rows_hold_the_letters_of_both_texts(evaluation, tmp_path):
    for row in evaluation.rows(tmp_path):
        assert set(row["letters"]) == {"reference", "hypothesis"}
        for name, key in (("reference", "text"), ("hypothesis", "pred_text")):
            letters = "".join(letter[0] for letter in row["letters"][name])
            assert letters == row[key].replace(" ", "")


def test_scores_without_the_sentences_of_training_stand_beside(scored):
    pairs = [("가나", "가나"), ("다라", "다"), ("마바", "마바")]
    seen = {"id": [], "audio": [], "sentence": [1], "speaker": [0, 1]}
    parts = scored(pairs, seen=seen).summary["without_seen"]
    assert {
        kind: (part["n_clips"], part["scores"]["cer"]["rate"]) for kind, part in parts.items()
    } == {
        "sentence": (2, 0.0),
        "speaker": (1, 0.0),
    }
    nothing_left = {"id": [], "audio": [], "sentence": [0, 1, 2], "speaker": None}
    assert scored(pairs, seen=nothing_left).summary["without_seen"] == {}


def test_slices_hold_every_clip_once_and_keys_that_nobody_knows_are_left_out():
    clips = [
        Utterance(
            f"c{n}", "/c", duration, "가", first_language=language, topik_level=None, task="read"
        )
        for n, (duration, language) in enumerate(
            [(30.0, "영어"), (3.0, None), (1.0, "영어"), (0.0, "일본어")]
        )
    ]
    found = slices(clips, "foreign")
    assert list(found) == ["first_language", "task", "duration"]
    assert found["first_language"] == {"unknown": [1], "영어": [0, 2], "일본어": [3]}
    assert list(found["duration"]) == ["0-2 s", "2-4 s", "over 20 s", "unknown"]
    for parts in found.values():
        assert sorted(index for indices in parts.values() for index in indices) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("corpora", "parts"),
    [
        ("AAA", None),
        ((None, None, None), None),
        ("ABA", {"A": [0, 2], "B": [1]}),
        (("A", None, "A"), {"A": [0, 2], "unknown": [1]}),
    ],
)
def test_corpora_are_slices_where_the_clips_come_from_more_than_one(corpora, parts):
    clips = [Utterance(f"c{n}", "/c", 1.0, "가", corpus=corpus) for n, corpus in enumerate(corpora)]
    for language in ("korean", "foreign"):
        assert slices(clips, language).get("corpus") == parts


def test_a_slice_may_have_any_name_and_unknown_is_one_of_them():
    # Undecodable bytes become a lone surrogate, which no Arrow string can hold.
    values = ["\udcc7", "unknown", None, "", "1", "nan"]
    clips = [Utterance(f"c{n}", "/c", 0.0, "가", gender=value) for n, value in enumerate(values)]
    found = slices(clips, "korean")["gender"]
    assert found == {"1": [4], "nan": [5], "unknown": [1, 2, 3], "\udcc7": [0]}
    assert list(found) == sorted(found)


def test_rows_hold_flat_counts_that_add_up_to_the_rates(evaluation, tmp_path):
    rows, scores = evaluation.rows(tmp_path), evaluation.summary["scores"]
    for name in ("cer", "wer"):
        errors = [row[f"{name}_errors"] for row in rows]
        lengths = [row[f"{name}_reference_length"] for row in rows]
        assert all(type(n) is int for n in errors + lengths)
        assert sum(errors) / sum(lengths) == pytest.approx(scores[name]["rate"], abs=1e-6)


def test_a_slice_of_few_clips_is_marked(scored):
    pairs = [("가", "가")] * (SMALL_SLICE - 1)
    assert scored(pairs).summary["groups"]["duration"]["0-2 s"]["small"]
    assert not scored([*pairs, ("가", "가")]).summary["groups"]["duration"]["0-2 s"]["small"]


def test_groups_add_up_to_the_whole(scored):
    pairs = [("가나다", "가나"), ("라마", "라바"), ("사", "사")]
    values = {"first_language": ["영어", "영어", "일본어"], "gender": ["F", None, "M"]}
    evaluation = scored(pairs, "foreign", clips=values)
    for key in ("first_language", "gender", "duration"):
        parts = evaluation.summary["groups"][key].values()
        assert sum(part["n_clips"] for part in parts) == 3
        assert sum(part["scores"]["cer"]["reference_length"] for part in parts) == 6


def test_speakers_are_resampled_where_twenty_are_known(scored):
    pairs = [("가나", "가다")] * 40
    content = scored(pairs, clips={"speaker": [f"s{n % 20}" for n in range(40)]}).summary
    assert content["intervals"]["resampled"] == "speakers" and content["intervals"]["n_units"] == 20
    assert content["intervals"]["drawn"] == "20 speakers"


LONG = "가나 다라." + " 가나 다라." * 3_999  # 27,999 characters


@pytest.mark.parametrize("corpus", ["korean", "foreign"])
@pytest.mark.parametrize(("reference", "hypothesis"), [(LONG, "가나"), ("가나 다.", LONG)])
def test_a_clip_that_is_too_long_counts_as_all_deletions_everywhere(
    scored, tmp_path, corpus, reference, hypothesis
):
    clips = {"first_language": ["영어", "영어"]}
    evaluation = scored([(reference, hypothesis), ("가나", "가다")], corpus, clips=clips)
    unread = scored([(reference, ""), ("가나", "가다")], corpus, clips=clips)
    assert evaluation.summary["n_not_scored"] == 1 and evaluation.summary["n_unreadable"] == 0
    assert evaluation.summary["problems"] == {NOT_SCORED: 1}
    for key in ("scores", "groups", "confusions"):
        assert evaluation.summary[key] == unread.summary[key], key
    assert evaluation.clip_counts() == unread.clip_counts()
    row, other = evaluation.rows(tmp_path)
    assert (row["problem"], row["pred_text"], row["cer"]) == (NOT_SCORED, hypothesis, 1.0)
    assert row["cer_errors"] == row["cer_reference_length"] == len(reference)
    assert "problem" not in other


def test_a_clip_of_20_000_characters_is_scored():
    longest = "가" * 20_000
    assert scored_text(longest, longest) == longest
    assert scored_text(longest + "가", longest) == scored_text(longest, longest + "가") == ""


def test_a_mark_of_another_limit_is_not_kept_where_the_clip_is_scored(scored):
    evaluation = scored([("가나", "가나")])
    marked = [dataclasses.replace(evaluation.hypotheses[0], problem=NOT_SCORED)]
    assert dataclasses.replace(evaluation, hypotheses=marked).summary["problems"] == {}


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("저는 un/ 음/ 매운 음식이 좋아요 sn/", "저는 음 매운 음식이 좋아요"),
        ("버스를 타+ 타고", "버스를 타 타고"),
        ("(NO:) 네 (FP:어) 맞아요 @웃음", "네 어 맞아요"),
        # What is no tag is text, and stays on both sides.
        ("이미 깨끗한 말.", "이미 깨끗한 말."),
        ("10~20 개", "10~20 개"),
        ("온도는 3℃ 이다", "온도는 3℃ 이다"),
        ("B: 안녕하세요 A: 네", "B: 안녕하세요 A: 네"),
        ("(닫히지 않은 괄호 #", "(닫히지 않은 괄호 #"),
    ],
)
def test_tags_of_a_learners_label_count_in_the_raw_scores_alone(scored, label, text):
    assert without_tags(label) == text
    evaluation = scored([(label, text), (label, label)], "foreign")
    for counts in evaluation.per_utterance:
        assert counts["cer_no_space"].errors == counts["jamo"].errors == counts["swer"].errors == 0
    assert evaluation.per_utterance[0]["cer"] == utterance_counts(label, text)["cer"]
    assert not any(evaluation.summary["confusions"]["all"].values())


def test_a_native_label_is_scored_as_it_stands(scored):
    assert scored([("음/ 네", "음 네")]).per_utterance[0]["cer"].errors == 1


def test_confidence_is_compared_with_how_often_a_character_is_right():
    # Ten characters each: nine right at 0.9, five right at 0.5.
    edits = [EditCounts(1, 0, 0, 10), EditCounts(5, 0, 0, 10)]
    found = calibration([0.9, 0.5], edits)
    assert found["bins"] == [
        {"confidence": 0.5, "accuracy": 0.5, "n_clips": 1, "n_characters": 10},
        {"confidence": 0.9, "accuracy": 0.9, "n_clips": 1, "n_characters": 10},
    ]
    assert found["error"] == 0.0
    assert calibration([1.0, 1.0], edits)["error"] == pytest.approx(0.3)
    assert calibration([None, None], edits) is None
    # Two of four characters are missing; both that are written are right.
    assert calibration([1.0], [EditCounts(0, 2, 0, 4)])["bins"] == [
        {"confidence": 1.0, "accuracy": 1.0, "n_clips": 1, "n_characters": 2}
    ]


def test_many_clips_fall_into_ten_bins_that_hold_them_all():
    confidences = np.random.default_rng(0).uniform(0, 1, 57).tolist()
    bins = calibration(confidences, [EditCounts(1, 0, 0, 2)] * 57)["bins"]
    assert len(bins) == 10
    assert sum(row["n_clips"] for row in bins) == 57
    assert bins == sorted(bins, key=lambda row: row["confidence"])


def test_clips_that_repeat_are_noted_and_count_as_often(scored, printed):
    values = {"audio_filepath": ["/a.wav", "/b.wav"] * 2, "id": ["a", "b"] * 2}
    doubled = scored([("가나", "가나"), ("다라", "다")] * 2, clips=values)
    note = "2 clips are in the manifest more than once; each counts as often. · 발화 2개가"
    assert [note in told for told in doubled.summary["notes"]] == [True]
    assert f"Note: {note}" in printed(doubled) and doubled.summary["n_clips"] == 4
    assert doubled.totals["cer"].errors == 2
    again = dataclasses.replace(doubled, notes=tuple(doubled.summary["notes"]))
    assert again.summary["notes"] == doubled.summary["notes"]


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        # Corpora number their clips alike, and a file may be cut into clips of other ids.
        ({"audio_filepath": ["/a.wav", "/b.wav"], "id": ["a", "a"]}, False),
        ({"audio_filepath": ["/a.wav"] * 2, "offset": [0.0, 1.0]}, False),
        ({"audio_filepath": ["/a.wav"] * 2, "offset": [1.0, 1.0], "duration": [1.0, 2.0]}, False),
        ({"audio_filepath": ["/a.wav"] * 2, "offset": [1.0, 1.0]}, True),
        ({"audio_filepath": ["/a.wav"] * 2}, True),
        # Of another system.
        ({"audio_filepath": [""] * 2}, False),
        ({"audio_filepath": [""] * 2, "id": ["a", "a"]}, True),
        ({"audio_filepath": [""] * 2, "id": ["a", "a"], "text": ["가", "나"]}, False),
    ],
)
def test_a_clip_repeats_by_its_audio_and_cut_or_by_id_and_text(scored, values, noted):
    found = scored([("가", "가")] * 2, clips=values).summary["notes"]
    assert found == [] or noted
    if noted:
        assert found[0].startswith("1 clip is in the manifest more than once")
