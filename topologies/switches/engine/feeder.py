"""Frames into one direction, as its near end would send them; answers are read as they come, not waited for."""

from __future__ import annotations

import socket
from pathlib import Path

from topologies.model.errors import HostError

AT_ONCE = 64            # frames that have had no answer yet


class Feeder:
    """direction: in the engine's words."""

    def __init__(self, path: Path, direction: str, frame: bytes) -> None:
        """Raises HostError if nobody listens."""
        self._line = f"inject {direction} {frame.hex()}\n".encode()
        self._direction, self._unanswered = direction, 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise HostError(f"fabric engine at {path}", "an answer", error.strerror or str(error)) from None

    def send(self) -> None:
        """Raises HostError for a frame that the engine refuses, OSError where it is gone."""
        self._socket.sendall(self._line)
        self._unanswered += 1
        self._take(wait=self._unanswered >= AT_ONCE)

    def _take(self, *, wait: bool) -> None:
        try:
            said = self._socket.recv(1 << 16, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not said:
            raise ConnectionResetError("the engine ended the connection")
        self._unanswered -= said.count(b"\n")
        if b"error" in said:
            raise HostError(f"fabric engine: inject {self._direction}", "a frame that it takes",
                            said.decode(errors="replace")[:200].strip())

    def close(self) -> None:
        self._socket.close()
