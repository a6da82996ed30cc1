"""VPCs on fake switches: every pair of hosts, as the compiled rules have it and as intent alone has it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.evpn.evpn import IpVrf, MacIpRoute, PrefixRoute, Route, ip_vrfs, originated
from controller.intent.intent import Intent
from controller.intent.vpc import Allocation, Tenancy, allocate, resolve
from controller.rules import tenants
from controller.rules.compile import Compiler
from controller.rules.rules import ETH_ARP, ETH_IPV4, ICMP, UDP, Match, Value
from controller.rules.state import State
from controller.verify.reachability import Cell, matrix
from controller.verify.walk import Delivered, Dropped, Packet, Walker
from tests.examples import examples
from tests.unit.intents import attach, intent, intents, peer, vpc
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric, Node
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=4, probes=False))
PINNED = expand(FABRIC.spec.model_copy(update={"paths": "pinned"}))
HOSTS = [h.name for h in FABRIC.hosts]
CUT = frozenset({"leaf1-spine1", "leaf2-spine2"})
MIXED = intent(
    vpc("a", {"x": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.2"}, "y": {"subnet": "10.1.1.0/24", "isolated": True}}),
    vpc("b", {"x": {"subnet": "10.1.0.0/24", "restricted": True}}),
    vpc("c", {"z": "10.3.0.0/24"}, mode="l3vni"), peer(a=["x"], c=[]),
    attach("h1", "a/x"), attach("h5", "a/x"), attach("h6", "a/y"), attach("h2", "b/x"), attach("h7", "b/x"),
    attach("h3", "c/z"), attach("h8", "c/z"))


class World:
    """An intent on fake switches."""

    def __init__(self, wanted: Intent, fabric: Fabric = FABRIC, down: frozenset[str] = frozenset(),
                 routes: tuple[Route, ...] | None = None) -> None:
        self.intent, self.fabric = wanted, fabric
        self.allocation = allocate(wanted, Allocation())
        self.tenancy = resolve(wanted, fabric, self.allocation)
        self.compiler = Compiler(fabric, self.tenancy, routes)
        self.switches = Walker(fabric, self.compiler.rules(State(down)), down)
        self.cells = matrix(wanted, fabric, self.allocation)

    def ip(self, host: str) -> str:
        found = self.tenancy.members.get(host)
        return found[1].ip if found else self.fabric.host(host).ip

    def packet(self, cell: Cell, **changes: Value) -> Packet:
        return {"eth_src": self.fabric.host(cell.source).mac, "eth_dst": cell.next_mac, "eth_type": ETH_IPV4,
                "ip_proto": UDP, "ip_dscp": 0, "ipv4_src": self.ip(cell.source), "ipv4_dst": cell.ip, "nw_ttl": 64,
                "udp_src": 5000, "udp_dst": 9000} | changes

    def arp(self, host: str, ip: str) -> Packet:
        mac = self.fabric.host(host).mac
        return {"eth_src": mac, "eth_dst": "ff:ff:ff:ff:ff:ff", "eth_type": ETH_ARP, "arp_op": 1, "arp_sha": mac,
                "arp_spa": self.ip(host), "arp_tha": "00:00:00:00:00:00", "arp_tpa": ip}

    def end(self, cell: Cell) -> Delivered | Dropped:
        return self.switches.send(cell.source, self.packet(cell)).end

    def cell(self, source: str, target: str) -> Cell:
        return next(c for c in self.cells if (c.source, c.target) == (source, target))

    def reached(self) -> set[tuple[str, str]]:
        """Pairs of which a packet arrives at its target."""
        return {(c.source, c.target) for c in self.cells if c.allowed and self.arrives(c)}

    def arrives(self, cell: Cell) -> bool:
        end = self.end(cell)
        return isinstance(end, Delivered) and end.host == cell.target


def judged(world: World, cell: Cell) -> Delivered | Dropped:
    """What intent says must become of a packet, in the walk's words."""
    if cell.receiver:
        return Delivered(cell.receiver, {})
    return Dropped(world.fabric.host(cell.source).leaf, cell.drop)


def seen(end: Delivered | Dropped) -> Delivered | Dropped:
    return replace(end, packet={}) if isinstance(end, Delivered) else end


@examples(60)
@given(intents(HOSTS), st.sampled_from([FABRIC, PINNED]), st.sampled_from([frozenset[str](), CUT - {"leaf2-spine2"}]))
def test_what_intent_says_is_what_the_rules_do_for_every_pair(
        wanted: Intent, fabric: Fabric, down: frozenset[str]) -> None:
    world = World(wanted, fabric, down)
    wrong = [(c, end) for c in world.cells if seen(end := world.end(c)) != judged(world, c)]
    assert wrong == []


