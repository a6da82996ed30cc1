"""Switches that exist only as rule sets: walks a packet through tables, groups, tunnels and links.

It follows what Open vSwitch does with the rules of controller/: the highest matching priority wins, a
select group takes the live bucket with the highest hash (rendezvous hashing, as selection_method=hash
does), a failover group the first live one, a packet to the tunnel port comes back encapsulated from
LOCAL, and one to LOCAL that is addressed to an own VTEP comes back decapsulated from the tunnel port.
"""

from __future__ import annotations

import ipaddress
import zlib
from dataclasses import dataclass, field

from controller import rules as r
from controller.rules import Action, CopyField, DecTtl, Flow, Group, Match, Output, RuleSet, SetField, ToGroup, Value
from topologies import addressing as addr
from topologies.fabric import Fabric

Packet = dict[str, Value]
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


@dataclass
class Walk:
    """What became of one packet: every end of it, and the links that it used, in order."""

    ends: list[Delivered | Dropped] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    @property
    def end(self) -> Delivered | Dropped:
        assert len(self.ends) == 1, self.ends
        return self.ends[0]


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def _fits(name: str, wanted: Value, found: Value | None) -> bool:
    if found is None:
        return False
    if isinstance(wanted, str) and "/" in wanted:
        value, mask = wanted.split("/")
        if name.startswith("eth"):
            return _mac(value) & _mac(mask) == _mac(str(found)) & _mac(mask)
        return ipaddress.ip_address(str(found)) in ipaddress.ip_network(wanted)
    return wanted == found


def matches(match: Match, packet: Packet) -> bool:
    return all(_fits(name, value, packet.get(name)) for name, value in match.items())


class FakeFabric:
    """The switches of a fabric with the rules that they hold; `down` names links that carry nothing."""

    def __init__(self, fabric: Fabric, rules: RuleSet, down: frozenset[str] = frozenset()) -> None:
        self.fabric, self.rules, self.down = fabric, dict(rules), down

    def send(self, host: str, packet: Packet) -> Walk:
        """Put a packet on a host's access link."""
        walk = Walk()
        self._cross(walk, host, 0, packet)
        return walk

    def _cross(self, walk: Walk, node: str, port: int, packet: Packet) -> None:
        """Out of a node's port, over the link, into the node at its other end."""
        link = next(k for k in self.fabric.links_of(node) if k.end(node).number == port)
        walk.links.append(link.name)
        assert len(walk.links) < MAX_STEPS, f"a loop: {walk.links}"
        far = link.far(node)
        if link.name in self.down:
            walk.ends.append(Dropped(node, f"dead link {link.name}"))
        elif self.fabric.node(far.node).is_host:
            walk.ends.append(Delivered(far.node, packet))
        else:
            self._switch(walk, far.node, {**packet, "in_port": far.number})

    def _switch(self, walk: Walk, switch: str, packet: Packet) -> None:
        """From the first table on, until no rule jumps any more."""
        table: int | None = 0
        while table is not None:
            flow = self._lookup(switch, table, packet)
            if flow.is_drop:
                walk.ends.append(Dropped(switch, flow.name))
            for action in flow.actions:
                self._apply(walk, switch, packet, action)
            table = flow.goto

    def _lookup(self, switch: str, table: int, packet: Packet) -> Flow:
        fitting = [f for f in self.rules[switch].flows if f.table == table and matches(f.match, packet)]
        assert fitting, f"{switch}: no rule of table {table} for {packet}"
        best = max(f.priority for f in fitting)
        first, *others = [f for f in fitting if f.priority == best]
        assert not others, f"{switch}: {first.name} and {others[0].name} match the same packet"
        return first

    def _apply(self, walk: Walk, switch: str, packet: Packet, action: Action) -> None:
        match action:
            case SetField(name, value):
                packet[name] = value
            case CopyField(source, target):
                packet[target] = packet[source]
            case DecTtl():
                packet["nw_ttl"] = int(packet.get("nw_ttl", 64)) - 1
            case ToGroup(number):
                for inner in self._bucket_actions(switch, self.rules[switch].by_group[number], packet):
                    self._apply(walk, switch, packet, inner)
            case Output(port):
                self._output(walk, switch, port, packet)

    def _bucket_actions(self, switch: str, group: Group, packet: Packet) -> tuple[Action, ...]:
        live = [b for b in group.buckets if self._link(switch, b.watch_port) not in self.down]
        if not live:
            return ()
        if group.is_failover:
            return live[0].actions
        flow = tuple(packet.get(HASHED.get(f, f)) for f in group.hash_fields)
        return max(live, key=lambda b: zlib.crc32(repr((b.id, flow)).encode())).actions

    def _link(self, switch: str, port: int) -> str:
        return next(k.name for k in self.fabric.links_of(switch) if k.end(switch).number == port)

    def _output(self, walk: Walk, switch: str, port: int, packet: Packet) -> None:
        node = self.fabric.node(switch)
        if port == r.IN_PORT:
            self._cross(walk, switch, int(packet["in_port"]), dict(packet))
        elif port == addr.VXLAN_PORT:
            self._switch(walk, switch, self._encapsulated(switch, packet))
        elif port == r.LOCAL:
            assert packet["ipv4_dst"] in (node.ip, *node.aliases), f"{switch} is not {packet['ipv4_dst']}"
            assert packet["eth_dst"] == node.mac
            inner = dict(packet["inner"])  # type: ignore[call-overload]
            self._switch(walk, switch, {**inner, "in_port": addr.VXLAN_PORT})
        elif port != packet["in_port"]:     # a switch never sends a packet back by a plain output
            self._cross(walk, switch, port, {k: v for k, v in packet.items() if k not in ("tunnel_id", "in_port")})

    def _encapsulated(self, switch: str, packet: Packet) -> Packet:
        """Outer header as the tunnel port writes it: from the VTEP of the alias's subnet, DSCP inherited."""
        remote = str(packet["tun_ipv4_dst"])
        known = {n.ip: n.mac for n in self.rules[switch].neighbours}
        assert remote in known, f"{switch}: no tunnel neighbour {remote}"
        path = int(remote.split(".")[2])
        inner = {k: v for k, v in packet.items() if k not in ("in_port", "tun_ipv4_dst")}
        node = self.fabric.node(switch)
        return {"in_port": r.LOCAL, "eth_src": node.mac, "eth_dst": known[remote], "eth_type": r.ETH_IPV4,
                "ip_proto": r.UDP, "ip_dscp": packet.get("ip_dscp", 0), "udp_dst": r.VXLAN_UDP_PORT,
                "ipv4_src": (node.ip, *node.aliases)[path], "ipv4_dst": remote, "nw_ttl": 64,
                "inner": inner}  # type: ignore[dict-item]
