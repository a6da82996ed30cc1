"""aifab trace: rules and wires tell the same way, also after a link has failed and for what is denied; a lie shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.intent.intent import Intent
from controller.verify.walk import Delivered, Dropped
from scenarios.run.trace import SENT, trace
from scenarios.run.vpcs import apply_intent
from tests.lab.controller_lab import TIMEOUT, Lab
from tests.unit.intents import attach, intent, vpc
from topologies.lab.network import running
from topologies.links.htb import wires
from topologies.model.errors import LabError
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab

TENANTS = intent(vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}), vpc("b", {"x": "10.1.0.0/24"}),
                 attach("h1", "a/x"), attach("h4", "a/y"), attach("h2", "b/x"))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(FabricSpec(name="trace", leaves=2, spines=4, hosts_per_leaf=3, probes=False)) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


def spine(lab: Lab, port: int) -> str:
    found = trace(lab.net.inventory, "h1", "h4", port)
    assert found.agrees, found
    assert found.counted.keys() == set(found.walk.directions)
    return found.walk.directions[1].split("->")[1]


def test_each_flow_is_counted_on_the_way_that_the_rules_and_its_hash_give_it(lab: Lab) -> None:
    assert len({spine(lab, 9000 + n) for n in range(12)}) > 1, "flows of one pair that all take one of four spines"
    same_leaf = trace(lab.net.inventory, "h1", "h2")
    assert same_leaf.agrees
    assert same_leaf.walk.directions == ["h1->leaf1", "leaf1->h2"]
    assert [s.switch for s in same_leaf.walk.steps] == ["leaf1"] * len(same_leaf.walk.steps)


def test_a_flow_whose_uplink_fails_is_traced_on_another_one_and_comes_back(lab: Lab) -> None:
    before = spine(lab, 9100)
    wires.set_state(lab.net.inventory, f"leaf1-{before}", False)
    try:
        lab.wait_down([f"leaf1-{before}"])
        assert spine(lab, 9100) != before
    finally:
        wires.set_state(lab.net.inventory, f"leaf1-{before}", True)
    lab.wait_down([])
    lab.client.wait_converged(TIMEOUT, down=frozenset())
    assert spine(lab, 9100) == before


def test_routed_and_denied_pairs_of_tenants_are_traced_to_a_host_or_to_a_drop_with_a_name(lab: Lab) -> None:
    try:
        apply_intent(lab.net.inventory, TENANTS)
        routed, denied = (trace(lab.net.inventory, "h1", h) for h in ("h4", "h3"))
    finally:
        apply_intent(lab.net.inventory, Intent())
    assert routed.agrees, routed
    assert isinstance(routed.walk.end, Delivered)
    assert any("ttl-1" in s.did for s in routed.walk.steps)
    assert denied.agrees, denied
    assert denied.walk.end == Dropped("leaf1", "no-route:a/x")
    assert denied.dropped >= SENT
    assert list(denied.counted) == ["h1->leaf1"]


def test_rules_taken_away_behind_the_controllers_back_show_as_a_disagreement(lab: Lab) -> None:
    lab.ofctl("leaf2", "del-flows", "table=40")
    try:
        found = trace(lab.net.inventory, "h1", "h4")
    finally:
        lab.restart()       # reconciles what the switch holds
    assert not found.agrees
    assert "leaf2->h4" not in found.counted
    assert trace(lab.net.inventory, "h1", "h4").agrees


@pytest.mark.parametrize(("source", "target", "words"), [
    ("h9", "h1", "h9: expected a host of the lab: h1, h2, h3, h4, h5, h6; found none of them"),
    ("h1", "h1", "h1: expected a host other than h1"),
])
def test_hosts_that_make_no_pair_are_refused(lab: Lab, source: str, target: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        trace(lab.net.inventory, source, target)
