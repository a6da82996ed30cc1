"""Rules: how long it takes to compute them for a fabric that no machine could run, and to install what one can."""

from __future__ import annotations

import time
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
ALL, CHANGE, INSTALL = 5.0, 0.2, 5.0    # seconds


def compile_rules(book: Book) -> None:
    """All rules of 64 leaves x 16 spines x 1,024 hosts in 64 VPCs in under 5 s, those of one change in under 200 ms;
    16 leaves x 4 spines x 64 hosts installed on real switches in under 5 s (medians of 5).
    """
    repeats = 2 if book.quick else 5
    fabric = expand(WIDE)
    whole, changed, rules = [], [], 0
    for n in range(repeats):
        before, first, rules = _compiled(fabric)
        whole.append(first)
        changed.append(_one_change(fabric, before, n))
    book.median("all rules of 1,024 hosts in 64 VPCs", whole, "s", target=f"under {ALL:g} s", met=median(whole) < ALL,
                rules=rules)
    book.median("the rules of one moved host, in three stages", changed, "s", target=f"under {CHANGE:g} s",
                met=median(changed) < CHANGE)
    installed = [_installed(book) for _ in range(repeats)]
    book.median("16 leaves x 4 spines x 64 hosts installed", installed, "s", target=f"under {INSTALL:g} s",
                met=median(installed) < INSTALL)


def tenants(fabric: Fabric, moved: int = -1) -> Intent:
    """All hosts dealt over 64 VPCs of two subnets, of which every second one peers; host `moved` has moved."""
    objects: list[Spec] = [vpc(f"v{n}", {"x": f"10.{n}.0.0/24", "y": f"10.{n}.1.0/24"}) for n in range(VPCS)]
    objects += [peer(**{f"v{n}": [], f"v{n + 1}": ["x"]}) for n in range(0, VPCS, 2)]
    return intent(*objects, *(attach(h.name, f"v{(n + (n == moved)) % VPCS}/{'xy'[n // VPCS % 2]}")
                              for n, h in enumerate(fabric.hosts)))


def _compiled(fabric: Fabric) -> tuple[tuple[Compiler, Allocation], float, int]:
    wanted = tenants(fabric)
    started = time.perf_counter()
    allocation = allocate(wanted, Allocation())
    compiler = Compiler(fabric, resolve(wanted, fabric, allocation))
    rules = compiler.rules(State())
    return (compiler, allocation), time.perf_counter() - started, sum(len(r.flows) for r in rules.values())


def _one_change(fabric: Fabric, before: tuple[Compiler, Allocation], host: int) -> float:
    """From one intent to another in which one host is in another VPC, with everything that is to be sent."""
    compiler, allocation = before
    wanted = tenants(fabric, moved=host)
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
        process = start_controller(net, log)
        start = process_start(process.pid)
        stack.callback(process.wait)
        stack.callback(end_processes, [Process(process.pid, start or 0)])
        wait_converged(ControllerClient(net.inventory.api_socket), process, log)
        return time.monotonic() - started
