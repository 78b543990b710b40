import dataclasses
import json

import pytest

from korean_asr.decoding import Hypothesis
from korean_asr.errors import DataError
from korean_asr.evaluation.comparison import differences, gap_to_korean
from korean_asr.evaluation.report import write_results
from korean_asr.evaluation.rescoring import rescored
from korean_asr.evaluation.scores import Evaluation, evaluate
from korean_asr.manifest import Utterance
from korean_asr.overlap import Seen


@pytest.fixture
def evaluation(tiny_base, utterances, tmp_path):
    return evaluate([str(tiny_base)], tmp_path / "clips.jsonl", utterances, "korean")[0]


def test_a_file_of_our_results_gives_all_numbers_again(evaluation, tmp_path):
    write_results([evaluation], tmp_path / "results")
    again = rescored(tmp_path / "results" / "korean.jsonl", "korean").summary
    for key in ("model", "rule", "manifest", "checksums", "n_clips", "duration", "scores", "intervals", "groups", "confusions",
                "lowest_reachable_cer", "decoding", "calibration"):  # fmt: skip
        assert again[key] == evaluation.summary[key], key
    assert again["notes"] == ["scored again from korean.jsonl"]


def test_a_file_of_another_system_needs_two_keys(tmp_path):
    rows = [
        {"text": "밥 먹었어?", "pred_text": "밥 먹었어"},
        {"text": "네.", "pred_text": None, "duration": "1.5"},
    ]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8-sig")
    content = rescored(tmp_path / "theirs.jsonl", "korean").summary
    assert (content["model"], content["n_clips"], content["duration"]) == ("theirs", 2, 1.5)
    assert content["scores"]["cer"]["deletions"] == 3
    assert content["lowest_reachable_cer"] is None and content["decoding"] is None
    assert content["seen_in_training"] == dict.fromkeys(("id", "audio", "sentence", "speaker"))


def test_facts_of_another_manifest_are_not_taken(evaluation, tmp_path):
    write_results([evaluation], tmp_path)
    lines = (tmp_path / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "korean.jsonl").write_text("\n".join(lines[1:]), encoding="utf-8")
    assert rescored(tmp_path / "korean.jsonl", "korean").facts == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no result"),
        (
            '{"text": "가"}',
            r"r.jsonl, line 1: no result. Each line is a JSON object with `text` and `pred_text`",
        ),
        ('{"text": "가", "pred_text": "나"}\n[1]', "line 2: no result"),
        ('{"text": 3, "pred_text": "나"}', "line 1: no result"),
        ('{"text": "가", "pred_text": "나", "duration": "long"}', "line 1: no result"),
        ('{"text": "가", "pred_text": "나", "duration": 1' + "0" * 400 + "}", "line 1: no result"),
        ('{"text": "가", "pred_text": "나", "duration": NaN}', "line 1: no result"),
        ('{"text": "가", "pred_text": "나", "duration": -1}', "line 1: no result"),
        (r'{"text": "가", "pred_text": "나", "audio_filepath": "\ud800.wav"}', "line 1: no result"),
        (b"\xff\xfe", "its bytes are not UTF-8"),
    ],
)
def test_a_file_that_holds_no_results_is_named_with_its_line(tmp_path, content, told):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        rescored(path, "korean")


def test_a_missing_file_of_results_is_named(tmp_path):
    with pytest.raises(DataError, match="gone.jsonl is missing"):
        rescored(tmp_path / "gone.jsonl", "korean")


def scored(pairs, model="m", corpus="korean", weights=None):
    return Evaluation(
        corpus=corpus,
        model=model,
        manifest="m.jsonl",
        utterances=[
            Utterance(f"c{n}", f"/c{n}.wav", 1.0, text) for n, (text, _) in enumerate(pairs)
        ],
        hypotheses=[Hypothesis(text) for _, text in pairs],
        seen=Seen(dict.fromkeys(("id", "audio", "sentence", "speaker")), len(pairs)),
        facts={"weights_sha256": weights},
    )


TEXTS = ["가나다라마", "바사아자차", "카타파하", "가나 다라", "마바사아"] * 8


