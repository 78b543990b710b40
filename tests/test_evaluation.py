import dataclasses
import json

import pytest

from korean_asr.errors import DataError
from korean_asr.evaluation import (
    default_manifest,
    evaluate,
    recipe_of,
    result_rows,
    results_folder,
    seen_in_training,
    spread_sample,
    summary,
)
from korean_asr.manifest import Utterance, write_manifest
from korean_asr.report import html_report, printed_comparison, printed_report, write_results


@pytest.fixture
def evaluation(tiny_base, utterances, tmp_path):
    return evaluate([str(tiny_base)], tmp_path / "clips.jsonl", utterances, "korean")[0]


def test_the_summary_holds_what_readers_of_korean_json_rely_on(evaluation, utterances):
    content = summary(evaluation)
    assert content["rule"] == "ko-1"
    assert content["corpus"] == "korean"
    assert content["model"] == "tiny_base"
    assert (content["n_clips"], content["n_unreadable"]) == (12, 0)
    assert content["duration"] == pytest.approx(sum(utterance.duration for utterance in utterances), abs=1e-3)
    assert set(content["scores"]) == {"cer", "wer", "cer_no_punctuation", "wer_no_punctuation", "cer_no_space"}
    cer = content["scores"]["cer"]
    assert cer["reference_length"] == sum(len(utterance.text) for utterance in utterances)
    errors = cer["substitutions"] + cer["deletions"] + cer["insertions"]
    assert cer["rate"] == pytest.approx(errors / cer["reference_length"], abs=1e-6)
    json.dumps(content)


