"""What only the whole intent and the fabric show: names that nobody has, addresses that collide. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from itertools import combinations

from controller.intent.dhcp_checks import dhcp_problems
from controller.intent.external_checks import external_problems, reserved, unknown
from controller.intent.intent import (
    KEY,
    AttachmentSpec,
    External,
    ExternalPeering,
    Intent,
    PeeringSpec,
    Vpc,
    VpcAttachment,
    VpcPeering,
    VpcSpec,
)
from controller.intent.intent_fields import SubnetSpec
from controller.intent.leases import room, static_address
from topologies.model.document import KeyPath, Problem, nearest
from topologies.model.fabric import Fabric
from topologies.model.spec import DEFAULT_VPC

VNI_POOL = range(1001, 10000)   # of the lab's VPCs; one for each VPC and one for each subnet
UNICAST = (ipaddress.IPv4Network("1.0.0.0/8"), ipaddress.IPv4Network("223.255.255.0/24"))   # first and last
LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


def intent_problems(intent: Intent, fabric: Fabric, pool: range = VNI_POOL) -> list[Problem]:
    """Everything that is wrong with an intent on this fabric; the paths are those of Intent."""
    return [*_names(intent), *_vpcs(intent, fabric), *_attachments(intent, fabric), *_peerings(intent),
            *external_problems(intent, fabric), *_overlapping_peers(intent), *_numbers(intent, pool)]


def _at(index: int, *path: str | int) -> KeyPath:
    return (KEY, index, "spec", *path)


def _names(intent: Intent) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(intent.objects):
        identity = item.kind, item.metadata.name
        at = (KEY, index, "metadata", "name")
        if identity in seen:
            yield Problem(at, f"one {item.kind} of each name", f"{item.metadata.name} again")
        if identity in (("VPC", DEFAULT_VPC), ("External", DEFAULT_VPC)):
            yield Problem(at, "another name", DEFAULT_VPC, "this is the VPC of the hosts without an attachment")
        seen.add(identity)


def _vpcs(intent: Intent, fabric: Fabric) -> Iterator[Problem]:
    for index, item in enumerate(intent.objects):
        if isinstance(item, Vpc):
            for name, subnet in item.spec.subnets.items():
                for key, expected, found in _subnet(subnet, fabric):
                    yield Problem(_at(index, "subnets", name, key), expected, found)
                yield from dhcp_problems(intent, item.metadata.name, subnet, _at(index, "subnets", name, "dhcp"))
            yield from _overlaps(item.spec, index)
            for n, names in enumerate(item.spec.permit):
                for k, name in enumerate(names):
                    if name not in item.spec.subnets:
                        yield unknown(_at(index, "permit", n, k), "subnet", name, item.spec.subnets)


def _subnet(subnet: SubnetSpec, fabric: Fabric) -> Iterator[tuple[str, str, str]]:
    """(key, expected, found) of what is wrong with one subnet's addresses."""
    network = subnet.network
    first, last = UNICAST
    if network.prefixlen > 30:
        yield "subnet", "room for a gateway and a host: a prefix of at most 30 bits", subnet.subnet
    elif not first[0] <= network[0] <= network[-1] <= last[-1] or network.overlaps(LOOPBACK):
        yield "subnet", "a prefix of unicast addresses", subnet.subnet
    elif own := reserved(network, fabric):
        yield "subnet", own, subnet.subnet
    elif not network[0] < ipaddress.IPv4Address(subnet.gateway_address) < network[-1]:
        yield "gateway", f"a host address of {subnet.subnet}", subnet.gateway_address


def _overlaps(spec: VpcSpec, index: int) -> Iterator[Problem]:
    for (one, a), (other, b) in combinations(spec.subnets.items(), 2):
        if a.network.overlaps(b.network):
            yield Problem(_at(index, "subnets", other, "subnet"), "subnets of a VPC that do not overlap",
                          f"{b.subnet}, which overlaps {one} ({a.subnet})")


def _attachments(intent: Intent, fabric: Fabric) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    used: dict[str, int] = {}
    hosts = {h.name: h for h in fabric.all_hosts if h.role != "probe"}
    macs = {h.name: h.mac for h in fabric.all_hosts}
    for index, item in enumerate(intent.objects):
        if not isinstance(item, VpcAttachment):
            continue
        spec = item.spec
        if spec.connection in seen:
            yield Problem(_at(index, "connection"), "each host attached once",
                          f"{spec.connection}, which is attached to {seen[spec.connection]} already")
        elif spec.connection not in hosts:
            yield Problem(_at(index, "connection"), f"a host of the fabric {fabric.spec.name} that is not a probe",
                          spec.connection, nearest(spec.connection, list(hosts)))
        seen.setdefault(spec.connection, spec.subnet)
        used[spec.subnet] = used.get(spec.subnet, 0) + (not _has_entry(intent, spec, macs))
        yield from _attached_to(intent, index, spec, used[spec.subnet])


