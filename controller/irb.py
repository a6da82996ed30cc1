"""Rules of the VRFs of one leaf, from what they have imported: bridge, gateway, router.

    host ──> BRIDGE ──(a MAC of the segment)──> the host, here or at its leaf, in the segment's VNI
                └────(the gateway's MAC)─────> ROUTE: TTL - 1, then the host, here or at its leaf, in its VPC's VNI
    tunnel, VPC's VNI ──> DELIVER: TTL - 1, MACs of gateway and host                        (symmetric IRB, RFC 9135)

The gateway has one MAC and one address at every leaf. Policy stands at the leaf where a packet comes in: what a
segment may not send is dropped there, under a name with the segment that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from controller.bridging import ARP_REQUEST, admitted, arp_answer, towards
from controller.evpn import IpVrf, MacIpRoute, MacVrf, PrefixRoute, Route, ip_vrfs, mac_vrfs
from controller.rules import (
    ETH_ARP,
    ETH_IPV4,
    ICMP,
    IN_PORT,
    Action,
    CopyField,
    DecTtl,
    Flow,
    Match,
    Output,
    SetField,
)
from controller.tables import Priority, Table, drop
from controller.vpc import GATEWAY_MAC, Member, Segment, Tenancy
from topologies import addressing as addr
from topologies.fabric import Fabric, Node

ECHO_REQUEST, ECHO_REPLY = 8, 0
TTL = 64        # of the gateway's own packets


class LeafRules:
    """The rules of one leaf's VRFs under a tenancy, given all routes that there are."""

    def __init__(self, fabric: Fabric, tenancy: Tenancy, leaf: Node, routes: Sequence[Route]) -> None:
        self._fabric, self._tenancy, self._leaf, self._routes = fabric, tenancy, leaf, routes
        self._leaves = {node.ip: node for node in fabric.leaves}
        here = [(s, m) for s, m in tenancy.members.values() if m.leaf == leaf.name]
        self._here = here
        self._by_ip = {(s.vpc, m.ip): m for s, m in here}
        self._vpc_of = {t.vni: t.name for t in tenancy.tenants}
        self._peers = _by_source(tenancy)

    def flows(self) -> Iterator[Flow]:
        """All of them; nothing for a leaf without hosts in VPCs."""
        routers = ip_vrfs(self._tenancy, self._leaf)
        for segment, member in self._here:
            yield from admitted(member.host, member.port, member.mac, member.ip, segment.vni)
            yield from _to_self(member)
        for bridge in mac_vrfs(self._tenancy, self._leaf):
            yield from self._bridge(bridge)
        for router in routers:
            yield from self._router(router)
        if routers:
            yield from _expired(Table.ROUTE)
            yield drop("no-route", Table.ROUTE)

    # ---- MAC-VRF

    def _bridge(self, vrf: MacVrf) -> Iterator[Flow]:
        segment = vrf.segment
        found = vrf.imported(self._routes)
        for route in found.values():
            yield _arp(segment, route.ip, route.mac)
        if segment.restricted:
            yield Flow(f"restricted:{segment.name}", Table.BRIDGE, Priority.POLICY, Match(tunnel_id=segment.vni))
            return
        yield Flow(f"from-fabric:{segment.name}", Table.INGRESS, Priority.NORMAL,
                   Match(in_port=addr.VXLAN_PORT, tunnel_id=segment.vni), (), Table.DELIVER)
        for route in found.values():
            yield from self._to_mac(segment, route)

    def _to_mac(self, segment: Segment, route: MacIpRoute) -> Iterator[Flow]:
        name, match = f"bridge:{segment.name}:{route.ip}", Match(tunnel_id=segment.vni, eth_dst=route.mac)
        if route.next_hop != self._leaf.ip:
            actions, goto = towards(self._fabric, self._leaves[route.next_hop])
            yield Flow(name, Table.BRIDGE, Priority.NORMAL, match, actions, goto)
        elif (segment.vpc, route.ip) in self._by_ip:
            port = self._by_ip[segment.vpc, route.ip].port
            yield Flow(name, Table.DELIVER, Priority.NORMAL, match, (Output(port),))

    # ---- gateway and IP-VRF

    def _router(self, vrf: IpVrf) -> Iterator[Flow]:
        found = vrf.imported(self._routes)
        yield from self._out_of_tunnel(vrf, found)
        for segment in vrf.local:
            yield from _gateway(segment)
            if not segment.stretched:
                inside = IPv4Network(segment.prefix)
                yield from (_arp(segment, ip, GATEWAY_MAC) for ip in map(_host, found) if IPv4Address(ip) in inside)
            yield from self._from_segment(vrf, segment, found)

    def _out_of_tunnel(self, vrf: IpVrf, found: dict[str, MacIpRoute | PrefixRoute]) -> Iterator[Flow]:
        """Routed packets of other leaves for the VPC's hosts on this one."""
        tenant = vrf.tenant
        match = Match(in_port=addr.VXLAN_PORT, tunnel_id=tenant.vni)
        yield Flow(f"from-fabric:{tenant.name}", Table.INGRESS, Priority.NORMAL, match, (), Table.DELIVER)
        yield from _expired(Table.DELIVER, tenant.vni)
        for prefix, route in found.items():
            member = self._local(route, prefix)
            if member is not None and _vni(route) == tenant.vni:
                yield Flow(f"deliver:{tenant.name}:{member.ip}", Table.DELIVER, Priority.NORMAL,
                           Match(tunnel_id=tenant.vni, eth_type=ETH_IPV4, ipv4_dst=member.ip), _hand_over(member))

    def _from_segment(self, vrf: IpVrf, segment: Segment, found: dict[str, MacIpRoute | PrefixRoute]) -> Iterator[Flow]:
        """What hosts of a segment on this leaf send to their gateway."""
        permitted = self._peers.get(segment.name, ())
        networks = [IPv4Network(s.prefix) for s in permitted]
        for prefix, route in found.items():
            if any(IPv4Address(_host(prefix)) in network for network in networks):
                yield from self._to_prefix(segment, prefix, route)
        for other in permitted:
            yield _routed(f"unknown-host:{segment.name}", segment, other.prefix)
        for other in vrf.tenant.segments:
            if other not in permitted:
                kind = "restricted" if other is segment else "isolated"
                yield _routed(f"{kind}:{segment.name}", segment, other.prefix, refused=True)
        yield Flow(f"no-route:{segment.name}", Table.ROUTE, Priority.POLICY, Match(tunnel_id=segment.vni))

    def _to_prefix(self, segment: Segment, prefix: str, route: MacIpRoute | PrefixRoute) -> Iterator[Flow]:
        name, member = f"route:{segment.name}:{prefix}", self._local(route, prefix)
        if member is not None:
            yield _routed(name, segment, prefix, _hand_over(member))
        elif route.next_hop != self._leaf.ip:
            actions, goto = towards(self._fabric, self._leaves[route.next_hop])
            rewrite = (DecTtl(), SetField("eth_src", self._leaf.mac), SetField("eth_dst", route.router_mac),
                       SetField("tunnel_id", _vni(route)))
            yield _routed(name, segment, prefix, (*rewrite, *actions), goto)

    def _local(self, route: MacIpRoute | PrefixRoute, prefix: str) -> Member | None:
        """The host on this leaf that a route leads to."""
        if route.next_hop != self._leaf.ip:
            return None
        return self._by_ip.get((self._vpc_of.get(_vni(route), ""), _host(prefix)))


