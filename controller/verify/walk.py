"""A packet's way through rule sets alone: tables, groups, tunnels and links, without a switch. Pure.

It follows what Open vSwitch does with the rules of controller/: the highest matching priority wins, a
select group takes one live bucket by the hash of the flow (which one a real switch takes, only that switch
can say: a caller who has asked it gives `choose`), a failover group the first live one, a packet to the
tunnel port comes back encapsulated from LOCAL, and one to LOCAL that is addressed to an own VTEP comes
back decapsulated from the tunnel port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from controller.rules import rules as r
from controller.rules.rules import (
    Action,
    Bucket,
    CopyField,
    DecTtl,
    Flow,
    Group,
    Match,
    Output,
    RuleSet,
    SetField,
    SwitchRules,
    ToGroup,
    Value,
)
from topologies.model import addressing as addr
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric

Packet = dict[str, Any]     # OXM field -> value; `inner` holds what a tunnel packet carries
Choose = Callable[[str, Group, Packet, Sequence[Bucket]], Bucket]   # switch, its select group, packet, live buckets
HASHED = {"ip_src": "ipv4_src", "ip_dst": "ipv4_dst"}
MAX_STEPS = 50


@dataclass(frozen=True)
class Delivered:
    host: str
    packet: Packet = field(hash=False)


@dataclass(frozen=True)
class Dropped:
    switch: str
    rule: str


@dataclass(frozen=True)
class Step:
    """A rule that matched: the flow, at which switch, and what its actions came to ('' for none)."""

    switch: str
    flow: Flow
    did: str


@dataclass
class Walk:
    """What became of one packet: every end of it, the links that it used and the rules that matched, in order."""

    ends: list[Delivered | Dropped] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    directions: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def end(self) -> Delivered | Dropped:
        """The only end. Raises LabError if the packet went nowhere or was copied."""
        _demand(len(self.ends) == 1, "the packet", "one end", ", ".join(map(str, self.ends)) or "none")
        return self.ends[0]


def _demand(holds: bool, where: str, expected: str, found: str) -> None:
    """Rules that break this are wrong, whatever the packet."""
    if not holds:
        raise LabError(where, expected, found, "these rules are not those that the controller compiles")


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def _fits(name: str, wanted: str, found: Value | None) -> bool:
    """Whether a field has one of the values that a mask leaves."""
    if found is None:
        return False
    value, mask = wanted.split("/")
    if name.startswith("eth"):
        return _mac(value) & _mac(mask) == _mac(str(found)) & _mac(mask)
    return ipaddress.ip_address(str(found)) in ipaddress.ip_network(wanted)


def matches(match: Match, packet: Packet) -> bool:
    for name, value in match.set_fields:        # asked a million times: most fields fit or fail by being equal
        found = packet.get(name)
        if found != value and not (type(value) is str and "/" in value and _fits(name, value, found)):
            return False
    return True


def by_hash(_switch: str, group: Group, packet: Packet, live: Sequence[Bucket]) -> Bucket:
    """Rendezvous hashing, as selection_method=hash does, though with another hash than a switch's."""
    flow = tuple(packet.get(HASHED.get(f, f)) for f in group.hash_fields)
    return max(live, key=lambda b: blake2b(repr((b.id, flow)).encode(), digest_size=4).digest())


