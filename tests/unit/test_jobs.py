"""Training jobs: published shapes, bytes that follow from them, and the time of their critical path.

`finish` is a simulator in a few lines: it walks the program that the engine would run, with transfers of
no length, so that what remains is the order that dependencies allow.
"""

from __future__ import annotations

from collections import Counter
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any

import pytest

from tests.workloads import workload_of
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.jobs.blocks import activation, stages
from traffic.jobs.gpus import PRESETS as GPUS
from traffic.jobs.job import MAX_OPS, primitives, training_job
from traffic.jobs.layout import Layout, one_forward_one_backward
from traffic.jobs.models import PRESETS, Model
from traffic.models.fluid import fluid_steps
from traffic.models.predict import predict
from traffic.workloads.jitter import as_in, lengths
from traffic.workloads.lowering import Primitive, lower
from traffic.workloads.specs import TrainingJobSpec
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

TINY: dict[str, Any] = {"layers": 8, "hidden": 64, "ffn": 256, "heads": 8, "kv_heads": 4, "vocab": 1}
SPARSE = {**TINY, "experts": 4, "experts_per_token": 2}
SLOW = {"flops": 1e9, "utilisation": 0.5}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(leaves=2, hosts_per_leaf=4))


def spec(**more: Any) -> TrainingJobSpec:
    return TrainingJobSpec.model_validate({"kind": "training-job", "model": TINY, "gpu": SLOW, "sequence": 128, **more})


def finish(ops: tuple[Primitive, ...], moving: float = 0.0) -> dict[str, float]:
    """Op -> second at which it is over, when each transfer takes `moving` seconds and none waits for a link."""
    by_id = {op.id: op for op in ops}
    waits = {op.id: (*op.after, *([op.behind] if isinstance(op, Transfer) and op.behind else [])) for op in ops}
    over: dict[str, float] = {}
    for name in TopologicalSorter(waits).static_order():
        op = by_id[name]
        length = op.seconds if isinstance(op, Compute) else moving
        over[name] = max((over[w] for w in waits[name]), default=0.0) + length
    return over


def step(workload: Workload, moving: float = 0.0) -> float:
    return max(finish(lower(workload).ops, moving).values())


def collectives(workload: Workload, *starts: str) -> list[Collective]:
    return [op for op in workload.ops if isinstance(op, Collective) and op.id.startswith(starts)]


def sent(workload: Workload) -> Counter[int]:
    """Rank -> bytes that it sends in an iteration."""
    found: Counter[int] = Counter()
    for op in lower(workload).ops:
        if isinstance(op, Transfer):
            found[op.src] += op.size
    return found


# --- models and GPUs ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), [
    ("llama3-8b", 8_030_261_248), ("llama3-70b", 70_553_706_496), ("mixtral-8x7b", 46_702_792_704),
])
def test_presets_have_the_parameters_of_the_published_models(name: str, parameters: int) -> None:
    assert Model.of(name).parameters == parameters


def test_flops_of_a_token_are_six_times_the_parameters_it_meets_and_attention() -> None:
    model, s = Model.of("llama3-8b"), PRESETS["llama3-8b"]
    forward = s.layers * (model.attention_flops(1, 8192) + model.ffn_flops(1)) + model.head_flops(1)
    matrices = model.parameters - model.embedding - s.hidden * (2 * s.layers + 1)
    assert 3 * forward == 6 * matrices + 12 * s.layers * s.hidden * 8192     # PaLM, appendix B
    mixture = Model.of("mixtral-8x7b")
    assert mixture.ffn_flops(1) == 2 * 2 * mixture.expert       # two of the eight experts


def test_gpu_presets_are_dense_bf16_peaks() -> None:
    assert (GPUS["a100"].flops, GPUS["h100"].flops) == (312e12, 989.5e12)


def test_llama_8b_on_an_h100_takes_what_its_flops_say() -> None:
    made = spec(model="llama3-8b", gpu="h100", sequence=4096, data=2)
    (blocks,) = stages(made, 1)
    model = Model.of("llama3-8b")
    flops = 4096 * (2 * (model.parameters - model.embedding - 4096 * 65) + 4 * 32 * 4096 * 4096)
    assert sum(b.attention + b.ffn for b in blocks) == pytest.approx(flops / (989.5e12 * 0.6))


