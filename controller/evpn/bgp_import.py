"""What becomes of routes that BGP peers have announced: those that lead somewhere, and why the others do not. Pure.

A VRF imports a peer's route as it imports those of leaves, by route target. Before that a route of type 5 has to lead
out of the fabric through an External: its next hop is the outside router of one, or the VTEP of that one's border leaf
with the External's VNI; and it must not hide addresses that a tenant has. A route of type 2 has to lead to a host
behind the very router that announces it (controller.evpn.remote_hosts).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from controller.evpn import remote_hosts
from controller.evpn.evpn import MacIpRoute, PrefixRoute, Route
from controller.intent.vpc import Segment, Tenancy
from topologies.model.fabric import Fabric


@dataclass(frozen=True)
class Learned:
    """A route, and the peer that has announced it."""

    peer: str
    route: Route


@dataclass(frozen=True)
class Judged:
    """A learned route; what VRFs may import of it, or None with the reason."""

    learned: Learned
    usable: Route | None
    reason: str = ""


def judge(fabric: Fabric, tenancy: Tenancy, learned: Iterable[Learned]) -> Iterator[Judged]:
    """Each learned route with what becomes of it."""
    ways, hosts = _ways_out(fabric, tenancy), remote_hosts.RemoteHosts(fabric, tenancy)
    for one in learned:
        match one.route:
            case MacIpRoute():
                yield Judged(one, *hosts.usable(one.peer, one.route))
            case PrefixRoute():
                reason = _unusable(tenancy, one.route, ways)
                yield Judged(one, None if reason else _through(one.route, ways), reason)
            case _:
                yield Judged(one, None, "leaves answer broadcast themselves and send it nowhere")


def importable(fabric: Fabric, tenancy: Tenancy, learned: Iterable[Learned]) -> tuple[Route, ...]:
    """Those that VRFs may import."""
    return tuple(j.usable for j in judge(fabric, tenancy, learned) if j.usable is not None)


@dataclass(frozen=True)
class Way:
    """Out of the fabric: by the border leaf's VTEP, in the VNI of an External."""

    external: str
    vtep: str
    mac: str
    vni: int


def _ways_out(fabric: Fabric, tenancy: Tenancy) -> dict[tuple[str, int], Way]:
    """(next hop, VNI, or 0 for any VNI) -> the way that it means."""
    ways: dict[tuple[str, int], Way] = {}
    for tenant in tenancy.tenants:
        for segment in tenant.segments:
            for member in segment.members if segment.is_external else ():
                leaf = fabric.node(member.leaf)
                ways[member.ip, 0] = ways[leaf.ip, tenant.vni] = Way(tenant.name, leaf.ip, leaf.mac, tenant.vni)
    return ways


def _way(route: PrefixRoute, ways: dict[tuple[str, int], Way]) -> Way | None:
    return ways.get((route.next_hop, route.vni)) or ways.get((route.next_hop, 0))


def _through(route: PrefixRoute, ways: dict[tuple[str, int], Way]) -> PrefixRoute | None:
    way = _way(route, ways)
    return None if way is None else replace(route, next_hop=way.vtep, router_mac=way.mac, vni=way.vni)


def _unusable(tenancy: Tenancy, route: PrefixRoute, ways: dict[tuple[str, int], Way]) -> str:
    """Why nothing is forwarded by a route; '' if it is."""
    if unsupported := _unsupported(route):
        return unsupported
    way = _way(route, ways)
    if way is None:
        return "its next hop is no External's router, nor a border leaf with an External's VNI"
    hidden = _hidden(_in_view(tenancy, way.external), route)
    return f"it would hide addresses of {hidden}" if hidden else ""


def _unsupported(route: PrefixRoute) -> str:
    """What a leaf would have to look up or to know, beyond the next hop and the VNI (RFC 9136, 3.1 and 3.2)."""
    if route.gateway and route.esi:
        return f"it has both a gateway, {route.gateway}, and an Ethernet segment, {route.esi}: one is allowed"
    if route.gateway:
        return f"it leads to the host with its gateway address {route.gateway}, which is not supported"
    if route.esi:
        return f"it leads to the Ethernet segment {route.esi}, which is not supported"
    if not route.vni and not route.router_mac:
        return "it has neither a VNI, nor a router's MAC, nor a gateway, nor an Ethernet segment"
    return ""


def _in_view(tenancy: Tenancy, external: str) -> Iterator[Segment]:
    """The segments of the VPCs that peer with an External, and those that these see: its own link among them."""
    of = tenancy.segments
    vpcs = {of[a].vpc for a, b, _ in tenancy.beyond if of[b].vpc == external}
    seen = {b for a, b in tenancy.permits if of[a].vpc in vpcs}
    yield from (s for s in of.values() if s.vpc in vpcs or s.name in seen)


def _hidden(segments: Iterable[Segment], route: PrefixRoute) -> str:
    """A segment of which the route claims addresses with the same prefix or a longer one."""
    prefix = IPv4Network(route.prefix)
    return next((s.name for s in segments if prefix.subnet_of(IPv4Network(s.prefix))), "")
