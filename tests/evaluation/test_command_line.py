import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from korean_asr.audio import sound_checksum
from korean_asr.errors import DataError
from korean_asr.evaluation.command_line import (
    evaluate,
    evaluation_arguments,
    evaluation_options,
    sampled,
    spread_sample,
)
from korean_asr.manifest import Utterance, write_manifest


def test_an_unreadable_clip_stays_in_the_denominator_as_deletions(plan, tmp_path):
    gone = Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가나 다.")
    with_it = evaluate(dataclasses.replace(plan, utterances=[*plan.utterances, gone]))[0]
    without = evaluate(plan)[0]
    assert with_it.summary["n_unreadable"] == 1
    assert with_it.summary["problems"] == {"audio missing": 1}
    assert with_it.totals["cer"].reference_length == without.totals["cer"].reference_length + 5
    assert with_it.totals["cer"].deletions == without.totals["cer"].deletions + 5
    row = with_it.rows(tmp_path)[-1]
    assert (row["pred_text"], row["problem"]) == ("", "audio missing")
    assert row["letters"] == {"reference": [], "hypothesis": []}


def test_a_duration_far_from_the_files_is_told_with_three_clips(plan, printed):
    longer = [
        dataclasses.replace(clip, duration=clip.duration + 0.11) for clip in plan.utterances[:4]
    ]
    unknown = dataclasses.replace(plan.utterances[4], duration=0.0)
    near = dataclasses.replace(plan.utterances[5], duration=plan.utterances[5].duration - 0.09)
    gone = Utterance("gone", "/nowhere/gone.wav", 1.0, "가")
    clips = [*longer, unknown, near, gone]
    report = printed(evaluate(dataclasses.replace(plan, utterances=clips))[0])
    assert (
        "Note: 4 of 7 clips have another duration than the manifest says, such as "
        "clip_00 (0.61 s, audio 0.50 s), clip_01 (0.74 s, audio 0.63 s), "
        "clip_02 (0.87 s, audio 0.76 s). What the file holds was scored." in report
    )
    assert "another duration" not in printed(evaluate(plan)[0])


def test_without_an_offset_the_whole_file_is_scored_and_its_duration_told(plan):
    clip = dataclasses.replace(plan.utterances[8], duration=0.5)
    cut = dataclasses.replace(clip, offset=0.0)
    whole, part = (evaluate(dataclasses.replace(plan, utterances=[one]))[0] for one in (clip, cut))
    assert whole.hypotheses == evaluate(plan)[0].hypotheses[8:9]
    assert len(whole.notes) == 1 and "audio 1.56 s" in whole.notes[0]
    assert part.hypotheses[0].text != whole.hypotheses[0].text and part.notes == ()


@pytest.fixture
def model_with_split(tmp_path, utterances, tiny_base):
    shutil.copytree(tiny_base, tmp_path / "model")
    trained = [
        dataclasses.replace(clip, audio_sha256=sound_checksum(clip.audio_filepath))
        for clip in utterances[:8]
    ]
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", trained)
    return str(tmp_path / "model")


def test_clips_of_the_training_data_are_refused_unless_allowed_and_then_warned_of(
    model_with_split, plan, tmp_path
):
    clips = plan.utterances[6:]
    plan = dataclasses.replace(plan, models=[model_with_split], utterances=clips)
    with pytest.raises(DataError, match="2 of 6 clips are in the training data"):
        evaluate(plan)
    allowed = evaluate(dataclasses.replace(plan, allow_overlap=True))[0]
    assert allowed.warning == "2 of 6 clips are in the training data of model (2 by id, 2 by audio)"
    assert allowed.summary["warning"] == allowed.warning
    marked = [row.get("seen_in_training") for row in allowed.rows(tmp_path)]
    assert marked == [True, True, None, None, None, None]
    assert allowed.summary["seen_in_training"] == {
        "id": 2,
        "audio": 2,
        "sentence": 2,
        "speaker": None,
    }


