"""Select the clips of an experiment and split them 8:1:1; one seed gives one split."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from korean_asr.errors import DataError
from korean_asr.manifest import Utterance, sentence_key
from korean_asr.messages import table

SPLIT_NAMES = ("train", "validation", "test")
# The splits of learners' clips, where the recipe asks for them (learners.py).
FOREIGN_NAMES = ("foreign_train", "foreign_validation", "foreign_test")
# 14 hours at 5 s a clip, read in minutes.
MAX_CHECKED_FOREIGN_TEST = 10_000
# The splits whose clips are trained on.
TRAINING_NAMES = ("train", "foreign_train")
VALIDATION_NAMES = ("validation", "foreign_validation")
# With fewer clips, 8:1:1 would leave validation or test empty.
MIN_CLIPS = 10
SENTENCE_INSTEAD = "Pass --group-by sentence. · 화자 대신 문장을 기준으로 나누세요."

# The clips of train, validation and test.
Parts = tuple[list[Utterance], list[Utterance], list[Utterance]]


@dataclass(frozen=True, slots=True)
class Split:
    """The clips of each split, and notes for users on how they were chosen."""

    train: list[Utterance]
    validation: list[Utterance]
    test: list[Utterance]
    notes: tuple[str, ...]
    foreign_train: list[Utterance] = field(default_factory=list)
    foreign_validation: list[Utterance] = field(default_factory=list)
    foreign_test: list[Utterance] = field(default_factory=list)

    def parts(self) -> dict[str, list[Utterance]]:
        """Map the name of each split to its clips; learners' splits only where they hold clips."""
        natives = {name: getattr(self, name) for name in SPLIT_NAMES}
        learners = {name: getattr(self, name) for name in FOREIGN_NAMES}
        return natives | {name: part for name, part in learners.items() if part}

    @property
    def training_texts(self) -> list[str]:
        """The labels to train on, natives' first."""
        return [clip.text for name in TRAINING_NAMES for clip in getattr(self, name)]

    def checked(self) -> dict[str, list[Utterance]]:
        """Map the name of each split to the clips that are checked before training.

        All are, but of a large foreign_test every checked_step()-th: it may hold thousands of
        hours, of which script 4 scores 3,000 clips.
        """
        parts = self.parts()
        return {name: part[:: self.checked_step(name)] for name, part in parts.items()}

    def checked_step(self, name: str) -> int:
        """Of how many clips of a split one is checked before training; nearly always 1."""
        if name != "foreign_test":
            return 1
        return max(1, -(-len(self.foreign_test) // MAX_CHECKED_FOREIGN_TEST))

    def with_sounds(self, sounds: dict[str, list[str | None]]) -> "Split":
        """Return the same clips with their audio_sha256.

        By it scripts 3 and 4 recognise a copy of a training clip, even if that clip's own audio
        is no longer on disk.
        sounds: those of the clips in checked().
        """
        parts = {name: list(part) for name, part in self.parts().items()}
        for name, checked in self.checked().items():
            parts[name][:: self.checked_step(name)] = [
                replace(clip, audio_sha256=sound)
                for clip, sound in zip(checked, sounds[name], strict=True)
            ]
        return replace(self, **parts)


def split_utterances(utterances: list[Utterance], recipe) -> Split:
    """Select clips and split them by the recipe; raises DataError for too few clips."""
    pool, notes = training_pool(utterances)
    if recipe.group_by == "speaker":
        pool, speaker_notes = _with_known_speakers(pool)
        notes += speaker_notes
    if len(pool) < MIN_CLIPS:
        reasons = notes if len(pool) < len(utterances) else []
        problem = f"{len(pool)} clips are too few to split 8:1:1: at least {MIN_CLIPS} are needed."
        raise DataError(" ".join([problem, *reasons]))
    shuffled = in_order(pool)
    rng = random.Random(recipe.seed)
    rng.shuffle(shuffled)
    selected = shuffled[: recipe.clips_before_split]
    if recipe.group_by == "sentence":
        parts = _split_by_sentence(selected, rng)
    elif recipe.group_by == "speaker":
        parts = _split_by_speaker(selected, rng)
    else:
        parts = _split_by_clip(selected, recipe.seed)
    notes += _size_notes(parts, recipe)
    caps = recipe.split_caps or (None, None, None)
    capped = (part[:cap] for part, cap in zip(parts, caps, strict=True))
    return Split(*capped, tuple(notes))


def in_order(clips: list[Utterance]) -> list[Utterance]:
    """Sort clips before a draw: the order of a folder listing differs between machines."""
    return sorted(clips, key=lambda clip: (clip.id, clip.audio_filepath, clip.cut[0]))


def training_pool(utterances: list[Utterance]) -> tuple[list[Utterance], list[str]]:
    """Return the training part of 일상 (theme dialog), and a note on each of the two filters.

    A filter that no clip passes is not applied.
    """
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
            notes.append(f"{name}: none in the manifest, so clips of every {key} are used.")
    return pool, notes


def split_sizes(n_clips: int) -> tuple[int, int, int]:
    """Return the sizes of train, validation and test; the last two are a tenth, rounded down."""
    tenth = n_clips // 10
    return n_clips - 2 * tenth, tenth, tenth


def _size_notes(parts: Parts, recipe) -> list[str]:
    """Say where sizes differ from what the recipe asks for; parts are not capped yet."""
    sizes = tuple(len(part) for part in parts)
    n_clips, wanted = sum(sizes), recipe.clips_before_split
    notes = []
    if wanted and n_clips < wanted:
        notes.append(
            f"{n_clips:,} clips where recipe {recipe.name} asks for {wanted:,}: "
            "all are used, 8:1:1."
        )
    exact = sizes == split_sizes(n_clips)
    if recipe.group_by == "sentence" and not exact:
        notes.append("repeated sentences were kept together, so the sizes are not exactly 8:1:1.")
    if recipe.group_by == "speaker" and not exact:
        counts = " / ".join(f"{size:,}" for size in sizes)
        notes.append(
            f"each speaker was kept whole: {counts} of {n_clips:,} clips, "
            "which is not exactly 8:1:1."
        )
    short = [
        f"{name} {size:,} of {cap:,}"
        for name, size, cap in zip(SPLIT_NAMES, sizes, recipe.split_caps or sizes, strict=True)
        if size < cap
    ]
    if short:
        notes.append(
            f"fewer clips than recipe {recipe.name} asks for, all are used: {', '.join(short)}."
        )
    return notes


def _split_by_clip(selected: list[Utterance], seed: int) -> Parts:
    """Let `datasets` split off a fifth, then half of that fifth, as the original code does.

    The draw depends only on the seed and the number of rows, so a row needs no more than its index.
    """
    # Imported here: script 2 must answer --help before this package is loaded.
    from datasets import Dataset

    rows = Dataset.from_dict({"index": range(len(selected))})
    train = rows.train_test_split(0.2, seed=seed)
    held_out = train["test"].train_test_split(0.5, seed=seed)
    drawn = train["train"], held_out["train"], held_out["test"]
    train, validation, test = ([selected[i] for i in part["index"][:]] for part in drawn)
    return train, validation, test


def _split_by_sentence(selected: list[Utterance], rng: random.Random) -> Parts:
    """Draw one split for all clips of a sentence.

    The most repeated sentences are drawn first, so that single ones can fill the gaps. Only splits
    with room for all clips of the sentence are drawn from; the more room, the higher the chance.
    If none has room, the split with the most room is taken.
    Raises DataError if validation or test stays empty.
    """
    groups = defaultdict(list)
    for utterance in selected:
        groups[sentence_key(utterance.text)].append(utterance)
    sizes = split_sizes(len(selected))
    parts: Parts = ([], [], [])
    for group in sorted(groups.values(), key=len, reverse=True):
        room = [size - len(part) for size, part in zip(sizes, parts, strict=True)]
        fitting = [i for i in range(3) if room[i] >= len(group)] or [room.index(max(room))]
        chosen = rng.choices(fitting, weights=[max(room[i], 1) for i in fitting])[0]
        parts[chosen].extend(group)
    if not all(parts[1:]):
        raise DataError(
            f"{len(selected)} clips of {len(groups)} different sentences leave validation or test "
            "empty if each sentence must stay in one split. Add other sentences, or pass "
            "--group-by none. · 서로 다른 문장이 너무 적어 나눌 수 없습니다."
        )
    return parts


def _with_known_speakers(pool: list[Utterance]) -> tuple[list[Utterance], list[str]]:
    """Leave out clips of unknown speakers, which might be in another split too; with a note.

    Raises DataError if no speaker is known.
    """
    known = [utterance for utterance in pool if utterance.speaker]
    if not known:
        raise DataError(
            f"none of the {len(pool):,} clips names its speaker, so speakers cannot be kept apart. "
            f"{SENTENCE_INSTEAD}"
        )
    n_unknown = len(pool) - len(known)
    if not n_unknown:
        return known, []
    note = f"speaker unknown: {n_unknown:,} of {len(pool):,} clips, which were left out."
    return known, [note]


def _split_by_speaker(selected: list[Utterance], rng: random.Random) -> Parts:
    """Draw the speakers of test, then those of validation; the others are for training.

    Raises DataError for fewer than three speakers.
    """
    n_clips = Counter(utterance.speaker for utterance in selected)
    if len(n_clips) < 3:
        raise DataError(
            f"{len(selected):,} clips of {len(n_clips)} speaker(s) leave a split empty if each "
            f"speaker must stay in one split. {SENTENCE_INSTEAD}"
        )
    speakers = sorted(n_clips)
    rng.shuffle(speakers)
    _, n_validation, n_test = split_sizes(len(selected))
    test = drawn_speakers(speakers, n_clips, n_test, n_left=2)
    rest = [speaker for speaker in speakers if speaker not in test]
    validation = drawn_speakers(rest, n_clips, n_validation, n_left=1)
    held_out = test | validation
    # Clips stay shuffled, so that split_caps does not keep one speaker after another.
    return (
        [clip for clip in selected if clip.speaker not in held_out],
        [clip for clip in selected if clip.speaker in validation],
        [clip for clip in selected if clip.speaker in test],
    )


def drawn_speakers(
    speakers: list[str], n_clips: dict[str, int], wanted: int, n_left: int
) -> set[str]:
    """Take each speaker whose clips still fit into `wanted` clips, and leave at least `n_left`.

    n_clips: clips by speaker.
    If nobody fits, takes the speaker with the fewest clips. Needs more than n_left speakers.
    """
    chosen, room = set(), wanted
    for speaker in speakers:
        if n_clips[speaker] <= room and len(chosen) < len(speakers) - n_left:
            chosen.add(speaker)
            room -= n_clips[speaker]
    return chosen or {min(speakers, key=n_clips.__getitem__)}


def printed_split(split: Split) -> str:
    """Format the notes, then a table of each split's clips, hours and speakers."""
    rows = [("split · 분할", "clips", "hours", "speakers")]
    for name, part in split.parts().items():
        hours = sum(utterance.duration for utterance in part) / 3600
        n_speakers = len({utterance.speaker for utterance in part if utterance.speaker})
        speakers = f"{n_speakers:,}" if n_speakers else "unknown"
        rows.append((name, f"{len(part):,}", f"{hours:.2f}", speakers))
    return "\n".join([*split.notes, *table(rows, "<>>>", indent="  ")])
