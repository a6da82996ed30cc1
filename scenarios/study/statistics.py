"""Medians of few values with their intervals, and differences between pairs of runs with one seed. Pure.

An interval is the percentile bootstrap of the median (Efron, Tibshirani: An Introduction to the Bootstrap, 1993,
chapter 13). Of up to five values it reaches from the smallest to the largest, and then its confidence is known
without any resampling: the median lies outside of all n values with probability 2 x (1/2)^n (David, Nagaraja:
Order Statistics, 7.1). So a 95 % interval of three values would be a lie; theirs has 75 %, that of five 94 %.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
MIN_PAIRS = 5       # fewer pairs all differ the same way by chance at least one time in 8: too often for a finding


def confidence(n: int) -> float:
    """Of the interval of n values: 95 %, less where so few cannot give it."""
    return min(CONFIDENCE, 1 - 2.0 ** (1 - n)) if n else 0.0


@dataclass(frozen=True)
class Estimate:
    """A median of n values with the interval of it, in the values' unit."""

    median: float
    low: float
    high: float
    n: int

    @property
    def confidence(self) -> float:
        return confidence(self.n)


@dataclass(frozen=True)
class Difference(Estimate):
    """Of pairs of runs with the same seed: (this design - the other). base: the other's median over these pairs.

    agree: pairs that differ in the direction of the median.
    """

    base: float
    agree: int

    @property
    def seen(self) -> bool:
        """Whether there is a difference: pairs enough, and an interval without zero."""
        return self.n >= MIN_PAIRS and (self.low > 0 or self.high < 0)

    @property
    def share(self) -> float | None:
        """Difference / the other's median; None where that is zero."""
        return self.median / abs(self.base) if self.base else None


def estimate(values: Sequence[float], label: str) -> Estimate | None:
    """Median and interval; None of no values. label: seeds the resampling, so that a report can be made again."""
    if not values:
        return None
    low, high = _interval(values, label)
    return Estimate(float(np.median(values)), low, high, len(values))


def difference(mine: Mapping[int, float], other: Mapping[int, float], label: str) -> Difference | None:
    """Of the seeds that both have, each paired with itself; None if they share none."""
    seeds = [seed for seed in mine if seed in other]
    if not seeds:
        return None
    values = [mine[seed] - other[seed] for seed in seeds]
    low, high = _interval(values, label)
    median = float(np.median(values))
    return Difference(median, low, high, len(values), base=float(np.median([other[seed] for seed in seeds])),
                      agree=sum(v * median > 0 for v in values))


def _interval(values: Sequence[float], label: str) -> tuple[float, float]:
    data = np.asarray(values, float)
    rng = np.random.default_rng(zlib.crc32(label.encode()))
    medians = np.median(rng.choice(data, (RESAMPLES, len(data))), axis=1)
    # at least 95 % of the resampled medians lie between; few values are not interpolated, which would invent some
    low, high = np.percentile(medians, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], method="nearest")
    return float(low), float(high)
