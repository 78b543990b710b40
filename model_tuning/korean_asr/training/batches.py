"""The clips of each update: their order, the share of each process, their padded tensors."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2FeatureExtractor

from korean_asr.audio import UnreadableAudio, read_waveform
from korean_asr.errors import DataError
from korean_asr.inference import normalised_batch
from korean_asr.manifest import Utterance, content_checksum

IGNORED_LABEL = -100  # what the CTC loss of transformers masks out of padded labels
# Clips are sorted by duration in groups of so many updates, and an epoch has at least so many
# groups: enough for updates of similar length, few enough that other clips meet in every epoch.
# The length-grouped sampler of transformers has the same numbers.
UPDATES_SORTED, MIN_GROUPS = 50, 4
WORKER_TIMEOUT_S = 1_800  # for a batch of a worker: far longer than any disk takes


class TrainingClips(torch.utils.data.Dataset):
    """Waveform and label ids of each clip. Audio is read when it is asked for, and not cached."""

    def __init__(self, clips: list[Utterance], recogniser) -> None:
        """recogniser: the model.Recogniser whose tokenizer makes the labels."""
        self.clips = clips
        self.labels = recogniser.labels([clip.text for clip in clips])

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = self.clips[index]
        try:
            waveform = read_waveform(clip.audio, *clip.cut)
        # The inspection could read it, so the file has changed since.
        except UnreadableAudio as error:
            raise DataError(
                f"{clip.audio_filepath}: {error}. Restore it, or run script 1 again."
            ) from None
        return {"waveform": waveform, "labels": self.labels[index]}


@dataclass(frozen=True, slots=True)
class Collator:
    """Make one batch of clips.

    input_values (B, T) float32, n_samples (B,) int64, labels (B, L) int32 padded with
    IGNORED_LABEL. Nothing else goes through the shared memory of the loader's workers.
    """

    feature_extractor: Wav2Vec2FeatureExtractor

    def __call__(self, clips: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = normalised_batch([clip["waveform"] for clip in clips], self.feature_extractor)
        labels = [torch.tensor(clip["labels"], dtype=torch.int32) for clip in clips]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(
            labels, batch_first=True, padding_value=IGNORED_LABEL
        )
        return batch


@dataclass(frozen=True, slots=True)
class Job:
    """What one run trains, on which clips, and how. It is the same on every process.

    recogniser: a model.Recogniser, whose model lies on this process's device. recipe, plan: a
    recipe.Recipe and its BatchPlan.
    """

    recogniser: Any
    clips: list[Utterance]  # of the training split, those that training can use
    validation: list[Utterance]
    recipe: Any
    plan: Any
    precision: str
    learner_validation: list[Utterance] = field(default_factory=list)  # none unless asked for

    @property
    def durations(self) -> list[float]:
        """Seconds of each clip, as the manifest has them, so that no audio is read to plan."""
        return [clip.duration for clip in self.clips]

    @property
    def clips_sha256(self) -> str:
        return content_checksum(self.clips)

    @property
    def n_updates_an_epoch(self) -> int:
        return n_updates_an_epoch(len(self.clips), self.recipe)

    @property
    def n_updates(self) -> int:
        return n_updates(len(self.clips), self.recipe)

    def printed(self) -> list[str]:
        """Lines about the clips of an update and of an epoch, and what is left over."""
        recipe, plan = self.recipe, self.plan
        most_seconds = recipe.max_batch_seconds
        at_a_time = f"{plan.per_device} clips x {plan.accumulation} accumulation"
        if most_seconds is not None:
            at_a_time = f"micro-batches of {most_seconds:g} s"
        lines = [f"batch: {at_a_time} x {plan.n_processes} = {recipe.global_batch} an update"]
        planned = (plan.per_device, plan.accumulation)
        if most_seconds is None and planned != (recipe.batch_per_gpu, recipe.accumulation):
            original = f"{recipe.batch_per_gpu} x {recipe.accumulation} x {recipe.gpus}"
            lines.append(f"  (the recipe's {original}, for another number of processes)")
        n_last = len(self.clips) % recipe.global_batch
        last = f", the last of {n_last} clips" if n_last else ""
        per_epoch = f"{self.n_updates_an_epoch:,} updates{last}"
        lines.append(f"epoch: every clip once, {per_epoch}; {self.n_updates:,} updates in all")
        longest = max(self.durations)
        if most_seconds and longest > most_seconds:
            lines.append(
                f"  clips over {most_seconds:g} s stand alone: the longest has {longest:.1f} s"
            )
        return lines


def n_updates_an_epoch(n_clips: int, recipe: Any) -> int:
    """Updates that take every clip once; the last one holds the clips that are left."""
    return -(-n_clips // recipe.global_batch)


def n_updates(n_clips: int, recipe: Any) -> int:
    """Updates of a run, at least one. The last epoch may be a part of one."""
    return max(1, round(n_updates_an_epoch(n_clips, recipe) * recipe.epochs))


def epoch_updates(durations: list[float], recipe: Any, epoch: int) -> list[list[int]]:
    """Draw the updates of an epoch, each a list of indices of clips, longest first.

    durations: seconds of each clip. Every clip comes exactly once. The order depends on the
    recipe's seed and the epoch, but not on the number of processes. The update with the longest
    clip comes first, so that a batch too large for the memory fails at once.
    """
    size, n_clips = recipe.global_batch, len(durations)
    lengths = np.asarray(durations)
    rng = np.random.default_rng([recipe.seed, epoch])
    order = rng.permutation(n_clips)
    n_sorted = size
    if recipe.length_grouping:
        n_sorted = size * max(1, min(UPDATES_SORTED, n_clips // (size * MIN_GROUPS)))
    groups = [order[start : start + n_sorted] for start in range(0, n_clips, n_sorted)]
    longest_first = [group[np.argsort(-lengths[group], kind="stable")] for group in groups]
    updates = [
        group[start : start + size].tolist()
        for group in longest_first
        for start in range(0, len(group), size)
    ]
    first = max(range(len(updates)), key=lambda i: lengths[updates[i][0]])
    rest = [i for i in rng.permutation(len(updates)).tolist() if i != first]
    return [updates[i] for i in (first, *rest)]


def run_updates(durations: list[float], recipe: Any) -> Iterator[list[int]]:
    """The updates of the whole run, epoch after epoch, as epoch_updates draws them."""
    left, epoch = n_updates(len(durations), recipe), 0
    while left:
        for update in epoch_updates(durations, recipe, epoch)[:left]:
            yield update
            left -= 1
        epoch += 1


def dealt(
    update: list[int], rank: int, durations: list[float], recipe: Any, plan: Any
) -> list[list[int]]:
    """Cut one process's share of an update into micro-batches, none if no clip is left for it.

    update: indices of clips, longest first. All processes work equally long and pad little.
    """
    if recipe.max_batch_seconds is None:
        return _dealt_by_clips(update, rank, plan)
    share = update[rank :: plan.n_processes]
    return _cut_by_seconds(share, durations, recipe.max_batch_seconds)


def _dealt_by_clips(update: list[int], rank: int, plan: Any) -> list[list[int]]:
    """Cut the update into micro-batches and deal them to and fro: to processes 0 1 1 0 0 1."""
    n = plan.n_processes
    # The last update of an epoch may need fewer rounds. Its micro-batches differ by one clip.
    n_rounds = -(-len(update) // (n * plan.per_device))
    batches = [batch.tolist() for batch in np.array_split(np.asarray(update), n * n_rounds)]
    mine = [batches[i * n + (rank if i % 2 == 0 else n - 1 - rank)] for i in range(n_rounds)]
    return [batch for batch in mine if batch]


def _cut_by_seconds(
    share: list[int], durations: list[float], max_seconds: float
) -> list[list[int]]:
    """Fill micro-batches up to so many seconds of padded audio; a longer clip stands alone."""
    batches: list[list[int]] = []
    for index in share:
        if batches and durations[batches[-1][0]] * (len(batches[-1]) + 1) <= max_seconds:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def padded_seconds(batches: list[list[int]], durations: list[float]) -> float:
    """Seconds of audio with padding: each clip is as long as the first of its batch."""
    return sum(len(batch) * durations[batch[0]] for batch in batches)


def named(clips: list[Any], indices: list[int], n_named: int = 8) -> str:
    """Ids of some clips, the first ones of many, as a part of a line."""
    more = f" and {len(indices) - n_named} more" if len(indices) > n_named else ""
    return ", ".join(clips[index].id for index in indices[:n_named]) + more


@dataclass(frozen=True, slots=True)
class UpdateClips:
    """One update as one process runs it: its micro-batches, padded, and their clips."""

    number: int  # of updates before it
    clips: list[int]  # indices of the clips of all processes, the first process's first
    first: int  # index in clips of this process's first clip
    batches: Iterator[dict[str, torch.Tensor]]
    n_batches: int
    is_idle: bool  # whether no clip was left for this process: it runs one with weight 0
    audio_seconds: float  # of all processes
    padded_seconds: float


def updates_with_clips(job: Job, rank: int, n_done: int) -> Iterator[UpdateClips]:
    """The updates after the first n_done, as the process of this rank runs them.

    The recipe's workers read the audio ahead.
    """
    durations, recipe, plan = job.durations, job.recipe, job.plan
    updates = list(run_updates(durations, recipe))[n_done:]
    shares = [dealt(update, rank, durations, recipe, plan) for update in updates]
    # The last update of an epoch may have fewer clips than there are processes. An idle process
    # runs the shortest clip with weight 0, so that DistributedDataParallel stays in step.
    indices = [share or [update[-1:]] for share, update in zip(shares, updates, strict=True)]
    loader = torch.utils.data.DataLoader(
        TrainingClips(job.clips, job.recogniser),
        batch_sampler=[batch for update in indices for batch in update],
        collate_fn=Collator(job.recogniser.feature_extractor),
        num_workers=recipe.workers,
        # A worker that finds no room in /dev/shm sends nothing, and would be waited for for ever.
        timeout=WORKER_TIMEOUT_S if recipe.workers else 0,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator it draws from the global one, and a resumed run would differ.
        generator=torch.Generator(),
    )
    batches = iter(loader)
    for number, (update, mine) in enumerate(zip(updates, indices, strict=True), n_done):
        shares = [dealt(update, n, durations, recipe, plan) for n in range(plan.n_processes)]
        everyone = [batch for share in shares for batch in share]
        yield UpdateClips(
            number,
            clips=[index for batch in everyone for index in batch],
            first=sum(len(batch) for share in shares[:rank] for batch in share),
            batches=batches,
            n_batches=len(mine),
            is_idle=not shares[rank],
            audio_seconds=sum(durations[index] for index in update),
            padded_seconds=padded_seconds(everyone, durations),
        )
