"""Packet accounting through the engine: what its counters and the hosts' kernels say of each hop.

    host's queue -> host's device -> [engine: link -> switch -> link] -> host's device
      dropped?        lost?            dropped, lost, cut?  rule?          lost?

The engine counts all that happens inside of it by name, the kernels count what hosts gave and got. Each hop is held
against the next one: two sources at the edge, two counters of one source inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from topologies.access.counts import device_counts, send_drops
from topologies.links.htb import hosts
from topologies.model.inventory import Inventory
from topologies.proof.ledger import QueueCount, device_key
from topologies.switches.engine.attach import attachment
from topologies.switches.engine.changes import calm_links
from topologies.switches.engine.counters import FILE, REASONS, Counters
from topologies.switches.engine.layout import Layout, host_ends

ENGINE = "fabricd"      # the node of what the engine counts, among devices


def devices(inventory: Inventory) -> tuple[dict[str, int], dict[str, int]]:
    """Packets received and sent by hosts' devices, and what the engine counts, as of devices of the node ENGINE."""
    received: dict[str, int] = {}
    sent: dict[str, int] = {}
    for node in dict.fromkeys(end.node for _, end in host_ends(inventory.fabric)):
        for device, (rx, tx) in device_counts(inventory.netns_path(node)).items():
            received[device_key(node, device)], sent[device_key(node, device)] = rx, tx
    for what, took, gave in engine_counts(Path(inventory.directory)):
        received[device_key(ENGINE, what)], sent[device_key(ENGINE, what)] = took, gave
    return received, sent


def engine_counts(directory: Path) -> Iterator[tuple[str, int, int]]:
    """(what, packets in, packets out), cumulative. A hop has its name; what ended there: 'leaf1 expired'."""
    layout, held = Layout.read(directory), Counters(directory / FILE)
    try:
        for number, name in enumerate(layout.directions):
            yield from _direction(held, number, name)
        for number, name in enumerate(layout.hosts):
            host = held.host(number)
            yield name, host.read_packets, host.written_packets
            yield f"{name} not written", host.not_written, 0
        for number, name in enumerate(layout.switches):
            switch = held.switch(number)
            yield name, switch.came, switch.left
            for reason in (*REASONS, "dropped_by_rule", "copies", "cut"):
                yield f"{name} {reason}", getattr(switch, reason), 0
        head = held.engine()
        yield "packet-outs", head.packet_outs, 0
        yield "injected", head.injected, 0
    finally:
        held.close()


def _direction(held: Counters, number: int, name: str) -> Iterator[tuple[str, int, int]]:
    """Headroom is the direction's by which a frame came in, and its drops are behind the switch that it came to."""
    counts, queues = held.direction(number), list(held.queues(number))
    sent = sum(q.sent_packets for q in queues)
    yield name, sent + sum(q.drops + q.packets for q in queues), (
        sent + counts.duplicates - counts.lost - counts.bit_errors - counts.flying)
    yield f"{name} headroom", sum(q.headroom_drops for q in queues), 0
    yield f"{name} cut", counts.cut - counts.cut_flying, 0
    yield f"{name} on its way cut", counts.cut_flying, 0


def queues(inventory: Inventory) -> dict[str, QueueCount]:
    """Direction -> what its queues count. What a host's own discipline holds or has dropped is its direction's."""
    directory, classes = Path(inventory.directory), list(inventory.fabric.spec.classes)
    layout, held = Layout.read(directory), Counters(directory / FILE)
    try:
        found = {name: _queue(held, number, classes) for number, name in enumerate(layout.directions)}
    finally:
        held.close()
    at_hosts = (hosts.read(inventory, calm_links(inventory)) if attachment(inventory.fabric) == "calm"
                else _at_fast_hosts(inventory, found))
    return found | {name: _behind(own, found[name]) for name, own in at_hosts.items()}


def _at_fast_hosts(inventory: Inventory, links: Mapping[str, QueueCount]) -> dict[str, QueueCount]:
    """What the rings of hosts' devices had no room for; what is in them is seen when the engine has read it."""
    found = {}
    for link, end in host_ends(inventory.fabric):
        name = link.directions[0]
        dropped = send_drops(inventory.netns_path(end.node)).get(end.interface, 0)
        found[name] = QueueCount(links[name].sent, dropped, by_class=links[name].by_class)
    return found


def _queue(held: Counters, number: int, classes: list[str]) -> QueueCount:
    counts, queues_ = held.direction(number), list(held.queues(number))
    return QueueCount(
        sent=sum(q.sent_packets for q in queues_), dropped=sum(q.drops + q.headroom_drops for q in queues_),
        waiting=sum(q.packets for q in queues_) + counts.flying,
        lost=counts.lost + counts.bit_errors - counts.duplicates,
        by_class={name: queues_[n].drops + queues_[n].headroom_drops for n, name in enumerate(classes, start=1)})


def _behind(own: QueueCount, link: QueueCount) -> QueueCount:
    """A host's own queue and the link behind it, which has only what the host has sent."""
    return QueueCount(own.sent, own.dropped, own.waiting + link.waiting, link.lost, own.by_class)
