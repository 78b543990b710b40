import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.overlap import overlaps
from korean_asr.training.learners import wants_learners, with_learners
from korean_asr.training.splits import FOREIGN_NAMES, Split, printed_split
from recipes import RECIPES

V3 = RECIPES["v3"]
LANGUAGES = ("베트남어", "영어", "중국어")
NATIVES = Split(
    [Utterance("k0", "/k0.wav", 1.0, "가")],
    [Utterance("k1", "/k1.wav", 1.0, "나")],
    [Utterance("k2", "/k2.wav", 1.0, "다")],
    ("a note.",),
)


def spoken(*n_clips, languages=LANGUAGES):
    """Make n_clips[i] clips of learner i; first languages come in turn."""
    speakers = [n for n, count in enumerate(n_clips) for _ in range(count)]
    return [
        Utterance(
            f"f{index:03}",
            f"/raw/f{index}.wav",
            1.0,
            f"문장 {index}",
            f"learner {n}",
            first_language=languages[n % len(languages)],
        )
        for index, n in enumerate(speakers)
    ]


def asking(validation=0, train=0, seed=42):
    return replace(V3, learner_validation=validation, learner_train=train, seed=seed)


def learners(split):
    return {name: getattr(split, name) for name in FOREIGN_NAMES}


def speakers(split):
    return {name: {clip.speaker for clip in part} for name, part in learners(split).items()}


@settings(derandomize=True, database=None, max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=14),
    validation=st.integers(0, 40),
    train=st.integers(0, 40),
    seed=st.integers(0, 9),
    n_unknown=st.integers(0, 3),
)
def test_a_learner_lies_in_one_split_and_no_split_has_more_clips_than_were_asked_for(
    counts, validation, train, seed, n_unknown
):
    known = spoken(*counts)
    unknown = [replace(clip, id=f"x{clip.id}", speaker=None) for clip in known[:n_unknown]]
    clips, recipe = known + unknown, asking(validation, train, seed)
    try:
        split = with_learners(NATIVES, clips, recipe)
    except DataError as error:
        if validation + train >= sum(counts):
            assert "leave no clip" in str(error)
        elif 0 < validation < min(counts):
            assert f"--learner-validation {validation}: speakers" in str(error)
        else:
            left = with_learners(NATIVES, clips, asking(validation, 0, seed)).foreign_test
            assert f"--learner-train {train}: speakers" in str(error)
            assert 0 < train < min(Counter(clip.speaker for clip in left).values())
        return
    # Natives' clips stay what they are, and no learner's clip is lost or doubled.
    assert (split.train, split.validation, split.test) == (
        NATIVES.train,
        NATIVES.validation,
        NATIVES.test,
    )
    drawn = [clip for part in learners(split).values() for clip in part]
    assert Counter(clip.id for clip in drawn) == Counter(clip.id for clip in known)
    found = list(speakers(split).values())
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    for part, wanted in ((split.foreign_validation, validation), (split.foreign_train, train)):
        assert len(part) <= wanted and bool(part) == bool(wanted)
        # Whoever is left does not fit.
        of_test = Counter(clip.speaker for clip in split.foreign_test)
        assert not wanted or min(of_test.values()) > wanted - len(part)
    assert split.foreign_test
    # Neither the order of the listing nor another value changes a draw.
    shuffled = random.Random(seed).sample(clips, len(clips))
    assert with_learners(NATIVES, shuffled, recipe) == split
    if validation and train:
        alone = with_learners(NATIVES, clips, asking(validation, 0, seed))
        assert alone.foreign_validation == split.foreign_validation


def test_learners_are_spread_over_first_languages():
    # Twelve of the first language for one of each other: in turn, not in proportion.
    many = spoken(*[4] * 12, languages=LANGUAGES[:1])
    few = [
        replace(clip, id=f"g{clip.id}", speaker=f"g {clip.speaker}")
        for clip in spoken(4, 4, languages=LANGUAGES[1:])
    ]
    for seed in range(20):
        split = with_learners(NATIVES, many + few, asking(validation=12, seed=seed))
        languages = Counter(clip.first_language for clip in split.foreign_validation)
        assert languages == dict.fromkeys(LANGUAGES, 4)


def test_another_seed_draws_other_learners():
    drawn = {
        frozenset(speakers(with_learners(NATIVES, spoken(*[3] * 30), asking(9, 9, seed)))[name])
        for seed in range(5)
        for name in ("foreign_validation", "foreign_train")
    }
    assert len(drawn) == 10


