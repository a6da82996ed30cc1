"""The whole lab: a running fabric and its controller, ready to forward.

    with lab(fabric) as it:
        print(it.net.get("h1").cmd("ping -c1", it.fabric.host("h5").ip))
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from controller.northbound import sockets, tcp
from controller.northbound.client import ControllerClient
from controller.southbound import rule_counters
from scenarios.run.ended import check_lab
from scenarios.run.waits import wait_for
from topologies.access import files, start
from topologies.lab.clean import end_processes
from topologies.lab.journal import Journal, Process, process_start
from topologies.lab.network import HasFabric, LabNetwork, running
from topologies.model.errors import LabError, RunError
from topologies.model.fabric import Fabric
from topologies.model.inventory import CONTROLLER_SOCKET, Inventory
from topologies.model.spec import FabricSpec

CONVERGE = 30.0     # seconds for all switches to connect and to hold their rules


@dataclass
class Lab:
    """A lab that forwards. `net` is Mininet-compatible, `controller` the client of its API."""

    net: LabNetwork
    controller: ControllerClient
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def fabric(self) -> Fabric:
        return self.net.fabric

    @property
    def inventory(self) -> Inventory:
        return self.net.inventory

    def policy_drops(self) -> dict[str, dict[str, int]]:
        """Switch -> name of a drop rule -> packets so far; empty for a switch that is dead."""
        return policy_drops(self.inventory)


def policy_drops(inventory: Inventory) -> dict[str, dict[str, int]]:
    """Switch -> name of a drop rule -> packets so far; empty for a switch that is dead.

    From the controller; from the switches themselves if it does not answer.
    """
    try:
        switches = ControllerClient(inventory.api_socket).counters()["switches"]
    except LabError:
        return rule_counters.policy_drops(inventory)
    return {name: {rule: int(count["packets"]) for rule, count in s["drops"].items()}
            for name, s in switches.items()}


@contextmanager
def lab(what: Fabric | FabricSpec | HasFabric, log: Path | None = None, listen: str = "") -> Iterator[Lab]:
    """Bring a fabric up with its controller; wait until every switch holds its rules.

    what: a Fabric, a FabricSpec or a Topo such as LeafSpine. log: where the controller writes. listen: an address and
    a port on loopback for its API, besides its socket (controller/northbound/proxy.py).
    """
    with ExitStack() as ends:
        # a port that is taken is reported first
        network = ends.enter_context(tcp.listener(listen)) if listen else None
        # The controller's process starts while the fabric comes up: half of a small lab's start is Python's imports.
        started: list[Waiting] = []

        def begin(journal: Journal) -> None:
            started.append(start_controller(journal, log or journal.directory / "controller.log"))
            ends.callback(started[0].process.wait)      # ended with the lab, whatever becomes of the fabric

        net = ends.enter_context(running(what, begin))
        process, path = started[0].process, started[0].log
        ends.callback(_end, process)
        started[0].go()
        client = ControllerClient(net.inventory.api_socket)
        wait_converged(client, started[0], net.inventory)
        if network is not None:
            proxy = start_proxy(net.inventory, network)
            ends.callback(proxy.wait)
            ends.callback(_end, proxy)
        yield Lab(net, client, process, path)


@dataclass
class Waiting:
    """A controller's process that reads its inventory when it is told to."""

    process: subprocess.Popen[bytes]
    log: Path

    def go(self) -> None:
        """The inventory is there."""
        with suppress(BrokenPipeError), cast(IO[bytes], self.process.stdin) as pipe:
            pipe.write(b"go\n")     # if it has ended, `wait_converged` says why


def start_controller(journal: Journal, log: Path) -> Waiting:
    """A process of its own, in the lab's journal.

    Its OpenFlow socket listens from the start: a switch that finds nobody there tries again after a second.
    """
    command = start.command("controller", "--inventory", str(journal.directory / "inventory.json"))
    with (os.fdopen(files.append(log), "ab") as file,
          sockets.listener(str(journal.directory / CONTROLLER_SOCKET)) as switches):
        process = subprocess.Popen([*command, "--switches", str(switches.fileno())],
                                   pass_fds=[switches.fileno()], stdin=subprocess.PIPE, stdout=file, stderr=file,
                                   start_new_session=True)
    journal.note_process(process.pid, "controller")
    return Waiting(process, log)


def start_proxy(inventory: Inventory, network: socket.socket) -> subprocess.Popen[bytes]:
    """The API over TCP, on a listening socket that becomes its own, with a new token in the lab's directory."""
    directory = Path(inventory.directory)
    with network, os.fdopen(files.append(directory / "proxy.log"), "ab") as log:
        process = subprocess.Popen(
            start.command("controller.northbound.proxy", "--listener", str(network.fileno()), "--api",
                          inventory.api_socket),
            pass_fds=[network.fileno()], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    Journal(directory).note_process(process.pid, "the API over TCP")
    with suppress(BrokenPipeError), cast(IO[bytes], process.stdin) as pipe:
        pipe.write(tcp.new_token(directory).encode() + b"\n")
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    began = process_start(process.pid)
    if began is not None:
        end_processes([Process(process.pid, began)])


def wait_converged(client: ControllerClient, started: Waiting, inventory: Inventory) -> None:
    """Until every switch is connected and holds exactly its rules.

    Raises RunError with the log's last line, LabEndError where what forwards has ended."""
    log = started.log

    def look() -> bool:
        check_lab(inventory)
        if started.process.poll() is not None:
            last = log.read_text().strip().splitlines()[-1:] or ["no word"]
            raise RunError("the controller", "a running process", f"it ended: {last[0][:300]}", f"its log is {log}")
        try:
            health = client.health()
        except LabError:        # it is starting up
            return False
        return bool(health["converged"] and not health["dead"])
    wait_for("every switch to hold its rules", look, CONVERGE, f"the controller's log is {log}")
