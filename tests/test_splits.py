import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.recipes import RECIPES
from korean_asr.splits import MIN_CLIPS, sentence_key, split_sizes, split_utterances, training_pool

V1, V3 = RECIPES["v1"], RECIPES["v3"]
ALL_CLIPS = replace(V3, clips_before_split=None)


def clips(n_clips, n_sentences=None, **facts):
    """Clips of so many sentences, each its own where n_sentences is None; no two share an id."""
    facts = {"theme": "dialog", "part": "training", **facts}
    return [
        Utterance(f"clip_{n:06}", f"/raw/{n}.wav", 1.0, f"문장 {n % (n_sentences or n_clips)}.", **facts)
        for n in range(n_clips)
    ]


def sizes(split):
    return tuple(len(part) for part in split.parts().values())


def everything(split):
    return [utterance for part in split.parts().values() for utterance in part]


@pytest.mark.parametrize(
    ("n_clips", "wanted"),
    [(8_000, (6_400, 800, 800)), (240, (192, 24, 24)), (10, (8, 1, 1)), (19, (17, 1, 1)), (101, (81, 10, 10))],
)
def test_a_tenth_goes_to_validation_and_a_tenth_to_test(n_clips, wanted):
    assert split_sizes(n_clips) == wanted
    split = split_utterances(clips(n_clips), V3)
    assert sizes(split) == wanted
    assert sorted(everything(split), key=lambda clip: clip.id) == clips(n_clips)


def test_v3_takes_8_000_clips_of_more_by_chance():
    split = split_utterances(clips(9_000), V3)
    assert sizes(split) == (6_400, 800, 800)
    assert len({clip.id for clip in everything(split)}) == 8_000
    left_out = {clip.id for clip in clips(9_000)} - {clip.id for clip in everything(split)}
    assert 50 < len([name for name in left_out if name < "clip_001000"]) < 200  # not the last thousand
    assert not any("asks for" in note for note in split.notes)


def test_the_order_of_the_listing_changes_nothing():
    wanted = split_utterances(clips(300), V3)
    shuffled = clips(300)
    random.Random(7).shuffle(shuffled)
    assert split_utterances(shuffled, V3) == split_utterances(clips(300)[::-1], V3) == wanted


def test_the_order_of_the_listing_changes_nothing_where_ids_repeat():
    twice = [replace(clip, id=f"clip_{n // 2}") for n, clip in enumerate(clips(100))]
    assert split_utterances(twice[::-1], V3) == split_utterances(twice, V3)


@pytest.mark.parametrize("recipe", [V1, V3], ids=["v1", "v3"])
def test_one_seed_gives_one_split_and_another_seed_another(recipe):
    one, again = (split_utterances(clips(300), recipe) for _ in range(2))
    other = split_utterances(clips(300), replace(recipe, seed=43))
    assert one == again
    assert {clip.id for clip in one.test} != {clip.id for clip in other.test}


def test_seed_42_draws_the_same_clips_on_every_machine():
    # random.Random(42).shuffle of ten, worked out apart: 7 3 2 8 5 6 9 4 0 1.
    split = split_utterances(clips(10), replace(V3, group_by="none"))
    assert [int(clip.id[-1]) for clip in everything(split)] == [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    sentences=st.lists(st.sampled_from("가나다라마바사아자차카타파하"), min_size=10, max_size=120),
    seed=st.integers(0, 99),
    n_single=st.integers(0, 40),
)
def test_a_sentence_never_lies_in_two_splits_and_no_clip_is_lost_or_doubled(sentences, seed, n_single):
    texts = sentences + [f"홀로 {n}" for n in range(n_single)]
    utterances = [Utterance(f"clip_{n:03}", f"/raw/{n}.wav", 1.0, text) for n, text in enumerate(texts)]
    try:
        split = split_utterances(utterances, replace(ALL_CLIPS, seed=seed))
    except DataError:  # too few sentences for three splits
        assert n_single <= len(texts) // 10
        return
    assert Counter(everything(split)) == Counter(utterances)
    assert all(sizes(split))
    found = [{sentence_key(clip.text) for clip in part} for part in split.parts().values()]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])


@settings(derandomize=True, max_examples=30, deadline=None)
@given(sentences=st.lists(st.sampled_from("가나다라마바"), min_size=0, max_size=40), seed=st.integers(0, 99))
def test_sizes_are_exact_where_most_sentences_are_said_once(sentences, seed):
    texts = sentences + [f"홀로 {n}" for n in range(200)]
    utterances = [Utterance(f"clip_{n:03}", f"/raw/{n}.wav", 1.0, text) for n, text in enumerate(texts)]
    split = split_utterances(utterances, replace(ALL_CLIPS, seed=seed))
    assert sizes(split) == split_sizes(len(texts))
    assert not any("exactly" in note for note in split.notes)


