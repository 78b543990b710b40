"""Models of several kinds on the same clips: scores, facts, what is refused."""

import dataclasses
import json
import shutil

import pytest

from korean_asr.errors import DataError, UsageError
from korean_asr.evaluation.command_line import evaluate, reports_of
from korean_asr.evaluation.experiment_table import experiment_table
from korean_asr.evaluation.experiments import experiments_in, experiments_of_models
from korean_asr.evaluation.recognisers import refuse_unusable
from korean_asr.evaluation.rescoring import read_results


@pytest.fixture
def scored_with(plan):
    def scored(*models, **values):
        return evaluate(dataclasses.replace(plan, models=[*map(str, models)], **values))

    return scored


def test_models_of_several_kinds_are_scored_on_the_same_clips(
    scored_with, other_ctc, tiny_base, tiny_whisper, tiny_mms, printed
):
    models = [tiny_whisper, other_ctc("hubert"), tiny_mms, tiny_base]
    made = scored_with(*models, language="kor")
    assert [one.summary["kind"] for one in made] == ["whisper", "hubert", "wav2vec2", "wav2vec2"]
    languages = [one.summary["decoding"].get("language") for one in made]
    assert languages == ["ko", None, "kor", None]
    lines = ["whisper, language ko", "hubert\n", "wav2vec2, language kor"]
    for one, line in zip(made, lines, strict=False):
        assert f"kind of model · 모델 종류: {line}" in printed(one)
    # Reports of our own models are what they were.
    assert "kind of model" not in printed(made[3])
    assert made[0].summary["lowest_reachable_cer"] is None
    assert made[0].summary["calibration"] is None
    assert all(one.summary["lowest_reachable_cer"] > 0 for one in made[1:])
    assert all(hypothesis.letters is None for hypothesis in made[0].hypotheses)
    assert all(hypothesis.letters for one in made[1:] for hypothesis in one.hypotheses)
    assert all(any(hypothesis.text for hypothesis in one.hypotheses) for one in made)


def test_a_model_of_one_language_takes_no_other(scored_with, tiny_base, other_ctc):
    with pytest.raises(UsageError, match="--language kor: .*tiny_base.* write one language alone"):
        scored_with(tiny_base, other_ctc("hubert"), language="kor")


def test_mms_without_a_language_is_wrong_usage(scored_with, tiny_mms):
    with pytest.raises(UsageError, match="pass --language kor. Its vocabulary has kor, eng"):
        scored_with(tiny_mms)


@pytest.mark.parametrize("kind", ["wav2vec2-bert", "parakeet_ctc", "seamless_m4t", "bert"])
def test_another_kind_names_the_way_around_whatever_it_lacks(scored_with, tmp_path, kind):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(DataError, match=f"model is a {kind} model; .* --rescore RES") as error:
        scored_with(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_our_own_kind_with_other_frames_is_refused(scored_with, tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["conv_stride"] = [5, 2, 2, 2, 2, 2, 1]
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match="its frames are not those .* --rescore"):
        scored_with(copy)


def test_a_missing_adapter_is_told_before_any_clip_is_read(
    scored_with, tiny_mms, tmp_path, monkeypatch
):
    monkeypatch.setattr("korean_asr.evaluation.command_line.seen_in_training", None)
    copy = shutil.copytree(tiny_mms, tmp_path / "copy")
    (copy / "adapter.kor.safetensors").unlink()
    with pytest.raises(DataError, match="copy is not a .* lacks adapter.kor.safetensors"):
        scored_with(copy, language="kor")


def test_the_rates_of_the_original_code_are_unknown_of_other_vocabularies(
    scored_with, tiny_whisper, tiny_mms, tiny_base, tmp_path
):
    sources = [str(folder) for folder in (tiny_base, tiny_whisper, tiny_mms)]
    evaluations = scored_with(*sources, language="kor")
    found = experiments_of_models(sources, evaluations, tmp_path)
    table = experiment_table(found)
    assert [bool(row["first_code"]) for row in table.rows] == [True, False, False]
    assert table.notes == []


def test_a_folder_of_models_notes_nothing_about_other_vocabularies(
    scored_with, tiny_mms, tiny_whisper, write_results, tmp_path
):
    for source in (tiny_mms, tiny_whisper):
        copy = shutil.copytree(source, tmp_path / "models" / source.name)
        write_results(scored_with(copy, language="kor"), copy / "results")
    table = experiment_table(experiments_in(tmp_path / "models"))
    assert [row["model"] for row in table.rows] == ["tiny_wav2vec2", "tiny_whisper"]
    assert table.notes == []
    assert [row["first_code"] for row in table.rows] == [{}, {}]


def test_the_kind_is_read_again_and_files_without_it_are_known(
    scored_with, tiny_whisper, write_results, tmp_path
):
    write_results(scored_with(tiny_whisper), tmp_path)
    results = read_results(tmp_path / "korean.jsonl")
    assert (results.facts["kind"], results.facts["model"]) == ("whisper", "tiny_whisper")
    path = tmp_path / "korean.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    for other in ({}, {"kind": 3}):
        old = {key: value for key, value in summary.items() if key != "kind"} | other
        path.write_text(json.dumps(old), encoding="utf-8")
        facts = read_results(tmp_path / "korean.jsonl").facts
        assert (facts["kind"], facts["model"]) == (None, "tiny_whisper")


def test_the_rows_of_whisper_have_no_letters(scored_with, tiny_whisper, tmp_path):
    (report,) = reports_of(scored_with(tiny_whisper), tmp_path)
    assert all("letters" not in row and "confidence" not in row for row in report.rows)


def test_a_damaged_record_is_told_before_any_clip_is_decoded(tiny_base, tmp_path):
    model = shutil.copytree(tiny_base, tmp_path / "model")
    (model / "experiment.json").write_text("{")
    with pytest.raises(DataError, match="experiment.json is damaged"):
        refuse_unusable([str(model)], None)
