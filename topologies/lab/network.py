"""A fabric comes to life, and goes again without a trace.

    with running(fabric) as net:
        print(net.get("h1").cmd("ip addr"))

Without a controller the switches forward nothing (fail_mode=secure): see scenarios.run.lab for the
whole lab. Bring-up in steps, each in as few processes as it can be:

    namespaces -> ends of links -> addresses, offloads off -> rates, switches -> inventory
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from typing import Protocol

import topologies.lab.mininet_first  # noqa: F401

# isort: split
from mininet.cli import CLI
from mininet.net import Mininet

from topologies.access import files
from topologies.access.netns import inside
from topologies.lab import bgp_routers, clean, host_limits
from topologies.lab.interfaces import bring_up
from topologies.lab.journal import Journal
from topologies.lab.mininet_nodes import LabHost, LabLink, LabNode, LabSwitch, LinkEnd
from topologies.lab.namespaces import make_namespaces
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric, Node
from topologies.model.inventory import API_SOCKET, CONTROLLER_SOCKET, Inventory
from topologies.model.spec import FabricSpec
from topologies.switches.datapath import Site
from topologies.switches.datapaths import chosen, datapath_of


class LabNetwork(Mininet):  # type: ignore[misc]
    """The running lab with Mininet's interface; `fabric`, `inventory` and `journal` are ours."""

    def __init__(self, inventory: Inventory, journal: Journal) -> None:
        super().__init__(topo=None, build=False, controller=None)
        self.inventory, self.journal, self.fabric = inventory, journal, inventory.fabric
        self.inventory_path = journal.directory / "inventory.json"
        for node in self.fabric.nodes:
            self._add(node)
        prefix = IPv4Network(self.fabric.spec.subnet).prefixlen
        for link in self.fabric.links:
            a, b = (LinkEnd(name=e.interface, node=self.nameToNode[e.node], port=e.ofport) for e in (link.a, link.b))
            near = self.fabric.by_name[link.a.node]
            if near.is_host:
                a |= {"ip": near.ip, "prefix": prefix, "mac": near.mac}
            self.links.append(LabLink(a, b))
        self.built = True

    def _add(self, node: Node) -> None:
        netns = self.inventory.netns[node.name]
        made: LabNode
        if node.is_host:
            made = LabHost(node.name, netns=netns)
            self.hosts.append(made)
        elif node.role == "vtep":
            made = LabNode(node.name, netns=netns)
        else:
            made = LabSwitch(node.name, netns=netns, dpid=f"{node.dpid:016x}")
            self.switches.append(made)
        self.nameToNode[node.name] = made

    def configLinkStatus(self, src: str, dst: str, status: str) -> None:  # noqa: N802 - Mininet's name
        """`link leaf1 spine1 down` in the CLI: pull the cable."""
        datapath_of(self.inventory).set_state(self.inventory, f"{src}-{dst}", up=status == "up")

    def command_line(self) -> None:
        """Mininet's own command line, until the user leaves it."""
        CLI(self)

    def stop(self) -> None:
        """End the nodes' shells; the lab itself is taken down by running()."""
        for node in self.nameToNode.values():
            node.terminate()


class HasFabric(Protocol):
    """A Topo of ours, such as LeafSpine."""

    fabric: Fabric


def fabric_of(what: Fabric | FabricSpec | HasFabric) -> Fabric:
    """As it is, expanded, or that of a Topo."""
    if isinstance(what, FabricSpec):
        return expand(what)
    return what if isinstance(what, Fabric) else what.fabric


@contextmanager
def running(what: Fabric | FabricSpec | HasFabric,
            begin: Callable[[Journal], object] = lambda journal: None) -> Iterator[LabNetwork]:
    """Bring a fabric (or a spec, or a Topo with `.fabric`) up; take it down at the end of the block.

    begin: called with the new lab's journal before anything of the fabric is made; what it starts and records there
    ends with the lab. Raises HostError if the machine lacks something, before anything is made.
    """
    fabric = fabric_of(what)
    host_limits.require_root()
    host_limits.require_programs(chosen(fabric))
    host_limits.require_features(fabric)
    bgp_routers.require_routers(fabric.spec.bgp)
    journal = net = None
    try:
        with uninterrupted():       # else a second Ctrl-C could clean up while switches still start
            journal = Journal.create(f"fabric {fabric.spec.name}")
            host_limits.hold_settings(journal.lab)
            begin(journal)
            net = LabNetwork(bring_up_fabric(fabric, journal), journal)
        yield net
    finally:
        with uninterrupted():
            if net is not None:
                net.stop()
            if journal is not None:
                clean.take_down(journal)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: half a lab, or half a clean-up, helps nobody. They take effect after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    old = {n: signal.signal(n, lambda number, _frame: pending.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in old.items():
            signal.signal(name, handler)
        for number in pending:
            signal.raise_signal(number)     # also one that ends us by default, which is no Python handler


def _names(journal: Journal, fabric: Fabric) -> tuple[dict[str, str], str]:
    """Names of the namespaces (node -> name, wiring or ''), recorded before they exist."""
    netns = {n.name: f"af{journal.lab}-{n.name}" for n in fabric.nodes}
    wiring = f"af{journal.lab}.wires" if chosen(fabric).wired else ""
    journal.note_all([{"netns": name} for name in (*netns.values(), *([wiring] if wiring else []))])
    return netns, wiring


def bring_up_fabric(fabric: Fabric, journal: Journal) -> Inventory:
    """All steps; what they make is in the journal first. Returns the inventory, also written to its file."""
    netns, wiring = _names(journal, fabric)
    make_namespaces([*netns.values(), *([wiring] if wiring else [])])
    datapath, site = chosen(fabric), Site(fabric, netns, wiring, journal)
    datapath.lay(site)
    make_interfaces(fabric, netns, switches=datapath.has_port_devices)
    started = datapath.start(site)
    bgp = fabric.spec.bgp
    inventory = Inventory(
        lab=journal.lab, directory=str(journal.directory), fabric=fabric, netns=netns, wiring=wiring,
        wires=started.wires, switches=started.switches, datapath=datapath.name,
        controller_socket=f"{journal.directory}/{CONTROLLER_SOCKET}",
        api_socket=f"{journal.directory}/{API_SOCKET}",
        speaker=bgp_routers.speaker_netns(journal.lab) if bgp else "",
        routers=bgp_routers.start_routers(fabric, bgp, journal) if bgp else {})
    files.write_whole(journal.directory / "inventory.json", inventory.model_dump_json(indent=1).encode(), ours=True)
    datapath.attend(inventory)
    return inventory


def make_interfaces(fabric: Fabric, netns: dict[str, str], *, switches: bool) -> None:
    """Addresses and offloads, in one process. switches: whether their ports are devices."""
    prefix = IPv4Network(fabric.spec.subnet).prefixlen
    for node in fabric.nodes:
        with inside(f"/run/netns/{netns[node.name]}"):
            bring_up("lo")
            for link in fabric.links_of(node.name) if switches or not node.dpid else ():
                port = link.end(node.name).interface
                if node.is_host:
                    bring_up(port, node.ip, prefix, offloads=False)
                else:
                    bring_up(port, offloads=False)
