"""Pinned paths: the host that sends chooses the spine, whatever its 5-tuples are.

The hosts of a leaf are dealt over the spines in turn, in their order on the leaf, so its uplinks get equal
numbers of them. BRIDGE writes down the leaf that a packet is for, as its VTEP; here the sender's port and that
VTEP choose a group, one for each (leaf, preferred spine):

    pin:h1:leaf2:spine1   from h1's port, to leaf2's VTEP  ->  group pin:leaf2:spine1 = spine1, else spine2, ...

The group is of the fast-failover kind: all packets take the first bucket whose uplink is up. The order behind the
preferred spine is cyclic, so the switch itself falls back at once from a failed uplink, to the very spine
that the controller chooses when it compiles the links' new state, and comes back after the repair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle

from controller.rules.ecmp import bucket
from controller.rules.rules import Flow, Group, Match, ToGroup
from controller.rules.tables import Priority, Table, drop
from topologies.model.fabric import Fabric, Node

_GROUPS_PER_LEAF = 100      # group numbers kept for each target leaf; more than a fabric has spines


def preferred(fabric: Fabric, leaf: Node) -> dict[str, Node]:
    """Host of `leaf` -> the spine of its traffic to other leaves, dealt in turn; probes come behind the others."""
    spines = cycle(fabric.spines_of(leaf.name))
    return {host.name: spine for host, spine in zip(fabric.hosts_of(leaf.name), spines, strict=False)}


def _number(target: Node, spine: Node) -> int:
    return target.index * _GROUPS_PER_LEAF + spine.index


def flows(fabric: Fabric, leaf: Node) -> Iterator[Flow]:
    """Each host of `leaf` and each other leaf -> the group of the host's spine. They depend on the fabric alone."""
    for host, spine in preferred(fabric, leaf).items():
        port = fabric.access_link(host).end(leaf.name).ofport
        for target in fabric.tunnel_ends:
            if target.name != leaf.name:
                yield Flow(f"pin:{host}:{target.name}:{spine.name}", Table.PIN, Priority.NORMAL,
                           Match(in_port=port, tun_ipv4_dst=target.ip), (ToGroup(_number(target, spine)),))
    yield drop("unpinned", Table.PIN)


def groups_to(target: Node, live: Sequence[Node], pins: Iterable[Node]) -> Iterator[Group]:
    """Groups towards leaf `target`, one for each spine of `pins`.

    Its buckets are the spines `live` (spine 1 first) in cyclic order from the preferred one on.
    """
    for spine in pins:
        behind = [s for s in live if s.index >= spine.index]
        before = [s for s in live if s.index < spine.index]
        yield Group(_number(target, spine), f"pin:{target.name}:{spine.name}", (),
                    tuple(bucket(target, s) for s in behind + before))
