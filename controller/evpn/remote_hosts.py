"""Hosts behind routers with a VTEP of their own: which of the routes of type 2 that these announce may be used. Pure.

A router vouches for hosts at its own VTEP and nowhere else, in subnets that stretch over the fabric, and for addresses
that intent has given to nobody. What the fabric's hosts may send to them follows from intent, as between leaves; what
they may send is for the router to refuse, since policy stands where a packet comes in. A route is imported by the
targets of that one subnet and its VPC, whatever other ones it has: it has been held against these alone.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from controller.evpn.evpn import MacIpRoute, target
from controller.intent.vpc import Segment, Tenancy
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.fabric import Fabric


class RemoteHosts:
    """Takes routes of type 2 one after another; of two that claim one MAC or address of a subnet, the first counts."""

    def __init__(self, fabric: Fabric, tenancy: Tenancy) -> None:
        self._tenancy = tenancy
        self._vteps = {v.name: v.ip for v in fabric.vteps}
        self._by_target = {target(s.vni): s for s in tenancy.segments.values() if s.stretched}
        self._taken: dict[tuple[int, str], MacIpRoute] = {}     # (VNI, MAC or address) -> the route that has it

    def usable(self, peer: str, route: MacIpRoute) -> tuple[MacIpRoute | None, str]:
        """What VRFs may import of a route, with the targets of its subnet and its VPC alone; or None and why."""
        if unsupported := _unsupported(route):
            return None, unsupported
        if route.next_hop != self._vteps.get(peer):
            return None, "its next hop is no VTEP of its router's own"
        segments = [s for name, s in self._by_target.items() if name in route.targets]
        if not segments:
            return None, "no route target of it is that of a subnet with mode l2vni"
        segment = next((s for s in segments if s.vni == route.vni), None)
        if segment is None:
            return None, f"its VNI is {route.vni}; that of {segments[0].name} is {segments[0].vni}"
        vpc = next(t.vni for t in self._tenancy.tenants if t.name == segment.vpc)
        reason = _wrong_router(vpc, segment, route) or _wrong_address(segment, route) or self._claimed(route)
        if reason:
            return None, reason
        self._taken[route.vni, route.mac] = self._taken[route.vni, route.ip] = route
        allowed = {target(segment.vni), *((target(vpc),) if route.l3vni else ())}
        return replace(route, targets=route.targets & allowed), ""

    def _claimed(self, route: MacIpRoute) -> str:
        for name in (route.ip, route.mac):
            if (first := self._taken.get((route.vni, name))) is not None:
                return f"{name} is already that of {first.mac}, {first.ip}, behind {first.next_hop}"
        return ""


def _unsupported(route: MacIpRoute) -> str:
    if route.tag:
        return f"its Ethernet Tag is {route.tag}, of a VLAN-aware bundle: here each bridge is a VNI of its own"
    if route.esi:
        return f"its host is behind the Ethernet segment {route.esi}: multihoming is not supported"
    if int(route.mac[:2], 16) & 1:
        return f"its MAC, {route.mac}, is that of a group and no host's"
    return ""


def _wrong_router(vni: int, segment: Segment, route: MacIpRoute) -> str:
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
