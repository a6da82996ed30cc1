"""Agents over real sockets: every byte and every call accounted for, and what becomes of tasks when tools fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.lab.serving_lab import ServingRun, serve
from tests.recorded import records as typed_records
from traffic.inference.records import ServingRecord, TaskRecord, ToolRecord
from traffic.metrics.serving.tasks import anatomies

pytestmark = pytest.mark.lab
AGENT: dict[str, Any] = {"hosts": ["h3"], "steps": [2, 3], "fan_out": [1, 2],
                         "tools": {"search": {"hosts": ["h5", "h6"], "service": "100ms"}, "files": {"hosts": ["h6"]}}}
SMALL: dict[str, Any] = {"replicas": ["h4"], "rate": 5, "requests": 8, "output_tokens": 8, "coalesce": 4,
                         "think": "20ms", "bytes_per_input_token": 1}


TINY = {"layers": 2, "hidden": 512, "ffn": 2048, "heads": 8, "kv_heads": 1, "vocab": 1000}    # 512 B of KV a token


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("agents"), hosts=6, rate="20mbit") as running:
        yield running


def accounted(run: ServingRun) -> list[dict[str, Any]]:
    """The records of all tasks, after a look that each of their calls that was begun has one record and an end."""
    assert run.code == 0, run.events[-1]
    tasks = sorted(run.of("task"), key=lambda t: int(t["id"]))
    assert [t["id"] for t in tasks] == [t.id for t in run.serving.tasks]
    ended = [*run.requests, *run.of("tool")]
    assert all(r["status"] in {"ok", "failed", "timeout", "cancelled"} for r in ended)
    assert len({r["id"] for r in ended}) == len(ended)
    for reported, task in zip(tasks, run.serving.tasks, strict=True):
        mine = {r["id"]: r for r in ended if r["task"] == task.id}
        assert reported["begun"] == len(mine)
        assert set(mine) <= {c.id for c in task.calls}
        assert [c[0] for c in reported["calls"]] == [c.id for c in task.calls]
        if reported["status"] == "ok":
            assert {r["status"] for r in mine.values()} == {"ok"}
            assert reported["begun"] == len(task.calls)
        else:
            assert reported["reason"]
    return tasks


def test_every_task_is_answered_with_the_bytes_of_all_its_calls(lab: EngineLab) -> None:
    run = serve(lab, **SMALL, agent=AGENT | {"depth": 1})
    tasks = accounted(run)
    assert {t["status"] for t in tasks} == {"ok"}
    calls = [c for t in run.serving.tasks for c in t.calls]
    tools = {c.id: c for c in calls if c.kind == "tool"}
    connections = run.of("connection")
    pairs = len({(c["src"], c["dst"]) for c in connections})
    up = sum(2 * r.size for r in run.serving.requests) + sum(x.ask for x in (*run.serving.tasks, *tools.values()))
    assert sum(c["bytes"] for c in connections) == up + pairs, "and a byte to warm each pair's first connection"
    down = sum(2 * r["response_bytes"] for r in run.requests) + sum(
        x.answer for x in (*run.serving.tasks, *tools.values()))
    assert sum(c["reply_bytes"] for c in connections) == down
    for reported in run.of("tool"):
        assert reported["made"] - reported["arrived"] >= tools[reported["id"]].service - 1e-6
        assert reported["server"] == tools[reported["id"]].servers[0]


def test_calls_wait_for_what_they_need_and_the_parts_of_a_task_are_its_time(lab: EngineLab) -> None:
    run = serve(lab, **SMALL | {"requests": 6}, agent=AGENT, model=TINY, decode=["h5"])
    assert all(r["kv_end"] > r["made"] for r in run.requests), "decoded elsewhere: the cache's way is the network's"
    ended = {r["id"]: r for r in (*run.requests, *run.of("tool"))}
    for task in run.serving.tasks:
        for call in task.calls:
            for before in call.after:
                assert ended[call.id]["scheduled"] >= ended[before]["done"] + call.pause - 2e-6
    tasks, requests, tools = (list(typed_records(run.path, kind)) for kind in (TaskRecord, ServingRecord, ToolRecord))
    found = anatomies(tasks, requests, tools)
    assert len(found) == len(run.serving.tasks)
    for a in found:
        assert sum(a.parts.values()) == pytest.approx(a.seconds, abs=0.01)
        assert min(a.parts.values()) > -1e-5


def test_a_context_that_stays_with_its_replica_is_not_computed_again(lab: EngineLab) -> None:
    hits = {}
    for routing in ("consistent_hash", "round_robin"):
        run = serve(lab, **SMALL | {"replicas": ["h4", "h5", "h6"], "requests": 4}, routing=routing, block=32,
                    gpu_cache="2GB", agent=AGENT | {"steps": [4, 4], "system_tokens": 0})
        hits[routing] = sum(r["hit_tokens"] for r in run.requests)
    assert hits["consistent_hash"] > 1.5 * hits["round_robin"] > 0


def test_calls_of_a_dead_tool_server_are_refused_and_go_on_at_another(lab: EngineLab) -> None:
    run = serve(lab, **SMALL, agent=AGENT | {"tool_retries": 1}, failures=[["h5", "700ms"]])
    assert {t["status"] for t in accounted(run)} == {"ok"}
    again = [r for r in run.of("tool") if r["tries"] > 1]
    assert again
    assert all(r["server"] == "h6" and r["tool"] == "search" for r in again)


def test_without_another_server_the_task_fails_at_once_and_its_other_calls_are_cancelled(lab: EngineLab) -> None:
    run = serve(lab, **SMALL | {"requests": 12}, failures=[["h5", "800ms"], ["h6", "800ms"]],
                agent=AGENT | {"fan_out": [3, 3], "steps": [3, 3], "tool_timeout": "60s"})
    tasks = accounted(run)
    lost = [t for t in tasks if t["status"] == "failed"]
    assert lost
    assert all(t["reason"] in {"tool call of search: failed", "tool call of files: failed"} for t in lost)
    ended = [*run.requests, *run.of("tool")]
    for t in lost:
        assert sum(r["status"] == "failed" for r in ended if r["task"] == t["id"]) == 1
    assert any(r["status"] == "cancelled" for r in run.of("tool"))


def test_a_tool_server_that_cannot_be_reached_costs_a_time_out_and_another_one_answers(lab: EngineLab) -> None:
    tools = {"search": {"hosts": ["h5", "h6"], "service": "100ms"}}
    try:
        run = serve(lab, **SMALL | {"requests": 4}, meanwhile=lambda: lab.port("h5", "down"), agent=AGENT | {
            "tools": tools, "steps": [3, 3], "tool_timeout": "1s", "tool_retries": 1})
    finally:
        lab.port("h5", "up")
    assert {t["status"] for t in accounted(run)} == {"ok"}
    again = [r for r in run.of("tool") if r["tries"] > 1]
    assert again
    assert {r["server"] for r in again} == {"h6"}
    assert all(r["sent"] - r["scheduled"] >= 1.1 for r in again), "the time-out and a pause"


def test_a_task_that_takes_too_long_is_given_up_with_all_that_is_under_way(lab: EngineLab) -> None:
    run = serve(lab, **SMALL | {"output_tokens": 500}, variation=0, agent=AGENT | {"timeout": "700ms"})
    tasks = accounted(run)
    assert {(t["status"], t["reason"]) for t in tasks} == {("timeout", "the task's time-out")}
    assert {r["status"] for r in run.requests} == {"cancelled"}
    assert all(r["output_tokens"] < r["wanted_tokens"] for r in run.requests)
    assert all(t["done"] - t["scheduled"] >= 0.7 for t in tasks)


def test_a_task_fails_with_the_model_call_that_finds_no_replica(lab: EngineLab) -> None:
    run = serve(lab, **SMALL, agent=AGENT, failures=[["h4", "500ms"]])
    lost = [t for t in accounted(run) if t["status"] == "failed"]
    assert {t["reason"] for t in lost} == {"model call: failed"}
