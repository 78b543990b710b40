"""Waveforms -> text: greedy CTC, no language model, so that an error that is heard is an error that is written."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from korean_asr.audio import SAMPLE_RATE, UnreadableAudio, read_waveform
from korean_asr.cpu_speed import keep_memory_steady, with_row_encoder
from korean_asr.hardware import from_all, n_processes, rank, refuse_unavailable
from korean_asr.inference import (
    MAX_BATCH_CLIPS,
    Frames,
    Passes,
    Piece,
    joined,
    length_batches,
    normalised_waveform,
    pieces,
)
from korean_asr.manifest import Utterance
from korean_asr.metrics import Hypothesis, normalised
from korean_asr.model import Recogniser
from korean_asr.vocabulary import token_texts

# Of padded audio. CPU: measured by a model of 94 M parameters on clips of 1 to 12 s, seconds of audio a second of one core:
# 5.3, 4.9, 4.6 in batches of 8, 16, 32 s (bf16: 9.1, 8.9, 8.6). Larger ones leave the cache, and clips of like length are
# fewer. One clip at a time: 5.3 (9.3), and 10 % less where clips have 2 s. GPU: not measured; halved where memory is short.
MAX_BATCH_SECONDS = {"cpu": 8.0, "cuda": 120.0}
UNKNOWN_DURATION_S = 30.0  # where a manifest says 0: taken for long, so that few are read at a time
GPU_READERS = 4  # threads; one of them at a time has the GPU
NOT_FINITE, OUT_OF_MEMORY = "logits are no finite numbers", "out of memory"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The hypotheses of a list of utterances, in their order, and what they cost."""

    hypotheses: list[Hypothesis]
    n_batches: int
    audio_seconds: float  # of the readable clips, by their samples
    padded_seconds: float  # what the model saw
    seconds: float  # by the clock, of the slowest process
    precision: str

    @property
    def rtfx(self) -> float:
        """Seconds of audio decoded in a second."""
        return self.audio_seconds / self.seconds if self.seconds else 0.0

    @property
    def padding_waste(self) -> float:
        """The share of what the model saw that was padding, or the context of a window."""
        return (
            max(0.0, 1 - self.audio_seconds / self.padded_seconds) if self.padded_seconds else 0.0
        )


def decoded(recogniser: Recogniser, utterances: list[Utterance], progress: str | None = None, precision: str = "float32",
            max_batch_seconds: float | None = None, max_batch_clips: int = MAX_BATCH_CLIPS) -> Decoded:  # fmt: skip
    """The text of every utterance, in their order, each clip exactly once. `progress` names the bar, None hides it.

    max_batch_seconds: of padded audio; None for MAX_BATCH_SECONDS of the device. Raises UsageError for a precision that
    this device has not.
    """
    started, model = time.monotonic(), recogniser.model
    refuse_unavailable(precision, model.device)
    was_training = model.training
    model.eval()
    network = model
    if model.device.type == "cpu":
        keep_memory_steady()
        network = with_row_encoder(model)
    if model.config.feat_extract_norm == "group":
        max_batch_clips = (
            1  # such a model takes mean and variance over all samples, those of padding among them
        )
    passes = Passes(
        network,
        precision,
        max_batch_seconds or MAX_BATCH_SECONDS[model.device.type],
        max_batch_clips,
    )
    texts, blank_id = token_texts(recogniser.tokenizer), model.config.pad_token_id

    def hypotheses_of(places: list[int]) -> list[Hypothesis]:
        clips = [_read(utterances[place], recogniser) for place in places]
        # Batched anew, by the samples that there are: a manifest may say anything about durations.
        frames = iter(passes.frames([piece for clip in clips for piece in clip.pieces]))
        n_samples.extend(clip.n_samples for clip in clips)
        return [
            _hypothesis(clip, [next(frames) for _ in clip.pieces], blank_id, texts)
            for clip in clips
        ]

    planned = [utterance.duration or UNKNOWN_DURATION_S for utterance in utterances]
    plan = length_batches(planned, passes.max_seconds, max_batch_clips)
    hypotheses: list[Hypothesis | None] = [None] * len(utterances)
    n_samples: list[int] = []
    with tqdm(
        total=len(utterances), desc=progress, unit=" clips", delay=2, disable=progress is None
    ) as bar:
        for places, made in zip(plan, _by_threads(hypotheses_of, plan, model.device), strict=True):
            for place, hypothesis in zip(places, made, strict=True):
                hypotheses[place] = hypothesis
            bar.update(len(places))
    model.train(was_training)
    seconds = time.monotonic() - started
    padded = passes.batch_seconds
    return Decoded(
        hypotheses, len(padded), sum(n_samples) / SAMPLE_RATE, math.fsum(padded), seconds, precision
    )


