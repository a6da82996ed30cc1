"""Traces replayed over real sockets: what arrives is what the trace says, and metrics come of the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.recorded import recorded
from traffic.metrics.below import classes_below_scale
from traffic.metrics.registry import compute
from traffic.models.predict import predict
from traffic.traces.requests import requests_workload
from traffic.traces.training import training_workload
from traffic.workloads.specs import RequestsSpec, TrainingTraceSpec
from traffic.workloads.workload import Collective, Transfer

pytestmark = pytest.mark.lab
DATA = Path(__file__).parents[2] / "scenarios" / "library" / "data"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("replay"), hosts=8, rate="20mbit") as running:
        yield running


def test_every_split_of_a_training_step_arrives_to_the_byte(lab: EngineLab) -> None:
    spec = TrainingTraceSpec.model_validate({
        "kind": "training-trace", "trace": str(DATA / "dlrm-small"), "bytes_factor": 0.25,
        "placement": list(lab.hosts)})
    workload = training_workload(spec, lab.fabric, "step", seed=1)
    run = lab.run(workload)
    arrived: dict[tuple[str, int, int], int] = defaultdict(int)
    for t in run.of("transfer"):
        arrived[t["op"].split("/")[0], t["src_rank"], t["dst_rank"]] += t["bytes"]
    for op in workload.ops:
        if isinstance(op, Collective) and op.splits is not None:
            for i, row in enumerate(op.splits):
                assert [arrived[op.id, i, j] for j in range(8) if j != i] == [b for j, b in enumerate(row) if j != i]
        elif isinstance(op, Collective):
            total = sum(n for (name, _, _), n in arrived.items() if name == op.id)
            assert total == (14 if op.kind == "all-reduce" else 7) * op.size
    metrics = compute(recorded(run.records), lab.fabric, [workload])
    small = {f"step.{name}.busbw" for name in classes_below_scale(workload, lab.fabric)}
    assert metrics.keys() >= {f"step.{tag}" for tag in predict(workload, lab.fabric)} - small
    assert not metrics.keys() & small
    assert metrics["step.step_time"].value >= metrics["step.roofline"].value / 4    # 20 instead of 10 Mbit/s


def test_requests_of_a_window_are_all_answered_with_their_bytes(lab: EngineLab) -> None:
    spec = RequestsSpec.model_validate({
        "kind": "requests", "trace": str(DATA / "requests-small.csv"), "window": ["17s", "21s"], "speedup": 2,
        "clients": ["h1", "h2"], "servers": ["h5", "h6", "h7"]})
    workload = requests_workload(spec, lab.fabric, "chat", seed=1)
    run = lab.run(workload)
    sizes = {op.id: op.size for op in workload.ops if isinstance(op, Transfer)}
    requests = run.of("request")
    assert {r["status"] for r in requests} == {"ok"}
    assert {(f"req/{r['id']}", r["request_bytes"]) for r in requests} | {
        (f"resp/{r['id']}", r["response_bytes"]) for r in requests} == set(sizes.items())
    metrics = compute(recorded(run.records), lab.fabric, [workload])
    assert metrics["chat.completed"].value == len(requests) == len(sizes) / 2
    assert metrics["chat.e2el"].value > 0
