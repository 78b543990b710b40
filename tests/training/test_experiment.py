import dataclasses
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from korean_asr.errors import DataError, UsageError
from korean_asr.files import file_checksum
from korean_asr.manifest import manifest_rows, read_manifest, write_manifest
from korean_asr.model import base_identity
from korean_asr.training.experiment import (
    Data,
    Experiment,
    claim,
    identified,
    public_command,
    read_data,
    run_identity,
    set_aside,
)
from korean_asr.training.loop import Run
from korean_asr.training.model_card import model_card
from korean_asr.training.progress import Progress
from korean_asr.training.record import experiment_record, write_record
from korean_asr.training.splits import Split
from recipes import RECIPES

V3 = RECIPES["v3"]
FILES = ("config.json", "model.safetensors")


@pytest.fixture
def split(utterances):
    return Split(utterances[:8], utterances[8:10], utterances[10:], ())


@pytest.fixture
def identity(tiny_base, split):
    return run_identity(V3, split, base_identity(str(tiny_base)), 1)


@pytest.fixture
def split_files(split):
    return {f"{name}.jsonl": part for name, part in split.parts().items()}


def experiment(output, checkpoints, identity, fresh=False, check=False):
    command = SimpleNamespace(
        output=output,
        checkpoints=checkpoints,
        fresh=fresh,
        check=check,
        base_model="/models/of/kim/base",
        data=output.parent / "data",
        license=None,
        words=["--output", str(output)],
    )
    return Experiment(command, identity)


def test_a_folder_of_the_same_experiment_may_be_used_again(identity, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    assert claim(tmp_path, "run.json", identity, "--checkpoints")
    assert not claim(tmp_path / "new", "run.json", identity, "--checkpoints")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda identity: identity["recipe"].update(
                learning_rate=7.0, final_model="last", base_share=0.5
            ),
            "another experiment: recipe learning_rate was 0.0001, is 7.0\\. Pass",
        ),
        (
            lambda identity: identity["recipe"].update(new_value=1),
            "recipe new_value was None, is 1",
        ),
        (lambda identity: identity["recipe"].pop("seed"), "recipe seed was 42, is None"),
        (lambda identity: identity["split"].update(test="0" * 64), "split test"),
        (lambda identity: identity["base_model"].update(sha256="0" * 64), "base_model sha256"),
        (lambda identity: identity.update(n_processes=2), "n_processes was 1, is 2"),
    ],
)
def test_a_folder_of_another_experiment_is_refused_by_what_differs(
    identity, tmp_path, change, named
):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    change(identity)
    with pytest.raises(DataError, match=named):
        claim(tmp_path, "run.json", identity, "--checkpoints")
    assert claim(tmp_path, "run.json", identity, "--checkpoints", fresh=True)


def test_a_run_of_before_a_value_existed_is_the_same_experiment_where_the_value_is_the_default(
    identity, tmp_path
):
    record = json.loads(json.dumps(identity))
    del record["recipe"]["learner_train"], record["recipe"]["learner_validation"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert claim(tmp_path, "run.json", identity, "--checkpoints")
    identity["recipe"]["learner_train"] = 4
    with pytest.raises(DataError, match="recipe learner_train was 0, is 4"):
        claim(tmp_path, "run.json", identity, "--checkpoints")


def test_what_is_reported_makes_no_other_experiment(tiny_base, split, identity):
    recipe = dataclasses.replace(V3, report_to="tensorboard")
    assert run_identity(recipe, split, base_identity(str(tiny_base)), 1) == identity


def test_another_final_model_is_the_same_experiment_also_of_an_earlier_version(identity, tmp_path):
    record = json.loads(json.dumps(identity))
    # It did not exist, so 0 is what was done.
    del record["recipe"]["base_share"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    for values in ({}, {"final_model": "average"}, {"final_model": "last", "base_share": 0.3}):
        identity["recipe"].update(values)
        assert claim(tmp_path, "run.json", identity, "--checkpoints")


@pytest.mark.parametrize("fresh", [False, True])
def test_the_checkpoints_of_another_recipe_are_refused_by_name(identity, tmp_path, fresh):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    identity["recipe"]["name"] = "v7"
    with pytest.raises(
        DataError, match=r"belongs to recipe v3, and this is recipe v7. Pass --checkpoints .*_v7"
    ):
        claim(tmp_path, "run.json", identity, "--checkpoints", fresh)


def test_a_damaged_run_file_is_named(identity, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        claim(tmp_path, "run.json", identity, "--checkpoints")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda record: record.update(recipe="v3"), '`recipe` is "v3", which is not an object'),
        (lambda record: record.update(split=[1]), "`split` is a list, which is not an object"),
        (lambda record: record.update(n_processes="1"), '`n_processes` is "1"'),
        (lambda record: record.pop("base_model"), "it has no `base_model`"),
        (lambda record: record["recipe"].update(name=None), "`name` is null"),
    ],
)
def test_a_value_of_another_type_in_a_run_file_is_named(identity, tmp_path, change, told):
    record = json.loads(json.dumps(identity))
    change(record)
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=rf"run\.json is damaged \({told}"):
        claim(tmp_path, "run.json", identity, "--checkpoints")
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deep"):
        claim(tmp_path, "run.json", identity, "--checkpoints")


