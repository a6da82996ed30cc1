"""Rule sets and frames that Hypothesis draws: from few values, so that they meet. In the engine's words and Open
vSwitch's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fabricd.frames import ARP, ICMP, IPV4, TCP, UDP, VXLAN_PORT, frame

PORTS = (1, 2, 3)
TUNNEL = 1000
TABLES = (0, 1, 2)
VTEPS, VTEP_MAC = ("10.255.0.1", "10.255.1.1", "10.255.2.1"), "02:ff:00:00:00:01"
NEIGHBOURS = {"10.255.0.7": "02:ff:00:00:00:07", "10.255.2.8": "02:ff:00:00:00:08"}
MACS = ("02:00:00:00:00:0a", "02:00:00:00:00:0b", "01:00:5e:00:00:01", VTEP_MAC)
MAC_MASKS = ("01:00:00:00:00:00/01:00:00:00:00:00", "00:00:00:00:00:0a/00:00:00:00:00:0f")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.1.1", *VTEPS[:2], "10.255.2.8")
NUMBERS: dict[str, tuple[int, ...]] = {
    "ip_dscp": (0, 10, 63), "ip_ecn": (0, 1, 3), "nw_ttl": (0, 1, 2, 64), "tcp_src": (1, 2), "tcp_dst": (80, 81),
    "udp_src": (1, 2), "udp_dst": (80, VXLAN_PORT), "icmpv4_type": (0, 8), "icmpv4_code": (0, 1), "arp_op": (1, 2),
    "tunnel_id": (0, 5001, 5002)}
OF_LAYER: dict[str, tuple[str, ...]] = {
    "any": ("eth_src", "eth_dst", "tunnel_id", "tun_ipv4_dst", "tun_ipv4_src"),
    "arp": ("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"),
    "ip": ("ip_dscp", "ip_ecn", "nw_ttl", "ipv4_src", "ipv4_dst"),
    "tcp": ("tcp_src", "tcp_dst"), "udp": ("udp_src", "udp_dst"), "icmp": ("icmpv4_type", "icmpv4_code")}
BELOW = {"any": ("any",), "arp": ("any", "arp"), "ip": ("any", "ip"), "tcp": ("any", "ip", "tcp"),
         "udp": ("any", "ip", "udp"), "icmp": ("any", "ip", "icmp")}
NEEDS: dict[str, dict[str, str]] = {
    "any": {}, "arp": {"eth_type": "0x806"}, "ip": {"eth_type": "0x800"},
    "tcp": {"eth_type": "0x800", "ip_proto": "6"}, "udp": {"eth_type": "0x800", "ip_proto": "17"},
    "icmp": {"eth_type": "0x800", "ip_proto": "1"}}
COPIES = {"any": (("eth_src", "eth_dst"), ("eth_dst", "eth_src")), "ip": (("ipv4_src", "ipv4_dst"),),
          "arp": (("arp_sha", "arp_tha"), ("arp_spa", "arp_tpa"), ("arp_tpa", "arp_spa"), ("eth_src", "arp_sha")),
          "tcp": (("tcp_src", "tcp_dst"),), "udp": (("udp_dst", "udp_src"),), "icmp": ()}
# as Open vSwitch names them in matches, sets and moves
OVS_NAMES = {"tunnel_id": "tun_id", "tun_ipv4_dst": "tun_dst", "tun_ipv4_src": "tun_src", "ip_ecn": "nw_ecn",
             "icmpv4_type": "icmp_type", "icmpv4_code": "icmp_code", "ipv4_src": "ip_src", "ipv4_dst": "ip_dst"}
OVS_MOVES = {"eth_src": "NXM_OF_ETH_SRC[]", "eth_dst": "NXM_OF_ETH_DST[]", "ipv4_src": "NXM_OF_IP_SRC[]",
             "ipv4_dst": "NXM_OF_IP_DST[]", "arp_sha": "NXM_NX_ARP_SHA[]", "arp_tha": "NXM_NX_ARP_THA[]",
             "arp_spa": "NXM_OF_ARP_SPA[]", "arp_tpa": "NXM_OF_ARP_TPA[]", "tcp_src": "NXM_OF_TCP_SRC[]",
             "tcp_dst": "NXM_OF_TCP_DST[]", "udp_src": "NXM_OF_UDP_SRC[]", "udp_dst": "NXM_OF_UDP_DST[]"}
LINKS = tuple(map(str, PORTS))
OUTPUTS = (*LINKS, *LINKS, "IN_PORT", "LOCAL", str(TUNNEL), str(TUNNEL))
Action = tuple[str, ...]    # ("output", port), ("group", id), ("set", field, value), ("copy", from, to), ("dec_ttl",)


@dataclass(frozen=True)
class Rule:
    id: int
    table: int
    priority: int
    match: dict[str, str]
    actions: tuple[Action, ...]
    goto: int | None

    def words(self, switch: str) -> str:
        goto = f" goto={self.goto}" if self.goto is not None else ""
        match = ",".join(f"{name}={value}" for name, value in self.match.items()) or "*"
        return (f"rule {switch} {self.id} table={self.table} priority={self.priority} cookie={self.id} match {match} "
                f"do {words(self.actions)}{goto}")

    def ovs(self) -> str:
        match = "".join(f",{OVS_NAMES.get(name, name)}={value}" for name, value in self.match.items())
        actions = [*map(_ovs, self.actions), *([f"goto_table:{self.goto}"] if self.goto is not None else [])]
        return (f"cookie={self.id},table={self.table},priority={self.priority}{match},"
                f"actions={','.join(actions) or 'drop'}")


@dataclass(frozen=True)
class Group:
    """Buckets of a select group are alike, because another switch's hash is another."""

    id: int
    type: str
    buckets: tuple[tuple[Action, ...], ...]

    def words(self, switch: str) -> str:
        buckets = " ".join(f"{n}:-:{words(actions)}" for n, actions in enumerate(self.buckets))
        return f"group {switch} {self.id} type={self.type} buckets {buckets}"

    def ovs(self) -> str:
        watch = ",watch_port:1" if self.type == "failover" else ""
        buckets = "".join(f",bucket=bucket_id:{n}{watch},actions={','.join(map(_ovs, actions)) or 'drop'}"
                          for n, actions in enumerate(self.buckets))
        return f"group_id={self.id},type={self.type.replace('failover', 'fast_failover')}{buckets}"


