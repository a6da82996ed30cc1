"""Hosts behind routers with a VTEP of their own: which of the routes of type 2 that these announce may be used. Pure.

A router vouches for hosts at its own VTEP and nowhere else, in subnets that stretch over the fabric, and for addresses
that intent has given to nobody. What the fabric's hosts may send to them follows from intent, as between leaves; what
they may send is for the router to refuse, since policy stands where a packet comes in.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from controller.evpn import MacIpRoute, target
from controller.vpc import Segment, Tenancy
from topologies.addressing import GATEWAY_MAC
from topologies.fabric import Fabric


def unusable(fabric: Fabric, tenancy: Tenancy, peer: str, route: MacIpRoute) -> str:
    """Why nothing is forwarded by a route of type 2; '' if it is."""
    if route.next_hop not in {v.ip for v in fabric.vteps if v.name == peer}:
        return "its next hop is no VTEP of its router's own"
    segment = next((s for s in tenancy.segments.values() if target(s.vni) in route.targets and s.stretched), None)
    if segment is None:
        return "no route target of it is that of a subnet with mode l2vni"
    if route.vni != segment.vni:
        return f"its VNI is {route.vni}; that of {segment.name} is {segment.vni}"
    return _wrong_router(tenancy, segment, route) or _wrong_address(segment, route)


def _wrong_router(tenancy: Tenancy, segment: Segment, route: MacIpRoute) -> str:
    vni = next(t.vni for t in tenancy.tenants if t.name == segment.vpc)
    if route.l3vni not in (0, vni):
        return f"its second VNI is {route.l3vni}; that of VPC {segment.vpc} is {vni}"
    return "it has the VNI of a VPC and no router's MAC" if route.l3vni and not route.router_mac else ""


def _wrong_address(segment: Segment, route: MacIpRoute) -> str:
    if not route.ip:
        return "it has no address: leaves answer ARP by routes that have one, and flood nothing"
    if IPv4Address(route.ip) not in IPv4Network(segment.prefix):
        return f"its address is outside of {segment.name}, {segment.prefix}"
    owner = next((m.host for m in segment.members if route.ip == m.ip or route.mac == m.mac), "")
    if owner or route.ip == segment.gateway or route.mac == GATEWAY_MAC:
        return f"its address is that of {owner or f'the gateway of {segment.name}'}"
    return ""
