"""Classes that workloads choose: which hosts may, what leaves do with a DSCP that is not open to them, who is
warned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.intent.vpc import Allocation, allocate, resolve
from controller.rules.compile import compile_rules
from controller.rules.state import State
from controller.verify.walk import Delivered, Walker
from scenarios.evidence.shares import check_classes
from scenarios.run.live_shares import change_shares, changed
from scenarios.run.phases import Traffic, pairs_of, traffic_of
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.scenario import ShareChange
from tests.unit.intents import attach, intent, vpc
from tests.unit.test_classes import inventory
from tests.unit.test_controller_rules import udp
from topologies.model.errors import LabError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import ClassSpec, FabricSpec, class_of, open_classes
from traffic.transports.iperf import Job
from traffic.transports.rocev2.packets import AckTemplate, DataTemplate
from traffic.workloads.kinds.bulk import Bulk
from traffic.workloads.kinds.engine import Operations
from traffic.workloads.kinds.paced import Paced
from traffic.workloads.kinds.serving import Served

GOLD, BULK, OTHER = 10, 20, 33
CLASSES = {"gold": {"dscp": GOLD, "min": "60%", "vpcs": ["a"]},
           "bulk": {"dscp": BULK, "min": "10%", "open_to": ["a", "b"]}}


def fabric_of(classes: dict[str, Any] = CLASSES) -> Fabric:
    return expand(FabricSpec.model_validate({"leaves": 2, "spines": 1, "hosts_per_leaf": 3, "classes": classes}))


def of(classes: dict[str, Any]) -> dict[str, ClassSpec]:
    return {name: ClassSpec.model_validate(c) for name, c in classes.items()}


@pytest.mark.parametrize(("name", "own", "free"), [
    ("a", "gold", ("bulk",)), ("b", "", ("bulk",)), ("c", "", ()), ("default", "", ("gold", "bulk"))])
def test_a_vpc_is_in_its_class_and_may_choose_those_that_are_open_to_it(
        name: str, own: str, free: tuple[str, ...]) -> None:
    assert (class_of(of(CLASSES), name), open_classes(of(CLASSES), name)) == (own, free)


@pytest.mark.parametrize("key", ["vpcs", "open_to"])
def test_hosts_in_no_vpc_choose_freely_until_a_class_speaks_of_them(key: str) -> None:
    spoken = of({"gold": {"dscp": 1, "min": "10%"}, "bulk": {"dscp": 2, "min": "10%", key: ["default"]}})
    assert open_classes(spoken, "default") == (() if key == "vpcs" else ("bulk",))


SENT_AND_SEEN = [
    ("h1", GOLD, GOLD), ("h1", BULK, BULK), ("h1", OTHER, GOLD), ("h1", 0, GOLD),       # a: in gold, bulk is open
    ("h2", GOLD, 0), ("h2", BULK, BULK), ("h2", OTHER, OTHER), ("h2", 0, 0),            # b: in none, bulk is open
    ("h3", GOLD, 0), ("h3", BULK, 0), ("h3", OTHER, OTHER),                             # c: in none, none is open
]


@pytest.mark.parametrize(("host", "sent", "seen"), SENT_AND_SEEN)
def test_a_leaf_lets_a_host_choose_no_class_that_is_not_open_to_its_vpc(host: str, sent: int, seen: int) -> None:
    fabric, far = fabric_of(), {"h1": "h4", "h2": "h5", "h3": "h6"}[host]
    wanted = intent(*(vpc(name, {"x": "10.1.0.0/24"}) for name in "abc"),
                    *(attach(h, f"{name}/x") for name, pair in zip("abc", (("h1", "h4"), ("h2", "h5"), ("h3", "h6")),
                                                                   strict=True) for h in pair))
    allocation = allocate(wanted, Allocation())
    switches = Walker(fabric, compile_rules(fabric, State(), resolve(wanted, fabric, allocation)))
    subnet = f"{'abc'[int(host[1]) - 1]}/x"
    here, there = (allocation.addresses[subnet][h] for h in (host, far))
    walk = switches.send(host, udp(fabric, host, far, ip_dscp=sent, ipv4_src=here, ipv4_dst=there))
    assert isinstance(walk.end, Delivered)
    assert walk.end.host == far
    assert walk.end.packet["ip_dscp"] == seen


@pytest.mark.parametrize(("classes", "sent", "seen"), [
    (CLASSES, GOLD, GOLD),
    ({**CLASSES, "bulk": {"dscp": BULK, "min": "10%", "open_to": ["default"]}}, GOLD, 0),
    ({**CLASSES, "bulk": {"dscp": BULK, "min": "10%", "open_to": ["default"]}}, BULK, BULK)])
def test_a_leaf_trusts_hosts_in_no_vpc_until_a_class_speaks_of_them(
        classes: dict[str, Any], sent: int, seen: int) -> None:
    fabric = fabric_of(classes)
    end = Walker(fabric, compile_rules(fabric)).send("h1", udp(fabric, "h1", "h4", ip_dscp=sent)).end
    assert isinstance(end, Delivered)
    assert end.packet["ip_dscp"] == seen


SCENARIO = """name: s
question: What?
fabric:
  name: f
  leaves: 2
  spines: 1
  hosts_per_leaf: 3
  classes:
    gold: {{dscp: 10, min: 60%, vpcs: [{vpc}]}}
    bulk: {{dscp: 20, min: 10%, open_to: [{open_to}]}}
