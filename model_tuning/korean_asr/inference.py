"""Waveforms -> the most likely label of each 20 ms frame: windows of long clips, batches through the model, short memory."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import Wav2Vec2FeatureExtractor

from korean_asr.audio import ENCODER_LAYERS, MIN_SAMPLES, SAMPLE_RATE, n_frames
from korean_asr.hardware import in_precision
from korean_asr.model import Recogniser, Wav2Vec2ForCTC

MAX_BATCH_CLIPS = 64  # a manifest that gives no durations must not become one batch
MAX_WHOLE_S = (
    60.0  # beyond it in windows: attention takes time and memory by the square of the length
)
FRAME_SAMPLES = int(np.prod([stride for _, stride in ENCODER_LAYERS]))  # 320: 20 ms
# Windows of 20 s, the longest clips of training: 14 s that count, and up to 3 s on either side that are only heard. Measured
# on six clips of 75 s made of the demo's speech, against the texts of their short clips one by one, 2,976 characters: windows
# of 50, 30 and 20 s give 353, 342 and 331 errors, all 75 s at once 383. A model is at home in lengths that it was trained on.
WINDOW_FRAMES, CONTEXT_FRAMES = 700, 150
NO_MEMORY_MESSAGES = (
    "not enough memory",
    "can't allocate memory",
)  # of torch's CPU allocator, a bare RuntimeError


@dataclass(frozen=True, slots=True)
class Piece:
    """What goes through the model at once: a clip, or a window of a long one.

    waveform: (n_samples,) float32, normalised; kept: which of its frames count, the others are context.
    """

    waveform: np.ndarray
    kept: slice

    @property
    def seconds(self) -> float:
        return len(self.waveform) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Frames:
    """labels: (n_frames,) int64, the most likely of each frame; posteriors: (n_frames,) float32, how likely it is.

    A posterior is NaN where one of the frame's logits is no finite number.
    """

    labels: torch.Tensor
    posteriors: torch.Tensor


def pieces(waveform: np.ndarray) -> list[Piece]:
    """The whole waveform, or of one over MAX_WHOLE_S its windows, whose kept frames together are exactly its frames.

    waveform: (n_samples,) float32, normalised as a whole: a window with a mean and variance of its own would be another
    sound. Windows start at multiples of FRAME_SAMPLES, so that their frames are made of the same samples as the whole's.
    """
    total = n_frames(len(waveform))
    if len(waveform) <= MAX_WHOLE_S * SAMPLE_RATE:
        return [Piece(waveform, slice(0, total))]
    windows = []
    for start in range(0, total, WINDOW_FRAMES):
        end = min(start + WINDOW_FRAMES, total)
        first, last = max(0, start - CONTEXT_FRAMES), min(end + CONTEXT_FRAMES, total)
        # A frame hears 400 samples, 80 beyond the next one's start; what is left behind the last frame makes none.
        samples = waveform[first * FRAME_SAMPLES : (last - 1) * FRAME_SAMPLES + MIN_SAMPLES]
        windows.append(Piece(samples, slice(start - first, end - first)))
    return windows


def joined(windows: list[Frames]) -> Frames:
    """The frames of a clip from those of its windows, in their order."""
    return Frames(
        torch.cat([w.labels for w in windows]), torch.cat([w.posteriors for w in windows])
    )


@dataclass(slots=True)
class Passes:
    """Batches of pieces through the model; smaller ones from the moment that memory does not suffice.

    Several threads may use it at a time. On a GPU they wait for each other, so that its memory holds one batch.
    """

    model: Wav2Vec2ForCTC
    precision: str
    max_seconds: float  # of padded audio in a batch
    max_clips: int
    batch_seconds: list[float] = field(
        default_factory=list
    )  # of padded audio, of each batch that was made
    gpu: threading.Lock = field(default_factory=threading.Lock)

    def frames(self, pieces: list[Piece]) -> list[Frames | None]:
        """The kept frames of each piece; None for one that does not fit into memory even alone."""
        made: list[Frames | None] = [None] * len(pieces)
        waiting = sorted(range(len(pieces)), key=lambda place: -len(pieces[place].waveform))
        while waiting:
            longest = pieces[waiting[0]].seconds
            batch = waiting[: batch_size(longest, self.max_seconds, self.max_clips)]
            frames = self._frames_if_they_fit([pieces[place] for place in batch])
            if frames is None and len(batch) > 1:
                self.max_seconds = min(
                    self.max_seconds, longest * len(batch) / 2
                )  # kept: the next ones would fail too
                continue
            waiting = waiting[len(batch) :]
            if frames is not None:
                self.batch_seconds.append(longest * len(batch))
                for place, result in zip(batch, frames, strict=True):
                    made[place] = result
        return made

    def _frames_if_they_fit(self, batch: list[Piece]) -> list[Frames] | None:
        try:
            with self.gpu if self.model.device.type == "cuda" else nullcontext():
                return self._frames(batch)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Only here, where the exception and all the tensors that its traceback holds are gone.
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _frames(self, batch: list[Piece]) -> list[Frames]:
        logits = _logits(
            self.model, padded_inputs([piece.waveform for piece in batch]), self.precision
        )
        best, labels = logits.max(-1)  # (B, n_frames) each
        posteriors = (best - logits.logsumexp(-1)).exp()
        posteriors[~logits.isfinite().all(-1)] = torch.nan
        labels, posteriors = labels.cpu(), posteriors.cpu()
        return [
            Frames(labels[i, piece.kept], posteriors[i, piece.kept])
            for i, piece in enumerate(batch)
        ]


def frame_logits(recogniser: Recogniser, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
    """(n_frames, n_labels) of each clip, without the frames behind its end: those are padding, and would decode to text."""
    logits = _logits(
        recogniser.model, model_inputs(waveforms, recogniser.feature_extractor), "float32"
    )
    return [
        clip[: n_frames(len(waveform))] for clip, waveform in zip(logits, waveforms, strict=True)
    ]


@torch.inference_mode()
def _logits(model: Wav2Vec2ForCTC, inputs: dict[str, torch.Tensor], precision: str) -> torch.Tensor:
    """(B, n_frames, n_labels) float32."""
    inputs = {name: values.to(model.device) for name, values in inputs.items()}
    with in_precision(model.device, precision):
        return model(**inputs).logits.float()


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(
        message in str(error) for message in NO_MEMORY_MESSAGES
    )


def model_inputs(
    waveforms: list, feature_extractor: Wav2Vec2FeatureExtractor
) -> dict[str, torch.Tensor]:
    """Waveforms made zero-mean and unit-variance, each on its own, and padded to the longest, with their mask."""
    return padded_inputs(
        [normalised_waveform(waveform, feature_extractor) for waveform in waveforms]
    )


def normalised_waveform(
    waveform: np.ndarray, feature_extractor: Wav2Vec2FeatureExtractor
) -> np.ndarray:
    """(n_samples,) float32, of mean 0 and variance 1 where the model was trained on such; silence stays zeros."""
    return feature_extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="np")[
        "input_values"
    ][0]


def padded_inputs(waveforms: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """input_values (B, T) float32, padded with zeros to the longest, and attention_mask (B, T).

    The mask is always made: without one a batch would give other text than its clips one at a time.
    """
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    values = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(w) for w in waveforms], batch_first=True
    )
    return {
        "input_values": values,
        "attention_mask": (torch.arange(values.shape[1]) < lengths[:, None]).long(),
    }


def batch_size(longest_s: float, max_seconds: float, max_clips: int) -> int:
    """How many clips, padded to the longest of so many seconds, make a batch: as many as fit, at least one."""
    return max(1, min(max_clips, int(max_seconds / longest_s) if longest_s else max_clips))


def length_batches(
    durations: list[float], max_seconds: float, max_clips: int = MAX_BATCH_CLIPS
) -> list[list[int]]:
    """Places of clips of like duration, longest first, each batch within max_seconds of padded audio and max_clips.

    The batch of most padded audio comes first, so that threads which take them in turn end at about the same time (the rule
    of the longest processing time: Graham, Bounds on multiprocessing timing anomalies, 1969).
    """
    order = sorted(range(len(durations)), key=lambda place: -durations[place])
    batches: list[list[int]] = []
    while order:
        size = batch_size(durations[order[0]], max_seconds, max_clips)
        batches.append(order[:size])
        order = order[size:]
    return sorted(batches, key=lambda batch: -len(batch) * durations[batch[0]])
