"""Management commands of a running ovs-vswitchd: JSON-RPC on its unixctl socket, as ovs-appctl sends them.

Done here and not by ovs-appctl, because a fork for each of a fabric's switches costs more than the answers.
"""

from __future__ import annotations

import json
import socket

from topologies.model.errors import HostError
from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management.process import control_socket

TIMEOUT = 20.0      # seconds


def call(process: SwitchProcess, method: str, *params: str) -> str:
    """One command's answer. Raises HostError if the daemon does not answer, or answers with an error."""
    where = f"switch {process.name}"
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(control_socket(process))
            sock.sendall(json.dumps({"method": method, "params": params, "id": 0}).encode())
            reply = _read_json(sock)
    except OSError as error:
        raise HostError(where, f"its vswitchd to answer {method}", str(error),
                        f"its logs are in {process.directory}") from None
    if reply.get("error"):
        raise HostError(where, f"{method} to succeed", str(reply["error"]).strip())
    return str(reply.get("result") or "")


def _read_json(sock: socket.socket) -> dict[str, object]:
    """One JSON object; nothing tells its length beforehand."""
    data = b""
    while part := sock.recv(65536):
        data += part
        try:
            reply: dict[str, object] = json.loads(data)
        except ValueError:
            continue    # the rest is still on its way
        return reply
    raise ConnectionError("it closed the connection")
