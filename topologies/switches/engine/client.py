"""The engine's control socket from Python: commands, answered in order (docs/engine.md).

    with EngineClient(path) as engine:
        engine.ask("direction leaf1->spine1 rate=5000000")
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from topologies.model.errors import HostError

TIMEOUT = 10.0          # seconds for an answer: the engine does commands between two events
_AT_ONCE = 256          # commands on their way: neither side's buffer fills while the other one waits


class EngineClient:
    """One connection. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        """Raises HostError if nobody listens."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise self._gone(error) from None
        self._lines = self._socket.makefile("r", encoding="utf-8", errors="replace", newline="\n")

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str) -> str:
        """The data of the answer, '' for a plain ok. Raises HostError for a refusal, with the engine's sentence."""
        return self.ask_all([command])[0]

    def ask_all(self, commands: Sequence[str]) -> list[str]:
        """Several commands with their answers; after a refusal those that were sent with it are done as well."""
        found: list[str] = []
        for start in range(0, len(commands), _AT_ONCE):
            batch = commands[start: start + _AT_ONCE]
            try:
                self._socket.sendall("".join(f"{command}\n" for command in batch).encode())
                answers = [self._lines.readline() for _ in batch]
            except OSError as error:
                raise self._gone(error) from None
            found += [self._data(command, answer) for command, answer in zip(batch, answers, strict=True)]
        return found

    def _data(self, command: str, answer: str) -> str:
        kind, _, data = answer.rstrip("\n").partition(" ")
        if kind == "ok":
            return data
        if kind == "error":
            raise HostError(f"fabric engine: {command[:120]}", "a command that it takes", data)
        raise self._gone(ConnectionResetError("the connection ended"))

    def _gone(self, error: OSError) -> HostError:
        return HostError(f"fabric engine at {self._path}", "an answer", error.strerror or str(error),
                         "see its log in the lab's directory; aifab clean takes away what is left")
