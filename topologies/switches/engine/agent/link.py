"""The agent's connection to the engine: commands go out in order, each answer goes to who asked, events to switches.

Nothing waits: an answer comes back through the selector's loop. A barrier is a place in the row of answers.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from topologies.model.errors import RunError

Answered = Callable[[str], None]


class EngineLink:
    """Lines to and from the engine's control socket."""

    def __init__(self, path: Path, on_event: Callable[[list[str]], None]) -> None:
        self.path, self._on_event = path, on_event
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(str(path))
        except OSError as error:
            raise RunError(str(path), "a running engine's socket", error.strerror or str(error)) from None
        self.socket.setblocking(False)
        self._waiting: deque[tuple[bool, Answered]] = deque()      # whether a command was sent for it
        self._out, self._in = bytearray(), bytearray()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    def ask(self, command: str, answered: Answered) -> None:
        """Send a command; its answer comes without the newline."""
        self._out += command.encode() + b"\n"
        self._waiting.append((True, answered))

    def after_all(self, done: Callable[[], None]) -> None:
        """Call when all that was asked before has been answered; at once if it has."""
        if self._waiting:
            self._waiting.append((False, lambda _: done()))
        else:
            done()

    def write(self) -> None:
        """As much as the socket takes."""
        try:
            sent = self.socket.send(self._out)
        except BlockingIOError:
            return
        del self._out[:sent]

    def read(self) -> None:
        """Take what has come. Raises RunError once the engine is gone."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None
        if not data:
            raise self._gone("end of file")
        self._in += data
        end = self._in.rfind(b"\n") + 1
        lines = bytes(self._in[:end]).decode(errors="replace").split("\n")[:-1]
        del self._in[:end]
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        if line.startswith("event "):
            self._on_event(line.split(" ")[1:])
            return
        if not self._waiting:
            raise RunError(str(self.path), "answers to what was asked", line[:80])
        _, answered = self._waiting.popleft()
        answered(line)
        while self._waiting and not self._waiting[0][0]:
            self._waiting.popleft()[1]("")

    def _gone(self, why: str) -> RunError:
        return RunError(str(self.path), "the engine at the other end", why)
