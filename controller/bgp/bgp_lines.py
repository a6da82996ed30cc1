"""What controller and BGP speaker say to each other: a JSON object a line. Pure.

    controller ──> speaker    {"asn", "router_id", "netns", "neighbors": [{"ip", "asn"}]}    once, first
                              {"routes": [route, ...]}                                       all that is to be announced
    speaker ──> controller    {"peer": ip, "up": bool}              a session has come up, or has gone with its routes
                              {"peer": ip, "learned": route}        a new one, or what an old one is now
                              {"peer": ip, "gone": route}

A route is an object with the fields of its class in controller/evpn/evpn.py and its `type`: 2, 3 or 5.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from controller.evpn.evpn import MacIpRoute, MulticastRoute, PrefixRoute, Route

Json = dict[str, Any]
_TYPES: dict[int, type[Route]] = {2: MacIpRoute, 3: MulticastRoute, 5: PrefixRoute}


def to_json(route: Route) -> Json:
    """A route as plain data."""
    kind = next(number for number, cls in _TYPES.items() if isinstance(route, cls))
    return {"type": kind, **asdict(route), "targets": sorted(route.targets)}


def from_json(data: Json) -> Route:
    """The route that to_json() was given."""
    fields = {key: value for key, value in data.items() if key != "type"}
    return _TYPES[data["type"]](**fields | {"targets": frozenset(data["targets"])})


Key = tuple[str | int, ...]


def key(route: Route) -> Key:
    """What tells a route from others of one speaker: a new one with it replaces it.

    RD, Ethernet Tag and addresses; neither labels, nor Ethernet segment, nor gateway (RFC 7432, 7; RFC 9136, 3.1).
    """
    match route:
        case MacIpRoute():
            return 2, route.rd, route.tag, route.mac, route.ip
        case MulticastRoute():
            return 3, route.rd, route.tag, route.next_hop
        case PrefixRoute():
            return 5, route.rd, route.tag, route.prefix
