"""Selection, the 8:1:1 split, and what two splits share: one seed gives one split on every machine."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.overlap import sentence_key
from korean_asr.recipe import Recipe

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

    def with_sounds(self, sounds: dict[str, list[str | None]]) -> "Split":
        """The same clips with their audio_sha256, by which scripts 3 and 4 know a copy where training's audio is not at hand."""
        return replace(self, **{
            name: [replace(clip, audio_sha256=sound) for clip, sound in zip(part, sounds[name], strict=True)]
            for name, part in self.parts().items()
        })  # fmt: skip


def split_utterances(utterances: list[Utterance], recipe: Recipe) -> Split:
    """Select and split by the recipe. Raises DataError for too few clips."""
    pool, notes = training_pool(utterances)
    if recipe.group_by == "speaker":
        pool = _of_known_speakers(pool, notes)
    if len(pool) < MIN_CLIPS:
        chosen = " ".join(["", *notes]) if len(pool) < len(utterances) else ""
        raise DataError(
            f"{len(pool)} clips are too few to split 8:1:1: at least {MIN_CLIPS} are needed.{chosen}"
        )
    # Sorted first: the order of a folder listing differs between machines. random.Random's shuffle is the same everywhere.
    shuffled = sorted(pool, key=lambda utterance: (utterance.id, utterance.audio_filepath))
    rng = random.Random(recipe.seed)
    rng.shuffle(shuffled)
    wanted = recipe.clips_before_split
    if wanted and len(shuffled) < wanted:
        notes.append(
            f"{len(shuffled)} clips where recipe {recipe.name} asks for {wanted:,}: all are used, 8:1:1."
        )
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
            notes.append(
                "repeated sentences were kept together, so the sizes are not exactly 8:1:1."
            )
    elif recipe.group_by == "speaker":
        train, validation, test = _split_by_speaker(selected, sizes, rng)
        if (len(train), len(validation), len(test)) != sizes:
            notes.append(
                f"each speaker was kept whole: {len(train):,} / {len(validation):,} / {len(test):,} of {len(selected):,} "
                "clips, which is not exactly 8:1:1."
            )
    else:
        n_train, n_validation, _ = sizes
        train, validation = selected[:n_train], selected[n_train : n_train + n_validation]
        test = selected[n_train + n_validation :]
    if recipe.split_caps:
        parts = zip(SPLIT_NAMES, (train, validation, test), recipe.split_caps, strict=True)
        short = [f"{name} {len(part):,} of {cap:,}" for name, part, cap in parts if len(part) < cap]
        if short:
            notes.append(
                f"fewer clips than recipe {recipe.name} asks for, all are used: {', '.join(short)}."
            )
        train, validation, test = (
            part[:cap]
            for part, cap in zip((train, validation, test), recipe.split_caps, strict=True)
        )
    return Split(train, validation, test, tuple(notes))


def training_pool(utterances: list[Utterance]) -> tuple[list[Utterance], list[str]]:
    """The clips of the 일상 part (theme dialog) and of its training part, where the manifest knows them, and notes."""
    pool, notes = utterances, []
    for key, value, name in (
        ("theme", "dialog", "일상 (theme dialog)"),
        ("part", "training", "training part"),
    ):
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
        fitting = [i for i in range(3) if room[i] >= len(group)] or [
            max(range(3), key=room.__getitem__)
        ]
        chosen = rng.choices(fitting, weights=[max(room[i], 1) for i in fitting])[0]
        parts[chosen].extend(group)
    return parts


SENTENCE_INSTEAD = "Pass --group-by sentence. · 화자 대신 문장을 기준으로 나누세요."


def _of_known_speakers(pool: list[Utterance], notes: list[str]) -> list[Utterance]:
    """The clips whose speaker is known, and a note about the others: nobody can say which split they would leak into."""
    known = [utterance for utterance in pool if utterance.speaker]
    if not known:
        raise DataError(
            f"none of the {len(pool):,} clips names its speaker, so none can be kept apart. {SENTENCE_INSTEAD}"
        )
    if len(known) < len(pool):
        notes.append(
            f"speaker unknown: {len(pool) - len(known):,} of {len(pool):,} clips, which were left out."
        )
    return known


def _split_by_speaker(
    selected: list[Utterance], sizes: tuple[int, int, int], rng: random.Random
) -> tuple[list[Utterance], ...]:
    """Every speaker whole in one split: test as near to its size as speakers allow, then validation of the rest."""
    n_clips = Counter(utterance.speaker for utterance in selected)
    if len(n_clips) < 3:
        raise DataError(
            f"{len(selected):,} clips of {len(n_clips)} speaker(s) leave a split empty where a speaker stays in one split. "
            f"{SENTENCE_INSTEAD}"
        )
    speakers = sorted(n_clips)
    rng.shuffle(speakers)
    _, n_validation, n_test = sizes
    test = drawn_speakers(speakers, n_clips, n_test, n_left=2)
    rest = [speaker for speaker in speakers if speaker not in test]
    validation = drawn_speakers(rest, n_clips, n_validation, n_left=1)
    parts: tuple[list[Utterance], ...] = ([], [], [])
    for utterance in (
        selected
    ):  # in the order of the shuffle, so that the first of each part are drawn by chance too
        parts[
            2 if utterance.speaker in test else 1 if utterance.speaker in validation else 0
        ].append(utterance)
    return parts


def drawn_speakers(
    speakers: list[str], n_clips: dict[str, int], wanted: int, n_left: int
) -> set[str]:
    """Speakers whose clips come as near to `wanted` as any choice of one or more that leaves `n_left` others.

    Of two sums as near, the smaller; of several choices, the one that takes the first speaker it can, then the next. Needs
    more than n_left speakers of at least one clip each. Subset sums as bits: bit s of `reach[i][k]` says whether some of
    speakers[i:] have s clips together while at least k of speakers[i:] are left.
    """
    # One speaker alone is a choice, so no sum is needed that is farther away than the smallest of them.
    limit = max(2 * wanted, min(n_clips[speaker] for speaker in speakers))
    mask = (1 << limit + 1) - 1
    reach = [[1] + [0] * n_left]
    for speaker in reversed(speakers):
        after = reach[-1]
        taken = [bits << n_clips[speaker] & mask for bits in after]
        reach.append([taken[k] | after[max(k - 1, 0)] for k in range(n_left + 1)])
    reach.reverse()
    nearest_first = sorted(range(1, limit + 1), key=lambda total: (abs(total - wanted), total))
    left = next(total for total in nearest_first if reach[0][n_left] >> total & 1)
    chosen = set()
    for i, speaker in enumerate(speakers):
        n = n_clips[speaker]
        if n <= left and reach[i + 1][n_left] >> left - n & 1:
            chosen.add(speaker)
            left -= n
        else:
            n_left = max(n_left - 1, 0)
    return chosen


def printed_split(split: Split) -> str:
    """The notes, and the size of each split."""
    lines = [*split.notes, f"{'split · 분할':<21}{'clips':>8}{'hours':>10}{'speakers':>10}"]
    for name, part in split.parts().items():
        hours = sum(utterance.duration for utterance in part) / 3600
        speakers = {utterance.speaker for utterance in part if utterance.speaker}
        lines.append(f"  {name:<21}{len(part):>8,}{hours:>10.2f}{len(speakers) or 'unknown':>10}")
    return "\n".join(lines)


def _known(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
