"""Serving, from what a user wrote to the job: requests, sessions, scale, and a clear word for what cannot run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios.run.phases import traffic_of
from scenarios.spec.load_scenario import load_scenario
from tests.unit.serving_mistakes import refusal
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec, ScaleSpec
from traffic.inference.plan import Serving, ServingJob, serving_of
from traffic.workloads.kinds.serving import Served
from traffic.workloads.specs import ServingSpec

LIBRARY = ("inference-stateless", "inference-azure-replay", "inference-sessions-affinity", "inference-mooncake-replay",
           "inference-tensor-parallel")


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(load_fabric("border"))


def spec(**keys: Any) -> ServingSpec:
    return ServingSpec.model_validate({"kind": "serving", "rate": 5, "requests": 10, **keys})


def plan(fabric: Fabric, seed: int = 1, **keys: Any) -> Serving:
    return serving_of(spec(**keys), fabric, "chat", seed)


def test_hosts_are_chosen_where_none_are_named(fabric: Fabric) -> None:
    serving = plan(fabric)
    assert serving.gateway == "h1"
    assert serving.replicas == tuple(f"h{n}" for n in range(2, 9))
    assert serving.clients == tuple(n.name for n in fabric.of("outside"))


def test_a_job_reads_back_as_it_was_written(fabric: Fabric, tmp_path: Path) -> None:
    serving = plan(fabric, turns=3, gpu_cache="1GB", kv_memory="9GB", failures=[["h3", "2s"]])
    job = ServingJob(inventory=Path("i"), t0=1.5, records=Path("r"), phase="main", workloads=(serving,))
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job.model_dump(mode="json")))
    assert ServingJob.read(path) == job
    path.write_text("{}")
    with pytest.raises(LabError, match=r"job.json inventory: .*found 5 .*first: Field required"):
        ServingJob.read(path)


def test_requests_follow_the_seed_alone(fabric: Fabric) -> None:
    assert plan(fabric).requests == plan(fabric, routing="round_robin").requests
    assert plan(fabric).requests != plan(fabric, seed=2).requests


def test_each_turn_of_a_session_carries_all_that_was_said(fabric: Fabric) -> None:
    serving = plan(fabric, turns=3, requests=2, block=64)
    first, second, third, other, *_ = serving.requests
    assert (first.after, second.after, third.after, other.after) == (-1, first.id, second.id, -1)
    assert second.input > first.input + first.output
    assert second.blocks[:len(first.kept)] == first.kept
    assert len(first.blocks) == first.input // 64
    assert len(first.kept) == (first.input + first.output) // 64
    assert not set(other.kept) & set(third.kept)
    assert {first.session, second.session, third.session} == {"s0"}
    assert len({first.client, second.client, third.client}) == 1


def test_scale_applies_to_bytes_and_times_alike() -> None:
    keys = {"leaves": 2, "spines": 1, "hosts_per_leaf": 2, "border": {"hosts": 1, "rate": "100gbit"}}
    real = expand(FabricSpec(**keys, host_rate="100gbit"))
    scaled = expand(FabricSpec(**keys, host_rate="100gbit", scale=ScaleSpec(rate=1e-3, size=1e-2)))
    one, ten = plan(real, bytes_per_input_token=4000), plan(scaled, bytes_per_input_token=4000)
    assert ten.time == pytest.approx(10)
    for a, b in zip(one.requests, ten.requests, strict=True):
        assert b.at == pytest.approx(10 * a.at)
        assert b.size == pytest.approx(a.size / 100, abs=1)
        assert (a.input, a.output) == (b.input, b.output)
    assert ten.token_bytes == pytest.approx(one.token_bytes / 100)


def test_thinning_and_speedup_keep_a_share_and_divide_times(fabric: Fabric) -> None:
    trace = str(Path(load_scenario("inference-azure-replay").workloads["chat"].trace or ""))     # type: ignore[union-attr]
    keys: dict[str, Any] = {"kind": "serving", "trace": trace}
    whole = serving_of(ServingSpec.model_validate(keys), fabric, "chat", 1)
    half = serving_of(ServingSpec.model_validate({**keys, "thinning": 0.5, "speedup": 2}), fabric, "chat", 1)
    assert len(whole.requests) == 150
    assert 50 < len(half.requests) < 100
    assert {r.at for r in half.requests} <= {r.at / 2 for r in whole.requests}


@pytest.mark.parametrize("name", LIBRARY)
def test_every_scenario_of_the_library_compiles(name: str) -> None:
    scenario = load_scenario(name)
    fabric = expand(scenario.fabric)
    traffic = [traffic_of(scenario, phase, fabric) for phase in scenario.phases]
    served = [[b.serving for b in its if isinstance(b, Served)] for its in traffic]
    assert all(its and all(s.requests for s in its) for its in served)


@pytest.mark.parametrize(("keys", "text"), [
    ({"kv_memory": "50MB", "variation": 0, "input_tokens": 500},
     "workloads.chat, request 0: expected at most 381 tokens, what a replica's KV memory holds; found a context of"),
    ({"model": "llama3-70b"},
     "workloads.chat.gpus: expected GPUs whose memory holds the weights of 141.1 GB; found 1 of 80 GB each"),
    ({"kv_memory": "70GB"}, "workloads.chat.kv_memory: expected at most"),
    ({"kv_memory": "1GB", "gpu_cache": "1GB"}, "workloads.chat.gpu_cache: expected less than the KV memory of 1 GB"),
    ({"replicas": []}, "workloads.chat.replicas: expected at least one of the replicas; found none"),
])
def test_what_no_replica_can_hold_is_refused_before_anything_runs(fabric: Fabric, keys: dict[str, Any],
                                                                  text: str) -> None:
    with pytest.raises(LabError) as error:
        plan(fabric, **keys)
    assert text in str(error.value)


@pytest.mark.parametrize(("keys", "text"), [
    ("rate: 5, replicas: []", "workloads.chat.replicas: expected at least one of the replicas; found none"),
    ("rate: 5, replicas: [h2, h2]", "workloads.chat.replicas.1: expected each host once; found h2 again"),
    ("rate: 5, replicas: [h1]", "replicas that are not the gateway; found h1 as both"),
    ("rate: 5, replicas: [h2, h3], decode: [h3]", "hosts that do not prefill as well; found h3 as both"),
    ("rate: 5, decode: [h1]", "decode that are not the gateway; found h1 as both"),
    ("rate: 5, decode: []", "workloads.chat.decode"),
    ("rate: 5, gateway: h99", "workloads.chat.gateway: expected a workload host or outside host"),
    ("rate: 5, failures: [[h1, 2s]]", "expected a replica: h2, h3, h4, h5, h6, h7, h8; found h1"),
    ("rate: 5, slo_ttft: 0s", "workloads.chat.slo_ttft"),
    ("rate: 5, routing: fastest", "workloads.chat.routing"),
    ("batch: 4", "one of trace and rate"),
    ("rate: 5, trace: x.csv", "one of trace and rate"),
    ("rate: 5, speedup: 2", "window, speedup and thinning with trace only"),
    ("trace: no.csv", "workloads.chat.trace: expected a trace that exists"),
    ("trace: no.csv, routing: consistent_hash",
     "a policy that does without a session id, which azure traces do not have"),
    ("trace: no.csv, routing: kv_cost", "a policy that does without hash_ids, which azure traces do not have"),
    ("trace: no.jsonl, format: mooncake, routing: consistent_hash",
     "a policy that does without a session id, which mooncake traces do not have"),
    ("trace: no.csv, window: [5s, 5s]", "a window [from, to) that is not empty"),
])
def test_every_mistake_is_reported_with_its_place(tmp_path: Path, keys: str, text: str) -> None:
    assert text in refusal(tmp_path, keys)


def test_a_report_of_prefill_and_decoding_apart_says_what_is_simpler_than_in_real_engines(fabric: Fabric) -> None:
    assert plan(fabric).notes == {}
    notes = plan(fabric, replicas=["h2"], decode=["h3"]).notes
    assert "reserves none before" in notes["KV memory"]
    assert "TTFT does not hold the KV transfer" in notes["first token"]
