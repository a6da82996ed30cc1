"""Stores of KV blocks, the third tier: what they hold, what is fetched or computed, and the hits that follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.records_of import records_of
from tests.unit.serving_mistakes import refusal
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec
from traffic.inference.gpu import Chunk, Roofline
from traffic.inference.kv.cache import Hierarchy, Tier
from traffic.inference.kv.carrier import terms_of
from traffic.inference.kv.store import Stores, Terms, chosen, fetch_seconds, saved_seconds
from traffic.inference.plan import serving_of
from traffic.metrics.registry import compute
from traffic.workloads.specs import ServingSpec

ONE = Terms("always", Roofline.of("llama3-8b", "h100"), 1, 1000, {"h3": 1e6, "a": 1e6, "b": 1e6}, 1.0)


def stores(*names: str, size: int = 100) -> Stores:
    return Stores(names or ("a",), size, 1)


def write(to: Stores, context: list[int]) -> list[int]:
    """A context's blocks offered and landed at once; what had to be sent."""
    sent = [b for mine in to.offer(context).values() for b in mine]
    to.landed(sent, context)
    return sent


def own(*blocks: int) -> Hierarchy:
    cache = Hierarchy([Tier("gpu", None, 1)])
    cache.insert(blocks)
    return cache


# --- what stores hold -----------------------------------------------------------------------------


def test_a_block_belongs_to_one_store_by_its_id() -> None:
    assert stores("a", "b", "c").shares([3, 4, 5, 6]) == {"a": (3, 6), "b": (4,), "c": (5,)}


def test_what_is_held_or_on_its_way_is_not_written_again() -> None:
    it = stores()
    assert it.offer([1, 2]) == {"a": (1, 2)}
    assert it.offer([1, 2, 3]) == {"a": (3,)}
    assert 1 not in it, "it is held when its last byte is there"
    it.landed((1, 2), [1, 2])
    it.lost((3,))
    assert it.offer([1, 2, 3]) == {"a": (3,)}


def test_a_prompt_is_fetched_up_to_the_first_block_that_nobody_has() -> None:
    it = stores()
    write(it, [1, 2, 3, 5])
    assert it.missing([1, 2, 3, 4, 5], own()) == [1, 2, 3]
    assert it.missing([1, 2, 3, 4, 5], own(2, 4)) == [1, 3, 5]
    assert it.missing([9, 1], own()) == []


def test_a_full_store_forgets_the_context_used_longest_ago_and_its_end_first() -> None:
    it = stores(size=4)
    write(it, [1, 2])
    write(it, [11, 12])
    it.touch([1, 2])
    write(it, [21])
    assert [b for b in (1, 2, 11, 12, 21) if b in it] == [1, 2, 11, 21]


def test_a_context_that_grows_beyond_a_store_keeps_its_beginning() -> None:
    it = stores(size=3)
    write(it, [1, 2])
    assert write(it, [1, 2, 3, 4, 5]) == [3, 4, 5]
    assert [b for b in range(6) if b in it] == [1, 2, 3]


def test_a_store_that_died_holds_nothing_and_is_offered_nothing() -> None:
    it = stores("a", "b")
    write(it, [0, 1, 2, 3])
    sent = it.offer([4, 5])
    it.die("b")
    it.landed(sent["b"], [4, 5])
    assert [b for b in range(6) if b in it] == [0, 2]
    assert it.missing([0, 1, 2], own()) == [0]
    assert it.offer([6, 7]) == {"a": (6,)}


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 9), max_size=6, unique=True)), max_size=40),
       st.integers(1, 8))
def test_a_store_holds_what_was_written_or_looked_at_last(moves: list[tuple[bool, list[int]]], room: int) -> None:
    """Against a list of all uses: of one store, the last `room` distinct blocks that it was ever given."""
    it, used = stores(size=room), list[int]()
    for is_write, blocks in moves:
        held = [b for b in blocks if b in it]
        if is_write:
            write(it, blocks)
            used += reversed(blocks)
        else:
            it.touch(blocks)
            used += reversed(held)
        assert {b for b in range(10) if b in it} == set(list(dict.fromkeys(reversed(used)))[:room])


