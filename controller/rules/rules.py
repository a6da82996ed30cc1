"""What a switch shall do, as values: flows, groups, tunnel neighbours. No os-ken types, no I/O.

A rule's cookie is the hash of its whole content, so two rules with one cookie are the same rule and
an installed rule set is compared with a wanted one by cookies alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Self

IN_PORT = 0xFFFFFFF8    # OFPP_IN_PORT: back to where the packet came from
LOCAL = 0xFFFFFFFE      # OFPP_LOCAL: the bridge's own port, which holds the VTEP

ETH_ARP = 0x0806
ETH_IPV4 = 0x0800
ICMP = 1
UDP = 17

Value = int | str


@dataclass(frozen=True, kw_only=True)
class Match:
    """OpenFlow match fields by their OXM names; None is a wildcard.

    MAC and IPv4 values may carry a mask or prefix length: '01:00:00:00:00:00/01:00:00:00:00:00',
    '10.255.1.0/24'. `tunnel_id` doubles as the segment (VNI) of a packet inside one switch, and
    `tun_ipv4_dst` as the VTEP that it is on its way to.
    """

    in_port: int | None = None
    tunnel_id: int | None = None
    tun_ipv4_dst: str | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    eth_type: int | None = None
    ip_proto: int | None = None
    ip_dscp: int | None = None
    nw_ttl: int | None = None
    ipv4_src: str | None = None
    ipv4_dst: str | None = None
    udp_dst: int | None = None
    icmpv4_type: int | None = None
    icmpv4_code: int | None = None
    arp_op: int | None = None
    arp_spa: str | None = None
    arp_tpa: str | None = None
    arp_sha: str | None = None

    @cached_property
    def set_fields(self) -> tuple[tuple[str, Value], ...]:
        """(field, value) of every field that is set, in the order above (prerequisites first)."""
        values = ((name, getattr(self, name)) for name in _MATCH_FIELDS)
        return tuple((name, value) for name, value in values if value is not None)


_MATCH_FIELDS = tuple(f.name for f in fields(Match))


@dataclass(frozen=True)
class Output:
    port: int


@dataclass(frozen=True)
class ToGroup:
    group: int


@dataclass(frozen=True)
class SetField:
    """Field by its OXM name; `tun_ipv4_dst` chooses the remote VTEP of a packet that is encapsulated."""

    field: str
    value: Value


@dataclass(frozen=True)
class CopyField:
    """All bits of one field into another of the same width."""

    source: str
    target: str


@dataclass(frozen=True)
class DecTtl:
    pass


Action = Output | ToGroup | SetField | CopyField | DecTtl


@dataclass(frozen=True)
class Bucket:
    """One path of a group. It is skipped by the switch itself while watch_port is down."""

    id: int
    watch_port: int
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Group:
    """A select group: each flow, by the hash of `hash_fields`, takes one live bucket.

    Without hash fields it is a fast-failover group: every packet takes the first live bucket.
    """

    id: int
    name: str = field(compare=False)    # the switch does not know it
    hash_fields: tuple[str, ...]
    buckets: tuple[Bucket, ...]

    @property
    def is_failover(self) -> bool:
        return not self.hash_fields


@dataclass(frozen=True)
class Flow:
    """One rule. No actions and no goto: its packets are dropped and counted under `name`.

    Names read `kind` or `kind:object`, such as host:h1, spoof:h1, unknown-mac.
    """

    name: str
    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...] = ()
    goto: int | None = None

    @property
    def is_drop(self) -> bool:
        return not self.actions and self.goto is None

    @cached_property
    def cookie(self) -> int:
        """64-bit BLAKE2b of the content; never 0 (a foreign rule's usual cookie) or all ones (reserved)."""
        content = repr((self.name, int(self.table), int(self.priority), self.match.set_fields, self.actions,
                        None if self.goto is None else int(self.goto)))
        digest = int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big")
        return min(max(digest, 1), 2**64 - 2)


@dataclass(frozen=True)
class Neighbour:
    """The MAC behind a remote VTEP address, which the tunnel needs before it can encapsulate."""

    ip: str
    mac: str


Part = tuple[Flow, ...]


class Assembled(tuple[Flow, ...]):
    """Rules put together of parts, most of which stay the same objects when something changes."""

    parts: tuple[Part, ...]

    def __new__(cls, parts: Iterable[Part]) -> Self:
        known = tuple(parts)
        whole = super().__new__(cls, chain.from_iterable(known))
        whole.parts = known
        return whole


def parts_of(flows: Part) -> tuple[Part, ...]:
    """Of rules that were not put together, all of them are one part."""
    return flows.parts if isinstance(flows, Assembled) else (flows,)


def changed(old: Sequence[Part], new: Sequence[Part]) -> tuple[list[Flow], list[Flow]]:
    """(rules that are in `old` alone, rules that are in `new` alone). What is in the same object, a part or a rule, is
    the same, and is not looked at."""
    before, after = apart(old, new), apart(new, old)
    had, has = {id(f) for f in before}, {id(f) for f in after}
    gone, come = [f for f in before if id(f) not in has], [f for f in after if id(f) not in had]
    went, came = {f.cookie for f in gone}, {f.cookie for f in come}
    return [f for f in gone if f.cookie not in came], [f for f in come if f.cookie not in went]


def apart(parts: Sequence[Part], others: Sequence[Part]) -> list[Flow]:
    """Rules of the parts that others do not have."""
    known = {id(part) for part in others}
    return [flow for part in parts if id(part) not in known for flow in part]


@dataclass(frozen=True)
class SwitchRules:
    """Everything that one switch shall hold.

    `steady` flows depend on the fabric alone and are the same object in every state of it, so that
    nobody has to compare thousands of rules when a link fails; `passing` ones come and go.
    """

    switch: str
    steady: tuple[Flow, ...]
    passing: tuple[Flow, ...] = ()
    groups: tuple[Group, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()

    @property
    def flows(self) -> tuple[Flow, ...]:
        return self.steady + self.passing

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*parts_of(self.steady), self.passing)

    @cached_property
    def by_group(self) -> dict[int, Group]:
        return {g.id: g for g in self.groups}


RuleSet = Mapping[str, SwitchRules]     # switch name -> its rules
