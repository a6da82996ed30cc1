"""Pinned paths, walked on fake switches: which spine a host's traffic takes, and where it falls back to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.rules.compile import Compiler, compile_rules
from controller.rules.pinning import preferred
from controller.rules.state import State
from controller.rules.tables import Table
from controller.southbound.reconcile import SetGroup, difference
from controller.verify.walk import Delivered, Dropped, Walker
from tests.unit.test_controller_reconcile import applied, holds
from tests.unit.test_controller_rules import udp
from topologies.model.expansion import expand
from topologies.model.spec import BorderSpec, FabricSpec

FABRIC = expand(FabricSpec(leaves=3, spines=3, hosts_per_leaf=4, paths="pinned",
                           border=BorderSpec(hosts=2, rate="10mbit")))
COMPILER = Compiler(FABRIC)
WHOLE = COMPILER.rules(State())
UPLINKS = [k.name for k in FABRIC.links if k.kind == "fabric"]


def fake(*down: str, known: bool = True) -> Walker:
    """The fabric with links down; known: the controller has compiled for it."""
    state = State(frozenset(down) if known else frozenset())
    return Walker(FABRIC, COMPILER.rules(state), frozenset(down))


def spines_of(switches: Walker, source: str, target: str, flows: int = 20) -> set[str]:
    """The spines that flows of a pair take. Fails if one does not arrive."""
    found = set()
    for port in range(5000, 5000 + flows):
        walk = switches.send(source, udp(FABRIC, source, target, port))
        assert isinstance(walk.end, Delivered), walk.end
        assert walk.end.host == target
        found.add(walk.links[1].split("-")[1])
    return found


def test_hosts_are_dealt_over_the_spines_in_their_order_on_the_leaf_probe_last() -> None:
    dealt = {host: f"spine{n}" for leaf in FABRIC.leaves for host, n in preferred(FABRIC, leaf).items()}
    assert [dealt[f"h{n}"] for n in range(1, 9)] == ["spine1", "spine2", "spine3", "spine1"] * 2
    assert (dealt["probe1"], dealt["ext1"], dealt["ext2"], dealt["probe4"]) == ("spine2", "spine1", "spine2", "spine3")


def test_racks_are_dealt_in_the_order_in_which_they_are_written() -> None:
    fabric = expand(FabricSpec(leaves=1, spines=2, racks={"leaf1": ("zoe", "anna", "bob")}, paths="pinned"))
    assert preferred(fabric, fabric.node("leaf1")) == {"zoe": 1, "anna": 2, "bob": 1, "probe1": 2}


def test_every_pair_talks_and_all_flows_between_leaves_take_the_senders_spine() -> None:
    switches = fake()
    for a, b in permutations(FABRIC.all_hosts, 2):
        if a.leaf == b.leaf:
            walk = switches.send(a.name, udp(FABRIC, a.name, b.name))
            assert walk.links == [f"{a.name}-{a.leaf}", f"{b.name}-{b.leaf}"]
        else:
            number = preferred(FABRIC, FABRIC.node(a.leaf))[a.name]
            assert spines_of(switches, a.name, b.name, flows=3) == {f"spine{number}"}


def test_a_ring_over_alternate_leaves_loads_every_link_of_the_fabric_alike() -> None:
    fabric = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=4, paths="pinned"))
    switches = Walker(fabric, compile_rules(fabric))
    ranks = ["h1", "h5", "h2", "h6", "h3", "h7", "h4", "h8"]
    load: Counter[tuple[int, str]] = Counter()
    for a, b in zip(ranks, [*ranks[1:], ranks[0]], strict=True):
        walk = switches.send(a, udp(fabric, a, b))
        load.update(enumerate(walk.links[1:3]))
    assert len(load) == 8, "each of four links, up and down"
    assert set(load.values()) == {2}


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize(("host", "down", "spine"), [
    ("h1", [1], "spine2"), ("h1", [1, 2], "spine3"), ("h1", [2, 3], "spine1"),
    ("h2", [2], "spine3"), ("h3", [3], "spine1"), ("h3", [3, 1], "spine2"),
])
def test_a_host_falls_back_to_the_next_live_spine_in_cyclic_order(
        host: str, down: list[int], spine: str, far: bool) -> None:
    """Whether the own uplink fails or the far link."""
    links = [f"leaf{2 if far else 1}-spine{k}" for k in down]
    assert spines_of(fake(*links), host, "h5") == {spine}


def test_a_far_link_moves_traffic_to_its_leaf_only_and_only_of_the_hosts_that_used_it() -> None:
    switches = fake("leaf2-spine1")
    assert spines_of(switches, "h1", "h9") == {"spine1"}
    assert spines_of(switches, "h2", "h5") == {"spine2"}
    assert spines_of(switches, "h9", "h5") == {"spine2"}


@pytest.mark.parametrize("host", ["h1", "h2", "h3"])
@pytest.mark.parametrize("down", [["leaf1-spine1"], ["leaf1-spine2", "leaf1-spine3"]])
def test_the_switch_itself_falls_back_to_the_very_spine_that_the_controller_would_choose(
        host: str, down: list[str]) -> None:
    assert spines_of(fake(*down, known=False), host, "h5") == spines_of(fake(*down), host, "h5")


@given(st.sets(st.sampled_from(UPLINKS)), st.sets(st.sampled_from(UPLINKS)))
def test_the_difference_between_two_states_leads_from_one_to_the_other_and_back(one: set[str], two: set[str]) -> None:
    old, new = COMPILER.rules(State(frozenset(one))), COMPILER.rules(State(frozenset(two)))
    for switch in WHOLE:
        assert applied(holds(old[switch]), difference(old[switch], new[switch])) == holds(new[switch])
        assert applied(holds(new[switch]), difference(new[switch], old[switch])) == holds(old[switch])


def test_a_failed_link_changes_groups_alone_and_only_those_that_use_it() -> None:
    after = COMPILER.rules(State(frozenset({"leaf2-spine1"})))
    changes = {s: difference(WHOLE[s], after[s]) for s in WHOLE}
    changed = {s: [c.group.name for c in due if isinstance(c, SetGroup)] for s, due in changes.items() if due}
    assert set(changed) == {"leaf1", "leaf2", "leaf3", "border1"}
    assert changed["leaf1"] == ["pin:leaf2:spine1", "pin:leaf2:spine2", "pin:leaf2:spine3"]
    assert sum(map(len, changed.values())) == sum(map(len, changes.values())), "nothing but groups"


def test_a_leaf_without_a_path_is_dropped_by_name() -> None:
    switches = fake(*(k.name for k in FABRIC.uplinks("leaf2")))
    for host in ("h1", "h2", "h3"):
        assert switches.send(host, udp(FABRIC, host, "h5")).end == Dropped("leaf1", "no-path:leaf2")
    assert spines_of(switches, "h1", "h9") == {"spine1"}


def test_a_packet_of_no_pinned_host_is_dropped_by_name() -> None:
    switches = fake()
    steady = tuple(f for f in switches.rules["leaf1"].steady if f.name != "pin:h1:leaf2:spine1")
    switches.rules["leaf1"] = replace(switches.rules["leaf1"], steady=steady)
    assert switches.send("h1", udp(FABRIC, "h1", "h5")).end == Dropped("leaf1", "unpinned")


def test_rules_are_named_after_host_leaf_and_spine_and_differ_in_what_they_match() -> None:
    flows = [f for f in WHOLE["leaf1"].flows if f.table == Table.PIN]
    assert {f"pin:h2:{leaf}:spine2" for leaf in ("leaf2", "leaf3", "border1")} <= {f.name for f in flows}
    for rules in WHOLE.values():
        assert len({f.cookie for f in rules.flows}) == len(rules.flows)
        assert len({(f.table, f.priority, f.match) for f in rules.flows}) == len(rules.flows)
        assert len(rules.by_group) == len(rules.groups)


def test_a_fabric_with_hash_paths_has_no_pins() -> None:
    fabric = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=2))
    for rules in compile_rules(fabric).values():
        assert not [f for f in rules.flows if f.table == Table.PIN]
        assert not [g for g in rules.groups if g.is_failover]
