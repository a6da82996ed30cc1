"""Rules of the underlay: encapsulated packets between VTEPs, along the path that their alias names."""

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
    known: set[tuple[int, str]] = set()     # where tops share an uplink, the VTEP comes in by it once
    for number, (uplink, *_) in fabric.ways_up(leaf.name).items():
        port = uplink.a.ofport
        yield Flow(f"uplink:{fabric.tops[number - 1].name}", Table.INGRESS, Priority.NORMAL,
                   _vxlan(LOCAL, f"{addr.vtep(0, number)}/24"), (Output(port),))
        for vtep in (leaf.ip, leaf.aliases[number - 1]):
            if (port, vtep) not in known:
                known.add((port, vtep))
                yield Flow(f"vtep:{uplink.b.node}", Table.INGRESS, Priority.NORMAL, _vxlan(port, vtep),
                           (Output(LOCAL),))


def spine_flows(fabric: Fabric, spine: Node) -> Iterator[Flow]:
    """Routes to the VTEP of each leaf, or router, and to those of its aliases whose paths cross this spine."""
    for end in fabric.tunnel_ends:
        for vtep, port in _routes(fabric, spine, end).items():
            yield Flow(f"route:{end.name}", Table.INGRESS, Priority.NORMAL,
                       Match(eth_type=ETH_IPV4, ipv4_dst=vtep), (DecTtl(), Output(port)))
    yield drop("no-route", Table.INGRESS)


def _routes(fabric: Fabric, spine: Node, end: Node) -> dict[str, int]:
    """Address of a tunnel end -> port of the spine towards it: down where the end is below it, else up."""
    below = {number: link.b.ofport for number, way in fabric.ways_up(end.name).items()
             for link in way if link.b.node == spine.name}
    above = {number: way[0].a.ofport for number, way in fabric.ways_up(spine.name).items() if way}
    routes: dict[str, int] = {}
    for number, port in (below or above).items():
        routes.setdefault(end.ip, port)
        routes[end.aliases[number - 1]] = port
    return routes


def neighbours(fabric: Fabric, leaf: Node) -> tuple[Neighbour, ...]:
    """What the tunnel of `leaf` must know of every other end."""
    return tuple(Neighbour(ip, other.mac) for other in fabric.tunnel_ends if other.name != leaf.name
                 for ip in (other.ip, *other.aliases))
