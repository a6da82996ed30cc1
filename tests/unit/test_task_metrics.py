"""Critical paths of agents' tasks and what they are made of, against values worked out by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.report.answer import workload_sentence
from scenarios.report.charts.task_bars import task_figure
from scenarios.report.tasks import difference_sentence
from tests.unit.records_of import records_of
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.inference.records import ServingRecord, TaskRecord, ToolRecord
from traffic.metrics.registry import compute
from traffic.metrics.serving.tasks import Step, anatomies, critical_path, parts_of_model, parts_of_tool
from traffic.runtime.reading import Records

Row = dict[str, Any]
BASE: Row = {"workload": "crew", "phase": "main", "task": 0, "status": "ok"}


def model(number: int, due: float, done: float, **more: Any) -> Row:
    """In: 0.1 s, queue 0.2, prefill 0.3, out 0.1; decode is what is left."""
    return {"kind": "serving", **BASE, "id": number, "scheduled": due, "sent": due, "arrived": due + 0.1,
            "admitted": due + 0.3, "made": due + 0.6, "first": due + 0.65, "computed": done - 0.1, "done": done,
            "kv_start": None, "kv_end": None, "messages": [[due + 0.65, 1], [done, 4]], "output_tokens": 5,
            "wanted_tokens": 5, "input_tokens": 100, "request_bytes": 20_000, "blocks": 0, "hit_gpu": 0, "hit_host": 0,
            "hit_tokens": 0, "order": -1, "prefill_fabric": 0.0, **more}


def tool(number: int, due: float, done: float, **more: Any) -> Row:
    """There and back: 0.05 s each."""
    return {"kind": "tool", **BASE, "id": number, "tool": "search", "place": "tool", "tries": 1, "scheduled": due,
            "sent": due, "arrived": due + 0.05, "made": done - 0.05, "done": done, "response_bytes": 20_000, **more}


# user 0.1 s -> model 0 (1.4 s) -> tool 1 (0.5 s) and web 2 (2.0 s) -> pause 0.25 s -> model 3 (1.0 s) -> user 0.05 s
CALLS = [[0, "model", [], 0.0], [1, "tool", [0], 0.0], [2, "external", [0], 0.0], [3, "model", [1, 2], 0.25]]
TASK: Row = {"kind": "task", "workload": "crew", "phase": "main", "id": 0, "status": "ok", "scheduled": 0.0,
             "asked": 0.1, "answered": 4.75, "done": 4.8, "calls": CALLS}
ROWS = [model(0, 0.1, 1.5), tool(1, 1.5, 2.0), tool(2, 1.5, 3.5, place="external"), model(3, 3.75, 4.75)]


LEFT = Records(records_of(TASK, *ROWS))


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


def found(fabric: Fabric, *rows: Row) -> dict[str, Any]:
    return {k.removeprefix("crew."): m for k, m in compute(records_of(*rows), fabric, []).items()}


def test_the_critical_path_goes_through_the_call_that_ended_last() -> None:
    (a,) = anatomies(LEFT[TaskRecord], LEFT[ServingRecord], LEFT[ToolRecord])
    assert a.path == (0, 2, 3)
    assert a.seconds == 4.8
    assert a.parts == pytest.approx({
        "network": 0.1 + 0.2 + 0.1 + 0.2 + 0.05, "queue": 0.4, "prefill": 0.6, "decode": (1.4 - 0.7) + (1.0 - 0.7),
        "tools": 0.0, "external": 1.9, "think": 0.25})
    assert sum(a.parts.values()) == pytest.approx(a.seconds)
    assert a.dominant == "external"


def test_parts_of_a_call_add_up_to_its_time() -> None:
    moved = model(0, 0.0, 3.0, kv_start=0.4, kv_end=1.0)        # the cache went over beside the prefill at first
    parts = parts_of_model(Records(records_of(moved))[ServingRecord][0])
    assert parts == pytest.approx({"network": 0.2 + 0.4, "queue": 0.2, "prefill": 0.3, "decode": 1.9})
    assert sum(parts.values()) == pytest.approx(3.0)
    again = tool(1, 0.0, 2.0, sent=1.2, arrived=1.3, tries=2)   # the first try came to nothing
    assert parts_of_tool(Records(records_of(again))[ToolRecord][0]) == pytest.approx({"network": 0.15, "tools": 1.85})


def test_metrics_of_tasks_are_means_of_the_parts_and_name_the_largest(fabric: Fabric) -> None:
    of = found(fabric, TASK, *ROWS)
    assert of["task_time"].value == 4.8
    assert (of["task_dominant"].where, of["task_dominant"].value) == ("external", pytest.approx(1.9 / 4.8))
    assert of["task_network_share"].value == pytest.approx(0.65 / 4.8)
    assert of["task_calls"].value == 4
    assert [of[tag].value for tag in ("tasks_completed", "tasks_failed", "tasks_timed_out", "tool_errors")] == [1, 0,
                                                                                                                0, 0]
    assert "task_time_p90" not in of


def test_answers_of_tools_below_ten_packets_leave_the_networks_share_unreported(fabric: Fabric) -> None:
    small = [dict(r, response_bytes=14_000) if r["kind"] == "tool" else r for r in ROWS]
    assert "task_network_share" not in found(fabric, TASK, *small)


def test_replicas_of_several_hosts_leave_the_networks_share_unreported(fabric: Fabric) -> None:
    spread = [r | {"prefill_fabric": 0.1} if r["kind"] == "serving" else r for r in ROWS]
    of = found(fabric, TASK, *spread)
    assert "task_network_share" not in of
    assert of["task_prefill"].value == pytest.approx(0.6), "what they exchange is in it"


def test_tasks_that_were_not_answered_have_no_time_and_are_counted(fabric: Fabric) -> None:
    lost = {**TASK, "status": "failed", "reason": "tool call of search: failed"}
    cut = [model(0, 0.1, 1.5), tool(1, 1.5, 2.0, status="failed", tries=3), tool(2, 1.5, 2.0, status="cancelled")]
    of = found(fabric, lost, *cut)
    assert "task_time" not in of
    assert (of["tasks_completed"].value, of["tasks_failed"].value, of["tool_errors"].value) == (0, 1, 3)
    late = found(fabric, {**TASK, "status": "timeout"}, *ROWS)
    assert late["tasks_timed_out"].value == 1


def test_cancelled_model_calls_are_counted(fabric: Fabric) -> None:
    setup = {"kind": "serving-setup", "workload": "crew", "phase": "main", "slo_ttft": 1, "slo_tpot": 1}
    of = found(fabric, setup, TASK, *ROWS, model(9, 1.0, 2.0, status="cancelled", task=1))
    assert (of["completed"].value, of["cancelled"].value) == (2, 1)


@st.composite
def trees(draw: st.DrawFn) -> dict[int, Step]:
    """Any graph of calls, each after some of those before it."""
    lengths = draw(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), min_size=1, max_size=9))
    return {n: Step(tuple(draw(st.sets(st.integers(0, n - 1), max_size=3))) if n else (), pause, seconds)
            for n, (seconds, pause) in enumerate(lengths)}


def chains(steps: dict[int, Step], number: int) -> list[list[int]]:
    """Every chain of calls from a first one to this one."""
    before = [c for b in steps[number].after for c in chains(steps, b)] or [[]]
    return [[*c, number] for c in before]


def length(steps: dict[int, Step], chain: list[int] | tuple[int, ...]) -> float:
    return sum(steps[n].pause + steps[n].seconds for n in chain)


@given(trees())
def test_the_critical_path_is_a_chain_no_shorter_than_any_and_no_longer_than_all_calls(steps: dict[int, Step]) -> None:
    path = critical_path(steps)
    assert not steps[path[0]].after
    assert all(a in steps[b].after for a, b in pairwise(path))
    longest = length(steps, path)
    assert all(longest >= length(steps, c) - 1e-9 for n in steps for c in chains(steps, n))
    assert longest <= length(steps, list(steps)) + 1e-9


def test_no_calls_have_no_path() -> None:
    assert critical_path({}) == ()


def test_the_answer_says_what_tasks_were_made_of_the_largest_part_first(fabric: Fabric) -> None:
    rows = [TASK, {**TASK, "id": 1, "status": "timeout"}, *ROWS, tool(7, 0.0, 1.0, status="timeout", tries=2)]
    setup = {"kind": "serving-setup", "workload": "crew", "phase": "main", "slo_ttft": 1, "slo_tpot": 1}
    tags = {k: m.as_json() for k, m in found(fabric, setup, *rows).items()}
    assert workload_sentence("Serving", tags, {}) == (
        "Serving: 1 of 2 tasks were answered, 1 timed out; half of them took at most 4.8 s; on the critical path "
        "external services 40 %, decode 21 %, network 14 %, prefill 12 %, queue 8.3 %, pauses 5.2 %; "
        "2 tries of tool calls failed.")


def test_the_difference_between_two_workloads_is_put_down_to_the_part_that_grew() -> None:
    def tags(**parts: float) -> dict[str, Any]:
        return {f"task_{p}": {"value": v} for p, v in parts.items()}

    near, far = tags(network=1.0, prefill=0.5, decode=4.0), tags(network=1.1, prefill=1.4, decode=4.0)
    assert difference_sentence({"near": near, "far": far}) == (
        "On average a task of far took 1 s longer than one of near, 90 % of that in prefill.")
    assert difference_sentence({"near": near, "same": near}) == ""
    assert difference_sentence({"near": near, "other": {"ttft": {"value": 1}}}) == ""


def test_the_figure_of_tasks_has_a_row_for_each_the_slowest_first() -> None:
    (a,) = anatomies(LEFT[TaskRecord], LEFT[ServingRecord], LEFT[ToolRecord])
    quick = {**a.as_json(), "task": 5, "seconds": 2.0}
    drawn = task_figure("crew.main", [quick, a.as_json()])
    assert [row[:2] for row in drawn.rows] == [("0", "4.800"), ("5", "2.000")]
    assert dict(zip(drawn.header, drawn.rows[0], strict=True))["external services (s)"] == "1.900"
    assert "2 tasks of 2 s to 4.8 s" in drawn.caption
    assert "external services" in drawn.wide
