"""Training clips as an epoch hears them: another speed, other loudness, masked features.

Every draw depends on the recipe's seed, the epoch and the clip's id alone. So a resumed run, any
number of processes and any number of workers hear the same.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from korean_asr.audio import SAMPLE_RATE, n_frames, resampled
from korean_asr.manifest import DURATION_TOLERANCE_S, Utterance
from korean_asr.training.clip_checks import MIN_TRAINING_S

# CTC needs a frame for each character and another between equal ones: this many are always enough.
FRAMES_A_CHARACTER = 2


def drawn_speed(clip: Utterance, recipe: Any, epoch: int) -> float:
    """The speed of a clip in an epoch, one of the recipe's.

    It is 1.0 where the drawn one would make the clip longer than max_duration_s, or too short for
    its label or for a mask. Label and duration decide it, so that no audio is read to plan.
    """
    speeds = recipe.speeds
    speed = speeds[int(_share("speed", clip, recipe, epoch) * len(speeds))]
    return speed if _allowed(speed, clip, recipe) else 1.0


def _allowed(speed: float, clip: Utterance, recipe: Any) -> bool:
    seconds = clip.duration / speed
    if speed <= 1:
        return seconds <= recipe.max_duration_s
    # The audio may be so much shorter than the manifest says.
    least = seconds - DURATION_TOLERANCE_S
    n_needed = FRAMES_A_CHARACTER * len(clip.text)
    return least >= MIN_TRAINING_S and n_frames(int(least * SAMPLE_RATE)) >= n_needed


def drawn_durations(clips: list[Utterance], recipe: Any, epoch: int) -> list[float]:
    """Seconds of each clip at its speed in an epoch."""
    if set(recipe.speeds) == {1.0}:
        return [clip.duration for clip in clips]
    return [clip.duration / drawn_speed(clip, recipe, epoch) for clip in clips]


def longest_duration(clips: list[Utterance], recipe: Any) -> float:
    """Seconds of the longest clip that an epoch may draw."""
    speeds = {1.0, *recipe.speeds}
    return max(
        clip.duration / speed
        for clip in clips
        for speed in speeds
        if speed == 1 or _allowed(speed, clip, recipe)
    )


def augmented(waveform: np.ndarray, clip: Utterance, recipe: Any, epoch: int) -> np.ndarray:
    """A clip's waveform, (n_samples,) float32 at 16 kHz, as the epoch hears it.

    At a speed of 0.9 it is resampled to 1/0.9 times its samples, so that pitch and formants are
    lower, too (Ko et al. 2015, "Audio augmentation for speech recognition").
    """
    speed = drawn_speed(clip, recipe, epoch)
    if speed != 1:
        waveform = resampled(waveform, round(speed * SAMPLE_RATE))
    if recipe.gains is None:
        return waveform
    lowest, highest = recipe.gains
    ends_db = [
        lowest + (highest - lowest) * _share(f"gain at the {end}", clip, recipe, epoch)
        for end in ("start", "end")
    ]
    return with_gains(waveform, *ends_db)


def with_gains(waveform: np.ndarray, start_db: float, end_db: float) -> np.ndarray:
    """The waveform with a gain that moves from one value to another, on a straight line in dB.

    waveform: (n_samples,) float32. Beyond full scale, -1 to 1, it saturates as a recorder does. The
    feature extractor divides a clip by its deviation, so one gain throughout would change nothing.
    """
    # In float32: exp is several times as fast as 10 to a power in float64.
    nepers = np.log(10) / 20
    line = np.linspace(start_db * nepers, end_db * nepers, len(waveform), dtype=np.float32)
    return np.clip(waveform * np.exp(line), -1.0, 1.0)


def masked_features(clip: Utterance, recipe: Any, epoch: int, config: Any) -> np.ndarray | None:
    """Which features of a clip are masked in all of its frames, (hidden_size,) bool.

    config: of the model. None where the recipe masks none. Spans of mask_feature_length start at
    random, so many that they would cover mask_feature_prob if none overlapped (Park et al. 2019,
    SpecAugment; as in transformers, which draws for a batch and not for a clip).
    """
    if not recipe.mask_feature_prob:
        return None
    size = config.hidden_size
    length = min(config.mask_feature_length, size)
    rng = np.random.default_rng(_number("features", clip, recipe, epoch))
    n_spans = int(recipe.mask_feature_prob * size / length + rng.random())
    starts = rng.choice(size - length + 1, min(n_spans, size // length), replace=False)
    mask = np.zeros(size, dtype=bool)
    mask[(starts[:, None] + np.arange(length)).ravel()] = True
    return mask


@contextmanager
def features_masked(network: torch.nn.Module, masks: torch.Tensor | None) -> Iterator[None]:
    """Within it, these features of each clip are 0 where they enter the transformer.

    network: a Wav2Vec2ForCTC. masks: (B, hidden_size) bool, or None for no mask. transformers
    masks at the same point, after the masks over time.
    """
    if masks is None:
        yield
        return

    def masked(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        # (B, n_frames, hidden_size)
        frames, *others = inputs
        here = masks[:, None].to(frames.device, non_blocking=True)
        return (frames.masked_fill(here, 0.0), *others)

    handle = network.wav2vec2.encoder.register_forward_pre_hook(masked)
    try:
        yield
    finally:
        handle.remove()


def _share(what: str, clip: Utterance, recipe: Any, epoch: int) -> float:
    """A draw, evenly from 0 to below 1."""
    # 53 bits: so many are exact in a float.
    return (_number(what, clip, recipe, epoch) >> 11) / 2**53


def _number(what: str, clip: Utterance, recipe: Any, epoch: int) -> int:
    """A draw of 64 bits. A hash is a tenth of the time of a new random generator."""
    key = f"{what} {recipe.seed} {epoch} {clip.id}"
    # The id of a file whose name is not UTF-8 holds surrogates.
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
