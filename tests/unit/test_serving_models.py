"""Serving, its pure parts: the GPU's roofline, the batch, the prefix cache, the policies, Mooncake's traces."""

from __future__ import annotations

import json
from collections.abc import Sequence as Row
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from topologies.model.errors import TraceError
from traffic.inference.batching import Batch, Sequence
from traffic.inference.gpu import PRESETS, Chunk, Roofline
from traffic.inference.kv.cache import Hierarchy, Tier, reuse
from traffic.inference.requests import trace_notes
from traffic.inference.routing import POLICIES, Ask, ReplicaView
from traffic.traces.mooncake import CachedRequest, read, read_spread, slot_of, spread
from traffic.workloads.specs import AcceleratorSpec, ServingSpec

MOONCAKE = Path(__file__).parents[3] / "shared/traces/mooncake_fast25/conversation_t0000-0600s.jsonl"
SAMPLE = Path(__file__).parents[2] / "scenarios/library/data/mooncake-small.jsonl"


# --- roofline -------------------------------------------------------------------------------------


def test_kv_bytes_of_llama3_70b_are_those_of_its_shape() -> None:
    roofline = Roofline.of("llama3-70b", "h100", gpus=8)
    assert roofline.kv_bytes_per_token == 327_680
    assert 4096 * roofline.kv_bytes_per_token * 8 / 400e9 == pytest.approx(26.8e-3, rel=2e-3)
    assert Roofline.of("llama3-8b", "h100").kv_bytes_per_token == 131_072


def test_a_decoded_token_takes_the_reading_of_the_weights_and_its_context() -> None:
    roofline = Roofline.of("llama3-8b", "h100")
    read_bytes = (8_030_261_248 - 128_256 * 4096) * 2 + 1001 * 131_072
    assert roofline.seconds([Chunk(1, 1000)]) == pytest.approx(read_bytes / (3.35e12 * 0.7), rel=1e-6)


def test_a_long_prompt_takes_its_flops_and_the_reading_of_the_output_head() -> None:
    roofline = Roofline.of("llama3-8b", "h100")
    matrices = 8_030_261_248 - 2 * 128_256 * 4096 - 65 * 4096      # parameters less embedding, head and norms
    flops, head = 4096 * (2 * matrices + 32 * 4 * 2048 * 4096), 2 * 128_256 * 4096
    assert roofline.prefill_seconds(4096) == pytest.approx(
        flops / (989.5e12 * 0.5) + head / (3.35e12 * 0.7), rel=1e-4)


def test_beside_a_prefill_the_reading_of_the_others_caches_is_added_and_not_hidden() -> None:
    """The matrices of 2,048 tokens are bound by compute, the attention of what decodes by bandwidth: in series."""
    roofline = Roofline.of("llama3-8b", "h100")
    prompt, contexts = [Chunk(2048, 0)], [Chunk(1, 7999)] * 48
    matrices = 8_030_261_248 - 2 * 128_256 * 4096 - 65 * 4096
    caches = 48 * 8000 * 131_072 / (3.35e12 * 0.7)
    tokens = 48 * 2 * matrices / (989.5e12 * 0.5)       # theirs in the same matrices
    assert caches > 0.02
    assert roofline.seconds([*prompt, *contexts]) - roofline.seconds(prompt) == pytest.approx(caches + tokens, rel=1e-3)


def test_a_step_is_the_sum_of_its_kernels_each_by_its_own_bound() -> None:
    roofline, step = Roofline.of("mixtral-8x7b", "h100", gpus=2), [Chunk(300, 100), Chunk(1, 4000), Chunk(1, 90)]
    kernels = {k.name: k for k in roofline.kernels(step)}
    assert list(kernels) == ["linear", "experts", "prefill attention", "decode attention", "head"]
    each = [max(k.flops / (989.5e12 * 0.5), k.bytes / (3.35e12 * 0.7)) / 2 for k in kernels.values()]
    assert roofline.seconds(step) == pytest.approx(sum(each))
    assert kernels["decode attention"].bytes == (4001 + 91) * roofline.kv_bytes_per_token
    assert kernels["experts"].flops == 302 * 32 * 2 * 2 * 3 * 4096 * 14336


