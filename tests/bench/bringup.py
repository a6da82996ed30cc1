"""How long a fabric takes to come and to go, beside Mininet's own links on the same shape."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from mininet.link import TCLink
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Switch
from mininet.topo import Topo

from controller.northbound.client import ControllerClient
from scenarios.run.lab import start_controller, wait_converged
from tests.bench.book import Book
from topologies.lab.host_limits import measuring_lock
from topologies.lab.network import running
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

SHARE, AIM, LARGE = 1 / 3, 2.0, 10.0


def bringup(book: Book) -> None:
    """8 leaves x 4 spines x 64 hosts up and down in at most a third of Mininet's TCLink (aim 2 s); 256 hosts on
    16 leaves under 10 s.
    """
    repeats = 1 if book.quick else 3
    small = expand(FabricSpec(name="bench64", leaves=8, spines=4, hosts_per_leaf=8, probes=False))
    large = expand(FabricSpec(name="bench256", leaves=16, spines=4, hosts_per_leaf=16, probes=False))
    with measuring_lock(wait=True):
        theirs, ours = [], []
        for _ in range(repeats):        # in turn, so that both meet the same machine
            ours.append(our_time(small))
            theirs.append(mininet_time(small))
        book.median("64 hosts, Mininet with TCLink, up and down", [sum(t) for t in theirs], "s", up_down=theirs)
        book.median("64 hosts, ours, up and down", [sum(t) for t in ours], "s",
                    target=f"at most a third of Mininet's; aim {AIM:g} s", up_down=ours,
                    met=median(map(sum, ours)) <= SHARE * median(map(sum, theirs)))
        book.median("64 hosts, ours / Mininet's", [sum(a) / sum(b) for a, b in zip(ours, theirs, strict=True)])
        book.median("64 hosts, controller: start to every rule in place",
                    [convergence(small) for _ in range(repeats)], "s")
        big = [our_time(large) for _ in range(repeats)]
        book.median("256 hosts on 16 leaves, ours, up and down", [sum(t) for t in big], "s",
                    target=f"under {LARGE:g} s", met=median(map(sum, big)) < LARGE, up_down=big)
        book.median("256 hosts, controller: start to every rule in place",
                    [convergence(large) for _ in range(repeats)], "s")


def our_time(fabric: Fabric) -> tuple[float, float]:
    """Seconds to bring the fabric up and to take it down, without a controller."""
    start = time.monotonic()
    with running(fabric):
        up = time.monotonic()
    return up - start, time.monotonic() - up


def convergence(fabric: Fabric) -> float:
    """Seconds from starting the controller to every switch holding its rules."""
    with running(fabric) as net:
        log = net.journal.directory / "controller.log"
        start = time.monotonic()
        waiting = start_controller(net.journal, log)
        process = waiting.process
        try:
            waiting.go()
            wait_converged(ControllerClient(net.inventory.api_socket), waiting, net.inventory)
            return time.monotonic() - start
        finally:
            process.terminate()
            process.wait()


class BareSwitch(Switch):  # type: ignore[misc]
    """A namespace with ports that forwards nothing: Mininet's side gets its switches for free."""

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **{**params, "inNamespace": True})

    def start(self, controllers: object) -> None:
        """Nothing to start."""


class SameShape(Topo):  # type: ignore[misc]
    """As many hosts, switches and links as a fabric has, with their rates."""

    def build(self, fabric: Fabric) -> None:
        for host in fabric.all_hosts:
            self.addHost(host.name, ip=f"{host.ip}/16")
        for switch in fabric.switches:
            self.addSwitch(switch.name, dpid=f"{switch.dpid:016x}")
        for link in fabric.links:
            self.addLink(link.a.node, link.b.node, port1=link.a.ofport, port2=link.b.ofport, bw=link.rate / 1e6)


def mininet_time(fabric: Fabric) -> tuple[float, float]:
    """Seconds that Mininet takes for the same shape with TCLink(bw): its hosts, links and shapers alone."""
    setLogLevel("critical")     # tc's hints about the quantum would drown the figures
    start = time.monotonic()
    net = Mininet(topo=SameShape(fabric=fabric), switch=BareSwitch, link=TCLink, controller=None)
    try:
        net.start()
    finally:
        up = time.monotonic()
        net.stop()
    return up - start, time.monotonic() - up
