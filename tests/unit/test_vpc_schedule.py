"""VPCs and their schedule in a scenario: who is where when, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.evidence.tenants import with_addresses
from scenarios.run.phases import pairs_of, traffic_of
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.scenario import Scenario
from scenarios.spec.vpc_schedule import at_start, check_traffic, intents, moved, places, untouched
from tests.unit.intents import attach, intent, vpc
from topologies.model.errors import SpecErrors
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec

FABRIC = {"name": "f", "leaves": 2, "spines": 1, "hosts_per_leaf": 3}       # h1 to h3, h4 to h6
VPCS = [vpc("a", {"x": "10.1.0.0/24"}), vpc("b", {"y": "10.1.0.0/24"}), attach("h1", "a/x"), attach("h2", "a/x"),
        attach("h4", "a/x"), attach("h3", "b/y"), attach("h5", "b/y")]
STREAM = {"kind": "udp", "pairs": [["h1", "h4"]], "pps": 10, "count": 10}


def scenario(schedule: list[dict[str, Any]], **more: Any) -> Scenario:
    return Scenario.model_validate({
        "name": "s", "question": "?", "fabric": FABRIC, "vpcs": VPCS, "workloads": {"w": STREAM},
        "phases": [{"name": "one", "run": ["w"]}, {"name": "two", "run": ["w"]}], "schedule": schedule, **more})


def refused(made: Scenario) -> str:
    fabric = expand(made.fabric)
    with pytest.raises(SpecErrors) as caught:
        check_traffic(made, fabric, {p.name: pairs_of(traffic_of(made, p, fabric)) for p in made.phases})
    return str(caught.value)


def test_a_moved_host_keeps_its_attachment_in_its_place_with_another_subnet() -> None:
    before = intent(*VPCS)
    after = moved(before, {"h2": "b/y"})
    assert places(after) == places(before) | {"h2": "b/y"}
    assert [o.metadata.name for o in after.objects] == [o.metadata.name for o in before.objects]


def test_a_host_without_an_attachment_is_attached_by_its_first_move() -> None:
    assert places(moved(intent(*VPCS), {"h6": "b/y"}))["h6"] == "b/y"


def test_changes_follow_from_each_other_by_phase_and_then_by_time() -> None:
    made = scenario([{"phase": "two", "at": "0s", "move": {"h2": "a/x"}}, {"at": "2s", "move": {"h4": "b/y"}},
                     {"at": "1s", "move": {"h2": "b/y"}}])
    assert [(phase, n) for phase, n, _ in intents(made)] == [("one", 2), ("one", 1), ("two", 0)]
    assert places(at_start(made, "one"))["h2"] == "a/x"
    assert {h: places(at_start(made, "two"))[h] for h in ("h2", "h4")} == {"h2": "b/y", "h4": "b/y"}


def test_a_vpc_is_untouched_in_a_phase_that_takes_nobody_from_it_and_puts_nobody_into_it() -> None:
    three = [*VPCS, vpc("c", {"z": "10.1.0.0/24"}), attach("h6", "c/z")]
    made = scenario([{"at": "1s", "move": {"h2": "b/y"}}], vpcs=three)
    assert untouched(made, "one") == {"c"}
    assert untouched(made, "two") == {"a", "b", "c"}
    there_and_back = [{"at": "1s", "move": {"h6": "b/y"}}, {"at": "2s", "move": {"h6": "c/z"}}]
    assert untouched(scenario(there_and_back, vpcs=three), "one") == {"a"}


def test_traffic_between_vpcs_that_may_not_speak_is_refused_with_the_reason() -> None:
    made = scenario([], workloads={"w": STREAM | {"pairs": [["h1", "h3"]]}})
    text = refused(made)
    assert text.startswith("workloads.w in phase one: expected hosts whose VPCs let them reach each other; "
                           "found h1 -> h3: ")
    assert "VPCPeering" in text


def test_a_phase_is_judged_by_the_vpcs_at_its_start() -> None:
    """In phase one h1 and h4 are in one VPC, in phase two no longer."""
    idle = {"kind": "udp", "pairs": [["h3", "h5"]], "pps": 10, "count": 10}
    made = scenario([{"at": "1s", "move": {"h4": "b/y"}}], workloads={"w": STREAM, "idle": idle},
                    phases=[{"name": "one", "run": ["idle"]}, {"name": "two", "run": ["w"]}])
    assert refused(made).startswith("workloads.w in phase two: ")


def test_a_host_that_moves_under_its_own_traffic_is_refused() -> None:
    assert "found h4, which the schedule moves meanwhile" in refused(scenario([{"at": "1s", "move": {"h4": "b/y"}}]))


def test_serving_whose_hosts_may_not_speak_is_refused() -> None:
    chat = {"kind": "serving", "rate": 1, "clients": ["h1"], "gateway": "h2", "replicas": ["h3", "h4"]}
    assert ("workloads.w in phase one: expected hosts whose VPCs let them reach each other; found h2 -> h3"
            in refused(scenario([], workloads={"w": chat})))


def test_without_vpcs_no_traffic_is_refused() -> None:
    made = scenario([], vpcs=[], workloads={"w": STREAM | {"pairs": [["h1", "h3"]]}})
    check_traffic(made, expand(made.fabric), {})


BAD = {
    "host": ("{h9: a/x}", "schedule.0.move.h9: expected a host of the fabric f that is not a probe; found h9"),
    "vpc": ("{h2: c/x}", "schedule.0.move.h2: expected one of the VPCs a, b; found c"),
    "subnet": ("{h2: a/z}", "schedule.0.move.h2: expected one of the subnets x; found z"),
    "form": ("{h2: a/b/c}", "schedule.0.move.h2: expected text of the form"),
    "nobody": ("{}", "schedule.0: expected at least one of move and shares"),
}


def write(path: Path, schedule: str, subnet: str = "a/x") -> Path:
    path.write_text(f"""name: s
