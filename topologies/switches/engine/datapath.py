"""The fabric engine (docs/engine.md): one process is all switches and links; hosts have TAP devices."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from topologies.access import start
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric, Link
from topologies.model.histogram import Histogram
from topologies.model.inventory import Inventory, SwitchProcess
from topologies.model.spec import ClassSpec
from topologies.proof.findings import Declared, Finding
from topologies.proof.ledger import Accounting, QueueCount
from topologies.switches.datapath import Datapath, Direction, Site, Started
from topologies.switches.engine import accounting, attach, changes, process, sampling
from topologies.switches.engine.audit import audit
from topologies.switches.engine.counters import FILE, Counters
from topologies.switches.engine.feeder import Feeder
from topologies.switches.engine.hops import Walk
from topologies.switches.engine.layout import engine_directions
from topologies.switches.engine.management.power import has_power
from topologies.switches.engine.management.process import SOCKET
from topologies.switches.engine.refused import refused
from topologies.switches.engine.requirements import REQUIREMENTS
from topologies.switches.engine.sampling import EngineDirection


def _own(direction: Direction) -> EngineDirection:
    if not isinstance(direction, EngineDirection):
        raise TypeError(f"{direction.direction}: not a direction of the engine")
    return direction


class Engine(Datapath):
    """One fabricd a lab."""

    name = "engine"
    title = "the fabric engine: one process is all switches and links, exact in its own time"
    cannot_show = (
        "an average queue (RED): marks go by the queue of the moment",
        "what a switch's own processor takes for a packet: switches take no time",
    )
    overrun_at = "the engine's pool of packets"
    has_port_devices = False
    requirements = REQUIREMENTS

    def refused(self, fabric: Fabric) -> Iterator[SpecError]:
        yield from refused(fabric)

    def remarks(self, fabric: Fabric) -> Iterator[str]:
        yield from super().remarks(fabric)
        yield attach.REMARKS[attach.attachment(fabric)]

    def lay(self, site: Site) -> None:
        """The engine runs from here on: it makes the hosts' devices."""
        attach.steer(site.fabric, site.netns)
        process.start_engine(site)

    def start(self, site: Site) -> Started:
        attach.shape(site.fabric, site.netns)
        directory = site.journal.directory
        pid = process.pid_in(directory)
        policy = os.sched_getscheduler(pid)
        return Started({s.name: SwitchProcess(name=s.name, directory=str(directory), pid=pid, policy=policy)
                        for s in site.fabric.switches})

    def attend(self, inventory: Inventory) -> None:
        process.start_agent(inventory)

    def ended(self, inventory: Inventory) -> str:
        return process.ended(inventory)

    def processes(self, inventory: Inventory) -> dict[str, int]:
        return {"fabricd": next(iter(inventory.switches.values())).pid}

    def pid_of(self, inventory: Inventory, switch: str) -> int:
        pid = process.engine_pid(inventory)
        return pid if pid and has_power(Path(inventory.directory), switch) else 0

    def kill(self, inventory: Inventory, switch: str) -> None:
        changes.kill(inventory, switch)

    def start_again(self, inventory: Inventory, switch: str) -> int:
        changes.start_again(inventory, switch)
        return process.engine_pid(inventory)

    def set_rate(self, inventory: Inventory, link: str, rate: float) -> None:
        changes.set_rate(inventory, link, rate)

    def set_queue(self, inventory: Inventory, link: str, size: int) -> None:
        changes.set_queue(inventory, link, size)

    def set_state(self, inventory: Inventory, link: str, up: bool) -> None:
        changes.set_state(inventory, link, up)

    def shares(self, inventory: Inventory) -> dict[str, ClassSpec]:
        return changes.shares(inventory)

    def set_shares(self, inventory: Inventory, classes: Mapping[str, ClassSpec]) -> None:
        changes.set_shares(inventory, classes)

    def devices(self, inventory: Inventory) -> tuple[dict[str, int], dict[str, int]]:
        return accounting.devices(inventory)

    def queues(self, inventory: Inventory) -> dict[str, QueueCount]:
        return accounting.queues(inventory)

    def losses(self, inventory: Inventory, switch: str) -> int:
        """Times that no packet was free, of the whole engine: told of its first switch."""
        if switch != next(iter(inventory.switches)):
            return 0
        held = Counters(Path(inventory.directory) / FILE)
        try:
            return held.engine().pool_empty
        finally:
            held.close()

    def walk(self, inventory: Inventory, accounting: Accounting) -> None:
        Walk(accounting).all()

    def directions(self, inventory: Inventory) -> Sequence[EngineDirection]:
        return sampling.directions(inventory)

    def sampling(self, inventory: Inventory) -> sampling.Engine:
        return sampling.Engine(inventory)

    def sent_bytes(self, inventory: Inventory) -> dict[str, int]:
        return sampling.sent_bytes(inventory)

    def audit(self, inventory: Inventory, declared: Declared) -> Iterator[Finding]:
        yield from audit(inventory, declared)

    def feeder(self, inventory: Inventory, direction: Direction, frame: bytes) -> Feeder:
        """Frames are no longer than a host's: on other links the rest is what an encapsulation adds."""
        name, most = self._names(inventory)[direction.direction], max(k.max_frame for k in inventory.fabric.links
                                                                      if k.kind == "access")
        return Feeder(Path(inventory.directory) / SOCKET, name, frame[:most])

    def _names(self, inventory: Inventory) -> dict[str, str]:
        """Direction -> what the engine calls it."""
        return {ours: its for link in inventory.fabric.links
                for ours, its in zip(link.directions, engine_directions(inventory.fabric, link), strict=True)}

    def sent(self, direction: Direction) -> int:
        return sampling.sent(_own(direction))

    def waiting(self, directions: Collection[Direction]) -> int:
        return sampling.waiting([_own(d) for d in directions])

    def lateness(self, inventory: Inventory) -> dict[str, Histogram]:
        held = Counters(Path(inventory.directory) / FILE)
        try:
            return {"frames to and from hosts": held.late_write() + held.late_read()}
        finally:
            held.close()

    def crossing_time(self, link: Link, frame: int) -> float:
        return link.delay + 8 * frame / link.rate

    def capture_command(self, inventory: Inventory, name: str, packets: int = 0) -> list[str]:
        link, names = inventory.fabric.link(name), self._names(inventory)
        wanted = [names[d] for d in link.directions if name == d or "->" not in name]
        return start.command("topologies.switches.engine.capture", "--engine", str(Path(inventory.directory) / SOCKET),
                             "--packets", str(packets), *wanted)


ENGINE = Engine()