def decoded_by_all(
    recogniser: Recogniser, utterances: list[Utterance], progress: str | None = None, **settings
) -> Decoded:
    """As decoded(), the work dealt to all processes of torchrun; every process returns the whole.

    settings: as decoded() takes them. Clips are dealt like cards, longest first, so that all processes work equally long.
    """
    if not torch.distributed.is_initialized():
        return decoded(recogniser, utterances, progress, **settings)
    order = sorted(range(len(utterances)), key=lambda place: -utterances[place].duration)
    mine = [utterances[place] for place in order[rank() :: n_processes()]]
    shares = from_all(decoded(recogniser, mine, progress if rank() == 0 else None, **settings))
    hypotheses: list[Hypothesis | None] = [None] * len(utterances)
    for first, share in enumerate(shares):
        for place, hypothesis in zip(order[first :: n_processes()], share.hypotheses, strict=True):
            hypotheses[place] = hypothesis
    return Decoded(
        hypotheses,
        n_batches=sum(share.n_batches for share in shares),
        audio_seconds=sum(share.audio_seconds for share in shares),
        padded_seconds=sum(share.padded_seconds for share in shares),
        seconds=max(share.seconds for share in shares),
        precision=shares[0].precision,
    )


def collapse_ctc(frame_ids: torch.Tensor, blank_id: int) -> list[int]:
    """Merge repeated labels, then drop blanks.

    frame_ids: (n_frames,) int64, the most likely label of each 20 ms frame.
    Returns label ids in spoken order; an empty list means silence.
    Raises ValueError unless frame_ids has exactly one dimension.
    """
    if frame_ids.dim() != 1:
        raise ValueError(f"frame_ids must have one dimension, not {frame_ids.dim()}")
    return [label for label in torch.unique_consecutive(frame_ids).tolist() if label != blank_id]


def greedy_text(frame_ids: torch.Tensor, blank_id: int, texts: dict[int, str]) -> str:
    """What the labels of a clip's frames write; frame_ids: (n_frames,), texts: vocabulary.token_texts."""
    return normalised("".join(map(texts.__getitem__, collapse_ctc(frame_ids.cpu(), blank_id))))


def confidence(frames: Frames, blank_id: int, texts: dict[int, str]) -> float | None:
    """The mean over the written labels of the highest posterior among the frames that wrote each; None where there is none."""
    labels, lengths = torch.unique_consecutive(frames.labels, return_counts=True)
    highest = torch.stack(
        [run.max() for run in frames.posteriors.split(lengths.tolist())]
    )  # (n_runs,)
    written = torch.tensor([label != blank_id and texts[label] != "" for label in labels.tolist()])
    return highest[written].mean().item() if written.any() else None


@dataclass(frozen=True, slots=True)
class _Clip:
    """One utterance as it was read; without pieces where it could not be."""

    n_samples: int
    pieces: list[Piece]
    problem: str | None = None
    is_silent: bool = False


def _read(utterance: Utterance, recogniser: Recogniser) -> _Clip:
    try:
        waveform = read_waveform(utterance.audio_filepath)
    except UnreadableAudio as problem:
        return _Clip(0, [], str(problem))
    is_silent = bool((waveform == waveform[0]).all())
    windows = pieces(normalised_waveform(waveform, recogniser.feature_extractor))
    return _Clip(len(waveform), windows, is_silent=is_silent)


def _hypothesis(
    clip: _Clip, windows: list[Frames | None], blank_id: int, texts: dict[int, str]
) -> Hypothesis:
    if clip.problem:
        return Hypothesis("", clip.problem)
    if any(frames is None for frames in windows):
        return Hypothesis("", OUT_OF_MEMORY)
    frames = joined(windows)
    if frames.posteriors.isnan().any():
        return Hypothesis("", NOT_FINITE)
    text = greedy_text(frames.labels, blank_id, texts)
    return Hypothesis(
        text, None, confidence(frames, blank_id, texts) if text else None, clip.is_silent
    )


def _by_threads(
    work: Callable[[Any], Any], batches: list[Any], device: torch.device
) -> Iterator[Any]:
    """work(batch) of each, in their order, by threads that take the next batch when they are done with one.

    On a CPU one thread a core, each alone with its batch: a layer that all cores compute together ends when the last of them
    does, and on a machine that is busy otherwise each layer waits. On a GPU the threads read audio while it computes.
    """
    n_cores = torch.get_num_threads()
    n_threads = max(1, min(n_cores if device.type == "cpu" else GPU_READERS, len(batches)))
    cores_each = n_cores // n_threads if device.type == "cpu" else n_cores
    coming: deque[Future] = deque()
    try:
        with ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(cores_each,)
        ) as threads:
            for batch in batches:
                coming.append(threads.submit(work, batch))
                if len(coming) > n_threads:  # no more is begun than is needed to keep them busy
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
    finally:
        torch.set_num_threads(
            n_cores
        )  # for threads to come: they take the last number that was set anywhere
