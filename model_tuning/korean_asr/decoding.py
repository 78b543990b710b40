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
    texts = token_texts(recogniser.tokenizer)
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
            for place, ids in zip(places, _label_ids(recogniser, waveforms), strict=True):
                hypotheses[place] = Hypothesis(normalised("".join(map(texts.__getitem__, ids))))
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


@torch.inference_mode()
def _label_ids(recogniser: Recogniser, waveforms: list) -> list[list[int]]:
    model = recogniser.model
    inputs = model_inputs(waveforms, recogniser.feature_extractor)
    n_frames = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1)).tolist()
    inputs = {name: values.to(model.device) for name, values in inputs.items()}
    # The class's own forward: the Trainer wraps the instance's in autocast, and validation would be another number.
    logits = type(model).forward(model, **inputs).logits  # (B, n_frames, n_labels)
    frame_ids = logits.argmax(-1).cpu()
    # Frames behind a clip's own end are padding: they would decode to text.
    return [
        collapse_ctc(ids[:length], model.config.pad_token_id) for ids, length in zip(frame_ids, n_frames, strict=True)
    ]