def test_kernels_reach_more_of_the_peak_than_a_job_does_as_a_whole() -> None:
    """0.41 is the MFU of Llama 3 405B, bubbles and exposed communication included; 0.80 that of the best products."""
    assert all(0.55 <= gpu.utilisation <= 0.65 for gpu in GPUS.values())


# --- layout ---------------------------------------------------------------------------------------


def test_groups_of_a_layout_cover_each_rank_once_and_follow_megatron_order() -> None:
    layout = Layout(data=4, tensor=2, pipeline=2, expert=2)
    assert layout.tensor_groups(0) == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert layout.data_groups(1) == ((8, 10, 12, 14), (9, 11, 13, 15))
    assert layout.expert_groups(0) == ((0, 2), (1, 3), (4, 6), (5, 7))
    assert layout.expert_data_groups(0) == ((0, 4), (1, 5), (2, 6), (3, 7))
    for groups in (layout.tensor_groups, layout.data_groups, layout.expert_groups, layout.expert_data_groups):
        assert sorted(r for p in range(2) for g in groups(p) for r in g) == list(range(16))


def test_1f1b_fills_the_pipeline_then_alternates_then_drains() -> None:
    order = one_forward_one_backward(1, 4, 5)
    assert "".join(f"{d[0]}{i}" for d, i in order) == "f0f1f2b0f3b1f4b2b3b4"
    assert "".join(f"{d[0]}{i}" for d, i in one_forward_one_backward(0, 4, 2)) == "f0f1b0b1"


# --- bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [
    {"data": 8}, {"data": 8, "overlap": False}, {"data": 4, "tensor": 2}, {"data": 2, "pipeline": 4},
    {"data": 8, "bucket": "7kB"}, {"data": 8, "bucket": "64B"}, {"data": 4, "micro_batches": 3}, {"data": 8, "fuse": 3},
])
def test_gradients_of_a_replica_are_parameters_times_bytes(fabric: Fabric, more: dict[str, Any]) -> None:
    made = spec(**more)
    shards = made.tensor * made.pipeline
    total = sum(op.size for op in collectives(training_job(made, fabric, "job", 1), "ar/"))
    assert total == pytest.approx(Model.of(made.model).parameters * 4, abs=shards)


def test_gradients_are_exchanged_in_fp32_and_parameters_and_activations_as_they_are_used(fabric: Fabric) -> None:
    total = Model.of(spec().model).parameters
    for zero, reduced in ((1, "rs/"), (3, "rs/")):
        made = training_job(spec(data=8, zero=zero), fabric, "job", 1)
        gathers = 2 if zero == 3 else 1
        assert sum(op.size for op in collectives(made, reduced)) == pytest.approx(4 * total, rel=1e-3)
        assert sum(op.size for op in collectives(made, "ag/")) == pytest.approx(gathers * 2 * total, rel=1e-3)
        assert made.notes["gradients"].startswith("4 bytes a gradient, ")
    half = training_job(spec(data=8, gradient_bytes=2), fabric, "job", 1)
    assert sum(op.size for op in collectives(half, "ar/")) == pytest.approx(2 * total, rel=1e-3)
    assert activation(spec(gradient_bytes=8)) == activation(spec())


def test_described_parameters_replace_counted_ones(fabric: Fabric) -> None:
    made = training_job(spec(model={**TINY, "parameters": 1_000_000}, data=4), fabric, "job", 1)
    assert sum(op.size for op in collectives(made, "ar/")) == 4_000_000


