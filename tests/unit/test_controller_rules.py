"""The compiled rules, walked on fake switches: who reaches whom, by which path, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from controller.rules.compile import Compiler, compile_rules
from controller.rules.rules import ETH_ARP, ETH_IPV4, UDP, Flow, Match, Value
from controller.rules.state import LinkState, State
from controller.rules.tables import Priority, Table, check_jumps
from controller.verify.walk import Delivered, Dropped, Packet, Walker
from topologies.model.addressing import SENTINEL_DSCP, leaf_mac
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import BorderSpec, FabricSpec

BROADCAST = "ff:ff:ff:ff:ff:ff"
FABRIC = expand(FabricSpec(leaves=3, spines=4, hosts_per_leaf=2, border=BorderSpec(hosts=2, rate="10mbit")))
COMPILER = Compiler(FABRIC)


def udp(fabric: Fabric, source: str, target: str, port: int = 5000, **changes: Value) -> Packet:
    a, b = fabric.host(source), fabric.host(target)
    return {"eth_src": a.mac, "eth_dst": b.mac, "eth_type": ETH_IPV4, "ip_proto": UDP, "ip_dscp": 0,
            "ipv4_src": a.ip, "ipv4_dst": b.ip, "udp_src": port, "udp_dst": 9000} | changes


def arp(source: str, target_ip: str, **changes: Value) -> Packet:
    a = FABRIC.host(source)
    return {"eth_src": a.mac, "eth_dst": BROADCAST, "eth_type": ETH_ARP, "arp_op": 1, "arp_sha": a.mac,
            "arp_spa": a.ip, "arp_tha": "00:00:00:00:00:00", "arp_tpa": target_ip} | changes


def fake(down: frozenset[str] = frozenset(), known: bool = True) -> Walker:
    """The fabric with links down; known: the controller has compiled for it."""
    return Walker(FABRIC, COMPILER.rules(State(down if known else frozenset())), down)


def paths(switches: Walker, source: str, target: str, flows: int = 200) -> list[tuple[str, ...]]:
    """The links that flows 0.. of a pair take. Fails if one does not arrive."""
    found = []
    for n in range(flows):
        walk = switches.send(source, udp(FABRIC, source, target, 5000 + n))
        assert isinstance(walk.end, Delivered), walk.end
        found.append(tuple(walk.links))
    return found


def test_every_host_reaches_every_other_and_only_that_one_gets_the_packet_unchanged() -> None:
    switches = fake()
    for a, b in permutations([h.name for h in FABRIC.all_hosts], 2):
        packet = udp(FABRIC, a, b)
        end = switches.send(a, packet).end
        assert isinstance(end, Delivered)
        assert end.host == b
        assert {k: end.packet[k] for k in packet} == packet


def test_a_path_has_two_hops_in_the_fabric_and_none_on_the_same_leaf() -> None:
    assert [len(p) for p in paths(fake(), "h1", "h2", 1)] == [2]
    assert {len(p) for p in paths(fake(), "h1", "h6")} == {4}


@pytest.mark.parametrize(("source", "target"), [("h1", "h3"), ("ext1", "h6"), ("probe1", "probe3")])
def test_flows_of_a_pair_use_every_spine(source: str, target: str) -> None:
    assert {p[1].split("-")[1] for p in paths(fake(), source, target)} == {"spine1", "spine2", "spine3", "spine4"}


@pytest.mark.parametrize("target", [h.name for h in FABRIC.all_hosts if h.name != "h1"])
def test_the_leaf_answers_arp_for_every_host_to_the_asker_alone(target: str) -> None:
    walk = fake().send("h1", arp("h1", FABRIC.host(target).ip))
    assert walk.links == ["h1-leaf1", "h1-leaf1"]
    assert isinstance(walk.end, Delivered)
    asker, owner = FABRIC.host("h1"), FABRIC.host(target)
    wanted = {"arp_op": 2, "arp_sha": owner.mac, "arp_spa": owner.ip, "arp_tha": asker.mac, "arp_tpa": asker.ip,
              "eth_src": owner.mac, "eth_dst": asker.mac}
    assert {k: walk.end.packet[k] for k in wanted} == wanted


@pytest.mark.parametrize(("packet", "rule"), [
    (udp(FABRIC, "h1", "h2", eth_dst="02:00:0a:09:63:63"), "unknown-mac"),
    (udp(FABRIC, "h1", "h2", eth_dst=BROADCAST), "flood"),
    (udp(FABRIC, "h1", "h2", eth_dst="01:00:5e:00:00:fb"), "flood"),
    (udp(FABRIC, "h1", "h2", eth_src=FABRIC.host("h2").mac), "spoof:h1"),
    (udp(FABRIC, "h1", "h2", ipv4_src=FABRIC.host("h2").ip), "spoof:h1"),
    (udp(FABRIC, "h1", "h2", eth_type=0x86DD), "spoof:h1"),
    (arp("h1", FABRIC.host("h3").ip, arp_spa=FABRIC.host("h2").ip), "spoof:h1"),
    (arp("h1", FABRIC.host("h3").ip, arp_sha=FABRIC.host("h2").mac), "spoof:h1"),
    (arp("h1", "10.9.99.99"), "unknown-arp"),
    (arp("h1", FABRIC.host("h3").ip, arp_op=2), "unknown-arp"),
])
def test_what_is_not_admitted_is_dropped_at_the_first_leaf_under_a_name(packet: Packet, rule: str) -> None:
    assert fake().send("h1", packet).end == Dropped("leaf1", rule)


def test_a_host_cannot_speak_vxlan_into_the_fabric() -> None:
    forged = udp(FABRIC, "h1", "h3", ipv4_dst="10.255.1.2", udp_dst=4789, eth_dst=leaf_mac(2))
    assert fake().send("h1", forged).end == Dropped("leaf1", "unknown-mac")


def test_a_segment_that_is_not_known_is_dropped_at_its_leaf() -> None:
    switches = fake()
    flows = tuple(replace(f, match=Match(in_port=1000, tunnel_id=999)) if f.name == "from-fabric" else f
                  for f in switches.rules["leaf2"].flows)
    switches.rules["leaf2"] = replace(switches.rules["leaf2"], steady=flows)
    assert switches.send("h1", udp(FABRIC, "h1", "h3")).end == Dropped("leaf2", "unknown-vni")


def test_what_comes_from_the_fabric_never_enters_it_again() -> None:
    """A stale rule at leaf1 sends h5's packets to leaf2, which knows that h5 lives elsewhere."""
    switches = fake()
    wrong = tuple(replace(f, actions=(type(f.actions[0])(2),)) if f.name == "host:h5" else f  # type: ignore[call-arg]
                  for f in switches.rules["leaf1"].flows)
    switches.rules["leaf1"] = replace(switches.rules["leaf1"], steady=wrong)
    assert switches.send("h1", udp(FABRIC, "h1", "h5")).end == Dropped("leaf2", "unknown-mac")


