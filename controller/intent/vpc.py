"""Intent -> tenancy: segments with their VNIs, hosts with their addresses, and who may send to whom. Pure.

A segment is a subnet of a VPC, written vpc/subnet. Numbers and addresses that were given once stay as long
as their owner does, whatever else comes and goes; what became free is given again as late as possible, because
a switch that has lost its controller may still hold rules with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from pydantic import Field

from controller.intent.intent import ExternalAttachmentSpec, Intent, PeerSubnets, VpcSpec
from controller.intent.intent_checks import VNI_POOL
from controller.intent.intent_fields import SubnetSpec
from controller.intent.leases import lease
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict

LINK = "link"       # the name of the one segment of an External


class Allocation(Strict):
    """What has been given out.

    vnis: VPC or vpc/subnet -> number; next_vni: where the search for the next one starts;
    addresses: vpc/subnet -> host -> IPv4 address.
    """

    vnis: dict[str, int] = Field(default_factory=dict)
    next_vni: int = VNI_POOL.start
    addresses: dict[str, dict[str, str]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A host in a segment: where it is attached, and its addresses there."""

    host: str
    leaf: str
    port: int
    mac: str
    ip: str


@dataclass(frozen=True)
class Segment:
    """A subnet, or the link to an External's router. `stretched`: one bridge over all leaves (mode l2vni).

    is_external: the one member is the router; outside: prefixes that are known to be behind it.
    """

    vpc: str
    subnet: str
    vni: int
    prefix: str
    gateway: str
    restricted: bool
    stretched: bool
    members: tuple[Member, ...]
    is_external: bool = False
    outside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.vpc}/{self.subnet}"

    @property
    def prefix_length(self) -> int:
        return int(self.prefix.split("/")[1])

    @cached_property
    def leaves(self) -> frozenset[str]:
        return frozenset(m.leaf for m in self.members)


@dataclass(frozen=True)
class Tenant:
    """A VPC: its layer-3 VNI and its segments."""

    name: str
    vni: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Tenancy:
    """All VPCs, and each External as one more with the link to its router as its only segment.

    permits: pairs of segments between which packets may go, a segment with itself among them;
    beyond: (segment, segment of an External, prefix): what of the outside a segment may reach by way of it.
    """

    tenants: tuple[Tenant, ...] = ()
    permits: frozenset[tuple[str, str]] = frozenset()
    beyond: frozenset[tuple[str, str, str]] = frozenset()

    @cached_property
    def segments(self) -> dict[str, Segment]:
        return {s.name: s for tenant in self.tenants for s in tenant.segments}

    @cached_property
    def members(self) -> dict[str, tuple[Segment, Member]]:
        """Host -> where it is attached."""
        return {m.host: (s, m) for s in self.segments.values() for m in s.members}

    @cached_property
    def peers(self) -> dict[str, frozenset[str]]:
        """VPC -> segments of others to which its own may send, if it has any."""
        found: dict[str, set[str]] = {}
        for a, b in self.permits:
            if (vpc := self.segments[a].vpc) != self.segments[b].vpc:
                found.setdefault(vpc, set()).add(b)
        return {vpc: frozenset(names) for vpc, names in found.items()}


def allocate(intent: Intent, before: Allocation, pool: range = VNI_POOL,
             macs: Mapping[str, str] | None = None) -> Allocation:
    """Numbers and addresses for an intent without problems; whoever had one keeps it.

    macs: host -> its MAC (`macs_of`), for addresses that dhcp.static keeps for a MAC.
    """
    wanted = [name for vpc, spec in intent.vpcs.items() for name in (vpc, *(f"{vpc}/{s}" for s in spec.subnets))]
    wanted += [name for external in intent.externals for name in (external, link_of(external))]
    kept = {name: before.vnis[name] for name in wanted if name in before.vnis}
    free = _free_numbers(before, kept, pool)
    given = {name: next(free) for name in wanted if name not in kept}
    last = [*given.values()][-1] if given else before.next_vni - 1
    return Allocation(vnis=kept | given, next_vni=last + 1 if last + 1 in pool else pool.start,
                      addresses=_addresses(intent, before.addresses, macs or {}))


def _free_numbers(before: Allocation, kept: Mapping[str, int], pool: range) -> Iterator[int]:
    """Numbers to give, those that went out of use in this very change last."""
    start = before.next_vni if before.next_vni in pool else pool.start
    turn = [*range(start, pool.stop), *range(pool.start, start)]
    used, held = set(before.vnis.values()), set(kept.values())
    return chain((n for n in turn if n not in used), (n for n in turn if n in used and n not in held))