def _has_entry(intent: Intent, spec: AttachmentSpec, macs: Mapping[str, str]) -> bool:
    """Whether the subnet keeps an address for this host."""
    vpc, name = spec.subnet.split("/")
    subnet = intent.vpcs[vpc].subnets.get(name) if vpc in intent.vpcs else None
    return subnet is not None and bool(static_address(subnet, macs.get(spec.connection, "")))


def _attached_to(intent: Intent, index: int, spec: AttachmentSpec, count: int) -> Iterator[Problem]:
    """What is wrong with the subnet of an attachment that is number `count` in it."""
    vpc, name = spec.subnet.split("/")
    at = _at(index, "subnet")
    if vpc not in intent.vpcs:
        yield unknown(at, "VPC", vpc, intent.vpcs)
    elif name not in intent.vpcs[vpc].subnets:
        yield unknown(at, "subnet", name, intent.vpcs[vpc].subnets)
    else:
        free = room(intent.vpcs[vpc].subnets[name])
        if count == free + 1:
            yield Problem(at, f"at most {free} hosts in {spec.subnet}", "one more", "make its prefix shorter, or its "
                          "dhcp.range longer")


def _peerings(intent: Intent) -> Iterator[Problem]:
    for index, item in enumerate(intent.objects):
        if isinstance(item, VpcPeering):
            first = set(item.spec.permit[0])
            for n, sides in enumerate(item.spec.permit):
                yield from _sides(intent, item.spec, index, n)
                if len(sides) == len(first) == 2 and set(sides) != first:
                    joined = " and ".join(item.spec.permit[0])
                    yield Problem(_at(index, "permit", n), f"{joined}, the two VPCs that this peering joins",
                                  " and ".join(sides), "make a VPCPeering for each two of them")
                if len(sides) != 2:
                    found = f"{next(iter(sides))} with itself" if len(sides) == 1 else f"{len(sides)} VPCs"
                    yield Problem(_at(index, "permit", n), "two VPCs that peer", found)


def _sides(intent: Intent, spec: PeeringSpec, index: int, n: int) -> Iterator[Problem]:
    for vpc, side in spec.permit[n].items():
        at = _at(index, "permit", n, vpc)
        if vpc not in intent.vpcs:
            yield unknown(at, "VPC", vpc, intent.vpcs)
            continue
        for k, name in enumerate(side.subnets):
            if name not in intent.vpcs[vpc].subnets:
                yield unknown((*at, "subnets", k), "subnet", name, intent.vpcs[vpc].subnets)


def _overlapping_peers(intent: Intent) -> Iterator[Problem]:
    """A VPC sees its own subnets, its peers' and the links to its Externals: one address must not mean two hosts."""
    networks = _networks(intent)
    seen: dict[str, dict[str, int]] = {name: {} for name in networks}   # VPC -> its peers -> index of the peering
    for index, sides in _pairs(intent):
        names = [name for name in sides if name in networks]
        for one, other in ((a, b) for a in names for b in names if a != b):
            seen[one].setdefault(other, index)
    reported: set[tuple[int, str]] = set()
    for vpc, peers in seen.items():
        for (a, i), (b, j) in combinations([(vpc, -1), *peers.items()], 2):
            common = _common(networks[a], networks[b])
            where = max(i, j)
            if common and (where, common) not in reported:
                reported |= {(where, common)}
                who = f"{a} and {b}" if vpc in (a, b) else f"{a} and {b}, both peers of {vpc},"
                yield Problem(_at(where, "permit"), "peers whose subnets do not overlap", f"{who} overlap: {common}",
                              "overlapping addresses work in VPCs that do not see each other")


Networks = tuple[ipaddress.IPv4Network, ...]


def _networks(intent: Intent) -> dict[str, Networks]:
    """VPC -> its subnets, External -> the link to its router."""
    found = {name: tuple(s.network for s in spec.subnets.values()) for name, spec in intent.vpcs.items()}
    return found | {a.external: (a.static.network,) for a in intent.external_attachments}


def _pairs(intent: Intent) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(index of the object, who peers by it)."""
    for index, item in enumerate(intent.objects):
        if isinstance(item, VpcPeering):
            yield from ((index, tuple(sides)) for sides in item.spec.permit)
        elif isinstance(item, ExternalPeering):
            yield index, (item.spec.permit.vpc.name, item.spec.permit.external.name)


def _common(one: Networks, other: Networks) -> str:
    return next((f"{a} and {b}" for a in one for b in other if a.overlaps(b)), "")


def _numbers(intent: Intent, pool: range) -> Iterator[Problem]:
    needed = sum(1 + len(spec.subnets) for spec in intent.vpcs.values()) + 2 * len(intent.externals)
    if needed > len(pool):
        last = max(n for n, item in enumerate(intent.objects) if isinstance(item, Vpc | External))
        key = "subnets" if isinstance(intent.objects[last], Vpc) else "static"
        expected = f"at most {len(pool)} VNIs, one for each VPC and each subnet, two for an External"
        yield Problem(_at(last, key), expected, f"{needed} in all")
