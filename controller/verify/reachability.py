"""Who should reach whom, from intent alone: each pair of hosts with the reason. Pure.

Nothing here knows of routes, VRFs or rules: it is what their result is held against. A packet from one host to
the address of another may reach that one, or a third that has the same address in the sender's own VPC, or nobody;
in the last case the rule that has to have dropped it is named as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import chain, permutations

from controller.intent.intent import ExternalPermit, Intent
from controller.intent.vpc import LINK, Allocation
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.drop_names import no_path
from topologies.model.fabric import Fabric


@dataclass(frozen=True)
class Cell:
    """What has to become of packets from `source` to `ip`, the address of `target`.

    receiver: the host that gets them, '' for none; drop: the rule that drops them, at the source's leaf;
    next_mac: where the source's frames are addressed to.
    """

    source: str
    target: str
    ip: str
    next_mac: str
    receiver: str
    reason: str
    drop: str = ""

    @property
    def allowed(self) -> bool:
        return self.receiver == self.target


@dataclass(frozen=True)
class Place:
    """Where a host is, and its address: a subnet of a VPC, the link of an External, the default VPC ('' twice)."""

    host: str
    vpc: str
    subnet: str
    ip: str

    @property
    def segment(self) -> str:
        return f"{self.vpc}/{self.subnet}"


def places(intent: Intent, fabric: Fabric, allocation: Allocation) -> dict[str, Place]:
    """Host -> its place, for all hosts but the probes."""
    attached = {a.connection: a.subnet.split("/") for a in intent.attachments}
    routers = {a.connection: a for a in intent.external_attachments}
    found = {}
    for node in fabric.all_hosts:
        if node.name in routers:
            router = routers[node.name]
            found[node.name] = Place(node.name, router.external, LINK, router.static.remoteIP)
        elif node.name in attached:
            vpc, subnet = attached[node.name]
            found[node.name] = Place(node.name, vpc, subnet, allocation.addresses[f"{vpc}/{subnet}"][node.name])
        elif node.role != "probe":
            found[node.name] = Place(node.name, "", "", node.ip)
    return found


def matrix(intent: Intent, fabric: Fabric, allocation: Allocation,
           down: frozenset[str] = frozenset()) -> tuple[Cell, ...]:
    """Every ordered pair of hosts, probes left out, while the links `down` carry nothing."""
    return tuple(cells(intent, fabric, allocation, down=down))


def cells(intent: Intent, fabric: Fabric, allocation: Allocation, pairs: Iterable[tuple[str, str]] | None = None,
          down: frozenset[str] = frozenset()) -> Iterator[Cell]:
    """The same one after another, or those of some pairs: of 2,000 hosts there are 4 million."""
    where = places(intent, fabric, allocation)
    judge = _Judge(intent, fabric, where, down)
    wanted = permutations(where, 2) if pairs is None else pairs
    return (judge.cell(where[a], where[b]) for a, b in wanted if a in where and b in where)


def to_address(intent: Intent, fabric: Fabric, allocation: Allocation, source: str, ip: str,
               down: frozenset[str] = frozenset()) -> tuple[str, str]:
    """(receiver, drop) as in a Cell, of packets from a VPC's host to any address, such as one outside of the fabric."""
    where = places(intent, fabric, allocation)
    return _Judge(intent, fabric, where, down).outcome(where[source], ip)