def test_the_reserved_dscp_stays_on_probes_and_is_cleared_for_all_others() -> None:
    for source, kept in (("probe1", SENTINEL_DSCP), ("h1", 0), ("ext1", 0)):
        end = fake().send(source, udp(FABRIC, source, "h3", ip_dscp=SENTINEL_DSCP)).end
        assert isinstance(end, Delivered)
        assert end.packet["ip_dscp"] == kept


def test_any_other_dscp_passes() -> None:
    end = fake().send("h1", udp(FABRIC, "h1", "h3", ip_dscp=46)).end
    assert isinstance(end, Delivered)
    assert end.packet["ip_dscp"] == 46


@pytest.mark.parametrize("link", ["leaf1-spine2", "leaf2-spine2"])
def test_only_the_flows_of_a_dead_path_move(link: str) -> None:
    """The own uplink and the far link alike."""
    before = paths(fake(), "h1", "h3")
    after = paths(fake(frozenset({link})), "h1", "h3")
    assert all(link not in path for path in after)
    for old, new in zip(before, after, strict=True):
        assert old == new or link in old
    assert before != after


def test_the_switch_skips_its_own_dead_uplink_before_the_controller_knows() -> None:
    down = frozenset({"leaf1-spine2"})
    assert paths(fake(down, known=False), "h1", "h3") == paths(fake(down), "h1", "h3")