def test_an_unlimited_recipe_is_strict_json_and_the_same_experiment_when_read_again(
    tiny_base, split, split_files, tmp_path
):
    unlimited = dataclasses.replace(V3, max_duration_s=math.inf)
    identity = run_identity(unlimited, split, base_identity(str(tiny_base)), 1)
    assert identity["recipe"]["max_duration_s"] is None
    this = experiment(tmp_path / "model", tmp_path / "checkpoints", identity)
    this.opened(split_files)
    path = tmp_path / "checkpoints" / "run.json"
    record = json.loads(path.read_text(), parse_constant=pytest.fail)
    # Where the base lies, so that a checkpoint can be compared with it.
    assert record == identity | {"base_model_source": "base"}
    # As an earlier version wrote it.
    record["recipe"]["max_duration_s"] = math.inf
    path.write_text(json.dumps(record))
    assert "Infinity" in path.read_text()
    assert claim(path.parent, "run.json", identity, "--checkpoints")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin.index.json"])
def test_a_model_that_script_2_did_not_make_is_never_written_over(identity, tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).touch()
    with pytest.raises(DataError, match="a model that script 2 did not make"):
        experiment(tmp_path / "model", tmp_path / "checkpoints", identity).held_folders()


def test_a_fresh_start_renames_the_old_folders_and_deletes_nothing(
    identity, split_files, tmp_path, capsys
):
    model, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    assert experiment(model, checkpoints, identity).opened(split_files) is None
    (checkpoints / "checkpoint-1").mkdir()
    assert experiment(model, checkpoints, identity).opened(split_files) is None
    assert "checkpoint-1 is only half written" in capsys.readouterr().out
    identity["recipe"]["learning_rate"] = 7.0
    for suffix in ("old", "old2"):
        fresh = experiment(model, checkpoints, identity, fresh=True)
        assert fresh.opened(split_files) is None
        assert [line.split()[-2] for line in capsys.readouterr().out.splitlines()] == [
            str(tmp_path / f"model.{suffix}"),
            str(tmp_path / f"checkpoints.{suffix}"),
        ]
    assert (tmp_path / "checkpoints.old" / "checkpoint-1").is_dir()
    assert (tmp_path / "model.old" / "split" / "train.jsonl").is_file()
    assert not (checkpoints / "checkpoint-1").exists()


def test_an_experiment_continues_from_its_last_complete_checkpoint(
    identity, split_files, tmp_path, capsys
):
    this = experiment(tmp_path / "model", tmp_path / "ck", identity)
    for number in (2, 10):
        (tmp_path / "ck" / f"checkpoint-{number}").mkdir(parents=True)
        (tmp_path / "ck" / f"checkpoint-{number}" / "complete").write_text("{}")
    (tmp_path / "ck" / "run.json").write_text(json.dumps(identity))
    assert this.opened(split_files) == tmp_path / "ck" / "checkpoint-10"
    assert f"continuing from {tmp_path / 'ck' / 'checkpoint-10'}" in capsys.readouterr().out


def test_a_resumed_run_replaces_the_checkpoints_that_are_there_and_a_fresh_one_does_not(
    identity, tmp_path
):
    (tmp_path / "ck" / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "ck" / "checkpoint-1" / "optimizer.pt").write_bytes(b"12345")
    folders = tmp_path / "model", tmp_path / "ck"
    assert experiment(*folders, identity).replaceable_bytes() == 5
    assert experiment(*folders, identity, fresh=True).replaceable_bytes() == 0


