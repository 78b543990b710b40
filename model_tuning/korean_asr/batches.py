"""Utterances -> padded tensors."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from .audio import SAMPLE_RATE, UnreadableAudio, read_waveform
from .errors import DataError
from .manifest import Utterance
from .vocabulary import label_ids

MAX_BATCH_CLIPS = 64  # a manifest that gives no durations must not become one batch
IGNORED_LABEL = -100  # what wav2vec2's CTC loss masks out of padded labels


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
            raise DataError(f"{utterance.audio_filepath}: {error}. Restore it, or run script 1 again.") from None
        return {"waveform": waveform, "labels": label_ids(utterance.text, self.ids, self.delimiter_id, self.unknown_id)}


@dataclass(frozen=True, slots=True)
class Collator:
    """Clips -> one batch: input_values (B, T) float32, attention_mask (B, T), labels (B, L) padded with -100."""

    feature_extractor: Wav2Vec2FeatureExtractor

    def __call__(self, clips: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = model_inputs([clip["waveform"] for clip in clips], self.feature_extractor)
        labels = [torch.tensor(clip["labels"], dtype=torch.long) for clip in clips]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL)
        return batch


def model_inputs(waveforms: list, feature_extractor: Wav2Vec2FeatureExtractor) -> dict[str, torch.Tensor]:
    """Waveforms made zero-mean and unit-variance, each on its own, and padded to the longest, with their mask.

    The mask is always made: without one a batch would give other text than its clips one at a time.
    """
    features = feature_extractor(
        waveforms, sampling_rate=SAMPLE_RATE, padding=True, return_attention_mask=True, return_tensors="pt"
    )
    return {"input_values": features["input_values"], "attention_mask": features["attention_mask"]}


def length_batches(utterances: list[Utterance], max_seconds: float) -> list[list[int]]:
    """Places of clips of like duration, longest first, each batch within max_seconds of padded audio and MAX_BATCH_CLIPS."""
    order = sorted(range(len(utterances)), key=lambda place: -utterances[place].duration)
    batches: list[list[int]] = []
    for place in order:
        batch = batches[-1] if batches else []
        padded = utterances[batch[0]].duration * (len(batch) + 1) if batch else max_seconds + 1
        if padded <= max_seconds and len(batch) < MAX_BATCH_CLIPS:
            batch.append(place)
        else:
            batches.append([place])
    return batches
