"""Draw learners' clips for validation and training; the rest of foreign.jsonl is their test."""

import random
from collections import Counter, defaultdict
from dataclasses import replace

from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.training.splits import FOREIGN_NAMES, Split, in_order

# The splits that are drawn, in this order, and the recipe value that says how many clips each has.
# Validation comes first, so that it stays the same whatever is trained on.
DRAWN = {"foreign_validation": "learner_validation", "foreign_train": "learner_train"}


def wants_learners(recipe) -> bool:
    """Whether a recipe asks for clips of learners."""
    return any(getattr(recipe, value) for value in DRAWN.values())


def with_learners(split: Split, utterances: list[Utterance], recipe) -> Split:
    """Add the splits of learners to a split; every speaker is in one of them alone.

    utterances: the clips of foreign.jsonl. Clips of unknown speakers are in none, since they might
        be a speaker of another one.
    Each split that is drawn has at most as many clips as the recipe asks for. One seed gives one
    draw, whatever the order of the clips.
    Raises DataError where no speaker is known, no speaker fits, or nothing is left for the test.
    """
    known = in_order([clip for clip in utterances if clip.speaker])
    _refuse_too_few(known, len(utterances), recipe)
    rng, left, parts = random.Random(recipe.seed), known, {}
    for name, value in DRAWN.items():
        wanted = getattr(recipe, value)
        drawn = _drawn(left, wanted, rng) if wanted else set()
        if wanted and not drawn:
            fewest = min(Counter(clip.speaker for clip in left).values(), default=0)
            raise DataError(
                f"{_option(value)} {wanted:,}: speakers are kept whole, and of those that are left "
                f"the one with the fewest clips has {fewest:,}. Change the value. "
                "· 화자 한 명의 발화가 이 값보다 많습니다."
            )
        parts[name] = [clip for clip in left if clip.speaker in drawn]
        left = [clip for clip in left if clip.speaker not in drawn]
    parts["foreign_test"] = left
    split = replace(split, **parts)
    notes = _notes(split, len(utterances), recipe)
    return replace(split, notes=(*split.notes, *notes))


def _refuse_too_few(known: list[Utterance], n_clips: int, recipe) -> None:
    if not known:
        raise DataError(
            f"none of the {n_clips:,} clips of foreign.jsonl names its speaker, so learners cannot "
            "be kept apart. Pass --learner-validation 0 --learner-train 0. "
            "· 화자 정보가 없어 학습자를 나눌 수 없습니다."
        )
    wanted = {value: getattr(recipe, value) for value in DRAWN.values()}
    if sum(wanted.values()) >= len(known):
        asked = " and ".join(f"{_option(value)} {n:,}" for value, n in wanted.items())
        raise DataError(
            f"{asked} leave no clip for the test split of learners: foreign.jsonl has "
            f"{len(known):,} clips of known speakers. Ask for fewer. "
            "· 평가에 사용할 학습자 발화가 남지 않습니다."
        )


def _drawn(clips: list[Utterance], wanted: int, rng: random.Random) -> set[str]:
    """Draw speakers with at most `wanted` clips together, spread over first languages.

    The next speaker is of the language with the fewest clips so far; one who does not fit is passed
    over. Empty where nobody fits.
    """
    n_clips = Counter(clip.speaker for clip in clips)
    language_of = {clip.speaker: clip.first_language or "" for clip in clips}
    queues: dict[str, list[str]] = defaultdict(list)
    speakers = sorted(n_clips)
    rng.shuffle(speakers)
    for speaker in speakers:
        queues[language_of[speaker]].append(speaker)
    # min() takes the first of equals: the language of the first speaker in the shuffled order.
    n_drawn, drawn = Counter(), set()
    while queues:
        language = min(queues, key=lambda language: n_drawn[language])
        speaker = queues[language].pop(0)
        if n_drawn.total() + n_clips[speaker] <= wanted:
            n_drawn[language] += n_clips[speaker]
            drawn.add(speaker)
        if not queues[language]:
            del queues[language]
    return drawn


def _notes(split: Split, n_clips: int, recipe) -> list[str]:
    """Say what was left out, where fewer clips were drawn than asked for, and what is trained on.

    n_clips: the clips of foreign.jsonl.
    """
    notes, n_known = [], sum(len(getattr(split, name)) for name in FOREIGN_NAMES)
    if n_known < n_clips:
        notes.append(
            f"learners: speaker unknown: {n_clips - n_known:,} of {n_clips:,} clips, which were "
            "left out."
        )
    for name, value in DRAWN.items():
        n_drawn, wanted = len(getattr(split, name)), getattr(recipe, value)
        if n_drawn < wanted:
            notes.append(
                f"{name}: {n_drawn:,} clips where {_option(value)} asks for {wanted:,}, since each "
                "speaker was kept whole."
            )
    if split.foreign_train:
        notes.append(
            f"training: {len(split.train):,} clips of natives and {len(split.foreign_train):,} of "
            "learners · 학습자 발화를 학습에 포함합니다."
        )
    n_checked, n_test = len(split.checked()["foreign_test"]), len(split.foreign_test)
    if n_checked < n_test:
        notes.append(
            f"foreign_test: {n_checked:,} of {n_test:,} clips are checked before training. "
            "Script 4 compares those that it scores with the training clips."
        )
    return notes


def _option(value: str) -> str:
    return "--" + value.replace("_", "-")
