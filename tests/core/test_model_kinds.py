"""Kinds of models: the files that each needs, its languages, and code in a folder."""

import json
import os
import pickle
import shutil
from types import SimpleNamespace

import pytest

from korean_asr.ctc_models import load_ctc
from korean_asr.errors import DataError, UsageError
from korean_asr.model import load_recogniser
from korean_asr.model_folder import model_folder
from korean_asr.model_kinds import (
    chosen_language,
    kind_of,
    languages_of,
    refuse_other_kind,
    writes_characters,
)
from korean_asr.whisper import load_whisper


def folder_of(tmp_path, **files):
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_a_kind_is_told_by_its_name_whatever_the_name_holds(tmp_path):
    folder = folder_of(tmp_path, config={"model_type": "\x1b[2Jparakeet\n"})
    assert kind_of(folder) == "?[2Jparakeet?"
    with pytest.raises(DataError, match=r"is a \?\[2Jparakeet\? model; .*--rescore") as error:
        refuse_other_kind(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ['{"model_type": 3}', "{", "[]", "{}", None])
def test_a_folder_that_does_not_say_its_kind_is_of_wav2vec2(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert kind_of(tmp_path) == "wav2vec2"
    refuse_other_kind(tmp_path)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path):
    for name in ("config.json", "vocab.json"):
        os.mkfifo(tmp_path / name)
    assert kind_of(tmp_path) == "wav2vec2" and languages_of(tmp_path) == []


NESTED = {name: {"가": 0} for name in ("eng", "abk", "deu", "kor", "fra", "spa", "jpn")}
MULTILINGUAL = {"is_multilingual": True, "lang_to_id": {"<|en|>": 7, "<|ko|>": 8}}


def mms(tmp_path, vocabulary):
    return folder_of(tmp_path, config={"model_type": "wav2vec2"}, vocab=vocabulary)


def whisper(tmp_path, **settings):
    settings = MULTILINGUAL | settings
    return folder_of(tmp_path, config={"model_type": "whisper"}, generation_config=settings)


def test_a_vocabulary_of_several_languages_asks_for_one_and_shows_some(tmp_path):
    folder = mms(tmp_path, NESTED)
    with pytest.raises(UsageError) as error:
        chosen_language(folder, None)
    assert "pass --language kor. Its vocabulary has kor, eng, abk, deu, fra and 2 more." in str(
        error.value
    )
    assert chosen_language(folder, "kor") == chosen_language(folder, "ko") == "kor"
    assert chosen_language(folder, "deu") == "deu"
    with pytest.raises(UsageError, match="--language xyz: .* does not know it. It has kor, eng"):
        chosen_language(folder, "xyz")


def test_without_korean_another_language_is_the_example(tmp_path):
    with pytest.raises(UsageError, match="pass --language eng. Its vocabulary has eng, deu. "):
        chosen_language(mms(tmp_path, {"eng": {"a": 0}, "deu": {"a": 0}}), None)
    with pytest.raises(UsageError, match="--language ko: .* does not know it"):
        chosen_language(tmp_path, "ko")


def test_whisper_writes_korean_unless_another_language_is_asked_for(tmp_path):
    folder = whisper(tmp_path)
    chosen = [chosen_language(folder, wanted) for wanted in (None, "ko", "kor", "en")]
    assert chosen == ["ko", "ko", "ko", "en"]
    with pytest.raises(UsageError, match="--language de: .* It has ko, en"):
        chosen_language(folder, "de")


def test_a_whisper_without_korean_must_be_told_a_language(tmp_path):
    folder = whisper(tmp_path, lang_to_id={"<|en|>": 7})
    with pytest.raises(UsageError, match="pass --language en"):
        chosen_language(folder, None)


@pytest.mark.parametrize("settings", [{"is_multilingual": False}, {"lang_to_id": None}])
def test_a_model_of_one_language_has_none_to_choose(tmp_path, settings):
    folder = whisper(tmp_path, **settings)
    assert (languages_of(folder), chosen_language(folder, "ko")) == ([], None)


def test_only_a_flat_vocabulary_of_ctc_tells_what_a_model_can_write(tmp_path):
    flat = mms(tmp_path, {"가": 0})
    assert writes_characters(flat) and languages_of(flat) == []
    assert not writes_characters(mms(tmp_path, NESTED))
    assert not writes_characters(folder_of(tmp_path, config={"model_type": "whisper"}))


