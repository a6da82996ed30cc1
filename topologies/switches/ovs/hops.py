"""Where packets can be lost between Open vSwitch and its wires: each hop counts what it took in and what it gave on.

    host's queue -> host's device -> wire -> switch port -> [switch] -> port -> wire's queue -> ...
      dropped?         handed on?    lost?    packet socket                    lost? dropped?
                                              overrun?  rule dropped?
"""

from __future__ import annotations

from collections.abc import Mapping

from topologies.access.counts import device_counts
from topologies.model.fabric import Link
from topologies.model.inventory import Inventory
from topologies.proof.ledger import Accounting, device_key


def devices(inventory: Inventory) -> tuple[dict[str, int], dict[str, int]]:
    """Packets received and sent, by 'node/device'; the wiring namespace is the node 'wires'."""
    received, sent = {}, {}
    for node, netns in (*inventory.netns.items(), ("wires", inventory.wiring)):
        for device, (rx, tx) in device_counts(f"/run/netns/{netns}").items():
            received[device_key(node, device)], sent[device_key(node, device)] = rx, tx
    return received, sent


def walk(wires: Mapping[str, tuple[str, str]], accounting: Accounting) -> None:
    """Every link and every switch. wires: link -> (device at end a, device at end b)."""
    for link in accounting.fabric.links:
        _walk_link(accounting, link, wires[link.name])
    for switch in accounting.fabric.switches:
        _walk_switch(accounting, switch.name)


def _walk_link(accounting: Accounting, link: Link, pair: tuple[str, str]) -> None:
    """Both directions of one link, from device to device."""
    a, b = pair
    for direction, near, far, entry, leave in (
            (link.directions[0], link.a, link.b, a, b), (link.directions[1], link.b, link.a, b, a)):
        queue = accounting.queue(direction)
        into_queue = queue.sent + queue.dropped + queue.waiting + queue.lost
        at_host = accounting.fabric.by_name[near.node].is_host
        given, entered = accounting.tx(near.node, near.interface), accounting.rx("wires", entry)
        left, arrived = accounting.tx("wires", leave), accounting.rx(far.node, far.interface)
        if at_host:
            accounting.lose(f"{near.interface} (host's device)", queue.sent - given)
        accounting.lose(f"{direction} (into the wire)", given - entered)
        accounting.lose(f"{direction} (in the wire)", entered - (left + queue.lost if at_host else into_queue))
        if not at_host:
            accounting.lose(f"{direction} (behind the queue)", queue.sent - left)
        accounting.lose(f"{direction} (out of the wire)", left - arrived)


def _walk_switch(accounting: Accounting, name: str) -> None:
    """What went into a switch comes out, is dropped by a rule, or overran a port's socket."""
    ports = [k.end(name).interface for k in accounting.fabric.links_of(name)]
    went_in = sum(accounting.rx(name, p) for p in ports)
    came_out = sum(accounting.tx(name, p) for p in ports)
    policy = sum(accounting.policy(name).values())
    accounting.lose(f"{name} (inside the switch)", went_in - accounting.overruns(name) - policy - came_out)
