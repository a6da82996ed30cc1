"""What is wrong with the addresses that a subnet's DHCP would give, and the routes that it would advertise. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from controller.intent.intent import Intent
from controller.intent.intent_fields import SubnetSpec
from controller.intent.leases import bounds, room
from topologies.model.document import KeyPath, Problem


def dhcp_problems(intent: Intent, vpc: str, subnet: SubnetSpec, at: KeyPath) -> Iterator[Problem]:
    """Problems of the key dhcp of one subnet, whose path is `at`."""
    span = subnet.dhcp.range
    if span is not None:
        outside = [(key, address) for key, address in (("start", span.start), ("end", span.end))
                   if address and IPv4Address(address) not in subnet.network]
        for key, address in outside:
            yield Problem((*at, "range", key), f"an address of {subnet.subnet}", address)
        first, last = bounds(subnet)
        if not outside and first > last:
            yield Problem((*at, "range"), "a start that is not above the end", f"{span.start} to {span.end}")
        elif not outside and not room(subnet):
            yield Problem((*at, "range"), "an address for a host, beside the gateway's and those kept for MACs", "none")
    yield from _entries(subnet, (*at, "static"))
    yield from _routes(intent, vpc, subnet, (*at, "options", "advertisedRoutes"))


def _entries(subnet: SubnetSpec, at: KeyPath) -> Iterator[Problem]:
    network = subnet.network
    owners: dict[str, str] = {}
    for mac, entry in subnet.dhcp.static.items():
        where = (*at, mac, "ip")
        if not network.network_address < IPv4Address(entry.ip) < network.broadcast_address:
            yield Problem(where, f"a host address of {subnet.subnet}", entry.ip)
        elif entry.ip == subnet.gateway_address:
            yield Problem(where, "an address other than the gateway's", entry.ip)
        elif owners.setdefault(entry.ip, mac) != mac:
            yield Problem(where, "each address kept for one MAC", f"{entry.ip}, which is {owners[entry.ip]}'s")


def _routes(intent: Intent, vpc: str, subnet: SubnetSpec, at: KeyPath) -> Iterator[Problem]:
    """Hosts of the lab send all that is not for their subnet to its gateway. A route that says otherwise would change
    where packets go, unless nobody has such an address anyway."""
    seen = [(name, IPv4Network(prefix)) for name, prefix in _in_view(intent, vpc)]
    for n, route in enumerate(subnet.dhcp.options.advertisedRoutes):
        met = next((f"{name} ({network})" for name, network in seen
                    if network.overlaps(IPv4Network(route.destination))), "")
        if met and route.gateway != subnet.gateway_address:
            yield Problem((*at, n), "routes by the gateway, or to where nobody is: hosts here have the one route",
                          f"{route.destination} by way of {route.gateway}, which overlaps {met}")


def _in_view(intent: Intent, vpc: str) -> Iterator[tuple[str, str]]:
    """(name, prefix) of all that hosts of a VPC may reach: subnets, its peers', what is let in from outside."""
    peers = {name for peering in intent.peerings for sides in peering.permit if vpc in sides for name in sides}
    for name in sorted({vpc, *peers} & set(intent.vpcs)):
        yield from ((f"{name}/{key}", s.subnet) for key, s in intent.vpcs[name].subnets.items())
    for permit in intent.external_permits:
        if permit.vpc.name == vpc:
            yield from ((permit.external.name, p.prefix) for p in permit.external.prefixes)
