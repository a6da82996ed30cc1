"""Open vSwitch between wires of HTB: the userspace datapath, which every kernel has, and the kernel's own."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping, Sequence

from topologies.access.netns import inside
from topologies.links.htb import audit as wire_audit
from topologies.links.htb import counters, disciplines, shares, wires
from topologies.links.htb import requirements as wire_needs
from topologies.links.htb.sampling import Wires
from topologies.links.htb.start import lay_wires, shape_wires
from topologies.model.fabric import Fabric, Link
from topologies.model.inventory import Inventory
from topologies.model.spec import ClassSpec
from topologies.proof.findings import Declared, Finding
from topologies.proof.ledger import Accounting, QueueCount
from topologies.switches.datapath import Datapath, Direction, Need, Requirements, Site, Started
from topologies.switches.ovs import audit as switch_audit
from topologies.switches.ovs import hops, losses, requirements, restart
from topologies.switches.ovs.start import start_switches
from topologies.switches.ovs.switch import in_kernel

_NO_MODULE = "leave {key} out, or run in the lab VM (vagrant up), whose kernel has it"


class _Frames:
    """A raw socket at the near end of a direction."""

    def __init__(self, netns_path: str, device: str, frame: bytes) -> None:
        self._frame = frame
        with inside(netns_path):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.bind((device, 0))
        self._socket.setblocking(False)

    def send(self) -> None:
        self._socket.send(self._frame)

    def close(self) -> None:
        self._socket.close()


def _own(direction: Direction) -> wires.Queue:
    if not isinstance(direction, wires.Queue):
        raise TypeError(f"{direction.direction}: not a direction of wires")
    return direction


class Ovs(Datapath):
    """One Open vSwitch a switch; `name` says which of its two datapaths forwards."""

    wired = True
    cannot_show = ("pauses (PFC): nothing on a link can hold a sender back",)

    def __init__(self, name: str, title: str, needs: Requirements) -> None:
        self.name, self.title, self.requirements = name, title, needs

    def modules(self, fabric: Fabric) -> Iterator[Need]:
        for link in fabric.links:
            keys = [("delay" if link.delay else "loss", wire_needs.IMPAIRMENTS)] if link.impaired else []
            if module := disciplines.of(link).module:
                keys.append((f"queue of kind {link.discipline.kind}", module))
            for key, module in keys:
                yield Need(f"link {link.name}: {key}", module, _NO_MODULE.format(key=key))
        if self.name == requirements.IN_KERNEL:
            yield Need(f"datapath: {self.name}", requirements.KERNEL_DATAPATH,
                       "use datapath: ovs, or run in the lab VM (vagrant up)")

    def lay(self, site: Site) -> None:
        lay_wires(site.fabric, site.netns, site.wiring)

    def start(self, site: Site) -> Started:
        shape_wires(site.fabric, site.netns, site.wiring, disowned=in_kernel(site.fabric))
        return Started(start_switches(site.fabric, site.netns, site.wiring, site.journal), wires.devices(site.fabric))

    def processes(self, inventory: Inventory) -> dict[str, int]:
        return {name: process.pid for name, process in inventory.switches.items()}

    def pid_of(self, inventory: Inventory, switch: str) -> int:
        return restart.daemon_pid(inventory, switch)

    def kill(self, inventory: Inventory, switch: str) -> None:
        restart.kill(inventory, switch)

    def start_again(self, inventory: Inventory, switch: str) -> int:
        return restart.start_again(inventory, switch)

    def set_rate(self, inventory: Inventory, link: str, rate: float) -> None:
        wires.set_rate(inventory, link, rate)

    def set_queue(self, inventory: Inventory, link: str, size: int) -> None:
        wires.set_queue(inventory, link, size)

    def set_state(self, inventory: Inventory, link: str, up: bool) -> None:
        wires.set_state(inventory, link, up)

    def shares(self, inventory: Inventory) -> dict[str, ClassSpec]:
        return shares.held_classes(inventory)

    def set_shares(self, inventory: Inventory, classes: Mapping[str, ClassSpec]) -> None:
        shares.set_shares(inventory, classes)

    def devices(self, inventory: Inventory) -> tuple[dict[str, int], dict[str, int]]:
        return hops.devices(inventory)

    def queues(self, inventory: Inventory) -> dict[str, QueueCount]:
        return counters.read_queues(inventory)

    def losses(self, inventory: Inventory, switch: str) -> int:
        return losses.losses(inventory, switch)

    def walk(self, inventory: Inventory, accounting: Accounting) -> None:
        hops.walk({link: (pair.a, pair.b) for link, pair in inventory.wires.items()}, accounting)

    def directions(self, inventory: Inventory) -> Sequence[wires.Queue]:
        return wires.queues(inventory)

    def sampling(self, inventory: Inventory) -> Wires:
        return Wires(wires.queues(inventory))

    def sent_bytes(self, inventory: Inventory) -> dict[str, int]:
        return counters.sent_bytes(inventory)

    def audit(self, inventory: Inventory, declared: Declared) -> Iterator[Finding]:
        yield from wire_audit.audit(inventory, declared)
        yield from switch_audit.audit(inventory, declared.daemons)

    def feeder(self, inventory: Inventory, direction: Direction, frame: bytes) -> _Frames:
        near = inventory.fabric.links_by_name[direction.link].end(direction.direction.split("->")[0])
        return _Frames(inventory.netns_path(near.node), near.interface, frame)

    def sent(self, direction: Direction) -> int:
        return counters.unclassified(_own(direction)).bytes

    def waiting(self, directions: Collection[Direction]) -> int:
        return counters.waiting([_own(d) for d in directions])

    def crossing_time(self, link: Link, frame: int) -> float:
        return wires.crossing_time(link)

    def capture_command(self, inventory: Inventory, name: str, packets: int = 0) -> list[str]:
        return wires.capture_command(inventory, name, packets)


_NEEDS = Requirements(
    programs={**wire_needs.PROGRAMS, **requirements.PROGRAMS},
    versions={"ovs": requirements.VERSION, "iproute2": wire_needs.VERSION}, modules=wire_needs.MODULES,
    optional={wire_needs.IMPAIRMENTS: "link delay, jitter, loss and reordering", **disciplines.modules(),
              requirements.KERNEL_DATAPATH: f"datapath: {requirements.IN_KERNEL}"},
    settings=requirements.SETTINGS, parameters=wire_needs.MODULE_PARAMETERS)
OVS = Ovs("ovs", "Open vSwitch's userspace datapath, links of HTB", _NEEDS)
OVS_KERNEL = Ovs(requirements.IN_KERNEL, "Open vSwitch in the kernel, links of HTB", _NEEDS)
