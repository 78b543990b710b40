"""Waveforms -> text: greedy CTC, no language model, so that an error that is heard is an error that is written."""

from dataclasses import dataclass

import torch
from tqdm import tqdm

from .audio import UnreadableAudio, read_waveform
from .batches import length_batches, model_inputs
from .manifest import Utterance
from .metrics import normalised
from .model import Recogniser
from .vocabulary import token_texts

MAX_BATCH_SECONDS = 120.0  # of padded audio


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the model wrote for one clip; `problem` tells why it wrote nothing where the clip could not be read."""

    text: str
    problem: str | None = None


def collapse_ctc(frame_ids: torch.Tensor, blank_id: int) -> list[int]:
    """Merge repeated labels, then drop blanks.

    frame_ids: (n_frames,) int64, the most likely label of each 20 ms frame.
    Returns label ids in spoken order; an empty list means silence.
    Raises ValueError unless frame_ids has exactly one dimension.
    """
    if frame_ids.dim() != 1:
        raise ValueError(f"frame_ids must have one dimension, not {frame_ids.dim()}")
    return [label for label in torch.unique_consecutive(frame_ids).tolist() if label != blank_id]


def decoded(recogniser: Recogniser, utterances: list[Utterance], progress: str | None = None) -> list[Hypothesis]:
    """The text of every utterance, in their order, each clip exactly once. `progress` names the bar, None hides it."""
    hypotheses: list[Hypothesis | None] = [None] * len(utterances)
    texts, blank_id = token_texts(recogniser.tokenizer), recogniser.model.config.pad_token_id
    bar = tqdm(total=len(utterances), desc=progress, unit=" clips", delay=2, disable=progress is None)
    training = recogniser.model.training
    recogniser.model.eval()
    for batch in length_batches(utterances, MAX_BATCH_SECONDS):
        waveforms, places = [], []
        for place in batch:
            try:
                waveforms.append(read_waveform(utterances[place].audio_filepath))
                places.append(place)
            except UnreadableAudio as problem:
                hypotheses[place] = Hypothesis("", str(problem))
        if waveforms:
            for place, logits in zip(places, frame_logits(recogniser, waveforms), strict=True):
                hypotheses[place] = Hypothesis(greedy_text(logits.argmax(-1), blank_id, texts))
        bar.update(len(batch))
    bar.close()
    recogniser.model.train(training)
    return hypotheses


def decoded_by_all(
    recogniser: Recogniser, utterances: list[Utterance], progress: str | None = None
) -> list[Hypothesis]:
    """As decoded(), the work dealt to all processes of torchrun; every process returns the whole list."""
    if not torch.distributed.is_initialized():
        return decoded(recogniser, utterances, progress)
    rank, n_processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    mine = decoded(recogniser, utterances[rank::n_processes], progress if rank == 0 else None)
    shares: list[list[Hypothesis]] = [[] for _ in range(n_processes)]
    torch.distributed.all_gather_object(shares, mine)
    return [shares[place % n_processes][place // n_processes] for place in range(len(utterances))]


def greedy_text(frame_ids: torch.Tensor, blank_id: int, texts: dict[int, str]) -> str:
    """What the labels of a clip's frames write; frame_ids: (n_frames,), texts: vocabulary.token_texts."""
    return normalised("".join(map(texts.__getitem__, collapse_ctc(frame_ids.cpu(), blank_id))))


@torch.inference_mode()
def frame_logits(recogniser: Recogniser, waveforms: list) -> list[torch.Tensor]:
    """(n_frames, n_labels) of each clip, without the frames behind its end: those are padding, and would decode to text."""
    model = recogniser.model
    inputs = model_inputs(waveforms, recogniser.feature_extractor)
    n_frames = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1)).tolist()
    inputs = {name: values.to(model.device) for name, values in inputs.items()}
    logits = model(**inputs).logits  # (B, n_frames, n_labels)
    return [clip[:length] for clip, length in zip(logits, n_frames, strict=True)]
