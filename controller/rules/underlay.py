"""Rules of the underlay: encapsulated packets between VTEPs, through the spine that their alias names."""

from __future__ import annotations

from collections.abc import Iterator

from controller.rules.rules import ETH_IPV4, LOCAL, UDP, DecTtl, Flow, Match, Neighbour, Output
from controller.rules.tables import Priority, Table, drop
from topologies.model import addressing as addr
from topologies.model.fabric import Fabric, Node


def _vxlan(in_port: int, destination: str) -> Match:
    return Match(in_port=in_port, eth_type=ETH_IPV4, ip_proto=UDP, ipv4_dst=destination, udp_dst=addr.VXLAN_UDP_PORT)


def leaf_flows(fabric: Fabric, leaf: Node) -> Iterator[Flow]:
    """Out of the tunnel to the uplink of the alias; from an uplink to LOCAL, where the switch decapsulates."""
    for spine in fabric.spines_of(leaf.name):
        k = spine.index
        yield Flow(f"uplink:{spine.name}", Table.INGRESS, Priority.NORMAL, _vxlan(LOCAL, f"{addr.vtep(0, k)}/24"),
                   (Output(k),))
        for vtep in (leaf.ip, leaf.aliases[k - 1]):
            yield Flow(f"vtep:{spine.name}", Table.INGRESS, Priority.NORMAL, _vxlan(k, vtep), (Output(LOCAL),))


def spine_flows(fabric: Fabric, spine: Node) -> Iterator[Flow]:
    """Routes to the VTEP of each leaf, or router, and to its alias through this spine."""
    for leaf in (x for x in fabric.tunnel_ends if spine in fabric.spines_of(x.name)):
        for vtep in (leaf.ip, leaf.aliases[spine.index - 1]):
            yield Flow(f"route:{leaf.name}", Table.INGRESS, Priority.NORMAL,
                       Match(eth_type=ETH_IPV4, ipv4_dst=vtep), (DecTtl(), Output(leaf.index)))
    yield drop("no-route", Table.INGRESS)


def neighbours(fabric: Fabric, leaf: Node) -> tuple[Neighbour, ...]:
    """What the tunnel of `leaf` must know of every other end."""
    return tuple(Neighbour(ip, other.mac) for other in fabric.tunnel_ends if other.name != leaf.name
                 for ip in (other.ip, *other.aliases))
