"""One clock for both ends of a packet: is CLOCK_REALTIME to be trusted over this run?

Kernel stamps are CLOCK_REALTIME, so senders stamp with it too; a step of that clock while packets
fly would read as latency. CLOCK_MONOTONIC cannot step, and slewing moves both alike.
"""

from __future__ import annotations

import time

MAX_STEP = 100e-6       # seconds; beyond, latencies of the run are not valid


def offset() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC in ns, the tightest of a few readings (docs/reference/methods.md: packets)."""
    readings = []
    for _ in range(9):
        before = time.monotonic_ns()
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.monotonic_ns()
        readings.append((after - before, real - (before + after) // 2))
    return min(readings)[1]


class StepWatch:
    """Largest departure of the offset from what it was at the start; look now and then, and at the end."""

    def __init__(self) -> None:
        self.first = offset()
        self._largest = 0

    def look(self, now: int | None = None) -> None:
        """`now`: an offset in ns read elsewhere; by default it is read here."""
        step = (offset() if now is None else now) - self.first
        if abs(step) > abs(self._largest):
            self._largest = step

    @property
    def step(self) -> float:
        """Seconds, with its sign."""
        return self._largest / 1e9

    @property
    def why_invalid(self) -> str:
        """Why latencies of this run must not be used; '' if they may."""
        if abs(self.step) <= MAX_STEP:
            return ""
        return (f"CLOCK_REALTIME stepped by {self.step * 1e3:.3f} ms against CLOCK_MONOTONIC; "
                f"{MAX_STEP * 1e6:.0f} us are allowed")
