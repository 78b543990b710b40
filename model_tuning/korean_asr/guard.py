"""The guard against scoring what a model was trained on: by id, by sound, by sentence, by speaker."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from .audio import sound_checksum
from .errors import SharedError
from .manifest import Utterance, read_manifest
from .splits import KINDS, found_in

NEVER = ("id", "audio")  # such a clip is refused; a sentence or a speaker of training is told


@dataclass(frozen=True, slots=True)
class Seen:
    """Places of the clips that a model has seen in training, by each of KINDS; None: nobody knows."""

    places: dict[str, list[int] | None]
    n_clips: int
    n_validation: int = 0  # clips by which the final checkpoint was chosen

    @property
    def counts(self) -> dict[str, int | None]:
        return {kind: None if places is None else len(places) for kind, places in self.places.items()}

    @property
    def overlap(self) -> set[int]:
        """Places that make a score worthless."""
        return {place for kind in NEVER for place in self.places[kind] or ()}

    def warning(self, source: str) -> str | None:
        """The line about an overlap, or None."""
        if not self.overlap:
            return None
        by = ", ".join(f"{len(self.places[kind]):,} by {kind}" for kind in NEVER if self.places[kind])
        return f"{len(self.overlap):,} of {self.n_clips:,} clips are in the training data of {source} ({by})"


def seen_in_training(source: str, utterances: list[Utterance]) -> Seen:
    """Compare clips with what the model of this folder was trained on, its split/train.jsonl.

    The sound of a training clip is known by the checksum that script 2 wrote, or else by its file, if that is still there; the
    sound of the clips to be scored always by their files. A model without a split has seen nobody knows what.
    """
    split = Path(source) / "split"
    if not (split / "train.jsonl").is_file():
        return Seen(dict.fromkeys(KINDS), len(utterances))
    trained = read_manifest(split / "train.jsonl")
    unknown = [place for place, clip in enumerate(trained) if not clip.audio_sha256]
    for place, sound in zip(unknown, _sounds([trained[place] for place in unknown]), strict=True):
        trained[place] = replace(trained[place], audio_sha256=sound)
    clips = [replace(clip, audio_sha256=sound) for clip, sound in zip(utterances, _sounds(utterances), strict=True)]
    validation = split / "validation.jsonl"
    chosen_by = {clip.id for clip in read_manifest(validation)} if validation.is_file() else set()
    return Seen(found_in(trained, clips), len(clips), sum(clip.id in chosen_by for clip in clips))


def _sounds(utterances: list[Utterance]) -> list[str | None]:
    """The checksum of each clip's sound, files read side by side."""
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(sound_checksum, (clip.audio_filepath for clip in utterances))
        return list(tqdm(found, "comparing audio with training", len(utterances), unit=" clips", delay=2))


def refuse_seen(source: str, utterances: list[Utterance], seen: Seen) -> None:
    """Raises SharedError, which names the first clip, where a model was trained on one of these clips."""
    if not seen.overlap:
        return
    first = utterances[min(seen.overlap)]
    raise SharedError(
        f"{seen.warning(source)}; the first: {first.id}. Their scores would be worth nothing. Take them out of the manifest, or "
        "pass --allow-overlap, and the report will say so on its first line. · 학습에 쓴 음성은 평가할 수 없습니다."
    )
