"""The bundled corpus and base model are what data/demo/README.md says."""

import csv
import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import soundfile
import torch

from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.manifest import OPTIONAL_KEYS, sentence_key
from korean_asr.model import load_recogniser
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.listing import listed_corpus

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"


@pytest.fixture(scope="module")
def korean():
    return list(
        raw_utterances(
            listed_corpus(DEMO / "korean", DEMO / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS)
        )
    )


@pytest.fixture(scope="module")
def foreign():
    return list(
        raw_utterances(
            listed_corpus(DEMO / "foreign", DEMO / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS)
        )
    )


def test_the_clips_are_16_khz_mono_of_1_to_6_seconds(korean, foreign, demo):
    audio = [clip.audio for clip in korean + foreign if clip.audio]
    assert len(audio) == demo.n_native_clips + demo.n_learner_clips
    for path in audio:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert 1.0 <= info.duration <= 6.0, path


def test_the_data_is_small_enough_to_be_bundled():
    def size(name):
        return sum(path.stat().st_size for path in (DEMO / name).rglob("*") if path.is_file())

    assert size("korean") + size("foreign") < 20e6
    assert size("base_model") < 12e6


def test_natives_and_learners_of_six_first_languages_speak(korean, foreign, demo):
    metadata = [
        line.split(" | ")
        for path in (DEMO / "korean").rglob("*_metadata.txt")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    genders = Counter(dict.fromkeys((fields[1], fields[3]) for fields in metadata))
    assert len({speaker for speaker, _ in genders}) == len(genders) == demo.n_native_speakers
    assert Counter(gender for _, gender in genders) == {"F": 9, "M": 9}
    assert {clip.facts["first_language"] for clip in foreign} == {*demo.first_languages}
    assert len({clip.facts["speaker"] for clip in foreign}) == demo.n_learners


def test_labels_carry_what_real_ones_carry(korean, foreign):
    lines = [clip.raw for clip in korean]
    for mark in ("b/", "n/", "어/", "+", "*", ")/(", ",", ".", "?", "!", "@", "#", "A:"):
        assert any(mark in line for line in lines), mark
    labels = [clip.raw for clip in foreign]
    assert not any(mark in label for label in labels for mark in ".,?!")
    for mark in ("un/", "sn/", "어/", "+"):
        assert any(mark in label for label in labels), mark


def table(name: str) -> list[dict[str, str]]:
    with (DEMO / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("name", ["korean_sentences.tsv", "training_sentences.tsv", "words.tsv"])
def test_a_pronunciation_has_the_syllables_of_its_text_with_the_seven_codas_of_korean(name):
    codas = {"", *(unicodedata.normalize("NFD", "각난닫랄맘밥앙")[2::3])}
    for row in table(name):
        spelled, said = row.get("spoken") or row["word"], row["pronunciation"]
        assert ["가" <= c <= "힣" for c in spelled] == ["가" <= c <= "힣" for c in said], row
        assert {unicodedata.normalize("NFD", c)[2:] for c in said if "가" <= c <= "힣"} <= codas, (
            row
        )


def test_no_sentence_of_the_corpus_was_written_for_the_training_of_the_base_model(demo):
    trained = {sentence_key(row["spoken"]) for row in table("training_sentences.tsv")}
    spoken = {
        sentence_key(row["spoken"])
        for name in ("korean_sentences.tsv", "foreign_sentences.tsv")
        for row in table(name)
    }
    assert len(spoken) == demo.n_native_clips + demo.n_learner_clips
    assert not trained & spoken


def test_the_base_model_keeps_the_conventions_of_the_real_one(demo):
    vocab = json.loads((DEMO / "base_model" / "vocab.json").read_text(encoding="utf-8"))
    config = json.loads((DEMO / "base_model" / "config.json").read_text(encoding="utf-8"))
    size = len(vocab)
    assert (vocab["[UNK]"], vocab["[PAD]"]) == (size - 2, size - 1)
    assert 0 < vocab["|"] < size - 3
    assert config["vocab_size"] == size
    assert config["pad_token_id"] == vocab["[PAD]"]
    assert config["do_stable_layer_norm"] and config["feat_extract_norm"] == "layer"
    assert not {"<s>", "</s>", *".,?!"} & set(vocab)
    assert all("가" <= token <= "힣" for token in vocab if len(token) == 1 and token != "|")
    assert sum("가" <= token <= "힣" for token in vocab) >= demo.n_syllables_of_base


def test_special_tokens_of_the_base_tokenizer_lie_outside_its_head():
    recogniser = load_recogniser(str(DEMO / "base_model"))
    head = recogniser.model.config.vocab_size
    assert recogniser.tokenizer.convert_tokens_to_ids(["<s>", "</s>"]) == [head, head + 1]
    assert len(recogniser.tokenizer) == head + 2
    assert recogniser.model.dtype == torch.float32
