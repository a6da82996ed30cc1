"""Pinned paths: the host that sends chooses the path, whatever its 5-tuples are.

The hosts of a leaf are dealt over its ways up in turn, in their order on the leaf, so its uplinks get equal
numbers of them. BRIDGE writes down the leaf that a packet is for, as its VTEP; here the sender's port and that
VTEP choose a group, one for each (leaf, preferred path, which has the name of its top):

    pin:h1:leaf2:spine1   from h1's port, to leaf2's VTEP  ->  group pin:leaf2:spine1 = spine1, else spine2, ...

The group is of the fast-failover kind: all packets take the first bucket whose uplink is up. The order behind the
preferred path is cyclic, so the switch itself falls back at once from a failed uplink, to the very path
that the controller chooses when it compiles the links' new state, and comes back after the repair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

from controller.rules.ecmp import bucket
from controller.rules.rules import Flow, Group, Match, ToGroup
from controller.rules.tables import Priority, Table, drop
from topologies.model.fabric import Fabric, Node, Path

_GROUPS_PER_LEAF = 100      # group numbers kept for each target leaf; more than there are paths


def preferred(fabric: Fabric, leaf: Node) -> dict[str, int]:
    """Host of `leaf` -> the number of its paths to other leaves, dealt in turn; probes come behind the others."""
    numbers = cycle(fabric.ways_up(leaf.name))
    return {host.name: number for host, number in zip(fabric.hosts_of(leaf.name), numbers, strict=False)}


def pinned(fabric: Fabric, leaf: Node) -> dict[int, str]:
    """Numbers that hosts of `leaf` prefer -> the names of their tops."""
    return {number: fabric.tops[number - 1].name for number in preferred(fabric, leaf).values()}


def _group(target: Node, number: int) -> int:
    return target.index * _GROUPS_PER_LEAF + number


def flows(fabric: Fabric, leaf: Node) -> Iterator[Flow]:
    """Each host of `leaf` and each other leaf -> the group of the host's path. They depend on the fabric alone."""
    for host, number in preferred(fabric, leaf).items():
        port = fabric.access_link(host).end(leaf.name).ofport
        for target in fabric.tunnel_ends:
            if target.name != leaf.name:
                yield Flow(f"pin:{host}:{target.name}:{fabric.tops[number - 1].name}", Table.PIN, Priority.NORMAL,
                           Match(in_port=port, tun_ipv4_dst=target.ip), (ToGroup(_group(target, number)),))
    yield drop("unpinned", Table.PIN)


def groups_to(target: Node, live: Sequence[Path], pins: Mapping[int, str]) -> Iterator[Group]:
    """Groups towards leaf `target`, one for each number of `pins`.

    Its buckets are the paths `live` (by number) in cyclic order from the preferred one on.
    """
    for number, top in pins.items():
        behind = [p for p in live if p.number >= number]
        before = [p for p in live if p.number < number]
        yield Group(_group(target, number), f"pin:{target.name}:{top}", (), tuple(map(bucket, behind + before)))
