"""What is wrong with Externals, attachments and peerings in the light of the whole intent and the fabric. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from controller.intent.intent import (
    KEY,
    External,
    ExternalAttachment,
    ExternalAttachmentSpec,
    ExternalPeering,
    ExternalPermit,
    Intent,
)
from topologies.model.addressing import own_networks
from topologies.model.document import KeyPath, Problem, nearest
from topologies.model.fabric import Fabric


def external_problems(intent: Intent, fabric: Fabric) -> Iterator[Problem]:
    """Problems with their paths in the intent."""
    yield from _names(intent)
    yield from _attachments(intent, fabric)
    behind: dict[tuple[str, str], str] = {}     # (VPC, prefix) -> the External that it is behind
    for index, item in enumerate(intent.objects):
        if isinstance(item, ExternalPeering):
            permit = item.spec.permit
            yield from _peering(intent, index, permit)
            for prefix in _statics(intent, permit.external.name):
                other = behind.setdefault((permit.vpc.name, prefix), permit.external.name)
                if other != permit.external.name:
                    yield Problem(_at(index, "permit", "external", "name"), "each prefix behind one External of a VPC",
                                  f"{prefix} behind {other} and {permit.external.name}")


def _at(index: int, *path: str | int) -> KeyPath:
    return (KEY, index, "spec", *path)


def unknown(at: KeyPath, what: str, name: str, names: Mapping[str, object]) -> Problem:
    return Problem(at, f"one of the {what}s {', '.join(names) or 'that exist (there are none)'}", name,
                   nearest(name, list(names)))


def _names(intent: Intent) -> Iterator[Problem]:
    for index, item in enumerate(intent.objects):
        if isinstance(item, External) and item.metadata.name in intent.vpcs:
            yield Problem((KEY, index, "metadata", "name"), "a name that no VPC has", item.metadata.name)


def _attachments(intent: Intent, fabric: Fabric) -> Iterator[Problem]:
    routers = {h.name: h for h in fabric.all_hosts if h.role == "outside"}
    hosts = {a.connection: a.subnet for a in intent.attachments}
    seen: set[str] = set()
    for index, item in enumerate(intent.objects):
        if not isinstance(item, ExternalAttachment):
            continue
        spec = item.spec
        if spec.connection in hosts:
            yield Problem(_at(index, "connection"), "each host attached once",
                          f"{spec.connection}, which is attached to {hosts[spec.connection]} already")
        elif spec.connection not in routers:
            yield Problem(_at(index, "connection"), "an outside host, behind a border leaf", spec.connection,
                          nearest(spec.connection, list(routers)) or "the fabric's key border makes outside hosts")
        hosts.setdefault(spec.connection, spec.external)
        if spec.external not in intent.externals:
            yield unknown(_at(index, "external"), "External", spec.external, intent.externals)
        elif spec.external in seen:
            yield Problem(_at(index, "external"), "each External attached once", f"{spec.external} again")
        seen.add(spec.external)
        yield from _link(index, spec, fabric)


def reserved(network: IPv4Network, fabric: Fabric) -> str:
    """What to expect in place of a network that hosts have addresses in and that overlaps the lab's own; '' if none.

    Prefixes behind an External may cover these: they are matched in POLICY alone, inside of a VPC, which the outer
    headers of tunnels never enter.
    """
    own = [f"{n} ({what})" for n, what in own_networks(fabric.spec.subnet).items() if network.overlaps(n)]
    return f"a prefix that does not overlap {' nor '.join(own)}" if own else ""


def _link(index: int, spec: ExternalAttachmentSpec, fabric: Fabric) -> Iterator[Problem]:
    network = spec.static.network
    if network.prefixlen > 30 or network.is_loopback or network.is_multicast or network.is_reserved:
        yield Problem(_at(index, "static", "ip"), "a unicast prefix of at most 30 bits: room for two", spec.static.ip)
        return
    if own := reserved(network, fabric):
        yield Problem(_at(index, "static", "ip"), own, spec.static.ip)
        return
    for key, address in (("ip", spec.static.gateway), ("remoteIP", spec.static.remoteIP)):
        if not network[0] < IPv4Address(address) < network[-1]:
            yield Problem(_at(index, "static", key), f"a host address of {network}", address)
    if spec.static.gateway == spec.static.remoteIP:
        yield Problem(_at(index, "static", "remoteIP"), "an address other than the border leaf's", spec.static.remoteIP)


def _peering(intent: Intent, index: int, permit: ExternalPermit) -> Iterator[Problem]:
    at = _at(index, "permit")
    vpc, external = permit.vpc.name, permit.external.name
    if external not in intent.externals:
        yield unknown((*at, "external", "name"), "External", external, intent.externals)
    if vpc not in intent.vpcs:
        yield unknown((*at, "vpc", "name"), "VPC", vpc, intent.vpcs)
        return
    subnets = intent.vpcs[vpc].subnets
    for n, name in enumerate(permit.vpc.subnets):
        if name not in subnets:
            yield unknown((*at, "vpc", "subnets", n), "subnet", name, subnets)
    for prefix in _statics(intent, external):
        for name, network in _in_view(intent, vpc):
            if IPv4Network(prefix).subnet_of(network):
                yield Problem(at, f"an External with no prefix inside of a subnet that {vpc} sees",
                              f"{prefix} of {external}, inside of {name} ({network})")


def _statics(intent: Intent, external: str) -> tuple[str, ...]:
    return intent.externals[external].static.prefixes if external in intent.externals else ()


def _in_view(intent: Intent, vpc: str) -> Iterator[tuple[str, IPv4Network]]:
    """Subnets of a VPC and of its peers."""
    peers = {name for peering in intent.peerings for sides in peering.permit if vpc in sides for name in sides}
    for name in sorted({vpc, *peers} & set(intent.vpcs)):
        yield from ((f"{name}/{key}", subnet.network) for key, subnet in intent.vpcs[name].subnets.items())
