"""ECMP by path aliases: the path is chosen by the inner flow, before encapsulation.

Leaf j answers to one VTEP alias per path, 10.255.k.j. The group towards leaf j hashes the inner
5-tuple over one bucket per live path k; the bucket sets the outer destination to alias k, and the
alias alone leads along path k. Each bucket watches its uplink, so a failed uplink is skipped by
the switch at once; a failed far link leaves the group when the controller compiles it again.

Weighted, a path has as many buckets as its rate deserves, `SLOTS` at the rate of the best: Open vSwitch's
selection by fields knows no proportional weights, and each bucket wins its flows by itself, so that only the
flows of buckets that go or come move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from controller.rules.rules import Bucket, Group, Output, SetField
from topologies.model import addressing as addr
from topologies.model.fabric import Node, Path

# ports of both protocols; the OpenFlow 1.3 default of Open vSwitch ignores UDP's
FIVE_TUPLE = ("ip_src", "ip_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst")


SLOTS = 16              # buckets of a path at full rate: rates are distinguished to a sixteenth
NEXT_SLOT = 1000        # between the numbers of a path's buckets; more than there are paths


def group_to(target: Node, paths: Iterable[Path]) -> Group:
    """The select group of a leaf towards leaf `target` over these paths; its id is the leaf's index.

    Bucket k keeps its id while others come and go, so that only a removed bucket's flows move.
    """
    return Group(target.index, f"ecmp:{target.name}", FIVE_TUPLE, tuple(map(bucket, paths)))


def weighted_group_to(target: Node, paths: Sequence[Path], rates: Sequence[float]) -> Group:
    """group_to(), each path with buckets in proportion to its rate (bit/s), at least one."""
    best = max(rates)
    return Group(target.index, f"ecmp:{target.name}", FIVE_TUPLE, tuple(
        bucket(path, slot) for path, rate in zip(paths, rates, strict=True)
        for slot in range(max(1, round(SLOTS * rate / best)))))


def bucket(path: Path, slot: int = 0) -> Bucket:
    """A path in a group of the leaf that it begins at; the id of its first bucket is the path's number."""
    return _bucket(path.number + slot * NEXT_SLOT, path.links[0].a.ofport, path.alias)


@lru_cache(1 << 14)
def _bucket(number: int, port: int, alias: str) -> Bucket:
    """Made once: all leaves have the same towards one alias, if their ports are alike."""
    return Bucket(number, port, (SetField("tun_ipv4_dst", alias), Output(addr.VXLAN_PORT)))
