"""Serving over real sockets: every byte and every request is accounted for, and hits are those of the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.lab.serving_lab import ServingRun, serve
from traffic.inference.gpu import Chunk
from traffic.inference.kv.cache import Hierarchy
from traffic.inference.replica import tiers_of

pytestmark = pytest.mark.lab
DATA = Path(__file__).parents[2] / "scenarios" / "library" / "data"
REPLICAS = ["h3", "h4", "h5"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("serving"), hosts=5, rate="20mbit") as running:
        yield running


def test_every_request_is_answered_with_its_tokens_and_its_bytes(lab: EngineLab) -> None:
    run = serve(lab, replicas=REPLICAS, rate=30, requests=60, output_tokens=20, bytes_per_input_token=16, coalesce=4)
    assert run.code == 0, run.events[-1]
    assert {r["status"] for r in run.requests} == {"ok"}
    for asked, reported in zip(run.serving.requests, run.requests, strict=True):
        assert (reported["input_tokens"], reported["output_tokens"]) == (asked.input, asked.output)
        assert reported["request_bytes"] == asked.size
        assert sum(n for _, n in reported["messages"]) == asked.output
        assert reported["messages"][0][1] == 1, "the first token leaves alone"
        stamps = [reported[k] for k in ("scheduled", "sent", "arrived", "admitted", "made", "first", "done")]
        assert stamps == sorted(stamps)
    up = sum(2 * r.size for r in run.serving.requests)
    down = sum(2 * r["response_bytes"] for r in run.requests)
    connections = run.of("connection")
    pairs = len({(c["src"], c["dst"]) for c in connections})
    assert sum(c["bytes"] for c in connections) == up + pairs, "and a byte to warm each pair's first connection"
    assert sum(c["reply_bytes"] for c in connections) == down


def test_alone_a_request_takes_the_models_time_and_that_of_its_bytes(lab: EngineLab) -> None:
    run = serve(lab, replicas=["h3"], process="constant", rate=1.5, requests=6, variation=0, input_tokens=500,
                output_tokens=30, bytes_per_input_token=100, gpu="l40s")
    roofline = run.serving.roofline
    compute = roofline.prefill_seconds(500) + sum(roofline.seconds([Chunk(1, 500 + k)]) for k in range(29))
    wire = 2 * 50_000 * 8 / (20e6 * 1448 / 1514)        # stored and forwarded at 20 Mbit/s
    expected = compute + wire
    found = min(r["done"] - r["scheduled"] for r in run.requests)       # the others met a busy processor
    assert found == pytest.approx(expected, rel=0.05, abs=2e-3)
    prefill = min(r["made"] - r["admitted"] for r in run.requests)
    assert prefill == pytest.approx(roofline.prefill_seconds(500), rel=0.05, abs=1e-3)


def replayed(run: ServingRun) -> dict[int, tuple[int, int]]:
    """Request -> blocks that its prompt finds in each tier, when each replica's events are played again in order."""
    found = {}
    for replica in run.serving.replicas:
        cache: Hierarchy = tiers_of(run.serving)
        rows = [r for r in run.requests if r["replica"] == replica]
        events = sorted([(r["order"], "look", r["id"]) for r in rows if r["order"] >= 0]
                        + [(r["kept"], "keep", r["id"]) for r in rows if r["kept"] >= 0])
        assert [number for number, _, _ in events] == list(range(len(events)))
        for _, what, number in events:
            request = run.serving.requests[number]
            if what == "look":
                hit = cache.lookup(request.blocks).blocks
                found[number] = (hit.get("gpu", 0), hit.get("host", 0))
            else:
                cache.insert(request.kept)
    return found


