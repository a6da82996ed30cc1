"""The BGP speaker as a process: python -m controller.bgp.speaker. controller/bgp/bgp_link.py starts it.

It lives in a network namespace of its own, where its peers are and no tenant is, and in a process of its own, so
that no peer can hold up the switches. What it reads and writes is in controller/bgp/bgp_lines.py; its log is standard
error. It ends with its standard input.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from controller.bgp.bgp_lines import from_json, to_json
from controller.bgp.bgp_sessions import Sessions
from controller.evpn.evpn import Route
from topologies.access.netns import inside

_writing = threading.Lock()


def _say(**line: Any) -> None:
    with _writing:
        print(json.dumps(line), flush=True)


def _heard(peer: str, route: Route, gone: bool) -> None:
    if gone:
        _say(peer=peer, gone=to_json(route))
    else:
        _say(peer=peer, learned=to_json(route))


def main() -> None:
    """Serve the controller until it closes standard input."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})     # as inherited they are blocked
    setting = json.loads(sys.stdin.readline())
    with inside(setting["netns"]):      # every thread that starts in here stays in the namespace
        sessions = Sessions(setting["asn"], setting["router_id"], _heard, lambda peer, up: _say(peer=peer, up=up))
        for neighbor in setting["neighbors"]:
            sessions.add(neighbor["ip"], neighbor["asn"])
        for line in sys.stdin:
            sessions.announce(map(from_json, json.loads(line)["routes"]))
    os._exit(0)     # os-ken's threads cannot be joined


if __name__ == "__main__":
    main()