def test_an_experiment_is_finished_when_its_record_and_its_files_are_there(
    identity, split_files, tmp_path
):
    model, checkpoints = tmp_path / "model", tmp_path / "ck"
    this = experiment(model, checkpoints, identity)
    assert not this.is_finished(FILES)
    this.opened(split_files)
    for name in FILES:
        (model / name).touch()
    assert not this.is_finished(FILES)  # claimed, not finished
    (model / "experiment.json").write_text(json.dumps({**identity, "updates": 12}))
    assert this.is_finished(FILES)
    assert not experiment(model, checkpoints, identity, fresh=True).is_finished(FILES)
    (model / FILES[0]).unlink()
    assert not this.is_finished(FILES)


@pytest.fixture
def finished(identity, split_files, tmp_path):
    """A finished experiment of 12 updates, as files, with results of script 3."""
    this = experiment(tmp_path / "model", tmp_path / "ck", identity)
    this.opened(split_files)
    for name in FILES:
        (this.output / name).touch()
    (this.output / "experiment.json").write_text(json.dumps({**identity, "updates": 12}))
    (this.output / "results").mkdir()
    (this.output / "results" / "korean.json").write_text("{}")
    for update in (4, 12):
        checkpoint = this.checkpoints / f"checkpoint-{update}"
        checkpoint.mkdir()
        log = [{"step": 4, "epoch": 0.2, "eval_cer": 0.5, "eval_wer": 0.7}]
        progress = dataclasses.asdict(Progress(log=log, best_update=4, best_cer=0.5))
        (checkpoint / "progress.json").write_text(json.dumps(progress))
        (checkpoint / "complete").write_text("{}")
    return this


def test_another_final_model_of_a_finished_experiment_is_made_from_its_checkpoints(
    finished, split_files, capsys
):
    assert finished.is_finished(FILES) and finished.is_trained(12)
    assert not finished.is_trained(24)
    assert not experiment(finished.output, finished.checkpoints, {}, fresh=True).is_trained(12)
    identity = json.loads(json.dumps(finished.identity))
    identity["recipe"].update(final_model="average", base_share=0.3)
    other = experiment(finished.output, finished.checkpoints, identity)
    capsys.readouterr()
    assert not other.is_finished(FILES)
    assert "another final model is made from" in capsys.readouterr().out
    # Whoever scores before it is made must still find the old model's.
    assert (finished.output / "results" / "korean.json").is_file()
    assert other.opened(split_files) == finished.checkpoints / "checkpoint-12"
    aside = finished.output / "results.old"
    assert f"results, of the final model before, was renamed to {aside}" in capsys.readouterr().out
    assert [path.name for path in aside.iterdir()] == ["korean.json"]
    # Killed before the new weights are all written, neither is finished.
    record = json.loads((finished.output / "experiment.json").read_text())
    assert record == other.identity
    assert not other.is_finished(FILES) and not finished.is_finished(FILES)
    # The run of before goes on too, and renames nothing again.
    finished.opened(split_files)
    assert not (finished.output / "results.old2").exists()


@pytest.mark.parametrize(
    ("final_model", "update"), [("last", 12), ("average", 12), ("average", 4), ("last", None)]
)
def test_a_final_model_whose_checkpoints_are_gone_is_refused_in_one_line_and_nothing_changes(
    finished, final_model, update
):
    identity = json.loads(json.dumps(finished.identity))
    identity["recipe"].update(final_model=final_model)
    other = experiment(finished.output, finished.checkpoints, identity)
    if update is None:
        (finished.checkpoints / "checkpoint-4" / "complete").unlink()
        assert not other.is_finished(FILES)
    else:
        (finished.checkpoints / f"checkpoint-{update}" / "complete").unlink()
        with pytest.raises(DataError, match=f"checkpoint-{update} is not there") as failure:
            other.is_finished(FILES)
        assert "\n" not in str(failure.value)
    assert finished.is_finished(FILES)
    assert (finished.output / "results" / "korean.json").is_file()