class Walker:
    """The switches of a fabric with the rules that they hold; `down` names links that carry nothing."""

    def __init__(self, fabric: Fabric, rules: RuleSet, down: frozenset[str] = frozenset(),
                 choose: Choose = by_hash) -> None:
        self.fabric, self.rules, self.down, self._choose = fabric, dict(rules), down, choose
        self._links = {(end.node, end.ofport): k for k in fabric.links for end in (k.a, k.b)}
        self._tables: dict[tuple[str, int], tuple[SwitchRules, list[Flow]]] = {}    # as of which rules

    def send(self, host: str, packet: Packet) -> Walk:
        """Put a packet on a host's access link. Raises LabError for rules that loop, clash or have gaps."""
        walk = Walk()
        self._cross(walk, host, 0, packet)
        return walk

    def _cross(self, walk: Walk, node: str, port: int, packet: Packet) -> None:
        """Out of a node's port, over the link, into the node at its other end."""
        link = self._links[node, port]
        far = link.far(node)
        walk.links.append(link.name)
        walk.directions.append(f"{node}->{far.node}")
        _demand(len(walk.links) < MAX_STEPS, "the packet", "an end of its way", f"a loop: {walk.links}")
        if link.name in self.down:
            walk.ends.append(Dropped(node, f"dead link {link.name}"))
        elif self.fabric.node(far.node).is_host:
            walk.ends.append(Delivered(far.node, packet))
        else:
            self._switch(walk, far.node, {**packet, "in_port": far.ofport})

    def _switch(self, walk: Walk, switch: str, packet: Packet) -> None:
        """From the first table on, until no rule jumps any more."""
        table: int | None = 0
        while table is not None:
            flow = self._lookup(switch, table, packet)
            if flow.is_drop:
                walk.ends.append(Dropped(switch, flow.name))
            walk.steps.append(Step(switch, flow, self._reported(switch, packet, flow)))
            for action in flow.actions:
                self._apply(walk, switch, packet, action)
            table = flow.goto

    def _lookup(self, switch: str, table: int, packet: Packet) -> Flow:
        rules = self.rules[switch]
        known = self._tables.get((switch, table))
        if known is None or known[0] is not rules:
            known = self._tables[switch, table] = rules, [f for f in rules.flows if f.table == table]
        fitting = [f for f in known[1] if matches(f.match, packet)]
        _demand(bool(fitting), switch, f"a rule of table {table} for {packet}", "none")
        best = max(f.priority for f in fitting)
        first, *others = [f for f in fitting if f.priority == best]
        _demand(not others, switch, "one rule for a packet", ", ".join(f.name for f in (first, *others)))
        return first

    def _reported(self, switch: str, packet: Packet, flow: Flow) -> str:
        """What a rule's actions do to this packet, in words."""
        words = []
        for action in flow.actions:
            match action:
                case SetField(name, value):
                    words.append(f"{name}={value}")
                case CopyField(source, target):
                    words.append(f"{target}={source}")
                case DecTtl():
                    words.append("ttl-1")
                case ToGroup(number):
                    group = self.rules[switch].by_group[number]
                    words.append(f"group {group.name}: {self._taken(switch, group, packet)}")
                case Output(port):
                    words.append(f"out {self._port(switch, port, packet)}")
        return ", ".join(words)

    def _taken(self, switch: str, group: Group, packet: Packet) -> str:
        live = self._live(switch, group)
        bucket = self._bucket(switch, group, packet)
        return f"path {bucket.id} of {', '.join(str(b.id) for b in live)}" if bucket else "no live path"

    def _port(self, switch: str, port: int, packet: Packet) -> str:
        if port in (addr.VXLAN_PORT, r.LOCAL):
            return "tunnel"
        number = int(packet["in_port"]) if port == r.IN_PORT else port
        link = self._links.get((switch, number))
        return link.far(switch).node if link else f"port {number}"

    def _apply(self, walk: Walk, switch: str, packet: Packet, action: Action) -> None:
        match action:
            case SetField(name, value):
                packet[name] = value
            case CopyField(source, target):
                packet[target] = packet[source]
            case DecTtl():
                packet["nw_ttl"] = int(packet.get("nw_ttl", 64)) - 1
            case ToGroup(number):
                bucket = self._bucket(switch, self.rules[switch].by_group[number], packet)
                for inner in bucket.actions if bucket else ():
                    self._apply(walk, switch, packet, inner)
            case Output(port):
                self._output(walk, switch, port, packet)

    def _live(self, switch: str, group: Group) -> list[Bucket]:
        return [b for b in group.buckets if self._links[switch, b.watch_port].name not in self.down]

    def _bucket(self, switch: str, group: Group, packet: Packet) -> Bucket | None:
        live = self._live(switch, group)
        if not live:
            return None
        return live[0] if group.is_failover else self._choose(switch, group, packet, live)

    def _output(self, walk: Walk, switch: str, port: int, packet: Packet) -> None:
        node = self.fabric.node(switch)
        if port == r.IN_PORT:
            self._cross(walk, switch, int(packet["in_port"]), dict(packet))
        elif port == addr.VXLAN_PORT:
            self._switch(walk, switch, self._encapsulated(switch, packet))
        elif port == r.LOCAL:
            own = packet["ipv4_dst"] in (node.ip, *node.aliases) and packet["eth_dst"] == node.mac
            _demand(own, switch, "a tunnel packet to one of its own VTEPs", str(packet["ipv4_dst"]))
            inner = dict(packet["inner"])
            self._switch(walk, switch, {**inner, "in_port": addr.VXLAN_PORT})
        elif port != packet["in_port"]:     # a switch never sends a packet back by a plain output
            self._cross(walk, switch, port, {k: v for k, v in packet.items() if k not in ("tunnel_id", "in_port")})

    def _encapsulated(self, switch: str, packet: Packet) -> Packet:
        """Outer header as the tunnel port writes it: from the VTEP of the alias's subnet, DSCP inherited."""
        remote = str(packet["tun_ipv4_dst"])
        known = {n.ip: n.mac for n in self.rules[switch].neighbours}
        _demand(remote in known, switch, f"a tunnel neighbour {remote}", "none")
        inner = {k: v for k, v in packet.items() if k not in ("in_port", "tun_ipv4_dst")}
        node = self.fabric.node(switch)
        return {"in_port": r.LOCAL, "eth_src": node.mac, "eth_dst": known[remote], "eth_type": r.ETH_IPV4,
                "ip_proto": r.UDP, "ip_dscp": packet.get("ip_dscp", 0), "udp_dst": addr.VXLAN_UDP_PORT,
                "ipv4_src": (node.ip, *node.aliases)[addr.path_of(remote)], "ipv4_dst": remote, "nw_ttl": 64,
                "inner": inner}