@pytest.mark.parametrize(("tokens", "experts"), [(1, 2), (2, 3.5), (4, 8 * (1 - 0.75**4)), (1000, 8)])
def test_a_batch_touches_the_experts_that_its_tokens_meet_and_some_meet_the_same(tokens: int, experts: float) -> None:
    """Mixtral: 2 of 8 for each token, so T tokens touch 8 x (1 - (1 - 2/8)^T); 4 tokens all 8 only with luck."""
    roofline = Roofline.of("mixtral-8x7b", "h100", gpus=2)
    assert roofline.touched(tokens) == pytest.approx(experts)
    shape = roofline.model.shape
    read = {k.name: k.bytes for k in roofline.kernels([Chunk(tokens, 0)])}["experts"]
    assert read == pytest.approx(shape.layers * experts * 3 * shape.hidden * shape.ffn * 2)


def test_seventy_billion_parameters_do_not_fit_one_gpu() -> None:
    assert Roofline.of("llama3-70b", "h100").kv_capacity < 0 < Roofline.of("llama3-70b", "h100", gpus=4).kv_capacity


@given(tokens=st.integers(1, 8000), before=st.integers(0, 8000), more=st.integers(1, 100), gpus=st.integers(1, 8))
def test_a_step_takes_no_less_with_more_work_and_no_more_with_more_gpus(
        tokens: int, before: int, more: int, gpus: int) -> None:
    one, several = Roofline.of("llama3-8b", "l40s"), Roofline.of("llama3-8b", "l40s", gpus=gpus)
    base = one.seconds([Chunk(tokens, before)])
    assert one.seconds([Chunk(tokens + more, before)]) >= base
    assert one.seconds([Chunk(tokens, before + more)]) >= base
    assert several.seconds([Chunk(tokens, before)]) == pytest.approx(base / gpus)
    assert one.seconds([Chunk(tokens, before), Chunk(1, 10)]) < base + one.seconds([Chunk(1, 10)])


@given(st.lists(st.integers(1, 3000), min_size=2, max_size=5))
def test_a_prompt_in_chunks_costs_the_flops_of_the_whole_one(parts: list[int]) -> None:
    roofline, before, total = Roofline.of("llama3-8b", "h100"), 0, 0.0
    for n in parts:
        total += roofline.flops([Chunk(n, before)]) - roofline.model.head_flops(1)
        before += n
    whole = roofline.flops([Chunk(before, 0)]) - roofline.model.head_flops(1)
    assert total == pytest.approx(whole, rel=1e-3)


def test_a_gpu_of_ones_own_is_taken_as_described() -> None:
    twice = PRESETS["h100"].model_copy(update={"flops": 2 * 989.5e12, "bandwidth": 6.7e12})
    assert isinstance(twice, AcceleratorSpec)
    assert Roofline.of("llama3-8b", twice).prefill_seconds(999) == pytest.approx(
        Roofline.of("llama3-8b", "h100").prefill_seconds(999) / 2)


# --- batching -------------------------------------------------------------------------------------


def run(batch: Batch, limit: int = 100_000) -> list[list[int]]:
    """Requests that got a token, of each step until nothing is left."""
    made: list[list[int]] = []
    for _ in range(limit):
        step = batch.next_step()
        if step is None:
            return made
        made.append([s.request for s in batch.finish(step)])
    raise AssertionError("it never ends")


def test_a_prompt_is_computed_in_chunks_and_its_last_one_gives_the_first_token() -> None:
    batch = Batch(size=4, chunk=100, memory=1000)
    batch.add(Sequence(7, prompt=250, target=2))
    assert run(batch) == [[], [], [7], [7]]
    assert batch.held == 0