def test_a_finished_experiment_of_other_values_is_refused_before_anything_is_loaded(
    identity, split_files, tmp_path, capsys
):
    model, checkpoints = tmp_path / "model", tmp_path / "ck"
    experiment(model, checkpoints, identity).opened(split_files)
    identity["recipe"]["learning_rate"] = 7.0
    with pytest.raises(DataError, match="recipe learning_rate was 0.0001, is 7.0"):
        experiment(model, checkpoints, identity).is_finished(FILES)
    capsys.readouterr()
    assert not experiment(model, checkpoints, identity, check=True).is_finished(FILES)
    (told,) = capsys.readouterr().out.splitlines()
    assert "without --check this would stop" in told and "learning_rate was 0.0001" in told


@pytest.fixture
def sounding(identity, split, tmp_path):
    """A function that opens the experiment with a sound for each clip; others are given by id."""

    def opened(others):
        def heard(clip):
            return dataclasses.replace(clip, audio_sha256=others.get(clip.id, f"sound {clip.id}"))

        files = {f"{name}.jsonl": list(map(heard, part)) for name, part in split.parts().items()}
        return experiment(tmp_path / "model", tmp_path / "ck", identity).opened(files)

    return opened


@pytest.mark.parametrize(
    ("part", "sound", "is_refused"),
    [
        ("train", "other", True),
        ("validation", "other", True),
        ("validation", None, True),
        # The checkpoint tells which training clips are gone. Test clips are not used.
        ("train", None, False),
        ("test", "other", False),
    ],
)
def test_a_run_whose_clips_sound_otherwise_does_not_continue(
    sounding, split, tmp_path, part, sound, is_refused
):
    clip = split.parts()[part][0]
    sounding({})
    # Without a checkpoint it begins anew.
    sounding({clip.id: sound})
    sounding({})
    (tmp_path / "ck" / "checkpoint-4").mkdir()
    (tmp_path / "ck" / "checkpoint-4" / "complete").write_text("{}")
    before = (tmp_path / "ck" / "split" / f"{part}.jsonl").read_bytes()
    if not is_refused:
        assert sounding({clip.id: sound}) == tmp_path / "ck" / "checkpoint-4"
        # What was known of a clip that is gone for a while is not forgotten.
        if sound is None:
            assert (tmp_path / "ck" / "split" / f"{part}.jsonl").read_bytes() == before
        return
    told = f"{part}.jsonl: the audio of 1 is not there or not what it was .*{clip.id}"
    with pytest.raises(DataError, match=told):
        sounding({clip.id: sound})
    assert (tmp_path / "ck" / "split" / f"{part}.jsonl").read_bytes() == before


def test_the_same_weights_with_other_tokens_are_another_base_model(tiny_base, split, tmp_path):
    def identity_of(folder):
        command = SimpleNamespace(base_model=str(folder))
        return identified(command, V3, split, base_identity(str(folder)), 1).identity

    before = identity_of(tiny_base)
    (tmp_path / "run.json").write_text(json.dumps(before))
    copy = tmp_path / "copies" / tiny_base.name
    shutil.copytree(tiny_base, copy)
    # Written in another way, it is the same.
    path = copy / "vocab.json"
    tokens = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(tokens, indent=4), encoding="utf-8")
    assert claim(tmp_path, "run.json", identity_of(copy), "--checkpoints")
    changed = {"vocab.json": dict(zip(tokens, reversed(tokens.values()), strict=True))}
    extractor = json.loads((copy / "preprocessor_config.json").read_text(encoding="utf-8"))
    changed["preprocessor_config.json"] = extractor | {"do_normalize": False}
    for name, content in changed.items():
        earlier = (copy / name).read_bytes()
        (copy / name).write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(DataError, match="another experiment: base_model settings_sha256 was"):
            claim(tmp_path, "run.json", identity_of(copy), "--checkpoints")
        (copy / name).write_bytes(earlier)
    # Runs of an earlier version did not record it.
    del before["base_model"]["settings_sha256"]
    (tmp_path / "run.json").write_text(json.dumps(before))
    assert claim(tmp_path, "run.json", identity_of(copy), "--checkpoints")
    # The weights were recorded always.
    del before["base_model"]["sha256"]
    (tmp_path / "run.json").write_text(json.dumps(before))
    with pytest.raises(DataError, match="base_model sha256 was None"):
        claim(tmp_path, "run.json", identity_of(copy), "--checkpoints")


