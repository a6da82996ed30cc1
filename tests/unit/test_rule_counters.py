"""Drop counters from the switches themselves: names by cookie, counts as ovs-ofctl prints them."""

from __future__ import annotations

from controller.intent.vpc import allocate, resolve
from controller.persisted_intent import PersistedIntent
from controller.rules.compile import compile_rules
from controller.rules.state import State
from controller.southbound.rule_counters import named, names_of
from tests.unit.intents import attach, intent, vpc
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from topologies.switches.ovs.management.rule_counters import parse

FABRIC = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=2))
INTENT = intent(vpc("a", {"x": {"subnet": "10.1.0.0/24", "restricted": True}}), attach("h1", "a/x"))
PERSISTED = PersistedIntent(version=1, intent=INTENT, allocation=allocate(INTENT, PersistedIntent().allocation))


def test_every_drop_rule_of_an_intent_has_its_name_also_those_that_stand_in_while_links_are_down() -> None:
    names = names_of(FABRIC, PERSISTED)
    tenancy = resolve(INTENT, FABRIC, PERSISTED.allocation)
    down = State(frozenset({"leaf1-spine1", "leaf1-spine2"}))
    for state in (State(), down):
        rules = compile_rules(FABRIC, state, tenancy).values()
        wanted = {f.cookie: f.name for r in rules for f in r.flows if f.is_drop}
        assert wanted.items() <= names.items()
    assert {"spoof:h1", "restricted:a/x", "no-path:leaf2"} <= set(names.values())


def test_counts_of_rules_with_one_name_are_added_and_what_is_none_of_ours_is_foreign() -> None:
    text = """OFPST_FLOW reply (OF1.5) (xid=0x2):
 cookie=0x2a, duration=3.1s, table=0, n_packets=5, n_bytes=300, idle_age=1, priority=50,in_port=101 actions=drop
 cookie=0x2b, duration=3.1s, table=30, n_packets=2, n_bytes=120, priority=60,tun_id=0x3e9 actions=drop
 cookie=0x2c, duration=3.1s, table=0, n_packets=9, n_bytes=900, priority=100,in_port=101 actions=goto_table:10
 cookie=0x2d, duration=3.1s, table=0, n_packets=1, n_bytes=60, priority=9 actions=drop"""
    counts = parse(text.splitlines())
    assert named(counts, {0x2A: "spoof:h1", 0x2B: "spoof:h1"}) == {"spoof:h1": 7, "foreign": 1}