def test_an_unreadable_clip_stays_in_the_denominator_as_deletions(tiny_base, utterances, tmp_path):
    clips = [*utterances, Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가나 다.")]
    with_it = evaluate([str(tiny_base)], tmp_path / "x.jsonl", clips, "korean")[0]
    without = evaluate([str(tiny_base)], tmp_path / "x.jsonl", utterances, "korean")[0]
    assert with_it.n_unreadable == 1
    assert with_it.totals["cer"].reference_length == without.totals["cer"].reference_length + 5
    assert with_it.totals["cer"].deletions == without.totals["cer"].deletions + 5
    row = result_rows(with_it, tmp_path)[-1]
    assert (row["pred_text"], row["problem"]) == ("", "audio missing")


def test_each_clip_result_can_be_read_by_any_scorer(evaluation, tmp_path):
    rows = result_rows(evaluation, tmp_path)
    assert [row["id"] for row in rows] == [utterance.id for utterance in evaluation.utterances]
    assert all({"id", "audio_filepath", "duration", "text", "pred_text"} <= set(row) for row in rows)


@pytest.fixture
def model_with_split(tmp_path, utterances):
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", utterances[:8])
    write_manifest(tmp_path / "model" / "split" / "test.jsonl", utterances[8:])
    return str(tmp_path / "model")


def test_a_clip_of_the_training_split_is_refused_by_id(model_with_split, utterances):
    with pytest.raises(DataError, match=r"1 of 5 clips .*clip_07"):
        seen_in_training(model_with_split, utterances[7:])


def test_a_repeated_sentence_is_counted_and_a_speaker_only_where_known(model_with_split, utterances):
    said_again = dataclasses.replace(utterances[0], id="other", text="가나다라")  # the same but for space and mark
    assert seen_in_training(model_with_split, [*utterances[8:], said_again]) == {
        "id": 0, "audio": None, "sentence": 1, "speaker": None,
    }  # fmt: skip


def test_a_model_without_a_split_has_seen_nobody_knows_what(tiny_base, utterances):
    assert seen_in_training(str(tiny_base), utterances) == dict.fromkeys(("id", "audio", "sentence", "speaker"))


def test_the_first_model_with_a_split_gives_manifest_and_results_folder(model_with_split, tiny_base, tmp_path):
    sources = [str(tiny_base), model_with_split]
    assert default_manifest(sources) == tmp_path / "model" / "split" / "test.jsonl"
    assert results_folder(sources) == tmp_path / "model" / "results"


def test_without_any_split_the_manifest_must_be_given(tiny_base):
    with pytest.raises(DataError, match="--manifest"):
        default_manifest([str(tiny_base)])


def _learners(languages):
    return [
        Utterance(
            f"{language}-{speaker}-{n:03}", "/x.wav", 1.0, "가", speaker=f"{language}{speaker}", first_language=language
        )
        for language, speakers in languages.items()
        for speaker, n_clips in enumerate(speakers)
        for n in range(n_clips)
    ]


def test_a_sample_is_spread_over_first_languages_then_speakers():
    clips = _learners({"영어": [50, 50], "일본어": [30], "중국어": [2]})
    drawn = spread_sample(clips, 22)
    by_language = {name: [u for u in drawn if u.first_language == name] for name in ("영어", "일본어", "중국어")}
    assert {name: len(part) for name, part in by_language.items()} == {"영어": 10, "일본어": 10, "중국어": 2}
    assert [sum(u.speaker == s for u in drawn) for s in ("영어0", "영어1")] == [5, 5]


def test_a_sample_does_not_depend_on_the_order_of_the_manifest_and_repeats_no_clip():
    clips = _learners({"영어": [9, 4], "일본어": [7]})
    assert spread_sample(clips, 10) == spread_sample(clips[::-1], 10)
    assert spread_sample(clips, 99) == sorted(clips, key=lambda clip: clip.id)


def test_foreign_scores_are_grouped_by_first_language(tiny_base, utterances, tmp_path):
    clips = [dataclasses.replace(u, first_language="베트남어" if i % 3 else None) for i, u in enumerate(utterances)]
    content = summary(evaluate([str(tiny_base)], tmp_path / "x.jsonl", clips, "foreign")[0])
    groups = content["groups"]["first_language"]
    assert {name: part["n_clips"] for name, part in groups.items()} == {"unknown": 4, "베트남어": 8}
    total = sum(part["scores"]["cer"]["reference_length"] for part in groups.values())
    assert total == content["scores"]["cer"]["reference_length"]


def test_headline_rates_stand_alone_on_their_lines(evaluation):
    lines = printed_report(evaluation).splitlines()
    totals = evaluation.totals
    assert f"CER: {totals['cer'].rate:.4f}" in lines
    assert f"WER: {totals['wer'].rate:.4f}" in lines


def test_the_ten_worst_clips_are_shown_with_reference_and_hypothesis(evaluation):
    report = printed_report(evaluation)
    worst = evaluation.worst()
    assert len(worst) == 10
    rates = [evaluation.per_utterance[place]["cer"].rate for place in worst]
    assert rates == sorted(rates, reverse=True)
    for place in worst:
        assert f"reference   {evaluation.utterances[place].text}" in report
        assert f"hypothesis  {evaluation.hypotheses[place].text}" in report


def test_two_models_are_printed_side_by_side(tiny_base, utterances, tmp_path):
    both = evaluate([str(tiny_base), str(tiny_base)], tmp_path / "x.jsonl", utterances[:2], "korean")
    line = next(line for line in printed_comparison(both).splitlines() if line.startswith("CER "))
    assert line.split()[1:] == [f"{both[0].totals['cer'].rate:.4f}"] * 2


def test_results_of_two_models_of_one_name_do_not_overwrite_each_other(tiny_base, utterances, tmp_path):
    three = evaluate([str(tiny_base)] * 3, tmp_path / "x.jsonl", utterances[:2], "korean")
    written = write_results(three, tmp_path / "results")
    assert len(set(written)) == 9
    assert {path.name for path in (tmp_path / "results").iterdir()} == {path.name for path in written}
    assert {"korean.json", "korean.jsonl", "korean.html", "korean.tiny_base.json"} <= {path.name for path in written}


def test_text_in_the_page_is_escaped(evaluation):
    hostile = dataclasses.replace(evaluation.utterances[0], text="<script>alert(1)</script>")
    page = html_report(dataclasses.replace(evaluation, utterances=[hostile, *evaluation.utterances[1:]]))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_recipe_of_a_model_is_read_from_its_experiment(tmp_path):
    (tmp_path / "experiment.json").write_text('{"recipe": {"name": "demo"}}')
    assert recipe_of(str(tmp_path)) == "demo"
    assert recipe_of(str(tmp_path / "none")) is None