def test_decoding_goes_on_beside_the_prefill_of_another() -> None:
    batch = Batch(size=4, chunk=100, memory=1000)
    batch.add(Sequence(1, prompt=50, target=4))
    batch.add(Sequence(2, prompt=120, target=1))
    assert run(batch) == [[1], [1, 2], [1], [1]]


def test_the_batch_admits_no_more_than_its_size_and_its_memory() -> None:
    batch = Batch(size=2, chunk=1000, memory=1000)
    for request in range(3):
        batch.add(Sequence(request, prompt=100, target=1))
    assert run(batch) == [[0, 1], [2]]
    batch = Batch(size=9, chunk=1000, memory=250)
    for request in range(3):
        batch.add(Sequence(request, prompt=100, target=1))
    assert run(batch) == [[0, 1], [2]]


def test_when_memory_is_full_the_youngest_is_preempted_and_computed_again() -> None:
    batch = Batch(size=2, chunk=1000, memory=204)
    old, young = Sequence(0, prompt=100, target=5), Sequence(1, prompt=100, target=5)
    batch.add(old)
    batch.add(young)
    made = run(batch)
    assert batch.preemptions == young.preempted == 1
    assert old.preempted == 0
    assert [sum(r in step for step in made) for r in (0, 1)] == [5, 5]


def test_tokens_that_the_cache_has_are_not_computed_but_one() -> None:
    batch = Batch(size=2, chunk=100, memory=10_000, found=lambda s: s.prompt)
    batch.add(Sequence(0, prompt=5000, target=1))
    step = batch.next_step()
    assert step is not None
    assert step.chunks == [Chunk(1, 4999)]


def test_what_is_left_to_prefill_leaves_out_what_the_cache_is_expected_to_have_unless_it_was_preempted() -> None:
    batch = Batch(size=1, chunk=100, memory=10_000, found=lambda s: s.expected)
    for expected in (0, 300):
        batch.add(Sequence(expected, prompt=500, target=1))
        batch.waiting[-1].expected = expected
    assert (batch.prefill_left, batch.waiting_tokens) == (500 + 200, 1000)
    batch.next_step()
    assert (batch.prefill_left, batch.waiting_tokens) == (500 + 200, 500), "a step that is under way is not over"
    batch.waiting[0].preempted = 1
    assert batch.prefill_left == 500 + 500


def test_what_is_dropped_in_the_middle_of_a_step_gets_no_token() -> None:
    batch = Batch(size=2, chunk=100, memory=1000)
    gone, stays = Sequence(0, prompt=10, target=3), Sequence(1, prompt=10, target=1)
    batch.add(gone)
    batch.add(stays)
    step = batch.next_step()
    assert step is not None
    batch.drop(gone)
    assert batch.finish(step) == [stays]
    assert batch.held == 0


def test_a_context_whose_cache_came_from_elsewhere_decodes_at_once() -> None:
    batch = Batch(size=2, chunk=100, memory=130)
    for number in range(2):
        sequence = Sequence(number, prompt=60, target=4)
        sequence.done, sequence.generated = 60, 1
        batch.add(sequence)
    assert run(batch) == [[0, 1], [0, 1], [0, 1]]
    assert batch.held == 0


@examples(60)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40)), min_size=1, max_size=12),
       st.integers(1, 6), st.integers(1, 200), st.integers(340, 900))
def test_every_request_gets_all_of_its_tokens_within_the_limits(
        asked: list[tuple[int, int]], size: int, chunk: int, memory: int) -> None:
    batch = Batch(size, chunk, memory)
    for number, (prompt, target) in enumerate(asked):
        batch.add(Sequence(number, prompt, target))
    got = [0] * len(asked)
    for _ in range(20_000):
        step = batch.next_step()
        if step is None:
            break
        assert batch.held == sum(s.kv for s in batch.running) <= memory
        assert len(batch.running) <= size
        assert len(step.decode) + sum(n for _, n in step.prefill) <= max(chunk, len(step.decode))
        assert all(c.tokens > 0 and c.before >= 0 for c in step.chunks)
        for s in batch.finish(step):
            got[s.request] += 1
    assert got == [target for _, target in asked]
    assert batch.held == 0


