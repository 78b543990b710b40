"""Clips to the most likely token of each 20 ms frame: windows, batches, and too little memory."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from transformers import PretrainedConfig, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from korean_asr.audio import (
    ENCODER_LAYERS,
    MIN_SAMPLES,
    SAMPLE_RATE,
    Audio,
    UnreadableAudio,
    n_frames,
    read_waveform,
)
from korean_asr.forced_alignment import Evidence
from korean_asr.hardware import LENGTH_STEP, in_precision, inputs_on

# A manifest without durations must not become one batch.
MAX_BATCH_CLIPS = 64
# Longer clips are cut into windows: attention needs time and memory by the square of the length.
MAX_WHOLE_S = 60.0
# 320 samples, or 20 ms.
FRAME_SAMPLES = int(np.prod([stride for _, stride in ENCODER_LAYERS]))
# Windows of 20 s, the length of the longest training clips: 14 s that are kept, and up to 3 s of
# context on either side. Measured on six clips of 75 s made of the demo's speech, with the texts
# of their short clips as reference (2,976 characters): windows of 50, 30 and 20 s give 353, 342
# and 331 errors, 75 s at once 383. A model does best at the lengths that it was trained on.
WINDOW_FRAMES, CONTEXT_FRAMES = 700, 150
# torch's CPU allocator raises a bare RuntimeError.
NO_MEMORY_MESSAGES = ("not enough memory", "can't allocate memory")
# Kinds of models of which a clip gives the same logits padded and alone, if each layer normalises
# over the channels: measured with random weights, they differ by 2e-6. The others convolve over
# frames, so that the last frames of a clip depend on what layers make of the padding.
UNCHANGED_BY_PADDING = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
# Below every logit, and finite, since JSON has no infinity.
NEVER = -10_000.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A clip, or a window of a long one, as the model reads it.

    waveform: (n_samples,) float32, normalised. kept: its frames without those of the context.
    labels: ids of the text of a whole clip, where its loss is wanted.
    tokens: (n_tokens,) int64, whose evidence is wanted, the blank first; None for no evidence.
    """

    waveform: np.ndarray
    kept: slice
    labels: list[int] | None = None
    tokens: np.ndarray | None = None

    @property
    def seconds(self) -> float:
        """Length, context included."""
        return len(self.waveform) / SAMPLE_RATE


