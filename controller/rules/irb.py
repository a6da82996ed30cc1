"""Rules of the VRFs of one leaf, from what they have imported: bridge, gateway, router.

    host ──> BRIDGE ──(a MAC of the segment)──> the host, here or at its leaf, in the segment's VNI
                └────(the gateway's MAC)─────> POLICY ──> ROUTE: TTL - 1, then the host, here or at its leaf, in its
                                                                 VPC's VNI
    tunnel, VPC's VNI ──> DELIVER: TTL - 1, MACs of gateway and host                        (symmetric IRB, RFC 9135)

The gateway has one MAC and one address at every leaf. Policy stands at the leaf where a packet comes in: what a
segment may not send is dropped there, under a name with the segment that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.intent.vpc import Member, Segment
from controller.rules.bridging import admitted, to_self
from controller.rules.host_rules import HostRoute, Remote, address_of, answered, routed
from controller.rules.policy import Way, nobody, policy
from controller.rules.rules import ETH_ARP, ETH_IPV4, Action, DecTtl, Flow, Match, Output, Part, SetField
from controller.rules.tables import Priority, Table, drop
from controller.rules.tenants import Inputs, Local, Site
from topologies.model import addressing as addr
from topologies.model.addressing import GATEWAY_MAC


@dataclass(frozen=True)
class Block:
    """The rules of one VPC on one leaf. own: those that no other leaf has."""

    inputs: Inputs
    own: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """Routes before the permits that lead to them."""
        return (*(rules.on(self.inputs.site.leaf) for rules in self.inputs.shared), self.own)


def block(inputs: Inputs, remote: Remote, old: Block | None) -> Block:
    """old: the block of that VPC and leaf before, of which all is taken over that comes from the same."""
    if old and old.inputs == inputs:
        return old
    site = inputs.site
    return Block(inputs, old.own if old and old.inputs.site == site else tuple(_SiteRules(site, remote).flows()))


def _expired(table: Table, vni: int | None = None) -> Iterator[Flow]:
    """A router does not forward what arrives with a TTL of one or less."""
    for ttl in (0, 1):
        yield Flow("ttl-expired", table, Priority.EXPIRED, Match(tunnel_id=vni, eth_type=ETH_IPV4, nw_ttl=ttl))


COMMON: Part = (*_expired(Table.POLICY), drop("no-route", Table.POLICY), drop("unknown-host", Table.ROUTE))


class _SiteRules:
    """The rules of one VPC that are one leaf's own."""

    def __init__(self, site: Site, remote: Remote) -> None:
        self._site, self._remote, self._leaf, self._vpc = site, remote, site.leaf, site.tenant.name
        self._by_ip = dict(site.here)
        self._permitted = {s.name for local in site.segments for s in local.permitted}
        near = (s for local in site.segments for s in (local.segment, *local.permitted))
        externals = {s.vpc for s in near if s.is_external}
        self._exits = {vpc: member for (vpc, _), member in site.here if vpc in externals}   # External -> its router

    def flows(self) -> Iterator[Flow]:
        for local in self._site.segments:
            for member in local.members:
                yield from admitted(member.host, member.port, member.mac, member.ip, local.segment.vni)
                yield from _to_self(member)
            if local.segment.is_external:
                yield from _from_outside(local)
            if local.segment.stretched:
                yield from self._bridge(local)
        yield from self._out_of_tunnel()
        yield from self._to_hosts_here()
        for local in self._site.segments:
            yield nobody(self._site, local)
            yield from policy(self._site, local, tuple(self._ways(local)))
            yield from self._gateway(local.segment)

    # ---- MAC-VRF

    def _bridge(self, local: Local) -> Iterator[Flow]:
        segment = local.segment
        if segment.restricted:
            yield Flow(f"restricted:{segment.name}", Table.BRIDGE, Priority.POLICY, Match(tunnel_id=segment.vni))
            return
        yield Flow(f"from-fabric:{segment.name}", Table.INGRESS, Priority.NORMAL,
                   Match(in_port=addr.VXLAN_PORT, tunnel_id=segment.vni), (), Table.DELIVER)
        for route in local.bridged:
            if member := self._by_ip.get((segment.vpc, route.ip)):
                yield Flow(f"bridge:{segment.name}:{route.ip}", Table.DELIVER, Priority.NORMAL,
                           Match(tunnel_id=segment.vni, eth_dst=route.mac), (Output(member.port),))

    # ---- gateway and IP-VRF

    def _gateway(self, segment: Segment) -> Iterator[Flow]:
        """It answers ARP, and takes what is to be routed."""
        yield answered(segment, segment.gateway, GATEWAY_MAC)
        yield Flow(f"gateway:{segment.name}", Table.BRIDGE, Priority.NORMAL,
                   Match(tunnel_id=segment.vni, eth_dst=GATEWAY_MAC), (), Table.POLICY)

    def _out_of_tunnel(self) -> Iterator[Flow]:
        """Routed packets of other leaves for the VPC's hosts on this one."""
        name, vni = self._site.tenant.name, self._site.tenant.vni
        yield Flow(f"from-fabric:{name}", Table.INGRESS, Priority.NORMAL,
                   Match(in_port=addr.VXLAN_PORT, tunnel_id=vni), (), Table.DELIVER)
        yield from _expired(Table.DELIVER, vni)
        if name in self._exits:     # its VNI is a way out, whatever the destination
            yield Flow(f"deliver:{name}", Table.DELIVER, Priority.NORMAL, Match(tunnel_id=vni, eth_type=ETH_IPV4),
                       _hand_over(self._exits[name]))
            return
        for segment, route in self._site.routed:
            member = self._at(segment, route)
            if member is not None and segment.vpc == name:
                yield Flow(f"deliver:{name}:{member.ip}", Table.DELIVER, Priority.NORMAL,
                           Match(tunnel_id=vni, eth_type=ETH_IPV4, ipv4_dst=member.ip), _hand_over(member))

    def _to_hosts_here(self) -> Iterator[Flow]:
        """From the VPC's hosts on this leaf."""
        for segment, route in self._site.routed:
            member = self._at(segment, route)
            if member is not None and segment.name in self._permitted:
                yield routed(self._site.tenant, route, _hand_over(member))

    def _at(self, segment: Segment, route: HostRoute) -> Member | None:
        """The host on this leaf that a route leads to."""
        return self._by_ip.get((segment.vpc, address_of(route)))

    def _ways(self, local: Local) -> Iterator[Way]:
        """Out of the fabric: to the router of an External on this leaf, or to its border leaf."""
        for prefix, external, route in local.outside:
            if route.next_hop != self._leaf.ip:
                (ttl, *rewrite), goto = self._remote.handed_on(route)
                yield prefix, (ttl, SetField("eth_src", self._leaf.mac), *rewrite), goto
            elif external in self._exits:
                yield prefix, _hand_over(self._exits[external]), None