@pytest.mark.parametrize("routing", ["round_robin", "cache_aware", "kv_cost"])
def test_live_hits_on_a_mooncake_trace_equal_the_offline_simulation(lab: EngineLab, routing: str) -> None:
    run = serve(lab, replicas=REPLICAS, routing=routing, trace=str(DATA / "mooncake-small.jsonl"), format="mooncake",
                speedup=6, bytes_per_input_token=1, coalesce=32, gpu_cache="2GB", host_cache="4GB")
    assert {r["status"] for r in run.requests} == {"ok"}
    offline = replayed(run)
    assert {r["id"]: (r["hit_gpu"], r["hit_host"]) for r in run.requests} == offline
    assert sum(gpu for gpu, _ in offline.values()) > 0
    assert sum(host for _, host in offline.values()) > 0


def test_live_hits_of_sessions_equal_the_offline_simulation_and_affinity_finds_more(lab: EngineLab) -> None:
    hits = {}
    for routing in ("consistent_hash", "round_robin"):
        run = serve(lab, replicas=REPLICAS, routing=routing, rate=8, requests=12, turns=4, think="100ms", block=64,
                    input_tokens=300, output_tokens=8, bytes_per_input_token=1, coalesce=8, gpu_cache="3GB")
        offline = replayed(run)
        assert {r["id"]: (r["hit_gpu"], r["hit_host"]) for r in run.requests} == offline
        hits[routing] = sum(gpu for gpu, _ in offline.values()) / sum(r["blocks"] for r in run.requests)
    assert hits["consistent_hash"] > 1.5 * hits["round_robin"]


def test_a_prefix_that_is_found_is_not_computed(lab: EngineLab) -> None:
    run = serve(lab, replicas=["h3"], rate=5, requests=1, turns=2, think="0s", variation=0, block=50,
                input_tokens=2000, output_tokens=2, bytes_per_input_token=1, gpu="l40s", gpu_cache="4GB")
    first, second = run.requests
    assert second["hit_tokens"] == 2000
    saved = run.serving.roofline.prefill_seconds(4002) - run.serving.roofline.seconds([Chunk(2002, 2000)])
    assert saved > 0.1
    assert second["made"] - second["admitted"] == pytest.approx(
        run.serving.roofline.seconds([Chunk(2002, 2000)]), rel=0.1, abs=5e-3)
    assert first["hit_tokens"] == 0


def test_a_full_replica_rejects_and_what_is_asked_again_may_be_answered(lab: EngineLab) -> None:
    keys: dict[str, Any] = {"replicas": ["h3"], "rate": 100, "requests": 20, "admission": 2,
                            "variation": 0, "input_tokens": 2000, "output_tokens": 8,
                            "bytes_per_input_token": 0.5, "gpu": "l40s"}
    once = serve(lab, **keys)
    assert {r["status"] for r in once.requests} == {"ok", "rejected"}
    assert all(r["first"] is None and r["attempts"] == 1 for r in once.requests if r["status"] == "rejected")
    again = serve(lab, **keys, retries=6, backoff="200ms")
    answered = [sum(r["status"] == "ok" for r in run.requests) for run in (once, again)]
    assert answered[1] > answered[0]
    assert max(r["attempts"] for r in again.requests) > 1


def test_a_request_that_takes_too_long_is_cancelled_and_the_others_go_on(lab: EngineLab) -> None:
    run = serve(lab, replicas=["h3"], process="constant", rate=20, requests=10, variation=1.5, output_tokens=20,
                gpu="l40s", timeout="700ms", bytes_per_input_token=1)
    assert {r["status"] for r in run.requests} == {"ok", "timeout"}
    assert all(r["done"] - r["scheduled"] >= 0.7 for r in run.requests if r["status"] == "timeout")
    assert len(run.requests) == 10


@pytest.mark.parametrize(("retries", "statuses"), [(0, {"ok", "failed"}), (2, {"ok"})])
def test_requests_of_a_replica_that_dies_in_mid_stream_go_on_elsewhere_or_fail(
        lab: EngineLab, retries: int, statuses: set[str]) -> None:
    run = serve(lab, replicas=REPLICAS, routing="round_robin", process="constant", rate=10, requests=20, variation=0,
                output_tokens=40, gpu="l40s", bytes_per_input_token=1, failures=[["h4", "900ms"]], retries=retries)
    assert run.code == 0, run.events[-1]
    assert {r["status"] for r in run.requests} == statuses
    assert all(r["output_tokens"] == 40 for r in run.requests if r["status"] == "ok")
    moved = [r for r in run.requests if r["attempts"] > 1]
    assert bool(moved) == bool(retries)
    late = [r for r in run.requests if r["scheduled"] > run.requests[0]["scheduled"] + 0.95]
    assert late
    assert all(r["replica"] != "h4" for r in late)