class AudioClip(Protocol):
    """What decoding needs of a clip, as in manifest.Utterance: audio, seconds, what is cut out."""

    audio: Audio
    duration: float
    cut: tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip as read from its file; problem: why it could not be read, and has no pieces.

    seconds: by its samples. is_silent: every sample is equal.
    """

    pieces: list[Piece]
    seconds: float = 0.0
    is_silent: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """The most likely token id of each frame, (n_frames,) int64, and its posterior, float32.

    A posterior is NaN where a logit of the frame is NaN or infinite. loss: of ctc_losses, where the
    piece has labels. evidence: of the clip's reference, if asked for.
    """

    labels: torch.Tensor
    posteriors: torch.Tensor
    loss: float | None = None
    evidence: Evidence | None = None


def read_clip(
    clip: AudioClip,
    feature_extractor: Wav2Vec2FeatureExtractor,
    labels: list[int] | None = None,
) -> Clip:
    """Read a clip, normalise it and cut it where it is long. Never raises UnreadableAudio.

    labels: of its text, where its loss is wanted. A clip that is cut gets none.
    """
    try:
        waveform = read_waveform(clip.audio, *clip.cut)
    except UnreadableAudio as problem:
        return Clip([], problem=str(problem))
    made = pieces(normalised_waveform(waveform, feature_extractor))
    if labels is not None and len(made) == 1:
        made = [replace(made[0], labels=labels)]
    return Clip(
        made,
        seconds=len(waveform) / SAMPLE_RATE,
        is_silent=bool((waveform == waveform[0]).all()),
    )


def pieces(waveform: np.ndarray) -> list[Piece]:
    """The whole waveform, or windows of one over MAX_WHOLE_S; together they keep all its frames.

    waveform: (n_samples,) float32, normalised as a whole. A window that was normalised by itself
    would sound different. Windows start at multiples of FRAME_SAMPLES, so that their frames are
    made of the same samples as the frames of the whole.
    """
    total = n_frames(len(waveform))
    if len(waveform) <= MAX_WHOLE_S * SAMPLE_RATE:
        return [Piece(waveform, slice(0, total))]
    windows = []
    for start in range(0, total, WINDOW_FRAMES):
        end = min(start + WINDOW_FRAMES, total)
        first, last = max(0, start - CONTEXT_FRAMES), min(end + CONTEXT_FRAMES, total)
        # A frame spans 400 samples; the samples behind the last frame are too few for another.
        samples = waveform[first * FRAME_SAMPLES : (last - 1) * FRAME_SAMPLES + MIN_SAMPLES]
        windows.append(Piece(samples, slice(start - first, end - first)))
    return windows


def joined(windows: list[Frames]) -> Frames:
    """The frames of a clip from those of its windows, which are in order."""
    if len(windows) == 1:
        return windows[0]
    found = [window.evidence for window in windows if window.evidence]
    return Frames(
        labels=torch.cat([window.labels for window in windows]),
        posteriors=torch.cat([window.posteriors for window in windows]),
        evidence=joined_evidence(found) if found else None,
    )


def joined_evidence(windows: list[Evidence]) -> Evidence:
    """The evidence of a clip from that of its windows, which are in order."""
    return Evidence(
        log_posteriors=np.concatenate([window.log_posteriors for window in windows]),
        rivals=np.concatenate([window.rivals for window in windows]),
        rival_ids=np.concatenate([window.rival_ids for window in windows]),
    )


@dataclass(slots=True)
class Passes:
    """Batches through a model, which become smaller once memory has run out.

    Several threads may share one. On a GPU they take turns, so that its memory holds one batch.

    max_seconds: of padded audio in a batch. batch_seconds: padded audio of each finished batch.
    silent_ids: tokens that write no letter, so that they are never a letter's rival.
    """

    model: Wav2Vec2ForCTC
    precision: str
    max_seconds: float
    max_clips: int
    silent_ids: list[int] = field(default_factory=list)
    batch_seconds: list[float] = field(default_factory=list)
    gpu: threading.Lock = field(default_factory=threading.Lock)

    def frames(self, pieces: list[Piece]) -> list[Frames | None]:
        """The kept frames of each piece; None for a piece that exceeds memory even alone."""
        made: list[Frames | None] = [None] * len(pieces)
        waiting = sorted(range(len(pieces)), key=lambda index: -len(pieces[index].waveform))
        while waiting:
            longest = pieces[waiting[0]].seconds
            batch = waiting[: batch_size(longest, self.max_seconds, self.max_clips)]
            frames = self._frames_if_they_fit([pieces[index] for index in batch])
            if frames is None and len(batch) > 1:
                # The new limit stays: the next batches would not fit either.
                self.max_seconds = min(self.max_seconds, longest * len(batch) / 2)
                continue
            waiting = waiting[len(batch) :]
            if frames is not None:
                self.batch_seconds.append(longest * len(batch))
                for index, result in zip(batch, frames, strict=True):
                    made[index] = result
        return made

    def _frames_if_they_fit(self, batch: list[Piece]) -> list[Frames] | None:
        try:
            with self.gpu if self.model.device.type == "cuda" else nullcontext():
                return self._frames(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block: there the traceback would keep all the tensors alive.
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _frames(self, batch: list[Piece]) -> list[Frames]:
        waveforms = padded([piece.waveform for piece in batch])
        logits = logits_of(self.model, waveforms, self.precision)
        best, labels = logits.max(-1)  # (B, n_frames) each
        normaliser = logits.logsumexp(-1)
        posteriors = (best - normaliser).exp()
        posteriors[~logits.isfinite().all(-1)] = torch.nan
        losses = self._losses(batch, logits, normaliser)
        labels, posteriors = labels.cpu(), posteriors.cpu()
        evidence = self._evidence(logits, normaliser, batch)
        return [
            Frames(labels[i, piece.kept], posteriors[i, piece.kept], losses[i], evidence[i])
            for i, piece in enumerate(batch)
        ]

    @torch.inference_mode()
    def _evidence(
        self, logits: torch.Tensor, normaliser: torch.Tensor, batch: list[Piece]
    ) -> list[Evidence | None]:
        """The evidence of each piece's tokens in its kept frames; overwrites the logits.

        logits: (B, n_frames, n_labels). normaliser: (B, n_frames), their logsumexp.
        """
        if batch[0].tokens is None:
            return [None] * len(batch)
        ids = [torch.from_numpy(piece.tokens) for piece in batch]
        columns = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(logits.device)
        columns = columns[:, None].expand(-1, logits.shape[1], -1)  # (B, n_frames, n_tokens)
        wanted = (logits.gather(-1, columns) - normaliser[..., None]).cpu().numpy()
        logits[..., self.silent_ids] = NEVER
        first, rival_ids = logits.max(-1)
        logits.scatter_(-1, rival_ids[..., None], NEVER)
        rivals = torch.stack([first, logits.amax(-1)], -1) - normaliser[..., None]
        rivals, rival_ids = rivals.cpu().numpy(), rival_ids.cpu().numpy()
        return [
            Evidence(
                wanted[i, piece.kept, : len(piece.tokens)],
                rivals[i, piece.kept],
                rival_ids[i, piece.kept],
            )
            for i, piece in enumerate(batch)
        ]

    def _losses(
        self, batch: list[Piece], logits: torch.Tensor, sums: torch.Tensor
    ) -> list[float | None]:
        """The loss of each piece; None for one without labels. sums: (B, n_frames) logsumexp."""
        losses: list[float | None] = [None] * len(batch)
        # A piece with labels is a whole clip, so that `kept` holds all its frames.
        wanted = [i for i, piece in enumerate(batch) if piece.labels is not None]
        if not wanted:
            return losses
        labels = [torch.tensor(batch[i].labels, dtype=torch.long) for i in wanted]
        made = ctc_losses(
            logits[wanted] - sums[wanted][..., None],
            torch.tensor([batch[i].kept.stop for i in wanted]),
            torch.nn.utils.rnn.pad_sequence(labels, batch_first=True).to(logits.device),
            torch.tensor([len(ids) for ids in labels]),
            self.model.config.pad_token_id,
        )
        for i, loss in zip(wanted, made.tolist(), strict=True):
            losses[i] = loss
        return losses


def ctc_losses(
    log_probabilities: torch.Tensor,
    n_frames: torch.Tensor,
    labels: torch.Tensor,
    n_labels: torch.Tensor,
    blank_id: int,
) -> torch.Tensor:
    """Compute the CTC loss of each clip, divided by its number of labels: (B,) float32.

    log_probabilities: (B, n_frames, n_tokens) float32. labels: (B, L), on the same device, with any
    token behind the last one. n_frames, n_labels: (B,) int64, on the host, where torch's CTC wants
    them. The division is that of CTC's reduction "mean" before it averages. A loss that is
    infinite, since the labels are longer than the frames allow, counts as 0.
    """
    losses = torch.nn.functional.ctc_loss(
        log_probabilities.transpose(0, 1),
        # torch takes cuDNN's CTC for int32 alone. It is another one, without zero_infinity.
        labels.long(),
        n_frames,
        n_labels,
        blank_id,
        "none",
        zero_infinity=True,
    )
    return losses / n_labels.clamp(min=1).to(losses.device, non_blocking=True)


@torch.inference_mode()
def logits_of(
    model: Wav2Vec2ForCTC, batch: dict[str, torch.Tensor], precision: str
) -> torch.Tensor:
    """(B, n_frames, n_labels) float32. batch: as padded() makes it."""
    length_step = 1 if padding_changes_text(model.config) else LENGTH_STEP
    with in_precision(model.device, precision):
        return model(**inputs_on(model.device, batch, length_step)).logits.float()


def padding_changes_text(config: PretrainedConfig) -> bool:
    """Whether the zeros behind a clip would change what a model writes.

    A model with feat_extract_norm "group" normalises over all samples.
    """
    return config.model_type not in UNCHANGED_BY_PADDING or config.feat_extract_norm == "group"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch, on a GPU or on a CPU, says that memory has run out."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        message in str(error) for message in NO_MEMORY_MESSAGES
    )


def normalised_batch(
    waveforms: list[np.ndarray], feature_extractor: Wav2Vec2FeatureExtractor
) -> dict[str, torch.Tensor]:
    """Normalise each waveform by itself, and pad them to the longest; see padded()."""
    return padded([normalised_waveform(waveform, feature_extractor) for waveform in waveforms])


def normalised_waveform(
    waveform: np.ndarray, feature_extractor: Wav2Vec2FeatureExtractor
) -> np.ndarray:
    """(n_samples,) float32 of mean 0 and variance 1, if the model expects it; silence stays 0."""
    inputs = feature_extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="np")
    return inputs["input_values"][0]


def padded(waveforms: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """input_values (B, T) float32, padded with zeros to the longest, and n_samples (B,) int64."""
    n_samples = torch.tensor([len(waveform) for waveform in waveforms])
    values = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(waveform) for waveform in waveforms], batch_first=True
    )
    return {"input_values": values, "n_samples": n_samples}


def batch_size(longest_s: float, max_seconds: float, max_clips: int) -> int:
    """Number of clips in a batch padded to longest_s seconds: all that fit, at least one."""
    n_fit = int(max_seconds / longest_s) if longest_s else max_clips
    return max(1, min(max_clips, n_fit))


def length_batches(
    durations: list[float], max_seconds: float, max_clips: int = MAX_BATCH_CLIPS
) -> list[list[int]]:
    """Indices of clips in batches of similar duration, longest clip first.

    A batch holds at most max_seconds of padded audio, and max_clips. The batch with the most
    padded audio comes first, so that threads which take batches in turn end at about the same time
    (longest processing time first: Graham, Bounds on multiprocessing timing anomalies, 1969).
    """
    order = sorted(range(len(durations)), key=lambda index: -durations[index])
    batches: list[list[int]] = []
    while order:
        size = batch_size(durations[order[0]], max_seconds, max_clips)
        batches.append(order[:size])
        order = order[size:]
    return sorted(batches, key=lambda batch: -len(batch) * durations[batch[0]])
