"""The EVPN control plane as plain values: routes, and the VRFs that export and import them. Pure.

    leaf with hosts of train/gpus          MAC-VRF train/gpus   RD 10.255.0.1:1002   exports and imports 65000:1002
                                           IP-VRF  train        RD 10.255.0.1:1001   exports 65000:1001, imports it
                                                                                     and the segments of its peers

A host of a stretched segment is a route of type 2 (RFC 7432) with the labels of both VRFs, as symmetric IRB
(RFC 9135) has it; a host of a routed segment is a route of type 5 (RFC 9136) to its /32. A leaf with a MAC-VRF says
so by a route of type 3. A leaf forwards by what its VRFs imported and by nothing else, its own routes included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from controller.intent.vpc import Member, Segment, Tenancy, Tenant
from topologies.model.fabric import Fabric, Node

AS_NUMBER = 65000       # all leaves are of one autonomous system, as far as route targets show it


@dataclass(frozen=True, kw_only=True)
class _Route:
    """rd, targets (route targets), and the VTEP that the route leads to, with its router's MAC; tag: Ethernet Tag,
    0 in all routes of the fabric's own, whose bridges have a VNI each (VLAN-based service; RFC 7432, 6.1)."""

    rd: str
    targets: frozenset[str]
    next_hop: str
    router_mac: str = ""
    tag: int = 0


@dataclass(frozen=True, kw_only=True)
class MacIpRoute(_Route):
    """Type 2: a MAC and its address. vni: of the bridge; l3vni: of the VPC; sequence: counts the host's moves;
    sticky: the MAC cannot move (RFC 7432, 7.7); esi: its Ethernet segment, '' for none."""

    mac: str
    ip: str
    vni: int
    l3vni: int
    sequence: int = 0
    sticky: bool = False
    esi: str = ""


@dataclass(frozen=True, kw_only=True)
class MulticastRoute(_Route):
    """Type 3: a leaf takes part in the bridge `vni`."""

    vni: int


@dataclass(frozen=True, kw_only=True)
class PrefixRoute(_Route):
    """Type 5: a prefix behind a leaf. vni: of the VPC; gateway, esi: the overlay index by which the next hop is
    to be looked up, an address or a segment (RFC 9136, 3.2), '' for none."""

    prefix: str
    vni: int
    gateway: str = ""
    esi: str = ""


Route = MacIpRoute | MulticastRoute | PrefixRoute


class RouteTable:
    """All routes, as VRFs look for them: by route target."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_target: dict[str, list[Route]] = {}
        self._routed: dict[frozenset[str], dict[str, MacIpRoute | PrefixRoute]] = {}
        for route in routes:
            for name in route.targets:
                self._by_target.setdefault(name, []).append(route)

    def matching(self, targets: frozenset[str]) -> Iterator[Route]:
        """Routes with any of these targets; one with two of them comes twice."""
        for name in sorted(targets):
            yield from self._by_target.get(name, ())

    def routed(self, targets: frozenset[str]) -> dict[str, MacIpRoute | PrefixRoute]:
        """What an IP-VRF that imports these targets holds: the VRFs of a VPC import the same on every leaf."""
        if targets not in self._routed:
            self._routed[targets] = _best_routed(self.matching(targets))
        return self._routed[targets]


@dataclass(frozen=True)
class MacVrf:
    """A bridge on one leaf."""

    leaf: str
    segment: Segment
    rd: str
    exports: frozenset[str]
    imports: frozenset[str]

    def imported(self, table: RouteTable) -> dict[str, MacIpRoute]:
        """MAC -> its route; of several a sticky one, then the highest sequence, then the lowest next hop (RFC 7432,
        15)."""
        best: dict[str, MacIpRoute] = {}
        for route in table.matching(self.imports):
            if isinstance(route, MacIpRoute):
                best[route.mac] = _better(best.get(route.mac), route)
        return best


@dataclass(frozen=True)
class IpVrf:
    """A VPC's router on one leaf. `tenant` and the segments of it that are attached on this leaf."""

    leaf: str
    tenant: Tenant
    local: tuple[Segment, ...]
    rd: str
    exports: frozenset[str]
    imports: frozenset[str]

    def imported(self, table: RouteTable) -> dict[str, MacIpRoute | PrefixRoute]:
        """Prefix -> its route; a type 2 route is a /32. Of several the best, as in a MAC-VRF."""
        return table.routed(self.imports)


