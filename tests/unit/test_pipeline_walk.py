"""The engine's pipelines and the pipeline simulator, on the same rules and packets: the same rules in the same order,
the same links, tunnels and segments, the same end, and the same bytes there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation, Tenancy, allocate, resolve
from controller.rules.compile import Compiler
from controller.rules.rules import ETH_ARP, ETH_IPV4, ICMP, UDP, RuleSet
from controller.rules.state import State
from controller.verify.rendezvous import by_rendezvous
from controller.verify.walk import Delivered, Dropped, Packet, Walk, Walker
from tests.drawn_intents import mixed
from tests.examples import examples
from tests.fabricd.driver import Pipelines, Said, pipelines
from tests.fabricd.frames import TCP, frame
from tests.fabricd.words import commands, fabric_commands
from tests.golden.tenants import CASES
from tests.unit.intents import intent
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

UNKNOWN_MAC, GROUP_MAC = "02:00:63:63:63:63", "01:00:5e:00:00:01"


class Twins:
    """One fabric twice: on engine pipelines, and on the simulator with the engine's hash."""

    def __init__(self, engine: Pipelines, fabric: Fabric, rules: RuleSet, down: frozenset[str]) -> None:
        self._engine, self._fabric, self._rules = engine, fabric, rules
        self.walker = Walker(fabric, rules, down, by_rendezvous)
        self._counted: Counter[tuple[str, int]] = Counter()
        engine.do(*fabric_commands(fabric), *(line for switch in rules.values() for line in commands(switch)))
        for end in (end for name in down for end in (fabric.links_by_name[name].a, fabric.links_by_name[name].b)):
            if not fabric.node(end.node).is_host:
                engine.do(f"live {end.node} {end.ofport} down")

    def compare(self, host: str, packet: Packet) -> Walk:
        """Send a packet from a host on both, and hold the one's way against the other's."""
        walk = self.walker.send(host, dict(packet))
        access = self._fabric.access_link(host).end(self._fabric.host(host).leaf)
        said = self._engine.frame(access.node, access.ofport, frame(packet))
        assert [f"{switch}->{self._far(switch, port)}" for switch, port in said.crossed + said.dead] == [
            d for d in walk.directions if not any(self._fabric.node(end).is_host for end in d.split("->"))]
        assert self._rules_that_counted() == Counter((s.switch, s.flow.cookie) for s in walk.steps)
        assert self._ends(said) == [frame(end.packet) if isinstance(end, Delivered) else end.rule.split(" ")[0]
                                    for end in walk.ends if not isinstance(end, Dropped) or " " in end.rule]
        return walk

    def _far(self, switch: str, port: int) -> str:
        return self.walker._links[switch, port].far(switch).node

    def _ends(self, said: Said) -> Sequence[bytes | str]:
        return [*(o.frame for o in said.out), *("dead" for _ in said.dead)]

    def _rules_that_counted(self) -> Counter[tuple[str, int]]:
        """(switch, cookie) -> packets since this was asked last."""
        now = Counter({(name, rules.flows[n].cookie): packets for name, rules in self._rules.items()
                       for n, (packets, _) in self._engine.rules(name).items()})
        found, self._counted = now - self._counted, now
        return found


@contextmanager
def twins(fabric: Fabric, compiler: Compiler, state: State = State(),       # noqa: B008 - a frozen value
          known: bool = True) -> Iterator[Twins]:
    """known: the controller has heard of what is down."""
    with pipelines() as engine:
        yield Twins(engine, fabric, compiler.rules(state if known else State()), state.down)


def address(fabric: Fabric, tenancy: Tenancy, host: str) -> tuple[str, str]:
    """MAC, IP."""
    found = tenancy.members.get(host)
    node = fabric.host(host)
    return (found[1].mac, found[1].ip) if found else (node.mac, node.ip)