def test_the_mixed_case_has_every_kind_of_cell() -> None:
    """What the random ones are drawn from is all there: else they would prove little."""
    world = World(MIXED)
    kinds = {c.drop.split(":")[0] or ("allowed" if c.allowed else "alias") for c in world.cells}
    assert kinds == {"allowed", "to-self", "alias", "restricted", "isolated", "unknown-host", "no-route", "unknown-mac"}
    assert world.ip("h5") == world.ip("h7") == "10.1.0.3", "one address in two VPCs"


@pytest.mark.parametrize(("source", "target", "reason"), [
    ("h1", "h5", "same subnet"), ("h1", "h6", "isolated subnet y"), ("h2", "h7", "restricted subnet"),
    ("h1", "h3", "peering with c"), ("h3", "h8", "same subnet"), ("h4", "h1", "h4 is in no VPC"),
    ("h6", "h3", "a has no peering that permits a/y and c/z"), ("h5", "h7", "10.1.0.3 is h5 itself"),
    ("h1", "h7", "10.1.0.3 is h5 in the eyes of a"),
    ("h1", "h4", "h4 is in no VPC")])
def test_each_cell_has_its_reason(source: str, target: str, reason: str) -> None:
    assert World(MIXED).cell(source, target).reason == reason


def test_a_routed_packet_comes_from_the_gateway_with_two_hops_less_and_the_vni_of_the_other_vpc() -> None:
    world = World(MIXED)
    end = world.end(world.cell("h1", "h8"))
    assert isinstance(end, Delivered)
    assert (end.packet["eth_src"], end.packet["eth_dst"]) == (GATEWAY_MAC, FABRIC.host("h8").mac)
    assert end.packet["nw_ttl"] == 62
    near = world.end(world.cell("h1", "h3"))
    assert isinstance(near, Delivered)
    assert near.packet["nw_ttl"] == 63


def test_a_bridged_packet_arrives_unchanged() -> None:
    world = World(MIXED)
    packet = world.packet(world.cell("h1", "h5"))
    end = world.switches.send("h1", dict(packet)).end
    assert isinstance(end, Delivered)
    assert {k: end.packet[k] for k in packet} == packet


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_router_forwards_nothing_whose_ttl_has_run_out(ttl: int) -> None:
    world = World(MIXED)
    packet = world.packet(world.cell("h1", "h8"), nw_ttl=ttl)
    assert world.switches.send("h1", packet).end == Dropped("leaf1", "ttl-expired")


def test_the_last_hop_is_a_hop_too() -> None:
    world = World(MIXED)
    packet = world.packet(world.cell("h1", "h8"), nw_ttl=2)
    assert world.switches.send("h1", packet).end == Dropped("leaf2", "ttl-expired")


@pytest.mark.parametrize("host", ["h1", "h5", "h2", "h3"])
def test_the_gateway_is_the_same_at_every_leaf_and_answers_arp_and_echo(host: str) -> None:
    world = World(MIXED)
    gateway = world.tenancy.members[host][0].gateway
    answer = world.switches.send(host, world.arp(host, gateway))
    assert isinstance(answer.end, Delivered)
    assert (answer.end.host, answer.end.packet["arp_sha"], answer.end.packet["arp_op"]) == (host, GATEWAY_MAC, 2)
    ping = world.packet(world.cells[0], eth_src=FABRIC.host(host).mac, eth_dst=GATEWAY_MAC, ip_proto=ICMP,
                        ipv4_src=world.ip(host), ipv4_dst=gateway, icmpv4_type=8, icmpv4_code=0)
    end = world.switches.send(host, ping).end
    assert isinstance(end, Delivered)
    wanted = {"eth_src": GATEWAY_MAC, "ipv4_src": gateway, "ipv4_dst": world.ip(host), "icmpv4_type": 0, "nw_ttl": 64}
    assert (end.host, {k: end.packet[k] for k in wanted}) == (host, wanted)


def test_arp_is_answered_inside_of_the_segment_and_with_the_gateway_where_all_is_routed() -> None:
    world = World(MIXED)
    for asker, target, mac in (("h1", "h5", FABRIC.host("h5").mac), ("h3", "h8", GATEWAY_MAC)):
        end = world.switches.send(asker, world.arp(asker, world.ip(target))).end
        assert isinstance(end, Delivered)
        assert end.packet["arp_sha"] == mac
    assert world.switches.send("h1", world.arp("h1", world.ip("h6"))).end == Dropped("leaf1", "unknown-arp")
    assert world.switches.send("h4", world.arp("h4", FABRIC.host("h1").ip)).end == Dropped("leaf1", "unknown-arp")


@pytest.mark.parametrize("changes", [
    {"ipv4_src": "10.9.1.1"}, {"ipv4_src": "10.1.0.4"}, {"eth_src": FABRIC.host("h2").mac}])
def test_a_host_of_a_vpc_sends_under_its_own_addresses_only(changes: dict[str, Value]) -> None:
    world = World(MIXED)
    packet = world.packet(world.cell("h1", "h5"), **changes)
    assert world.switches.send("h1", packet).end == Dropped("leaf1", "spoof:h1")


