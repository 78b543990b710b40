import json
import shutil

import pytest

from korean_asr.errors import DataError
from korean_asr.model_folder import (
    base_of,
    default_manifest,
    owner,
    recipe_of,
    results_folder,
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
