"""How long a lab on the fabric engine takes to come and to go, controller included."""

from __future__ import annotations

import time
from statistics import median

from controller.northbound.client import ControllerClient
from scenarios.run.lab import start_controller, wait_converged
from tests.bench.book import Book
from topologies.lab.host_limits import measuring_lock
from topologies.lab.network import running
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

SIZES = ((8, 4, 8, 3.0), (16, 4, 16, 6.0))      # leaves, spines, hosts a leaf; seconds up and down
LARGEST = (16, 4, 64)


def engine_bringup(book: Book) -> None:
    """Up, with every rule in place, and down on the fabric engine: 64 hosts under 3 s, 256 under 6 s; 1,024 hosts come
    up.
    """
    repeats = 1 if book.quick else 3
    with measuring_lock(wait=True):
        for leaves, spines, hosts, limit in SIZES:
            fabric = _fabric(leaves, spines, hosts)
            times = [seconds(fabric) for _ in range(repeats)]
            book.median(f"{leaves * hosts} hosts, up with their rules, and down", [sum(t) for t in times], "s",
                        target=f"under {limit:g} s", met=median(map(sum, times)) < limit, devices_rules_down=times)
        if not book.quick:
            times = [seconds(_fabric(*LARGEST))]
            book.figure("1,024 hosts, up with their rules, and down", round(sum(times[0]), 2), "s",
                        target="they come up", met=True, devices_rules_down=times)


def _fabric(leaves: int, spines: int, hosts: int) -> Fabric:
    return expand(FabricSpec(name=f"bench{leaves * hosts}", leaves=leaves, spines=spines, hosts_per_leaf=hosts,
                             probes=False, datapath="engine"))


def seconds(fabric: Fabric) -> tuple[float, float, float]:
    """Seconds until hosts have their devices; from then until every switch has its rules; to take all down."""
    start = time.monotonic()
    with running(fabric) as net:
        there = time.monotonic()
        started = start_controller(net.journal, net.journal.directory / "controller.log")
        started.go()
        try:
            wait_converged(ControllerClient(net.inventory.api_socket), started, net.inventory)
            up = time.monotonic()
        finally:
            started.process.terminate()
            started.process.wait()
    return there - start, up - there, time.monotonic() - up
