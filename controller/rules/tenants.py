"""What the rules of a VPC on a leaf come from: the leaf's own hosts and what they may do, and rules shared by leaves.

    VRFs' routes ──> HostRules, one for each VPC and segment that it knows        (shared)
    intent ────────> Site: hosts here, permits, refusals, ways out                (this leaf's)

Equal inputs give equal rules. What a change has not touched is the very object that it was before: so nobody has to
compare the routes of a thousand hosts leaf by leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from controller.evpn.evpn import IpVrf, MacIpRoute, MacVrf, RouteTable, ip_vrfs, mac_vrfs
from controller.intent.vpc import Member, Segment, Tenancy, Tenant
from controller.rules.host_rules import HostRoute, HostRules, Kept, Remote, address_of, answered, vni_of
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.fabric import Node

K = TypeVar("K")
V = TypeVar("V")
Outside = tuple[str, str, HostRoute]    # a prefix, the External that it is behind, the route


@dataclass(frozen=True)
class Local:
    """A segment that a leaf has hosts of. Segments are without their members here.

    members: its hosts on the leaf; bridged: routes of its MAC-VRF that lead to them; permitted: segments that it may
    send to; refused: those of its own VPC that it may not; outside: (prefix, External, route) of what else it may
    reach, none of it inside of a permitted segment.
    """

    segment: Segment
    members: tuple[Member, ...]
    bridged: tuple[MacIpRoute, ...]
    permitted: tuple[Segment, ...]
    refused: tuple[Segment, ...]
    outside: tuple[Outside, ...]


@dataclass(frozen=True)
class Site:
    """A VPC on one leaf.

    routed: (segment, route) of the hosts on this leaf that the IP-VRF knows; here: (VPC, address) -> host on this leaf,
    of the VPC and of those that it may send to.
    """

    leaf: Node
    tenant: Tenant      # without its segments
    segments: tuple[Local, ...]
    routed: tuple[tuple[Segment, HostRoute], ...]
    here: tuple[tuple[tuple[str, str], Member], ...]


@dataclass(frozen=True)
class Inputs:
    """All that the rules of one VPC on one leaf come from."""

    site: Site
    shared: tuple[HostRules[MacIpRoute] | HostRules[HostRoute], ...]


@dataclass(frozen=True)
class Vrf:
    """What the IP-VRFs of a VPC have imported, those of most of its leaves alike.

    hosts: segment -> rules towards its hosts; answers: segment of its own that is not bridged -> answers to ARP;
    outside: (prefix, External, route) of what is behind Externals.
    """

    hosts: Mapping[str, HostRules[HostRoute]]
    answers: Mapping[str, HostRules[HostRoute]]
    outside: tuple[Outside, ...]


Name = tuple[str, frozenset[str]]   # a VRF: whose it is, and the route targets that it imports
Bridge = tuple[HostRules[MacIpRoute], HostRules[MacIpRoute]]    # answers to ARP, and rules by MAC


class Tenants:
    """All VPCs of a fabric, as the leaves need them. previous: of the same fabric, before a change."""

    def __init__(self, tenancy: Tenancy, table: RouteTable, remote: Remote, previous: Tenants | None = None) -> None:
        self._tenancy, self._table, self._remote = tenancy, table, remote
        self._bridged: Kept[MacIpRoute] = Kept(previous._bridged if previous else None)
        self._routed: Kept[HostRoute] = Kept(previous._routed if previous else None)
        self._bare = {name: replace(s, members=()) for name, s in tenancy.segments.items()}
        self._vpc_of = {t.vni: t.name for t in tenancy.tenants}
        self._externals = frozenset(s.vpc for s in self._bare.values() if s.is_external)
        self._permitted = _grouped((a, self._bare[b]) for a, b in sorted(tenancy.permits))
        self._let_in = _grouped(((a, self._bare[b].vpc), _network(p)) for a, b, p in sorted(tenancy.beyond))
        self._here = _grouped(((m.leaf, s.vpc), ((s.vpc, m.ip), m)) for s, m in tenancy.members.values())
        self._members = _grouped(((m.leaf, s.name), m) for s, m in tenancy.members.values())
        self._bridges: dict[Name, Bridge] = {}
        self._vrfs: dict[Name, Vrf] = {}
        self._ways_out: dict[Name, tuple[Outside, ...]] = {}

    def inputs(self, leaf: Node) -> dict[str, Inputs]:
        """VPC -> inputs, for every VPC that the leaf has hosts of."""
        bridges = {bridge.segment.name: self._bridge(bridge) for bridge in mac_vrfs(self._tenancy, leaf)}
        return {router.tenant.name: self._of(leaf, router, bridges) for router in ip_vrfs(self._tenancy, leaf)}

    def _of(self, leaf: Node, router: IpVrf, bridges: Mapping[str, Bridge]) -> Inputs:
        vrf = self._vrf(router)
        segments = tuple(self._local(leaf, router, self._bare[s.name], bridges.get(s.name)) for s in router.local)
        permitted = {s.name: s for local in segments for s in local.permitted}
        vpcs = dict.fromkeys([router.tenant.name, *(s.vpc for s in permitted.values())])
        site = Site(leaf, replace(router.tenant, segments=()), segments,
                    tuple((self._bare[name], r) for name, rules in vrf.hosts.items() for r in rules.leading_to(leaf)),
                    tuple(item for vpc in vpcs for item in self._here.get((leaf.name, vpc), ())))
        bridged = (rules for s in router.local for rules in bridges.get(s.name, ()))
        answers = (vrf.answers[s.name] for s in router.local if s.name in vrf.answers)
        return Inputs(site, (*bridged, *answers, *(vrf.hosts[name] for name in permitted)))

    def _local(self, leaf: Node, router: IpVrf, segment: Segment, bridge: Bridge | None) -> Local:
        permitted = self._permitted.get(segment.name, ())
        reached = {s.name for s in permitted}
        return Local(segment, self._members.get((leaf.name, segment.name), ()),
                     bridge[1].leading_to(leaf) if bridge else (), permitted,
                     tuple(self._bare[s.name] for s in router.tenant.segments if s.name not in reached),
                     self._ways(router, segment.name))

    # ---- shared by leaves

    def _bridge(self, vrf: MacVrf) -> Bridge:
        if (vrf.segment.name, vrf.imports) not in self._bridges:
            segment, routes = self._bare[vrf.segment.name], vrf.imported(self._table)
            key = segment.vpc, segment.vni, segment.name
            by_mac = {} if segment.restricted else routes
            self._bridges[segment.name, vrf.imports] = (
                self._bridged.rules(("arp", *key), routes, lambda r: answered(segment, r.ip, r.mac), everywhere=True),
                self._bridged.rules(("bridge", *key), by_mac, lambda r: self._remote.bridged(segment, r)))
        return self._bridges[vrf.segment.name, vrf.imports]

    def _vrf(self, router: IpVrf) -> Vrf:
        name = router.tenant.name, router.imports
        if name not in self._vrfs:
            self._vrfs[name] = self._imported(router)
        return self._vrfs[name]

    def _imported(self, router: IpVrf) -> Vrf:
        tenant = router.tenant
        known = [*(s.name for s in tenant.segments), *sorted(self._tenancy.peers.get(tenant.name, ()))]
        owner_of = _owners(self._bare[name] for name in known)
        inside: dict[str, dict[str, HostRoute]] = {name: {} for name in known}
        outside: list[Outside] = []
        for prefix, route in router.imported(self._table).items():
            vpc = self._vpc_of.get(vni_of(route), "")
            owner = owner_of(address_of(route)) if prefix.endswith("/32") else None
            if owner and owner.vpc == vpc:
                inside[owner.name][prefix] = route
            elif vpc in self._externals:
                outside.append((prefix, vpc, route))
        return Vrf({name: self._routed.rules(("route", tenant.name, tenant.vni, name), routes,
                                             lambda r: self._remote.routed(tenant, r))
                    for name, routes in inside.items()},
                   {s.name: self._answers(s, inside[s.name]) for s in tenant.segments if not s.stretched},
                   tuple(outside))

    def _answers(self, segment: Segment, routes: Mapping[str, HostRoute]) -> HostRules[HostRoute]:
        """Of a segment that is not bridged: all its addresses are behind the gateway."""
        return self._routed.rules(("gateway", segment.vpc, segment.vni, segment.name), routes,
                                  lambda r: answered(segment, address_of(r), GATEWAY_MAC), everywhere=True)

    def _ways(self, router: IpVrf, segment: str) -> tuple[Outside, ...]:
        """What a segment may reach by way of Externals: routes that lie within a prefix that is let in for it.

        What is inside of a segment that it knows is not outside, whatever an External says."""
        name = segment, router.imports
        if name not in self._ways_out:
            inside = [_network(s.prefix) for s in self._permitted.get(segment, ())]
            self._ways_out[name] = tuple(
                (prefix, external, route) for prefix, external, route in self._vrf(router).outside
                if _within(prefix, self._let_in.get((segment, external), ())) and not _within(prefix, inside))
        return self._ways_out[name]


def _grouped(items: Iterable[tuple[K, V]]) -> dict[K, tuple[V, ...]]:
    found: dict[K, list[V]] = {}
    for key, value in items:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}


@lru_cache(1 << 12)
def _network(prefix: str) -> IPv4Network:
    return IPv4Network(prefix)


def _within(prefix: str, networks: Iterable[IPv4Network]) -> bool:
    return any(_network(prefix).subnet_of(network) for network in networks)


def _owners(segments: Iterable[Segment]) -> Callable[[str], Segment | None]:
    """Address -> the one of these segments that has it in its prefix; they do not overlap."""
    by_prefix = {(int(_network(s.prefix).network_address), s.prefix_length): s for s in segments}
    lengths = sorted({length for _, length in by_prefix})

    def owner_of(address: str) -> Segment | None:
        number = int(IPv4Address(address))
        return next((s for n in lengths if (s := by_prefix.get((number >> 32 - n << 32 - n, n)))), None)

    return owner_of
