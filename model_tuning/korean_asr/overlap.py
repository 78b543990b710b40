"""The guard against scoring what a model was trained on: by id, by sound, by sentence, by speaker."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from tqdm import tqdm

from korean_asr.audio import sound_checksum
from korean_asr.errors import SharedError
from korean_asr.manifest import Utterance, read_manifest
from korean_asr.metrics import without_punctuation


def sentence_key(text: str) -> str:
    """What makes two clips the same sentence: the text without spaces, punctuation and case."""
    return without_punctuation(text).replace(" ", "").casefold()


# What two clips may have in common; None equals nothing.
KINDS = {
    "id": lambda utterance: utterance.id,
    "audio": lambda utterance: utterance.audio_sha256,
    "sentence": lambda utterance: sentence_key(utterance.text),
    "speaker": lambda utterance: utterance.speaker or None,
}


EARLIER_FILE = "earlier.jsonl"  # in split/: what the base model was trained on, where that is known
NEVER = ("id", "audio")  # such a clip is refused; a sentence or a speaker of training is told


@dataclass(frozen=True, slots=True)
class Seen:
    """Places of the clips that a model has seen in training, by each of KINDS; None: nobody knows."""

    places: dict[str, list[int] | None]
    n_clips: int
    n_validation: int = 0  # clips by which the final checkpoint was chosen

    @property
    def counts(self) -> dict[str, int | None]:
        return {
            kind: None if places is None else len(places) for kind, places in self.places.items()
        }

    @property
    def overlap(self) -> set[int]:
        """Places that make a score worthless."""
        return {place for kind in NEVER for place in self.places[kind] or ()}

    def warning(self, source: str) -> str | None:
        """The line about an overlap, or None."""
        if not self.overlap:
            return None
        by = ", ".join(
            f"{len(self.places[kind]):,} by {kind}" for kind in NEVER if self.places[kind]
        )
        return f"{len(self.overlap):,} of {self.n_clips:,} clips are in the training data of {source} ({by})"


def seen_in_training(source: str, utterances: list[Utterance]) -> Seen:
    """Compare clips with what the model of this folder was trained on; a model without a split has seen nobody knows what.

    The sound of the clips to be scored is taken from their files, whatever their manifest says.
    """
    trained = trained_on(source)
    if trained is None:
        return Seen(dict.fromkeys(KINDS), len(utterances))
    clips = [
        replace(clip, audio_sha256=sound)
        for clip, sound in zip(utterances, _sounds(utterances), strict=True)
    ]
    validation = _split_folder(source) / "validation.jsonl"
    chosen_by = {clip.id for clip in read_manifest(validation)} if validation.is_file() else set()
    return Seen(found_in(trained, clips), len(clips), sum(clip.id in chosen_by for clip in clips))


def trained_on(source: str) -> list[Utterance] | None:
    """The training clips of a model, and those of the model that it was fine-tuned from; None where nobody knows.

    A model folder has its split, a checkpoint that of the folder that it lies in. A clip's sound is known by the checksum that
    script 2 wrote, or else by its file, if that is still there.
    """
    folder = _split_folder(source)
    if folder is None:
        return None
    clips = [
        clip
        for name in ("train.jsonl", EARLIER_FILE)
        if (folder / name).is_file()
        for clip in read_manifest(folder / name)
    ]
    unknown = [place for place, clip in enumerate(clips) if not clip.audio_sha256]
    for place, sound in zip(unknown, _sounds([clips[place] for place in unknown]), strict=True):
        clips[place] = replace(clips[place], audio_sha256=sound)
    return clips


def _split_folder(source: str) -> Path | None:
    folders = [Path(source) / "split"]
    if Path(source).resolve().name.startswith("checkpoint-"):
        folders.append(Path(source).resolve().parent / "split")
    return next((folder for folder in folders if (folder / "train.jsonl").is_file()), None)


def printed_earlier(base: str, earlier: list[Utterance], test: list[Utterance]) -> list[str]:
    """A warning where the base model was trained on clips of the test split, which script 3 will refuse."""
    seen = Seen(found_in(earlier, test), len(test))
    warning = seen.warning(base)
    return (
        [f"test split: {warning}: script 3 will refuse them. · 기본 모델이 이미 학습한 음성입니다."]
        if warning
        else []
    )


def _sounds(utterances: list[Utterance]) -> list[str | None]:
    """The checksum of each clip's sound, files read side by side."""
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(sound_checksum, (clip.audio_filepath for clip in utterances))
        return list(
            tqdm(found, "comparing audio with training", len(utterances), unit=" clips", delay=2)
        )


def refuse_seen(source: str, utterances: list[Utterance], seen: Seen) -> None:
    """Raises SharedError, which names the first clip, where a model was trained on one of these clips."""
    if not seen.overlap:
        return
    first = utterances[min(seen.overlap)]
    raise SharedError(
        f"{seen.warning(source)}; the first: {first.id}. Their scores would be worth nothing. Take them out of the manifest, or "
        "pass --allow-overlap, and the report will say so on its first line. · 학습에 쓴 음성은 평가할 수 없습니다."
    )


def found_in(there: list[Utterance], here: list[Utterance]) -> dict[str, list[int] | None]:
    """Places in `here` of clips that `there` holds too, by each of KINDS; None where nobody knows."""
    found: dict[str, list[int] | None] = {}
    for kind, key in KINDS.items():
        known = {key(utterance) for utterance in there} - {None}
        keys = [key(utterance) for utterance in here]
        unknown = kind in ("audio", "speaker") and not (known and any(keys))
        found[kind] = None if unknown else [place for place, one in enumerate(keys) if one in known]
    return found


def overlaps(parts: dict[str, list[Utterance]]) -> dict[str, dict[str, int | None]]:
    """For each two splits ("train/test") how many clips of the second are found in the first, by id, audio, sentence, speaker.

    Audio is the same sound under whatever name, by the clips' audio_sha256. None: nobody knows, since no clip of one of the
    two has a checksum or a speaker.
    """
    counts: dict[str, dict[str, int | None]] = {}
    for first, second in combinations(parts.items(), 2):
        found = found_in(first[1], second[1])
        counts[f"{first[0]}/{second[0]}"] = {
            kind: None if places is None else len(places) for kind, places in found.items()
        }
    return counts


def printed_overlap(overlap: dict[str, dict[str, int | None]]) -> str:
    """What two splits share, and a warning where they must not."""
    lines = ["overlap · 겹침: clips of the second split that are also in the first, by"]
    lines.append(f"{'':<21}" + "".join(f"{kind:>10}" for kind in KINDS))
    for pair, counts in overlap.items():
        lines.append(f"  {pair:<19}" + "".join(f"{_known(counts[kind]):>10}" for kind in KINDS))
    same = [
        f"{pair} {counts[kind]:,} by {kind}"
        for pair, counts in overlap.items()
        for kind in ("id", "audio")
        if counts[kind]
    ]
    if same:
        lines.append(
            f"the same clip lies in two splits ({', '.join(same)}), which makes scores look better than they are. "
            "Take the copies out of korean.jsonl. · 같은 음성이 두 분할에 있습니다."
        )
    return "\n".join(lines)


def _known(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
