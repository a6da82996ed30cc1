"""Shares of classes on running wires: read from them, and changed while they carry traffic."""

from __future__ import annotations

from collections.abc import Mapping

from topologies.lab.shell import tc_batch
from topologies.links.htb import qdisc
from topologies.links.htb.classes import wire_classes
from topologies.links.htb.wires import class_words, queues
from topologies.model.inventory import Inventory
from topologies.model.spec import ClassSpec

DIGITS = 5      # of a share: the kernel holds rates in whole bytes per second


def held_classes(inventory: Inventory) -> dict[str, ClassSpec]:
    """The lab's classes with the shares that its fastest wire has for them now; none where the fabric has none."""
    classes = inventory.fabric.spec.classes
    if not classes:
        return {}
    queue = max(queues(inventory), key=lambda q: q.rate)
    path = f"/run/netns/{queue.netns}"
    with qdisc.open_socket(path) as sock:
        held = {c.handle: c for c in qdisc.classes(sock, qdisc.interfaces(path)[queue.device])}
    return {c.name: classes[c.name].model_copy(update={
        "min": round(held[c.class_handle].rate / queue.rate, DIGITS),
        "max": round(held[c.class_handle].ceil / queue.rate, DIGITS)}) for c in wire_classes(classes) if c.name}


def set_shares(inventory: Inventory, classes: Mapping[str, ClassSpec]) -> None:
    """Change the shares of all classes, on every wire, while it carries traffic; nothing queued is lost.

    classes: all of the fabric's, with their new shares. For wires at the rates of their spec.
    """
    fabric, lines = inventory.fabric, dict[str, list[str]]()
    for queue in (q for q in queues(inventory) if q.classes):
        link = fabric.link(queue.link)
        lines.setdefault(queue.netns, []).extend(
            f"class change dev {queue.device} {class_words(link, link.rate, c)}" for c in wire_classes(classes))
    for netns, several in lines.items():
        tc_batch(several, netns)