def _by_source(tenancy: Tenancy) -> dict[str, list[Segment]]:
    """Segment -> the segments that it may send to."""
    found: dict[str, list[Segment]] = {}
    for a, b in sorted(tenancy.permits):
        found.setdefault(a, []).append(tenancy.segments[b])
    return found


def _host(prefix: str) -> str:
    return prefix.split("/", maxsplit=1)[0]


def _vni(route: MacIpRoute | PrefixRoute) -> int:
    """The VNI that routed packets carry."""
    return route.l3vni if isinstance(route, MacIpRoute) else route.vni


def _hand_over(member: Member) -> tuple[Action, ...]:
    """The last hop of a routed packet: from the gateway to the host."""
    return (DecTtl(), SetField("eth_src", GATEWAY_MAC), SetField("eth_dst", member.mac), Output(member.port))


def _routed(name: str, segment: Segment, prefix: str, actions: tuple[Action, ...] = (), goto: int | None = None,
            refused: bool = False) -> Flow:
    """A rule of ROUTE; the longest prefix wins, and of two with the same prefix the one that refuses."""
    length = int(prefix.split("/")[1])
    destination = _host(prefix) if length == 32 else prefix
    return Flow(name, Table.ROUTE, Priority.NORMAL + 2 * length + refused,
                Match(tunnel_id=segment.vni, eth_type=ETH_IPV4, ipv4_dst=destination), actions, goto)


def _arp(segment: Segment, ip: str, mac: str) -> Flow:
    return Flow(f"arp:{segment.name}:{ip}", Table.ARP, Priority.NORMAL,
                Match(tunnel_id=segment.vni, eth_type=ETH_ARP, arp_op=ARP_REQUEST, arp_tpa=ip), arp_answer(mac, ip))


def _gateway(segment: Segment) -> Iterator[Flow]:
    """The gateway answers ARP and echo requests, and takes what is to be routed."""
    yield _arp(segment, segment.gateway, GATEWAY_MAC)
    yield Flow(f"gateway:{segment.name}", Table.BRIDGE, Priority.NORMAL,
               Match(tunnel_id=segment.vni, eth_dst=GATEWAY_MAC), (), Table.ROUTE)
    yield Flow(f"echo:{segment.name}", Table.ROUTE, Priority.GATEWAY,
               Match(tunnel_id=segment.vni, eth_type=ETH_IPV4, ip_proto=ICMP, ipv4_dst=segment.gateway,
                     icmpv4_type=ECHO_REQUEST, icmpv4_code=0),
               (CopyField("eth_src", "eth_dst"), SetField("eth_src", GATEWAY_MAC), CopyField("ipv4_src", "ipv4_dst"),
                SetField("ipv4_src", segment.gateway), SetField("icmpv4_type", ECHO_REPLY), SetField("nw_ttl", TTL),
                Output(IN_PORT)))


def _to_self(member: Member) -> Iterator[Flow]:
    """What a host sends to itself would be sent back to its port, which a switch refuses without counting it."""
    for n, match in enumerate((Match(in_port=member.port, eth_dst=member.mac),
                               Match(in_port=member.port, eth_type=ETH_IPV4, ipv4_dst=member.ip))):
        yield Flow(f"to-self:{member.host}", Table.INGRESS, Priority.OVERRIDE + n, match)


def _expired(table: Table, vni: int | None = None) -> Iterator[Flow]:
    """A router does not forward what arrives with a TTL of one or less."""
    for ttl in (0, 1):
        yield Flow("ttl-expired", table, Priority.EXPIRED, Match(tunnel_id=vni, eth_type=ETH_IPV4, nw_ttl=ttl))
