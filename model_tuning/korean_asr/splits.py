"""Selection and the 8:1:1 split: one seed gives one split on every machine."""

import random
from collections import defaultdict
from dataclasses import dataclass

from .errors import DataError
from .manifest import Utterance
from .metrics import without_punctuation
from .recipes import Recipe

SPLIT_NAMES = ("train", "validation", "test")
MIN_CLIPS = 10  # below this, 8:1:1 would leave validation or test without a clip


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts of the selected clips, and what was said about how they came to be."""

    train: list[Utterance]
    validation: list[Utterance]
    test: list[Utterance]
    notes: tuple[str, ...]

    def parts(self) -> dict[str, list[Utterance]]:
        return {name: getattr(self, name) for name in SPLIT_NAMES}


def split_utterances(utterances: list[Utterance], recipe: Recipe) -> Split:
    """Select and split by the recipe. Raises DataError for too few clips."""
    pool, notes = training_pool(utterances)
    if len(pool) < MIN_CLIPS:
        chosen = " ".join(["", *notes]) if len(pool) < len(utterances) else ""
        raise DataError(f"{len(pool)} clips are too few to split 8:1:1: at least {MIN_CLIPS} are needed.{chosen}")
    # Sorted first: the order of a folder listing differs between machines. random.Random's shuffle is the same everywhere.
    shuffled = sorted(pool, key=lambda utterance: (utterance.id, utterance.audio_filepath))
    rng = random.Random(recipe.seed)
    rng.shuffle(shuffled)
    wanted = recipe.clips_before_split
    if wanted and len(shuffled) < wanted:
        notes.append(f"{len(shuffled)} clips where recipe {recipe.name} asks for {wanted:,}: all are used, 8:1:1.")
    selected = shuffled[:wanted]
    sizes = split_sizes(len(selected))
    if recipe.group_by == "sentence":
        train, validation, test = _split_by_sentence(selected, sizes, rng)
        if not (validation and test):
            n_sentences = len({sentence_key(utterance.text) for utterance in selected})
            raise DataError(
                f"{len(selected)} clips of {n_sentences} different sentences leave validation or test empty where a "
                "sentence stays in one split. Add other sentences, or pass --group-by none."
            )
        if (len(train), len(validation), len(test)) != sizes:
            notes.append("repeated sentences were kept together, so the sizes are not exactly 8:1:1.")
    else:
        n_train, n_validation, _ = sizes
        train, validation = selected[:n_train], selected[n_train : n_train + n_validation]
        test = selected[n_train + n_validation :]
    if recipe.split_caps:
        parts = zip(SPLIT_NAMES, (train, validation, test), recipe.split_caps, strict=True)
        short = [f"{name} {len(part):,} of {cap:,}" for name, part, cap in parts if len(part) < cap]
        if short:
            notes.append(f"fewer clips than recipe {recipe.name} asks for, all are used: {', '.join(short)}.")
        train, validation, test = (
            part[:cap] for part, cap in zip((train, validation, test), recipe.split_caps, strict=True)
        )
    return Split(train, validation, test, tuple(notes))


def training_pool(utterances: list[Utterance]) -> tuple[list[Utterance], list[str]]:
    """The clips of the 일상 part (theme dialog) and of its training part, where the manifest knows them, and notes."""
    pool, notes = utterances, []
    for key, value, name in (("theme", "dialog", "일상 (theme dialog)"), ("part", "training", "training part")):
        known = [utterance for utterance in pool if getattr(utterance, key) == value]
        if known:
            notes.append(f"{name}: {len(known):,} of {len(pool):,} clips.")
            pool = known
        else:
            notes.append(f"{name}: the manifest has none, so clips of every {key} are drawn from.")
    return pool, notes


def split_sizes(n_clips: int) -> tuple[int, int, int]:
    """Clips of train, validation and test: a tenth, rounded down, for each of the last two."""
    tenth = n_clips // 10
    return n_clips - 2 * tenth, tenth, tenth


def sentence_key(text: str) -> str:
    """What makes two clips the same sentence: the text without spaces, punctuation and case."""
    return without_punctuation(text).replace(" ", "").casefold()


def _split_by_sentence(
    selected: list[Utterance], sizes: tuple[int, int, int], rng: random.Random
) -> tuple[list[Utterance], ...]:
    """Sentences said more than once first, each whole into a split drawn by the room left; single ones fill up exactly."""
    groups = defaultdict(list)
    for utterance in selected:
        groups[sentence_key(utterance.text)].append(utterance)
    parts: tuple[list[Utterance], ...] = ([], [], [])
    for group in sorted(groups.values(), key=len, reverse=True):
        room = [size - len(part) for size, part in zip(sizes, parts, strict=True)]
        fitting = [i for i in range(3) if room[i] >= len(group)] or [max(range(3), key=room.__getitem__)]
        chosen = rng.choices(fitting, weights=[max(room[i], 1) for i in fitting])[0]
        parts[chosen].extend(group)
    return parts