vpcs:
  - {{kind: VPC, metadata: {{name: a}}, spec: {{subnets: {{x: {{subnet: 10.1.0.0/24}}}}}}}}
  - {{kind: VPCAttachment, metadata: {{name: h1}}, spec: {{connection: h1, subnet: a/x}}}}
  - {{kind: VPCAttachment, metadata: {{name: h4}}, spec: {{connection: h4, subnet: a/x}}}}
  - {{kind: VPCAttachment, metadata: {{name: h6}}, spec: {{connection: h6, subnet: a/x}}}}
workloads:
  w: {{{workload}, traffic_class: {chosen}}}
"""
KINDS = {
    "collective": "kind: collective, placement: [h1, h4], size: 1MB",
    "training-job": "kind: training-job, model: llama3-8b, data: 2, placement: [h1, h4], fuse: 32",
    "serving": "kind: serving, clients: [h1], gateway: h4, replicas: [h6], rate: 1, requests: 1",
    "udp": "kind: udp, pairs: [[h1, h4]], pps: 10, count: 10",
    "rocev2": "kind: rocev2, pairs: [[h1, h4]], rate: 1mbit, size: 10kB",
    "bulk": "kind: bulk, pairs: [[h1, h4]], duration: 1s",
}


def checked(path: Path, workload: str, chosen: str, vpc: str = "a", open_to: str = "a") -> Traffic:
    """The traffic of the only phase, with every check that `aifab check` makes of classes."""
    path.write_text(SCENARIO.format(workload=workload, chosen=chosen, vpc=vpc, open_to=open_to))
    scenario = load_scenario(str(path))
    traffic = traffic_of(scenario, scenario.phases[0], expand(scenario.fabric))
    check_classes(scenario, {"main": pairs_of(traffic)})
    return traffic


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_workload_bears_the_dscp_of_its_class(tmp_path: Path, kind: str) -> None:
    traffic = checked(tmp_path / "s.yml", KINDS[kind], "bulk")
    (built,) = traffic
    if isinstance(built, Operations):
        found = {built.workload.dscp}
    elif isinstance(built, Served):
        found = {built.serving.dscp}
    elif isinstance(built, Paced):
        found = {s.dscp for s in built.streams}
    else:
        assert isinstance(built, Bulk)
        job = Job(inventory=tmp_path, t0=0.0, records=tmp_path, phase="main", bulks={"w": built.spec})
        found = {pair.dscp for pair in job.pairs(fabric_of().spec)}
    assert found == {BULK}


def test_both_ways_of_a_roce_queue_pair_bear_it() -> None:
    data = DataTemplate("10.0.0.1", "10.0.0.2", 1, 64, "rc", BULK).packet(50_000, 1, 4, False, 0, 0)
    ack = AckTemplate("10.0.0.2", "10.0.0.1", 1, BULK).packet(50_000, 1, 0, 1)
    assert data[1] == ack[1] == BULK << 2


def test_a_class_that_is_not_open_to_the_hosts_of_a_workload_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors) as caught:
        checked(tmp_path / "s.yml", KINDS["udp"], "bulk", open_to="")
    assert str(caught.value) == (
        "workloads.w.traffic_class in phase main: expected a class that hosts of the VPC a may be in: gold; "
        "found bulk, for h1\n  -> add a to fabric.classes.bulk.open_to")
    with pytest.raises(SpecErrors, match="hosts of the VPC default may be in: bulk; found gold, for h2"):
        checked(tmp_path / "s.yml", KINDS["udp"].replace("h1, h4", "h2, h5"), "gold", open_to="default")
    checked(tmp_path / "s.yml", KINDS["udp"], "gold", open_to="")


@pytest.mark.parametrize(("chosen", "open_to", "words"), [
    ("silver", "a", "workloads.w.traffic_class: expected one of the classes gold, bulk; found silver"),
    ("gold", "b", "fabric.classes.bulk.open_to.0: expected one of the VPCs a, default; found b")])
def test_names_that_nobody_has_are_reported_with_their_place(
        tmp_path: Path, chosen: str, open_to: str, words: str) -> None:
    with pytest.raises(LabError) as caught:
        checked(tmp_path / "s.yml", KINDS["udp"], chosen, open_to=open_to)
    assert words in str(caught.value)


def test_a_class_is_not_open_to_those_who_are_in_it_anyway() -> None:
    with pytest.raises(Exception, match="VPCs that are not in the class anyway"):
        fabric_of({"gold": {"dscp": 1, "min": "10%", "vpcs": ["a"], "open_to": ["a"]}})


def test_a_live_change_of_one_class_keeps_what_is_not_given() -> None:
    found = changed(of(CLASSES), "bulk", ShareChange(min="30%"))
    assert (found["bulk"].min, found["bulk"].max, found["gold"].min) == (0.3, 1.0, 0.6)


@pytest.mark.parametrize(("name", "least", "most", "words"), [
    ("silver", "10%", None, "silver: expected one of the lab's classes: gold, bulk; found silver"),
    ("bulk", "45%", None, "classes: expected minima of at most 99% together"),
    ("bulk", None, "5%", "class bulk: expected a min of at most max; found min 0.1, max 0.05 of a link"),
    ("bulk", "0.5", None, "--min: expected a number with a unit, such as 0.1%; found 0.5"),
    ("bulk", "0%", None, "--min: expected a share of at least 1%; found 0%"),
    ("bulk", None, "120%", "--max: expected a share from 0% to 100%, such as 0.1%; found 120%"),
    ("bulk", None, None, "aifab class set: expected --min, --max or both; found neither")])
def test_a_live_change_that_cannot_be_is_reported(monkeypatch: pytest.MonkeyPatch, name: str, least: str | None,
                                                  most: str | None, words: str) -> None:
    monkeypatch.setattr("topologies.links.htb.shares.held_classes", lambda _: of(CLASSES))
    monkeypatch.setattr("topologies.links.htb.shares.set_shares", lambda *_: pytest.fail("nothing may change"))
    with pytest.raises(LabError) as caught:
        change_shares(inventory(), name, least, most)
    assert words in str(caught.value)


def test_a_live_change_is_made_on_all_wires_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, ClassSpec]] = []
    monkeypatch.setattr("topologies.links.htb.shares.held_classes", lambda _: of(CLASSES))
    monkeypatch.setattr("topologies.links.htb.shares.set_shares", lambda _, classes: made.append(classes))
    found, _ = change_shares(inventory(), "bulk", "30%", None)
    assert (found.min, found.max) == (0.3, 1.0)
    assert [(c["bulk"], c["gold"]) for c in made] == [(found, of(CLASSES)["gold"])]
