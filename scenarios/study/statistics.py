"""Medians of few values with their intervals, and differences between pairs of runs with one seed. Pure.

An interval of a median reaches from the k-th smallest to the k-th largest of n values. The median lies outside of it
only if fewer than k of the values lie on one side of it, and each does so with probability 1/2:

    coverage(n, k) = 1 - 2 x sum over i < k of C(n, i) / 2^n        k: the largest with a coverage of 95 % or more

        n   1 to 5   6      7      8      9      10     11     12     15     20
        k   -        1      1      1      2      2      2      3      4      6
        %   -        96.9   98.4   99.2   96.1   97.9   98.8   96.1   96.5   95.9

Fewer than 6 values have no 95 % interval: all that 5 reach, from the smallest to the largest, covers 93.75 %. Nothing
is assumed of the distribution; where values can be equal the coverage is at least this. That an interval leaves out
zero is the sign test: by chance it happens with probability 1 - coverage at most.
Source: David, Nagaraja: Order Statistics (2003), 7.1; Conover: Practical Nonparametric Statistics (1999), 3.2 and 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

CONFIDENCE = 0.95
MIN_PAIRS = 6       # the least number of values that have an interval of 95 % at all


def coverage(n: int, k: int) -> float:
    """How likely the k-th smallest and the k-th largest of n values have the median between them; k from 1 to n / 2."""
    return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / float(2**n)


@cache
def rank(n: int) -> int | None:
    """k of the interval of n values; None where even their whole range covers the median less often than 95 %."""
    wide_enough = [k for k in range(1, n // 2 + 1) if coverage(n, k) >= CONFIDENCE]
    return max(wide_enough, default=None)


def confidence(n: int) -> float | None:
    """What the interval of n values covers: 0.95 or more; None where there is no such interval."""
    k = rank(n)
    return None if k is None else coverage(n, k)


@dataclass(frozen=True)
class Estimate:
    """A median of n values, in their unit. least, most: their range.

    low, high: the interval of the median; None where so few values have none.
    """

    median: float
    low: float | None
    high: float | None
    n: int
    least: float
    most: float

    @property
    def confidence(self) -> float | None:
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
        """Whether there is a difference: pairs enough for an interval, and an interval without zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def share(self) -> float | None:
        """Difference / the other's median; None where that is zero."""
        return self.median / abs(self.base) if self.base else None


def estimate(values: Iterable[float]) -> Estimate | None:
    """Median and interval; None of no values. What is no finite number is no value."""
    found = sorted(v for v in values if math.isfinite(v))
    if not found:
        return None
    low, high = _interval(found)
    return Estimate(median(found), low, high, len(found), found[0], found[-1])


def difference(mine: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Of the seeds that both have a finite number of, each paired with itself; None if they share none."""
    seeds = [s for s in mine if s in other and math.isfinite(mine[s]) and math.isfinite(other[s])]
    e = estimate(mine[s] - other[s] for s in seeds)
    if e is None:
        return None
    return Difference(e.median, e.low, e.high, e.n, e.least, e.most, base=median(other[s] for s in seeds),
                      agree=sum((mine[s] - other[s]) * e.median > 0 for s in seeds))


def _interval(found: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Of sorted values."""
    k = rank(len(found))
    return (None, None) if k is None else (found[k - 1], found[-k])