class _Judge:
    def __init__(self, intent: Intent, fabric: Fabric, where: dict[str, Place], down: frozenset[str]) -> None:
        self._intent, self._fabric, self._down = intent, fabric, down
        self._owner = {(p.vpc, p.subnet, p.ip): p.host for p in where.values()}
        self._routers = {a.external: a.connection for a in intent.external_attachments}
        self._networks = {(vpc, name): subnet.network for vpc, spec in intent.vpcs.items()
                          for name, subnet in spec.subnets.items()}
        self._networks |= {(a.external, LINK): a.static.network for a in intent.external_attachments}

    def cell(self, source: Place, target: Place) -> Cell:
        """A pair; what may reach its receiver and has no path to it is dropped for want of one."""
        cell = self._permitted(source, target)
        drop = self._cut_off(source, cell.receiver)
        if not drop:
            return cell
        here, there = self._fabric.host(source.host).leaf, self._fabric.host(cell.receiver).leaf
        paths = self._fabric.paths(here, there)
        reason = f"no spine has links up to both {here} and {there}" if paths else f"{here} and {there} share no spine"
        return replace(cell, receiver="", drop=drop, reason=reason)

    def outcome(self, source: Place, ip: str) -> tuple[str, str]:
        """(receiver, drop) of packets from a VPC's host to an address."""
        receiver, _, drop = self._resolve(source, ip)
        lost = self._cut_off(source, receiver)
        return ("", lost) if lost else (receiver, drop)

    def _cut_off(self, source: Place, receiver: str) -> str:
        """The drop of what may reach a host and has no path to it; '' where it has one, or nobody may have it."""
        here = self._fabric.host(source.host).leaf
        there = self._fabric.host(receiver).leaf if receiver else here
        return "" if any(path.is_up(self._down) for path in self._fabric.paths(here, there)) else no_path(there)

    def _permitted(self, source: Place, target: Place) -> Cell:
        if not source.vpc:
            return self._from_default(source, target)
        reached, reason, drop = self._resolve(source, target.ip)
        if reached != target.host and not drop:
            reason = f"{target.ip} is {reached} in the eyes of {source.vpc}"
        elif target.vpc != source.vpc and drop and not drop.startswith("to-self"):
            reason = f"{source.vpc} has no peering that permits {source.segment} and {target.segment}" if target.vpc \
                else f"{target.host} is in no VPC"
        bridged = target.vpc == source.vpc and target.subnet == source.subnet \
            and source.vpc in self._intent.vpcs and self._intent.vpcs[source.vpc].mode == "l2vni"
        mac = self._fabric.host(target.host).mac if bridged else GATEWAY_MAC
        return Cell(source.host, target.host, target.ip, mac, reached, reason, drop)

    def _from_default(self, source: Place, target: Place) -> Cell:
        mac = self._fabric.host(target.host).mac
        if target.vpc:
            return Cell(source.host, target.host, target.ip, mac, "", f"{source.host} is in no VPC", "unknown-mac")
        return Cell(source.host, target.host, target.ip, mac, target.host, "neither is in a VPC")

    def _resolve(self, source: Place, ip: str) -> tuple[str, str, str]:
        """(receiver, reason, drop) of packets from a VPC's host to an address."""
        if ip == source.ip:
            return "", f"{ip} is {source.host} itself", f"to-self:{source.host}"
        inside = self._visible if source.vpc in self._intent.vpcs else self._from_outside
        for vpc, subnet, permitted, reason in chain(inside(source), self._links(source)):
            if IPv4Address(ip) not in self._networks[vpc, subnet]:
                continue
            if not permitted:
                return "", reason, f"{reason.split(' ', maxsplit=1)[0]}:{source.segment}"
            receiver = self._owner.get((vpc, subnet, ip), "")
            if receiver:
                return receiver, reason, ""
            return "", f"nobody has {ip} in {vpc}/{subnet}", f"unknown-host:{source.segment}"
        for external, prefix in self._beyond(source):
            if IPv4Address(ip) in prefix:
                return self._routers[external], f"{prefix} is behind {external}", ""
        return "", f"no subnet that {source.segment} knows has {ip}", f"no-route:{source.segment}"

    def _visible(self, source: Place) -> Iterator[tuple[str, str, bool, str]]:
        """(VPC, subnet, permitted, reason): the subnets that a host's VPC knows."""
        spec = self._intent.vpcs[source.vpc]
        for subnet in spec.subnets:
            lists = [names for names in spec.permit if source.subnet in names and subnet in names]
            alone = [s for s in (source.subnet, subnet) if spec.isolated(s)]
            if subnet == source.subnet:
                restricted = spec.restricted(subnet)
                yield source.vpc, subnet, not restricted, "restricted subnet" if restricted else "same subnet"
            elif lists:
                yield source.vpc, subnet, True, f"permit [{', '.join(lists[0])}]"
            else:
                yield source.vpc, subnet, not alone, f"isolated subnet {alone[0]}" if alone else "same VPC"
        for peering in self._intent.peerings:
            for sides in peering.permit:
                if source.vpc in sides and source.subnet in (sides[source.vpc].subnets or spec.subnets):
                    (peer,) = set(sides) - {source.vpc}
                    for subnet in sides[peer].subnets or self._intent.vpcs[peer].subnets:
                        yield peer, subnet, True, f"peering with {peer}"

    def _from_outside(self, source: Place) -> Iterator[tuple[str, str, bool, str]]:
        """As _visible(), for the router of an External."""
        for permit in self._intent.external_permits:
            if permit.external.name == source.vpc:
                vpc = permit.vpc.name
                for subnet in permit.vpc.subnets or self._intent.vpcs[vpc].subnets:
                    yield vpc, subnet, True, f"external peering with {vpc}"

    def _links(self, source: Place) -> Iterator[tuple[str, str, bool, str]]:
        """As _visible(): the links to the Externals that a segment knows, its own among them."""
        if source.vpc in self._routers:
            yield source.vpc, LINK, False, "restricted link"
        for permit in self._permits(source):
            yield permit.external.name, LINK, True, f"external peering with {permit.external.name}"

    def _permits(self, source: Place) -> Iterator[ExternalPermit]:
        for permit in self._intent.external_permits:
            named = permit.vpc.name == source.vpc and source.subnet in (permit.vpc.subnets or (source.subnet,))
            if named and permit.external.name in self._routers:
                yield permit

    def _beyond(self, source: Place) -> list[tuple[str, IPv4Network]]:
        """(External, prefix) of what is behind Externals and may be reached; the longest prefix first."""
        found = []
        for permit in self._permits(source):
            let_in = [IPv4Network(p.prefix) for p in permit.external.prefixes]
            known = map(IPv4Network, self._intent.externals[permit.external.name].static.prefixes)
            found += [(permit.external.name, k) for k in known if any(k.subnet_of(p) for p in let_in)]
        return sorted(found, key=lambda way: -way[1].prefixlen)
