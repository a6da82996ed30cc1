"""Rules of the VRFs of one leaf, from what they have imported: bridge, gateway, router.

    host ──> BRIDGE ──(a MAC of the segment)──> the host, here or at its leaf, in the segment's VNI
                └────(the gateway's MAC)─────> ROUTE: TTL - 1, then the host, here or at its leaf, in its VPC's VNI
    tunnel, VPC's VNI ──> DELIVER: TTL - 1, MACs of gateway and host                        (symmetric IRB, RFC 9135)

The gateway has one MAC and one address at every leaf. Policy stands at the leaf where a packet comes in: what a
segment may not send is dropped there, under a name with the segment that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from controller.evpn.evpn import IpVrf, MacIpRoute, PrefixRoute, RouteTable, ip_vrfs, mac_vrfs
from controller.intent.vpc import Member, Segment, Tenancy
from controller.rules.bridging import ARP_REQUEST, admitted, arp_answer, to_self, towards
from controller.rules.rules import (
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
from controller.rules.tables import REFUSAL, Priority, Table, drop, routed
from topologies.model import addressing as addr
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.fabric import Fabric, Node

ECHO_REQUEST, ECHO_REPLY = 8, 0
TTL = 64        # of the gateway's own packets


@dataclass(frozen=True)
class Inputs:
    """All that the rules of one VPC on one leaf come from; equal inputs give equal rules.

    bridges: the segments bridged here, each with what its MAC-VRF imported; router, routes: the IP-VRF and what
    it imported, by prefix; permitted: for each segment here the segments that it may send to, an External's with
    the prefixes that it may reach by way of it in place of those that are known to be there;
    here: (VPC, address) -> host on this leaf, of the VPC and its peers.
    """

    leaf: Node
    bridges: tuple[tuple[Segment, tuple[MacIpRoute, ...]], ...]
    router: IpVrf
    routes: tuple[tuple[str, MacIpRoute | PrefixRoute], ...]
    permitted: tuple[tuple[Segment, ...], ...]
    here: tuple[tuple[tuple[str, str], Member], ...]


class Tenants:
    """All VPCs of a fabric, as the leaves need them."""

    def __init__(self, fabric: Fabric, tenancy: Tenancy, table: RouteTable) -> None:
        self._fabric, self._tenancy, self._table = fabric, tenancy, table
        self._vpc_of = {t.vni: t.name for t in tenancy.tenants}
        self._permitted: dict[str, list[Segment]] = {}
        beyond: dict[tuple[str, str], list[str]] = {}
        for a, b, prefix in sorted(tenancy.beyond):
            beyond.setdefault((a, b), []).append(prefix)
        for a, b in sorted(tenancy.permits):
            segment = tenancy.segments[b]
            self._permitted.setdefault(a, []).append(
                replace(segment, outside=tuple(beyond.get((a, b), ()))) if segment.is_external else segment)
        self._here: dict[tuple[str, str], dict[tuple[str, str], Member]] = {}    # (leaf, VPC) -> its hosts there
        for segment, member in tenancy.members.values():
            self._here.setdefault((member.leaf, segment.vpc), {})[segment.vpc, member.ip] = member

    def inputs(self, leaf: Node) -> dict[str, Inputs]:
        """VPC -> inputs, for every VPC that the leaf has hosts of."""
        bridges: dict[str, list[tuple[Segment, tuple[MacIpRoute, ...]]]] = {}
        for bridge in mac_vrfs(self._tenancy, leaf):
            bridges.setdefault(bridge.segment.vpc, []).append(
                (bridge.segment, tuple(bridge.imported(self._table).values())))
        return {router.tenant.name: self._of(leaf, router, bridges.get(router.tenant.name, []))
                for router in ip_vrfs(self._tenancy, leaf)}

    def _of(self, leaf: Node, router: IpVrf, bridges: list[tuple[Segment, tuple[MacIpRoute, ...]]]) -> Inputs:
        permitted = tuple(tuple(self._permitted.get(s.name, ())) for s in router.local)
        vpcs = dict.fromkeys([router.tenant.name, *(s.vpc for segments in permitted for s in segments)])
        here = [item for vpc in vpcs for item in self._here.get((leaf.name, vpc), {}).items()]
        return Inputs(leaf, tuple(bridges), router, tuple(router.imported(self._table).items()), permitted, tuple(here))

    def rules(self, inputs: Inputs) -> tuple[Flow, ...]:
        """The rules of one VPC on one leaf."""
        return tuple(_VpcRules(self._fabric, self._vpc_of, inputs).flows())


def common_rules() -> Iterator[Flow]:
    """What a leaf with any VPC needs once."""
    yield from _expired(Table.ROUTE)
    yield drop("no-route", Table.ROUTE)


class _VpcRules:
    """The rules of one VPC on one leaf."""

    def __init__(self, fabric: Fabric, vpc_of: Mapping[int, str], inputs: Inputs) -> None:
        self._fabric, self._vpc_of, self._inputs, self._leaf = fabric, vpc_of, inputs, inputs.leaf
        self._leaves = {node.ip: node for node in fabric.tunnel_ends}
        self._by_ip = dict(inputs.here)
        near = (*inputs.router.local, *(s for permitted in inputs.permitted for s in permitted))
        externals = {s.vpc for s in near if s.is_external}
        self._exits = {vpc: member for (vpc, _), member in inputs.here if vpc in externals}  # External -> its router

    def flows(self) -> Iterator[Flow]:
        router = self._inputs.router
        for segment in router.local:
            for member in segment.members:
                if member.leaf == self._leaf.name:
                    yield from admitted(member.host, member.port, member.mac, member.ip, segment.vni)
                    yield from _to_self(member)
        for segment, permitted in zip(router.local, self._inputs.permitted, strict=True):
            if segment.is_external:
                yield from _from_outside(segment, permitted)
        for segment, routes in self._inputs.bridges:
            yield from self._bridge(segment, routes)
        yield from self._router(router)

    # ---- MAC-VRF

    def _bridge(self, segment: Segment, routes: tuple[MacIpRoute, ...]) -> Iterator[Flow]:
        for route in routes:
            yield _arp(segment, route.ip, route.mac)
        if segment.restricted:
            yield Flow(f"restricted:{segment.name}", Table.BRIDGE, Priority.POLICY, Match(tunnel_id=segment.vni))
            return
        yield Flow(f"from-fabric:{segment.name}", Table.INGRESS, Priority.NORMAL,
                   Match(in_port=addr.VXLAN_PORT, tunnel_id=segment.vni), (), Table.DELIVER)
        for route in routes:
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
        found = dict(self._inputs.routes)
        yield from self._out_of_tunnel(vrf, found)
        for segment, permitted in zip(vrf.local, self._inputs.permitted, strict=True):
            yield from _gateway(segment)
            if not segment.stretched:
                inside = IPv4Network(segment.prefix)
                yield from (_arp(segment, ip, GATEWAY_MAC) for ip in map(_host, found) if IPv4Address(ip) in inside)
            yield from self._from_segment(vrf, segment, permitted)

    def _out_of_tunnel(self, vrf: IpVrf, found: dict[str, MacIpRoute | PrefixRoute]) -> Iterator[Flow]:
        """Routed packets of other leaves for the VPC's hosts on this one."""
        tenant = vrf.tenant
        match = Match(in_port=addr.VXLAN_PORT, tunnel_id=tenant.vni)
        yield Flow(f"from-fabric:{tenant.name}", Table.INGRESS, Priority.NORMAL, match, (), Table.DELIVER)
        yield from _expired(Table.DELIVER, tenant.vni)
        if tenant.name in self._exits:      # its VNI is a way out, whatever the destination
            yield Flow(f"deliver:{tenant.name}", Table.DELIVER, Priority.NORMAL,
                       Match(tunnel_id=tenant.vni, eth_type=ETH_IPV4), _hand_over(self._exits[tenant.name]))
            return
        for prefix, route in found.items():
            member = self._local(route, prefix)
            if member is not None and _vni(route) == tenant.vni:
                yield Flow(f"deliver:{tenant.name}:{member.ip}", Table.DELIVER, Priority.NORMAL,
                           Match(tunnel_id=tenant.vni, eth_type=ETH_IPV4, ipv4_dst=member.ip), _hand_over(member))

    def _from_segment(self, vrf: IpVrf, segment: Segment, permitted: tuple[Segment, ...]) -> Iterator[Flow]:
        """What hosts of a segment on this leaf send to their gateway."""
        inside = [IPv4Network(s.prefix) for s in permitted]
        outside = {s.vpc: [IPv4Network(p) for p in (s.prefix, *s.outside)] for s in permitted if s.is_external}
        for prefix, route in self._inputs.routes:
            external = outside.get(self._vpc_of.get(_vni(route), ""))
            if external is None:
                wanted = prefix.endswith("/32") and any(IPv4Address(_host(prefix)) in n for n in inside)
            else:
                wanted = any(IPv4Network(prefix).subnet_of(network) for network in external)
            if wanted:
                yield from self._to_prefix(segment, prefix, route)
        for other in permitted:
            yield _routed(f"unknown-host:{segment.name}", segment, other.prefix)
        reached = {s.name for s in permitted}
        for other in vrf.tenant.segments:
            if other.name not in reached:
                kind = "restricted" if other.name == segment.name else "isolated"
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
        vpc = self._vpc_of.get(_vni(route), "")
        return self._by_ip.get((vpc, _host(prefix))) or self._exits.get(vpc)


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
    return Flow(name, Table.ROUTE, routed(length) + (REFUSAL if refused else 0),
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


def _from_outside(segment: Segment, permitted: tuple[Segment, ...]) -> Iterator[Flow]:
    """A router sends what others behind it have sent, but nothing that pretends to come from a subnet it reaches.

    It may ask for its gateway under any address as well: Linux asks under that of the packet which it has to send.
    """
    inside = (SetField("tunnel_id", segment.vni),)
    for member in segment.members:
        port, mac = member.port, member.mac
        yield Flow(f"from:{member.host}", Table.INGRESS, Priority.NORMAL - 1,
                   Match(in_port=port, eth_src=mac, eth_type=ETH_IPV4), inside, Table.QOS)
        yield Flow(f"arp-from:{member.host}", Table.INGRESS, Priority.NORMAL - 1,
                   Match(in_port=port, eth_src=mac, eth_type=ETH_ARP, arp_sha=mac), inside, Table.ARP)
        for other in permitted:
            yield Flow(f"spoof:{member.host}", Table.INGRESS, Priority.NORMAL,
                       Match(in_port=port, eth_type=ETH_IPV4, ipv4_src=other.prefix))


def _to_self(member: Member) -> Iterator[Flow]:
    """By its MAC, and by its address through the gateway."""
    for n, match in enumerate((Match(in_port=member.port, eth_dst=member.mac),
                               Match(in_port=member.port, eth_type=ETH_IPV4, ipv4_dst=member.ip))):
        yield to_self(member.host, match, n)


def _expired(table: Table, vni: int | None = None) -> Iterator[Flow]:
    """A router does not forward what arrives with a TTL of one or less."""
    for ttl in (0, 1):
        yield Flow("ttl-expired", table, Priority.EXPIRED, Match(tunnel_id=vni, eth_type=ETH_IPV4, nw_ttl=ttl))
