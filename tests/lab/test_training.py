"""Training workloads over real sockets: new collectives, jobs, traces and folded ranks move what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.engine_lab import EngineLab, EngineRun, engine_lab
from tests.recorded import recorded
from tests.workloads import workload_of
from traffic.metrics.registry import compute
from traffic.workloads.lowering import lower
from traffic.workloads.specs import CollectiveSpec, TrainingJobSpec, TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

pytestmark = pytest.mark.lab
MODEL = {"layers": 4, "hidden": 64, "ffn": 256, "heads": 8, "kv_heads": 4, "vocab": 128}
GPU = {"flops": 1e10, "utilisation": 0.5}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("training"), hosts=8, rate="") as running:
        yield running


def arrived(run: EngineRun) -> Counter[tuple[str, int, int, int]]:
    return Counter((t["op"], t["src_rank"], t["dst_rank"], t["bytes"]) for t in run.of("transfer") if t["bytes"])


def planned(workload: Workload) -> Counter[tuple[str, int, int, int]]:
    return Counter((op.id, op.src, op.dst, op.size) for op in lower(workload).ops
                   if isinstance(op, Transfer) and op.size)


@pytest.mark.parametrize(("more", "moved"), [
    ({"algorithm": "halving-doubling"}, 14), ({"op": "broadcast"}, 7), ({"op": "broadcast", "algorithm": "tree"}, 7),
])
def test_a_collective_arrives_to_the_byte(lab: EngineLab, more: dict[str, Any], moved: int) -> None:
    spec = CollectiveSpec.model_validate({"kind": "collective", "size": "80kB", "iterations": 1, "warmup": 0, **more})
    workload = workload_of(spec, lab.fabric, "step", 1)
    run = lab.run(workload)
    assert arrived(run) == planned(workload)
    assert sum(n * key[3] for key, n in arrived(run).items()) == moved * 80_000
    assert compute(recorded(run.records), lab.fabric, [workload])["step.busbw"].value > 0


def test_a_hierarchical_all_reduce_runs_with_groups_through_the_job_file(lab: EngineLab) -> None:
    groups = ((0, 1, 2, 3), (4, 5, 6, 7))
    workload = Workload("step", lab.hosts, (
        Collective("c", "all-reduce", tuple(range(8)), 80_000, "hierarchical", groups=groups),))
    run = lab.run(workload)
    assert arrived(run) == planned(workload)
    (record,) = run.of("collective")
    assert record["algorithm"] == "hierarchical"


@pytest.mark.parametrize("more", [
    {"data": 4, "tensor": 2, "bucket": "50kB"}, {"pipeline": 4, "data": 2, "micro_batches": 3}, {"data": 8, "zero": 3},
    {"data": 4, "expert": 2, "tensor": 2, "zero": 1, "model": {**MODEL, "experts": 4, "experts_per_token": 2}},
])
def test_a_training_job_runs_with_all_its_bytes_and_compute(lab: EngineLab, more: dict[str, Any]) -> None:
    spec = TrainingJobSpec.model_validate({"kind": "training-job", "model": MODEL, "gpu": GPU, "sequence": 32, **more})
    workload = workload_of(spec, lab.fabric, "job", 1)
    run = lab.run(workload)
    assert arrived(run) == planned(workload)
    metrics = compute(recorded(run.records), lab.fabric, [workload])
    busiest = max(sum(op.seconds for op in workload.ops if isinstance(op, Compute) and op.rank == r) for r in range(8))
    assert metrics["job.step_time"].value > busiest


def test_ranks_of_one_host_exchange_inside_of_it(lab: EngineLab) -> None:
    spec = CollectiveSpec.model_validate(
        {"kind": "collective", "size": "80kB", "ranks": 12, "fold": True, "iterations": 1, "warmup": 0})
    workload = workload_of(spec, lab.fabric, "step", 1)
    assert workload.hosts[0] == workload.hosts[8]
    assert arrived(lab.run(workload)) == planned(workload)


def test_an_aicb_iteration_is_replayed_to_the_byte(lab: EngineLab, tmp_path: Path) -> None:
    head = "comm_type,comm_group,comm_group_size,msg_size,stage,dst,src,additional,_elapsed_time,algbw,busbw,count"
    rows = [f"CommType.{op},CommGroup.{group},{n},{size},forward,None,0,,None,None,None,1" for op, group, n, size in (
        ("broadcast", "tp_group", 2, 40), ("all_gather", "tp_group", 2, 16_448), ("all_to_all", "ep_group", 2, 9000),
        ("reduce_scatter", "dp_group", 4, 70_001), ("all_reduce", "dp_group", 4, 4))]
    end = "CommType.epoch_end,None,None,0,,None,None,,30.0,None,None,1"
    (tmp_path / "t.csv").write_text("\n".join((head, *rows, end)) + "\n")
    spec = TrainingTraceSpec.model_validate(
        {"kind": "training-trace", "format": "aicb", "trace": str(tmp_path / "t.csv"), "placement": "packed"})
    workload = workload_of(spec, lab.fabric, "step", 1)
    assert arrived(lab.run(workload)) == planned(workload)