def words(actions: Sequence[Action]) -> str:
    def one(action: Action) -> str:
        match action:
            case ("set", name, value):
                return f"set:{name}={value}"
            case ("copy", source, target):
                return f"copy:{source}>{target}"
            case _:
                return ":".join(action)
    return ";".join(map(one, actions)) or "drop"


def _ovs(action: Action) -> str:
    match action:
        case ("set", name, value):
            return f"set_field:{value}->{OVS_NAMES.get(name, name)}"
        case ("copy", source, target):
            return f"move:{OVS_MOVES[source]}->{OVS_MOVES[target]}"
        case _:
            return ":".join(action)


def value(name: str) -> st.SearchStrategy[str]:
    if name in NUMBERS:
        return st.sampled_from(NUMBERS[name]).map(str)
    if name in ("eth_src", "eth_dst", "arp_sha", "arp_tha"):
        return st.sampled_from(MACS)
    if name == "tun_ipv4_dst":
        return st.sampled_from([*NEIGHBOURS, VTEPS[0], "10.255.0.9"])
    return st.sampled_from(ADDRESSES)


@st.composite
def conditions(draw: st.DrawFn, layer: str) -> dict[str, str]:
    """A match on a few of the fields that packets of this layer have."""
    match = dict(NEEDS[layer])
    if draw(st.booleans()):
        match["in_port"] = draw(st.sampled_from(["1", "2", "LOCAL", str(TUNNEL)]))
    names = [name for below in BELOW[layer] for name in OF_LAYER[below]]
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)):
        match[name] = draw(value(name))
        if name in ("ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa") and draw(st.booleans()):
            length = draw(st.sampled_from([8, 16, 24, 31]))
            match[name] = f"{_network(match[name], length)}/{length}"
        if name in ("eth_src", "eth_dst") and not draw(st.integers(0, 3)):
            match[name] = draw(st.sampled_from(MAC_MASKS))
    return match


def _network(address: str, length: int) -> str:
    number = int.from_bytes(bytes(map(int, address.split("."))), "big") >> (32 - length) << (32 - length)
    return ".".join(map(str, number.to_bytes(4, "big")))


def action(layer: str, groups: Sequence[int], outputs: Sequence[str] = OUTPUTS) -> st.SearchStrategy[Action]:
    below = BELOW[layer]
    names = [name for part in below for name in OF_LAYER[part] if name != "tun_ipv4_src"]
    copies = [copy for part in below for copy in COPIES[part]]
    kinds: list[st.SearchStrategy[Action]] = [
        st.sampled_from(outputs).map(lambda port: ("output", port)),
        st.sampled_from(names).flatmap(lambda name: value(name).map(lambda v: ("set", name, v))),
        st.sampled_from(copies).map(lambda copy: ("copy", *copy))]
    if groups:
        kinds.append(st.sampled_from(groups).map(lambda g: ("group", str(g))))
    if "ip" in below:
        kinds.append(st.just(("dec_ttl",)))
    return st.one_of(kinds)


