"""The bundled corpus and base model are what data/demo/README.md says."""

import csv
import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import soundfile
import torch

from korean_asr.alignment import aligned
from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.manifest import OPTIONAL_KEYS, sentence_key
from korean_asr.model import load_recogniser
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.listing import listed_corpus
from korean_asr.transcripts import clean_transcript

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


@pytest.fixture(scope="module")
def slips():
    corpus = listed_corpus(
        DEMO / "foreign_slips", DEMO / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS
    )
    return list(raw_utterances(corpus))


def test_the_clips_are_16_khz_mono_of_1_to_6_seconds(korean, foreign, slips, demo):
    audio = [clip.audio for clip in korean + foreign + slips if clip.audio]
    assert len(audio) == demo.n_native_clips + demo.n_learner_clips + demo.n_slip_clips
    for path in audio:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert 1.0 <= info.duration <= 6.0, path


def test_the_data_is_small_enough_to_be_bundled():
    def size(name):
        return sum(path.stat().st_size for path in (DEMO / name).rglob("*") if path.is_file())

    assert size("korean") + size("foreign") + size("foreign_slips") < 20e6
    assert size("base_model") < 12e6
    assert size(".") < 30e6


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


def test_the_same_learners_read_four_slips_each(foreign, slips):
    speakers = Counter((clip.facts["first_language"], clip.facts["speaker"]) for clip in slips)
    assert set(speakers.values()) == {4}
    assert set(speakers) == {
        (clip.facts["first_language"], clip.facts["speaker"]) for clip in foreign
    }
    assert {clip.facts["task"] for clip in slips} == {"read"}
    assert not {clip.id for clip in slips} & {clip.id for clip in foreign}


def bare_text(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def slip_of(prompt: str, label: str) -> tuple[list[int], list[int]]:
    """Where the bare texts differ: positions in the prompt and in the label, runs of one slip."""
    pairs = aligned(prompt, label)
    other = [pair for pair in pairs if None in pair or prompt[pair[0]] != label[pair[1]]]
    first = pairs.index(other[0])
    assert pairs[first : first + len(other)] == other, (prompt, label)
    return tuple(
        [index for index in side if index is not None] for side in zip(*other, strict=True)
    )


def test_a_slip_changes_one_to_three_syllables_of_the_prompt_at_one_place(slips):
    for clip in slips:
        text = bare_text(clean_transcript(clip.raw, repair=False))
        changed = slip_of(bare_text(clip.facts["prompt"]), text)
        assert 1 <= max(map(len, changed)) <= 3, clip.raw


def test_the_base_model_can_write_each_slip_and_each_prompt(slips):
    vocab = json.loads((DEMO / "base_model" / "vocab.json").read_text(encoding="utf-8"))
    for clip in slips:
        text = bare_text(clean_transcript(clip.raw, repair=False) + clip.facts["prompt"])
        assert set(text) <= set(vocab), text


def test_no_syllable_of_a_slip_carries_an_accent_and_half_of_each_kind_is_likely(slips):
    lines = (DEMO / "foreign_slips.jsonl").read_text(encoding="utf-8").splitlines()
    written = {line["id"]: line for line in map(json.loads, lines)}
    assert set(written) == {clip.id for clip in slips}
    for clip in slips:
        line = written[clip.id]
        assert line["prompt"] == clip.facts["prompt"]
        assert line["text"] == clean_transcript(clip.raw, repair=False)
        _, said = slip_of(bare_text(line["prompt"]), bare_text(line["text"]))
        assert not {sound["index"] for sound in line["accented"]} & set(said), line["text"]
    kinds = Counter((line["kind"], line["likely"]) for line in written.values())
    assert len(kinds) == 12 and set(kinds.values()) == {4}


def table(name: str) -> list[dict[str, str]]:
    with (DEMO / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize(
    "name", ["korean_sentences.tsv", "slip_sentences.tsv", "training_sentences.tsv", "words.tsv"]
)
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
        for name in ("korean_sentences.tsv", "foreign_sentences.tsv", "slip_sentences.tsv")
        for row in table(name)
    }
    assert len(spoken) == demo.n_native_clips + demo.n_learner_clips + demo.n_slip_clips
    prompts = {sentence_key(row["prompt"]) for row in table("slip_sentences.tsv")}
    assert not trained & (spoken | prompts)


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
