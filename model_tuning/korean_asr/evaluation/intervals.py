"""How sure a rate is: bootstrap intervals over speakers or clips, and two models compared on the same draws."""

from dataclasses import dataclass

import numpy as np

N_DRAWS, SEED, LEVEL = 1_000, 20_240_601, 0.95
MIN_SPEAKERS = 20  # with fewer, a draw of speakers says little, and clips are drawn


@dataclass(frozen=True, slots=True)
class Units:
    """What is drawn with replacement: all clips of a speaker together, or single clips. of_clip: (n_clips,) unit numbers."""

    resampled: str  # "speakers" or "clips"
    of_clip: np.ndarray
    n: int


def units_of(speakers: list[str | None]) -> Units:
    """Speakers where at least MIN_SPEAKERS are known (a clip without one then stands alone), else clips."""
    known = {
        speaker: number for number, speaker in enumerate(dict.fromkeys(filter(None, speakers)))
    }
    if len(known) < MIN_SPEAKERS:
        return Units("clips", np.arange(len(speakers)), len(speakers))
    n_known, alone = len(known), 0
    numbers = []
    for speaker in speakers:
        numbers.append(known[speaker] if speaker else n_known + alone)
        alone += not speaker
    return Units("speakers", np.array(numbers), n_known + alone)


def drawn_rates(ratios: np.ndarray, units: Units) -> np.ndarray:
    """(N_DRAWS, n_scores) float64: each score in each draw; NaN where a draw has nothing to divide by.

    ratios: (n_clips, n_scores, 2), numerators and denominators, summed over a draw before they are divided (Bisani and Ney
    2004). The draws depend on the units alone, so that two models on the same clips meet the same ones.
    """
    n_clips, n_scores, _ = ratios.shape
    sums = np.zeros((units.n, 2 * n_scores))
    np.add.at(sums, units.of_clip, ratios.reshape(n_clips, -1))
    rng = np.random.default_rng(SEED)
    drawn = np.empty((N_DRAWS, 2 * n_scores))
    for number in range(
        N_DRAWS
    ):  # one at a time: a table of all draws would take a gigabyte for 100,000 clips
        drawn[number] = np.bincount(rng.integers(0, units.n, units.n), minlength=units.n) @ sums
    numerators, denominators = drawn[:, 0::2], drawn[:, 1::2]
    return np.divide(
        numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0
    )


def interval(drawn: np.ndarray) -> list[float] | None:
    """The middle LEVEL of (N_DRAWS,) rates, as percentiles; None where no draw has a rate."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None
    return np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).round(6).tolist()