def test_a_far_link_loses_packets_until_the_controller_knows() -> None:
    switches = fake(frozenset({"leaf2-spine2"}), known=False)
    ends = [switches.send("h1", udp(FABRIC, "h1", "h3", 5000 + n)).end for n in range(50)]
    assert Dropped("spine2", "dead link leaf2-spine2") in ends


def test_other_leaves_keep_their_groups_when_a_link_of_two_fails() -> None:
    before, after = COMPILER.rules(State()), COMPILER.rules(State(frozenset({"leaf2-spine1"})))
    assert before["leaf1"].by_group[3] == after["leaf1"].by_group[3]
    assert before["leaf1"].by_group[2] != after["leaf1"].by_group[2]
    assert all(before[s.name] == after[s.name] for s in FABRIC.spines)


def test_a_leaf_without_a_path_is_dropped_by_name_and_the_rest_still_works() -> None:
    cut = frozenset({"leaf1-spine1", "leaf1-spine2", "leaf2-spine3", "leaf2-spine4"})
    switches = fake(cut)
    assert switches.send("h1", udp(FABRIC, "h1", "h3")).end == Dropped("leaf1", "no-path:leaf2")
    assert switches.send("h3", udp(FABRIC, "h3", "h1")).end == Dropped("leaf2", "no-path:leaf1")
    assert {p[1] for p in paths(switches, "h1", "h5")} == {"leaf1-spine3", "leaf1-spine4"}
    assert paths(switches, "h1", "h2", 1)


def test_a_repaired_link_brings_the_same_rules_back() -> None:
    links = LinkState(FABRIC)
    assert links.report("leaf2", {1: False})
    assert not links.report("spine1", {2: False}), "the other end of the same link"
    assert not links.report("leaf2", {1: True}), "one end is still down"
    assert links.state.down == {"leaf2-spine1"}
    assert links.report("spine1", {2: True})
    assert COMPILER.rules(links.state) == compile_rules(FABRIC)


def test_ports_that_are_no_links_change_nothing() -> None:
    assert not LinkState(FABRIC).report("leaf1", {1000: False, 0xFFFFFFFE: False})


@pytest.mark.parametrize("down", [frozenset(), frozenset(k.name for k in FABRIC.uplinks("leaf1"))])
def test_rules_of_a_switch_differ_in_cookie_and_in_what_they_match(down: frozenset[str]) -> None:
    for rules in COMPILER.rules(State(down)).values():
        assert len({f.cookie for f in rules.flows}) == len(rules.flows)
        assert len({(f.table, f.priority, f.match) for f in rules.flows}) == len(rules.flows)


def test_every_table_of_a_switch_ends_in_a_rule_for_the_rest() -> None:
    for switch, rules in compile_rules(FABRIC).items():
        used = {f.table for f in rules.flows}
        rest = {f.table for f in rules.flows if f.match == Match()}
        assert used == rest, switch


def test_a_cookie_tells_rules_apart_by_each_part_of_them() -> None:
    flow = Flow("a", Table.BRIDGE, Priority.NORMAL, Match(in_port=1), (), Table.DELIVER)
    others = [replace(flow, name="b"), replace(flow, table=Table.QOS), replace(flow, priority=1),
              replace(flow, match=Match(in_port=2)), replace(flow, match=Match(tunnel_id=1)), replace(flow, goto=None)]
    assert len({f.cookie for f in (flow, *others)}) == 7
    assert replace(flow).cookie == flow.cookie


def test_a_jump_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="no jump from DELIVER to BRIDGE"):
        check_jumps([Flow("back", Table.DELIVER, Priority.NORMAL, Match(), (), Table.BRIDGE)])


def test_a_fabric_of_one_leaf_needs_no_groups() -> None:
    fabric = expand(FabricSpec(leaves=1, spines=1, hosts_per_leaf=2))
    rules = compile_rules(fabric)
    assert rules["leaf1"].groups == rules["leaf1"].neighbours == ()
    assert isinstance(Walker(fabric, rules).send("h1", udp(fabric, "h1", "h2")).end, Delivered)
