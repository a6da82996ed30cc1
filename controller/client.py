"""A small blocking client of the controller's API: HTTP over its unix socket, standard library only."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

from topologies.errors import LabError

POLL = 0.02     # seconds between two looks


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("controller", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ControllerClient:
    """What a running controller tells; shapes are in controller/api.py. Errors are LabErrors."""

    def __init__(self, api_socket: str, timeout: float = 15.0) -> None:
        self._socket, self._timeout = api_socket, timeout

    def health(self) -> dict[str, Any]:
        return self._get("/health")

    def topology(self) -> dict[str, Any]:
        return self._get("/topology")

    def rules(self) -> dict[str, Any]:
        return self._get("/rules")

    def counters(self) -> dict[str, Any]:
        return self._get("/counters")

    def wait_converged(self, timeout: float, down: frozenset[str] | None = None) -> dict[str, Any]:
        """Until every switch holds what is wanted (and, if given, exactly the links `down` are down); its health."""
        deadline = time.monotonic() + timeout
        last = "no answer"
        while time.monotonic() < deadline:
            try:
                health = self.health()
            except LabError as error:
                last = error.found      # it is starting up
            else:
                if health["converged"] and (down is None or down == frozenset(health["down"])):
                    return health
                last = _unsettled(health)
            time.sleep(POLL)
        raise LabError(f"controller at {self._socket}", f"all switches programmed within {timeout:g} s", last)

    def _get(self, path: str) -> dict[str, Any]:
        where = f"controller at {self._socket}"
        connection = _UnixConnection(self._socket, self._timeout)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(where, f"an answer to GET {path}", str(error) or type(error).__name__,
                           "is the controller running?") from None
        finally:
            connection.close()
        if reply.status != http.client.OK:
            raise LabError(where, f"an answer to GET {path}", f"{reply.status} {body.decode(errors='replace')[:300]}")
        found: dict[str, Any] = json.loads(body)
        return found


def _unsettled(health: dict[str, Any]) -> str:
    waiting = [name for name, s in health["switches"].items() if not s["settled"]]
    errors = [f"{name}: {e}" for name, s in health["switches"].items() for e in s.get("errors", ())]
    told = (f"{health['connected']} of {health['expected']} connected; waiting for {', '.join(waiting) or 'links'}; "
            f"down: {', '.join(health['down']) or 'none'}")
    return "; ".join([told, *errors[:3]])
