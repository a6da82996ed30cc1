"""Who waited for a processor: the machine's idle, stolen and interrupt time, and run-queue delay by thread.

Sources: /proc/stat (proc(5)); /proc/PID/task/TID/schedstat: nanoseconds on a CPU, nanoseconds waiting
for one while runnable (Documentation/scheduler/sched-stats.rst of the kernel).
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_IDLE, _IOWAIT, _SOFTIRQ, _STEAL, _FIELDS = 3, 4, 6, 7, 8   # of /proc/stat's first line; guest is part of user
MIN_WALL = 0.5  # s
_NICE = 16      # field 19 of /proc/PID/stat, counted from behind the name


class MachineTime(NamedTuple):
    """Fractions of all processors' time between two readings."""

    idle: float
    steal: float
    softirq: float


class ProcessTime(NamedTuple):
    """One process between two readings.

    runq  seconds that its worst thread waited for a CPU, per second
    busy  seconds on a CPU of all threads, per second
    nice  highest nice value of its threads: renice moves threads, not processes
    """

    runq: float
    busy: float
    nice: int


class Machine:
    """Differences of /proc/stat from one call to the next."""

    def __init__(self) -> None:
        self._last = _machine_ticks()

    def step(self) -> MachineTime:
        now = _machine_ticks()
        delta = [b - a for a, b in zip(self._last, now, strict=True)]
        self._last = now
        total = max(sum(delta), 1)
        return MachineTime((delta[_IDLE] + delta[_IOWAIT]) / total, delta[_STEAL] / total, delta[_SOFTIRQ] / total)


def _machine_ticks() -> list[int]:
    with open("/proc/stat") as file:
        return [int(x) for x in file.readline().split()[1:1 + _FIELDS]]


class Process:
    """Sums over one process's threads from one step to the next.

    A process that may end within a second is looked at in between, so that its last moments count.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._last = _threads(pid)
        self._sums: dict[str, tuple[int, int]] = {}
        self._since = time.monotonic()
        self._nice = 0

    def look(self) -> None:
        """Add what each thread did since the last look. A new thread counts from 0."""
        now = _threads(self.pid)
        for tid, (run, wait) in now.items():
            before_run, before_wait = self._last.get(tid, (0, 0))
            sum_run, sum_wait = self._sums.get(tid, (0, 0))
            self._sums[tid] = sum_run + run - before_run, sum_wait + wait - before_wait
        self._last = now

    def step(self) -> ProcessTime | None:
        """What happened since the last step; None if the process was gone all the time.

        Fractions of MIN_WALL at least: a few milliseconds of a thread's life are no share of a second.
        """
        self.look()
        now = time.monotonic()
        wall, self._since = max(now - self._since, MIN_WALL) * 1e9, now
        sums, self._sums = self._sums, {}
        if not sums:
            return None
        self._nice = max((_nice(self.pid, tid) for tid in self._last), default=self._nice)
        return ProcessTime(runq=max(wait for _, wait in sums.values()) / wall,
                           busy=sum(run for run, _ in sums.values()) / wall, nice=self._nice)


def _threads(pid: int) -> dict[str, tuple[int, int]]:
    """Thread id -> nanoseconds run, nanoseconds waited; empty if the process is gone."""
    found: dict[str, tuple[int, int]] = {}
    try:
        tids = os.listdir(f"/proc/{pid}/task")      # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, ProcessLookupError):
        return found
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
                run, wait, _ = file.read().split()
        except (FileNotFoundError, ProcessLookupError):     # the thread ended between the two calls
            continue
        found[tid] = int(run), int(wait)
    return found


def _nice(pid: int, tid: str) -> int:
    try:
        with open(f"/proc/{pid}/task/{tid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[_NICE])
    except (FileNotFoundError, ProcessLookupError):
        return 0
