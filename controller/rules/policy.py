"""What a subnet may send to by way of its gateway: the table POLICY on the leaf where its packets come in.

    gateway:VPC/SUBNET ──> its own address         answered here
                           a permitted segment     the VNI of the VPC, this leaf's MAC as sender ──> ROUTE
                           behind an External      the longest prefix that may be reached ──> the border leaf
                           all else                dropped, under a name with the subnet that it comes from

Permits and refusals are as many as pairs of segments, whatever the number of hosts is. Ways out end here: by the routes
of a whole VPC, the longest prefix might be one that another of its subnets may use.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.intent.vpc import Segment
from controller.rules.rules import ETH_IPV4, ICMP, IN_PORT, Action, CopyField, Flow, Match, Output, SetField
from controller.rules.tables import REFUSAL, Priority, Table, by_length
from controller.rules.tenants import Local, Site
from topologies.model.addressing import GATEWAY_MAC

ECHO_REQUEST, ECHO_REPLY = 8, 0
TTL = 64        # of the gateway's own packets
Way = tuple[str, tuple[Action, ...], Table | None]      # prefix, what is done with a packet, the jump after that


def policy(site: Site, local: Local, ways: tuple[Way, ...]) -> Iterator[Flow]:
    """Of one segment. ways: out of the fabric, that it may use."""
    segment = local.segment
    yield _echo(segment)
    routed = SetField("eth_src", site.leaf.mac), SetField("tunnel_id", site.tenant.vni)
    for other in local.permitted:
        yield _to_prefix(f"permit:{segment.name}:{other.name}", segment, other.prefix, routed, Table.ROUTE)
    for prefix, actions, goto in ways:
        yield _to_prefix(f"route:{segment.name}:{prefix}", segment, prefix, actions, goto)
    for other in local.refused:
        kind = "restricted" if other.name == segment.name else "isolated"
        yield _to_prefix(f"{kind}:{segment.name}", segment, other.prefix, rank=REFUSAL)
    yield Flow(f"no-route:{segment.name}", Table.POLICY, Priority.POLICY, Match(tunnel_id=segment.vni))


def nobody(site: Site, local: Local) -> Flow:
    """Has an address that was permitted: by the time that this shows, its sender is known by its own address alone,
    or, if that is a router's, by being the only one of its VPC."""
    segment = local.segment
    source = None if segment.is_external else segment.prefix
    return Flow(f"unknown-host:{segment.name}", Table.ROUTE, Priority.GUARD,
                Match(tunnel_id=site.tenant.vni, eth_type=ETH_IPV4, ipv4_src=source))


def _to_prefix(name: str, segment: Segment, prefix: str, actions: tuple[Action, ...] = (), goto: Table | None = None,
               rank: int = 0) -> Flow:
    """The longest prefix wins, and of two with the same prefix the one that refuses."""
    address, length = prefix.split("/")
    return Flow(name, Table.POLICY, by_length(int(length)) + rank,
                Match(tunnel_id=segment.vni, eth_type=ETH_IPV4, ipv4_dst=address if length == "32" else prefix),
                actions, goto)


def _echo(segment: Segment) -> Flow:
    """The gateway answers echo requests."""
    return Flow(f"echo:{segment.name}", Table.POLICY, Priority.GATEWAY,
                Match(tunnel_id=segment.vni, eth_type=ETH_IPV4, ip_proto=ICMP, ipv4_dst=segment.gateway,
                      icmpv4_type=ECHO_REQUEST, icmpv4_code=0),
                (CopyField("eth_src", "eth_dst"), SetField("eth_src", GATEWAY_MAC), CopyField("ipv4_src", "ipv4_dst"),
                 SetField("ipv4_src", segment.gateway), SetField("icmpv4_type", ECHO_REPLY), SetField("nw_ttl", TTL),
                 Output(IN_PORT)))
