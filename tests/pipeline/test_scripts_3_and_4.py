"""Scripts 3 and 4 as a user runs them: reports, comparison, the guard, files."""

import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import soundfile
from huggingface_hub import ModelCard

from korean_asr.manifest import REPOSITORY, read_manifest, write_manifest
from korean_asr.metrics import corpus_counts, utterance_counts

pytestmark = pytest.mark.pipeline

BASE = REPOSITORY / "data" / "demo" / "base_model"


def test_scripts_3_and_4_report_base_and_fine_tuned_side_by_side(
    command, run, json_of, rows_of, trained, processed, demo
):
    model, _ = trained
    printed = run(command(3, "--model", model, "--model", BASE))
    assert (
        f"CER: {json_of(model / 'results' / 'korean.json')['scores']['cer']['rate']:.4f}"
        in printed.splitlines()
    )
    assert "Side by side" in printed
    assert {path.name for path in (model / "results").iterdir()} == {
        f"korean{name}.{suffix}"
        for name in ("", ".base_model")
        for suffix in ("json", "jsonl", "html", "xlsx")
    } | {"experiments.md", "experiments.xlsx"}
    base = json_of(model / "results" / "korean.base_model.json")
    # The base model recognises the words, and writes no punctuation.
    assert base["scores"]["cer_no_space"]["rate"] < demo.cer_of_the_test_split
    assert not any(
        mark in row["pred_text"]
        for row in rows_of(model / "results" / "korean.base_model.jsonl")
        for mark in ".,?!"
    )

    learners = ["--manifest", processed[0] / "foreign.jsonl", "--limit", "12", "--by-speaker"]
    printed = run(command(4, "--model", model, *learners))
    foreign = json_of(model / "results" / "foreign.json")
    assert foreign["n_clips"] == 12
    languages = foreign["groups"]["first_language"]
    assert {name: part["n_clips"] for name, part in languages.items()} == dict.fromkeys(
        demo.first_languages, 12 // len(demo.first_languages)
    )
    assert f"12 of {demo.n_learner_clips} clips" in printed
    assert "recipe demo" in printed
    # Script 3 of the same model is the yardstick. Of twelve clips no speaker has five.
    assert foreign["syllables"]["natives"]["n"] > 200 and foreign["syllables"]["all"]["n"] > 100
    assert foreign["report_cards"]["cards"] == [] and "Score more clips of each" in printed
    repair = foreign["repair"]
    assert repair["n"] == repair["kept"] + repair["repaired"] + repair["else"]


def test_the_base_model_recognises_natives_whom_it_heard_better_than_those_it_never_heard(
    command, run, json_of, rows_of, processed, tmp_path, demo
):
    run(
        command(
            3, "--model", BASE, "--manifest", processed[0] / "korean.jsonl", "--output", tmp_path
        )
    )
    scores = json_of(tmp_path / "korean.json")["scores"]
    assert scores["cer_no_space"]["reference_length"] > 2_500
    assert scores["cer_no_space"]["rate"] <= demo.cer
    rows = rows_of(tmp_path / "korean.jsonl")
    syllables = {
        character for row in rows for character in row["text"] if "가" <= character <= "힣"
    }
    assert len(syllables) >= 300
    speakers = {
        Path(fields[0]).stem: fields[1]
        for path in (REPOSITORY / "data" / "demo" / "korean").rglob("*_metadata.txt")
        for fields in [line.split(" | ") for line in path.read_text("utf-8").splitlines()]
    }
    cer = {}
    for unseen in (False, True):
        spoken = [row for row in rows if (speakers[row["id"]] in demo.unseen_speakers) == unseen]
        assert len(spoken) >= 80
        counts = corpus_counts(utterance_counts(row["text"], row["pred_text"]) for row in spoken)
        cer[unseen] = counts["cer_no_space"].rate
    assert cer[False] < cer[True] <= demo.cer_unseen


