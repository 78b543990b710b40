"""Find clips that a model was trained on, by id, audio, sentence and speaker."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from korean_asr.audio import sound_checksum
from korean_asr.manifest import Utterance, read_manifest, sentence_key
from korean_asr.messages import OVERLAP_KINDS, english, table
from korean_asr.model_folder import split_folder
from korean_asr.progress_line import counted

# The values by which two clips are compared; None never matches.
KINDS = {
    "id": lambda utterance: utterance.id,
    "audio": lambda utterance: utterance.audio_sha256,
    "sentence": lambda utterance: sentence_key(utterance.text),
    "speaker": lambda utterance: utterance.speaker or None,
}
# A clip that has one of these in common with a training clip is refused. A shared sentence or
# speaker is only counted.
REFUSED_KINDS = ("id", "audio")
# In split/: the training clips of the base model, where they are known.
EARLIER_FILE = "earlier.jsonl"
# In split/: what a model was trained on, and what its final checkpoint was chosen by. The clips of
# learners and of the base model are not in every folder.
TRAINING_FILES = ("train.jsonl", "foreign_train.jsonl", EARLIER_FILE)
VALIDATION_FILES = ("validation.jsonl", "foreign_validation.jsonl")


@dataclass(frozen=True, slots=True)
class Seen:
    """Indices of the clips that a model was trained on, by each of KINDS; None where unknown.

    n_validation: how many of the clips chose the final checkpoint.
    namesakes: ids of the clips that share the name alone with one of training or validation.
    """

    indices: dict[str, list[int] | None]
    n_clips: int
    n_validation: int = 0
    namesakes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int | None]:
        """The number of such clips by each of KINDS."""
        return {kind: _count(found) for kind, found in self.indices.items()}

    @property
    def overlap(self) -> set[int]:
        """Indices of the clips whose scores would be meaningless."""
        return {index for kind in REFUSED_KINDS for index in self.indices[kind] or ()}

    def warning(self, source: str) -> str | None:
        """One line about the overlap; None where there is none."""
        if not self.overlap:
            return None
        counts = ", ".join(
            f"{len(self.indices[kind]):,} by {kind}" for kind in REFUSED_KINDS if self.indices[kind]
        )
        return (
            f"{len(self.overlap):,} of {self.n_clips:,} clips are in the training data of "
            f"{source} ({counts})"
        )

    @property
    def notes(self) -> list[str]:
        """Sentences for the report about clips that are scored all the same."""
        notes = []
        if self.n_validation:
            notes.append(
                f"{self.n_validation:,} clips are in the validation split, "
                "by which the checkpoint was chosen."
            )
        if self.namesakes:
            notes.append(
                "clips with the name of a training or validation clip, but another sound and "
                f"another sentence, so they are new: {len(self.namesakes):,} (the first: "
                f"{self.namesakes[0]}) · 이름만 같고 음성과 문장이 다르면 새 발화로 평가합니다."
            )
        return notes


def _count(found: list[int] | None) -> int | None:
    return None if found is None else len(found)


def seen_in_training(source: str, utterances: list[Utterance]) -> Seen:
    """Compare clips with a model's training data; a model without split/ has unknown training data.

    The sound of the clips is taken from their files, not from a checksum in their manifest.
    """
    trained = trained_on(source)
    if trained is None:
        return Seen(dict.fromkeys(KINDS), len(utterances))
    clips = [
        replace(clip, audio_sha256=sound)
        for clip, sound in zip(utterances, _sounds(utterances), strict=True)
    ]
    validation = _clips_of(split_folder(source), VALIDATION_FILES)
    seen = Seen(found_in(trained, clips), len(clips))
    chosen_by = Seen(found_in(validation, clips), len(clips)).overlap
    namesakes = namesakes_in([*trained, *validation], clips) - seen.overlap - chosen_by
    return replace(
        seen,
        n_validation=len(chosen_by),
        namesakes=tuple(clips[index].id for index in sorted(namesakes)),
    )


def trained_on(source: str) -> list[Utterance] | None:
    """The training clips of a model and of its base model, with the checksums in split/.

    None for a model without a split/train.jsonl.
    """
    folder = split_folder(source)
    if folder is None or not (folder / "train.jsonl").is_file():
        return None
    return _clips_of(folder, TRAINING_FILES)


def _clips_of(folder: Path, names: tuple[str, ...]) -> list[Utterance]:
    """The clips of those manifests that are in a folder."""
    files = [folder / name for name in names]
    return [clip for file in files if file.is_file() for clip in read_manifest(file)]


def printed_earlier(
    base: str, earlier: list[Utterance], parts: dict[str, list[Utterance]]
) -> list[str]:
    """Warnings where the base model was trained on test clips, which scripts 3 and 4 will refuse.

    parts: the clips of each split.
    """
    lines = []
    for name, script in (("test", 3), ("foreign_test", 4)):
        test = parts.get(name, [])
        if warning := Seen(found_in(earlier, test), len(test)).warning(base):
            lines.append(
                f"{name} split: {warning}: script {script} will refuse them. "
                "· 기본 모델이 이미 학습한 발화가 테스트 분할에 있습니다."
            )
    return lines


def _sounds(utterances: list[Utterance]) -> list[str | None]:
    """The checksum of each clip's sound; files are read in several threads."""

    def sound(clip: Utterance) -> str | None:
        return sound_checksum(clip.audio, *clip.cut)

    with ThreadPoolExecutor(8) as pool:
        found = pool.map(sound, utterances)
        return list(counted(found, "comparing audio with training", len(utterances)))