# --- hits over three tiers ------------------------------------------------------------------------


def serve_all(prompts: list[tuple[int, list[int]]], gpu: int, host: int, size: int | None,
              fetch: str = "always") -> Iterator[tuple[dict[str, int], int]]:
    """Each (replica, prompt) in turn: its hits by tier, and how many of its blocks no tier at all ever had."""
    caches = [Hierarchy([Tier("gpu", gpu, 1), Tier("host", host, 1)]) for _ in range(3)]
    it, seen = stores("a", "b", size=size or 0), set[int]()
    for replica, blocks in prompts:
        brought = chosen(replace(ONE, fetch=fetch), it, caches[replica], blocks, len(blocks), "h3") if size else []
        hit = caches[replica].lookup(blocks, frozenset(brought)).blocks
        if size:
            write(it, blocks)
        yield hit, len(set(blocks) - seen)
        seen |= set(blocks)


PROMPTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 6)), max_size=30).map(
    lambda rows: [(replica, [100 * s + k for k in range(n)]) for replica, s, n in rows])


@given(PROMPTS, st.integers(0, 4), st.integers(0, 6), st.integers(1, 30))
def test_a_third_tier_adds_hits_and_takes_none_from_the_nearer_ones(
        prompts: list[tuple[int, list[int]]], gpu: int, host: int, size: int) -> None:
    two = list(serve_all(prompts, gpu, host, None))
    three = list(serve_all(prompts, gpu, host, size))
    for (_, blocks), (near, new), (all_, _) in zip(prompts, two, three, strict=True):
        assert {t: all_[t] for t in ("gpu", "host")} == near or all_.get("store", 0) > 0
        assert sum(all_.values()) >= sum(near.values())
        assert sum(all_.values()) <= len(blocks) - new, "nothing is found that was never there"


@given(PROMPTS, st.integers(0, 4))
def test_endless_stores_give_every_replica_what_any_of_them_has_computed(
        prompts: list[tuple[int, list[int]]], gpu: int) -> None:
    for (_, blocks), (hit, new) in zip(prompts, serve_all(prompts, gpu, gpu, 10_000), strict=True):
        assert sum(hit.values()) == len(blocks) - new
    assert all("store" not in hit for hit, _ in serve_all(prompts, gpu, gpu, 10_000, "never"))


def test_a_block_counts_for_the_nearest_tier_that_has_it_when_the_prompt_is_admitted() -> None:
    cache = Hierarchy([Tier("gpu", 1, 1), Tier("host", 2, 1)])
    cache.insert([1, 2])
    assert cache.lookup([1, 2, 3, 4], frozenset({2, 3})).blocks == {"gpu": 1, "host": 1, "store": 1}


# --- fetch or compute -----------------------------------------------------------------------------


def test_a_fetch_takes_as_long_as_its_slowest_link() -> None:
    rates = {"a": 10e6, "b": 20e6, "h3": 15e6}
    assert fetch_seconds({"a": 100_000}, "h3", rates) == pytest.approx(0.08)
    assert fetch_seconds({"a": 100_000, "b": 125_000}, "h3", rates) == pytest.approx(0.12), "the replica's own"
    assert fetch_seconds({}, "h3", rates) == 0


def test_what_a_fetch_saves_is_the_prefill_of_its_tokens_but_the_last_of_the_prompt() -> None:
    roofline = ONE.roofline
    assert saved_seconds(roofline, 4000, 0, 3000) == pytest.approx(
        roofline.seconds([Chunk(4000, 0)]) - roofline.seconds([Chunk(1000, 3000)]))
    assert saved_seconds(roofline, 4000, 1000, 4000) == pytest.approx(
        roofline.seconds([Chunk(3000, 1000)]) - roofline.seconds([Chunk(1, 3999)]))
    assert saved_seconds(roofline, 4000, 2000, 2000) == 0