def test_learners_that_script_2_trained_on_are_refused_by_script_4_which_scores_the_others(
    command, run, json_of, rows_of, options_in, processed, tmp_path, demo
):
    model, manifest = tmp_path / "model", processed[0] / "foreign.jsonl"
    # Every learner of the demo has seven clips.
    few = ["--recipe", "demo", "--epochs", "0.1", "--eval-steps", "3", "--save-steps", "3"]
    train = [*options_in(tmp_path), *few, "--learner-validation", "20", "--learner-train"]
    printed = run(command(2, *train, "14"))
    assert "foreign_validation: 14 clips where --learner-validation asks for 20" in printed
    assert "training: 192 clips of natives and 14 of learners" in printed
    assert "epoch: every clip once, 26 updates, the last of 6 clips" in printed
    sizes = {
        "foreign_train": 14,
        "foreign_validation": 14,
        "foreign_test": demo.n_learner_clips - 28,
    }
    heard = {}
    for name, n_clips in sizes.items():
        clips = read_manifest(model / "split" / f"{name}.jsonl")
        assert clips == read_manifest(tmp_path / "checkpoints" / "split" / f"{name}.jsonl")
        assert len(clips) == n_clips and all(clip.audio_sha256 for clip in clips)
        heard[name] = {clip.speaker for clip in clips}
    assert len(set.union(*heard.values())) == sum(map(len, heard.values())) == demo.n_learners
    record = json_of(model / "experiment.json")
    assert record["split"].keys() == record["clips"].keys() > sizes.keys()
    described = json_of(processed[0] / "preprocessing.json")["foreign"]["sha256"]
    assert record["foreign_manifest_sha256"] == described
    assert "| foreign_train | 14 |" in (model / "README.md").read_text(encoding="utf-8")
    assert "this very experiment, finished" in run(command(2, *train, "14"))
    assert "recipe learner_train was 14, is 7" in run(command(2, *train, "7"), status=1)

    run(command(4, "--model", model, "--limit", "6"), cwd=tmp_path)
    report = json_of(model / "results" / "foreign.json")
    assert report["manifest"].endswith("split/foreign_test.jsonl") and report["n_clips"] == 6
    scored = {row["id"] for row in rows_of(model / "results" / "foreign.jsonl")}
    assert scored < {clip.id for clip in read_manifest(model / "split" / "foreign_test.jsonl")}
    printed = run(command(4, "--model", model, "--manifest", manifest), status=1)
    assert f"14 of {demo.n_learner_clips} clips are in the training data of" in printed


def test_clips_that_were_all_moved_away_are_an_error_and_not_a_score(
    command, run, trained, tmp_path
):
    (tmp_path / "moved.jsonl").write_text(
        '{"audio_filepath": "/nowhere/a.wav", "duration": 1.0, "text": "밥."}\n'
    )
    arguments = ["--model", trained[0], "--manifest", tmp_path / "moved.jsonl"]
    printed = run(command(3, *arguments, "--output", tmp_path / "r"), status=1)
    assert "none of the 1 clips" in printed and "/nowhere/a.wav" in printed
    assert not (tmp_path / "r").exists()


def test_the_plain_names_belong_to_the_model_whose_results_folder_it_is(
    command, run, json_of, trained
):
    model, _ = trained
    run(command(3, "--model", BASE, "--model", model))
    assert json_of(model / "results" / "korean.json")["model"] == "model"
    assert json_of(model / "results" / "korean.base_model.json")["model"] == "base_model"


def test_script_3_refuses_clips_of_the_training_split(command, run, trained):
    model, _ = trained
    printed = run(
        command(3, "--model", model, "--manifest", model / "split" / "train.jsonl"), status=1
    )
    assert "192 of 192 clips are in the training data" in printed and "--allow-overlap" in printed
    checkpoint = model.parent / "checkpoints" / "checkpoint-8"
    printed = run(
        command(3, "--model", checkpoint, "--manifest", model / "split" / "train.jsonl"), status=1
    )
    assert "192 of 192 clips are in the training data" in printed
    assert "Traceback" not in printed