def test_a_damaged_file_of_another_kind_is_not_said_to_be_of_wav2vec2(tiny_whisper, tmp_path):
    copy = shutil.copytree(tiny_whisper, tmp_path / "copy")
    (copy / "tokenizer.json").write_text("{")
    told = (
        "copy is not a model for speech recognition that can be loaded as whisper: tokenizer.json"
    )
    with pytest.raises(DataError, match=f"{told} cannot be read") as error:
        model_folder(str(copy))
    assert "\n" not in str(error.value)


def test_the_hub_is_asked_for_what_a_kind_needs_and_for_no_code(tmp_path, monkeypatch):
    names = [
        "config.json", "model.safetensors", "pytorch_model.bin", "merges.txt", "modeling.py",
        "adapter.kor.safetensors", "adapter.kor.bin", "adapter.eng.safetensors",
    ]  # fmt: skip
    asked = []

    def snapshot_download(name, allow_patterns=(), local_files_only=False):
        asked.append(list(allow_patterns))
        raise FileNotFoundError if local_files_only else ValueError("enough")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    siblings = [SimpleNamespace(rfilename=name) for name in names]
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda *_: SimpleNamespace(siblings=siblings)
    )
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *_, **__: SimpleNamespace(close=lambda: None)
    )
    for language in (None, "kor"):
        with pytest.raises(DataError, match="enough"):
            model_folder("somebody/mms", language)
    whole = ["*.json", "model.safetensors", "merges.txt"]
    assert asked[1::2] == [whole, [*whole, "adapter.kor.safetensors"]]


@pytest.fixture(params=["wav2vec2", "hubert", "mms", "whisper"])
def any_model(request, tiny_base, other_ctc, tiny_mms, tiny_whisper, tmp_path):
    """(a copy of a folder of some kind, load(folder))."""
    kinds = {
        "wav2vec2": lambda: (tiny_base, lambda folder: load_recogniser(str(folder))),
        "hubert": lambda: (other_ctc("hubert"), lambda folder: load_ctc(str(folder))),
        "mms": lambda: (tiny_mms, lambda folder: load_ctc(str(folder), "kor")),
        "whisper": lambda: (tiny_whisper, lambda folder: load_whisper(str(folder), "ko")),
    }
    folder, load = kinds[request.param]()
    return shutil.copytree(folder, tmp_path / "copy"), load


CODE = "from pathlib import Path\nPath({path!r}).touch()\n"
CLASSES = ("AutoConfig", "AutoModel", "AutoModelForCTC", "AutoModelForSpeechSeq2Seq")


def test_code_in_a_folder_is_never_run_nor_asked_about(any_model, tmp_path, monkeypatch):
    folder, load = any_model
    ran = tmp_path / "ran"
    code = CODE.format(path=str(ran)) + "class Other: ...\n"
    (folder / "modeling.py").write_text(code, encoding="utf-8")
    names = {
        "config.json": dict.fromkeys(CLASSES, "modeling.Other"),
        "tokenizer_config.json": {"AutoTokenizer": ["modeling.Other", "modeling.Other"]},
        "preprocessor_config.json": {
            "AutoFeatureExtractor": "modeling.Other", "AutoProcessor": "modeling.Other",
        },
    }  # fmt: skip
    for name, auto_map in names.items():
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | {"auto_map": auto_map}), encoding="utf-8")

    def ask(*_):
        raise AssertionError("a question on the terminal")

    monkeypatch.setattr("builtins.input", ask)
    load(folder)
    assert not ran.exists()


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_of_weights_that_would_run_code_is_refused(any_model, tmp_path):
    folder, load = any_model
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(DataError, match="copy cannot be loaded as") as error:
        load(folder)
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()


def test_a_pickle_of_a_language_that_would_run_code_is_refused(tiny_mms, tmp_path):
    folder = shutil.copytree(tiny_mms, tmp_path / "copy")
    (folder / "adapter.kor.safetensors").unlink()
    (folder / "adapter.kor.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(DataError, match="copy cannot be loaded as") as error:
        load_ctc(str(folder), "kor")
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()