# --- prefix cache ---------------------------------------------------------------------------------


def test_a_hit_is_a_prefix_and_a_hole_ends_it() -> None:
    cache = Hierarchy([Tier("gpu", None, 1)])
    cache.insert([1, 2, 3])
    assert cache.match([1, 2, 9, 3]).total == 2
    assert cache.match([2, 3]).total == 2
    assert cache.match([9, 1]).total == 0


def test_a_full_tier_forgets_what_was_used_longest_ago_and_the_end_of_a_prompt_first() -> None:
    cache = Hierarchy([Tier("gpu", 3, 1)])
    cache.insert([1, 2])
    cache.insert([5, 6])
    assert cache.match([5, 6]).total == 2
    assert cache.match([1, 2]).total == 1


def test_blocks_are_found_in_the_nearest_tier_that_has_them() -> None:
    cache = Hierarchy([Tier("gpu", 2, 1), Tier("host", 4, 1)])
    cache.lookup([1, 2, 3, 4])
    assert cache.match([1, 2, 3, 4, 5]).blocks == {"gpu": 2, "host": 2}


@given(st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=30), st.integers(0, 6))
def test_a_tier_holds_what_was_used_last(prompts: list[list[int]], room: int) -> None:
    tier = Tier("gpu", room, 1)
    used: list[int] = []
    for blocks in prompts:
        tier.use(blocks)
        used += blocks
    recent = list(dict.fromkeys(reversed(used)))[:room]
    assert {b for b in range(13) if b in tier} == set(recent)
    assert len(tier) <= room


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 10))
def test_more_tiers_and_more_bytes_find_no_less(sessions: list[int], gpu: int, host: int) -> None:
    """Prompts as sessions grow: each is the one before it and a block more."""
    turns: dict[int, int] = {}
    prompts = []
    for s in sessions:
        turns[s] = turns.get(s, 0) + 1
        prompts.append([s * 100 + k for k in range(turns[s])])
    small = reuse(prompts, Hierarchy([Tier("gpu", gpu, 1)]))[0]
    two = reuse(prompts, Hierarchy([Tier("gpu", gpu, 1), Tier("host", gpu + host, 1)]))[0]
    large = reuse(prompts, Hierarchy([Tier("gpu", gpu + host, 1)]))[0]
    endless = reuse(prompts, Hierarchy([Tier("gpu", None, 1)]))[0]
    assert small <= two == large <= endless


# --- Mooncake -------------------------------------------------------------------------------------


def test_one_endless_cache_has_seen_28_percent_of_mooncakes_blocks() -> None:
    if not MOONCAKE.exists():
        pytest.skip("the Mooncake cut is not beside the repository")
    prompts = [r.blocks for r in read(MOONCAKE)]
    assert len(prompts) == 1750
    found, total = reuse(prompts, Hierarchy([Tier("gpu", None, 1)]))
    assert found / total == pytest.approx(0.284, abs=5e-4)
    found, total = reuse([p[1:] for p in prompts], Hierarchy([Tier("gpu", None, 1)]))
    assert found / total == pytest.approx(0.257, abs=5e-4)


def test_a_batch_of_stamps_is_spread_inside_its_slot_in_order() -> None:
    requests = read(SAMPLE)
    assert {r.arrival % 3 for r in requests} == {0}
    moved = spread(requests, seed=3, slot=3.0)
    assert [r.blocks for r in moved] == [r.blocks for r in requests]
    assert [r.arrival for r in moved] == sorted(r.arrival for r in moved)
    assert all(0 <= b.arrival - a.arrival < 3 for a, b in zip(requests, moved, strict=True))
    assert len({r.arrival for r in moved}) == len(moved)
    assert spread(requests, seed=3, slot=3.0) == moved != spread(requests, seed=4, slot=3.0)


