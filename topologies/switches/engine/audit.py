"""Does the engine still run as it was started, and do its links do what the spec or declared events say?

What a direction is set to the engine says itself, and which switches have power its counters; a host's device is asked
of its kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from topologies.links.htb import hosts
from topologies.model.fabric import Link
from topologies.model.inventory import Inventory
from topologies.model.spec import ClassSpec
from topologies.proof.findings import Declared, Finding
from topologies.switches.engine import process
from topologies.switches.engine.changes import calm_links
from topologies.switches.engine.counters import FILE, Counters
from topologies.switches.engine.layout import Layout
from topologies.switches.engine.queues import limit, limited
from topologies.switches.engine.settings import QueueSettings, Settings, all_settings

GRAIN = 1e-6            # of a share, and of bit/s in a rate: what words lose


def audit(inventory: Inventory, declared: Declared) -> Iterator[Finding]:
    """Every difference; of an engine that has ended that alone."""
    if not process.engine_pid(inventory):
        yield Finding("the fabric engine", "process", "pid", next(iter(inventory.switches.values())).pid, None)
        return
    yield from _process(inventory)
    yield from _links(inventory, declared)
    yield from _power(inventory, declared)
    yield from hosts.audit(inventory, calm_links(inventory), declared)


def _process(inventory: Inventory) -> Iterator[Finding]:
    pid, policy = process.engine_pid(inventory), next(iter(inventory.switches.values())).policy
    held, nice = os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)
    if held != policy:
        yield Finding("the fabric engine", "scheduling policy", "", policy, held)
    if held == os.SCHED_OTHER and nice != 0:        # in real time it has no say
        yield Finding("the fabric engine", "nice value", "", 0, nice)


def _power(inventory: Inventory, declared: Declared) -> Iterator[Finding]:
    """Switches that are to be away are, and no others."""
    directory = Path(inventory.directory)
    names, held = Layout.read(directory).switches, Counters(directory / FILE)
    try:
        on = {name: held.switch(number).is_on for number, name in enumerate(names)}
    finally:
        held.close()
    for name, is_on in on.items():
        want = int(bool(declared.daemons.get(name, 1)))
        if is_on != want:
            yield Finding(f"switch {name}", "power", "", want, is_on)


def _links(inventory: Inventory, declared: Declared) -> Iterator[Finding]:
    layout = Layout.read(Path(inventory.directory))
    held = dict(zip(layout.directions, all_settings(inventory, layout.engine), strict=True))
    classes = inventory.fabric.spec.classes if declared.classes is None else declared.classes
    shares = dict(enumerate(classes.values(), start=1))
    for link in inventory.fabric.links:
        for way, direction in enumerate(link.directions):
            yield from _direction(direction, link, held[direction], declared.rates.get(link.name, link.rate))
            want = limit(inventory.fabric, link, way, declared.queues.get(link.name))
            for number in limited(inventory.fabric, link):
                yield from _queue(direction, number, held[direction].queues[number], want, shares)


def _direction(where: str, link: Link, held: Settings, rate: float) -> Iterator[Finding]:
    if held.rate != round(rate):
        yield Finding(where, "rate", "bit/s", rate, held.rate)
    for what, want, has in (("delay", link.delay, held.delay), ("jitter", link.jitter, held.jitter)):
        if has != round(want * 1e9):
            yield Finding(where, what, "ms", want * 1e3, has / 1e6)
    for what, want, found in (("loss", link.loss, held.loss), ("reordering", link.reorder, held.reorder),
                              ("duplication", 0.0, held.duplicate), ("bit errors", 0.0, held.ber)):
        if abs(found - want) > GRAIN:
            yield Finding(where, what, "%", want * 100, found * 100)


def _queue(where: str, number: int, held: QueueSettings, size: int, classes: dict[int, ClassSpec]) -> Iterator[Finding]:
    if held.limit != size:
        yield Finding(where, f"queue {number}", "bytes", size, held.limit)
    if held.beside:
        yield Finding(where, f"queue {number} beside the rate", "", 0, 1)
    if number in classes:
        want = classes[number]
        for what, share, has in (("min", want.min, held.min), ("max", want.max, held.max or 1.0)):
            if abs(has - share) > GRAIN:
                yield Finding(where, f"{what} of queue {number}", "%", share * 100, has * 100)
