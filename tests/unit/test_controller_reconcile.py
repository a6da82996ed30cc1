"""wanted - installed -> changes, and what the desired state makes of connections, ports and confirmations."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.desired_state import FOREIGN, DesiredState
from controller.rules.compile import Compiler
from controller.rules.rules import Group, SwitchRules
from controller.rules.state import State
from controller.southbound.reconcile import (
    AddFlow,
    Change,
    DeleteFlows,
    DeleteGroup,
    FlowKey,
    Installed,
    Phase,
    SetGroup,
    by_phase,
    difference,
    key,
    reconcile,
)
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(leaves=3, spines=2, hosts_per_leaf=2))
COMPILER = Compiler(FABRIC)
WHOLE = COMPILER.rules(State())
LEAF = WHOLE["leaf1"]
UPLINKS = [k.name for k in FABRIC.links if k.kind == "fabric"]


def holds(rules: SwitchRules) -> Installed:
    return Installed(Counter(key(f) for f in rules.flows), {g.id: g for g in rules.groups})


def applied(installed: Installed, changes: tuple[Change, ...]) -> Installed:
    """What a switch holds after changes, as a switch does it. Fails where a rule would lack its group."""
    flows, groups = Counter(installed.flows), dict(installed.groups)
    for change in changes:
        match change:
            case AddFlow(flow):
                assert all(a.group in groups for a in flow.actions if hasattr(a, "group")), "no group for it yet"
                flows[key(flow)] = 1
            case DeleteFlows(cookie):
                flows = Counter({k: n for k, n in flows.items() if k[2] != cookie})
            case SetGroup(group, exists):
                assert exists == (group.id in groups), "a switch refuses to add twice and to modify nothing"
                groups[group.id] = group
            case DeleteGroup(number):
                del groups[number]
    return Installed(flows, groups)


def test_an_empty_switch_gets_groups_then_flows_and_ends_as_wanted() -> None:
    changes = reconcile(LEAF, Installed())
    assert [c.phase for c in changes] == sorted(c.phase for c in changes)
    assert applied(Installed(), changes) == holds(LEAF)


def test_what_is_right_stays_untouched() -> None:
    assert reconcile(LEAF, holds(LEAF)) == ()


def test_what_is_foreign_goes_after_what_is_missing_has_come() -> None:
    first, *others = LEAF.flows
    stranger: FlowKey = (0, 60000, 0)
    installed = Installed(Counter([stranger, *map(key, others)]), {**{g.id: g for g in LEAF.groups}, 77: None})
    changes = reconcile(LEAF, installed)
    assert changes == (AddFlow(first), DeleteFlows(0), DeleteGroup(77))
    assert applied(installed, changes) == holds(LEAF)


@pytest.mark.parametrize("forged", ["moved", "doubled"])
def test_a_foreign_rule_under_our_cookie_goes_and_ours_comes_again(forged: str) -> None:
    flow = LEAF.flows[0]
    found = holds(LEAF)
    found.flows[(5, 5, flow.cookie) if forged == "moved" else key(flow)] += 1
    changes = reconcile(LEAF, found)
    assert changes == (DeleteFlows(flow.cookie, Phase.GROUP), AddFlow(flow))
    assert applied(found, changes) == holds(LEAF)


@pytest.mark.parametrize("there", [None, replace(LEAF.groups[0], buckets=LEAF.groups[0].buckets[:1]),
                                   replace(LEAF.groups[0], hash_fields=("ip_src",))])
def test_a_group_that_differs_is_replaced_whole(there: Group | None) -> None:
    found = Installed(holds(LEAF).flows, {**holds(LEAF).groups, LEAF.groups[0].id: there})
    assert reconcile(LEAF, found) == (SetGroup(LEAF.groups[0], exists=True),)


@given(st.sets(st.sampled_from(UPLINKS)), st.sets(st.sampled_from(UPLINKS)))
def test_the_difference_between_two_states_leads_from_one_to_the_other(one: set[str], other: set[str]) -> None:
    old, new = COMPILER.rules(State(frozenset(one))), COMPILER.rules(State(frozenset(other)))
    for switch in WHOLE:
        assert applied(holds(old[switch]), difference(old[switch], new[switch])) == holds(new[switch])


def test_rules_of_two_fabrics_differ_in_their_steady_part_too() -> None:
    other = Compiler(expand(FabricSpec(leaves=3, spines=2, hosts_per_leaf=3))).rules(State())["leaf1"]
    assert applied(holds(LEAF), difference(LEAF, other)) == holds(other)


def test_a_failed_link_costs_one_group_per_leaf_and_no_flow() -> None:
    after = COMPILER.rules(State(frozenset({"leaf2-spine1"})))
    changes = {s: difference(WHOLE[s], after[s]) for s in WHOLE}
    assert {s: len(c) for s, c in changes.items() if c} == {"leaf1": 1, "leaf2": 2, "leaf3": 1}
    assert {type(c) for due in changes.values() for c in due} == {SetGroup}


def test_phases_run_over_all_switches_one_after_the_other() -> None:
    changes = {name: reconcile(rules, Installed()) for name, rules in WHOLE.items()}
    order = [(due[0].phase, switch) for switch, due in by_phase(changes)]
    assert [phase for phase, _ in order] == sorted(phase for phase, _ in order)
    sends = [switch for phase, switch in order if phase == Phase.SEND]
    assert sends == ["spine1", "spine2", "leaf1", "leaf2", "leaf3"]
    assert sum(len(due) for _, due in by_phase(changes)) == sum(map(len, changes.values()))


def settle(desired: DesiredState, switch: str) -> tuple[Change, ...]:
    """A switch connects, holds nothing, and confirms what it is sent."""
    desired.connected(switch)
    changes = desired.installed(switch, Installed())
    desired.confirm(switch, desired.sessions[switch].sent)
    return changes


def settled() -> DesiredState:
    desired = DesiredState(FABRIC)
    for switch in WHOLE:
        settle(desired, switch)
    return desired


def test_it_has_converged_when_the_last_switch_has_confirmed() -> None:
    desired = DesiredState(FABRIC)
    for switch in WHOLE:
        assert not desired.converged()
        settle(desired, switch)
    assert desired.converged()


def test_changes_that_are_not_confirmed_are_not_converged() -> None:
    desired = settled()
    assert set(desired.ports("leaf2", {1: False})) == {"leaf1", "leaf2", "leaf3"}
    assert not desired.converged()
    for switch in WHOLE:
        desired.confirm(switch, desired.sessions[switch].sent)
    assert desired.converged()
    assert desired.health()["down"] == ["leaf2-spine1"]


def test_a_late_confirmation_of_an_earlier_batch_does_not_count() -> None:
    desired = settled()
    earlier = desired.sessions["leaf1"].sent
    desired.ports("leaf1", {1: False})
    desired.confirm("leaf1", earlier)
    assert not desired.converged()


def test_a_switch_that_is_being_read_gets_the_newest_rules_and_nothing_before() -> None:
    desired = settled()
    desired.connected("leaf1")
    assert "leaf1" not in desired.ports("leaf2", {1: False})
    changes = desired.installed("leaf1", holds(LEAF))
    assert changes == (SetGroup(desired.wanted["leaf1"].by_group[2], exists=True),)


def test_a_switch_that_is_gone_or_refuses_is_not_converged() -> None:
    desired = settled()
    desired.failed("leaf1", "refused")
    assert not desired.converged()
    settle(desired, "leaf1")
    assert desired.converged()
    desired.gone("spine1")
    assert not desired.converged()
    assert desired.health()["connected"] == 4


def test_a_lost_connection_is_no_failed_link() -> None:
    desired = settled()
    wanted = desired.wanted
    desired.gone("spine1")
    assert desired.wanted is wanted


def test_the_links_of_a_dead_switch_are_down_and_its_neighbours_are_reported() -> None:
    desired = settled()
    changes = desired.died("spine1")
    assert set(changes) == {"leaf1", "leaf2", "leaf3"}
    assert desired.health()["down"] == ["leaf1-spine1", "leaf2-spine1", "leaf3-spine1"]
    assert [b.id for g in desired.wanted["leaf1"].groups for b in g.buckets] == [2, 2]
    assert not desired.converged()
    assert desired.died("spine1") == {}


def test_a_dead_switch_gets_its_links_back_when_it_has_confirmed_its_rules_and_not_before() -> None:
    desired = settled()
    whole = desired.wanted
    desired.died("spine1")
    desired.connected("spine1")
    desired.ports("spine1", {1: True, 2: True, 3: True})
    assert desired.confirm("spine1", 0) == {}, "its rules have not been read"
    desired.installed("spine1", Installed())
    assert desired.confirm("spine1", 0) == {}, "an earlier barrier"
    assert len(desired.health()["down"]) == 3  # type: ignore[arg-type]
    changes = desired.confirm("spine1", desired.sessions["spine1"].sent)
    assert set(changes) == {"leaf1", "leaf2", "leaf3"}
    assert desired.health()["down"] == []
    assert desired.wanted == whole


def test_a_dead_switch_that_comes_back_with_its_rules_needs_a_barrier_only() -> None:
    desired = settled()
    desired.died("leaf1")
    desired.connected("leaf1")
    desired.installed("leaf1", holds(desired.wanted["leaf1"]))
    assert desired.sessions["leaf1"].sent == 0
    assert set(desired.confirm("leaf1", 0)) == {"leaf1", "leaf2", "leaf3"}


def test_a_link_that_fails_while_its_switch_is_dead_stays_down_when_the_switch_is_back() -> None:
    desired = settled()
    desired.died("spine1")
    desired.ports("leaf1", {1: False})
    settle(desired, "spine1")
    assert desired.health()["down"] == ["leaf1-spine1"]


def test_counters_of_removed_drops_keep_their_name_and_add_up() -> None:
    desired = settled()
    desired.ports("leaf2", {1: False, 2: False})
    (drop, *_) = [f for f in desired.wanted["leaf1"].passing if f.name == "no-path:leaf2"]
    desired.ports("leaf2", {1: True, 2: True})
    desired.removed("leaf1", drop.cookie, 3, 300)
    desired.removed("leaf1", drop.cookie, 2, 200)
    assert desired.retired("leaf1") == {"no-path:leaf2": {"packets": 5, "bytes": 500}}
    assert desired.retired("leaf2") == {}
    assert desired.name(drop.cookie ^ 1) == FOREIGN
