"""Traffic classes: what a spec may say, what wires and switches are given, how drops are named, how shares change."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from controller.intent.vpc import Allocation, allocate, resolve
from controller.rules.compile import Compiler
from controller.rules.qos import MARK
from controller.rules.rules import SetField
from controller.rules.state import State
from controller.rules.tables import Priority, Table
from scenarios.evidence.shares import reshared
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.scenario import Scheduled, ShareChange
from tests.unit.intents import attach, intent, vpc
from topologies.links.htb import wires
from topologies.links.htb.classes import wire_classes
from topologies.links.htb.qdisc import Qdisc
from topologies.links.htb.sampling import _joined
from topologies.model.addressing import DEFAULT_VNI
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec
from topologies.proof.ledger import QueueCount

CLASSES = {"gold": {"dscp": 10, "min": "60%", "vpcs": ["a"]},
           "bulk": {"dscp": 20, "min": "10%", "max": "50%", "vpcs": ["default"]}}
FABRIC = expand(FabricSpec.model_validate({
    "name": "c", "leaves": 2, "spines": 1, "hosts_per_leaf": 1, "host_rate": "10mbit", "uplink_rate": "20mbit",
    "classes": CLASSES}))
PLAIN = expand(FABRIC.spec.model_copy(update={"classes": {}}))


def inventory() -> Inventory:
    return Inventory(lab="t", directory="/nowhere", fabric=FABRIC, netns={n.name: n.name for n in FABRIC.nodes},
                     wiring="w", wires=wires.devices(FABRIC), switches={}, datapath="ovs", controller_socket="",
                     api_socket="")


def fabric_file(path: Path, classes: str, more: str = "") -> str:
    path.write_text(f"name: f\nleaves: 2\nspines: 1\nhosts_per_leaf: 3\n{more}\nclasses:\n{classes}")
    return str(path)


BAD = {
    "minima": ("  a: {dscp: 1, min: 60%}\n  b: {dscp: 2, min: 40%}\n", "",
               "classes: expected minima of at most 99% together, so that something is left for other packets; "
               "found 1 of a link"),
    "max below min": ("  a: {dscp: 1, min: 60%, max: 50%}\n", "",
                      "classes.a: expected a min of at most max; found min 0.6, max 0.5 of a link"),
    "one dscp": ("  a: {dscp: 1, min: 10%}\n  b: {dscp: 1, min: 10%}\n", "",
                 "classes.b.dscp: expected each DSCP and each VPC in one class; found 1, which is in a"),
    "one vpc": ("  a: {dscp: 1, min: 10%, vpcs: [x]}\n  b: {dscp: 2, min: 10%, vpcs: [x]}\n", "",
                "classes.b.vpcs: expected each DSCP and each VPC in one class; found x, which is in a"),
    "sentinel": ("  a: {dscp: 63, min: 10%}\n", "", "classes.a.dscp: expected a number of at most 62; found 63"),
    "no unit": ("  a: {dscp: 1, min: 0.1}\n", "",
                "classes.a.min: expected a number with a unit, such as 0.1%; found 0.1"),
    "nothing": ("  a: {dscp: 1, min: 0%}\n", "", "classes.a.min: expected a number of at least 0.01; found"),
    "delay": ("  a: {dscp: 1, min: 10%}\n", "delay: 1ms",
              "classes: expected classes on links without delay and loss; found links that have them"),
}


@pytest.mark.parametrize(("classes", "more", "reported"), BAD.values(), ids=BAD)
def test_classes_that_cannot_be_are_reported_with_their_place(tmp_path: Path, classes: str, more: str,
                                                              reported: str) -> None:
    with pytest.raises(Exception) as caught:    # noqa: PT011 - its text is what counts
        load_fabric(fabric_file(tmp_path / "f.yml", classes, more))
    assert reported in str(caught.value)


def test_what_is_in_no_class_keeps_what_the_minima_leave() -> None:
    rest, gold, bulk = wire_classes(FABRIC.spec.classes)
    assert (rest.name, rest.dscp, rest.max) == ("", None, 1.0)
    assert rest.min == pytest.approx(0.3)
    assert [(c.handle, c.class_handle) for c in (rest, gold, bulk)] == [
        (0x100000, 0x10010), (0x110000, 0x10011), (0x120000, 0x10012)]


def test_each_class_has_a_queue_and_a_filter_on_every_shaped_end_of_a_wire() -> None:
    lines = list(wires.wire_lines(FABRIC))
    shaped = [q for q in wires.queues(inventory()) if q.netns == "w"]
    for q in shaped:
        mine = [x for x in lines if f" dev {q.device} " in x]
        rate = round(q.rate)
        assert any(f"classid 1:1 htb rate {rate}bit ceil {rate}bit" in x for x in mine)
        for number, low, high in (("10", 0.3, 1.0), ("11", 0.6, 1.0), ("12", 0.1, 0.5)):
            assert any(f"parent 1:1 classid 1:{number} htb rate {round(low * q.rate)}bit ceil {round(high * q.rate)}bit"
                       in x for x in mine)
            assert f"qdisc add dev {q.device} parent 1:{number} handle {number}: bfifo limit {q.limit}" in mine
        assert [x.split("match ip dsfield ")[1] for x in mine if "flowid 1:1" in x] == [
            "0x28 0xfc flowid 1:11", "0x50 0xfc flowid 1:12"]


def test_a_host_divides_its_own_link_with_queues_that_never_drop() -> None:
    lines = wires.host_lines(FABRIC, "h1")
    for number, low, high in (("10", 0.3, 1.0), ("11", 0.6, 1.0), ("12", 0.1, 0.5)):
        assert any(f"parent 1:1 classid 1:{number} htb rate {round(low * 10e6)}bit ceil {round(high * 10e6)}bit" in x
                   for x in lines)
        assert f"qdisc add dev h1-eth0 parent 1:{number} handle {number}: bfifo limit {wires.HOST_QUEUE}" in lines
    assert [len(q.classes) for q in wires.queues(inventory()) if q.netns != "w"] == [3] * 4


def test_a_fabric_without_classes_has_none_on_any_wire() -> None:
    assert not any("1:11" in x or "parent 1:1 " in x for x in wires.host_lines(PLAIN, "h1"))
    assert not any("1:11" in x or "parent 1:1 " in x for x in wires.wire_lines(PLAIN))


def test_packets_of_a_vpc_get_the_dscp_of_its_class_and_the_default_vpcs_that_of_theirs() -> None:
    wanted = intent(vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}), vpc("b", {"x": "10.1.0.0/24"}),
                    attach("h1", "a/x"), attach("h2", "a/y"))
    allocation = allocate(wanted, Allocation())
    rules = Compiler(FABRIC, resolve(wanted, FABRIC, allocation)).rules(State())
    for leaf in ("leaf1", "leaf2"):
        marks = {f.match.tunnel_id: f for f in rules[leaf].flows if f.name.startswith("class:")}
        assert {vni: f.actions for vni, f in marks.items()} == {
            DEFAULT_VNI: (SetField("ip_dscp", 20),),
            allocation.vnis["a/x"]: (SetField("ip_dscp", 10),), allocation.vnis["a/y"]: (SetField("ip_dscp", 10),)}
        assert {(f.table, f.goto) for f in marks.values()} == {(Table.QOS, Table.BRIDGE)}
    assert Priority.NORMAL < MARK < Priority.OVERRIDE, "above the clearing of the sentinel's DSCP, below the sentinel"


def test_a_change_of_one_vpc_takes_over_the_marks_of_the_others() -> None:
    before = intent(vpc("a", {"x": "10.1.0.0/24"}), attach("h1", "a/x"))
    after = intent(*[o.model_dump(mode="json") for o in before.objects], vpc("b", {"x": "10.1.0.0/24"}),
                   attach("h2", "b/x"))
    first = allocate(before, Allocation())
    old = Compiler(FABRIC, resolve(before, FABRIC, first))
    tenancy = resolve(after, FABRIC, allocate(after, first))
    assert Compiler(FABRIC, tenancy, previous=old).rules(State()) == Compiler(FABRIC, tenancy).rules(State())


def test_drops_are_named_by_class_and_the_rest_by_direction() -> None:
    count = QueueCount(sent=10, dropped=7, by_class={"gold": 0, "bulk": 5})
    assert count.drops("leaf1->h3") == {"leaf1->h3 class bulk": 5, "leaf1->h3": 2}
    assert QueueCount(dropped=3).drops("leaf1->h3") == {"leaf1->h3": 3}
    assert (count + QueueCount(lost=1)).drops("d") == count.drops("d")


def test_a_direction_counts_all_of_its_classes_but_waits_only_in_those_that_may_use_all_of_it() -> None:
    queue = next(q for q in wires.queues(inventory()) if q.classes)
    parts = [Qdisc(1, "bfifo", c.handle, 0, 1000, 10, 2, 500, 5, 60_000) for c in queue.classes]
    found = None
    for part in parts:
        found = _joined(found, part, queue)
    assert found is not None
    assert (found.bytes, found.packets, found.drops, found.backlog) == (3000, 30, 6, 1000)


def test_new_shares_leave_what_is_not_given() -> None:
    found = reshared(FABRIC.spec.classes, {"bulk": ShareChange(min="20%")})
    assert (found["bulk"].min, found["bulk"].max, found["bulk"].dscp) == (0.2, 0.5, 20)
    assert found["gold"] is FABRIC.spec.classes["gold"] or found["gold"] == FABRIC.spec.classes["gold"]


def test_a_change_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one of move and shares"):
        Scheduled.model_validate({"at": "1s"})


SCENARIO = """name: s
question: What?
fabric:
  name: f
  leaves: 2
  spines: 1
  hosts_per_leaf: 2
  classes:
    gold: {{dscp: 10, min: 60%, vpcs: [{vpc}]}}
    bulk: {{dscp: 20, min: 10%, max: 50%}}