def stamped(*stamps: int) -> list[CachedRequest]:
    return [CachedRequest(ms / 1000, 512, 1, (k,)) for k, ms in enumerate(stamps)]


def test_the_slots_of_a_trace_are_found_in_its_stamps() -> None:
    rounded = [3000 * slot for slot in range(12) for _ in range(1 + slot % 3)]
    assert slot_of(stamped(*rounded)) == 3.0
    assert slot_of(stamped(*(500 + stamp for stamp in rounded))) == 3.0
    assert slot_of(read(SAMPLE)) == 3.0


@pytest.mark.parametrize("stamps", [
    (0, 0, 100),                                            # too few to tell
    tuple(3000 * k for k in range(9) for _ in range(1 + k % 2)),
    tuple(1000 * k for k in range(20) for _ in range(4)),   # bursts that somebody made
    tuple(250 * k for k in range(20) for _ in range(1 + k % 2)),
    (*(3000 * k for k in range(20)), 60_001, 60_001)])      # one exact stamp, and it is no grid
def test_exact_stamps_are_left_alone(stamps: tuple[int, ...]) -> None:
    assert slot_of(stamped(*stamps)) == 0.0


def test_equal_stamps_of_an_exact_trace_stay_equal_and_its_notes_say_so(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"timestamp": ms, "input_length": 512, "output_length": 8, "hash_ids": [k]}
            for k, ms in enumerate((0, 0, 100))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [r.arrival for r in read_spread(path, None, seed=1)] == [0.0, 0.0, 0.1]
    exact = ServingSpec.model_validate({"kind": "serving", "trace": str(path), "format": "mooncake"})
    assert trace_notes(exact) == {"arrivals": "as stamped"}
    rounded = exact.model_copy(update={"trace": str(SAMPLE)})
    assert "rounded to 3 s in the trace" in trace_notes(rounded)["arrivals"]


def test_a_window_counts_from_its_own_start() -> None:
    requests = read(SAMPLE, (9.0, 21.0))
    assert min(r.arrival for r in requests) == 0
    assert max(r.arrival for r in requests) < 12


GOOD = {"timestamp": 3000, "input_length": 600, "output_length": 5, "hash_ids": [0, 7]}