TINY = {"layers": 2, "hidden": 512, "ffn": 2048, "heads": 8, "kv_heads": 1, "vocab": 1000}    # 512 B of KV a token


def test_a_kv_cache_goes_over_the_wire_whole_and_at_its_rate(lab: EngineLab) -> None:
    run = serve(lab, model=TINY, gpu="l40s", replicas=["h3", "h4"], decode=["h5"], rate=3, requests=10, variation=0,
                input_tokens=1000, output_tokens=12, bytes_per_input_token=1)
    assert [r["status"] for r in run.requests] == ["ok"] * 10, run.events[-1]
    assert all(r["output_tokens"] == 12 and r["decoder"] == "h5" and r["attempts"] == 1 for r in run.requests)
    assert {r["kv_bytes"] for r in run.requests} == {512_000}
    moved = sum(c["bytes"] for c in run.of("connection") if (c["src"], c["dst"]) in {("h3", "h5"), ("h4", "h5")})
    assert moved == 10 * 512_000 + 2
    assert all(r["made"] <= r["kv_start"] for r in run.requests)
    least = 512_000 * 8 / (20e6 * 1448 / 1514)
    assert all(r["kv_end"] - r["kv_start"] > 0.98 * least for r in run.requests), "no faster than the wire"
    assert all(t > r["kv_end"] for r in run.requests for t, _ in r["messages"][1:])


@pytest.mark.parametrize("victim", ["h4", "h5"])
def test_when_a_decoder_dies_its_requests_begin_again_with_another(lab: EngineLab, victim: str) -> None:
    run = serve(lab, model=TINY, gpu="l40s", replicas=["h3"], decode=["h4", "h5"], process="constant", rate=12,
                requests=20, variation=0, input_tokens=400, output_tokens=300, coalesce=20, bytes_per_input_token=1,
                failures=[[victim, "900ms"]], retries=2)
    assert {r["status"] for r in run.requests} == {"ok"}
    assert {r["output_tokens"] for r in run.requests} == {300}
    late = run.requests[15:]
    assert all(r["decoder"] != victim for r in late)


def test_when_every_replica_is_dead_requests_fail_at_once(lab: EngineLab) -> None:
    run = serve(lab, replicas=["h3"], process="constant", rate=10, requests=8, output_tokens=4, variation=0,
                bytes_per_input_token=1, failures=[["h3", "450ms"]])
    assert [r["status"] for r in run.requests[5:]] == ["failed"] * 3
    assert all(r["done"] - r["scheduled"] < 0.4 for r in run.requests[5:])


def test_memory_that_is_full_preempts_and_everything_is_answered(lab: EngineLab) -> None:
    run = serve(lab, replicas=["h3"], rate=200, requests=12, variation=0, input_tokens=100, output_tokens=60,
                bytes_per_input_token=1, coalesce=8, kv_memory="80MB")
    assert {r["status"] for r in run.requests} == {"ok"}
    (replica,) = run.of("serving-replica")
    assert replica["preemptions"] > 0
    assert replica["kv_peak"] <= replica["kv_tokens"] == 80_000_000 // 131_072
    assert sum(r["preempted"] for r in run.requests) == replica["preemptions"]


def test_messages_hold_the_tokens_that_were_asked_for(lab: EngineLab) -> None:
    run = serve(lab, replicas=["h3"], rate=20, requests=5, variation=0, output_tokens=30, coalesce=8,
                bytes_per_input_token=1)
    assert all([n for _, n in r["messages"]] == [1, 8, 8, 8, 5] for r in run.requests)
    assert median(r["response_bytes"] for r in run.requests) == 120