def test_a_copy_of_a_training_clip_in_another_container_is_refused_unless_allowed(
    command, run, json_of, trained, tmp_path
):
    model, _ = trained
    clip = read_manifest(model / "split" / "train.jsonl")[0]
    soundfile.write(tmp_path / "copy.wav", *soundfile.read(clip.audio_filepath, dtype="int16"))
    test = read_manifest(model / "split" / "test.jsonl")[0]
    # Rows as NeMo writes them: absolute paths, three keys.
    rows = [
        {
            "audio_filepath": str(tmp_path / "copy.wav"),
            "duration": clip.duration,
            "text": "다른 말.",
        },
        {"audio_filepath": test.audio_filepath, "duration": test.duration, "text": test.text},
    ]
    manifest = tmp_path / "nemo.json"
    manifest.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    arguments = ["--model", model, "--manifest", manifest, "--output", tmp_path / "results"]
    printed = run(command(3, *arguments), status=1)
    assert (
        "1 of 2 clips are in the training data of" in printed
        and "(1 by audio); the first: copy" in printed
    )
    assert not (tmp_path / "results").exists()
    printed = run(command(3, *arguments, "--allow-overlap", "--embed-audio"))
    # Standard error comes first.
    report = printed[printed.index("WARNING") :].splitlines()
    assert report[0].startswith("WARNING · 경고: 1 of 2 clips are in the training data of model")
    summary = json_of(tmp_path / "results" / "korean.json")
    assert summary["warning"] and summary["seen_in_training"]["audio"] == 1
    page = (tmp_path / "results" / "korean.html").read_text(encoding="utf-8")
    assert "1 of 2 clips are in the training data" in page and page.count("data:audio/") == 2


def test_results_are_scored_again_without_a_model_and_written_only_where_asked(
    command, run, json_of, rows_of, trained, processed, tmp_path
):
    model, _ = trained
    manifest = processed[0] / "foreign.jsonl"
    run(command(4, "--model", model, "--manifest", manifest, "--limit", "16", "--output", tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    printed = run(command(4, "--rescore", tmp_path / "foreign.jsonl"), cwd=tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rate = json_of(tmp_path / "foreign.json")["scores"]["cer"]["rate"]
    assert f"CER: {rate:.4f}" in printed.splitlines()
    theirs = [
        {"text": row["text"], "pred_text": row["text"]}
        for row in rows_of(tmp_path / "foreign.jsonl")
    ]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, theirs)), encoding="utf-8")
    both = ["--rescore", tmp_path / "foreign.jsonl", "--rescore", tmp_path / "theirs.jsonl"]
    printed = run(command(4, *both, "--output", tmp_path / "again", "--embed-audio"))
    assert "theirs is lower by" in printed
    assert (tmp_path / "again" / "foreign.html").read_text(encoding="utf-8").count(
        "data:audio/"
    ) == 16
    assert json_of(tmp_path / "again" / "foreign.theirs.json")["scores"]["wer"]["rate"] == 0.0


def test_script_4_tells_the_gap_to_the_same_models_korean_speakers(
    command, run, json_of, trained, processed
):
    model, _ = trained
    run(command(3, "--model", model))
    printed = run(
        command(4, "--model", model, "--manifest", processed[0] / "foreign.jsonl", "--limit", "8")
    )
    gap = json_of(model / "results" / "foreign.json")["gap_to_korean"]["scores"]["cer_no_space"]
    assert (
        gap["korean"]
        == json_of(model / "results" / "korean.json")["scores"]["cer_no_space"]["rate"]
    )
    assert "gap to Korean speakers" in printed


