"""Does each wire still have the rate, the queue and the impairments of its spec, or those of declared events?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from socket import socket

from topologies.links.htb import qdisc
from topologies.links.htb.classes import PARENT_CLASS, wire_classes
from topologies.links.htb.disciplines import kernel_limit
from topologies.links.htb.wires import NETEM_LIMIT, UNSHAPED_RATE, Queue, queues
from topologies.model.fabric import Link
from topologies.model.inventory import Inventory
from topologies.proof.findings import Declared, Finding

RATE_TOLERANCE = 1e-3       # the kernel keeps whole bytes per second
NETEM_TOLERANCE = {"ms": 1e-3, "%": 1e-7}      # tc gets whole microseconds, the kernel keeps shares of 2^32


def audit(inventory: Inventory, declared: Declared) -> Iterator[Finding]:
    """Every difference, of all wires."""
    yield from _wires(inventory, declared)
    yield from _impairments(inventory)


def _wires(inventory: Inventory, declared: Declared) -> Iterator[Finding]:
    wanted = queues(inventory)
    for netns in dict.fromkeys(q.netns for q in wanted):
        path = f"/run/netns/{netns}"
        index = qdisc.interfaces(path)
        with qdisc.open_socket(path) as sock:
            held = {(q.ifindex, q.handle): q.limit for q in qdisc.dump(sock)}
            for queue in (q for q in wanted if q.netns == netns):
                device = index.get(queue.device, 0)
                if queue.classes:
                    yield from _classes(queue, qdisc.classes(sock, device), declared,
                                        {h: held.get((device, h)) for h in queue.handles},
                                        inventory.fabric.link(queue.link) if netns == inventory.wiring else None)
                    continue
                rate = _rate(sock, device, declared.rates.get(queue.link, queue.rate))
                link = inventory.fabric.link(queue.link) if netns == inventory.wiring else None
                yield from _queue(queue, rate, held.get((device, qdisc.TRAFFIC_QUEUE)), declared, link)


def _rate(sock: socket, device: int, want: float) -> int | None:
    """A device's rate in bit/s, None: it has none. The ceiling is what bounds a class: both have to be right."""
    rates = [r for c in qdisc.classes(sock, device) if c.handle == qdisc.TRAFFIC_CLASS for r in (c.rate, c.ceil)]
    return max(rates, key=lambda r: abs(r - want), default=None)


def _off(rate: float | None, want: float) -> bool:
    return rate is None or abs(rate / want - 1) > RATE_TOLERANCE


def _queue(queue: Queue, rate: int | None, limit: int | None, declared: Declared,
           link: Link | None) -> Iterator[Finding]:
    """link: the one that the wire shapes here; None where a host shapes."""
    want_rate = declared.rates.get(queue.link, queue.rate)
    want_limit = _limit(queue, declared, link)
    if _off(rate, want_rate):
        yield Finding(queue.direction, "rate", "bit/s", want_rate, rate)
    if limit != want_limit:
        yield Finding(queue.direction, "queue", "bytes", want_limit, limit)


def _limit(queue: Queue, declared: Declared, link: Link | None) -> int:
    return kernel_limit(link, declared.queues.get(queue.link, queue.limit)) if link else queue.limit


def _classes(queue: Queue, held: Sequence[qdisc.HtbClass], declared: Declared, limits: Mapping[int, int | None],
             link: Link | None) -> Iterator[Finding]:
    """The link's rate, each class's two rates and its queue. limits: handle -> bytes; link: as _queue()."""
    rate = declared.rates.get(queue.link, queue.rate)
    want_limit = _limit(queue, declared, link)
    found = {c.handle: (c.rate, c.ceil) for c in held}
    classes = queue.classes if declared.classes is None else wire_classes(declared.classes)
    wanted = [("rate", "ceiling", PARENT_CLASS, rate, rate)]
    wanted += [(f"min of {c.name or 'the rest'}", f"max of {c.name or 'the rest'}", c.class_handle, c.min * rate,
                c.max * rate) for c in classes]
    for low, high, handle, least, most in wanted:
        for what, want, has in zip((low, high), (least, most), found.get(handle, (None, None)), strict=True):
            if _off(has, want):
                yield Finding(queue.direction, what, "bit/s", want, has)
    for c in classes:
        if limits.get(c.handle) != want_limit:
            yield Finding(queue.direction, f"queue of {c.name or 'the rest'}", "bytes", want_limit,
                          limits.get(c.handle))


def _impairments(inventory: Inventory) -> Iterator[Finding]:
    """netem at both devices of each wire whose link delays or loses, and at no other."""
    path = f"/run/netns/{inventory.wiring}"
    index = qdisc.interfaces(path)
    with qdisc.open_socket(path) as sock:
        held: dict[int, list[qdisc.Netem]] = {}
        for netem in qdisc.impairments(sock):
            held.setdefault(netem.ifindex, []).append(netem)
        for link in inventory.fabric.links:
            pair = inventory.wires[link.name]
            for direction, device in zip(link.directions, (pair.b, pair.a), strict=True):
                yield from _netem(direction, link, held.get(index.get(device, 0), []))
            if link.impaired and link.kind == "access":     # shaped at the host; the wire must not be what limits it
                rate = _rate(sock, index.get(pair.b, 0), UNSHAPED_RATE)
                if _off(rate, UNSHAPED_RATE):
                    yield Finding(link.directions[0], "rate of the wire after the host's", "bit/s", UNSHAPED_RATE, rate)


def _netem(direction: str, link: Link, held: Sequence[qdisc.Netem]) -> Iterator[Finding]:
    """held: every netem of the device."""
    wanted = (("delay", "ms", 1e3, link.delay), ("jitter", "ms", 1e3, link.jitter), ("loss", "%", 100, link.loss),
              ("reordering", "%", 100, link.reorder), ("duplication", "%", 100, 0.0), ("corruption", "%", 100, 0.0))
    if not held:
        yield from (Finding(direction, what, unit, want * factor, None) for what, unit, factor, want in wanted if want)
    for netem in held:
        shown = (netem.delay, netem.jitter, netem.loss, netem.reorder, netem.duplicate, netem.corrupt)
        for (what, unit, factor, want), found in zip(wanted, shown, strict=True):
            if abs(found - want) * factor > NETEM_TOLERANCE[unit]:
                yield Finding(direction, what, unit, want * factor, found * factor)
        if netem.rate:
            yield Finding(direction, "rate of its netem", "bit/s", 0, netem.rate)
        if netem.limit != NETEM_LIMIT:
            yield Finding(direction, "limit of its netem", "packets", NETEM_LIMIT, netem.limit)