def test_buckets_are_equal_and_no_larger_than_asked(fabric: Fabric) -> None:
    made = training_job(spec(data=8, bucket="100kB"), fabric, "job", 1)
    sizes = [op.size for op in collectives(made, "ar/")]
    assert len(sizes) == -(-Model.of(spec().model).parameters * 4 // 100_000)
    assert max(sizes) <= 100_000
    assert max(sizes) - min(sizes) <= 1


def test_tensor_parallel_layers_all_reduce_two_activations_each_way(fabric: Fabric) -> None:
    made = spec(tensor=4, micro_batch=3, micro_batches=2)
    workload = training_job(made, fabric, "job", 1)
    a = 3 * 128 * 64 * 2
    assert activation(made) == a
    forward, backward = (Counter(op.size for op in collectives(workload, d)) for d in ("f", "b"))
    assert forward == backward == Counter({a: 2 * 8 * 2})      # 2 a layer, 8 layers, 2 micro-batches


def test_fusing_keeps_the_bytes_and_lowers_the_operations(fabric: Fabric) -> None:
    fine, coarse = (training_job(spec(tensor=4, data=2, fuse=k), fabric, "job", 1) for k in (1, 4))
    assert sum(sent(fine).values()) == pytest.approx(sum(sent(coarse).values()), rel=1e-6)
    assert len(coarse.ops) < len(fine.ops) / 2
    assert coarse.notes["fused"].startswith("4 layers taken as one")
    assert step(fine) == pytest.approx(step(coarse))


def test_fsdp_gathers_its_parameters_twice_and_scatters_gradients_of_twice_the_size(fabric: Fabric) -> None:
    n, total = 8, Model.of(spec().model).parameters
    by_rank = sent(training_job(spec(data=n, zero=3), fabric, "job", 1))
    for rank in range(n):
        assert by_rank[rank] == pytest.approx((2 * 2 + 4) * total * (n - 1) / n, rel=1e-3)


def test_zero_1_moves_as_much_as_an_all_reduce_and_gathers_last(fabric: Fabric) -> None:
    plain, sharded = (training_job(spec(data=8, zero=z, gradient_bytes=2), fabric, "job", 1) for z in (0, 1))
    assert sent(plain) == pytest.approx(sent(sharded), rel=1e-6)
    over = finish(lower(sharded).ops, moving=1.0)
    reduced = max(t for name, t in over.items() if name.startswith("rs/"))
    assert all(t > reduced for name, t in over.items() if name.startswith("ag/") and "/end/" in name)


def test_stages_pass_on_whole_activations_both_ways(fabric: Fabric) -> None:
    workload = training_job(spec(pipeline=4, tensor=2, micro_batches=3), fabric, "job", 1)
    moves = Counter((op.src, op.dst) for op in workload.ops if isinstance(op, Transfer))
    assert moves == {(r, r + 2): 3 for r in range(6)} | {(r + 2, r): 3 for r in range(6)}
    assert {op.size for op in workload.ops if isinstance(op, Transfer)} == {128 * 64 * 2}


def test_experts_exchange_tokens_twice_each_way_and_gradients_among_fewer_ranks(fabric: Fabric) -> None:
    made = spec(model=SPARSE, data=8, expert=4)
    workload = training_job(made, fabric, "job", 1)
    model = Model.of(made.model)
    exchanges = [op for op in collectives(workload, "f", "b") if op.kind == "all-to-all"]
    assert len(exchanges) == 8 * 4 * 2                                  # layers x (2 + 2) x groups
    assert {op.size for op in exchanges} == {2 * activation(made)}      # two experts a token
    assert {op.ranks for op in exchanges} == {(0, 1, 2, 3), (4, 5, 6, 7)}
    experts, dense = (collectives(workload, f"ar/s0/{kind}/") for kind in ("experts", "dense"))
    assert {op.ranks for op in experts} == {(0, 4), (1, 5), (2, 6), (3, 7)}
    assert sum(op.size for op in experts) == 4 * model.shape.layers * model.experts
    assert sum(op.size for op in dense) == 4 * (model.counted - model.shape.layers * model.experts)


def test_sizes_and_times_follow_the_scale() -> None:
    scaled = expand(FabricSpec.model_validate(
        {"leaves": 2, "hosts_per_leaf": 4, "host_rate": "400gbit", "scale": {"rate": "1/40000", "size": "1/100000"}}))
    workload = training_job(spec(model="llama3-8b", gpu="h100", sequence=4096, data=8), scaled, "job", 1)
    assert sum(op.size for op in collectives(workload, "ar/")) == round(8_030_261_248 * 4 / 100_000)
    compute = sum(op.seconds for op in workload.ops if isinstance(op, Compute) and op.rank == 0)
    assert compute == pytest.approx(0.3551 * 0.4, rel=1e-3)             # time scales by size / rate


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "m"), [(2, 1), (2, 4), (4, 1), (4, 4), (4, 8), (8, 3)])
def test_the_pipeline_bubble_is_that_of_1f1b(fabric: Fabric, p: int, m: int) -> None:
    workload = training_job(spec(pipeline=p, micro_batches=m), fabric, "job", 1)
    busy = sum(op.seconds for op in workload.ops if isinstance(op, Compute) and op.rank == 0)
    assert 1 - busy / step(workload) == pytest.approx((p - 1) / (m + p - 1), rel=1e-3)


