"""The whole lab: a running fabric and its controller, ready to forward.

    with lab(fabric) as it:
        print(it.net.get("h1").cmd("ping -c1", it.fabric.host("h5").ip))
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import harvest
from controller.client import ControllerClient
from scenarios.waits import wait_for
from topologies.clean import end_processes
from topologies.errors import LabError, RunError
from topologies.fabric import Fabric
from topologies.inventory import Inventory
from topologies.journal import Process, process_start
from topologies.network import LabNetwork, running

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
        return harvest.policy_drops(inventory)
    return {name: {rule: int(count["packets"]) for rule, count in s["drops"].items()}
            for name, s in switches.items()}


@contextmanager
def lab(what: Fabric | Any, log: Path | None = None, listen: str = "") -> Iterator[Lab]:
    """Bring a fabric up with its controller; wait until every switch holds its rules.

    what: a Fabric, a FabricSpec or a Topo such as LeafSpine. log: where the controller writes. listen: an address and
    a port on loopback for its API, besides its socket (controller/tcp.py).
    """
    with running(what) as net:
        path = log or net.journal.directory / "controller.log"
        process = start_controller(net, path, listen)
        try:
            client = ControllerClient(net.inventory.api_socket)
            wait_converged(client, process, path)
            yield Lab(net, client, process, path)
        finally:
            start = process_start(process.pid)
            if start is not None:
                end_processes([Process(process.pid, start)])
            process.wait()


def start_controller(net: LabNetwork, log: Path, listen: str = "") -> subprocess.Popen[bytes]:
    """A process of its own, in the lab's journal."""
    more = ["--listen", listen] if listen else []
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-m", "controller", "--inventory", str(net.inventory_path), *more],
                                   stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    net.journal.note_process(process.pid, "controller")
    return process


def wait_converged(client: ControllerClient, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until every switch is connected and holds exactly its rules. Raises RunError with the log's last line."""
    def look() -> bool:
        if process.poll() is not None:
            last = log.read_text().strip().splitlines()[-1:] or ["no word"]
            raise RunError("the controller", "a running process", f"it ended: {last[0][:300]}", f"its log is {log}")
        try:
            health = client.health()
        except LabError:        # it is starting up
            return False
        return bool(health["converged"] and not health["dead"])
    wait_for("every switch to hold its rules", look, CONVERGE, f"the controller's log is {log}")
