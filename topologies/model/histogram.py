"""Times by how many there were of each length, as a process that must not stop counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """Of times in ns, in buckets of a quarter of an octave: bucket 4 a + b ends at 2^a (1 + (b + 1) / 4) us, the first
    ones at the next whole microsecond."""

    count: int
    sum: int
    max: int
    buckets: tuple[int, ...]

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.count + other.count, self.sum + other.sum, max(self.max, other.max),
                         tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True)))

    def __sub__(self, before: Histogram) -> Histogram:
        """What came since `before`; max is that of all."""
        return Histogram(self.count - before.count, self.sum - before.sum, self.max,
                         tuple(now - then for now, then in zip(self.buckets, before.buckets, strict=True)))

    def quantile(self, share: float) -> float:
        """The end of the bucket in which that share is reached, at most the greatest time, in ns; 0 for none."""
        wanted, seen = share * self.count, 0
        for number, held in enumerate(self.buckets):
            seen += held
            if held and seen >= wanted:
                return min(1000.0 * math.ceil((1 << number // 4) * (1.25 + number % 4 / 4)), float(self.max))
        return 0.0
