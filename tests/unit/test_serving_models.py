"""Serving, its pure parts: the GPU's roofline, the batch, the prefix cache, the policies, Mooncake's traces."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from traffic.inference.batching import Batch, Sequence
from traffic.inference.gpu import PRESETS, Chunk, Roofline
from traffic.inference.kv.cache import Hierarchy, Tier, reuse
from traffic.workloads.specs import AcceleratorSpec

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