def _hand_over(member: Member) -> tuple[Action, ...]:
    """The last hop of a routed packet: from the gateway to the host."""
    return (DecTtl(), SetField("eth_src", GATEWAY_MAC), SetField("eth_dst", member.mac), Output(member.port))


def _from_outside(local: Local) -> Iterator[Flow]:
    """A router sends what others behind it have sent, but nothing that pretends to come from a subnet it reaches.

    It may ask for its gateway under any address as well: Linux asks under that of the packet which it has to send.
    """
    inside = (SetField("tunnel_id", local.segment.vni),)
    for member in local.members:
        port, mac = member.port, member.mac
        yield Flow(f"from:{member.host}", Table.INGRESS, Priority.NORMAL - 1,
                   Match(in_port=port, eth_src=mac, eth_type=ETH_IPV4), inside, Table.QOS)
        yield Flow(f"arp-from:{member.host}", Table.INGRESS, Priority.NORMAL - 1,
                   Match(in_port=port, eth_src=mac, eth_type=ETH_ARP, arp_sha=mac), inside, Table.ARP)
        for other in local.permitted:
            yield Flow(f"spoof:{member.host}", Table.INGRESS, Priority.NORMAL,
                       Match(in_port=port, eth_type=ETH_IPV4, ipv4_src=other.prefix))


def _to_self(member: Member) -> Iterator[Flow]:
    """By its MAC, and by its address through the gateway."""
    for n, match in enumerate((Match(in_port=member.port, eth_dst=member.mac),
                               Match(in_port=member.port, eth_type=ETH_IPV4, ipv4_dst=member.ip))):
        yield to_self(member.host, match, n)
