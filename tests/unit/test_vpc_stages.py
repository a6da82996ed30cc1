"""Changes of tenancy: no gap and no leak in between, whichever switch is ahead; and who may write."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from controller import change
from controller.change import Conflict, IntentTransactions, IntentViolation
from controller.desired_state import DesiredState
from controller.evpn.bgp_import import Learned
from controller.evpn.evpn import PrefixRoute
from controller.intent.intent import Intent
from controller.intent.vpc import Allocation, allocate, resolve
from controller.persisted_intent import PersistedIntent
from controller.rules.compile import Compiler
from controller.rules.rules import ETH_IPV4, UDP, RuleSet
from controller.rules.state import State
from controller.southbound.reconcile import AddFlow, DeleteFlows, Phase
from controller.stages import Stage, stages
from controller.verify.reachability import Cell, matrix
from controller.verify.walk import Delivered, Packet, Walker
from tests.examples import examples
from tests.unit.fake_southbound import Switches
from tests.unit.intents import attach, external, external_attach, external_peer, intent, intents, peer, vpc
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=1, hosts_per_leaf=3, probes=False))
HOSTS = [h.name for h in FABRIC.hosts]
A = vpc("a", {"x": "10.1.0.0/24"})
B = vpc("b", {"y": "10.2.0.0/24"})
BOTH = [A, B, attach("h1", "a/x"), attach("h4", "a/x"), attach("h2", "b/y"), attach("h5", "b/y")]


def compiled(wanted: Intent, allocation: Allocation) -> Compiler:
    return Compiler(FABRIC, resolve(wanted, FABRIC, allocation))


def packet(cell: Cell, source_ip: str) -> Packet:
    return {"eth_src": FABRIC.host(cell.source).mac, "eth_dst": cell.next_mac, "eth_type": ETH_IPV4, "ip_proto": UDP,
            "ip_dscp": 0, "ipv4_src": source_ip, "ipv4_dst": cell.ip, "nw_ttl": 64, "udp_src": 1, "udp_dst": 2}


def cells(wanted: Intent, allocation: Allocation) -> dict[Cell, str]:
    """Cell -> the address of its source."""
    ips = {h: ip for hosts in allocation.addresses.values() for h, ip in hosts.items()}
    return {c: ips.get(c.source, FABRIC.host(c.source).ip) for c in matrix(wanted, FABRIC, allocation)}


def between(old: Compiler, new: Compiler) -> list[RuleSet]:
    """Every rule set on the way, with each switch in turn ahead of the others."""
    current = old.rules(State())
    found = [current]
    for source in stages(old, new):
        following = source.rules(State())
        found += [{**current, switch: following[switch]} for switch in ("leaf1", "leaf2")]
        found.append(following)
        current = following
    return found


def reached(rules: RuleSet, cell: Cell, source_ip: str) -> str:
    end = Walker(FABRIC, rules).send(cell.source, packet(cell, source_ip)).end
    return end.host if isinstance(end, Delivered) else ""


def moved(one: Intent, other: Intent) -> set[str]:
    """Hosts that a change puts elsewhere."""
    before, after = ({a.connection: a.subnet for a in wanted.attachments} for wanted in (one, other))
    return {host for host in before | after if before.get(host) != after.get(host)}


def test_a_host_that_joins_a_vpc_may_meet_one_that_leaves_it_in_the_same_change() -> None:
    """As they would if it had joined a moment before: rules that are not wanted any more go last."""
    stays = [A, vpc("b", {"y": "10.2.0.0/24", "z": "10.2.1.0/24"}), attach("h2", "b/z")]
    one = intent(*stays, attach("h1", "a/x"), attach("h5", "b/y"))
    other = intent(*stays, attach("h5", "a/x"), attach("h1", "b/z"))
    first = allocate(one, Allocation())
    second = allocate(other, first)
    meeting = Cell("h1", "h5", first.addresses["b/y"]["h5"], GATEWAY_MAC, "h5", "both are in b")
    went = [reached(rules, meeting, second.addresses["b/z"]["h1"])
            for rules in between(compiled(one, first), compiled(other, second))]
    assert "h5" in went
    assert went[0] == went[-1] == ""


@examples(40)
@given(intents(HOSTS), intents(HOSTS))
def test_what_may_be_sent_before_and_after_arrives_all_the_time_and_what_never_may_never_does(
        one: Intent, other: Intent) -> None:
    first = allocate(one, Allocation())
    second = allocate(other, first)
    before, after = cells(one, first), cells(other, second)
    same = {(c.source, c.target, c.ip, c.next_mac, ip, c.receiver) for c, ip in after.items()}
    moving = moved(one, other)
    steady = [(c, ip) for c, ip in before.items() if (c.source, c.target, c.ip, c.next_mac, ip, c.receiver) in same
              and not {c.source, c.target} <= moving]
    for rules in between(compiled(one, first), compiled(other, second)):
        wrong = [(c, got) for c, ip in steady if (got := reached(rules, c, ip)) != c.receiver]
        assert wrong == []


@examples(20)
@given(intents(HOSTS), intents(HOSTS))
def test_a_compiler_that_takes_over_from_another_one_wants_the_same_as_one_that_starts_anew(
        one: Intent, other: Intent) -> None:
    first = allocate(one, Allocation())
    second = allocate(other, first)
    anew = compiled(other, second)
    taken = Compiler(FABRIC, anew.tenancy, previous=compiled(one, first))
    for state in (State(), State(frozenset({"leaf2-spine1"}))):
        assert taken.rules(state) == anew.rules(state)


def test_a_change_leaves_the_rules_of_other_vpcs_and_other_leaves_the_very_same_objects() -> None:
    """On a big fabric that is what a small change lives on."""
    before = intent(*BOTH)
    first = allocate(before, Allocation())
    old = compiled(before, first)
    after = intent(*BOTH, vpc("c", {"z": "10.3.0.0/24"}))
    same = Compiler(FABRIC, resolve(after, FABRIC, allocate(after, first)), previous=old)
    assert all(same.rules(State())[s].steady is old.rules(State())[s].steady for s in old.rules(State()))
    moved = intent(A, B, *BOTH[2:5])
    new = Compiler(FABRIC, resolve(moved, FABRIC, allocate(moved, first)), previous=old)
    kept = {id(f) for f in old.rules(State())["leaf1"].steady}
    assert {f.name for f in new.rules(State())["leaf1"].steady if id(f) in kept} >= {"from:h1", "bridge:a/x:10.1.0.3"}


def test_a_stage_is_followed_while_links_fail() -> None:
    first = allocate(intent(*BOTH), Allocation())
    old, new = compiled(intent(*BOTH), first), compiled(intent(A, attach("h1", "a/x")), first)
    down = State(frozenset({"leaf2-spine1"}))
    names = {f.name for f in Stage(old, new, Phase.SEND).rules(down)["leaf1"].passing}
    assert names == {"no-path:leaf2"}
    assert len(Stage(old, new, Phase.SEND).rules(State())["leaf1"].passing) == 0


def test_numbers_that_are_in_use_on_the_way_mean_one_segment_only() -> None:
    """A VPC goes and another one comes in the same change: theirs differ, for switches are not all equally fast."""
    first = allocate(intent(A, attach("h1", "a/x")), Allocation())
    second = allocate(intent(B, attach("h1", "b/y")), first)
    assert not set(first.vnis.values()) & set(second.vnis.values())


@pytest.fixture
def desired() -> DesiredState:
    return DesiredState(FABRIC)


@pytest.fixture
def transactions(desired: DesiredState, tmp_path: Path) -> IntentTransactions:
    return IntentTransactions(Switches(desired).rollout, tmp_path / "intent.json")


def test_what_comes_is_installed_before_what_goes_is_removed(desired: DesiredState, tmp_path: Path) -> None:
    switches = Switches(desired)
    transactions = IntentTransactions(switches.rollout, tmp_path / "i")
    transactions.apply(intent(*BOTH))
    before = len(switches.batches)
    transactions.apply(intent(A, attach("h1", "a/x"), attach("h3", "a/x")))
    kinds = [type(c) for _, due in switches.batches[before:] for c in due]
    assert kinds == sorted(kinds, key=[AddFlow, DeleteFlows].index)
    assert set(kinds) == {AddFlow, DeleteFlows}
    assert desired.converged()


def test_a_change_counts_a_version_up_and_is_remembered(
        desired: DesiredState, transactions: IntentTransactions, tmp_path: Path) -> None:
    plan, _ = transactions.apply(intent(*BOTH))
    assert plan.objects == ("+ VPC a", "+ VPC b", *(f"+ VPCAttachment {x}" for x in ("a.x.h1", "a.x.h4", "b.y.h2",
                                                                                     "b.y.h5")))
    assert desired.persisted == PersistedIntent.read(tmp_path / "intent.json") == plan.persisted
    again = DesiredState(FABRIC, PersistedIntent.read(tmp_path / "intent.json"))
    assert again.wanted == desired.wanted
    assert desired.persisted.version == 1


def test_the_same_intent_again_changes_nothing(desired: DesiredState, transactions: IntentTransactions) -> None:
    transactions.apply(intent(*BOTH))
    wanted = desired.wanted
    plan, _ = transactions.apply(intent(*BOTH))
    assert (plan.objects, plan.flows, desired.persisted.version) == ((), {}, 1)
    assert desired.wanted is wanted


def test_a_plan_says_what_apply_will_do_and_does_nothing(
        desired: DesiredState, transactions: IntentTransactions, tmp_path: Path) -> None:
    wanted = desired.wanted
    plan = transactions.plan(intent(*BOTH))
    assert desired.wanted is wanted
    assert not (tmp_path / "intent.json").exists()
    assert transactions.apply(intent(*BOTH))[0].flows == plan.flows
    assert set(plan.flows) == {"leaf1", "leaf2"}
    restricted = vpc("a", {"x": "10.1.0.0/24"}, defaultRestricted=True)
    changed = transactions.plan(intent(*BOTH[1:], restricted, peer(a=[], b=[])))
    assert changed.objects == ("~ VPC a", "+ VPCPeering a-b")


def test_an_intent_with_one_mistake_is_not_applied_at_all(
        desired: DesiredState, transactions: IntentTransactions, tmp_path: Path) -> None:
    wanted = desired.wanted
    with pytest.raises(IntentViolation) as info:
        transactions.apply(intent(*BOTH, attach("h1", "b/y"), attach("h9", "b/y")))
    assert len(info.value.problems) == 2
    assert desired.wanted is wanted
    assert not (tmp_path / "intent.json").exists()


def test_of_two_writers_one_wins_and_the_other_is_reported_the_version(
        desired: DesiredState, transactions: IntentTransactions) -> None:
    outcomes: list[str] = []

    def write(wanted: Intent) -> None:
        try:
            transactions.apply(wanted, version=0)
            outcomes.append("applied")
        except Conflict as conflict:
            outcomes.append(f"version {conflict.version}")

    threads = [threading.Thread(target=write, args=(intent(x),)) for x in (A, B)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["applied", "version 1"]
    assert len(desired.persisted.intent.objects) == 1


ANNOUNCED = Learned("go1", PrefixRoute(rd="65102:1", targets=frozenset({"65000:1001"}), next_hop="203.0.113.2",
                                       prefix="172.16.0.0/16", vni=7))


class Outside:
    """A transactions whose VPC a has a way out, and how often it has compiled since."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fabric = expand(FabricSpec.model_validate({
            "leaves": 2, "spines": 1, "hosts_per_leaf": 2, "probes": False, "border": {"hosts": 1, "rate": "10mbit"}}))
        self.desired = DesiredState(fabric)
        self.transactions = IntentTransactions(Switches(self.desired).rollout, tmp_path / "intent.json")
        self.transactions.apply(intent(A, attach("h1", "a/x"), external("inet"),
                                 external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.2"),
                                 external_peer("a", [], "inet", "0.0.0.0/0")))
        self.compiled = 0
        self._compile = Compiler
        monkeypatch.setattr(change, "Compiler", self._counted)

    def _counted(self, *args: Any, **kwargs: Any) -> Compiler:
        self.compiled += 1
        return self._compile(*args, **kwargs)

    def leads_out(self) -> bool:
        return any(f.name == "route:a/x:172.16.0.0/16" for f in self.desired.wanted["leaf1"].flows)


