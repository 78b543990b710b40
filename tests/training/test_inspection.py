import dataclasses
import pickle
from types import SimpleNamespace

import pytest

from korean_asr.errors import DataError
from korean_asr.model import expanded_base_model
from korean_asr.training.inspection import inspected, same_text_after_reload
from korean_asr.training.splits import Split
from recipes import RECIPES

V3 = RECIPES["v3"]


@pytest.fixture
def expanded(tiny_base):
    return expanded_base_model(str(tiny_base), V3)


@pytest.fixture
def split(utterances):
    gone = dataclasses.replace(utterances[0], id="gone", audio_filepath="/nowhere.wav")
    return Split([gone, *utterances[1:8]], utterances[8:10], utterances[10:], ())


def inspect(base, split, expanded, tmp_path, recipe=V3, n_trained=()):
    command = SimpleNamespace(base_model=str(base), check=False)
    experiment = SimpleNamespace(
        command=command,
        checkpoints=tmp_path / "ck",
        replaceable_bytes=lambda: 0,
        is_trained=lambda n_updates: n_updates in n_trained,
    )
    return inspected(experiment, recipe, split, *expanded)


def test_the_record_has_the_usable_clips_the_split_with_sounds_and_the_facts(
    tiny_base, split, expanded, tmp_path, capsys
):
    found = inspect(tiny_base, split, expanded, tmp_path)
    assert [clip.id for clip in found.train] == [clip.id for clip in split.train[1:]]
    assert found.split_files.keys() == {"train.jsonl", "validation.jsonl", "test.jsonl"}
    assert all(clip.audio_sha256 for clip in found.split_files["test.jsonl"])
    assert found.split_files["train.jsonl"][0].audio_sha256 is None
    assert found.facts["tokens_added"] == [".", ",", "?", "!"]
    assert found.facts["left_out_of_training"] == {"audio missing": 1}
    assert found.facts["step_0"]["holds"] and found.facts["overlap"]["train/test"]["id"] == 0
    assert found.facts["outside_vocabulary"]["train"]["n_outside"] == 0
    # The other processes get a copy.
    assert pickle.loads(pickle.dumps(found)) == found
    printed = capsys.readouterr().out
    for line in ("none of 12", "audio missing: train 1", "overlap", "free disk", "step 0: 2 of 2"):
        assert line in printed


def test_learners_are_checked_join_the_training_clips_and_lie_in_files_of_their_own(
    tiny_base, split, expanded, utterances, tmp_path, capsys
):
    both = dataclasses.replace(
        split,
        train=split.train[:4],
        foreign_train=[dataclasses.replace(split.train[0], id="far"), *utterances[4:6]],
        foreign_validation=utterances[6:7],
        foreign_test=[dataclasses.replace(utterances[7], text=utterances[1].text)],
    )
    found = inspect(tiny_base, both, expanded, tmp_path)
    assert [clip.id for clip in found.train] == [f"clip_{n:02}" for n in range(1, 6)]
    assert found.split_files.keys() == {f"{name}.jsonl" for name in both.parts()}
    assert len(found.split_files) == 6
    assert found.split_files["foreign_test.jsonl"][0].audio_sha256
    assert found.facts["left_out_of_training"] == {"audio missing": 2}
    assert found.facts["overlap"]["train/foreign_test"]["sentence"] == 1
    assert found.facts["outside_vocabulary"]["foreign_test"]["n_labels"] == 1
    printed = capsys.readouterr().out
    assert "audio missing: train 1, foreign_train 1 (left out of training)" in printed


def test_what_the_base_model_was_trained_on_is_kept_beside_the_split(
    tiny_base, split, expanded, tmp_path, monkeypatch
):
    monkeypatch.setattr("korean_asr.training.inspection.trained_on", lambda source: split.test)
    found = inspect(tiny_base, split, expanded, tmp_path)
    assert found.split_files["earlier.jsonl"] == split.test


def test_a_disk_that_is_too_small_stops_the_run(tiny_base, split, expanded, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match="the checkpoints need"):
        inspect(tiny_base, split, expanded, tmp_path)


def test_once_all_updates_are_made_the_disk_needs_room_for_the_model_alone(
    tiny_base, split, expanded, tmp_path, monkeypatch
):
    room = 4 * expanded[0].n_parameters()[0]
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=room))
    # 7 clips in 10 epochs of one update.
    inspect(tiny_base, split, expanded, tmp_path, n_trained={10})
    with pytest.raises(DataError, match="the checkpoints need"):
        inspect(tiny_base, split, expanded, tmp_path, n_trained={9})


def test_a_head_that_starts_anew_keeps_its_biases(tiny_base, split, tmp_path):
    recipe = RECIPES["v3-as-run"]
    recogniser, added = expanded_base_model(str(tiny_base), recipe)
    before = recogniser.model.lm_head.bias.clone()
    found = inspect(tiny_base, split, (recogniser, added), tmp_path, recipe)
    assert (recogniser.model.lm_head.bias == before).all()
    assert not found.facts["step_0"]["holds"]


def test_a_saved_model_is_loaded_again_and_compared(split, expanded, tmp_path):
    expanded[0].save(tmp_path / "model")
    assert same_text_after_reload(expanded[0], tmp_path / "model", split.validation) == 2
