"""What the tests with real BGP routers share: their sessions, commands in their namespaces, and patience."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.lab.controller_lab import Lab

TIMEOUT = 90.0      # seconds: a session that fails at first is tried again after 30


def until(look: Callable[[], Any], wanted: Any) -> None:
    """Wait until something is as it should be."""
    deadline = time.monotonic() + TIMEOUT
    while (found := look()) != wanted:
        if time.monotonic() > deadline:
            assert found == wanted
        time.sleep(0.2)


def states(lab: Lab) -> dict[str, str]:
    return {p["peer"]: p["state"] for p in lab.client.evpn()["peers"]}


def at(lab: Lab, node: str, *words: str) -> str:
    """What a command says in a node's namespace."""
    run = ["nsenter", f"--net={lab.net.inventory.netns_path(node)}", *words]
    return subprocess.run(run, capture_output=True, text=True, check=False).stdout


def ping(lab: Lab, host: str, ip: str) -> bool:
    return " 1 received" in at(lab, host, "ping", "-c1", "-W2", ip)
