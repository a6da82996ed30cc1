"""KV caches that travel: between replicas and stores, and from a prefill to its decoder, as real bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.lab.serving_lab import ServingRun, serve
from topologies.model.scale import Scale
from traffic.inference.kv.carrier import stores_of, terms_of
from traffic.inference.kv.shipping import predictions
from traffic.inference.kv.store import chosen
from traffic.inference.replica import tiers_of

pytestmark = pytest.mark.lab
TINY = {"layers": 2, "hidden": 512, "ffn": 2048, "heads": 8, "kv_heads": 1, "vocab": 1000}    # 512 B of KV a token
BLOCK = 16 * 512
SESSIONS: dict[str, Any] = {
    "model": TINY, "gpu": "l40s", "replicas": ["h3", "h4"], "routing": "round_robin", "rate": 10, "requests": 10,
    "turns": 4, "think": "100ms", "block": 16, "input_tokens": 200, "output_tokens": 8, "bytes_per_input_token": 1,
    "coalesce": 8}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("travel"), hosts=6, rate="20mbit") as running:
        yield running


# --- stores ---------------------------------------------------------------------------------------


def events_of(run: ServingRun) -> list[tuple[int, str, dict[str, Any]]]:
    """Everything that changed what a cache or a store holds, in order."""
    found = [(r[key], what, r) for key, what in (("looked", "look"), ("order", "admit"), ("kept", "keep"))
             for r in run.requests if r[key] >= 0]
    writes = [m for m in run.of("serving-store") if m["what"] == "write"]
    found += [(order, "offer", m) for order, m in {m["order"]: m for m in writes}.items()]      # of one or more stores
    found += [(m["landed"], "land", m) for m in writes if m["landed"] >= 0]
    return sorted(found, key=lambda event: event[0])


def played_again(run: ServingRun) -> tuple[dict[int, dict[str, int]], dict[int, int]]:
    """Request -> hits by tier, and -> blocks fetched, when the same events happen to empty caches and stores."""
    spec, serving = run.serving.spec.store, run.serving
    assert spec is not None
    stores, terms = stores_of(serving, spec), terms_of(serving, spec)
    caches = {name: tiers_of(serving) for name in serving.replicas}
    brought: dict[int, frozenset[int]] = {}
    sent: dict[tuple[int, str], tuple[int, ...]] = {}
    hits = {}
    events = events_of(run)
    assert [number for number, _, _ in events] == list(range(len(events)))
    for number, what, r in events:
        request = serving.requests[r["id"] if "id" in r else r["request"]]
        cache = caches[r["replica"]]
        if what == "look":
            brought[request.id] = frozenset(
                chosen(terms, stores, cache, request.blocks, request.input, r["replica"]))
        elif what == "admit":
            hits[request.id] = cache.lookup(request.blocks, brought[request.id]).blocks
        elif what == "keep":
            cache.insert(request.kept)
        elif what == "offer":
            sent |= {(number, store): blocks for store, blocks in stores.offer(request.kept).items()}
        else:
            stores.landed(sent[r["order"], r["store"]], request.kept)
    reported = {(m["order"], m["store"]): m["blocks"] for m in run.of("serving-store") if m["what"] == "write"}
    assert reported == {key: len(blocks) for key, blocks in sent.items()}
    return hits, {number: len(blocks) for number, blocks in brought.items()}


@pytest.mark.parametrize(("fetch", "gpu"), [("always", "l40s"), ("cheaper", {
    "flops": 6e10, "bandwidth": 1e12, "memory": 1e9})])
def test_live_hits_of_three_tiers_equal_the_offline_simulation(lab: EngineLab, fetch: str, gpu: Any) -> None:
    run = serve(lab, **SESSIONS | {"gpu": gpu}, gpu_cache="250kB", host_cache="500kB",
                store={"hosts": ["h5", "h6"], "size": "1MB", "fetch": fetch})
    assert {r["status"] for r in run.requests} == {"ok"}, run.events[-1]
    hits, fetched = played_again(run)
    tiers = ("gpu", "host", "store")
    assert {r["id"]: {t: r[f"hit_{t}"] for t in tiers} for r in run.requests} == {
        number: {t: blocks.get(t, 0) for t in tiers} for number, blocks in hits.items()}
    assert all(sum(found.get(t, 0) for found in hits.values()) > 0 for t in tiers)
    moves = [m for m in run.of("serving-store") if m["what"] == "fetch"]
    assert {number: n for number, n in fetched.items() if n} == {
        number: sum(m["blocks"] for m in moves if m["request"] == number) for number in {m["request"] for m in moves}}


def test_every_block_that_travels_is_bytes_on_the_wire(lab: EngineLab) -> None:
    run = serve(lab, **SESSIONS | {"requests": 5}, store={"hosts": ["h5", "h6"], "size": "1GB", "fetch": "always"})
    moves = run.of("serving-store")
    assert all(m["bytes"] == m["blocks"] * BLOCK for m in moves)
    fetches = [m for m in moves if m["what"] == "fetch"]
    wires = [c for c in run.of("connection") if c["dst"] in ("h5", "h6")]
    assert sum(c["reply_bytes"] for c in wires) == sum(m["bytes"] for m in fetches) > 0
    written = sum(m["bytes"] for m in moves if m["what"] == "write" and m["end"] is not None)
    asked = 128 * len(fetches) + 4      # and a byte to warm each pair's first connection
    cut = sum(m["bytes"] for m in moves if m["what"] == "write" and m["end"] is None)
    assert written + asked <= sum(c["bytes"] for c in wires) <= written + asked + cut
    for r in run.requests:
        mine = [m for m in fetches if m["request"] == r["id"]]
        assert r["hit_store"] <= sum(m["blocks"] for m in mine)
        assert r["arrived"] <= r["fetched"] <= r["admitted"]
        assert all(r["fetched"] >= m["end"] for m in mine)


@pytest.mark.parametrize("fetch", ["never", "cheaper"])
def test_what_is_not_worth_its_way_is_computed(lab: EngineLab, fetch: str) -> None:
    run = serve(lab, **SESSIONS | {"requests": 5}, store={"hosts": ["h5"], "size": "1GB", "fetch": fetch})
    assert {m["what"] for m in run.of("serving-store")} == {"write"}, "these GPUs compute faster than the wire brings"
    assert all(r["hit_store"] == 0 and r["status"] == "ok" for r in run.requests)


def test_when_a_store_dies_requests_go_on_by_computing(lab: EngineLab) -> None:
    run = serve(lab, **SESSIONS | {"rate": 20, "process": "constant"},
                store={"hosts": ["h5"], "size": "1GB", "fetch": "always"}, failures=[["h5", "700ms"]])
    assert {r["status"] for r in run.requests} == {"ok"}, run.events[-1]
    assert all(r["attempts"] == 1 and r["admitted"] >= r["fetched"] for r in run.requests)
    begin = min(r["scheduled"] for r in run.requests)
    assert sum(r["hit_store"] for r in run.requests if r["fetched"] < begin + 0.7) > 0
    late = [r for r in run.requests if r["arrived"] > begin + 0.75]
    assert late
    assert all(r["hit_store"] == 0 for r in late)
    assert all(m["start"] <= begin + 0.75 for m in run.of("serving-store"))


def test_when_a_replica_dies_in_a_fetch_its_requests_go_on_elsewhere(lab: EngineLab) -> None:
    run = serve(lab, **SESSIONS | {"rate": 30, "process": "constant"},
                store={"hosts": ["h5", "h6"], "size": "1GB", "fetch": "always"}, failures=[["h4", "800ms"]], retries=2)
    assert {r["status"] for r in run.requests} == {"ok"}, run.events[-1]
    assert {r["output_tokens"] for r in run.requests} == {r.output for r in run.serving.requests}
    begin = min(r["scheduled"] for r in run.requests)
    moves = [m for m in run.of("serving-store") if m["replica"] == "h4"]
    assert moves
    assert all(m["start"] < begin + 0.85 and (m["end"] is None or m["end"] < begin + 0.85) for m in moves)


# --- to a decoder ---------------------------------------------------------------------------------


APART: dict[str, Any] = {
    "model": {**TINY, "layers": 8}, "gpu": {"flops": 6e10, "bandwidth": 1e11, "memory": 1e9}, "replicas": ["h3"],
    "decode": ["h5"], "process": "constant", "rate": 1.1, "requests": 2, "variation": 0, "input_tokens": 300,
    "output_tokens": 4, "bytes_per_input_token": 1}        # 2,048 B of KV a token: 614 kB, 0.26 s at 20 Mbit/s


@pytest.mark.parametrize("chunk", [2048, 100])
def test_a_cache_that_travels_layer_by_layer_is_whole_soon_after_the_first_token(lab: EngineLab, chunk: int) -> None:
    apart = {**APART, "chunk": chunk}
    whole, layers = serve(lab, **apart), serve(lab, **apart, kv_transfer="layers", kv_fuse=2)
    for run, parts in ((whole, 1), (layers, 4 * -(-300 // chunk))):
        assert {(r["status"], r["kv_bytes"], r["kv_parts"]) for r in run.requests} == {("ok", 614_400, parts)}
        moved = sum(c["bytes"] for c in run.of("connection") if (c["src"], c["dst"]) == ("h3", "h5"))
        assert moved == 2 * 614_400 + 1
        assert all(t > r["kv_end"] for r in run.requests for t, _ in r["messages"][1:]), "decoding begins with the last"
    assert all(r["kv_start"] < r["made"] < r["kv_end"] for r in layers.requests), "beside the prefill"
    waits = [min(r["kv_end"] - r["made"] for r in run.requests) for run in (whole, layers)]     # others met a busy core
    expected = [predictions(run.serving, Scale())["kv_wait"].value for run in (whole, layers)]
    assert waits[0] > 0.95 * expected[0]
    assert expected[1] < 0.5 * expected[0]
    assert waits[1] < 0.75 * waits[0]


def test_when_a_decoder_dies_beside_the_prefill_the_request_begins_again(lab: EngineLab) -> None:
    run = serve(lab, **APART | {"decode": ["h5", "h6"], "rate": 5, "requests": 6}, kv_transfer="layers", kv_fuse=2,
                failures=[["h5", "900ms"]], retries=2)
    assert {r["status"] for r in run.requests} == {"ok"}, run.events[-1]
    assert {r["output_tokens"] for r in run.requests} == {4}
    assert max(r["attempts"] for r in run.requests) > 1
    assert all(r["decoder"] == "h6" for r in run.requests if r["attempts"] > 1)
