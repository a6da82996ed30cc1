"""The models of a fabric: frozen, strict, and the same after writing and reading."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from scenarios.spec.scenario import Scenario
from topologies.model.disciplines import FifoQueue, Queue
from topologies.model.errors import Violations
from topologies.model.spec import FabricSpec


def violations(**keys: object) -> list[str]:
    """Dotted paths that the model's own rules find at fault."""
    with pytest.raises(ValidationError) as info:
        FabricSpec.model_validate(keys)
    causes = [error["ctx"]["error"] for error in info.value.errors()]
    return [".".join(map(str, m.at)) for cause in causes if isinstance(cause, Violations) for m in cause.violations]


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        FabricSpec().leaves = 3  # type: ignore[misc]


def test_a_saved_spec_reads_back_as_it_was() -> None:
    spec = FabricSpec.model_validate({
        "host_rate": "2.5mbit", "uplink_rate": "0.3gbit", "delay": "17us", "queue": "40packets", "uplink_queue": "1MiB",
        "border": {"hosts": 2, "rate": "33kbit"}, "scale": {"rate": "1/3", "size": "1/7"}, "tcp": {"rto_min": "7ms"},
        "links": {"leaf1-spine1": {"rate": "1mbit", "delay": "1.1ms"}}})
    assert FabricSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(("text", "queue"), [
    ("60kB", FifoQueue(bytes=60_000)), ("40packets", FifoQueue(packets=40)), ("1 packet", FifoQueue(packets=1)),
    ({"packets": 3}, FifoQueue(packets=3)),
])
def test_a_queue_is_in_bytes_or_in_packets(text: object, queue: FifoQueue) -> None:
    assert TypeAdapter(Queue).validate_python(text) == queue


@pytest.mark.parametrize("text", [
    "60", "0packets", "-1packets", "2.5packets", "60kbit", "0kB", 60, [], {}, {"bytes": 1, "packets": 1}])
def test_other_queues_are_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Queue).validate_python(text)


@pytest.mark.parametrize(("keys", "paths"), [
    ({"uplink_rate": "1mbit", "oversubscription": 2}, ["oversubscription"]),
    ({"racks": {"leaf1": ["a", "b"], "leaf2": ["a"]}}, ["racks.leaf2.0"]),
    ({"racks": {"leaf1": ["a"]}}, ["racks"]),
    ({"racks": {"leaf1": [f"a{n}" for n in range(201)], "leaf2": ["b"]}}, ["racks.leaf1"]),
    ({"racks": {"leaf1": ["probe1"], "leaf2": ["elevenchars"]}}, ["racks.leaf1.0", "racks.leaf2.0"]),
    ({"subnet": "10.9.0.0/28", "leaves": 2, "hosts_per_leaf": 6}, ["subnet"]),
    ({"subnet": "10.255.3.0/24"}, ["subnet"]), ({"subnet": "10.254.3.0/24"}, ["subnet"]),
    ({"subnet": "0.0.0.0/0"}, ["subnet"]),
    ({"subnet": "127.0.0.0/8"}, ["subnet"]), ({"subnet": "10.9.0.1/16"}, ["subnet"]),
    ({"subnet": "fd00::/64"}, ["subnet"]),
    ({"subnet": "x", "uplink_rate": "1mbit", "oversubscription": 2, "racks": {}},
     ["oversubscription", "racks", "subnet"]),
])
def test_rules_between_fields_name_their_culprit_together(keys: dict[str, object], paths: list[str]) -> None:
    assert violations(**keys) == paths


def test_hosts_that_just_fit_are_taken() -> None:
    spec = FabricSpec.model_validate({"leaves": 1, "hosts_per_leaf": 12, "subnet": "10.9.0.0/28"})
    assert spec.host_count == 13      # 16 addresses without network, gateway, broadcast


def test_a_scenario_without_phases_runs_everything_at_once() -> None:
    workload = {"kind": "collective", "size": "1MB"}
    scenario = Scenario.model_validate(
        {"name": "s", "question": "?", "fabric": {}, "workloads": {"a": workload, "b": workload}})
    assert [(p.name, p.run) for p in scenario.phases] == [("main", ("a", "b"))]
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario
