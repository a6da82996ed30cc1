"""Which addresses of a subnet its hosts get: those that DHCP would give. Pure.

    static      the host whose MAC has an entry gets that address, and nobody else does
    range       every other host gets one from `start` to `end`; without a range, one of the whole subnet
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import chain

from controller.intent.intent_fields import SubnetSpec


def bounds(subnet: SubnetSpec) -> tuple[int, int]:
    """First and last address that may be given to a host without an entry of its own, as numbers."""
    network, span = subnet.network, subnet.dhcp.range
    first, last = int(network.network_address) + 1, int(network.broadcast_address) - 1
    if span is None:
        return first, last
    low = int(IPv4Address(span.start)) if span.start else first
    high = int(IPv4Address(span.end)) if span.end else last
    return max(first, low), min(last, high)


def taken(subnet: SubnetSpec) -> frozenset[str]:
    """Addresses that are kept for the gateway and for MACs."""
    return frozenset((subnet.gateway_address, *(entry.ip for entry in subnet.dhcp.static.values())))


def room(subnet: SubnetSpec) -> int:
    """How many hosts without an entry of their own a subnet has addresses for."""
    first, last = bounds(subnet)
    return max(0, last - first + 1 - sum(first <= int(IPv4Address(a)) <= last for a in taken(subnet)))


def static_address(subnet: SubnetSpec, mac: str) -> str:
    """The address that is kept for a MAC, '' if none is."""
    entry = subnet.dhcp.static.get(mac)
    return entry.ip if entry else ""


def lease(subnet: SubnetSpec, hosts: Iterable[str], before: Mapping[str, str],
          macs: Mapping[str, str]) -> dict[str, str]:
    """Host -> address. Who had one keeps it if it may; a new host gets the lowest that nobody had before this change.

    macs: host -> its MAC, for entries of single hosts.
    """
    hosts = list(hosts)
    own = {host: found for host in hosts if (found := static_address(subnet, macs.get(host, "")))}
    kept = {host: before[host] for host in hosts if host not in own and host in before and _may(subnet, before[host])}
    held, used = set(kept.values()), set(before.values())
    free = chain((a for a in _free(subnet) if a not in used), (a for a in _free(subnet) if a in used and a not in held))
    return kept | {host: own[host] if host in own else next(free) for host in hosts if host not in kept}


def _may(subnet: SubnetSpec, address: str) -> bool:
    first, last = bounds(subnet)
    return first <= int(IPv4Address(address)) <= last and address not in taken(subnet)


def _free(subnet: SubnetSpec) -> Iterator[str]:
    first, last = bounds(subnet)
    reserved = taken(subnet)
    return (a for a in (str(IPv4Address(n)) for n in range(first, last + 1)) if a not in reserved)
