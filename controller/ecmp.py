"""ECMP by path aliases: the path is chosen by the inner flow, before encapsulation.

Leaf j answers to one VTEP alias per spine, 10.255.k.j. The group towards leaf j hashes the inner
5-tuple over one bucket per live spine k; the bucket sets the outer destination to alias k, and the
alias alone leads through spine k. Each bucket watches its uplink, so a failed uplink is skipped by
the switch at once; a failed far link leaves the group when the controller compiles it again.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.rules import Bucket, Group, Output, SetField
from topologies import addressing as addr
from topologies.fabric import Node

# ports of both protocols; the OpenFlow 1.3 default of Open vSwitch ignores UDP's
FIVE_TUPLE = ("ip_src", "ip_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst")


def group_to(target: Node, spines: Iterable[Node]) -> Group:
    """The select group of any other leaf towards leaf `target` over these spines; its id is the leaf's index.

    Bucket k keeps its id while others come and go, so that only a removed bucket's flows move.
    """
    return Group(target.index, f"ecmp:{target.name}", FIVE_TUPLE, tuple(bucket(target, s) for s in spines))


def bucket(target: Node, spine: Node) -> Bucket:
    """The path to leaf `target` through `spine`, from any other leaf; its id is the spine's index."""
    return Bucket(spine.index, spine.index,
                  (SetField("tun_ipv4_dst", target.aliases[spine.index - 1]), Output(addr.VXLAN_PORT)))