def macs_of(fabric: Fabric) -> dict[str, str]:
    """Host -> its MAC."""
    return {node.name: node.mac for node in fabric.all_hosts}


def _addresses(intent: Intent, before: Mapping[str, Mapping[str, str]],
               macs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    hosts: dict[str, list[str]] = {}
    for attachment in intent.attachments:
        hosts.setdefault(attachment.subnet, []).append(attachment.connection)
    return {name: lease(_subnet(intent, name), attached, before.get(name, {}), macs)
            for name, attached in hosts.items()}


def _subnet(intent: Intent, name: str) -> SubnetSpec:
    vpc, subnet = name.split("/")
    return intent.vpcs[vpc].subnets[subnet]


def resolve(intent: Intent, fabric: Fabric, allocation: Allocation) -> Tenancy:
    """The tenancy that an intent without problems describes on a fabric."""
    tenants = (*(_tenant(name, spec, fabric, allocation) for name, spec in intent.vpcs.items()),
               *(_outside(intent, a, fabric, allocation) for a in intent.external_attachments))
    beyond = frozenset(_beyond(intent))
    return Tenancy(tenants, frozenset(chain(
        _inside(intent), (pair for p in intent.peerings for sides in p.permit for pair in _between(intent, sides)),
        (pair for a, b, _ in beyond for pair in ((a, b), (b, a))))), beyond)


def link_of(external: str) -> str:
    """The segment of an External: the link between the border leaf and its router."""
    return f"{external}/{LINK}"


def _outside(intent: Intent, spec: ExternalAttachmentSpec, fabric: Fabric, allocation: Allocation) -> Tenant:
    name, link = spec.external, spec.static
    router = _member(fabric, spec.connection, link.remoteIP)
    segment = Segment(name, LINK, allocation.vnis[link_of(name)], str(link.network), link.gateway, restricted=True,
                      stretched=False, members=(router,), is_external=True,
                      outside=intent.externals[name].static.prefixes)
    return Tenant(name, allocation.vnis[name], (segment,))


def _beyond(intent: Intent) -> Iterator[tuple[str, str, str]]:
    attached = {a.external for a in intent.external_attachments}
    for permit in intent.external_permits:
        vpc, external = permit.vpc, permit.external
        for subnet in vpc.subnets or intent.vpcs[vpc.name].subnets if external.name in attached else ():
            yield from ((f"{vpc.name}/{subnet}", link_of(external.name), p.prefix) for p in external.prefixes)


def _tenant(vpc: str, spec: VpcSpec, fabric: Fabric, allocation: Allocation) -> Tenant:
    segments = []
    for subnet, s in spec.subnets.items():
        name = f"{vpc}/{subnet}"
        members = tuple(_member(fabric, host, ip) for host, ip in allocation.addresses.get(name, {}).items())
        segments.append(Segment(vpc, subnet, allocation.vnis[name], s.subnet, s.gateway_address,
                                spec.restricted(subnet), spec.mode == "l2vni", members))
    return Tenant(vpc, allocation.vnis[vpc], tuple(segments))


def _member(fabric: Fabric, host: str, ip: str) -> Member:
    node = fabric.host(host)
    return Member(host, node.leaf, fabric.access_link(host).end(node.leaf).ofport, node.mac, ip)


def _inside(intent: Intent) -> Iterator[tuple[str, str]]:
    """Pairs inside of VPCs: restricted governs a subnet with itself, isolated and permit two subnets."""
    for vpc, spec in intent.vpcs.items():
        for a in spec.subnets:
            for b in spec.subnets:
                together = any(a in names and b in names for names in spec.permit)
                if not spec.restricted(a) if a == b else together or not (spec.isolated(a) or spec.isolated(b)):
                    yield f"{vpc}/{a}", f"{vpc}/{b}"


def _between(intent: Intent, sides: Mapping[str, PeerSubnets]) -> Iterator[tuple[str, str]]:
    """Pairs of segments, in both directions, that one entry of a peering permits."""
    one, other = ([f"{vpc}/{s}" for s in side.subnets or intent.vpcs[vpc].subnets]
                  for vpc, side in sides.items())
    for a in one:
        for b in other:
            yield a, b
            yield b, a