def test_learners_are_drawn_only_where_the_recipe_asks_for_them():
    wanting = [name for name, recipe in RECIPES.items() if wants_learners(recipe)]
    assert wanting == ["listener", "demo-listener"]
    assert wants_learners(asking(validation=1)) and wants_learners(asking(train=1))
    assert list(NATIVES.parts()) == ["train", "validation", "test"]
    assert NATIVES.training_texts == ["가"]
    split = with_learners(NATIVES, spoken(3, 3, 3), asking(train=3))
    assert list(split.parts()) == ["train", "validation", "test", "foreign_train", "foreign_test"]
    assert split.training_texts == ["가", *(clip.text for clip in split.foreign_train)]
    assert not split.foreign_validation


def test_the_printed_split_has_a_row_for_each_and_says_what_is_trained_on_and_what_left_out():
    unknown = replace(spoken(1)[0], id="x", speaker="")
    split = with_learners(NATIVES, [*spoken(3, 3, 3), unknown], asking(4, 3))
    lines = printed_split(split).splitlines()
    assert lines[:4] == [
        "a note.",
        "learners: speaker unknown: 1 of 10 clips, which were left out.",
        "foreign_validation: 3 clips where --learner-validation asks for 4, since each speaker "
        "was kept whole.",
        "training: 1 clips of natives and 3 of learners · 학습자 발화를 학습에 포함합니다.",
    ]
    assert [line.split() for line in lines[8:]] == [
        [name, "3", "0.00", "1"] for name in FOREIGN_NAMES
    ]


def test_of_a_large_test_split_some_clips_are_checked_and_the_others_have_no_checksum(monkeypatch):
    split = with_learners(NATIVES, spoken(2, 2, 3), asking(train=2))
    assert split.checked() == split.parts()
    monkeypatch.setattr("korean_asr.training.splits.MAX_CHECKED_FOREIGN_TEST", 2)
    split = with_learners(NATIVES, spoken(2, 2, 3), asking(train=2))
    assert len(split.foreign_test) == 5
    checked = split.checked()
    assert checked["foreign_test"] == split.foreign_test[::3]
    assert checked | {"foreign_test": split.foreign_test} == split.parts()
    assert split.notes[-1].startswith("foreign_test: 2 of 5 clips are checked before training.")
    heard = split.with_sounds({name: [*"ab"][: len(part)] for name, part in checked.items()})
    assert [clip.audio_sha256 for clip in heard.foreign_test] == ["a", None, None, "b", None]
    assert [clip.audio_sha256 for clip in heard.foreign_train] == ["a", "b"]


@pytest.mark.parametrize(
    ("n_clips", "recipe", "told"),
    [
        (
            (5, 4),
            asking(4, 5),
            "--learner-validation 4 and --learner-train 5 leave no clip for the test split of "
            "learners: foreign.jsonl has 9 clips of known speakers.",
        ),
        ((5, 4), asking(train=900), "--learner-validation 0 and --learner-train 900 leave no clip"),
        (
            (5, 4),
            asking(3),
            "--learner-validation 3: speakers are kept whole, and of those that are left the one "
            "with the fewest clips has 4.",
        ),
        ((9, 2), asking(2, 8), "--learner-train 8: speakers are kept whole, .* clips has 9."),
    ],
)
def test_values_that_cannot_be_met_are_told_in_one_line(n_clips, recipe, told):
    with pytest.raises(DataError, match=told) as failure:
        with_learners(NATIVES, spoken(*n_clips), recipe)
    assert "\n" not in str(failure.value)


def test_learners_without_a_known_speaker_cannot_be_kept_apart():
    unknown = [replace(clip, speaker=None) for clip in spoken(3, 3)]
    with pytest.raises(DataError, match=r"none of the 6 clips .* --learner-validation 0"):
        with_learners(NATIVES, unknown, asking(3))


def test_overlap_compares_learners_with_natives_but_not_splits_of_one_purpose():
    split = with_learners(NATIVES, spoken(3, 3, 3), asking(3, 3))
    said_again = [replace(split.foreign_test[0], text="가."), *split.foreign_test[1:]]
    found = overlaps(replace(split, foreign_test=said_again).parts())
    assert found["train/foreign_test"]["sentence"] == 1
    assert found["foreign_train/foreign_test"] == {
        "id": 0, "audio": None, "sentence": 0, "speaker": 0,
    }  # fmt: skip
    assert len(found) == 12 and "train/foreign_train" not in found
    assert json.loads(json.dumps(found)) == found