def packets(fabric: Fabric, tenancy: Tenancy) -> st.SearchStrategy[tuple[str, Packet]]:
    """What a host may send: to whom it likes, honestly and not."""
    hosts = [h.name for h in fabric.hosts]
    ends = st.sampled_from([address(fabric, tenancy, h) for h in hosts])
    gateways = sorted({s.gateway for s in tenancy.segments.values()}) or ["10.9.0.1"]

    @st.composite
    def drawn(draw: st.DrawFn) -> tuple[str, Packet]:
        host = draw(st.sampled_from(hosts))
        mac, ip = address(fabric, tenancy, host) if draw(st.integers(0, 9)) else draw(ends)
        other_mac, other_ip = draw(ends)
        if not draw(st.integers(0, 3)):
            return host, {"eth_src": mac, "eth_dst": "ff:ff:ff:ff:ff:ff", "eth_type": ETH_ARP, "arp_op": 1,
                          "arp_sha": mac, "arp_spa": ip, "arp_tha": "00:00:00:00:00:00",
                          "arp_tpa": draw(st.sampled_from([other_ip, *gateways, "10.99.0.1"]))}
        packet: dict[str, Any] = {
            "eth_src": mac, "eth_type": ETH_IPV4, "ip_proto": draw(st.sampled_from([UDP, TCP, ICMP])),
            "ip_dscp": draw(st.sampled_from([0, 0, 46, 26, 63])), "nw_ttl": draw(st.sampled_from([64, 64, 2, 1, 0])),
            "eth_dst": draw(st.sampled_from([other_mac, other_mac, GATEWAY_MAC, UNKNOWN_MAC, GROUP_MAC])),
            "ipv4_src": ip,
            "ipv4_dst": draw(st.sampled_from([other_ip, other_ip, *gateways, "172.16.7.9", "10.99.0.1"]))}
        name = {UDP: "udp", TCP: "tcp"}.get(packet["ip_proto"])
        if name:
            packet |= {f"{name}_src": draw(st.integers(0, 65535)), f"{name}_dst": draw(st.sampled_from([9000, 4789]))}
        else:
            packet |= {"icmpv4_type": draw(st.sampled_from([8, 0])), "icmpv4_code": 0}
        return host, packet

    return drawn()


def world(wanted: Intent, **spec: Any) -> tuple[Fabric, Tenancy, Compiler]:
    fabric = expand(FabricSpec.model_validate(
        {"name": "twins", "leaves": 3, "spines": 3, "hosts_per_leaf": 3, "probes": False} | spec))
    tenancy = resolve(wanted, fabric, allocate(wanted, Allocation()))
    return fabric, tenancy, Compiler(fabric, tenancy)


SHAPES: dict[str, dict[str, Any]] = {
    "ecmp": {}, "pinned": {"paths": "pinned"}, "weighted": {"paths": "weighted"}, "one-spine": {"spines": 1},
    "probes": {"probes": True}}


@pytest.mark.parametrize("shape", SHAPES)
@examples(8)
@given(data=st.data())
def test_hosts_in_no_vpc(shape: str, data: st.DataObject) -> None:
    fabric, tenancy, compiler = world(intent(), **SHAPES[shape])
    between = [k.name for k in fabric.links if "spine" in k.name]
    down = frozenset(data.draw(st.sets(st.sampled_from(between), max_size=3)))
    known = data.draw(st.booleans())
    with twins(fabric, compiler, State(down), known) as both:
        for host, packet in data.draw(st.lists(packets(fabric, tenancy), min_size=5, max_size=30)):
            both.compare(host, packet)


@pytest.mark.parametrize("shape", ["ecmp", "pinned", "weighted"])
@examples(8)
@given(seed=st.integers(0, 2**16), data=st.data())
def test_hosts_in_vpcs(shape: str, seed: int, data: st.DataObject) -> None:
    hosts = [f"h{n}" for n in range(1, 10)]
    fabric, tenancy, compiler = world(mixed(seed, hosts), **SHAPES[shape])
    with twins(fabric, compiler) as both:
        for host, packet in data.draw(st.lists(packets(fabric, tenancy), min_size=10, max_size=40)):
            both.compare(host, packet)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.learned])
@examples(5)
@given(data=st.data())
def test_the_rule_sets_of_the_golden_files(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    fabric, tenancy, compiler = world(intent(*case.objects), leaves=2, spines=2, **case.fabric)
    with twins(fabric, compiler, case.state) as both:
        for host, packet in data.draw(st.lists(packets(fabric, tenancy), min_size=10, max_size=40)):
            both.compare(host, packet)


def test_each_pair_of_hosts_by_many_flows_takes_every_path() -> None:
    fabric, tenancy, compiler = world(intent(), spines=4)
    taken: Counter[str] = Counter()
    with twins(fabric, compiler) as both:
        for port in range(200):
            (mac, ip), (other_mac, other_ip) = (address(fabric, tenancy, h) for h in ("h1", "h4"))
            walk = both.compare("h1", {"eth_src": mac, "eth_dst": other_mac, "eth_type": ETH_IPV4, "ip_proto": UDP,
                                       "ip_dscp": 0, "nw_ttl": 64, "ipv4_src": ip, "ipv4_dst": other_ip,
                                       "udp_src": 1000 + port, "udp_dst": 9000})
            assert isinstance(walk.end, Delivered)
            taken[walk.directions[1]] += 1
    assert len(taken) == 4
    assert min(taken.values()) > 30