INTO_TUNNEL: tuple[Action, ...] = (("set", "tunnel_id", "5001"), ("set", "tun_ipv4_dst", "10.255.2.8"),
                                   ("output", str(TUNNEL)))


@st.composite
def rule_sets(draw: st.DrawFn) -> tuple[list[Rule], list[Group]]:
    """Rules without two of the same priority in a table, so that one of them matches first; groups that they use.

    What comes out of LOCAL leaves by a link: in tunnels that lead into tunnels each switch stops where it likes.
    """
    groups: list[Group] = []
    for number in range(1, 1 + draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["all", "indirect", "select", "failover"]))
        bucket = st.lists(action("any", [g.id for g in groups]), max_size=3).map(tuple)
        count = 1 if kind == "indirect" else draw(st.integers(1, 3))
        drawn = [draw(bucket)] * count if kind == "select" else [draw(bucket) for _ in range(count)]
        groups.append(Group(number, kind, tuple(drawn)))
    rules = []
    for number in range(1, 1 + draw(st.integers(1, 12))):
        layer = draw(st.sampled_from(list(BELOW)))
        table = draw(st.sampled_from(TABLES))
        actions = draw(st.one_of(st.lists(action(layer, [g.id for g in groups]), max_size=5).map(tuple),
                                 st.just(INTO_TUNNEL)))
        goto = draw(st.sampled_from([None, *(t for t in TABLES if t > table)]))
        rules.append(Rule(number, table, 10 * number, draw(conditions(layer)), actions, goto))
    defaults = [Rule(100 + table, table, 0, {}, draw(st.sampled_from([(), (("output", "2"),), INTO_TUNNEL])), None)
                for table in TABLES]
    changes = draw(st.lists(action("udp", [], LINKS), max_size=3).map(tuple))
    underlay = Rule(200, 0, 501, {**NEEDS["udp"], "in_port": "LOCAL"}, (*changes, ("output", "3")), None)
    end = Rule(201, 0, 500, {**NEEDS["udp"], "udp_dst": str(VXLAN_PORT)}, (("output", "LOCAL"),), None)
    return [*rules, *defaults, underlay, *draw(st.sampled_from([[], [end]]))], groups


@st.composite
def packets(draw: st.DrawFn, depth: int = 0) -> bytes:
    """A frame with fields of the values that rules have; some in a tunnel to here, some tagged, some broken."""
    fields: dict[str, Any] = {"eth_src": draw(value("eth_src")), "eth_dst": draw(value("eth_dst")),
                              "eth_type": draw(st.sampled_from([IPV4, IPV4, IPV4, ARP, 0x88B6]))}
    fields |= {name: draw(value(name)) for name in ("ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa", "arp_sha", "arp_tha")}
    fields |= {name: draw(st.sampled_from(NUMBERS[name])) for name in NUMBERS}
    fields |= {"ip_proto": draw(st.sampled_from([UDP, UDP, TCP, ICMP, 50])),
               "fragment": draw(st.sampled_from([0x4000, 0x4000, 0x4000, 0x2000, 0x2001, 1])),
               "no_udp_checksum": draw(st.booleans())}
    if depth == 0 and draw(st.booleans()):
        # from a neighbour's own MAC: Open vSwitch learns neighbours from what comes out of tunnels, the engine is told;
        # to the last address: a dummy device of Open vSwitch has no more than that one
        fields |= {"eth_src": NEIGHBOURS["10.255.2.8"], "eth_type": IPV4, "ip_proto": UDP,
                   "udp_dst": VXLAN_PORT, "eth_dst": VTEP_MAC, "fragment": 0x4000,
                   "ipv4_dst": VTEPS[-1], "no_udp_checksum": True, "ipv4_src": "10.255.2.8",
                   "inner": {"vni": draw(st.sampled_from([5001, 5002])), "frame": draw(packets(1))}}
        inner = fields["inner"]["frame"]
        if fields["ip_ecn"] == 3 and not (inner[12:14] == b"\x08\x00" and inner[15] & 3):
            fields["ip_ecn"] = 2    # both end it, but Open vSwitch counts the rule first that would have got it
    made = frame(fields, draw(st.sampled_from([b"", b"x", b"payload", bytes(64)])))
    between = draw(st.sampled_from(["", "", "", "", "8100000a", "88a82005", "81000001810000 02"]))
    return made[:12] + bytes.fromhex(between) + made[12:]
