"""Hosts' own devices, shaped at their links' rates, where what is behind them is no wire: the same queues, read and
changed by themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from topologies.lab.shell import tc_batch
from topologies.links.htb import qdisc
from topologies.links.htb.classes import PARENT_CLASS, wire_classes
from topologies.links.htb.counters import device_queues, through
from topologies.links.htb.wires import HOST_QUEUE, Queue, change_rate, class_words
from topologies.model.fabric import Link
from topologies.model.inventory import Inventory
from topologies.model.spec import ClassSpec
from topologies.proof.findings import Declared, Finding
from topologies.proof.ledger import QueueCount

TOLERANCE = 1e-3        # of a rate: the kernel keeps whole bytes per second


def own_queue(inventory: Inventory, link: Link) -> Queue:
    """What the node at end a of a link sends by it; a router's device has a queue as long as the link's."""
    limit = HOST_QUEUE if link.kind == "access" else link.queue
    return Queue(link.directions[0], link.name, limit, link.rate, inventory.netns[link.a.node], link.a.interface, "",
                 wire_classes(inventory.fabric.spec.classes))


def set_rate(inventory: Inventory, link: Link, rate: float) -> None:
    change_rate(own_queue(inventory, link), link, rate)


def set_shares(inventory: Inventory, links: Iterable[Link], classes: Mapping[str, ClassSpec]) -> None:
    """Change the shares of all classes at these links' own ends, while they carry traffic."""
    for link in links:
        queue = own_queue(inventory, link)
        tc_batch([f"class change dev {queue.device} {class_words(link, link.rate, c)}" for c in wire_classes(classes)],
                 queue.netns)


def read(inventory: Inventory, links: Iterable[Link]) -> dict[str, QueueCount]:
    """Direction -> what its host's queues count, the sentinel's included."""
    found: dict[str, QueueCount] = {}
    held: dict[str, dict[str, dict[int, qdisc.Qdisc]]] = {}
    for queue in (own_queue(inventory, link) for link in links):
        if queue.netns not in held:
            held[queue.netns] = defaultdict(dict)
            for device, q in device_queues(queue.netns):
                held[queue.netns][device][q.handle] = q
        found[queue.direction] = through(queue, held[queue.netns][queue.device])
    return found


def audit(inventory: Inventory, links: Iterable[Link], declared: Declared) -> Iterator[Finding]:
    """Every device whose rate is not its link's."""
    for link in links:
        queue = own_queue(inventory, link)
        want, path = declared.rates.get(link.name, link.rate), inventory.netns_path(link.a.node)
        with qdisc.open_socket(path) as sock:
            top = PARENT_CLASS if queue.classes else qdisc.TRAFFIC_CLASS
            held = [c for c in qdisc.classes(sock, qdisc.interfaces(path).get(queue.device, 0)) if c.handle == top]
        rates: list[int | None] = [rate for c in held for rate in (c.rate, c.ceil)]
        for has in rates or [None]:
            if has is None or abs(has / want - 1) > TOLERANCE:
                yield Finding(f"{queue.direction} (at the host)", "rate", "bit/s", want, has)