def found_in(known: list[Utterance], clips: list[Utterance]) -> dict[str, list[int] | None]:
    """Indices of the clips that `known` also holds, by each of KINDS; None where unknown.

    Corpora number their clips alike, so a name alone does not make a clip the same: see
    namesakes_in.
    """
    found: dict[str, list[int] | None] = {}
    for kind, key in KINDS.items():
        known_keys = {key(clip) for clip in known} - {None}
        keys = [key(clip) for clip in clips]
        is_unknown = kind in ("audio", "speaker") and not (known_keys and any(keys))
        shared = [index for index, one in enumerate(keys) if one in known_keys]
        found[kind] = None if is_unknown else shared
    namesakes = namesakes_in(known, clips)
    found["id"] = [index for index in found["id"] if index not in namesakes]
    return found


def namesakes_in(known: list[Utterance], clips: list[Utterance]) -> set[int]:
    """Indices of the clips that share the id with some of `known` and are others than all of them.

    A clip is another one if both sounds are known, and both sound and sentence differ.
    """
    named = defaultdict(list)
    for clip in known:
        named[clip.id].append(clip)
    return {
        index
        for index, clip in enumerate(clips)
        if clip.id in named and all(_is_another(clip, other) for other in named[clip.id])
    }


def _is_another(clip: Utterance, other: Utterance) -> bool:
    sounds, sentences = KINDS["audio"], KINDS["sentence"]
    both_known = sounds(clip) and sounds(other)
    return bool(
        both_known and sounds(clip) != sounds(other) and sentences(clip) != sentences(other)
    )


def overlaps(parts: dict[str, list[Utterance]]) -> dict[str, dict[str, int | None]]:
    """Count, for each pair of splits, the clips of the second that are also in the first.

    Two splits of one purpose, such as train and foreign_train, are not compared.

    Returns counts by each of KINDS, under "train/test" and so on. Audio is compared by
    audio_sha256, whatever the file's name. None if no clip of one split has a checksum, or a
    speaker.
    """
    return {
        f"{first}/{second}": {
            kind: _count(found) for kind, found in found_in(parts[first], parts[second]).items()
        }
        for first, second in combinations(parts, 2)
        if second != f"foreign_{first}"
    }


def printed_overlap(overlap: dict[str, dict[str, int | None]]) -> str:
    """Format a table of what two splits share, and a warning if they share ids or audio."""
    rows = [["", *(english(OVERLAP_KINDS[kind]) for kind in KINDS)]]
    for pair, counts in overlap.items():
        rows.append([pair, *(_shown(counts[kind]) for kind in KINDS)])
    lines = [
        "overlap · 겹침: clips of the second split that are also in the first, by",
        *table(rows, "<" + ">" * len(KINDS), "  "),
    ]
    shared = [
        f"{pair} {counts[kind]:,} by {kind}"
        for pair, counts in overlap.items()
        for kind in REFUSED_KINDS
        if counts[kind]
    ]
    if shared:
        manifest = "foreign.jsonl" if "foreign" in " ".join(shared) else "korean.jsonl"
        lines.append(
            f"the same clip lies in two splits ({', '.join(shared)}), which makes scores look "
            f"better than they are. Take the copies out of {manifest}. "
            f"· 같은 발화가 두 분할에 들어 있습니다. {manifest}에서 중복된 발화를 빼세요."
        )
    return "\n".join(lines)


def _shown(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
