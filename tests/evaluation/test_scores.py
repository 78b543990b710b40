import dataclasses
import json

import numpy as np
import pytest

from korean_asr.audio import sound_checksum
from korean_asr.decoding import Hypothesis
from korean_asr.errors import DataError
from korean_asr.evaluation.report import printed_report
from korean_asr.evaluation.scores import (
    SMALL_SLICE,
    Evaluation,
    calibration,
    duration_bin,
    evaluate,
    slices,
    spread_sample,
)
from korean_asr.manifest import Utterance, write_manifest
from korean_asr.metrics import utterance_counts
from korean_asr.overlap import Seen
from korean_asr.transcripts import without_tags

UNKNOWN = dict.fromkeys(("id", "audio", "sentence", "speaker"))


def scored(pairs, corpus="korean", seen=None, confidences=None, **facts):
    """An evaluation of (reference, hypothesis) pairs, without any model."""
    confidences = confidences or [None] * len(pairs)
    return Evaluation(
        corpus=corpus,
        model="m",
        manifest="m.jsonl",
        utterances=[
            Utterance(f"c{n}", f"/c{n}.wav", 1.0, text, **facts)
            for n, (text, _) in enumerate(pairs)
        ],
        hypotheses=[
            Hypothesis(text, None, sure) for (_, text), sure in zip(pairs, confidences, strict=True)
        ],
        seen=seen or Seen(UNKNOWN, len(pairs)),
        facts={},
    )


@pytest.fixture
def evaluation(tiny_base, utterances, tmp_path):
    return evaluate([str(tiny_base)], tmp_path / "clips.jsonl", utterances, "korean")[0]


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
        "cer", "wer", "cer_no_punctuation", "wer_no_punctuation", "cer_no_space", "swer", "spacing", "punctuation", "jamo",
    }  # fmt: skip
    cer = content["scores"]["cer"]
    assert cer["reference_length"] == sum(len(utterance.text) for utterance in utterances)
    errors = cer["substitutions"] + cer["deletions"] + cer["insertions"]
    assert cer["rate"] == pytest.approx(errors / cer["reference_length"], abs=1e-6)
    assert cer["interval"][0] <= cer["rate"] <= cer["interval"][1]
    assert set(content["scores"]["punctuation"]) == set(".,?!")
    assert {"onset", "nucleus", "coda", "rate", "interval"} <= set(content["scores"]["jamo"])
    assert content["intervals"] == {
        "resampled": "clips",
        "n_units": 12,
        "draws": 1000,
        "level": 0.95,
    }
    assert content["seen_in_training"] == UNKNOWN
    assert content["decoding"]["precision"] == "float32"
    assert 0 < content["lowest_reachable_cer"] < 1  # the tiny base cannot write . , ? !
    json.dumps(content)


def test_the_rates_are_those_of_the_corpus_and_not_means_of_clips(evaluation):
    pairs = zip(evaluation.utterances, evaluation.hypotheses, strict=True)
    counts = [utterance_counts(u.text, h.text)["cer"] for u, h in pairs]
    wanted = sum(count.errors for count in counts) / sum(count.reference_length for count in counts)
    assert evaluation.summary["scores"]["cer"]["rate"] == pytest.approx(wanted, abs=1e-6)


