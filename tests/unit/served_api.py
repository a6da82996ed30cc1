"""The real API on a unix socket, over switches that confirm at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from controller.control import Control
from controller.intent.intent import as_objects
from controller.northbound.api import build
from controller.southbound.reconcile import Installed
from controller.stages import RuleSource
from controller.writer import Writer
from tests.unit.intents import attach, intent, peer, vpc
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=2))
OBJECTS = as_objects(intent(
    vpc("a", {"x": "10.1.0.0/24"}), vpc("c", {"z": "10.3.0.0/24"}, mode="l3vni"), peer(a=[], c=[]),
    attach("h1", "a/x"), attach("h3", "a/x"), attach("h4", "c/z")))


class Switches:
    """Switches that confirm at once; nobody reads their counters here."""

    def __init__(self, control: Control) -> None:
        self.control = control
        for switch in control.wanted:
            control.connected(switch)
            control.installed(switch, Installed())
            control.confirm(switch, 1)

    def follow(self, source: RuleSource) -> list[Future[Any]]:
        for switch in self.control.move(source):
            if switch != "leaf2":       # it never does
                self.control.confirm(switch, self.control.sessions[switch].sent)
        return []

    def read_counters(self) -> dict[str, tuple[list[Any], list[Any]]]:
        return {}


@contextmanager
def served(tmp_path: Path) -> Iterator[str]:
    """The socket of a served API."""
    control, path = Control(FABRIC), str(tmp_path / "api.sock")
    switches = Switches(control)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    api = build(control, switches, Writer(control, switches, tmp_path / "intent.json"))
    server = uvicorn.Server(uvicorn.Config(api, log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    yield path
    server.should_exit = True
