"""A small blocking client of the controller's API: HTTP over its unix socket, standard library only."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

from topologies.model.errors import LabError

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
    """What a running controller tells; shapes are in controller/northbound/api.py. Errors are LabErrors."""

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

    def intent(self) -> dict[str, Any]:
        return self._get("/intent")

    def evpn(self) -> dict[str, Any]:
        return self._get("/evpn")

    def plan(self, objects: list[dict[str, Any]], *, empty: bool = False) -> dict[str, Any]:
        """What apply() would change. empty: it is meant to take every VPC away. Raises LabError, as apply() does."""
        return self._ask("POST", "/intent/plan", {"objects": objects, "empty": empty})

    def apply(self, objects: list[dict[str, Any]], version: int | None = None, *,
              empty: bool = False) -> dict[str, Any]:
        """Make this the whole intent, if `version` still counts; returns when the switches hold it.

        empty: it is meant to take every VPC away. Raises LabError."""
        return self._ask("PUT", "/intent", {"objects": objects, "empty": empty}, version)

    def set_rates(self, rates: dict[str, float]) -> dict[str, Any]:
        """Tell which links have another rate (bit/s) than the fabric's; those not named have the fabric's again.
        Returns when the switches hold what follows from it. Raises LabError for a link that is none."""
        return self._ask("PUT", "/rates", {"rates": rates})

    def _get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, body: object = None, version: int | None = None) -> dict[str, Any]:
        where, expected = f"controller at {self._socket}", f"an answer to {method} {path}"
        connection = _UnixConnection(self._socket, self._timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {} if version is None else {"If-Match": f'"{version}"'})
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(where, expected, str(error) or type(error).__name__,
                           "is the controller running?") from None
        finally:
            connection.close()
        if reply.status != http.client.OK:
            raise LabError(where, expected, f"{reply.status} {_in_words(text)}")
        found: dict[str, Any] = json.loads(text)
        return found


def _in_words(body: bytes) -> str:
    """The body of an error: a problem's detail and its errors, or the text as it is."""
    try:
        problem = json.loads(body)
        errors = [f"{e['where']}: expected {e['expected']}; found {e['found']}" for e in problem.get("errors", ())]
        return "\n".join([problem["detail"], *errors])
    except (ValueError, KeyError, AttributeError):
        return body.decode(errors="replace")[:300]


def _unsettled(health: dict[str, Any]) -> str:
    waiting = [name for name, s in health["switches"].items() if not s["settled"]]
    errors = [f"{name}: {e}" for name, s in health["switches"].items() for e in s.get("errors", ())]
    reported = (f"{health['connected']} of {health['expected']} connected; "
                f"waiting for {', '.join(waiting) or 'links'}; "
                f"down: {', '.join(health['down']) or 'none'}")
    return "; ".join([reported, *errors[:3]])
