"""Agents' tasks: trees that follow from spec and seed alone, contexts that grow, and what a spec may not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios.spec.load_scenario import load_scenario
from topologies.model.errors import LabError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec, ScaleSpec
from traffic.inference.agent import MOST_CALLS
from traffic.inference.plan import Serving, ServingJob, serving_of
from traffic.workloads.specs import ServingSpec

AGENT: dict[str, Any] = {
    "hosts": ["h2"], "system_tokens": 200, "steps": [2, 4], "depth": 1, "delegate": "40%",
    "tools": {"search": {"hosts": ["h7", "h8"], "tokens": 50}, "web": {"hosts": ["ext2"], "service": "1s"}}}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(load_fabric("border"))


def plan(fabric: Fabric, seed: int = 1, agent: dict[str, Any] | None = None, **keys: Any) -> Serving:
    spec = ServingSpec.model_validate({"kind": "serving", "rate": 1, "requests": 6, "clients": ["ext1"], "block": 50,
                                       "agent": AGENT | (agent or {}), **keys})
    return serving_of(spec, fabric, "crew", seed)


def test_the_same_seed_draws_the_same_trees_and_no_routing_changes_them(fabric: Fabric) -> None:
    first = plan(fabric)
    assert (first.tasks, first.requests) == (plan(fabric).tasks, plan(fabric, routing="round_robin").requests)
    assert first.tasks != plan(fabric, seed=2).tasks


def test_a_task_does_not_depend_on_how_many_there_are(fabric: Fabric) -> None:
    few, many = plan(fabric, requests=3), plan(fabric, requests=6)
    assert [t.calls for t in few.tasks] == [t.calls for t in many.tasks[:3]]
    assert few.requests == many.requests[:len(few.requests)]


def test_every_call_comes_after_those_it_waits_for_and_leads_to_the_last_one(fabric: Fabric) -> None:
    for task in plan(fabric, requests=30).tasks:
        ids = [c.id for c in task.calls]
        waited = {before for c in task.calls for before in c.after}
        assert [c.id for c in task.calls if not c.after] == ids[:1], "it begins with one call"
        assert set(ids) - waited == {ids[-1]}, "everything but the last call is waited for"
        assert all(before < c.id for c in task.calls for before in c.after)
        assert {task.calls[0].kind, task.calls[-1].kind} == {"model"}


def test_numbers_of_steps_and_calls_keep_to_their_ranges(fabric: Fabric) -> None:
    tasks = plan(fabric, agent={"steps": [3, 5], "fan_out": [2, 3], "depth": 0}, requests=60).tasks
    models = [sum(c.kind == "model" for c in t.calls) for t in tasks]
    assert set(models) == {3, 4, 5}
    widths = {len(c.after) for t in tasks for c in t.calls if c.kind == "model" and c.after}
    assert widths == {2, 3}


def test_a_call_is_external_where_its_servers_are_outside(fabric: Fabric) -> None:
    calls = [c for t in plan(fabric, requests=30).tasks for c in t.calls if c.kind != "model"]
    assert {(c.tool, c.kind) for c in calls} == {("search", "tool"), ("web", "external")}
    assert {c.servers for c in calls if c.tool == "search"} == {("h7", "h8"), ("h8", "h7")}


def test_a_steps_prompt_is_all_of_the_context_so_far_and_the_results(fabric: Fabric) -> None:
    serving = plan(fabric, agent={"steps": [3, 3], "fan_out": [1, 1], "depth": 0}, variation=0, input_tokens=100,
                   output_tokens=30)
    first, second, third = serving.requests[:3]
    results = {"search": 50, "web": 300}
    asked = [results[c.tool] for c in serving.tasks[0].calls if c.kind != "model"]
    assert first.input == 200 + 100
    assert second.input == first.input + 30 + asked[0]
    assert third.input == second.input + 30 + asked[1]
    assert second.blocks[:len(first.kept)] == first.kept, "what was said before is the head of the prompt"
    assert third.size == third.input * 4
    assert first.client == "h2"


def test_contexts_share_the_system_prompt_and_nothing_else(fabric: Fabric) -> None:
    contexts: dict[str, set[int]] = {}
    for request in plan(fabric).requests:
        contexts.setdefault(request.session, set()).update(request.kept)
    sets = list(contexts.values())
    assert len(sets) > 6, "sub-agents have contexts of their own"
    assert all(a & b == {0, 1, 2, 3} for a in sets for b in sets if a is not b), "200 tokens, four blocks"


def test_sizes_and_times_follow_the_scale() -> None:
    keys: dict[str, Any] = {"leaves": 2, "spines": 1, "hosts_per_leaf": 4, "border": {"hosts": 2, "rate": "100gbit"},
                            "host_rate": "100gbit"}
    real, scaled = (expand(FabricSpec(**keys, **more)) for more in ({}, {"scale": ScaleSpec(rate=1e-3, size=1e-2)}))
    for a, b in zip(plan(real).tasks, plan(scaled).tasks, strict=True):
        assert b.at == pytest.approx(10 * a.at)
        for mine, its in zip(a.calls, b.calls, strict=True):
            assert (mine.id, mine.after) == (its.id, its.after)
            assert its.service == pytest.approx(10 * mine.service)
            assert its.pause == pytest.approx(10 * mine.pause)
            assert its.answer == pytest.approx(mine.answer / 100, abs=1)


def test_replicas_are_by_default_the_hosts_that_nobody_else_uses(fabric: Fabric) -> None:
    serving = plan(fabric)
    assert serving.replicas == ("h3", "h4", "h5", "h6")
    assert set(serving.hosts) == {"h1", "h2", *serving.replicas, "h7", "h8", "ext1", "ext2"}
    assert {("ext1", "h2"), ("h2", "h1"), ("h2", "h7"), ("h2", "ext2")} <= set(serving.pairs)
    assert ("ext1", "h1") not in serving.pairs, "users speak with their agent"


def test_a_job_with_tasks_reads_back_as_it_was_written(fabric: Fabric, tmp_path: Path) -> None:
    job = ServingJob(inventory=Path("i"), t0=0.0, records=Path("r"), phase="main", workloads=(plan(fabric),))
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job.model_dump(mode="json")))
    assert ServingJob.read(path) == job


@pytest.mark.parametrize(("agent", "keys", "text"), [
    ({"steps": [64, 64], "fan_out": [16, 16]}, {},
     f"workloads.crew.agent: expected tasks of at most {MOST_CALLS:,} calls; found task 0 with more"),
    ({"system_tokens": 5000}, {"kv_memory": "500MB"},
     "workloads.crew, task 0: expected at most 3814 tokens, what a replica's KV memory holds; found a context of"),
])
def test_tasks_that_cannot_run_are_refused_before_anything_runs(fabric: Fabric, agent: dict[str, Any],
                                                                keys: dict[str, Any], text: str) -> None:
    with pytest.raises(LabError) as error:
        plan(fabric, agent=agent, requests=1, **keys)
    assert text in str(error.value)


SCENARIO = """name: wrong
question: What is wrong?
fabric: border
workloads:
  crew: {kind: serving, KEYS, agent: {AGENT}}
