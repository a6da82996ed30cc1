"""ECMP by path aliases: the path is chosen by the inner flow, before encapsulation.

Leaf j answers to one VTEP alias per spine, 10.255.k.j. The group towards leaf j hashes the inner
5-tuple over one bucket per live spine k; the bucket sets the outer destination to alias k, and the
alias alone leads through spine k. Each bucket watches its uplink, so a failed uplink is skipped by
the switch at once; a failed far link leaves the group when the controller compiles it again.

Weighted, a path has as many buckets as its rate deserves, `SLOTS` at the rate of the best: Open vSwitch's
selection by fields knows no proportional weights, and each bucket wins its flows by itself, so that only the
flows of buckets that go or come move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.rules.rules import Bucket, Group, Output, SetField
from topologies.model import addressing as addr
from topologies.model.fabric import Node

# ports of both protocols; the OpenFlow 1.3 default of Open vSwitch ignores UDP's
FIVE_TUPLE = ("ip_src", "ip_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst")


SLOTS = 16              # buckets of a path at full rate: rates are distinguished to a sixteenth
NEXT_SLOT = 1000        # between the numbers of a path's buckets; more than a fabric has spines


def group_to(target: Node, spines: Iterable[Node]) -> Group:
    """The select group of any other leaf towards leaf `target` over these spines; its id is the leaf's index.

    Bucket k keeps its id while others come and go, so that only a removed bucket's flows move.
    """
    return Group(target.index, f"ecmp:{target.name}", FIVE_TUPLE, tuple(bucket(target, s) for s in spines))


def weighted_group_to(target: Node, spines: Sequence[Node], rates: Sequence[float]) -> Group:
    """group_to(), each spine with buckets in proportion to the rate (bit/s) of the path through it, at least one."""
    best = max(rates)
    return Group(target.index, f"ecmp:{target.name}", FIVE_TUPLE, tuple(
        bucket(target, spine, slot) for spine, rate in zip(spines, rates, strict=True)
        for slot in range(max(1, round(SLOTS * rate / best)))))


def bucket(target: Node, spine: Node, slot: int = 0) -> Bucket:
    """The path to leaf `target` through `spine`, from any other leaf; the id of its first bucket is the spine's."""
    return Bucket(spine.index + slot * NEXT_SLOT, spine.index,
                  (SetField("tun_ipv4_dst", target.aliases[spine.index - 1]), Output(addr.VXLAN_PORT)))
