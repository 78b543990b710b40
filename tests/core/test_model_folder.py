import json
import os
import shutil

import pytest

from korean_asr.errors import DataError
from korean_asr.model_folder import (
    base_of,
    default_foreign_manifest,
    default_manifest,
    model_folder,
    owner,
    recipe_of,
    results_folder,
    split_folder,
    weights_checksum,
)


def made_from(folder, tiny_base, source, sha256):
    folder.mkdir()
    record = {
        "recipe": {"name": "demo"},
        "base_model": {"name": "b", "sha256": sha256},
        "base_model_source": source,
    }
    (folder / "experiment.json").write_text(json.dumps(record), encoding="utf-8")
    return str(folder)


def test_the_base_is_read_from_where_script_2_read_it(tiny_base, tmp_path):
    model = made_from(tmp_path / "model", tiny_base, str(tiny_base), weights_checksum(tiny_base))
    assert base_of(model) == str(tiny_base)
    assert recipe_of(model) == "demo" and recipe_of(str(tmp_path)) is None


@pytest.mark.parametrize("name", ["added_tokens.json", "processor_config.json"])
def test_a_pipe_among_the_files_of_a_model_is_not_waited_for(tiny_base, tmp_path, name):
    folder = shutil.copytree(tiny_base, tmp_path / "model")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert model_folder(str(folder)) == folder


def test_another_model_in_the_folder_of_the_base_is_refused(tiny_base, tmp_path):
    model = made_from(tmp_path / "model", tiny_base, str(tiny_base), "0" * 64)
    with pytest.raises(DataError, match="is not the model that .* was trained from"):
        base_of(model)


def test_a_base_that_is_gone_or_was_never_named_is_asked_for(tiny_base, tmp_path):
    with pytest.raises(DataError, match="is not here. Pass its folder as another --model"):
        base_of(made_from(tmp_path / "model", tiny_base, "nowhere", "0"))
    with pytest.raises(DataError, match="does not say which base model"):
        base_of(str(tiny_base))


def test_the_first_model_with_a_split_gives_manifest_and_results_folder(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "model")
    (tmp_path / "model" / "split").mkdir()
    (tmp_path / "model" / "split" / "test.jsonl").touch()
    sources = [str(tiny_base), str(tmp_path / "model")]
    assert default_manifest(sources) == tmp_path / "model" / "split" / "test.jsonl"
    assert results_folder(sources) == tmp_path / "model" / "results"
    assert owner(sources) == 1
    with pytest.raises(DataError, match="--manifest"):
        default_manifest([str(tiny_base)])


def test_the_first_model_with_a_test_split_of_learners_gives_script_4_its_manifest(
    tiny_base, tmp_path
):
    all_learners = tmp_path / "foreign.jsonl"
    sources = [str(tiny_base), str(tmp_path / "natives"), str(tmp_path / "both" / "checkpoint-2")]
    for name in ("natives", "both"):
        (tmp_path / name / "split").mkdir(parents=True)
        (tmp_path / name / "split" / "test.jsonl").touch()
    assert default_foreign_manifest(sources, all_learners) == all_learners
    test = tmp_path / "both" / "split" / "foreign_test.jsonl"
    test.touch()
    assert default_foreign_manifest(sources, all_learners) == test
    assert default_foreign_manifest(sources[:2], all_learners) == all_learners


def checkpoint_of(folder, tiny_base, **record):
    """A checkpoint as script 2 leaves it: split/ and run.json lie beside it."""
    shutil.copytree(tiny_base, folder / "checkpoint-4")
    (folder / "split").mkdir()
    (folder / "split" / "test.jsonl").touch()
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return str(folder / "checkpoint-4")


def test_a_checkpoint_has_split_recipe_and_base_of_the_folder_that_it_lies_in(
    tiny_base, tmp_path, monkeypatch
):
    base = {"name": "b", "sha256": weights_checksum(tiny_base)}
    checkpoint = checkpoint_of(
        tmp_path / "run",
        tiny_base,
        recipe={"name": "demo"},
        base_model=base,
        base_model_source=str(tiny_base),
    )
    for source in (checkpoint, f"{checkpoint}/"):
        assert default_manifest([source]) == tmp_path / "run" / "split" / "test.jsonl"
        assert results_folder([source]) == tmp_path / "run" / "checkpoint-4" / "results"
        assert owner([str(tiny_base), source]) == 1
        assert recipe_of(source) == "demo" and base_of(source) == str(tiny_base)
    monkeypatch.chdir(checkpoint)
    assert default_manifest(["."]).is_file() and base_of(".") == str(tiny_base)


def test_a_checkpoint_of_an_earlier_version_knows_its_base_by_name(
    tiny_base, tmp_path, monkeypatch
):
    base = {"name": tiny_base.name, "sha256": weights_checksum(tiny_base)}
    checkpoint = checkpoint_of(tmp_path / "run", tiny_base, base_model=base)
    monkeypatch.chdir(tiny_base.parent)
    assert base_of(checkpoint) == tiny_base.name
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is not here. Pass its folder"):
        base_of(checkpoint)


def test_a_folder_of_another_name_has_no_part_in_the_folder_above_it(tiny_base, tmp_path):
    checkpoint_of(tmp_path / "run", tiny_base, recipe={"name": "demo"})
    other = shutil.copytree(tiny_base, tmp_path / "run" / "other")
    assert split_folder(str(other)) is None and recipe_of(str(other)) is None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"a":' * 100_000,
        '{"recipe": "v3"}',
        '{"recipe": {"name": 3}}',
        '{"base_model": [1]}',
        '{"base_model": {"sha256": 5}}',
        '{"base_model_source": {}}',
    ],
    ids=lambda content: content[:30],
)
@pytest.mark.parametrize("name", ["checkpoint-4/experiment.json", "run.json"])
def test_a_damaged_record_of_a_model_is_named(tiny_base, tmp_path, name, content):
    checkpoint = checkpoint_of(tmp_path / "run", tiny_base)
    (tmp_path / "run" / name).write_text(content, encoding="utf-8")
    for read in (recipe_of, base_of):
        with pytest.raises(DataError, match=f"{name} is damaged"):
            read(checkpoint)
