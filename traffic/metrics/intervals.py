"""Sets of times as sorted intervals that do not touch each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Interval = tuple[float, float]      # from, to, s


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """All times that lie in any of them; empty and reversed ones hold none."""
    found: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[1] > i[0]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def length(times: Iterable[Interval]) -> float:
    """Seconds in a union."""
    return sum(end - start for start, end in times)


def common(a: Sequence[Interval], b: Sequence[Interval]) -> float:
    """Seconds that lie in both of two unions."""
    seconds, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        seconds += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] <= b[j][1]:
            i += 1
        else:
            j += 1
    return seconds
