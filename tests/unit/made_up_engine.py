"""An engine that is a file of counters and a socket that answers: for tests of who reads and asks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory, SwitchProcess
from topologies.switches.engine import counters
from topologies.switches.engine.counters import DirectionCounts, EngineCounts, HostCounts, QueueCounts, SwitchCounts
from topologies.switches.engine.layout import layout_of
from topologies.switches.engine.management.process import SOCKET

NO_HISTOGRAMS = [0] * (11 + 2 * (3 + counters.BUCKETS))


class CountersFile:
    """Its records are lists of words; `write` puts them into the file."""

    def __init__(self, directory: Path, fabric: Fabric) -> None:
        self.path, self.layout = directory / counters.FILE, layout_of(fabric)
        layout = self.layout
        layout.save(directory)
        self.engine = dict.fromkeys(EngineCounts._fields, 0) | {
            "magic": counters.MAGIC, "directions": len(layout.directions), "hosts": len(layout.hosts),
            "switches": len(layout.switches)}
        self.histograms = list(NO_HISTOGRAMS)
        self.directions = {name: dict.fromkeys(DirectionCounts._fields, 0) for name in layout.directions}
        self.queues = {(name, n): dict.fromkeys(QueueCounts._fields, 0) for name in layout.directions
                       for n in range(counters.QUEUES)}
        self.hosts = {name: dict.fromkeys(HostCounts._fields, 0) for name in layout.hosts}
        self.switches = {name: dict.fromkeys(SwitchCounts._fields, 0) | {"is_on": 1} for name in layout.switches}
        self.write()

    def write(self) -> None:
        words = [*self.engine.values(), *self.histograms]
        for name, direction in self.directions.items():
            words += direction.values()
            for n in range(counters.QUEUES):
                words += self.queues[name, n].values()
        for each in (*self.hosts.values(), *self.switches.values()):
            words += each.values()
        self.path.write_bytes(b"".join(word.to_bytes(8, "little") for word in words))


def inventory_of(fabric: Fabric, directory: Path, pid: int = 0) -> Inventory:
    return Inventory(
        lab="test", directory=str(directory), fabric=fabric, netns={n.name: f"t-{n.name}" for n in fabric.nodes},
        wiring="", wires={}, datapath="engine", controller_socket="", api_socket="",
        switches={s.name: SwitchProcess(name=s.name, directory=str(directory), pid=pid) for s in fabric.switches})


class Engine:
    """Listens in a directory and answers each command by `answer`, which says what follows 'ok'; keeps them all."""

    def __init__(self, directory: Path, answer: Callable[[str], str] = lambda _: "") -> None:
        self.commands: list[str] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / SOCKET))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("r") as lines:
            for line in lines:
                self.commands.append(line.rstrip("\n"))
                said = self._answer(self.commands[-1])
                connection.sendall((said if said.startswith("event") else f"ok {said}".rstrip()).encode() + b"\n")