def learners(languages):
    """Clips of speakers of each first language; languages: the number of clips of each speaker."""
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
    clips = learners({"영어": [50, 50], "일본어": [30], "중국어": [2]})
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
    clips = learners({"영어": [9, 4], "일본어": [7]})
    assert spread_sample(clips, 10) == spread_sample(clips[::-1], 10)
    assert spread_sample(clips, 99) == sorted(clips, key=lambda clip: clip.id)


def test_a_sampled_plan_notes_how_many_clips_were_drawn(plan):
    drawn = sampled(plan, 5)
    assert len(drawn.utterances) == 5
    assert drawn.notes[0].startswith("5 of 12 clips, spread over first languages")
    assert sampled(plan, 12) == plan


def parsed(monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["script", *options])
    return evaluation_arguments(evaluation_options("Score.", None, "clips"))


def test_models_and_results_may_be_repeated(monkeypatch):
    assert parsed(monkeypatch, "--model", "a", "--model", "b").model == ["a", "b"]
    rescore = parsed(monkeypatch, "--rescore", "a.jsonl", "--rescore", "b.jsonl").rescore
    assert [path.name for path in rescore] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --model MODEL or --rescore RESULTS.jsonl"),
        (["--model", "a", "--rescore", "b"], "give either --model"),
        (["--rescore", "b", "--with-base"], "--with-base goes with --model"),
        (["--rescore", "b", "--precision", "bf16"], "--precision goes with --model"),
        (["--rescore", "b", "--allow-overlap"], "--allow-overlap goes with --model"),
        (["--model", "a", "--embed"], "unrecognized arguments: --embed"),
    ],
)
def test_wrong_usage_ends_with_status_2(monkeypatch, capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        parsed(monkeypatch, *options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_line_is_read_before_torch_or_pandas_is_imported():
    code = "import sys, korean_asr.evaluation.command_line\n"
    code += "print({'torch', 'pandas'} & {*sys.modules})"
    folder = Path(__file__).parents[2] / "model_tuning"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_a_clip_of_nan_of_silence_and_of_399_samples_are_in_the_report(plan, printed, tmp_path):
    content = {
        "nan": np.full(16_000, np.nan, np.float32),
        "short": np.full(399, 0.1, np.float32),
        "silent": np.zeros(16_000, np.float32),
    }
    clips = plan.utterances[:3]
    for name, samples in content.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        clips.append(
            Utterance(name, str(tmp_path / f"{name}.wav"), len(samples) / 16_000, "가나 다.")
        )
    evaluation = evaluate(dataclasses.replace(plan, utterances=clips))[0]
    problems = {
        u.id: h.problem
        for u, h in zip(evaluation.utterances, evaluation.hypotheses, strict=True)
        if h.problem
    }
    assert problems == {"nan": "audio unreadable", "short": "audio too short"}
    assert evaluation.summary["n_silent"] == 1
    assert [row["id"] for row in evaluation.rows(tmp_path) if row.get("is_silent")] == ["silent"]
    assert "Unreadable: 2  Silent: 1" in printed(evaluation)
    assert evaluation.summary["n_clips"] == 6
    assert evaluation.totals["cer"].reference_length == sum(len(clip.text) for clip in clips)


def test_a_model_that_computes_nan_is_told_from_sound_that_is_missing(plan, tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    # Finite, but the sums overflow.
    weights["wav2vec2.encoder.layers.1.layer_norm.weight"].fill_(3e38)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"copy computes NaN .* in float32 for \d+ of \d+ clips"):
        evaluate(dataclasses.replace(plan, models=[str(copy)]))
    gone = [dataclasses.replace(clip, audio_filepath="gone.wav") for clip in plan.utterances]
    with pytest.raises(DataError, match="can be read .*Were they moved"):
        evaluate(dataclasses.replace(plan, models=[str(tiny_base)], utterances=gone))
