"""The engine's OpenFlow agent as a process: python -m topologies.switches.engine.agent --inventory PATH --engine SOCKET

It serves until SIGTERM, the end of who started it, or of the engine. Standard output: ready, then error if it fails
(topologies/access/events.py).
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from topologies.access.events import Failed, Ready, emit
from topologies.access.process import allow_most_files, die_with_parent
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric, Node
from topologies.model.inventory import Inventory
from topologies.switches.engine.agent.replies import Port
from topologies.switches.engine.agent.server import Agent


def ports_of(fabric: Fabric, switch: Node) -> list[Port]:
    """The ports of links; a leaf's tunnel and LOCAL are the pipeline's own and not ports that a cable could be in."""
    found = []
    for link in fabric.links_of(switch.name):
        end = link.end(switch.name)
        mac = bytes((0x02, 0xFD)) + (switch.dpid & 0xFFFF).to_bytes(2, "big") + end.ofport.to_bytes(2, "big")
        found.append(Port(end.ofport, end.interface, mac, round(link.rate / 1000)))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after a stop, 1 for an error."""
    parser = argparse.ArgumentParser(prog="python -m topologies.switches.engine.agent",
                                     description="OpenFlow in front of a running lab's fabric engine.")
    parser.add_argument("--inventory", type=Path, required=True, help="inventory.json of a running lab")
    parser.add_argument("--engine", type=Path, required=True, help="the engine's control socket")
    chosen = parser.parse_args(arguments)
    die_with_parent()
    allow_most_files()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    try:
        inventory = Inventory.read(chosen.inventory)
        agent = Agent(chosen.engine, Path(inventory.controller_socket),
                      {s.name: (s.dpid, ports_of(inventory.fabric, s)) for s in inventory.fabric.switches})
        emit(Ready())
        agent.run(lambda: not stopping)
    except LabError as error:
        emit(Failed.of(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