@pytest.mark.parametrize(("row", "text"), [
    ({**GOOD, "hash_ids": [0]}, "expected 2 hash_ids, one for each 512 of 600 tokens; found 1"),
    ({**GOOD, "hash_ids": "0 7"}, "expected hash_ids, a list of whole numbers; found 0 7"),
    ({**GOOD, "input_length": 0}, "expected input_length, a whole number of 1 or more; found 0"),
    ({**GOOD, "timestamp": 1.5}, "expected timestamp, a whole number of 0 or more; found 1.5"),
    ({k: v for k, v in GOOD.items() if k != "output_length"}, "expected output_length"),
    ({**GOOD, "timestamp": 0}, "expected rows in the order of time; found 0 s after 3 s"),
])
def test_a_row_that_is_wrong_is_named(tmp_path: Path, row: dict[str, object], text: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(TraceError) as error:
        read(path)
    assert f"{path}:2: {text}" in str(error.value)


def test_an_empty_window_says_how_far_the_trace_goes(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")
    assert read(path) == [CachedRequest(3.0, 600, 5, (0, 7))]
    with pytest.raises(TraceError, match="the trace goes on until 3 s"):
        read(path, (10.0, 20.0))


# --- routing --------------------------------------------------------------------------------------


def views(**replicas: dict[str, float]) -> list[ReplicaView]:
    return [ReplicaView(name, **keys) for name, keys in replicas.items()]     # type: ignore[arg-type]


def chosen(policy: str, replicas: Row[ReplicaView], **ask: object) -> str:
    return POLICIES[policy](Ask(**{"number": 0, **ask}), replicas).name     # type: ignore[arg-type]


THREE = views(a={"outstanding": 3}, b={"outstanding": 1}, c={"outstanding": 2})


def test_round_robin_takes_turns() -> None:
    assert [chosen("round_robin", THREE, number=n) for n in range(4)] == ["a", "b", "c", "a"]


def test_random_follows_the_draw() -> None:
    assert [chosen("random", THREE, draws=(d, 0.0)) for d in (0.0, 0.34, 0.99)] == ["a", "b", "c"]


def test_power_of_two_takes_the_less_busy_of_two_different_ones() -> None:
    assert chosen("power_of_two", THREE, draws=(0.0, 0.99)) == "c"      # a and c
    assert chosen("power_of_two", THREE, draws=(0.5, 0.0)) == "b"       # b and a
    assert chosen("power_of_two", THREE[:1], draws=(0.9, 0.9)) == "a"


def test_least_outstanding_takes_the_fewest_and_of_equals_the_one_that_is_drawn() -> None:
    assert chosen("least_outstanding", THREE, tie=0.99) == "b"
    alike = views(a={"outstanding": 1}, b={}, c={}, d={"outstanding": 1}, e={})
    assert [chosen("least_outstanding", alike, tie=t) for t in (0.0, 0.34, 0.99)] == ["b", "c", "e"]


def test_a_session_keeps_its_replica_and_only_those_of_a_lost_one_move() -> None:
    sessions = [f"s{n}" for n in range(200)]
    before = {s: chosen("consistent_hash", THREE, session=s) for s in sessions}
    after = {s: chosen("consistent_hash", THREE[:2], session=s) for s in sessions}
    assert all(after[s] == before[s] for s in sessions if before[s] != "c")
    assert min(list(before.values()).count(name) for name in "abc") > 30


def test_cache_aware_follows_a_prefix_of_more_than_three_tenths_else_it_takes_the_least_loaded() -> None:
    replicas = views(a={"overlap": 3, "outstanding": 1}, b={"overlap": 4, "outstanding": 9}, c={"outstanding": 2})
    assert chosen("cache_aware", replicas, blocks=10) == "b"
    assert chosen("cache_aware", replicas, blocks=20) == "a"        # 4 / 20 is too little
    assert [chosen("cache_aware", views(a={}, b={}), blocks=9, tie=t) for t in (0.0, 0.5)] == ["a", "b"]


def test_cache_aware_takes_the_less_loaded_of_two_that_have_the_same_prefix() -> None:
    replicas = views(a={"overlap": 8, "outstanding": 5}, b={"overlap": 8, "outstanding": 2}, c={"overlap": 7})
    assert chosen("cache_aware", replicas, blocks=10) == "b"


def test_cache_aware_balances_when_one_replica_is_far_busier() -> None:
    busy = views(a={"overlap": 10, "outstanding": 100}, b={"outstanding": 30})
    assert chosen("cache_aware", busy, blocks=10) == "b"            # 70 more, 3.3 times
    near = views(a={"overlap": 10, "outstanding": 94}, b={"outstanding": 30})
    assert chosen("cache_aware", near, blocks=10) == "a"            # 64 more is not above 64
    alike = views(a={"overlap": 10, "outstanding": 210}, b={"outstanding": 140})
    assert chosen("cache_aware", alike, blocks=10) == "a"           # 70 more, but 1.5 times is not above 1.5


def test_kv_cost_weighs_blocks_to_prefill_against_blocks_held() -> None:
    replicas = views(a={"overlap": 8, "decode_blocks": 10}, b={"decode_blocks": 1}, c={"prefill_blocks": 9})
    assert chosen("kv_cost", replicas, blocks=10) == "b"            # 2 + 10, 10 + 1, 19
    assert chosen("kv_cost", [replicas[0], replicas[2]], blocks=10) == "a"
