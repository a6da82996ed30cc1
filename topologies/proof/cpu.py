"""The machine's time between two readings: idle, stolen, spent on interrupts.

Source: /proc/stat (proc(5)), in clock ticks. Each share is of wall time x processors. The columns themselves are no
measure of the whole: busy time is sampled by the tick, which many short softirqs escape, so that they have been seen to
sum to 57 % of wall time, while idle time is measured and exact.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

_IDLE, _IOWAIT, _SOFTIRQ, _STEAL, _FIELDS = 3, 4, 6, 7, 8   # of /proc/stat's first line; guest is part of user


class MachineTime(NamedTuple):
    """Fractions of all processors' time between two readings; as the kernel counts, so not always within 0 and 1."""

    idle: float
    steal: float
    softirq: float


def shares(before: Sequence[int], after: Sequence[int], capacity: float) -> MachineTime:
    """What lies between two readings of /proc/stat's first line; capacity: ticks of wall time x processors."""
    delta = [b - a for a, b in zip(before, after, strict=True)]
    return MachineTime(*(x / capacity for x in (delta[_IDLE] + delta[_IOWAIT], delta[_STEAL], delta[_SOFTIRQ])))


class Machine:
    """Differences from one call to the next."""

    def __init__(self) -> None:
        self._last, self._since = _ticks(), time.monotonic()
        self._per_second = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)

    def step(self) -> MachineTime:
        now, at = _ticks(), time.monotonic()
        found = shares(self._last, now, max(at - self._since, 1e-3) * self._per_second)
        self._last, self._since = now, at
        return found


def _ticks() -> list[int]:
    with open("/proc/stat") as file:
        return [int(x) for x in file.readline().split()[1:1 + _FIELDS]]
