"""Clips to text: greedy CTC without a language model, so that the text shows what was heard."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from korean_asr.hardware import (
    device_here,
    fast_network,
    from_all,
    n_processes,
    rank,
    refuse_unavailable,
)
from korean_asr.inference import (
    MAX_BATCH_CLIPS,
    AudioClip,
    Clip,
    Frames,
    Passes,
    joined,
    length_batches,
    logits_of,
    normalised_batch,
    padding_changes_text,
    read_clip,
)
from korean_asr.letters import (
    Alphabet,
    Reference,
    hypothesis_letters,
    no_letters,
    reference_letters,
)
from korean_asr.metrics import Hypothesis, corpus_counts, normalised, scored_text, utterance_counts
from korean_asr.progress_line import ProgressLine

# Seconds of padded audio. CPU: measured with a model of 94 M parameters on clips of 1 to 12 s, one
# core decodes 5.3, 4.9 and 4.6 s of audio per second in batches of 8, 16 and 32 s (bf16: 9.1, 8.9,
# 8.6): larger batches exceed the cache, and mix lengths. One clip at a time: 5.3 (9.3), and 10 %
# less for clips of 2 s. GPU: 317 M parameters on an H100 in fp16, 1,043, 1,619 and 1,965 s of audio
# per second in batches of 120, 240 and 480 s, peaks of 4, 7 and 12 GiB; float32 is fastest at
# 240 s. The batch is halved where memory runs out.
MAX_BATCH_SECONDS = {"cpu": 8.0, "cuda": 240.0}
# Assumed where a manifest says 0: rather long, so that few such clips are read at a time.
UNKNOWN_DURATION_S = 30.0
# Threads; one at a time has the GPU.
GPU_READERS = 4
NOT_FINITE, OUT_OF_MEMORY = "logits are NaN or infinite", "out of memory"


class Labelled(AudioClip, Protocol):
    """A clip with its reference text."""

    text: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The hypotheses of a list of clips, in its order, and the work that they took."""

    hypotheses: list[Hypothesis]
    clip_seconds: list[float]  # of each clip by its samples, 0 for one that cannot be read
    n_batches: int
    padded_seconds: float  # of audio that the model computed, padding included
    seconds: float  # wall clock of the slowest process
    precision: str
    # Of each clip, where they are asked for; None for one that is unreadable or cut into windows.
    losses: list[float | None] = field(default_factory=list)

    @property
    def audio_seconds(self) -> float:
        """Seconds of the readable clips."""
        return math.fsum(self.clip_seconds)

    @property
    def rtfx(self) -> float:
        """Seconds of audio decoded per second."""
        return self.audio_seconds / self.seconds if self.seconds else 0.0

    @property
    def padding_waste(self) -> float:
        """The share of the computed audio that was padding, or context of a window."""
        if not self.padded_seconds:
            return 0.0
        return max(0.0, 1 - self.audio_seconds / self.padded_seconds)


@dataclass(frozen=True, slots=True)
class _DecodedClip:
    hypothesis: Hypothesis
    seconds: float
    loss: float | None


def decoded(
    recogniser,
    utterances: Sequence[AudioClip],
    progress: str | None = None,
    precision: str = "float32",
    max_batch_seconds: float | None = None,
    max_batch_clips: int = MAX_BATCH_CLIPS,
    with_losses: bool = False,
    with_letters: bool = False,
) -> Decoded:
    """Decode every clip exactly once; the hypotheses are in the order of the clips.

    progress: title of the progress bar; None for no bar.
    max_batch_seconds: limit of a batch, padding included; None for the device's MAX_BATCH_SECONDS.
    with_losses, with_letters: also the loss, when each letter was said; the clips are Labelled.
    Raises UsageError for a precision that the device lacks.
    """
    started, model = time.monotonic(), recogniser.model.to(device_here())
    refuse_unavailable(precision, model.device)
    was_training = model.training
    model.eval()
    max_batch_clips = _most_together(model, max_batch_clips)
    max_seconds = max_batch_seconds or MAX_BATCH_SECONDS[model.device.type]
    alphabet, network = _alphabet(recogniser), fast_network(model)
    passes = Passes(network, precision, max_seconds, max_batch_clips, alphabet.silent_ids)
    labels = recogniser.labels([clip.text for clip in utterances]) if with_losses else None

    def decoded_batch(indices: list[int]) -> list[_DecodedClip]:
        files = [(utterances[index], labels and labels[index]) for index in indices]
        return _decoded_files(files, recogniser, passes, alphabet, with_letters)

    durations = [utterance.duration or UNKNOWN_DURATION_S for utterance in utterances]
    plan = length_batches(durations, max_seconds, max_batch_clips)
    clips: dict[int, _DecodedClip] = {}
    with ProgressLine(progress, len(utterances)) as bar:
        results = _by_threads(decoded_batch, plan, model.device)
        for indices, result in zip(plan, results, strict=True):
            clips |= zip(indices, result, strict=True)
            bar.update(len(indices))
    model.train(was_training)
    in_order = [clips[index] for index in range(len(utterances))]
    return Decoded(
        [clip.hypothesis for clip in in_order],
        [clip.seconds for clip in in_order],
        n_batches=len(passes.batch_seconds),
        padded_seconds=math.fsum(passes.batch_seconds),
        seconds=time.monotonic() - started,
        precision=precision,
        losses=[clip.loss for clip in in_order],
    )


