"""The EVPN tables as an operator knows them, as plain data. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from controller.evpn.bgp_import import Judged
from controller.evpn.evpn import (
    IpVrf,
    MacIpRoute,
    MacVrf,
    MulticastRoute,
    PrefixRoute,
    Route,
    RouteTable,
    ip_vrfs,
    mac_vrfs,
)
from controller.intent.vpc import Tenancy
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.fabric import Fabric, Node

Row = dict[str, Any]


def tables(fabric: Fabric, tenancy: Tenancy, routes: Sequence[Route],
           judged: Sequence[Judged] = ()) -> dict[str, list[Row]]:
    """routes: the whole table, those of leaves and those that BGP peers have announced; vnis: VRF by VRF; macs, arp:
    what each leaf knows, and from where."""
    bridges = [(leaf, vrf) for leaf in fabric.leaves for vrf in mac_vrfs(tenancy, leaf)]
    routers = [(leaf, vrf) for leaf in fabric.leaves for vrf in ip_vrfs(tenancy, leaf)]
    table = RouteTable([*routes, *(j.usable for j in judged if j.usable)])
    return {"routes": [*(_route(fabric, r) | {"source": "fabric"} for r in routes),
                       *(_learned(fabric, j) for j in judged)],
            "vnis": [*(_bridge(vrf, table) for _, vrf in bridges), *(_router(vrf, table) for _, vrf in routers)],
            "macs": [row for leaf, vrf in bridges for row in _macs(fabric, leaf, vrf, table)],
            "arp": [row for leaf, vrf in bridges for row in _arp(fabric, leaf, vrf, table)]}


def _leaf(fabric: Fabric, vtep: str) -> str:
    return next((leaf.name for leaf in fabric.tunnel_ends if leaf.ip == vtep), "")


def _learned(fabric: Fabric, judged: Judged) -> Row:
    """A peer's route as it came; `unused`: why nothing is forwarded by it."""
    row = _route(fabric, judged.learned.route) | {"source": judged.learned.peer}
    if judged.usable:
        return row | {"leaf": _leaf(fabric, judged.usable.next_hop)}
    return row | {"unused": judged.reason}


def _route(fabric: Fabric, route: Route) -> Row:
    """The NLRI as FRR prints it: [type]:[tag]:[length]:[value]..."""
    row: Row = {"rd": route.rd, "next_hop": route.next_hop, "leaf": _leaf(fabric, route.next_hop),
                "targets": sorted(route.targets)}
    match route:
        case MacIpRoute():
            return {"type": 2, "prefix": f"[2]:[{route.tag}]:[48]:[{route.mac}]:[32]:[{route.ip}]", **row,
                    "vnis": [route.vni, route.l3vni], "router_mac": route.router_mac, "sequence": route.sequence,
                    "sticky": route.sticky, **({"esi": route.esi} if route.esi else {})}
        case MulticastRoute():
            return {"type": 3, "prefix": f"[3]:[{route.tag}]:[32]:[{route.next_hop}]", **row, "vnis": [route.vni]}
        case PrefixRoute():
            ip, length = route.prefix.split("/")
            return {"type": 5, "prefix": f"[5]:[{route.tag}]:[{length}]:[{ip}]", **row, "vnis": [route.vni],
                    "router_mac": route.router_mac, **({"gateway": route.gateway} if route.gateway else {}),
                    **({"esi": route.esi} if route.esi else {})}


def _bridge(vrf: MacVrf, table: RouteTable) -> Row:
    return {"vni": vrf.segment.vni, "type": "L2", "vrf": vrf.segment.name, "leaf": vrf.leaf, "rd": vrf.rd,
            "imports": sorted(vrf.imports), "exports": sorted(vrf.exports), "routes": len(vrf.imported(table))}


def _router(vrf: IpVrf, table: RouteTable) -> Row:
    return {"vni": vrf.tenant.vni, "type": "L3", "vrf": vrf.tenant.name, "leaf": vrf.leaf, "rd": vrf.rd,
            "imports": sorted(vrf.imports), "exports": sorted(vrf.exports), "routes": len(vrf.imported(table))}


def _macs(fabric: Fabric, leaf: Node, vrf: MacVrf, table: RouteTable) -> Iterator[Row]:
    for route in vrf.imported(table).values():
        local = route.next_hop == leaf.ip
        yield {"leaf": leaf.name, "vni": vrf.segment.vni, "segment": vrf.segment.name, "mac": route.mac,
               "kind": "local" if local else "remote", "at": leaf.name if local else _leaf(fabric, route.next_hop),
               "sequence": route.sequence}


def _arp(fabric: Fabric, leaf: Node, vrf: MacVrf, table: RouteTable) -> Iterator[Row]:
    row = {"leaf": leaf.name, "vni": vrf.segment.vni, "segment": vrf.segment.name}
    yield row | {"ip": vrf.segment.gateway, "mac": GATEWAY_MAC, "kind": "gateway", "at": leaf.name}
    for route in vrf.imported(table).values():
        local = route.next_hop == leaf.ip
        yield row | {"ip": route.ip, "mac": route.mac, "kind": "local" if local else "remote",
                     "at": leaf.name if local else _leaf(fabric, route.next_hop)}