def test_a_folder_is_set_aside_under_the_first_free_name(tmp_path):
    for number in range(3):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / str(number)).touch()
        set_aside(tmp_path / "x")
    assert [
        (tmp_path / name / str(i)).is_file() for i, name in enumerate(("x.old", "x.old2", "x.old3"))
    ] == [True] * 3


def test_a_model_that_script_2_did_not_make_is_not_written_over(identity, split_files, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    this = experiment(tmp_path / "model", tmp_path / "checkpoints", identity, fresh=True)
    with pytest.raises(DataError, match="script 2 did not make"):
        this.opened(split_files)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_of_an_unknown_experiment_are_neither_continued_nor_deleted(
    identity, split_files, tmp_path, capsys
):
    # Of the Trainer, for instance.
    (tmp_path / "ck" / "checkpoint-1000").mkdir(parents=True)
    folders = tmp_path / "model", tmp_path / "ck"
    with pytest.raises(DataError, match=r"ck holds checkpoints without the run.json .*--fresh"):
        experiment(*folders, identity).opened(split_files)
    assert not (tmp_path / "model").exists()
    experiment(*folders, identity, fresh=True).opened(split_files)
    renamed = f"{tmp_path / 'ck'} was renamed to {tmp_path / 'ck.old'} (--fresh).\n"
    assert capsys.readouterr().out == renamed
    assert (tmp_path / "ck.old" / "checkpoint-1000").is_dir()


@pytest.mark.parametrize(("output", "checkpoints"), [("run", "run/ck"), ("ck/model", "ck")])
def test_a_fresh_start_renames_a_folder_within_the_other_too(
    identity, split_files, tmp_path, output, checkpoints, capsys
):
    folders = tmp_path / output, tmp_path / checkpoints
    experiment(*folders, identity).opened(split_files)
    (folders[1] / "checkpoint-1").mkdir()
    experiment(*folders, identity, fresh=True).opened(split_files)
    assert capsys.readouterr().out.count("was renamed to") == 2
    assert [path.name for path in tmp_path.rglob("checkpoint-1")] == ["checkpoint-1"]
    assert (folders[0] / "experiment.json").is_file() and (folders[1] / "run.json").is_file()


@pytest.mark.parametrize(
    ("output", "checkpoints", "told"),
    [
        (".", "ck", "--output .: name a folder of its own"),
        ("model", "..", "--checkpoints ..: name a folder of its own"),
        ("model", "./model", "--output and --checkpoints are both model"),
    ],
)
def test_folders_that_cannot_be_renamed_or_are_the_same_are_wrong_usage(
    identity, tmp_path, monkeypatch, output, checkpoints, told
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told.replace(".", r"\.")):
        experiment(Path(output), Path(checkpoints), identity).held_folders()


def test_the_split_lies_beside_the_checkpoints_too(identity, split_files, utterances, tmp_path):
    files = split_files | {"earlier.jsonl": utterances[:2]}
    experiment(tmp_path / "model", tmp_path / "ck", identity).opened(files)
    for folder in ("model", "ck"):
        written = {
            path.name: read_manifest(path) for path in (tmp_path / folder / "split").iterdir()
        }
        assert written == files


@pytest.mark.parametrize(
    ("described", "told"),
    [(None, False), ("{", False), ('{"korean": {"sha256": "0"}}', True)],
)
def test_a_manifest_that_script_1_did_not_write_is_named(utterances, tmp_path, described, told):
    manifest = tmp_path / "korean.jsonl"
    rows = manifest_rows(utterances, tmp_path)
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if described:
        (tmp_path / "preprocessing.json").write_text(described)
    data = read_data(manifest, RECIPES["v1"])
    assert ("is not the file that script 1 described" in data.lines[0]) == told
    assert sum(map(len, data.split.parts().values())) == len(utterances)


@pytest.fixture
def both_manifests(utterances, tmp_path):
    """The path of korean.jsonl; foreign.jsonl beside it has four learners with three clips each."""
    learners = [
        dataclasses.replace(clip, id=f"f{n}", speaker=f"learner {n // 3}", first_language="영어")
        for n, clip in enumerate(utterances)
    ]
    write_manifest(tmp_path / "korean.jsonl", utterances)
    write_manifest(tmp_path / "foreign.jsonl", learners)
    return tmp_path / "korean.jsonl"


def test_learners_are_read_only_where_the_recipe_asks_for_them(both_manifests, tiny_base):
    base = base_identity(str(tiny_base))
    v1 = RECIPES["v1"]
    without = read_data(both_manifests, v1)
    assert without.foreign_manifest_sha256 is None
    assert run_identity(v1, without.split, base, 1)["split"].keys() == {
        "train", "validation", "test",
    }  # fmt: skip
    recipe = dataclasses.replace(v1, learner_validation=3, learner_train=6)
    data = read_data(both_manifests, recipe)
    assert data.foreign_manifest_sha256 == file_checksum(both_manifests.with_name("foreign.jsonl"))
    assert {name: len(part) for name, part in data.split.parts().items()} == {
        "train": 9, "validation": 1, "test": 2,
        "foreign_train": 6, "foreign_validation": 3, "foreign_test": 3,
    }  # fmt: skip
    assert data.split.train == without.split.train
    checksums = run_identity(recipe, data.split, base, 1)["split"]
    assert checksums.keys() == data.split.parts().keys()
    assert checksums["train"] == run_identity(v1, without.split, base, 1)["split"]["train"]
    both_manifests.with_name("preprocessing.json").write_text('{"foreign": {"sha256": "0"}}')
    assert "foreign.jsonl is not the file" in read_data(both_manifests, recipe).lines[0]


def test_a_recipe_that_asks_for_learners_names_the_manifest_that_is_missing(both_manifests):
    both_manifests.with_name("foreign.jsonl").unlink()
    assert read_data(both_manifests, RECIPES["v1"]).split.foreign_test == []
    recipe = dataclasses.replace(RECIPES["v1"], learner_train=3)
    with pytest.raises(
        DataError, match=r"foreign\.jsonl is missing, .* Run script 1 with --foreign"
    ):
        read_data(both_manifests, recipe)


def test_other_learners_make_another_experiment(both_manifests, tiny_base, tmp_path):
    base = base_identity(str(tiny_base))
    recipe = dataclasses.replace(RECIPES["v1"], learner_validation=3)
    before = run_identity(recipe, read_data(both_manifests, recipe).split, base, 1)
    (tmp_path / "run.json").write_text(json.dumps(before))
    foreign = both_manifests.with_name("foreign.jsonl")
    rows = foreign.read_text(encoding="utf-8").splitlines()
    foreign.write_text("\n".join(rows[:-3]), encoding="utf-8")
    now = run_identity(recipe, read_data(both_manifests, recipe).split, base, 1)
    with pytest.raises(DataError, match="holds another experiment: split foreign_"):
        claim(tmp_path, "run.json", now, "--checkpoints")


def test_the_record_has_the_checksum_of_the_learners_manifest_where_it_was_used(
    identity, split, finished_run, tmp_path
):
    this = experiment(tmp_path / "model", tmp_path / "ck", identity)
    record = experiment_record(this, Data(split, "0" * 64, []), finished_run, {})
    assert "foreign_manifest_sha256" not in record
    learners = dataclasses.replace(split, foreign_train=split.test[:1])
    record = experiment_record(this, Data(learners, "0" * 64, [], "1" * 64), finished_run, {})
    assert record["foreign_manifest_sha256"] == "1" * 64
    assert record["clips"]["foreign_train"]["n_clips"] == 1


@pytest.fixture
def finished_run():
    log = [
        {"step": 2, "epoch": 1.0, "loss": 0.5, "learning_rate": 1e-4},
        {"step": 2, "epoch": 1.0, "eval_cer": 0.25, "eval_wer": 0.5},
    ]
    progress = Progress("", 2, log, training_seconds=4.0, audio_seconds=8.0, padded_seconds=10.0)
    return Run(progress, 2, progress.rates_of(2), 0, 5.0)


def test_the_record_is_written_last_and_tells_speed_rates_and_data(
    identity, split, finished_run, tmp_path
):
    this = experiment(tmp_path / "model", tmp_path / "ck", identity)
    facts = {
        "tokens_added": ["."],
        "precision": "float32 on the CPU",
        "left_out_of_training": {"too long": 3},
    }
    data = Data(split, "0" * 64, [])
    write_record(this, data, finished_run, facts)
    record = json.loads((tmp_path / "model" / "experiment.json").read_text(encoding="utf-8"))
    assert record == experiment_record(this, data, finished_run, facts)
    assert record["validation"] == {"cer": 0.25, "wer": 0.5}
    assert record["speed"] == {
        "training_seconds": 4.0,
        "audio_seconds_per_second": 2.0,
        "padding_waste": 0.2,
        "seconds_since_last_start": 5.0,
    }
    assert record["command"] == "'model_tuning/2. model2_experiment_2.py' --output model"
    assert (record["name"], record["base_model_source"]) == ("model", "base")
    assert {name: size["n_clips"] for name, size in record["clips"].items()} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "| cer | 0.2500 |" in card and "- left out of training: 3 clips, too long" in card
    assert f"\npython {record['command']}\n" in card
    assert f"\ntorchrun --nproc_per_node=4 {record['command']}" in model_card(
        {**record, "n_processes": 4}
    )
    assert (tmp_path / "model" / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()
    assert [json.loads(row) for row in rows] == finished_run.progress.log


SCORED = [
    {"share": 0.0, "cer": 0.1, "learner_cer_no_punctuation": 0.3},
    {"share": 0.1, "cer": 0.125, "learner_cer_no_punctuation": 0.25},
]


@pytest.mark.parametrize(
    ("values", "final_update", "final", "told", "untold"),
    [
        (
            {"final_model": "average"},
            None,
            {"best": 0.138, "average": 0.129, "averaged": [2, 4, 6]},
            "The mean of 3 checkpoints, updates 2, 4, 6 of 2, has a validation CER of 0.1290, the "
            "best of them alone 0.1380. The weights are that mean.",
            "blended",
        ),
        (
            {"final_model": "average"},
            2,
            {"best": 0.125, "average": 0.5, "averaged": [2, 4]},
            "The weights are those of update 2 of 2, the checkpoint of the lowest validation CER.",
            "that mean",
        ),
        (
            {"final_model": "last", "base_share": 0.1},
            2,
            {"last": 0.1, "base_share": 0.1, "shares": [
                SCORED[0], {**SCORED[1], "learner_cer_no_punctuation": None},
            ]},
            "of update 2 of 2, the last. They are blended with the base's (weight interpolation, "
            "Wortsman et al. 2022): 0.1 × base + 0.9 × fine-tuned. The rows of new tokens are not "
            "blended. | base's share | natives' CER | learners' CER without punctuation | "
            "|---|---|---| | 0.0 | 0.1000 | 0.3000 | | 0.1 | 0.1250 | – |",
            "mean of",
        ),
        (
            {"base_share": "choose", "head": "reinitialise"},
            2,
            {"best": 0.1, "base_share": 0.1, "shares": SCORED},
            "The rows of new tokens, here the whole head, are not blended.",
            "mean of",
        ),
    ],
)  # fmt: skip
def test_the_model_card_tells_what_was_averaged_and_blended(
    identity, split, finished_run, tmp_path, values, final_update, final, told, untold
):
    identity["recipe"].update(values)
    run = dataclasses.replace(finished_run, final_update=final_update, final=final)
    this = experiment(tmp_path / "model", tmp_path / "ck", identity)
    facts = {"tokens_added": ["."], "precision": "float32 on the CPU", "left_out_of_training": {}}
    picture = tmp_path / "model" / "base_shares.png"
    picture.parent.mkdir()
    picture.write_text("of the final model before")
    write_record(this, Data(split, "0" * 64, []), run, facts)
    card = " ".join((tmp_path / "model" / "README.md").read_text(encoding="utf-8").split())
    assert told in card and untold not in card
    record = json.loads((tmp_path / "model" / "experiment.json").read_text(encoding="utf-8"))
    assert (record["final"], record["final_update"]) == (final, final_update)
    assert picture.exists() == (values.get("base_share") == "choose")
    assert not picture.exists() or picture.read_bytes().startswith(b"\x89PNG")


def test_a_command_keeps_no_folder_of_this_machine():
    arguments = [
        "--data",
        "/data/of/kim/processed",
        "--output=/mnt/disk/model",
        "--recipe",
        "v3",
        "data/x",
    ]
    assert public_command(arguments) == [
        "--data",
        "processed",
        "--output=model",
        "--recipe",
        "v3",
        "data/x",
    ]
    assert public_command(["--data", "../kim/data", "--output=~kim/model", "a/../../b"]) == [
        "--data",
        "data",
        "--output=model",
        "b",
    ]