def _best_routed(routes: Iterable[Route]) -> dict[str, MacIpRoute | PrefixRoute]:
    best: dict[str, MacIpRoute | PrefixRoute] = {}
    for route in routes:
        if isinstance(route, MulticastRoute) or (isinstance(route, MacIpRoute) and not route.l3vni):
            continue    # with the label of a bridge only it is nowhere to be routed to (RFC 9135, 5.1)
        prefix = route.prefix if isinstance(route, PrefixRoute) else f"{route.ip}/32"
        best[prefix] = _better(best.get(prefix), route)
    return best


def _better(one: Any, other: Any) -> Any:
    """Of two routes to one place, or of none and one."""
    return other if one is None or _rank(other) < _rank(one) else one


def _rank(route: Route) -> tuple[bool, int, tuple[int, ...]]:
    moves, sequence = (not route.sticky, route.sequence) if isinstance(route, MacIpRoute) else (True, 0)
    return moves, -sequence, tuple(map(int, route.next_hop.split(".")))


def target(vni: int) -> str:
    """The route target of a segment or a VPC: AS:VNI, as FRR derives it where nothing is configured.

    It is not the automatic one of RFC 8365, 5.1.2.1, whose number is 2**28 + VNI: there the upper byte says what the
    lower three are (type 1, a VXLAN VNI). FRR has that one as `autort rfc8365-compatible`.
    """
    return f"{AS_NUMBER}:{vni}"


def _distinguisher(leaf: Node, vni: int) -> str:
    """Type 1, VTEP:number: unique for each VRF and leaf."""
    return f"{leaf.ip}:{vni}"


def mac_vrfs(tenancy: Tenancy, leaf: Node) -> tuple[MacVrf, ...]:
    """The bridges that a leaf needs: those of the stretched segments that it has hosts of."""
    return tuple(MacVrf(leaf.name, s, _distinguisher(leaf, s.vni), frozenset({target(s.vni)}),
                        frozenset({target(s.vni)}))
                 for s in tenancy.segments.values() if s.stretched and leaf.name in s.leaves)


def ip_vrfs(tenancy: Tenancy, leaf: Node) -> tuple[IpVrf, ...]:
    """The routers that a leaf needs: those of the VPCs that it has hosts of."""
    return tuple(_ip_vrf(tenancy, tenant, leaf) for tenant in tenancy.tenants
                 if any(leaf.name in s.leaves for s in tenant.segments))


def _ip_vrf(tenancy: Tenancy, tenant: Tenant, leaf: Node) -> IpVrf:
    peers = tenancy.peers.get(tenant.name, ())
    return IpVrf(leaf.name, tenant, tuple(s for s in tenant.segments if leaf.name in s.leaves),
                 _distinguisher(leaf, tenant.vni), frozenset({target(tenant.vni)}),
                 frozenset({target(tenant.vni), *(target(tenancy.segments[p].vni) for p in peers)}))


def originated(fabric: Fabric, tenancy: Tenancy) -> tuple[Route, ...]:
    """All routes that the leaves of a fabric export: the whole route table, as a route server would hold it."""
    return tuple(route for leaf in fabric.leaves for tenant in tenancy.tenants for s in tenant.segments
                 if leaf.name in s.leaves for route in _of_segment(leaf, tenant, s))


def _of_segment(leaf: Node, tenant: Tenant, segment: Segment) -> Iterator[Route]:
    if segment.stretched:
        yield MulticastRoute(rd=_distinguisher(leaf, segment.vni), targets=frozenset({target(segment.vni)}),
                             next_hop=leaf.ip, vni=segment.vni)
    for member in segment.members:
        if member.leaf == leaf.name:
            yield _of_host(leaf, tenant, segment, member)
    for prefix in segment.outside:
        yield _of_prefix(leaf, tenant, segment, prefix)


def _of_prefix(leaf: Node, tenant: Tenant, segment: Segment, prefix: str) -> PrefixRoute:
    return PrefixRoute(rd=_distinguisher(leaf, tenant.vni), next_hop=leaf.ip, router_mac=leaf.mac,
                       targets=frozenset({target(segment.vni), target(tenant.vni)}), prefix=prefix, vni=tenant.vni)


def _of_host(leaf: Node, tenant: Tenant, segment: Segment, member: Member) -> Route:
    """A host is where intent says: its MAC is sticky, and no other leaf nor router may claim it."""
    if segment.stretched:
        return MacIpRoute(rd=_distinguisher(leaf, segment.vni), next_hop=leaf.ip, router_mac=leaf.mac,
                          targets=frozenset({target(segment.vni), target(tenant.vni)}),
                          mac=member.mac, ip=member.ip, vni=segment.vni, l3vni=tenant.vni, sticky=True)
    return _of_prefix(leaf, tenant, segment, f"{member.ip}/32")
