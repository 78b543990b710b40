"""Bootstrap intervals of rates; speakers, sentences or clips are drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

N_DRAWS, SEED, LEVEL = 1_000, 20_240_601, 0.95
# With fewer speakers the draws differ too little from each other, so sentences or clips are drawn.
MIN_SPEAKERS = 20
# Draws of so few units are kept, at most a megabyte each: hundreds of speakers have as many clips.
MAX_KEPT = 128


@dataclass(frozen=True, slots=True)
class Units:
    """What a draw takes with replacement: all clips of a speaker or sentence together, or clips."""

    resampled: str  # "speakers", "sentences" or "clips"
    of_clip: np.ndarray  # (n_clips,) the number of each clip's unit, from 0
    n: int  # how many units there are
    n_alone: int = 0  # the clips among them that have no speaker, or no sentence

    @property
    def drawn(self) -> str:
        """`41 speakers and 14 clips of unknown speakers`; why, where speakers are not drawn."""
        n_named = f"{self.n - self.n_alone:,}"
        if self.resampled == "speakers":
            alone = f" and {_n_clips(self.n_alone)} of unknown speakers" if self.n_alone else ""
            return f"{n_named} speakers{alone}"
        few = f"fewer than {MIN_SPEAKERS} speakers are known"
        if self.resampled == "sentences":
            alone = f" and {_n_clips(self.n_alone)} without letters" if self.n_alone else ""
            return f"{n_named} sentences{alone} ({few}, and sentences repeat)"
        return f"{_n_clips(self.n)} ({few})"


def _n_clips(n: int) -> str:
    return f"{n:,} clip{'' if n == 1 else 's'}"


def units_of(speakers: list[str | None], sentences: list[str]) -> Units:
    """Speakers if at least MIN_SPEAKERS are known; else sentences if some repeat; else clips.

    speakers, sentences: one of each clip. Clips of one sentence have the same difficult words, so
    they are no independent observations. A single sentence cannot be drawn, so its clips are.
    A clip without a speaker, or with an empty sentence, is a unit of its own.
    """
    if len({*filter(None, speakers)}) >= MIN_SPEAKERS:
        return _units("speakers", speakers)
    known = [*filter(None, sentences)]
    if 1 < len({*known}) < len(known):
        return _units("sentences", sentences)
    return Units("clips", np.arange(len(speakers)), len(speakers))


def _units(resampled: str, names: list[str | None]) -> Units:
    """One unit of each name, then one of each clip without a name."""
    known = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)))}
    n_units = len(known)
    numbers = []
    for name in names:
        if name:
            numbers.append(known[name])
        else:
            numbers.append(n_units)
            n_units += 1
    return Units(resampled, np.array(numbers), n_units, n_units - len(known))


def drawn_rates(ratios: np.ndarray, units: Units) -> np.ndarray:
    """Each score in each draw, (N_DRAWS, n_scores) float64; NaN where the denominator is 0.

    ratios: (n_clips, n_scores, 2) numerators and denominators. They are summed over a draw, then
    divided (Bisani and Ney 2004). The draws depend on the units alone, so two models that are
    scored on the same clips get the same draws.
    """
    n_clips, n_scores, _ = ratios.shape
    sums = np.zeros((units.n, 2 * n_scores))
    np.add.at(sums, units.of_clip, ratios.reshape(n_clips, -1))
    if units.n <= MAX_KEPT:
        drawn = _kept_draws(units.n) @ sums
    else:
        drawn = np.stack([times @ sums for times in _draws(units.n)])
    numerators, denominators = drawn[:, 0::2], drawn[:, 1::2]
    return np.divide(
        numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0
    )


def _draws(n: int) -> Iterator[np.ndarray]:
    """How often each of n units is in each of N_DRAWS draws, (n,) int.

    One draw at a time: all draws at once would take a gigabyte for 100,000 clips.
    """
    rng = np.random.default_rng(SEED)
    for _ in range(N_DRAWS):
        yield np.bincount(rng.integers(0, n, n), minlength=n)


@lru_cache(maxsize=32)
def _kept_draws(n: int) -> np.ndarray:
    """All draws of a few units, (N_DRAWS, n) float64."""
    return np.array(list(_draws(n)), np.float64)


def none_or_all(n: int, is_all: bool) -> list[float]:
    """The interval of a share of n that is 0, or 1, where every draw is the same.

    Its bounds are exact for n independent trials (Clopper and Pearson 1934).
    """
    edge = round(((1 - LEVEL) / 2) ** (1 / n), 6)
    return [edge, 1.0] if is_all else [0.0, round(1 - edge, 6)]


def interval(drawn: np.ndarray) -> list[float] | None:
    """Lower and upper bound of the middle LEVEL of (N_DRAWS,) rates; None if all are NaN."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None
    return np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).round(6).tolist()