def test_overlap_hides_gradients_behind_backward_and_none_does_not(fabric: Fabric) -> None:
    hidden, bare = (training_job(spec(data=2, bucket="200kB", overlap=o), fabric, "job", 1) for o in (True, False))
    compute = step(hidden)
    assert step(bare) == pytest.approx(compute)
    buckets = len(collectives(bare, "ar/"))
    moving = compute / 1000
    assert step(bare, moving) == pytest.approx(compute + buckets * 2 * moving, rel=1e-6)
    assert step(hidden, moving) < compute + 5 * moving      # only the last block's buckets are left


def test_buckets_of_a_group_go_one_after_the_other(fabric: Fabric) -> None:
    over = finish(lower(training_job(spec(data=2, bucket="100kB"), fabric, "job", 1)).ops, moving=1.0)
    ends = sorted(t for name, t in over.items() if name.startswith("ar/") and name.endswith("/end/0"))
    assert len(ends) > 5
    assert all(b - a > 1.999 for a, b in pairwise(ends))


def test_fsdp_gathers_ahead_of_the_work_but_at_most_two_units(fabric: Fabric) -> None:
    ops = training_job(spec(data=2, zero=3), fabric, "job", 1).ops
    gathers = [op for op in ops if isinstance(op, Collective) and op.id.startswith("ag/")]
    assert len(gathers) == 16       # 8 units, forward and backward
    assert gathers[1].after == (gathers[0].id,)
    assert gathers[2].after == (gathers[1].id, "f0/s0/b0/layers/r0", "f0/s0/b0/layers/r1")
    work = {op.id: op for op in ops if isinstance(op, Compute)}
    assert gathers[3].id in work["f0/s0/b3/layers/r1"].after


def test_a_straggler_holds_up_everyone_by_its_factor(fabric: Fabric) -> None:
    even, slow = (training_job(spec(tensor=4, stragglers=s), fabric, "job", 1) for s in ((), ((2, 1.5),)))
    assert step(slow) == pytest.approx(1.5 * step(even))


def test_jitter_is_drawn_anew_in_each_iteration_and_again_from_the_same_seed(fabric: Fabric) -> None:
    first, again, other = (training_job(spec(data=8, jitter=0.1), fabric, "job", seed) for seed in (1, 1, 2))
    planned = {op.id: op.seconds for op in first.ops if isinstance(op, Compute)}
    drawn = [lengths(first, i) for i in (-1, 0, 1)]
    assert drawn == [lengths(again, i) for i in (-1, 0, 1)]
    assert drawn[1] != lengths(other, 1)
    some = next(name for name, seconds in planned.items() if seconds)
    assert len({draws[some] for draws in drawn}) == 3
    assert {op.seconds for op in as_in(first, 1).ops if isinstance(op, Compute) and op.id == some} == {drawn[2][some]}
    assert lengths(training_job(spec(data=8), fabric, "job", 1), 0) == {}


def test_jitter_has_mean_one_and_the_variation_that_was_asked_for(fabric: Fabric) -> None:
    made = training_job(spec(data=8, jitter=0.1, stragglers=((3, 2.0),)), fabric, "job", 1)
    planned = {op.id: op.seconds for op in made.ops if isinstance(op, Compute)}
    draws = [seconds / planned[name] for i in range(60) for name, seconds in lengths(made, i).items()]
    assert len(draws) > 4000
    mean = sum(draws) / len(draws)
    assert mean == pytest.approx(1.0, abs=0.01)
    assert (sum((d - mean) ** 2 for d in draws) / len(draws)) ** 0.5 == pytest.approx(0.1, rel=0.1)


def test_iterations_with_jitter_are_predicted_each_with_its_own_computes(fabric: Fabric) -> None:
    made = training_job(spec(data=8, jitter=0.3, iterations=9), fabric, "job", 1)
    even = training_job(spec(data=8, iterations=9), fabric, "job", 1)
    found = predict(made, fabric)["step_time"]
    assert found.spread is not None
    assert found.spread[0] < found.value < found.spread[1]
    assert found.value > predict(even, fabric)["step_time"].value     # everybody waits for the longest draw