def test_an_advertisement_that_changes_nothing_is_not_compiled(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Outside(tmp_path, monkeypatch)
    unused = Learned("go1", replace(ANNOUNCED.route, rd="65102:2", next_hop="192.0.2.1"))
    for learned, compiled in (((), 0), ((unused,), 0), ((ANNOUNCED,), 1), ((ANNOUNCED,), 1), ((ANNOUNCED, unused), 1),
                              ((ANNOUNCED,), 1), ((), 2), ((), 2)):
        it.transactions.learn(learned)
        assert it.compiled == compiled, learned
        assert it.leads_out() is (ANNOUNCED in learned)
        assert it.desired.learned == learned


@pytest.mark.parametrize("at", ["compile", "install"])
def test_the_same_news_after_a_failure_is_installed_and_so_is_its_end(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    it = Outside(tmp_path, monkeypatch)
    with monkeypatch.context() as broken:
        def fail(*_: Any, **__: Any) -> Any:
            raise RuntimeError("no")
        if at == "compile":
            broken.setattr(change, "Compiler", fail)
        else:
            broken.setattr(it.desired, "settle", fail)      # all is sent, and nobody says that it has come to its end
        with pytest.raises(RuntimeError):
            it.transactions.learn((ANNOUNCED,))
    it.transactions.learn(() if at == "install" else (ANNOUNCED,))
    assert it.leads_out() is (at == "compile")
    assert it.desired.is_settled


def test_rates_outlive_the_controller_and_changes_of_intent(tmp_path: Path) -> None:
    fabric = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=2, probes=False, paths="weighted"))
    desired = DesiredState(fabric)
    transactions = IntentTransactions(Switches(desired).rollout, tmp_path / "intent.json")
    before = desired.wanted
    transactions.set_rates({"leaf1-spine1": 1e6})
    assert desired.wanted["leaf2"].groups != before["leaf2"].groups
    transactions.apply(intent(A, attach("h1", "a/x")))
    again = DesiredState(fabric, PersistedIntent.read(tmp_path / "intent.json"))
    assert again.wanted == desired.wanted
    assert again.health()["rates"] == {"leaf1-spine1": 1e6}
    IntentTransactions(Switches(again).rollout, tmp_path / "intent.json").set_rates({})
    assert DesiredState(fabric, PersistedIntent.read(tmp_path / "intent.json")).health()["rates"] == {}


def test_a_memory_that_is_none_is_reported_in_words(tmp_path: Path) -> None:
    (tmp_path / "intent.json").write_text('{"version": "x"}')
    with pytest.raises(LabError, match="expected the intent as the controller wrote it; found 1 problems"):
        PersistedIntent.read(tmp_path / "intent.json")
    assert PersistedIntent.read(tmp_path / "none.json") == PersistedIntent()
