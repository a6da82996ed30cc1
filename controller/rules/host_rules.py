"""Rules that lead to hosts, each made once for all leaves: answers to ARP, MACs of bridges, routes of VPCs.

A host's rule is the same one on every leaf but its own. So one more host is one more rule, which all leaves share, and
a leaf's tables are put together of rules that are there already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from controller.evpn.evpn import MacIpRoute, PrefixRoute
from controller.intent.vpc import Segment, Tenant
from controller.rules.bridging import ARP_REQUEST, arp_answer, towards
from controller.rules.rules import ETH_ARP, ETH_IPV4, Action, DecTtl, Flow, Match, Part, SetField
from controller.rules.tables import Priority, Table
from topologies.model.fabric import Fabric, Node

HostRoute = MacIpRoute | PrefixRoute
R = TypeVar("R", bound=HostRoute)
Key = tuple[str, str, int, str]     # kind, whose they are with its VNI, segment


@dataclass(frozen=True, eq=False)
class HostRules(Generic[R]):
    """Rules of one kind for the hosts of one segment; two are the same only if they are one object.

    made: MAC or prefix -> the host's route, and its rule; everywhere: also on the leaf that the route leads to.
    """

    made: Mapping[str, tuple[R, Flow]]
    everywhere: bool = False
    _on: dict[str, Part] = field(default_factory=dict)

    def on(self, leaf: Node) -> Part:
        """The rules that a leaf holds, the same object each time."""
        hop = "" if self.everywhere or leaf.ip not in self._by_hop else leaf.ip
        if hop not in self._on:
            self._on[hop] = tuple(flow for route, flow in self.made.values() if route.next_hop != hop)
        return self._on[hop]

    def leading_to(self, leaf: Node) -> tuple[R, ...]:
        """The routes that lead to hosts of this very leaf."""
        return self._by_hop.get(leaf.ip, ())

    @cached_property
    def _by_hop(self) -> dict[str, tuple[R, ...]]:
        found: dict[str, list[R]] = {}
        for route, _ in self.made.values():
            found.setdefault(route.next_hop, []).append(route)
        return {hop: tuple(routes) for hop, routes in found.items()}


class Kept(Generic[R]):
    """Host rules by what they are for. before: those of before a change, of which all is taken over that has stayed."""

    def __init__(self, before: Kept[R] | None = None) -> None:
        self._before = before._made if before else {}
        self._made: dict[Key, HostRules[R]] = {}

    def rules(self, key: Key, routes: Mapping[str, R], make: Callable[[R], Flow],
              everywhere: bool = False) -> HostRules[R]:
        """Those that `make` makes of routes, the same under each key; where nothing has changed, the very object."""
        old = self._before.get(key)
        known = old.made if old else {}
        made = {name: pair if (pair := known.get(name)) and pair[0] == route else (route, make(route))
                for name, route in routes.items()}
        same = old if len(made) == len(known) and all(known.get(name) is pair for name, pair in made.items()) else None
        self._made[key] = same or HostRules(made, everywhere)
        return self._made[key]


def vni_of(route: HostRoute) -> int:
    """The VNI that routed packets carry."""
    return route.l3vni if isinstance(route, MacIpRoute) else route.vni


def address_of(route: HostRoute) -> str:
    """The host's address."""
    return route.ip if isinstance(route, MacIpRoute) else route.prefix.split("/", maxsplit=1)[0]


def answered(segment: Segment, ip: str, mac: str) -> Flow:
    """Who asks for an address of the segment is told the MAC."""
    return Flow(f"arp:{segment.name}:{ip}", Table.ARP, Priority.NORMAL,
                Match(tunnel_id=segment.vni, eth_type=ETH_ARP, arp_op=ARP_REQUEST, arp_tpa=ip), arp_answer(mac, ip))


def routed(tenant: Tenant, route: HostRoute, actions: tuple[Action, ...], goto: Table | None = None) -> Flow:
    """The one rule of a VPC for a host, its own or a peer's."""
    ip = address_of(route)
    return Flow(f"route:{tenant.name}:{ip}/32", Table.ROUTE, Priority.NORMAL,
                Match(tunnel_id=tenant.vni, eth_type=ETH_IPV4, ipv4_dst=ip), actions, goto)


class Remote:
    """Rules of hosts on other leaves, and behind routers with a VTEP."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._ends = {node.ip: node for node in fabric.tunnel_ends}

    def bridged(self, segment: Segment, route: MacIpRoute) -> Flow:
        actions, goto = towards(self._fabric, self._ends[route.next_hop])
        return Flow(f"bridge:{segment.name}:{route.ip}", Table.BRIDGE, Priority.NORMAL,
                    Match(tunnel_id=segment.vni, eth_dst=route.mac), actions, goto)

    def routed(self, tenant: Tenant, route: HostRoute) -> Flow:
        """From a VPC whose VNI the packet has by now: POLICY has given it that, and the leaf's MAC as its sender."""
        return routed(tenant, route, *self.handed_on(route))

    def handed_on(self, route: HostRoute) -> tuple[tuple[Action, ...], Table | None]:
        """To the router that the route leads to, in the VNI of the receiver's VPC."""
        actions, goto = towards(self._fabric, self._ends[route.next_hop])
        return (DecTtl(), SetField("eth_dst", route.router_mac), SetField("tunnel_id", vni_of(route)), *actions), goto