def test_the_engines_iterations_differ_with_jitter_and_follow_the_draws(fabric: Fabric) -> None:
    """The fluid model has the dependencies of the engine: without bytes its steps are the longest chains of draws."""
    ops = (Compute("a", 0, 1.0), Compute("b", 0, 1.0, after=("a",)))
    made = Workload("job", ("h1",), ops, iterations=3, jitter=0.2, seed=7)
    steps = fluid_steps([lower(made)], {"job": {}}, fabric)["job"]
    assert [s.end - s.start for s in steps] == pytest.approx([sum(lengths(made, i).values()) for i in range(3)])


# --- as a workload --------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [
    {"model": "llama3-70b", "tensor": 4, "pipeline": 2, "micro_batches": 8},
    {"model": "mixtral-8x7b", "data": 4, "expert": 2, "tensor": 2, "zero": 3, "micro_batches": 2},
])
def test_large_jobs_are_fused_until_the_engine_can_run_them(fabric: Fabric, more: dict[str, Any]) -> None:
    workload = training_job(spec(gpu="h100", **more), fabric, "job", 1)
    program = lower(workload)
    assert len(program.ops) == sum(map(primitives, workload.ops)) <= MAX_OPS
    assert "layers taken as one" in workload.notes["fused"]


def test_a_job_is_predicted_with_its_compute_and_exchanges(fabric: Fabric) -> None:
    made = spec(tensor=2, pipeline=2, data=2, micro_batches=2)
    workload = workload_of(made, fabric, "job", 1)
    alone = step(workload)
    assert predict(workload, fabric)["step_time"].value > alone


def test_a_predicted_step_is_never_shorter_than_its_busiest_port(fabric: Fabric) -> None:
    """FSDP gathers and scatters beside each other: each alone at full rate would promise too much."""
    workload = workload_of(spec(data=8, zero=3, gpu="h100"), fabric, "job", 1)
    rate = fabric.access_link("h1").rate
    assert predict(workload, fabric)["step_time"].value > 8 * sent(workload)[0] / rate


def test_mixed_layouts_have_no_cycles_and_leave_nobody_out(fabric: Fabric) -> None:
    made = spec(model=SPARSE, data=2, tensor=2, pipeline=2, expert=2, zero=1, micro_batches=3)
    workload = training_job(made, fabric, "job", 1)
    assert set(sent(workload)) == set(range(8))
    assert set(finish(lower(workload).ops)) == {op.id for op in lower(workload).ops}


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "message"), [
    ({"pipeline": 3, "data": 2}, "workloads.job.pipeline: expected a divisor of layers, 8; found 3"),
    ({"tensor": 3}, "workloads.job.tensor: expected a divisor of heads, 8; found 3"),
    ({"data": 4, "expert": 2}, "workloads.job.expert: expected a divisor of experts, 1; found 2"),
    ({"model": SPARSE, "data": 6, "expert": 4}, "workloads.job.expert: expected a divisor of data, 6; found 4"),
    ({}, "two or more ranks (data x tensor x pipeline); found 1"),
    ({"data": 2, "stragglers": [(2, 3.0)]}, "workloads.job.stragglers: expected ranks from 0 to 1; found 2"),
])
def test_layouts_that_do_not_fit_are_refused(fabric: Fabric, more: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        training_job(spec(**more), fabric, "job", 1)
    assert message in str(caught.value)


def test_too_many_ranks_too_many_operations_and_too_few_bytes_say_what_to_do(fabric: Fabric) -> None:
    with pytest.raises(SpecError, match="fold: true"):
        training_job(spec(data=16), fabric, "job", 1)
    assert len(training_job(spec(data=16, fold=True), fabric, "job", 1).hosts) == 16
    with pytest.raises(SpecError, match=r"at most 20000 computes .*\n.*lower micro_batches"):
        training_job(spec(tensor=8, micro_batches=200), fabric, "job", 1)
    small = expand(FabricSpec.model_validate({"scale": {"size": 1e-9}}))
    with pytest.raises(SpecError, match="at least one byte to send in"):
        training_job(spec(data=2), small, "job", 1)