def test_a_model_that_is_better_everywhere_is_better_and_by_how_much():
    good = scored([(text, text) for text in TEXTS], "good")
    bad = scored([(text, text[:-1] + "⁇") for text in TEXTS], "bad")
    found = differences(bad, good)
    assert set(found) == {
        "cer",
        "wer",
        "cer_no_punctuation",
        "wer_no_punctuation",
        "cer_no_space",
        "swer",
        "jamo",
    }
    cer = found["cer"]
    assert cer["lower_by"] == bad.summary["scores"]["cer"]["rate"] and cer["decided"]
    assert 0 < cer["interval"][0] <= cer["lower_by"] <= cer["interval"][1]
    assert differences(good, bad)["cer"]["lower_by"] == -cer["lower_by"]


def test_two_models_that_err_as_often_in_other_clips_are_too_close_to_call():
    one = scored([(t, t[:-1] if n % 2 else t) for n, t in enumerate(TEXTS)])
    two = scored([(t, t if n % 2 else t[:-1]) for n, t in enumerate(TEXTS)])
    assert not differences(one, two)["cer"]["decided"]


def test_a_model_against_itself_differs_by_exactly_nothing():
    one = scored([(t, t[1:]) for t in TEXTS])
    assert differences(one, scored([(t, t[1:]) for t in TEXTS]))["cer"] == {
        "lower_by": 0.0, "interval": [0.0, 0.0], "decided": False,
    }  # fmt: skip


def test_models_on_other_clips_cannot_be_compared():
    with pytest.raises(DataError, match="not scored on the same clips"):
        differences(scored([("가", "가")]), scored([("나", "가")]))


def test_the_gap_to_native_speech_is_that_of_the_same_weights(tmp_path):
    native = scored([(text, text[:-1] + "힣") for text in TEXTS], weights="w")
    learners = scored([(text, "힣힣" + text[2:]) for text in TEXTS], corpus="foreign", weights="w")
    assert gap_to_korean(learners, [tmp_path]) is None
    write_results([native], tmp_path)
    found = gap_to_korean(learners, [tmp_path / "nowhere", tmp_path])
    assert found["korean"] == {"manifest": "m.jsonl", "n_clips": 40}
    gap = found["scores"]["cer_no_space"]
    assert gap["difference"] == pytest.approx(gap["foreign"] - gap["korean"], abs=2e-6)
    assert gap["interval"][0] < gap["difference"] < gap["interval"][1]
    other = dataclasses.replace(learners, facts={"weights_sha256": "another"})
    assert gap_to_korean(other, [tmp_path]) is None
    unknown = dataclasses.replace(learners, facts={})
    assert gap_to_korean(unknown, [tmp_path]) is None


@pytest.mark.parametrize(
    "change",
    [{"rule": "ko-0"}, {"warning": "2 of 3 clips are in the training data"}, {"corpus": "foreign"}],
)
def test_native_results_of_another_rule_or_of_training_clips_give_no_gap(tmp_path, change):
    write_results([scored([(text, text) for text in TEXTS], weights="w")], tmp_path)
    path = tmp_path / "korean.json"
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8"
    )
    learners = scored([(text, text) for text in TEXTS], corpus="foreign", weights="w")
    assert gap_to_korean(learners, [tmp_path]) is None


def test_native_results_of_two_runs_give_no_gap(tmp_path):
    write_results([scored([(text, text) for text in TEXTS], weights="w")], tmp_path)
    lines = (tmp_path / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "korean.jsonl").write_text(
        "\n".join(lines[1:]), encoding="utf-8"
    )  # of an earlier run, say
    assert (
        gap_to_korean(scored([(t, t) for t in TEXTS], corpus="foreign", weights="w"), [tmp_path])
        is None
    )


def test_the_gaps_two_samples_are_drawn_apart(tmp_path):
    """One text for both: paired draws would give a gap of exactly nothing each time."""
    pairs = [(t, t if n % 2 else t[:-1] + "힣") for n, t in enumerate(TEXTS)]
    write_results([scored(pairs, weights="w")], tmp_path)
    gap = gap_to_korean(scored(pairs, corpus="foreign", weights="w"), [tmp_path])["scores"][
        "cer_no_space"
    ]
    assert gap["difference"] == 0.0 and gap["interval"][0] < 0 < gap["interval"][1]


