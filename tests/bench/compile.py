"""Rules: how long it takes to compute them for a fabric that no machine could run, and to install what one can."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation, allocate, resolve
from controller.northbound.client import ControllerClient
from controller.rules.compile import Compiler
from controller.rules.state import State
from controller.stages import stages
from scenarios.run.lab import start_controller, wait_converged
from tests.bench.book import Book
from tests.unit.intents import Spec, attach, intent, peer, vpc
from topologies.lab.clean import end_processes
from topologies.lab.host_limits import measuring_lock
from topologies.lab.journal import Process, process_start
from topologies.lab.network import running
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

WIDE = FabricSpec(name="wide", leaves=64, spines=16, hosts_per_leaf=16, probes=False)
REAL = FabricSpec(name="real", leaves=16, spines=4, hosts_per_leaf=4, host_rate="1mbit", probes=False)
VPCS = 64
SUBNETS = 8
ALL, ALL_OF_ONE, CHANGE, INSTALL = 5.0, 3.0, 0.2, 5.0   # seconds
Wanted = Callable[[Fabric, int], Intent]    # with host number n moved; none for -1


def compile_rules(book: Book) -> None:
    """All rules of 64 leaves x 16 spines x 1,024 hosts in 64 VPCs in under 5 s, in one VPC of 8 subnets in under 3 s,
    those of one change in under 200 ms; 16 leaves x 4 spines x 64 hosts installed on real switches in under 5 s
    (medians of 5).
    """
    repeats = 2 if book.quick else 5
    for where, wanted, target in (("in 64 VPCs", tenants, ALL), ("in one VPC of 8 subnets", one_vpc, ALL_OF_ONE)):
        _of_intent(book, where, wanted, target, repeats)
    installed = [_installed(book) for _ in range(repeats)]
    book.median("16 leaves x 4 spines x 64 hosts installed", installed, "s", target=f"under {INSTALL:g} s",
                met=median(installed) < INSTALL)


def _of_intent(book: Book, where: str, wanted: Wanted, target: float, repeats: int) -> None:
    """All rules, and those of a change."""
    fabric = expand(WIDE)
    whole, changed, rules = [], [], 0
    for n in range(repeats):
        before, first, rules = _compiled(fabric, wanted)
        whole.append(first)
        changed.append(_one_change(fabric, before, wanted(fabric, n)))
    book.median(f"all rules of 1,024 hosts {where}", whole, "s", target=f"under {target:g} s",
                met=median(whole) < target, rules=rules)
    book.median(f"the rules of one moved host of 1,024 {where}, in three stages", changed, "s",
                target=f"under {CHANGE:g} s", met=median(changed) < CHANGE)


def tenants(fabric: Fabric, moved: int = -1) -> Intent:
    """All hosts dealt over 64 VPCs of two subnets, of which every second one peers; host `moved` has moved."""
    objects: list[Spec] = [vpc(f"v{n}", {"x": f"10.{n}.0.0/24", "y": f"10.{n}.1.0/24"}) for n in range(VPCS)]
    objects += [peer(**{f"v{n}": [], f"v{n + 1}": ["x"]}) for n in range(0, VPCS, 2)]
    return intent(*objects, *(attach(h.name, f"v{(n + (n == moved)) % VPCS}/{'xy'[n // VPCS % 2]}")
                              for n, h in enumerate(fabric.hosts)))


def one_vpc(fabric: Fabric, moved: int = -1) -> Intent:
    """All hosts dealt over the subnets of one VPC, so that every leaf routes to every host; `moved` is in the next."""
    return intent(vpc("v", {f"s{k}": f"10.1.{k}.0/24" for k in range(SUBNETS)}),
                  *(attach(h.name, f"v/s{(n + (n == moved)) % SUBNETS}") for n, h in enumerate(fabric.hosts)))


def _compiled(fabric: Fabric, of: Wanted) -> tuple[tuple[Compiler, Allocation], float, int]:
    wanted = of(fabric, -1)
    started = time.perf_counter()
    allocation = allocate(wanted, Allocation())
    compiler = Compiler(fabric, resolve(wanted, fabric, allocation))
    rules = compiler.rules(State())
    return (compiler, allocation), time.perf_counter() - started, sum(len(r.flows) for r in rules.values())


def _one_change(fabric: Fabric, before: tuple[Compiler, Allocation], wanted: Intent) -> float:
    """From one intent to another, with everything that is to be sent."""
    compiler, allocation = before
    started = time.perf_counter()
    after = Compiler(fabric, resolve(wanted, fabric, allocate(wanted, allocation)), previous=compiler)
    for stage in stages(compiler, after):
        stage.rules(State())
    return time.perf_counter() - started


def _installed(book: Book) -> float:
    """Seconds from the start of the controller's process until all switches hold their rules."""
    with measuring_lock(wait=True), running(REAL) as net, ExitStack() as stack:
        log = book.work / "controller.log"
        started = time.monotonic()
        waiting = start_controller(net.journal, log)
        process = waiting.process
        start = process_start(process.pid)
        stack.callback(process.wait)
        stack.callback(end_processes, [Process(process.pid, start or 0)])
        waiting.go()
        wait_converged(ControllerClient(net.inventory.api_socket), waiting, net.inventory)
        return time.monotonic() - started