def _most_together(model, max_batch_clips: int) -> int:
    return 1 if padding_changes_text(model.config) else max_batch_clips


def decoded_by_all(
    recogniser,
    utterances: Sequence[AudioClip],
    progress: str | None = None,
    **settings: Any,
) -> Decoded:
    """Like decoded(), shared by all processes of torchrun; each returns the whole result.

    settings: those of decoded().
    """
    return dealt_to_all(partial(decoded, recogniser, **settings), utterances, progress)


def dealt_to_all(
    decode: Callable[[Sequence[AudioClip], str | None], Decoded],
    utterances: Sequence[AudioClip],
    progress: str | None = None,
) -> Decoded:
    """What decode(clips, progress) makes of all clips, dealt to the processes of torchrun.

    Each process returns the whole result. Clips are dealt in turn, longest first, so that all
    processes work equally long.
    """
    if not torch.distributed.is_initialized():
        return decode(utterances, progress)
    order = sorted(range(len(utterances)), key=lambda index: -utterances[index].duration)
    own = [utterances[index] for index in order[rank() :: n_processes()]]
    shares = from_all(decode(own, progress if rank() == 0 else None))
    hypotheses: list[Hypothesis | None] = [None] * len(utterances)
    clip_seconds = [0.0] * len(utterances)
    losses: list[float | None] = [None] * len(utterances)
    for first, share in enumerate(shares):
        for position, index in enumerate(order[first :: n_processes()]):
            hypotheses[index] = share.hypotheses[position]
            clip_seconds[index] = share.clip_seconds[position]
            losses[index] = share.losses[position]
    return Decoded(
        hypotheses,
        clip_seconds,
        n_batches=sum(share.n_batches for share in shares),
        padded_seconds=sum(share.padded_seconds for share in shares),
        seconds=max(share.seconds for share in shares),
        precision=shares[0].precision,
        losses=losses,
    )


def error_rates(
    recogniser, utterances: Sequence[Labelled], progress: str | None = None
) -> dict[str, float]:
    """Decode every clip once, by all processes, and score the texts: `cer`, `wer` and so on."""
    return _rates(utterances, decoded_by_all(recogniser, utterances, progress).hypotheses)


def rates_and_loss(
    recogniser, utterances: Sequence[Labelled], progress: str | None = None
) -> dict[str, float]:
    """What error_rates returns, and `loss`, from the same pass through the model.

    The loss is the mean of inference.ctc_losses over the clips, without those that cannot be read
    or are cut into windows; where no finite one is left, there is no `loss`.
    """
    result = decoded_by_all(recogniser, utterances, progress, with_losses=True)
    losses = [loss for loss in result.losses if loss is not None and math.isfinite(loss)]
    mean = {"loss": round(math.fsum(losses) / len(losses), 6)} if losses else {}
    return {**_rates(utterances, result.hypotheses), **mean}


def _rates(utterances: Sequence[Labelled], hypotheses: list[Hypothesis]) -> dict[str, float]:
    pairs = zip(utterances, hypotheses, strict=True)
    texts = [(clip.text, scored_text(clip.text, made.text)) for clip, made in pairs]
    counts = corpus_counts([utterance_counts(*pair) for pair in texts])
    return {name: count.rate for name, count in counts.items()}


def frame_logits(recogniser, waveform: np.ndarray) -> torch.Tensor:
    """(n_frames, n_labels) float32 of one clip; waveform: (n_samples,) float32 at 16 kHz."""
    batch = normalised_batch([waveform], recogniser.feature_extractor)
    return logits_of(recogniser.model, batch, "float32")[0]


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
    """The text of a clip. frame_ids: (n_frames,) int64; texts: Recogniser.token_texts()."""
    ids = collapse_ctc(frame_ids.cpu(), blank_id)
    return normalised("".join(texts[index] for index in ids))


