"""Utterances -> padded tensors; the order of training, in which clips of like length share an update."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from korean_asr.audio import UnreadableAudio, read_waveform
from korean_asr.errors import DataError
from korean_asr.inference import model_inputs
from korean_asr.manifest import Utterance
from korean_asr.recipe import BatchPlan, Recipe
from korean_asr.vocabulary import label_ids

IGNORED_LABEL = -100  # what wav2vec2's CTC loss masks out of padded labels
# Clips of so many updates are sorted by duration at a time, and an epoch has at least four such groups: enough for updates
# of like lengths, few enough that other clips meet in every epoch. As in transformers' length-grouped sampler.
UPDATES_SORTED, MIN_GROUPS = 50, 4


class TrainingClips(torch.utils.data.Dataset):
    """Waveform and label ids of each utterance; audio is read when it is asked for, nothing is cached."""

    def __init__(self, utterances: list[Utterance], tokenizer: Wav2Vec2CTCTokenizer) -> None:
        self.utterances = utterances
        self.ids = tokenizer.get_vocab()
        self.delimiter_id = tokenizer.word_delimiter_token_id
        self.unknown_id = tokenizer.unk_token_id

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> dict[str, Any]:
        utterance = self.utterances[index]
        try:
            waveform = read_waveform(utterance.audio_filepath)
        except UnreadableAudio as error:  # it was readable when the run began
            raise DataError(
                f"{utterance.audio_filepath}: {error}. Restore it, or run script 1 again."
            ) from None
        return {
            "waveform": waveform,
            "labels": label_ids(utterance.text, self.ids, self.delimiter_id, self.unknown_id),
        }


@dataclass(frozen=True, slots=True)
class Collator:
    """Clips -> one batch: input_values (B, T) float32, attention_mask (B, T), labels (B, L) padded with -100."""

    feature_extractor: Wav2Vec2FeatureExtractor

    def __call__(self, clips: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = model_inputs([clip["waveform"] for clip in clips], self.feature_extractor)
        labels = [torch.tensor(clip["labels"], dtype=torch.long) for clip in clips]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(
            labels, batch_first=True, padding_value=IGNORED_LABEL
        )
        return batch


def n_updates_an_epoch(n_clips: int, recipe: Recipe) -> int:
    """Every clip once: the last update of an epoch holds what is left."""
    return -(-n_clips // recipe.global_batch)


def n_updates(n_clips: int, recipe: Recipe) -> int:
    """Of the whole run, whose epochs need not be whole."""
    return max(1, round(n_updates_an_epoch(n_clips, recipe) * recipe.epochs))


def epoch_updates(durations: list[float], recipe: Recipe, epoch: int) -> list[list[int]]:
    """The clips of each update of an epoch: places in `durations` (seconds), longest first within an update.

    Depends on the recipe's seed and the epoch, and not on the number of processes. Each clip comes exactly once. The update
    that holds the longest clip comes first, so that too large a batch fails at once and not in the night.
    """
    size, n_clips = recipe.global_batch, len(durations)
    lengths = np.asarray(durations)
    rng = np.random.default_rng([recipe.seed, epoch])
    order = rng.permutation(n_clips)
    n_sorted = (
        size * max(1, min(UPDATES_SORTED, n_clips // (size * MIN_GROUPS)))
        if recipe.length_grouping
        else size
    )
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


def run_updates(durations: list[float], recipe: Recipe) -> Iterator[list[int]]:
    """The clips of each update of the whole run, epoch after epoch."""
    left, epoch = n_updates(len(durations), recipe), 0
    while left:
        for update in epoch_updates(durations, recipe, epoch)[:left]:
            yield update
            left -= 1
        epoch += 1


def dealt(
    update: list[int], rank: int, durations: list[float], recipe: Recipe, plan: BatchPlan
) -> list[list[int]]:
    """The micro-batches of one process's share of an update; a process without a share gets none.

    The update, longest first, is cut into micro-batches of the plan's size, and these are dealt to and fro (0 1 1 0 0 1), so that
    all processes work equally long and pad little. By seconds, clips are dealt like cards, and each process cuts its own into
    micro-batches of at most max_batch_seconds of padded audio; a clip that is longer than that stands alone.
    """
    n = plan.n_processes
    if recipe.max_batch_seconds is None:
        n_rounds = -(
            -len(update) // (n * plan.per_device)
        )  # fewer at the end of an epoch, of nearly one size
        batches = [batch.tolist() for batch in np.array_split(np.asarray(update), n * n_rounds)]
        mine = [batches[i * n + (rank if i % 2 == 0 else n - 1 - rank)] for i in range(n_rounds)]
        return [batch for batch in mine if batch]
    share = update[rank::n]
    batches: list[list[int]] = []
    for place in share:
        if (
            batches
            and durations[batches[-1][0]] * (len(batches[-1]) + 1) <= recipe.max_batch_seconds
        ):
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def padded_seconds(batches: list[list[int]], durations: list[float]) -> float:
    """Seconds of audio that the model sees: each clip is padded to the longest of its batch, which comes first."""
    return sum(len(batch) * durations[batch[0]] for batch in batches)
