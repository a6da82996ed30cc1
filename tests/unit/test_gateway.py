"""The gateway's choices: what counts as load from when, ties by the seed, and packet accounting that balances whatever
happens."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.spec.load_scenario import load_scenario
from tests.examples import examples
from tests.unit.serving_world import World
from traffic.workloads.specs import ServingSpec

BURST: dict[str, Any] = {"process": "constant", "rate": 1000, "requests": 42, "variation": 0, "input_tokens": 4000,
                         "output_tokens": 60, "bytes_per_input_token": 1}
ONE_TO_SEVEN: dict[str, Any] = {"gateway": "ext1", "clients": ["ext2"], "replicas": ["h1"],
                                "decode": [f"h{n}" for n in range(2, 9)]}


def test_decoders_are_counted_from_the_routing_on_so_that_a_burst_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """42 requests are routed before the first prefill is over; each of seven decoders gets six."""
    world = World(monkeypatch, **BURST, **ONE_TO_SEVEN)
    world.clients.start(0.0)
    world.clock.run(until=0.05)
    assert [world.replicas[f"h{n}"].outstanding for n in range(2, 9)] == [6] * 7
    world.clock.run()
    assert Counter(e.record("main", 0.0).decoder for e in world.exchanges) == {f"h{n}": 6 for n in range(2, 9)}
    assert not any(r.outstanding for r in world.replicas.values())


@pytest.mark.parametrize("kv_transfer", ["whole", "layers"])
def test_a_decoder_that_is_planned_is_free_again_when_its_request_ends_early(
        monkeypatch: pytest.MonkeyPatch, kv_transfer: str) -> None:
    world = World(monkeypatch, **BURST, **ONE_TO_SEVEN, timeout="700ms", kv_transfer=kv_transfer)
    rows = world.run()
    assert any(r["status"] == "timeout" and r["made"] is None for r in rows), "some never came to their decoder"
    assert any(r["status"] == "timeout" and r["made"] is not None for r in rows), "some were on their way to it"
    assert not any(r.outstanding for r in world.replicas.values())


@pytest.mark.parametrize("routing", ["least_outstanding", "cache_aware", "kv_cost"])
def test_idle_replicas_are_drawn_by_the_seed_and_not_taken_in_the_order_of_their_names(
        monkeypatch: pytest.MonkeyPatch, routing: str) -> None:
    keys: dict[str, Any] = {"routing": routing, "process": "constant", "rate": 0.1, "requests": 70, "variation": 0,
                            "input_tokens": 100, "output_tokens": 2, "block": 128}
    found = [[r["replica"] for r in World(monkeypatch, seed=seed, **keys).run()] for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    for names in found:
        counts = Counter(names)
        assert len(counts) == 7
        assert max(counts.values()) <= 20, "10 each in the mean"


def test_a_decoder_among_idle_ones_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = World(monkeypatch, **ONE_TO_SEVEN, process="constant", rate=0.1, requests=70, variation=0,
                 input_tokens=100, output_tokens=3).run()
    assert max(Counter(r["decoder"] for r in rows).values()) <= 20


def test_a_requests_draws_do_not_depend_on_which_others_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[str, Any] = {"routing": "random", "rate": 5, "requests": 30, "output_tokens": 2}
    first = {r["id"]: r["replica"] for r in World(monkeypatch, **keys).run()}
    world = World(monkeypatch, **keys)
    turned = [r.model_copy(update={"at": 6 - r.at}) for r in world.serving.requests]
    world.clients.serving = world.serving.model_copy(update={"requests": tuple(turned)})
    assert {r["id"]: r["replica"] for r in world.run()} == first


def test_where_sessions_are_hashed_to_follows_from_the_seed_so_that_repeats_differ(
        monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[str, Any] = {"routing": "consistent_hash", "rate": 5, "requests": 30, "turns": 2, "output_tokens": 2,
                            "think": "100ms"}
    found = [{r["session"]: r["replica"] for r in World(monkeypatch, seed, **keys).run()} for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    rows = World(monkeypatch, 3, **keys).run()
    assert len({(r["session"], r["replica"]) for r in rows}) == 30, "a session keeps its replica"


# --- what kv_cost counts ----------------------------------------------------------------------------------

SESSION: dict[str, Any] = {"routing": "kv_cost", "replicas": ["h3", "h4"], "gpu": "l40s", "process": "constant",
                           "rate": 0.01, "requests": 1, "turns": 2, "think": "0s", "variation": 0, "block": 100,
                           "input_tokens": 4000, "output_tokens": 2, "gpu_cache": "4GB", "bytes_per_input_token": 500}


def test_work_that_a_cache_will_save_is_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 blocks of the second turn are in the cache of the replica that had the first, also while it is on its way."""
    world = World(monkeypatch, **SESSION)
    second = world.serving.requests[1]
    world.clients.start(0.0)
    while not world.exchanges:
        world.clock.run(until=world.clock.now + 0.001)
    home = world.replicas[world.exchanges[0].record("main", 0.0).replica]
    seen = []
    while len(world.exchanges) < 2:
        world.clock.run(until=world.clock.now + 0.001)
        seen.append(home.view(second))
    assert world.exchanges[1].record("main", 0.0).hit_tokens == 4000
    assert 0 < max(view.prefill_blocks for view in seen) <= (second.input - 4000) / 100
    assert max(view.decode_blocks for view in seen) >= second.input / 100, "its context counts in full"