def routes_but(world: World, gone: Route) -> tuple[Route, ...]:
    return tuple(r for r in world.compiler.routes if r is not gone)


@examples(15)
@given(intents(HOSTS), st.data())
def test_withdrawing_the_route_of_a_host_stops_what_is_sent_to_it_and_nothing_else(
        wanted: Intent, data: st.DataObject) -> None:
    whole = World(wanted)
    hosts = [r for r in whole.compiler.routes if isinstance(r, MacIpRoute | PrefixRoute)]
    if not hosts:
        return
    gone = data.draw(st.sampled_from(hosts))
    ip = gone.ip if isinstance(gone, MacIpRoute) else gone.prefix.split("/")[0]
    vni = gone.l3vni if isinstance(gone, MacIpRoute) else gone.vni
    tenant = next(t.name for t in whole.tenancy.tenants if t.vni == vni)
    (host,) = [m.host for s, m in whole.tenancy.members.values() if (s.vpc, m.ip) == (tenant, ip)]
    left = World(wanted, routes=routes_but(whole, gone))
    assert left.reached() == {(a, b) for a, b in whole.reached() if b != host}


def test_a_vrf_that_imports_one_route_target_less_stops_exactly_what_that_brought(
        monkeypatch: pytest.MonkeyPatch) -> None:
    whole = World(MIXED)
    peered = whole.tenancy.segments["c/z"].vni

    def without(tenancy: Tenancy, leaf: Node) -> tuple[IpVrf, ...]:
        return tuple(replace(v, imports=v.imports - {f"65000:{peered}"}) if (v.leaf, v.tenant.name) == ("leaf1", "a")
                     else v for v in ip_vrfs(tenancy, leaf))

    monkeypatch.setattr(tenants, "ip_vrfs", without)
    left = World(MIXED)
    stopped = whole.reached() - left.reached()
    assert stopped == {("h1", "h3"), ("h1", "h8")}, "from the leaf that imports less, towards the peer"
    assert left.end(left.cell("h1", "h8")) == Dropped("leaf1", "unknown-host:a/x")


def test_rules_follow_the_route_with_the_highest_sequence() -> None:
    """The same MAC at two leaves, as after a move: the later announcement counts, wherever it stands in the table."""
    world = World(MIXED)
    old = next(r for r in originated(FABRIC, world.tenancy) if isinstance(r, MacIpRoute) and r.ip == world.ip("h5")
               and r.mac == FABRIC.host("h5").mac)
    stale = replace(old, next_hop=FABRIC.node("leaf1").ip, sequence=0)
    routes = tuple(replace(r, sequence=1) if r is old or r == old else r for r in world.compiler.routes)
    for table in ((stale, *routes), (*routes, stale)):
        assert World(MIXED, routes=table).arrives(world.cell("h1", "h5"))
    moved = (*world.compiler.routes, replace(stale, sequence=2))
    assert not World(MIXED, routes=moved).arrives(world.cell("h1", "h5"))


def test_hosts_are_sticky_and_no_higher_sequence_takes_one_away() -> None:
    """Intent says where hosts are (RFC 7432, 15.2)."""
    world = World(MIXED)
    hosts = [r for r in originated(FABRIC, world.tenancy) if isinstance(r, MacIpRoute)]
    assert {(r.sticky, r.sequence) for r in hosts} == {(True, 0)}
    old = next(r for r in hosts if r.mac == FABRIC.host("h5").mac)
    claimed = replace(old, next_hop=FABRIC.node("leaf1").ip, sequence=9, sticky=False)
    for table in ((claimed, *world.compiler.routes), (*world.compiler.routes, claimed)):
        assert World(MIXED, routes=table).arrives(world.cell("h1", "h5"))


@pytest.mark.parametrize("fabric", [FABRIC, PINNED])
def test_what_has_no_path_is_dropped_under_the_name_of_the_leaf_that_is_cut_off(fabric: Fabric) -> None:
    world = World(MIXED, fabric, CUT)
    for source, target in (("h1", "h5"), ("h1", "h8"), ("h3", "h8"), ("h2", "h7")):
        name = "restricted:b/x" if source == "h2" else "no-path:leaf2"
        assert world.end(world.cell(source, target)) == Dropped("leaf1", name)
    assert isinstance(world.end(world.cell("h1", "h3")), Delivered)


@examples(10)
@given(intents(HOSTS))
def test_rules_of_a_switch_differ_in_cookie_and_in_what_they_match_and_every_table_ends(wanted: Intent) -> None:
    for rules in World(wanted, down=CUT).switches.rules.values():
        assert len({f.cookie for f in rules.flows}) == len(rules.flows)
        assert len({(f.table, f.priority, f.match) for f in rules.flows}) == len(rules.flows)
        assert {f.table for f in rules.flows} == {f.table for f in rules.flows if f.match == Match()}


def test_an_empty_intent_gives_the_rules_of_the_fabric_alone() -> None:
    assert World(intent()).compiler.rules(State()) == Compiler(FABRIC).rules(State())