def confidence(frames: Frames, blank_id: int, texts: dict[int, str]) -> float | None:
    """The mean of the highest posterior of each written label; None where nothing is written."""
    labels, lengths = torch.unique_consecutive(frames.labels, return_counts=True)
    runs = frames.posteriors.split(lengths.tolist())
    highest = torch.stack([run.max() for run in runs])  # (n_runs,)
    written = torch.tensor([label != blank_id and texts[label] != "" for label in labels.tolist()])
    return highest[written].mean().item() if written.any() else None


def _alphabet(recogniser) -> Alphabet:
    config = recogniser.model.config
    return Alphabet.of(recogniser.token_texts(), config.pad_token_id, config.vocab_size)


def _decoded_files(
    files: list[tuple[AudioClip, list[int] | None]],
    recogniser,
    passes: Passes,
    alphabet: Alphabet,
    with_letters: bool,
) -> list[_DecodedClip]:
    """Read and decode some clips together. files: clips with the labels that a loss needs."""
    clips = [read_clip(clip, recogniser.feature_extractor, labels) for clip, labels in files]
    references = [
        alphabet.reference(normalised(clip.text)) if with_letters else None for clip, _ in files
    ]
    # Passes makes new batches, by the samples: the durations of a manifest may be wrong.
    pieces = [
        replace(piece, tokens=reference.tokens) if reference else piece
        for clip, reference in zip(clips, references, strict=True)
        for piece in clip.pieces
    ]
    frames = iter(passes.frames(pieces))
    windows = [[next(frames) for _ in clip.pieces] for clip in clips]
    found = [_found(*pair) for pair in zip(clips, windows, strict=True)]
    hypotheses = [_hypothesis(*pair, alphabet) for pair in zip(clips, found, strict=True)]
    if with_letters:
        hypotheses = _with_letters(hypotheses, found, references, alphabet)
    losses = [own[0].loss if len(own) == 1 and own[0] else None for own in windows]
    seconds = [clip.seconds for clip in clips]
    return [_DecodedClip(*clip) for clip in zip(hypotheses, seconds, losses, strict=True)]


def _with_letters(
    hypotheses: list[Hypothesis],
    found: list[Frames | str],
    references: list[Reference],
    alphabet: Alphabet,
) -> list[Hypothesis]:
    """Add when each letter was said; a clip that was not decoded has no letters."""
    heard = [index for index, frames in enumerate(found) if isinstance(frames, Frames)]
    aligned = reference_letters(
        [references[index] for index in heard], [found[index].evidence for index in heard]
    )
    letters = [no_letters() for _ in found]
    for index, reference in zip(heard, aligned, strict=True):
        labels, posteriors = found[index].labels.numpy(), found[index].posteriors.numpy()
        written = hypothesis_letters(labels, posteriors, alphabet)
        letters[index] = {"reference": reference, "hypothesis": written}
    return [replace(made, letters=own) for made, own in zip(hypotheses, letters, strict=True)]


def _found(clip: Clip, windows: list[Frames | None]) -> Frames | str:
    """The frames of a clip, or why there are none."""
    if clip.problem:
        return clip.problem
    if any(frames is None for frames in windows):
        return OUT_OF_MEMORY
    frames = joined(windows)
    return NOT_FINITE if frames.posteriors.isnan().any() else frames


def _hypothesis(clip: Clip, frames: Frames | str, alphabet: Alphabet) -> Hypothesis:
    if isinstance(frames, str):
        return Hypothesis("", frames)
    text = greedy_text(frames.labels, alphabet.blank_id, alphabet.texts)
    certainty = confidence(frames, alphabet.blank_id, alphabet.texts) if text else None
    return Hypothesis(text, confidence=certainty, is_silent=clip.is_silent)


def _by_threads(
    work: Callable[[Any], Any], batches: list[Any], device: torch.device
) -> Iterator[Any]:
    """work(batch) of each batch, in order, by threads that take the next batch when they are free.

    On a CPU each core has a thread and a batch of its own: a layer shared by all cores would end
    with the slowest of them, and on a busy machine every layer would wait for it. On a GPU the
    threads read audio while it computes.
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
                # Only as many batches are in work as keep the threads busy.
                if len(coming) > n_threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
    finally:
        # New threads take the number that was set last, in any thread.
        torch.set_num_threads(n_cores)
