"""How long the threads of a process waited for a processor, and which of the kernel's counts can be believed.

Source: /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst of the kernel): nanoseconds on a CPU,
nanoseconds runnable without one, how often it was given one.

    running ---- asleep ---------- waiting - running        the kernel adds the wait when it ends
                      ^ a look that finds the thread asleep: the wait that ends next began after it

The count can be wrong. From Linux 6.12 on a thread that falls asleep may stay on its queue for a while (delayed
dequeue). If it is moved to another CPU meanwhile, the kernel takes that for the start of a wait and counts the whole
sleep as waiting: 20 s in one second, on an idle machine. So a wait is held against the longest that it can have been.
What is longer is no measurement: it is kept apart, with what it can have been at most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

MIN_WALL = 0.5      # s
SLACK = 2e-3        # s between the scheduler's clock and ours
_STATE, _NICE = 0, 16   # fields 3 and 19 of /proc/PID/stat, counted from behind the name
_RUNNABLE = b"R"


class ProcessTime(NamedTuple):
    """One process between two readings.

    runq      seconds that its worst thread waited for a CPU, per second, as far as the kernel's counts can be
    busy      seconds on a CPU of all threads, per second
    nice      highest nice value of its threads: renice moves threads, not processes
    at_most   runq, with each count that cannot be replaced by the longest wait that it can stand for
    claimed   the largest count that cannot be, seconds per second; 0 if there is none
    """

    runq: float
    busy: float
    nice: int
    at_most: float
    claimed: float


class Counts(NamedTuple):
    """A thread's counters at one moment; `began` and `ended` are those of the reading, s of CLOCK_MONOTONIC."""

    began: float
    ended: float
    asleep: bool
    run: int
    wait: int
    times: int


class Thread:
    """Sums over one thread, in ns. since: s of CLOCK_MONOTONIC, no wait that the counters lack began before it."""

    def __init__(self, since: float) -> None:
        self._since = self._looked = since
        self._last = Counts(since, since, True, 0, 0, 0)
        self.ran = self.waited = self.at_most = self.claimed = 0

    def look(self, now: Counts) -> None:
        """Add what happened since the last look."""
        waited = now.wait - self._last.wait
        longest = max(int((now.ended - self._since + SLACK) * 1e9), 0)
        self.ran += now.run - self._last.run
        if waited <= longest:
            self.waited += waited
            self.at_most += waited
        else:
            self.at_most += longest
            self.claimed += waited
        if now.asleep:
            self._since = now.began
        elif now.times != self._last.times:     # it ran since the last look: what it waits for now began after that
            self._since = self._looked
        self._looked, self._last = now.began, now

    def begin(self) -> None:
        """A new sum."""
        self.ran = self.waited = self.at_most = self.claimed = 0


class _Files:
    """The two files of a thread, kept open: it is read twenty times a second."""

    def __init__(self, pid: int, tid: str) -> None:
        self._open: list[int] = []
        try:
            for name in ("stat", "schedstat"):
                self._open.append(os.open(f"/proc/{pid}/task/{tid}/{name}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise
        self.nice = 0

    def read(self) -> Counts:
        """Raises ProcessLookupError once the thread has ended."""
        began = time.monotonic()
        fields = os.pread(self._open[0], 1024, 0).rpartition(b")")[2].split()
        run, wait, times = os.pread(self._open[1], 256, 0).split()
        self.nice = int(fields[_NICE])
        return Counts(began, time.monotonic(), fields[_STATE] != _RUNNABLE, int(run), int(wait), int(times))

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open.clear()


class Process:
    """Sums over one process's threads from one step to the next, of as many looks as there are in between.

    The more looks, the less a wrong count can pass for a wait, and the more is known of a process that ends.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._threads: dict[str, tuple[_Files, Thread]] = {}
        self._ended: list[Thread] = []
        self._began = self._looked = time.monotonic()
        self._nice = 0
        self.look()
        for thread in self._sums():     # what they did before is not ours
            thread.begin()

    def look(self) -> None:
        """Add what each thread did since the last look; a new thread counts from 0."""
        began = time.monotonic()
        for tid in _tids(self.pid):
            if tid not in self._threads:
                with suppress(FileNotFoundError, ProcessLookupError):
                    self._threads[tid] = _Files(self.pid, tid), Thread(self._looked)
        for tid, (files, thread) in list(self._threads.items()):
            try:
                thread.look(files.read())
            except (FileNotFoundError, ProcessLookupError):     # it has ended
                files.close()
                self._ended.append(self._threads.pop(tid)[1])
        self._looked = began

    def _sums(self) -> Iterator[Thread]:
        yield from self._ended
        yield from (thread for _, thread in self._threads.values())

    def step(self) -> ProcessTime | None:
        """What happened since the last step; None if the process was gone all the time.

        Fractions of MIN_WALL at least: a few milliseconds of a thread's life are no share of a second.
        """
        self.look()
        now = time.monotonic()
        wall, self._began = max(now - self._began, MIN_WALL) * 1e9, now
        sums = list(self._sums())
        if not sums:
            return None
        self._nice = max((files.nice for files, _ in self._threads.values()), default=self._nice)
        found = ProcessTime(runq=max(t.waited for t in sums) / wall, busy=sum(t.ran for t in sums) / wall,
                            nice=self._nice, at_most=max(t.at_most for t in sums) / wall,
                            claimed=max(t.claimed for t in sums) / wall)
        self._ended = []
        for thread in self._sums():
            thread.begin()
        return found

    def close(self) -> None:
        for files, _ in self._threads.values():
            files.close()
        self._threads.clear()


def _tids(pid: int) -> list[str]:
    """Thread ids; empty if the process is gone."""
    try:
        return os.listdir(f"/proc/{pid}/task")      # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, ProcessLookupError):
        return []