@pytest.mark.parametrize(("times", "n_repeated"), [(2, 96), (3, 75)])
def test_sizes_are_exact_as_long_as_single_sentences_can_fill_up(times, n_repeated):
    texts = [f"다시 {n // times}" for n in range(n_repeated)]
    texts += [f"홀로 {n}" for n in range(100 - len(texts))]
    utterances = [Utterance(f"clip_{n:03}", f"/raw/{n}.wav", 1.0, text) for n, text in enumerate(texts)]
    for seed in range(40):
        assert sizes(split_utterances(utterances, replace(ALL_CLIPS, seed=seed))) == (80, 10, 10)


def test_repeated_sentences_are_spread_in_proportion():
    twice = [replace(clip, text=f"다시 {n // 2}") for n, clip in enumerate(clips(1_000)) if n < 200]
    split = split_utterances(twice + clips(1_000)[200:], ALL_CLIPS)
    n_repeated = [sum(clip.text.startswith("다시") for clip in part) for part in split.parts().values()]
    assert n_repeated[0] > 130 and min(n_repeated) > 5  # 160, 20, 20 on the average


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("밥 먹었어?", "밥먹었어."),
        ("OK 밥.", "ok 밥"),
        ("밥", "밥!"),
        ("\u1107\u1161\u11b8", "밥"),
    ],
)
def test_spacing_punctuation_and_case_make_no_other_sentence(one, other):
    assert sentence_key(one) == sentence_key(other) != sentence_key("국")


def test_a_note_says_where_repeats_move_the_sizes():
    notes = split_utterances(clips(110, n_sentences=22), ALL_CLIPS).notes  # five of each do not make 11
    assert "repeated sentences were kept together, so the sizes are not exactly 8:1:1." in notes


def test_too_few_sentences_are_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"40 clips of 2 different sentences .* --group-by none"):
        split_utterances(clips(40, n_sentences=2), ALL_CLIPS)
    assert sizes(split_utterances(clips(40, n_sentences=2), replace(ALL_CLIPS, group_by="none"))) == (32, 4, 4)


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_v1_and_v2_keep_the_first_of_each_part(name):
    recipe = RECIPES[name]
    split = split_utterances(clips(16_000, n_sentences=50), recipe)  # 12,800 / 1,600 / 1,600 before the caps
    assert sizes(split) == (12_000, 1_500, 1_500)
    whole = split_utterances(clips(16_000, n_sentences=50), replace(recipe, split_caps=None))
    assert split.train == whole.train[:12_000] and split.test == whole.test[:1_500]
    assert {clip.text for clip in split.train} & {clip.text for clip in split.test}  # as they fall
    assert not any("fewer" in note for note in split.notes)


def test_fewer_clips_than_the_recipe_asks_for_are_all_used_and_noted():
    split = split_utterances(clips(240), V3)
    assert "240 clips where recipe v3 asks for 8,000: all are used, 8:1:1." in split.notes
    split = split_utterances(clips(240), V1)
    assert sizes(split) == (192, 24, 24)
    assert split.notes[-1] == (
        "fewer clips than recipe v1 asks for, all are used: train 192 of 12,000, validation 24 of 1,500, "
        "test 24 of 1,500."
    )


def test_the_training_part_of_dialog_is_drawn_where_the_manifest_knows_it():
    wanted = clips(20)
    others = clips(30, theme="hobby") + clips(40, part="validation")
    pool, notes = training_pool(others + wanted)
    assert pool == wanted
    assert notes == ["일상 (theme dialog): 60 of 90 clips.", "training part: 20 of 60 clips."]
    assert sizes(split_utterances(others + wanted, V3)) == (16, 2, 2)


@pytest.mark.parametrize(
    ("facts", "notes"),
    [
        (
            {"theme": None, "part": None},
            [
                "일상 (theme dialog): the manifest has none, so clips of every theme are drawn from.",
                "training part: the manifest has none, so clips of every part are drawn from.",
            ],
        ),
        (
            {"theme": "hobby"},
            [
                "일상 (theme dialog): the manifest has none, so clips of every theme are drawn from.",
                "training part: 20 of 20 clips.",
            ],
        ),
    ],
)
def test_a_manifest_that_does_not_know_gives_everything_and_a_note(facts, notes):
    assert training_pool(clips(20, **facts)) == (clips(20, **facts), notes)
    assert split_utterances(clips(20, **facts), V3).notes[:2] == tuple(notes)


def test_too_few_clips_are_refused_and_the_message_says_what_was_drawn_from():
    assert sizes(split_utterances(clips(MIN_CLIPS), V1)) == (8, 1, 1)
    with pytest.raises(DataError) as failure:
        split_utterances(clips(9), V3)
    assert str(failure.value) == "9 clips are too few to split 8:1:1: at least 10 are needed."
    with pytest.raises(DataError, match=r"3 clips are too few .* 일상 \(theme dialog\): 3 of 103 clips\."):
        split_utterances(clips(3) + clips(100, theme="hobby"), V3)
