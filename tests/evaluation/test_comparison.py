"""Two models on the same clips, and one model on Korean and on foreign speakers."""

import dataclasses
import json

import pytest

from korean_asr.errors import DataError
from korean_asr.evaluation.command_line import refuse_different_clips
from korean_asr.evaluation.comparison import differences, gap
from korean_asr.evaluation.natives import natives_of

WEIGHTS = {"weights_sha256": "w"}
TEXTS = ["가나다라마", "바사아자차", "카타파하", "가나 다라", "마바사아"] * 8


def gap_to_korean(foreign, folders):
    natives = natives_of(foreign, folders)
    return gap(foreign, natives) if natives else None


def test_a_model_that_is_better_everywhere_is_better_and_by_how_much(scored):
    good = scored([(text, text) for text in TEXTS], model="good")
    bad = scored([(text, text[:-1] + "⁇") for text in TEXTS], model="bad")
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


def test_two_models_that_err_as_often_in_other_clips_are_too_close_to_call(scored):
    one = scored([(t, t[:-1] if n % 2 else t) for n, t in enumerate(TEXTS)])
    two = scored([(t, t if n % 2 else t[:-1]) for n, t in enumerate(TEXTS)])
    assert not differences(one, two)["cer"]["decided"]


def test_a_model_against_itself_differs_by_exactly_nothing(scored):
    one = scored([(t, t[1:]) for t in TEXTS])
    assert differences(one, scored([(t, t[1:]) for t in TEXTS]))["cer"] == {
        "lower_by": 0.0,
        "interval": [0.0, 0.0],
        "decided": False,
    }


def test_models_on_other_clips_cannot_be_compared(scored):
    with pytest.raises(DataError, match="not scored on the same clips"):
        refuse_different_clips([scored([("가", "가")]), scored([("나", "가")])])


def test_the_gap_to_native_speech_is_that_of_the_same_weights(scored, write_results, tmp_path):
    native = scored([(text, text[:-1] + "힣") for text in TEXTS], facts=WEIGHTS)
    learners = scored(
        [(text, "힣힣" + text[2:]) for text in TEXTS], corpus="foreign", facts=WEIGHTS
    )
    assert gap_to_korean(learners, [tmp_path]) is None
    write_results([native], tmp_path)
    found = gap_to_korean(learners, [tmp_path / "nowhere", tmp_path])
    assert found["korean"] == {
        "manifest": "m.jsonl",
        "n_clips": 40,
        "drawn": "5 sentences (fewer than 20 speakers are known, and sentences repeat)",
    }
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
def test_native_results_of_another_rule_or_of_training_clips_give_no_gap(
    scored, write_results, tmp_path, change
):
    write_results([scored([(text, text) for text in TEXTS], facts=WEIGHTS)], tmp_path)
    path = tmp_path / "korean.json"
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8"
    )
    learners = scored([(text, text) for text in TEXTS], corpus="foreign", facts=WEIGHTS)
    assert gap_to_korean(learners, [tmp_path]) is None


def test_native_results_of_two_runs_give_no_gap(scored, write_results, tmp_path):
    write_results([scored([(text, text) for text in TEXTS], facts=WEIGHTS)], tmp_path)
    lines = (tmp_path / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "korean.jsonl").write_text(
        "\n".join(lines[1:]), encoding="utf-8"
    )  # of an earlier run, say
    assert (
        gap_to_korean(scored([(t, t) for t in TEXTS], corpus="foreign", facts=WEIGHTS), [tmp_path])
        is None
    )


def test_the_gaps_two_samples_are_drawn_apart(scored, write_results, tmp_path):
    """One text for both: paired draws would give a gap of exactly nothing each time."""
    pairs = [(t, t if n % 2 else t[:-1] + "힣") for n, t in enumerate(TEXTS)]
    write_results([scored(pairs, facts=WEIGHTS)], tmp_path)
    gap = gap_to_korean(scored(pairs, corpus="foreign", facts=WEIGHTS), [tmp_path])["scores"][
        "cer_no_space"
    ]
    assert gap["difference"] == 0.0 and gap["interval"][0] < 0 < gap["interval"][1]


@pytest.fixture
def with_values():
    """A function that gives each clip of an evaluation a value of its own."""

    def changed(evaluation, **lists):
        clips = [
            dataclasses.replace(clip, **{key: values[n] for key, values in lists.items()})
            for n, clip in enumerate(evaluation.utterances)
        ]
        return dataclasses.replace(evaluation, utterances=clips)

    return changed


def test_a_file_that_knows_no_speakers_meets_the_draws_of_one_that_does(with_values, scored):
    texts, speakers = TEXTS * 2, [f"s{n % 25}" for n in range(80)]
    ours = scored([(t, t if n % 3 else t[:-1] + "힣") for n, t in enumerate(texts)], model="ours")
    theirs = scored(
        [(t, t if n % 5 else t[:-1] + "힣") for n, t in enumerate(texts)], model="theirs"
    )
    knows = with_values(ours, speaker=speakers)
    both = differences(knows, with_values(theirs, speaker=speakers))
    assert differences(knows, theirs) == both
    other_way = differences(theirs, knows)["cer"]
    assert other_way["lower_by"] == -both["cer"]["lower_by"]
    assert other_way["interval"] == pytest.approx(
        [-bound for bound in both["cer"]["interval"][::-1]], abs=1e-6
    )


def test_clips_of_other_ids_are_other_clips_though_their_texts_are_equal(with_values, scored):
    one = scored([(t, t) for t in TEXTS])
    with pytest.raises(DataError, match="not scored on the same clips"):
        refuse_different_clips([one, with_values(one, id=[f"z{n}" for n in range(40)])])
    without_ids = with_values(one, id=[str(n + 1) for n in range(40)])
    refuse_different_clips([one, without_ids])
    assert differences(one, without_ids)["cer"]["lower_by"] == 0.0