def test_a_decoder_has_nothing_to_prefill(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, **BURST, **ONE_TO_SEVEN)
    world.clients.start(0.0)
    ask = world.serving.requests[0]
    while len(world.exchanges) < 42:
        world.clock.run(until=world.clock.now + 0.01)
        assert not any(world.replicas[f"h{n}"].view(ask).prefill_blocks for n in range(2, 9))


# --- a lesson of the library ----------------------------------------------------------------------------------


@pytest.mark.large
def test_the_limits_of_the_mooncake_lesson_hold_what_routing_and_caches_alone_do(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checks were set from this: no network and no packets, only who gets which prompt and what he still has."""
    scenario = load_scenario("inference-mooncake-replay")
    for seed in range(1, 8):
        found = {}
        for name, spec in scenario.workloads.items():
            assert isinstance(spec, ServingSpec)
            rows = World(monkeypatch, seed, spec).run()
            assert {r["status"] for r in rows} == {"ok"}
            found[f"{name}.hit_rate"] = sum(r["hit_gpu"] for r in rows) / sum(r["blocks"] for r in rows)
            found[f"{name}.ttft_prefill"] = sum(r["made"] - r["admitted"] for r in rows)
        checked = [c for c in scenario.checks.values() if c.metric in found]
        assert len(checked) == 4
        for check in checked:
            value = found[check.metric or ""] / (found[check.of] if check.of else 1.0)
            low, high = check.between or (check.at_least or 0.0, check.at_most or math.inf)
            assert float(low) <= value <= float(high), (seed, check.metric, value)


# --- packet accounting ----------------------------------------------------------------------------------------------

SHAPES = st.sampled_from([{}, {"decode": ["h6", "h7", "h8"], "replicas": ["h3", "h4", "h5"]},
                          {"decode": ["h6", "h7"], "replicas": ["h3", "h4"], "kv_transfer": "layers"}])


@examples(40)
@given(seed=st.integers(1, 1000), shape=SHAPES, timeout=st.sampled_from(["200ms", "1s", "30s"]),
       admission=st.sampled_from([None, 2, 8]), retries=st.integers(0, 3),
       routing=st.sampled_from(["round_robin", "power_of_two", "least_outstanding", "cache_aware", "kv_cost"]),
       failures=st.lists(st.tuples(st.sampled_from([f"h{n}" for n in range(3, 9)]), st.floats(0.01, 3)), max_size=3))
def test_when_all_is_over_no_replica_has_anything_left(
        seed: int, shape: dict[str, Any], timeout: str, admission: int | None, retries: int, routing: str,
        failures: list[tuple[str, float]]) -> None:
    keys: dict[str, Any] = {
        "routing": routing, "timeout": timeout, "retries": retries, "rate": 20, "requests": 12, "turns": 2,
        "think": "100ms", "gpu": "l40s", "gpu_cache": "2GB", "block": 64, "input_tokens": 1500, "output_tokens": 30,
        "failures": [[name, f"{after:.3f}s"] for name, after in failures if name in shape.get(
            "replicas", [f"h{n}" for n in range(2, 9)]) + shape.get("decode", [])], **shape}
    with pytest.MonkeyPatch.context() as patch:
        world = World(patch, seed, **keys, admission=admission)
        rows = world.run()
        ask = world.serving.requests[0]
        assert len(rows) == 24
        for replica in world.replicas.values():
            view = replica.view(ask)
            assert replica.outstanding == 0
            assert (view.prefill_blocks, view.decode_blocks) == (0, 0)
