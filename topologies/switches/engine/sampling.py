"""The directions of the engine, read many times: a few words of shared memory each, and what waits in calm hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from topologies.links.htb.hosts import own_queue
from topologies.links.htb.sampling import Wires
from topologies.model.inventory import Inventory
from topologies.switches.datapath import Direction
from topologies.switches.engine.changes import calm_links
from topologies.switches.engine.counters import FILE, Counters, QueueCounts
from topologies.switches.engine.layout import is_host
from topologies.switches.engine.queues import PROBES, class_shares, limit

RING = 64               # frames that a fast host's device holds
_SENT, _BYTES = QueueCounts._fields.index("sent_packets"), QueueCounts._fields.index("sent_bytes")
_DROPS, _HEADROOM = QueueCounts._fields.index("drops"), QueueCounts._fields.index("headroom_drops")
_WAITING = QueueCounts._fields.index("bytes")
_SIZE = len(QueueCounts._fields)


@dataclass(frozen=True)
class EngineDirection(Direction):
    """number: of its record in the file `counters`."""

    number: int
    counters: str


class Sample(NamedTuple):
    """One reading, as topologies.switches.datapath.Reading has it."""

    bytes: int
    packets: int
    drops: int
    backlog: int
    limit: int | None


def directions(inventory: Inventory) -> list[EngineDirection]:
    fabric, path, found = inventory.fabric, str(Path(inventory.directory) / FILE), list[EngineDirection]()
    calm = {link.name for link in calm_links(inventory)}
    for link in fabric.links:
        for way, name in enumerate(link.directions):
            at_host = way == 0 and is_host(fabric, link.a) and link.name not in calm
            size = RING * link.max_frame if at_host else limit(fabric, link, way)
            found.append(EngineDirection(name, link.name, size, link.rate, len(found), path))
    return found


class Engine:
    """All directions of a lab. backlog: in queues that may use all of the link, and in calm hosts."""

    def __init__(self, inventory: Inventory) -> None:
        self.queues: Sequence[EngineDirection] = directions(inventory)
        self._counters = Counters(Path(inventory.directory) / FILE)
        classes = inventory.fabric.spec.classes
        bounded = {n for n, c in enumerate(classes.values(), start=1) if c.max < 1}
        self._numbers = [*class_shares(classes), PROBES]
        self._waits = [n not in bounded and n != PROBES for n in self._numbers]
        own = [own_queue(inventory, link) for link in calm_links(inventory)]
        names = {q.direction: n for n, q in enumerate(self.queues)}
        self._at_hosts = (Wires(own), [names[q.direction] for q in own]) if own else None

    def read(self) -> list[Sample]:
        """One reading a direction, in order. Raises RunError for a host's device that is gone."""
        found = [self._sample(d) for d in self.queues]
        if self._at_hosts:
            wires, places = self._at_hosts
            for place, own in zip(places, wires.read(), strict=True):
                link = found[place]
                found[place] = link._replace(drops=own.drops, backlog=link.backlog + own.backlog)
        return found

    def _sample(self, direction: EngineDirection) -> Sample:
        """Bytes and packets without the probes', which are beside the rate."""
        octets = packets = drops = backlog = 0
        for number, waits in zip(self._numbers, self._waits, strict=True):
            start = self._counters.queue_at(direction.number, number)
            held = self._counters.words[start: start + _SIZE]
            if number != PROBES:
                octets, packets = octets + held[_BYTES], packets + held[_SENT]
            drops += held[_DROPS] + held[_HEADROOM]
            if waits:
                backlog += held[_WAITING]
        return Sample(octets, packets, drops, backlog, direction.limit)


def sent_bytes(inventory: Inventory) -> dict[str, int]:
    """Direction -> bytes that have begun to be sent, without the probes'."""
    held = Counters(Path(inventory.directory) / FILE)
    try:
        used = class_shares(inventory.fabric.spec.classes)
        return {d.direction: sum(held.queue(d.number, n).sent_bytes for n in used) for d in directions(inventory)}
    finally:
        held.close()


def sent(direction: EngineDirection) -> int:
    """Bytes in no class that have begun to be sent."""
    held = Counters(Path(direction.counters))
    try:
        return held.queue(direction.number, 0).sent_bytes
    finally:
        held.close()


def waiting(several: Sequence[EngineDirection]) -> int:
    """Packets in no class that wait, and all that are under way."""
    files = {d.counters: Counters(Path(d.counters)) for d in several}
    try:
        return sum(files[d.counters].queue(d.number, 0).packets + files[d.counters].direction(d.number).flying
                   for d in several)
    finally:
        for held in files.values():
            held.close()