def with_facts(evaluation, **lists):
    """The same evaluation with a value of its own for each clip."""
    clips = [
        dataclasses.replace(clip, **{key: values[n] for key, values in lists.items()})
        for n, clip in enumerate(evaluation.utterances)
    ]
    return dataclasses.replace(evaluation, utterances=clips)


def test_a_file_that_knows_no_speakers_meets_the_draws_of_one_that_does():
    texts, speakers = TEXTS * 2, [f"s{n % 25}" for n in range(80)]
    ours = scored([(t, t if n % 3 else t[:-1] + "힣") for n, t in enumerate(texts)], "ours")
    theirs = scored([(t, t if n % 5 else t[:-1] + "힣") for n, t in enumerate(texts)], "theirs")
    knows = with_facts(ours, speaker=speakers)
    both = differences(knows, with_facts(theirs, speaker=speakers))
    assert differences(knows, theirs) == both
    other_way = differences(theirs, knows)["cer"]
    assert other_way["lower_by"] == -both["cer"]["lower_by"]
    assert other_way["interval"] == pytest.approx(
        [-bound for bound in both["cer"]["interval"][::-1]], abs=1e-6
    )


def test_clips_of_other_ids_are_other_clips_though_their_texts_are_equal(tmp_path):
    one = scored([(t, t) for t in TEXTS])
    with pytest.raises(DataError, match="not scored on the same clips"):
        differences(one, with_facts(one, id=[f"z{n}" for n in range(40)]))
    without_ids = with_facts(one, id=[str(n + 1) for n in range(40)])
    assert differences(one, without_ids)["cer"]["lower_by"] == 0.0


@pytest.mark.parametrize(
    "values",
    [
        {"problem": ["x"]},
        {"problem": {"x": 1}},
        {"problem": 5},
        {"confidence": float("nan")},
        {"confidence": "sure"},
        {"confidence": 7},
    ],
)
def test_odd_values_of_another_system_stop_nothing(tmp_path, values):
    (tmp_path / "theirs.jsonl").write_text(
        json.dumps({"text": "가", "pred_text": "나", **values}), encoding="utf-8"
    )
    evaluation = rescored(tmp_path / "theirs.jsonl", "korean")
    write_results([evaluation], tmp_path / "out")
    assert evaluation.hypotheses[0].confidence is None
    json.loads(
        (tmp_path / "out" / "korean.json").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )


def test_what_a_run_knew_of_training_is_carried_over_and_audio_is_found_from_elsewhere(
    tiny_base, utterances, tmp_path
):
    seen = Seen({"id": [], "audio": [], "sentence": [1], "speaker": None}, 12)
    first = dataclasses.replace(
        evaluate([str(tiny_base)], tmp_path / "x.jsonl", utterances, "korean", ("a note",))[0],
        seen=seen,
    )
    write_results([first], tmp_path / "results")
    again = rescored(tmp_path / "results" / "korean.jsonl", "korean")
    for key in ("seen_in_training", "without_seen"):
        assert again.summary[key] == first.summary[key], key
    assert again.summary["notes"] == ["a note", "scored again from korean.jsonl"]
    rows = (tmp_path / "results" / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    relative = [
        json.loads(row) | {"audio_filepath": f"../clip_{n:02}.wav"} for n, row in enumerate(rows)
    ]
    (tmp_path / "results" / "korean.jsonl").write_text(
        "\n".join(map(json.dumps, relative)), encoding="utf-8"
    )
    write_results(
        [rescored(tmp_path / "results" / "korean.jsonl", "korean")], tmp_path / "far" / "away"
    )
    assert "../../clip_03.wav" in (tmp_path / "far" / "away" / "korean.html").read_text(
        encoding="utf-8"
    )


def test_a_file_of_training_clips_says_so_though_it_was_moved_alone(
    tiny_base, utterances, tmp_path
):
    seen = Seen({"id": [0, 3], "audio": [], "sentence": [], "speaker": None}, 12)
    first = dataclasses.replace(
        evaluate([str(tiny_base)], tmp_path / "x.jsonl", utterances, "korean")[0], seen=seen
    )
    write_results([first], tmp_path)
    (tmp_path / "korean.jsonl").rename(tmp_path / "moved.jsonl")
    again = rescored(tmp_path / "moved.jsonl", "korean")
    assert again.warning == "2 of 12 clips are in the training data of moved (2 by id)"
    assert again.summary["seen_in_training"]["id"] == 2