def test_an_unreadable_clip_stays_in_the_denominator_as_deletions(tiny_base, utterances, tmp_path):
    clips = [*utterances, Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가나 다.")]
    with_it = evaluate([str(tiny_base)], tmp_path / "x.jsonl", clips, "korean")[0]
    without = evaluate([str(tiny_base)], tmp_path / "x.jsonl", utterances, "korean")[0]
    assert with_it.n_unreadable == 1
    assert with_it.summary["problems"] == {"audio missing": 1}
    assert with_it.totals["cer"].reference_length == without.totals["cer"].reference_length + 5
    assert with_it.totals["cer"].deletions == without.totals["cer"].deletions + 5
    row = with_it.rows(tmp_path)[-1]
    assert (row["pred_text"], row["problem"]) == ("", "audio missing")


def test_each_clip_result_can_be_read_by_any_scorer(evaluation, tmp_path):
    rows = evaluation.rows(tmp_path)
    assert [row["id"] for row in rows] == [utterance.id for utterance in evaluation.utterances]
    assert all(
        {"id", "audio_filepath", "duration", "text", "pred_text"} <= set(row) for row in rows
    )


@pytest.fixture
def model_with_split(tmp_path, utterances, tiny_base):
    import shutil

    shutil.copytree(tiny_base, tmp_path / "model")
    trained = [
        dataclasses.replace(clip, audio_sha256=sound_checksum(clip.audio_filepath))
        for clip in utterances[:8]
    ]
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", trained)
    return str(tmp_path / "model")


def test_clips_of_the_training_data_are_refused_unless_allowed_and_then_warned_of(
    model_with_split, utterances, tmp_path
):
    arguments = [model_with_split], tmp_path / "x.jsonl", utterances[6:], "korean"
    with pytest.raises(DataError, match="2 of 6 clips are in the training data"):
        evaluate(*arguments)
    allowed = evaluate(*arguments, allow_overlap=True)[0]
    assert allowed.warning == "2 of 6 clips are in the training data of model (2 by id, 2 by audio)"
    assert allowed.summary["warning"] == allowed.warning
    assert allowed.summary["seen_in_training"] == {
        "id": 2,
        "audio": 2,
        "sentence": 2,
        "speaker": None,
    }


def test_scores_without_the_sentences_of_training_stand_beside():
    pairs = [("가나", "가나"), ("다라", "다"), ("마바", "마바")]
    seen = Seen({"id": [], "audio": [], "sentence": [1], "speaker": [0, 1]}, 3)
    parts = scored(pairs, seen=seen).summary["without_seen"]
    assert {kind: (part["n_clips"], part["scores"]["cer"]["rate"]) for kind, part in parts.items()} == {
        "sentence": (2, 0.0), "speaker": (1, 0.0),
    }  # fmt: skip
    nothing_left = Seen({"id": [], "audio": [], "sentence": [0, 1, 2], "speaker": None}, 3)
    assert scored(pairs, seen=nothing_left).summary["without_seen"] == {}


def _learners(languages):
    return [
        Utterance(
            f"{language}-{speaker}-{n:03}",
            "/x.wav",
            1.0,
            "가",
            speaker=f"{language}{speaker}",
            first_language=language,
        )
        for language, speakers in languages.items()
        for speaker, n_clips in enumerate(speakers)
        for n in range(n_clips)
    ]


def test_a_sample_is_spread_over_first_languages_then_speakers():
    clips = _learners({"영어": [50, 50], "일본어": [30], "중국어": [2]})
    drawn = spread_sample(clips, 22)
    by_language = {
        name: [u for u in drawn if u.first_language == name]
        for name in ("영어", "일본어", "중국어")
    }
    assert {name: len(part) for name, part in by_language.items()} == {
        "영어": 10,
        "일본어": 10,
        "중국어": 2,
    }
    assert [sum(u.speaker == s for u in drawn) for s in ("영어0", "영어1")] == [5, 5]


def test_a_sample_does_not_depend_on_the_order_of_the_manifest_and_repeats_no_clip():
    clips = _learners({"영어": [9, 4], "일본어": [7]})
    assert spread_sample(clips, 10) == spread_sample(clips[::-1], 10)
    assert spread_sample(clips, 99) == sorted(clips, key=lambda clip: clip.id)


@pytest.mark.parametrize(
    ("duration", "name"),
    [(0.0, None), (0.1, "0-2 s"), (2.0, "2-4 s"), (19.9, "15-20 s"), (20.0, "over 20 s")],
)
def test_a_duration_falls_into_its_slice(duration, name):
    assert duration_bin(Utterance("a", "/a", duration, "가")) == name


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
        assert sorted(place for places in parts.values() for place in places) == [0, 1, 2, 3]


def test_a_slice_of_few_clips_is_marked():
    pairs = [("가", "가")] * (SMALL_SLICE - 1)
    assert scored(pairs).summary["groups"]["duration"]["0-2 s"]["small"]
    assert not scored([*pairs, ("가", "가")]).summary["groups"]["duration"]["0-2 s"]["small"]


def test_groups_add_up_to_the_whole():
    pairs = [("가나다", "가나"), ("라마", "라바"), ("사", "사")]
    evaluation = scored(pairs, "foreign", first_language="영어", gender="F")
    for key in ("first_language", "gender", "duration"):
        parts = evaluation.summary["groups"][key].values()
        assert sum(part["n_clips"] for part in parts) == 3
        assert sum(part["scores"]["cer"]["reference_length"] for part in parts) == 6


def test_speakers_are_resampled_where_twenty_are_known():
    pairs = [("가나", "가다")] * 40
    evaluation = scored(pairs)
    speakers = [
        dataclasses.replace(u, speaker=f"s{n % 20}") for n, u in enumerate(evaluation.utterances)
    ]
    content = dataclasses.replace(evaluation, utterances=speakers).summary
    assert content["intervals"]["resampled"] == "speakers" and content["intervals"]["n_units"] == 20


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
def test_tags_of_a_learners_label_count_in_the_raw_scores_alone(label, text):
    assert without_tags(label) == text
    evaluation = scored([(label, text), (label, label)], "foreign")
    for counts in evaluation.per_utterance:
        assert counts["cer_no_space"].errors == counts["jamo"].errors == counts["swer"].errors == 0
    assert evaluation.per_utterance[0]["cer"] == utterance_counts(label, text)["cer"]
    assert not any(evaluation.summary["confusions"]["all"].values())


def test_a_native_label_is_scored_as_it_stands():
    assert scored([("음/ 네", "음 네")]).per_utterance[0]["cer"].errors == 1


def test_confidence_is_compared_with_how_often_a_character_is_right():
    # Ten characters each: nine right at 0.9, five right at 0.5.
    pairs = [
        ("가나다라마바사아자차", "가나다라마바사아자하"),
        ("가나다라마바사아자차", "가나다라마하하하하하"),
    ]
    found = calibration(scored(pairs, confidences=[0.9, 0.5]))
    assert found["bins"] == [
        {"confidence": 0.5, "accuracy": 0.5, "n_clips": 1, "n_characters": 10},
        {"confidence": 0.9, "accuracy": 0.9, "n_clips": 1, "n_characters": 10},
    ]
    assert found["error"] == 0.0
    too_sure = calibration(scored(pairs, confidences=[1.0, 1.0]))
    assert too_sure["error"] == pytest.approx(0.3)
    assert calibration(scored(pairs)) is None
    left_out = calibration(
        scored([("가나다라", "가나")], confidences=[1.0])
    )  # what is written is right
    assert left_out["bins"] == [
        {"confidence": 1.0, "accuracy": 1.0, "n_clips": 1, "n_characters": 2}
    ]


def test_many_clips_fall_into_ten_bins_that_hold_them_all():
    rng = np.random.default_rng(0)
    found = calibration(scored([("가나", "가다")] * 57, confidences=rng.uniform(0, 1, 57).tolist()))
    assert len(found["bins"]) == 10
    assert sum(row["n_clips"] for row in found["bins"]) == 57
    assert [row["confidence"] for row in found["bins"]] == sorted(
        row["confidence"] for row in found["bins"]
    )


def test_a_clip_of_nan_of_silence_and_of_399_samples_are_in_the_report(
    tiny_base, utterances, tmp_path
):
    import soundfile

    content = {
        "nan": np.full(16_000, np.nan, np.float32),
        "short": np.full(399, 0.1, np.float32),
        "silent": np.zeros(16_000, np.float32),
    }
    clips = list(utterances[:3])
    for name, samples in content.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        clips.append(
            Utterance(name, str(tmp_path / f"{name}.wav"), len(samples) / 16_000, "가나 다.")
        )
    evaluation = evaluate([str(tiny_base)], tmp_path / "x.jsonl", clips, "korean")[0]
    problems = {
        u.id: h.problem
        for u, h in zip(evaluation.utterances, evaluation.hypotheses, strict=True)
        if h.problem
    }
    assert problems == {"nan": "audio unreadable", "short": "audio too short"}
    assert evaluation.summary["n_silent"] == 1
    assert [row["id"] for row in evaluation.rows(tmp_path) if row.get("is_silent")] == ["silent"]
    assert "Unreadable: 2  Silent: 1" in printed_report(evaluation)
    assert evaluation.summary["n_clips"] == 6
    assert evaluation.totals["cer"].reference_length == sum(len(clip.text) for clip in clips)
