"""A process of ours that tells events: sampler, traffic engine, streams, iperf.

    child ---> ready                        what it tells on standard output (topologies/access/events.py)
    "go" ----> child                        what we say on its standard input
    child ---> progress, error, done

It dies with us; its standard error goes to a log in the run directory.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from topologies.access import files, start
from topologies.access.events import Done, Event, Failed, Ready, parse
from topologies.model.errors import LabError, RunError

E = TypeVar("E", bound=Event)
END_WAIT = 10.0     # seconds that a child has to write what it holds before it is forced


class Child:
    """One running process.

    name      of its log and in records, and that under which the sampler watches it: 'engine'
    title     what errors call it
    watched   name -> pid of all that the sampler is to watch: the process, and those of its own that it reported
    """

    def __init__(self, name: str, title: str, module: str, *arguments: str, logs: Path) -> None:
        self.name, self.title, self.log = name, title, logs / f"{name}.log"
        self._log = os.fdopen(files.append(self.log), "a")
        self.process = subprocess.Popen(
            start.command(module, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, text=True, bufsize=1, start_new_session=True)
        self.watched = {name: self.process.pid}
        self.events: queue.Queue[Event | None] = queue.Queue()
        self.finished = False
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"{title} events")
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        for line in self.process.stdout or ():
            if (event := parse(line)) is not None:
                self.events.put(event)
        self.events.put(None)

    def say(self, line: str) -> None:
        """One line to its standard input; a child that has gone is found out by the next wait."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            if self.process.stdin:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()

    def ready(self, timeout: float) -> Ready:
        """What it tells when all is prepared."""
        reported = self.wait_for(Ready, timeout)
        self.watched |= reported.pids
        return reported

    def wait_for(self, wanted: type[E], timeout: float) -> E:
        """The next event of this kind. Raises what the child reports as an error, and RunError on silence."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                event = self.events.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                raise RunError(self.title, f"'{wanted.event}' within {timeout:g} s", "nothing",
                               f"its log is {self.log}") from None
            if isinstance(taken := self._take(event, wanted.event), wanted):
                return taken

    def drain(self) -> Iterator[Event]:
        """Every event that the child has reported so far. Raises LabError if it failed or ended too early."""
        while not self.finished and not self.events.empty():
            yield self._take(self.events.get(), Done.event)

    def _take(self, event: Event | None, wanted: str) -> Event:
        if event is None:
            raise self._ended(wanted)
        if isinstance(event, Failed):
            raise event.error()
        self.finished |= isinstance(event, Done)
        return event

    def _ended(self, wanted: str) -> LabError:
        """The error for a child that has gone without a word."""
        code = self.process.wait()
        last = self.log.read_text().strip().splitlines()[-1:] or [f"exit code {code}"]
        return RunError(self.title, f"'{wanted}' from process {self.pid}", f"it ended: {last[0][:300]}",
                        f"its log is {self.log}")

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it, gently if it lets us: it writes what it holds. Twice is fine."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(END_WAIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._log):
            with contextlib.suppress(OSError, ValueError):
                if pipe and (pipe is not self.process.stdout or not self._reader.is_alive()):
                    pipe.close()

    def stop(self, timeout: float) -> None:
        """Ask it to finish what it does ('stop' on its standard input) and wait for its 'done'."""
        self.say("stop")
        if not self.finished:
            self.wait_for(Done, timeout)
        self.process.wait(END_WAIT)
