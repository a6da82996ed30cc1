"""A process of ours that speaks JSON lines: sampler, traffic engine, streams, iperf.

    child ---> {"event": "ready"}      what it says on standard output
    "go" ----> child                   what we say on its standard input
    child ---> {"event": "progress"}, {"event": "error", where, expected, found, hint}, {"event": "done"}

It dies with us; its standard error goes to a log in the run directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topologies.access import files, start
from topologies.model.errors import LabError, RunError

Event = dict[str, Any]
END_WAIT = 10.0     # seconds that a child has to write what it holds before it is forced


class Child:
    """One running process; `name` is what errors call it."""

    def __init__(self, name: str, module: str, *arguments: str, log: Path) -> None:
        self.name, self.log = name, log
        self._log = os.fdopen(files.append(log), "a")
        self.process = subprocess.Popen(
            start.command(module, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, text=True, bufsize=1, start_new_session=True)
        self.events: queue.Queue[Event | None] = queue.Queue()
        self.finished = False
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"{name} events")
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with contextlib.suppress(ValueError):
                self.events.put(json.loads(line))
        self.events.put(None)

    def say(self, line: str) -> None:
        """One line to its standard input; a child that has gone is found out by the next wait."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            if self.process.stdin:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()

    def wait_for(self, wanted: str, timeout: float | None, on_event: Callable[[Event], None] | None = None) -> None:
        """Until the child says `wanted`. Raises what it reports as an error, and RunError on silence."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                event = self.events.get(timeout=left)
            except queue.Empty:
                raise RunError(self.name, f"'{wanted}' within {timeout:g} s", "nothing",
                               f"its log is {self.log}") from None
            if event is None:
                raise self.ended(wanted)
            if self.take(event, on_event) == wanted:
                return

    def take(self, event: Event, on_event: Callable[[Event], None] | None = None) -> str:
        """The kind of one event, with its consequences. Raises LabError if it is an error."""
        kind = str(event.get("event"))
        if kind == "error":
            raise RunError(*(str(event.get(k, "")) for k in ("where", "expected", "found", "hint")))
        if kind == "done":
            self.finished = True
        if on_event is not None:
            on_event(event)
        return kind

    def ended(self, wanted: str) -> LabError:
        """The error for a child that has gone without a word."""
        code = self.process.wait()
        last = self.log.read_text().strip().splitlines()[-1:] or [f"exit code {code}"]
        return RunError(self.name, f"'{wanted}' from process {self.pid}", f"it ended: {last[0][:300]}",
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
            self.wait_for("done", timeout)
        self.process.wait(END_WAIT)
