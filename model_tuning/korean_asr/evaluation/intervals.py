"""Bootstrap intervals of rates; speakers or clips are resampled."""

from dataclasses import dataclass

import numpy as np

N_DRAWS, SEED, LEVEL = 1_000, 20_240_601, 0.95
# With fewer speakers the draws differ too little from each other, so clips are resampled.
MIN_SPEAKERS = 20


@dataclass(frozen=True, slots=True)
class Units:
    """What a draw takes with replacement: all clips of a speaker together, or single clips."""

    resampled: str  # "speakers" or "clips"
    of_clip: np.ndarray  # (n_clips,) the number of each clip's unit, from 0
    n: int  # how many units there are


def units_of(speakers: list[str | None]) -> Units:
    """Speakers if at least MIN_SPEAKERS are known, else clips.

    A clip without a speaker is a unit of its own.
    """
    known = {
        speaker: number for number, speaker in enumerate(dict.fromkeys(filter(None, speakers)))
    }
    if len(known) < MIN_SPEAKERS:
        return Units("clips", np.arange(len(speakers)), len(speakers))
    n_units = len(known)
    numbers = []
    for speaker in speakers:
        if speaker:
            numbers.append(known[speaker])
        else:
            numbers.append(n_units)
            n_units += 1
    return Units("speakers", np.array(numbers), n_units)


def drawn_rates(ratios: np.ndarray, units: Units) -> np.ndarray:
    """Each score in each draw, (N_DRAWS, n_scores) float64; NaN where the denominator is 0.

    ratios: (n_clips, n_scores, 2) numerators and denominators. They are summed over a draw, then
    divided (Bisani and Ney 2004). The draws depend on the units alone, so two models that are
    scored on the same clips get the same draws.
    """
    n_clips, n_scores, _ = ratios.shape
    sums = np.zeros((units.n, 2 * n_scores))
    np.add.at(sums, units.of_clip, ratios.reshape(n_clips, -1))
    rng = np.random.default_rng(SEED)
    drawn = np.empty((N_DRAWS, 2 * n_scores))
    # One draw at a time: all draws at once would take a gigabyte for 100,000 clips.
    for number in range(N_DRAWS):
        drawn[number] = np.bincount(rng.integers(0, units.n, units.n), minlength=units.n) @ sums
    numerators, denominators = drawn[:, 0::2], drawn[:, 1::2]
    return np.divide(
        numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0
    )


def interval(drawn: np.ndarray) -> list[float] | None:
    """Lower and upper bound of the middle LEVEL of (N_DRAWS,) rates; None if all are NaN."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None
    return np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).round(6).tolist()