def test_what_each_experiment_brought_is_shown_again_from_files_alone(
    command, run, trained, tmp_path
):
    model, _ = trained
    copy = tmp_path / "models" / "model"
    shutil.copytree(model, copy, ignore=shutil.ignore_patterns("results"))
    write_manifest(tmp_path / "six.jsonl", read_manifest(model / "split" / "test.jsonl")[:6])
    scored = ["--model", BASE, "--model", copy, "--manifest", tmp_path / "six.jsonl"]
    printed = run(command(3, *scored))
    # The results folder is the fine-tuned model's, whose page has the table.
    assert '<section id="experiments">' in (copy / "results" / "korean.html").read_text("utf-8")
    other = (copy / "results" / "korean.base_model.html").read_text("utf-8")
    assert '<section id="experiments">' not in other

    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("torch", "transformers"):
        (hidden / f"{name}.py").write_text(f"raise ImportError('{name} is not needed here')")
    again = run(
        command(3, "--experiments", tmp_path / "models"),
        env={**os.environ, "PYTHONPATH": str(hidden)},
        stdin=subprocess.DEVNULL,
    )
    title = "=== What each experiment brought"
    tables = [text.partition(title)[2].partition("\nwrote ")[0] for text in (printed, again)]
    parts = [dict(part.split("\n", 1) for part in text.split("\n\n")[1:]) for text in tables]
    first_code = next(name for name in parts[0] if "as the original code counts" in name)
    # The base model's vocab.json does not lie in the folder.
    shown, without = (part.pop(first_code).splitlines()[1] for part in parts)
    assert shown.split()[0] == without.split()[0] == "base_model"
    assert shown.split()[1] != "–" and without.split()[1:] == ["–", "–"]
    assert parts[0] == parts[1] and "Korean speakers · 한국어 화자" in parts[0]
    names = ("experiments.html", "experiments.md", "experiments.xlsx")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [*names, "model"]


def test_the_model_card_tells_what_scripts_3_and_4_print_and_a_damaged_one_costs_no_score(
    command, run, trained, processed, tmp_path
):
    model = tmp_path / "model"
    shutil.copytree(trained[0], model, ignore=shutil.ignore_patterns("results"))
    card = model / "README.md"
    card.write_text(card.read_text("utf-8") + "\nMy own words.\n", encoding="utf-8")
    write_manifest(tmp_path / "six.jsonl", read_manifest(processed[0] / "foreign.jsonl")[:6])
    foreign = ["--manifest", tmp_path / "six.jsonl"]
    for number, options, clips in (
        (3, [], "Korean speakers, split/test.jsonl | 24"),
        (4, foreign, "Foreign speakers of Korean, six.jsonl | 6"),
    ):
        printed = run(command(number, "--model", model, "--model", BASE, *options))
        # The first report is that of the fine-tuned model.
        cer, wer = (re.search(rf"^{name}: (\S+)$", printed, re.M)[1] for name in ("CER", "WER"))
        assert f"| {clips} | ko-1 | {cer} | {wer} |" in card.read_text("utf-8")
        assert f"wrote {card}" in printed.splitlines()
    results = ModelCard.load(card).data.eval_results
    # Tests before this one may have scored the model on other clips.
    known = {"split/validation.jsonl", "split/test.jsonl", "six.jsonl"}
    assert known <= {one.dataset_config for one in results}
    assert card.read_text("utf-8").endswith("\nMy own words.\n")
    assert not (BASE / "README.md").exists()

    card.write_text("---\nlicense: [\n---\n", encoding="utf-8")
    shutil.rmtree(model / "results")
    printed = run(command(4, "--model", model, *foreign))
    (line,) = (line for line in printed.splitlines() if line.startswith("WARNING"))
    assert f"{card} stays as it is, because" in line and str(model / "results") in line
    assert (model / "results" / "foreign.json").is_file() and "Traceback" not in printed
    assert card.read_text("utf-8") == "---\nlicense: [\n---\n"


@pytest.mark.parametrize(
    "moment", ["decoding", "korean.json", ".korean.html.part", ".korean.xlsx.part"]
)
def test_script_3_killed_leaves_whole_files_or_none(
    command, run, killed_when, trained, tmp_path, moment
):
    arguments = command(3, "--model", trained[0], "--output", tmp_path / "results")
    started = time.monotonic()

    def is_there():
        if moment == "decoding":
            return time.monotonic() > started + 1
        return (tmp_path / "results" / moment).exists()

    assert killed_when(arguments, is_there)
    for path in (tmp_path / "results").glob("[a-z]*"):
        if path.suffix == ".xlsx":
            assert zipfile.ZipFile(path).testzip() is None
            continue
        content = path.read_text(encoding="utf-8")
        assert content.endswith("\n") or content.rstrip().endswith("</html>"), path
        if path.suffix == ".json":
            json.loads(content)
    run(arguments)
    assert {path.name for path in (tmp_path / "results").iterdir() if path.name[0] != "."} == {
         "korean.json", "korean.jsonl", "korean.html", "korean.xlsx",
    }  # fmt: skip
