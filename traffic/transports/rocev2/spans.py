"""Sets of numbers that come in runs: PSNs of packets, and of READs that take many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np


class Taken:
    """Numbers that were taken so far, in any order."""

    def __init__(self) -> None:
        self._single: set[int] = set()
        self._begins: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, number: int) -> bool:
        if number in self._single:
            return True
        k = bisect_right(self._begins, number) - 1
        return k >= 0 and number < self._ends[k]

    def add(self, number: int, span: int) -> None:
        """`span` numbers from `number` on, which was not taken before."""
        if span == 1:
            self._single.add(number)
            return
        end = number + span
        k = bisect_right(self._begins, number)
        within = bisect_right(self._ends, end)          # runs k to within - 1 are parts of this one
        self._begins[k:within] = [number]
        self._ends[k:within] = [end]


class Spans:
    """Runs [begin, end) of numbers as one set."""

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        begins: list[int] = []
        ends: list[int] = []
        for begin, end in sorted(runs):
            if ends and begin <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                begins.append(begin)
                ends.append(end)
        self._begins = np.array(begins, np.int64)
        self._ends = np.array(ends, np.int64)
        self._before = np.concatenate(([0], np.cumsum(self._ends - self._begins)))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self._before[-1])

    def within(self, begin: int, end: int) -> int:
        """How many of the numbers are in [begin, end)."""
        return max(self._below(end) - self._below(begin), 0)

    def _below(self, number: int) -> int:
        k = int(np.searchsorted(self._begins, number))
        if not k:
            return 0
        return int(self._before[k - 1] + min(number, self._ends[k - 1]) - self._begins[k - 1])
