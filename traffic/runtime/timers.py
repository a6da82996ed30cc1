"""Timers that are exact to tens of microseconds, and a heartbeat that tells how late they ran.

asyncio's own timers end in epoll_wait, which counts whole milliseconds and rounds up; compute times and
arrivals need better. A timerfd on CLOCK_MONOTONIC wakes the same epoll at the nanosecond asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import itertools
import math
import os
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topologies.model.errors import HostError

TFD_TIMER_ABSTIME = 1
HEARTBEAT = 0.010       # seconds


class _ITimerSpec(ctypes.Structure):
    _fields_ = (("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long),
                ("value_s", ctypes.c_long), ("value_ns", ctypes.c_long))


class Timers:
    """Calls functions at given times of time.monotonic(), in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise HostError("timers", "a timerfd", os.strerror(ctypes.get_errno()))
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._armed = math.inf
        loop.add_reader(self._fd, self._fire)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call `call` at `when`; at once (but not before this returns) if that is over."""
        heapq.heappush(self._heap, (when, next(self._order), call))
        if when < self._armed:
            self._arm(when)

    def _arm(self, when: float) -> None:
        seconds = int(when)
        spec = _ITimerSpec(0, 0, seconds, max(int((when - seconds) * 1e9), 1))
        self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None)
        self._armed = when

    def _fire(self) -> None:
        self._armed = math.inf
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
        if not self._heap:
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 8)
        elif self._heap[0][0] < self._armed:        # setting it again takes the old expiry back, unread
            self._arm(self._heap[0][0])

    def close(self) -> None:
        self._heap.clear()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Lateness:
    """Quantiles of how late the heartbeat was, in seconds."""

    n: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Lateness:
        """Nearest-rank quantiles; all zero without samples."""
        if not samples:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(samples)
        n = len(ordered)
        return cls(n, ordered[math.ceil(n * 0.5) - 1], ordered[math.ceil(n * 0.99) - 1], ordered[-1])


class Heartbeat:
    """A timer due every 10 ms. A loop that was blocked counts every beat that it missed, so that one
    long stop does not look like one late sample."""

    def __init__(self, timers: Timers, on_beat: Callable[[], None], on_second: Callable[[Lateness], None]) -> None:
        self._timers, self._on_beat, self._on_second = timers, on_beat, on_second
        self._samples = array("d")
        self._since = 0         # index of the first sample of this second
        self._due = time.monotonic() + HEARTBEAT
        self._second = self._due + 1.0
        self._running = True
        timers.at(self._due, self._beat)

    def _beat(self) -> None:
        if not self._running:
            return
        now = time.monotonic()
        while self._due <= now:
            self._samples.append(now - self._due)
            self._due += HEARTBEAT
        if now >= self._second:
            self._second = now + 1.0
            self._on_second(Lateness.of(self._samples[self._since:]))
            self._since = len(self._samples)
        self._on_beat()
        self._timers.at(self._due, self._beat)

    def stop(self) -> Lateness:
        """End the beat; the quantiles over all of its samples."""
        self._running = False
        return Lateness.of(self._samples)
