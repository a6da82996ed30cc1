"""The path in what a switch says about a packet; what is predicted of which phase."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scenarios.evidence.observe import path_chosen
from scenarios.evidence.results import RunDirectory
from scenarios.run import prediction
from scenarios.run.phases import Traffic, traffic_of
from scenarios.run.prediction import PhasePrediction, predict_alone, predictable, rate_changes, result_or_reason
from scenarios.spec.scenario import Scenario
from topologies.model.errors import RunError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from topologies.switches.ovs.management.paths import parse
from traffic.metrics.metric import Metric
from traffic.models.fluid import Unpredictable
from traffic.workloads.kinds import engine
from traffic.workloads.workload import Workload

FABRIC = expand(FabricSpec(spines=4))
USER = ("Datapath actions: tnl_push(tnl_port(1),header(size=50,type=4,eth(dst=02:ff:00:00:00:02,"
        "src=02:ff:00:00:00:01,dl_type=0x0800),ipv4(src=10.255.{k}.1,dst=10.255.{k}.2,proto=17,tos=0,ttl=64,"
        "frag=0x4000),udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x64)),out_port(9)),6")
KERNEL = "Datapath actions: set(tunnel(tun_id=0x64,src=10.255.{k}.1,dst=10.255.{k}.2,ttl=64,tp_dst=4789)),3"
BULK: dict[str, object] = {"kind": "bulk", "pairs": [["h1", "h5"]]}
RING: dict[str, object] = {"kind": "collective", "size": "1MB"}
SERVING: dict[str, object] = {"kind": "serving", "clients": ["h1"], "gateway": "h2", "replicas": ["h5"], "rate": 1}


@pytest.mark.parametrize("actions", [USER, KERNEL])
@pytest.mark.parametrize("k", [1, 3])
def test_the_outer_destination_names_the_path_on_either_datapath(actions: str, k: int) -> None:
    trace = f"Flow: tcp,nw_src=10.9.1.1,nw_dst=10.9.2.1\n 0. ip, priority 100\n{actions.format(k=k)}\n"
    path = path_chosen(FABRIC, FABRIC.host("h1"), FABRIC.host("h5"), parse(trace))
    assert path.directions == (f"leaf1->spine{k}", f"spine{k}->leaf2")


@pytest.mark.parametrize("actions", ["Datapath actions: drop", "", USER.format(k=9)])
def test_a_packet_that_goes_nowhere_is_no_path(actions: str) -> None:
    with pytest.raises(RunError, match=r"path from h1 to h5: expected leaf1 to send it to leaf2 over a spine; found"):
        path_chosen(FABRIC, FABRIC.host("h1"), FABRIC.host("h5"), parse(actions))


def _scenario(*events: dict[str, object], **workloads: dict[str, object]) -> Scenario:
    return Scenario.model_validate({
        "name": "s", "question": "Q?", "fabric": {"scale": {"rate": 0.1, "size": 0.1}, "host_rate": "100mbit"},
        "workloads": workloads or {"ring": RING}, "events": events})


def _traffic(scenario: Scenario) -> Traffic:
    return traffic_of(scenario, scenario.phases[0], expand(scenario.fabric))


@pytest.mark.parametrize(("event", "expected"), [
    ({"rate": "50mbit"}, True), ({"queue": "30kB"}, True), ({"state": "down"}, False),
    ({"flap": {"period": "1s", "count": 1}}, False), ({"state": "down", "hidden": True}, True)])
def test_a_phase_is_foreseeable_unless_links_are_known_to_go_down(event: dict[str, object], expected: bool) -> None:
    scenario = _scenario({"at": "1s", "link": "leaf1-spine1", **event})
    assert predictable(scenario, scenario.phases[0], _traffic(scenario)) is expected


@pytest.mark.parametrize("other", [BULK, SERVING])
def test_beside_traffic_that_the_model_does_not_know_nothing_is_predicted(other: dict[str, object]) -> None:
    scenario = _scenario(ring=RING, other=other)
    assert not predictable(scenario, scenario.phases[0], _traffic(scenario))


@pytest.mark.parametrize("state", ["down", "restart"])
def test_through_a_switchs_outage_nothing_is_predicted(state: str) -> None:
    scenario = _scenario({"at": "1s", "switch": "spine1", "state": state})
    assert not predictable(scenario, scenario.phases[0], _traffic(scenario))


@pytest.mark.parametrize(("most", "workloads", "expected"), [
    ("100%", 1, True), ("100%", 2, False), ("50%", 1, False)])
def test_shares_that_classes_make_uneven_are_not_predicted(most: str, workloads: int, expected: bool) -> None:
    """One workload alone has all of a link, unless its class may not."""
    plain = _scenario(**{f"ring{n}": RING for n in range(workloads)})
    fabric = FabricSpec.model_validate({**plain.fabric.model_dump(mode="json"),
                                        "classes": {"gold": {"dscp": 1, "min": "40%", "max": most}}})
    scenario = plain.model_copy(update={"fabric": fabric})
    assert predictable(scenario, scenario.phases[0], _traffic(scenario)) is expected


def test_changes_of_rates_reach_the_model_in_emulated_units_but_for_the_hidden() -> None:
    scenario = _scenario({"at": "2s", "link": "leaf1-spine1", "rate": "50mbit"},
                         {"at": "3s", "link": "leaf1-spine2", "rate": "50mbit", "hidden": True})
    changes = list(rate_changes(scenario, scenario.phases[0], expand(scenario.fabric)))
    assert {c.direction for c in changes} == {"leaf1->spine1", "spine1->leaf1"}
    assert {c.rate for c in changes} == {5e6}
    assert {c.t for c in changes} == {2.0}


def test_a_prediction_that_cannot_be_made_is_absent_with_a_reason_and_the_others_are_there(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _scenario(ring=RING, other=RING)
    run, model = RunDirectory.create(tmp_path, scenario), engine.predict

    def fails(workload: Workload, fabric: Fabric) -> dict[str, Metric]:
        if workload.name == "other":
            raise ZeroDivisionError("division by zero")
        return model(workload, fabric)

    monkeypatch.setattr(engine, "predict", fails)
    run.write("notes", {"other": {"fused": "2 layers"}})
    predict_alone(run, expand(scenario.fabric), [_traffic(scenario)])
    assert {key.split(".")[0] for key in run.read("predictions") or {}} == {"ring"}
    assert run.read("notes") == {"other": {"fused": "2 layers", "prediction": (
        "none: the model failed, a fault of aifab's and not of the scenario (ZeroDivisionError: division by zero)")}}


def test_what_the_model_cannot_tell_is_no_fault() -> None:
    def model() -> int:
        raise Unpredictable("it would take minutes")

    assert result_or_reason(model) == "none: it would take minutes"
    assert result_or_reason(lambda: 3) == 3


@pytest.mark.parametrize(("error", "why"), [
    (Unpredictable("too many"), "none: too many"),
    (ZeroDivisionError("float division by zero"), "none: the model failed, a fault of aifab's and not of the scenario "
                                                  "(ZeroDivisionError: float division by zero)")])
def test_a_model_that_fails_on_the_observed_paths_does_not_end_the_run(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str) -> None:
    scenario = _scenario(ring=RING)
    run = RunDirectory.create(tmp_path, scenario)
    measurement: Any = SimpleNamespace(run=run, lab=SimpleNamespace(fabric=expand(scenario.fabric)),
                                       proof=SimpleNamespace(history=SimpleNamespace(changes=[])))
    tenants: Any = SimpleNamespace(addressed=None, gateways=dict)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(prediction, "observed_paths", lambda *_: [])
    monkeypatch.setattr(prediction, "on_paths", fails)
    PhasePrediction(scenario, scenario.phases[0], _traffic(scenario), measurement, tenants)([{"connection": 1}])
    assert run.read("predictions") is None
    assert run.read("notes") == {"ring": {"prediction on the observed paths in phase main": why}}