workloads:
  w: {{kind: udp, pairs: [[h1, h3]], pps: 10, count: 10}}
events: {events}
schedule:
  - {{at: 1s, {change}}}
"""
SHARES = {
    "class": ("shares: {silver: {min: 20%}}", "schedule.0.shares.silver: expected one of the classes gold, bulk"),
    "minima": ("shares: {bulk: {min: 45%}}", "schedule.0.shares: expected minima of at most 99% together"),
    "order": ("shares: {bulk: {max: 5%}}", "schedule.0.shares.bulk: expected a min of at most max"),
    "limit": ("shares: {gold: {max: 70%}}",
              "schedule.0.shares.gold.max: expected a max that stays at 100%, or stays below it; found 0.7 of a link"),
    "no move": ("move: {h1: a/x}", "schedule.0.move: expected moves between VPCs of the scenario"),
}


@pytest.mark.parametrize(("change", "reported"), SHARES.values(), ids=SHARES)
def test_shares_that_cannot_be_are_reported_with_their_line(tmp_path: Path, change: str, reported: str) -> None:
    (tmp_path / "s.yml").write_text(SCENARIO.format(vpc="default", events="[]", change=change))
    with pytest.raises(Exception) as caught:    # noqa: PT011 - its text is what counts
        load_scenario(str(tmp_path / "s.yml"))
    assert f"s.yml:15 {reported}" in str(caught.value)


def test_a_class_of_a_vpc_that_nobody_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yml").write_text(SCENARIO.format(vpc="x", events="[]", change="shares: {bulk: {min: 20%}}"))
    with pytest.raises(Exception, match=r"s.yml:9 fabric.classes.gold.vpcs.0: expected one of the VPCs default"):
        load_scenario(str(tmp_path / "s.yml"))


def test_rates_and_shares_do_not_change_in_one_scenario(tmp_path: Path) -> None:
    (tmp_path / "s.yml").write_text(SCENARIO.format(
        vpc="default", events="[{at: 1s, link: h1-leaf1, rate: 5mbit}]", change="shares: {bulk: {min: 20%}}"))
    with pytest.raises(Exception, match=r"events.0.rate: expected rates that stay, where the schedule changes shares"):
        load_scenario(str(tmp_path / "s.yml"))
