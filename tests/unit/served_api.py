"""The real API on a unix socket, over switches that confirm at once, but for leaf2: it never does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from controller.change import IntentTransactions
from controller.desired_state import DesiredState
from controller.intent.intent import as_objects
from controller.northbound.api import build
from tests.unit.fake_southbound import Switches
from tests.unit.intents import attach, intent, peer, vpc
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=2))
OBJECTS = as_objects(intent(
    vpc("a", {"x": "10.1.0.0/24"}), vpc("c", {"z": "10.3.0.0/24"}, mode="l3vni"), peer(a=[], c=[]),
    attach("h1", "a/x"), attach("h3", "a/x"), attach("h4", "c/z")))


@contextmanager
def served(tmp_path: Path) -> Iterator[str]:
    """The socket of a served API."""
    desired, path = DesiredState(FABRIC), str(tmp_path / "api.sock")
    switches = Switches(desired)
    switches.lost.add("leaf2")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    api = build(desired, switches, IntentTransactions(switches.rollout, tmp_path / "intent.json"))
    server = uvicorn.Server(uvicorn.Config(api, log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    yield path
    server.should_exit = True