def test_the_cheaper_of_both_is_taken_by_the_rate_of_the_wire() -> None:
    """3,072 tokens of Llama 3 8B: 403 MB, computed by an H100 in 92 ms; 8 ms from a store at 400 Gbit/s, 320 at 10."""
    saved = saved_seconds(ONE.roofline, 4096, 0, 3072)
    flops = 3072 * (2 * 6_979_321_856 + 32 * 4 * 1536 * 4096)       # matrices, and attention to half of them on average
    assert saved == pytest.approx(flops / (989.5e12 * 0.5), rel=1e-3)
    it, block = stores("a"), 512 * 131_072
    write(it, [0, 1, 2, 3, 4, 5])
    for rate, fetched in ((400e9, 6), (10e9, 0), (1.01 * 6 * 8 * block / saved, 6), (0.99 * 6 * 8 * block / saved, 0)):
        terms = replace(ONE, fetch="cheaper", block=512, wire=block, rates={"a": rate, "h3": rate})
        assert len(chosen(terms, it, own(), list(range(8)), 4096, "h3")) == fetched
    stretched = replace(ONE, fetch="cheaper", block=512, wire=block // 100, rates={"a": 1e8, "h3": 1e8}, time=1.0)
    assert len(chosen(stretched, it, own(), list(range(8)), 4096, "h3")) == 0
    assert len(chosen(replace(stretched, time=10.0), it, own(), list(range(8)), 4096, "h3")) == 6


def test_what_is_there_already_makes_a_fetch_worth_less() -> None:
    it, block = stores("a"), 512 * 131_072
    write(it, list(range(8)))
    saved = saved_seconds(ONE.roofline, 4096, 0, 4096)
    terms = replace(ONE, fetch="cheaper", block=512, wire=block, rates=dict.fromkeys("a", 1e15) | {
        "h3": 1.05 * 8 * 8 * block / saved})
    assert len(chosen(terms, it, own(), list(range(8)), 4096, "h3")) == 8
    assert chosen(terms, it, own(*range(8)), list(range(8)), 4096, "h3") == []


# --- what a user writes ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(load_fabric("border"))


def test_stores_are_no_replicas_and_their_wires_rates_are_known(fabric: Fabric) -> None:
    spec = ServingSpec.model_validate({"kind": "serving", "rate": 5, "store": {"hosts": ["h8"], "size": "1GB"}})
    serving = serving_of(spec, fabric, "chat", 1)
    assert serving.replicas == tuple(f"h{n}" for n in range(2, 8))
    assert "h8" in serving.hosts
    assert serving.rates["h8"] == pytest.approx(fabric.access_link("h8").rate * 1448 / 1514)
    assert serving.block_bytes == 512 * 131_072
    assert spec.store is not None
    assert terms_of(serving, spec.store).fetch == "cheaper"


def test_a_store_that_holds_no_block_is_refused(fabric: Fabric) -> None:
    spec = ServingSpec.model_validate({"kind": "serving", "rate": 5, "store": {"hosts": ["h8"], "size": "60MB"}})
    with pytest.raises(LabError) as error:
        serving_of(spec, fabric, "chat", 1)
    assert "workloads.chat.store.size: expected at least 67.11 MB, one block of 512 tokens; found 60 MB" in str(
        error.value)


@pytest.mark.parametrize(("keys", "text"), [
    ("rate: 5, store: {hosts: [h99], size: 1GB}", "store.hosts.0: expected a workload host or outside host"),
    ("rate: 5, store: {hosts: [h1], size: 1GB}", "expected stores on hosts of their own; found h1, the gateway"),
    ("rate: 5, replicas: [h2], store: {hosts: [h2], size: 1GB}", "found h2, a replica"),
    ("rate: 5, replicas: [h2], decode: [h3], store: {hosts: [h3], size: 1GB}", "found h3, a decoder"),
    ("rate: 5, clients: [h4], store: {hosts: [h4], size: 1GB}", "found h4, a client"),
    ("rate: 5, store: {hosts: [h8, h8], size: 1GB}", "store.hosts.1: expected each host once; found h8 again"),
    ("rate: 5, store: {hosts: [], size: 1GB}", "workloads.chat.store.hosts"),
    ("rate: 5, store: {hosts: [h8], size: 0B}", "workloads.chat.store.size"),
    ("rate: 5, store: {hosts: [h8], size: 1GB, fetch: sometimes}", "workloads.chat.store.fetch"),
    ("rate: 5, store: {hosts: [h8], size: 1GB}, failures: [[h1, 2s]]",
     "expected a replica or a store: h2, h3, h4, h5, h6, h7, h8; found h1"),
    ("rate: 5, replicas: [h2, h3], tensor: 2, store: {hosts: [h8], size: 1GB}",
     "workloads.chat.store: expected replicas of one host each, without tensor and pipeline; found 2 hosts each"),
    ("trace: no.csv, store: {hosts: [h8], size: 1GB}", "found an azure trace, which has no hash_ids"),
])
def test_every_mistake_about_stores_is_reported_with_its_place(tmp_path: Path, keys: str, text: str) -> None:
    assert text in refusal(tmp_path, keys)


# --- metrics --------------------------------------------------------------------------------------


SETUP: dict[str, Any] = {"kind": "serving-setup", "workload": "chat", "phase": "main", "routing": "random",
                         "slo_ttft": 0.5, "slo_tpot": 0.05}


def request(**keys: Any) -> dict[str, Any]:
    return {"kind": "serving", "workload": "chat", "phase": "main", "id": 0, "status": "ok", "scheduled": 0.0,
            "sent": 0.0, "arrived": 0.1, "fetched": 0.3, "admitted": 0.35, "made": 0.5, "first": 0.6, "done": 0.6,
            "messages": [[0.6, 1]], "output_tokens": 1, "wanted_tokens": 1, "input_tokens": 100,
            "request_bytes": 20_000, "blocks": 10, "hit_gpu": 1, "hit_host": 2, "hit_store": 4, "hit_tokens": 60,
            "order": 0, "prefill_fabric": 0.0, "kv_end": None, **keys}


def move(what: str, size: int, end: float | None) -> dict[str, Any]:
    return {"kind": "serving-store", "workload": "chat", "phase": "main", "what": what, "bytes": size, "start": 1.0,
            "end": end}


def test_hits_by_tier_and_bytes_of_the_stores_are_reported() -> None:
    rows = [SETUP, request(), move("fetch", 200_000, 1.2), move("fetch", 90_000, 1.1), move("write", 50_000, 1.1),
            move("write", 50_000, None)]
    of = {k.removeprefix("chat."): m.value for k, m in compute(records_of(*rows), expand(FabricSpec()), []).items()}
    assert [of[f"{t}_hit_rate"] for t in ("gpu", "host", "store")] == pytest.approx([0.1, 0.2, 0.4])
    assert of["hit_rate"] == pytest.approx(0.7)
    assert (of["store_fetched"], of["store_written"], of["store_failed"]) == (290_000, 50_000, 1)
    assert of["fetch_bandwidth"] == pytest.approx(8e6), "of the one with 100 packets or more"
    parts = [of[f"ttft_{p}"] for p in ("in", "fetch", "queue", "prefill", "out")]
    assert parts == pytest.approx([0.1, 0.2, 0.05, 0.15, 0.1])
    assert of["ttft_network_share"] == pytest.approx(0.4 / 0.6)


def test_without_stores_nothing_is_reported_of_them() -> None:
    of = compute(records_of(SETUP, request(fetched=None, hit_store=0)), expand(FabricSpec()), [])
    assert "chat.hit_rate" in of
    assert not [k for k in of if "store" in k or "fetch" in k or "hit_gpu" in k]