question: What?
fabric: {{name: f, leaves: 2, spines: 1, hosts_per_leaf: 3}}
vpcs:
  - {{kind: VPC, metadata: {{name: a}}, spec: {{subnets: {{x: {{subnet: 10.1.0.0/24}}}}}}}}
  - {{kind: VPC, metadata: {{name: b}}, spec: {{subnets: {{y: {{subnet: 10.2.0.0/24}}}}}}}}
  - {{kind: VPCAttachment, metadata: {{name: h2}}, spec: {{connection: h2, subnet: {subnet}}}}}
workloads:
  w: {{kind: udp, pairs: [[h1, h4]], pps: 10, count: 10}}
schedule:
  - {schedule}
""")
    return path


@pytest.mark.parametrize(("move", "reported"), BAD.values(), ids=BAD)
def test_a_change_that_cannot_be_is_reported_with_its_line(tmp_path: Path, move: str, reported: str) -> None:
    path = write(tmp_path / "s.yml", f"{{at: 1s, move: {move}}}")
    with pytest.raises(SpecErrors) as caught:
        load_scenario(str(path))
    assert f"s.yml:11 {reported}" in str(caught.value)


def test_a_mistake_in_the_vpcs_is_reported_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yml", "{at: 1s, move: {h2: b/y}}", subnet="d/x")
    with pytest.raises(SpecErrors, match=r"s.yml:7 vpcs.2.spec.subnet: expected one of the VPCs a, b; found d"):
        load_scenario(str(path))


def test_a_change_in_a_phase_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yml", "{at: 1s, phase: night, move: {h2: b/y}}")
    with pytest.raises(SpecErrors, match=r"schedule.0.phase: expected one of the phases main; found night"):
        load_scenario(str(path))


def test_traffic_goes_by_the_addresses_that_the_vpcs_gave() -> None:
    fabric = expand(FabricSpec.model_validate(FABRIC))
    inventory = Inventory(lab="t", directory="/nowhere", fabric=fabric, netns={}, wiring="t", wires={}, switches={},
                          datapath="ovs", controller_socket="", api_socket="")
    found = with_addresses(inventory, {"h2": {"ip": "10.1.0.2"}})
    assert found.fabric.host("h2").ip == "10.1.0.2"
    assert (found.fabric.host("h1"), found.fabric.links) == (fabric.host("h1"), fabric.links)
    assert inventory.fabric.host("h2").ip == fabric.host("h2").ip != "10.1.0.2"
