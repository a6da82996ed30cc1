"""What is sent and when it is confirmed: over all switches, over lost ones, and over those that connect again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from controller import change
from controller.change import IntentTransactions
from controller.desired_state import DesiredState
from controller.southbound.reconcile import DeleteFlows, Installed
from tests.unit.fake_southbound import Switches
from tests.unit.intents import attach, intent, vpc
from tests.unit.test_controller_reconcile import holds
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=1, hosts_per_leaf=2, probes=False))
ONE = intent(vpc("a", {"x": "10.1.0.0/24"}), attach("h1", "a/x"), attach("h3", "a/x"))
NONE = intent()


@pytest.fixture
def desired() -> DesiredState:
    return DesiredState(FABRIC)


@pytest.fixture
def switches(desired: DesiredState) -> Switches:
    return Switches(desired)


def test_a_change_is_on_disk_before_its_first_rule_is_sent(
        switches: Switches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "intent.json"
    monkeypatch.setattr(switches, "send", lambda *_: pytest.fail("no file yet") if not path.exists() else None)
    IntentTransactions(switches.rollout, path).apply(ONE)


def test_no_switch_gets_a_stage_before_all_have_confirmed_the_one_before(
        desired: DesiredState, switches: Switches, tmp_path: Path) -> None:
    transactions = IntentTransactions(switches.rollout, tmp_path / "i")
    transactions.apply(ONE)
    switches.batches.clear()
    switches.late["leaf2"] = []
    work = threading.Thread(target=transactions.apply, args=(NONE,))
    work.start()
    seen = []
    while work.is_alive():
        work.join(0.01)
        for barrier in [b for b in switches.late["leaf2"] if not b.done()]:
            with desired.lock:
                seen.append(any(isinstance(c, DeleteFlows) for _, due in switches.batches for c in due))
            barrier.set_result(None)
    assert seen == sorted(seen), "what goes is sent in the last stage"
    assert seen[0] is False
    assert desired.converged()


def test_a_lost_switch_does_not_hold_a_change_up_and_is_not_settled(
        desired: DesiredState, switches: Switches, tmp_path: Path) -> None:
    switches.lost.add("leaf2")
    IntentTransactions(switches.rollout, tmp_path / "i").apply(ONE)
    assert desired.unsettled() == ["leaf2"]
    assert desired.persisted.version == 1


def test_one_that_never_confirms_holds_it_up_for_a_while_only(
        desired: DesiredState, switches: Switches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "CONFIRM", 0.01)
    switches.late["leaf2"] = []
    IntentTransactions(switches.rollout, tmp_path / "i").apply(ONE)
    assert (desired.unsettled(), desired.is_settled) == (["leaf2"], True)


def test_a_confirmation_of_a_connection_before_counts_nothing(desired: DesiredState, switches: Switches) -> None:
    switches.late["leaf1"] = []
    switches.rollout.ports("leaf2", {1: False})
    desired.gone("leaf1")
    desired.connected("leaf1")
    switches.late["leaf1"][0].set_result(None)
    assert desired.unsettled() == ["leaf1"]
    switches.rollout.installed("leaf1", Installed())
    switches.late["leaf1"][1].set_result(None)
    assert desired.converged()


def test_a_switch_that_is_back_gets_its_links_when_it_has_confirmed_and_its_peers_hear_of_it_then(
        desired: DesiredState, switches: Switches) -> None:
    switches.rollout.died("spine1")
    desired.connected("spine1")
    switches.late["spine1"] = []
    switches.rollout.installed("spine1", Installed())
    switches.batches.clear()
    assert len(desired.state.down) == 2
    switches.late["spine1"][0].set_result(None)
    assert {switch for switch, _ in switches.batches} == {"leaf1", "leaf2"}
    assert not desired.state.down


def test_nothing_to_send_still_takes_a_barrier(desired: DesiredState, switches: Switches) -> None:
    held = desired.wanted["leaf1"]
    desired.connected("leaf1")
    switches.batches.clear()
    switches.rollout.installed("leaf1", holds(held))
    assert [due for _, due in switches.batches] == [()]
    assert desired.converged()
