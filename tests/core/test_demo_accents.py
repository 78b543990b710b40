"""data/demo/foreign_accents.jsonl says which syllables of the demo's learners carry an accent."""

import json
import unicodedata
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path

import pytest

from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.evaluation.confusions import letter
from korean_asr.manifest import OPTIONAL_KEYS
from korean_asr.metrics import jamo_position
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.listing import listed_corpus
from korean_asr.transcripts import clean_transcript

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"


@pytest.fixture(scope="module")
def learners():
    corpus = listed_corpus(DEMO / "foreign", DEMO / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS)
    return {clip.id: clip for clip in raw_utterances(corpus)}


@pytest.fixture(scope="module")
def written():
    lines = (DEMO / "foreign_accents.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def hangul(text):
    return [character for character in text if "가" <= character <= "힣"]


def by_place(syllable):
    jamo = unicodedata.normalize("NFD", syllable)
    return {jamo_position(each): letter(each) for each in jamo}


def test_every_learner_clip_has_one_line_and_every_line_a_clip(learners, written):
    assert sorted(line["id"] for line in written) == sorted(learners)
    for line in written:
        assert line["first_language"] == learners[line["id"]].facts["first_language"]
        assert Path(learners[line["id"]].audio).is_file()


def test_the_text_is_what_script_1_makes_of_the_label(learners, written):
    for line in written:
        assert clean_transcript(learners[line["id"]].raw, repair=False) == line["text"]
        assert len(hangul(line["pronunciation"])) == len(hangul(line["text"]))


def test_each_accent_stands_on_a_syllable_that_holds_its_jamo(written):
    for line in written:
        spoken = hangul(line["pronunciation"])
        places = [(sound["index"], sound["place"]) for sound in line["accented"]]
        assert len(places) == len(set(places)), line["id"]
        assert [index for index, _ in places] == sorted(index for index, _ in places), line["id"]
        for sound in line["accented"]:
            assert set(sound) == {"index", "place", "jamo", "heard"}
            assert by_place(spoken[sound["index"]])[sound["place"]] == sound["jamo"], line["id"]
            assert sound["heard"] != sound["jamo"]


def test_a_jamo_of_a_first_language_is_always_heard_alike(written):
    heard = defaultdict(set)
    for line in written:
        for sound in line["accented"]:
            heard[line["first_language"], sound["place"], sound["jamo"]].add(sound["heard"])
    assert all(len(others) == 1 for others in heard.values())


def test_an_onset_is_said_with_the_phonemes_of_the_jamo_that_is_heard(monkeypatch):
    monkeypatch.syspath_prepend(DEMO)
    accents, phonemes = import_module("accents"), import_module("phonemes")
    onsets = [said for those in accents.ACCENTS.values() for said in those if said.place == "onset"]
    assert len(onsets) == 12
    for said in onsets:
        tables = phonemes.ONSET_PHONEMES, phonemes.VOICED_ONSETS
        assert said.phonemes in [table.get(said.heard) for table in tables], said


def test_five_first_languages_or_more_have_twelve_clips_and_two_speakers_each(learners, written):
    clips = Counter(line["first_language"] for line in written)
    accented = Counter(line["first_language"] for line in written for _ in line["accented"])
    assert len(clips) >= 5
    for language, n_clips in clips.items():
        own = [clip for clip in learners.values() if clip.facts["first_language"] == language]
        assert n_clips >= 12 and accented[language] >= n_clips
        speakers = Counter(clip.facts["speaker"] for clip in own)
        assert len(speakers) >= 2 and min(speakers.values()) >= 5
        assert {clip.facts["task"] for clip in own} == {"read", "answer"}
        assert {clip.facts["gender"] for clip in own} == {"F", "M"}