"""
GOOD = "hosts: [h2], tools: {search: {hosts: [h7]}}"


@pytest.mark.parametrize(("keys", "agent", "text"), [
    ("rate: 1", "hosts: [h2], tools: {}", "workloads.crew.agent.tools"),
    ("rate: 1", "hosts: [], tools: {search: {hosts: [h7]}}", "workloads.crew.agent.hosts"),
    ("rate: 1", "hosts: [h2], tools: {search: {hosts: []}}", "workloads.crew.agent.tools.search.hosts"),
    ("rate: 1", f"{GOOD}, steps: [3, 2]", "workloads.crew.agent.steps: expected [from, to] with 1 <= from <= to <= 64"),
    ("rate: 1", f"{GOOD}, fan_out: [0, 2]", "agent.fan_out: expected [from, to] with 1 <= from <= to <= 16"),
    ("rate: 1", f"{GOOD}, timeout: 0s", "workloads.crew.agent.timeout"),
    ("rate: 1", f"{GOOD}, deep: 1", "workloads.crew.agent.deep"),
    ("rate: 1", "hosts: [h1], tools: {search: {hosts: [h7]}}",
     "workloads.crew.agent.hosts.0: expected hosts that only agents use, so that their traffic crosses the network; "
     "found h1, the gateway as well"),
    ("rate: 1", "hosts: [ext1], tools: {search: {hosts: [h7]}}", "found ext1, a client as well"),
    ("rate: 1", "hosts: [h7], tools: {search: {hosts: [h7]}}", "found h7, a tool server as well"),
    ("rate: 1", "hosts: [h2, h2], tools: {search: {hosts: [h7]}}", "workloads.crew.agent.hosts.1: expected each host"),
    ("rate: 1", "hosts: [h2], tools: {search: {hosts: [h77]}}",
     "workloads.crew.agent.tools.search.hosts.0: expected a workload host or outside host"),
    ("rate: 1", "hosts: [h2], tools: {search: {hosts: [h7, ext2]}}",
     "agent.tools.search.hosts: expected servers that are all inside or all outside of the data centre; "
     "found h7, ext2"),
    ("rate: 1, failures: [[h1, 1s]]", GOOD, "expected a replica or a tool server: h3, h4, h5, h6, h8, h7; found h1"),
    ("rate: 1, turns: 2", GOOD, "agent with rate and without turns"),
    ("trace: x.csv", GOOD, "agent with rate and without turns"),
    ("rate: 1, slo_tpot: 0s", GOOD, "workloads.crew.slo_tpot"),
])
def test_every_mistake_is_reported_with_its_place(tmp_path: Path, keys: str, agent: str, text: str) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text(SCENARIO.replace("KEYS", keys).replace("{AGENT}", f"{{{agent}}}"))
    with pytest.raises(SpecErrors) as error:
        load_scenario(str(path))
    assert text in str(error.value)
