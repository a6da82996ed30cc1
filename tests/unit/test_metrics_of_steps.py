"""Metrics of steps: overlap, waiting, utilisation, lost GPU hours."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_metrics import S, collective_record, job, rows, step_record, timeline, timeline_job
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec, ScaleSpec
from traffic.metrics import steps
from traffic.metrics.registry import as_json, compute
from traffic.models.predict import compute_only_seconds
from traffic.runtime.records import (
    CollectiveRecord,
    ComputeRecord,
    Record,
    StepRecord,
    TransferRecord,
)
from traffic.workloads.workload import Collective, Compute, Transfer, Workload


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


# --- steps ----------------------------------------------------------------------------------------


def test_step_metrics_of_a_timeline_without_overlap(fabric: Fabric) -> None:
    found = compute(timeline(), fabric, [timeline_job()])
    assert found["ring.step_time"].value == 10
    assert found["ring.jct"].value == 20
    assert found["ring.roofline"].value == pytest.approx(2 * (4 + 8 * S * 1.5 / 10e6))
    assert found["ring.jct_ratio"].value == pytest.approx(20 / found["ring.roofline"].value)
    assert found["ring.step_cv"].value == 0
    assert found["ring.overlap"].value == pytest.approx(0)
    assert found["ring.straggler_share"].value == pytest.approx((2 + 2 + 2 + 0) / 4 / 10)


def talk(start: float, end: float, ranks: Sequence[int] = (0,)) -> CollectiveRecord:
    return collective_record([start] * len(ranks), [end] * len(ranks))


def work(start: float, end: float, rank: int = 0) -> ComputeRecord:
    return ComputeRecord(workload="ring", phase="main", iteration=0, op="w", rank=rank, host="h1", seconds=end - start,
                         start=start, end=end)


def test_overlap_is_one_where_communication_is_hidden_behind_compute() -> None:
    assert steps.overlap([work(0, 6)], [talk(1, 5)]) == 1.0
    assert steps.overlap([work(3, 6)], [talk(1, 5)]) == 0.5
    assert steps.overlap([work(5, 6)], [talk(1, 5)]) == 0.0
    assert steps.overlap([], [talk(1, 5)]) is None
    assert steps.overlap([work(0, 6)], []) is None


def test_collectives_side_by_side_are_not_hidden_behind_each_other() -> None:
    """Compute until 2, then two exchanges from 2 to 6 at once: nothing is hidden, however many there are."""
    assert steps.overlap([work(0, 2)], [talk(2, 6), talk(2, 6)]) == 0.0
    assert steps.overlap([work(0, 2)], [talk(1, 4), talk(3, 6), talk(2, 3)]) == pytest.approx(1 / 5)


def test_who_waits_in_two_collectives_at_once_waits_once(fabric: Fabric) -> None:
    """Rank 3 joins both at second 4, the others at 2: they wait 2 s of 10, not 4."""
    late = [collective_record([2.0, 2.0, 2.0, 4.0], [8.0] * 4, op=op) for op in ("a", "b")]
    found = compute(rows(*late, step_record(0, 10)), fabric, [job()])
    assert found["ring.straggler_share"].value == pytest.approx(3 * 2 / 4 / 10)
    assert found["ring.straggler_lateness"].value == pytest.approx(2 / 10)


def test_overlap_is_that_of_each_rank_with_its_own_computes() -> None:
    assert steps.overlap([work(0, 4, rank=1)], [talk(0, 4, ranks=(0, 1))]) == 0.5


def test_computes_side_by_side_hide_no_more_than_the_time_they_take() -> None:
    assert steps.overlap([work(0, 4), work(1, 3)], [talk(2, 6)]) == 0.5


def test_a_transfer_of_no_collective_is_communication_and_a_bubble_is_not(fabric: Fabric) -> None:
    sent = TransferRecord(workload="ring", phase="main", iteration=0, op="on", src="h1", dst="h2", src_rank=0,
                          dst_rank=1, bytes=8, ready=2.0, start=2.0, end=4.0)
    assert steps.overlap([work(0, 3), work(7, 9, rank=1)], [], [sent]) == pytest.approx(1 / 4)
    moved = rows(sent)
    computed = rows(
        ComputeRecord(workload="ring", phase="main", iteration=0, op="w", rank=0, host="h1", seconds=3.0, start=0.0,
                      end=3.0),
        StepRecord(workload="ring", phase="main", iteration=0, start=0.0, end=9.0, ranks=((0.0, 4.0), (2.0, 9.0))))
    two = job(Compute("w", 0, 3.0), Transfer("on", 0, 1, 8))
    assert compute([*moved, *computed], fabric, [two])["ring.overlap"].value == pytest.approx(1 / 4)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=6),
       st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=6))
def test_overlap_lies_between_nothing_and_all(
        busy: list[tuple[float, float]], talks: list[tuple[float, float]]) -> None:
    found = steps.overlap([work(*sorted(times)) for times in busy], [talk(*sorted(times)) for times in talks])
    assert found is None or 0 <= found <= 1


def test_utilisation_and_lost_gpu_hours(fabric: Fabric) -> None:
    found = compute(timeline(), fabric, [timeline_job()])
    assert found["ring.gpu_utilisation"].value == pytest.approx(0.25)
    assert found["ring.gpu_utilisation"].spread == pytest.approx((0.2, 0.4))
    assert found["ring.lost_gpu_hours"].value == pytest.approx((3 * 0.8 + 0.6) * 20 / 3600)


def test_the_network_is_blamed_for_no_more_than_what_a_network_without_time_would_save(fabric: Fabric) -> None:
    found = compute(timeline(), fabric, [timeline_job()])
    assert found["ring.ideal_step"].value == 4
    assert found["ring.network_gpu_hours"].value == pytest.approx(4 * (20 - 2 * 4) / 3600)
    assert found["ring.network_gpu_hours"].value < found["ring.lost_gpu_hours"].value


def test_what_a_slow_gpu_computes_longer_is_not_billed_to_the_network(fabric: Fabric) -> None:
    """As planned 2 s on each rank; rank 3 takes 4 s, everybody waits for it, and then exchanges until second 8."""
    planned = job(*(Compute(f"w{r}", r, 2.0) for r in range(4)),
                  Collective("c", "all-reduce", (0, 1, 2, 3), S, after=tuple(f"w{r}" for r in range(4))))
    found = compute(timeline(), fabric, [planned])
    assert found["ring.ideal_step"].value == 4
    assert found["ring.network_gpu_hours"].value == pytest.approx(4 * (20 - 2 * 4) / 3600)


def test_of_a_step_without_network_time_nothing_is_billed_to_it_though_computes_vary(fabric: Fabric) -> None:
    """Two steps, rank 0 slow in the first and rank 1 in the second: each lasts as long as its own slowest."""
    found: list[Record] = []
    for i, times in enumerate([(3.0, 1.0), (1.0, 3.0)]):
        t = 3.0 * i
        found += [ComputeRecord(
            workload="ring", phase="main", iteration=i, op=f"w{r}", rank=r, host=f"h{r + 1}", seconds=2.0, start=t,
            end=t + s) for r, s in enumerate(times)]
        found.append(StepRecord(
            workload="ring", phase="main", iteration=i, start=t, end=t + 3, ranks=((t, t + 3),) * 2))
    two = Workload(name="ring", hosts=("h1", "h2"), ops=(
        Compute("w0", 0, 2.0), Compute("w1", 1, 2.0),
        Collective("c", "all-reduce", (0, 1), S, after=("w0", "w1"))), iterations=2)
    metrics_ = compute(rows(*found), fabric, [two])
    assert metrics_["ring.network_gpu_hours"].value == pytest.approx(0, abs=1e-12)
    assert metrics_["ring.ideal_step"].value == 3


def test_a_pipelines_bubbles_are_not_the_networks() -> None:
    stages = job(Compute("first", 0, 2.0), Transfer("on", 0, 1, 8_000_000, after=("first",)),
                 Compute("second", 1, 3.0, after=("on",)))
    assert compute_only_seconds(stages) == 5


def test_a_job_without_compute_has_no_utilisation(fabric: Fabric) -> None:
    found = compute(rows(step_record(0, 4), collective_record([0] * 4, [4] * 4)), fabric, [job()])
    assert "ring.gpu_utilisation" not in found
    assert "ring.overlap" not in found


def test_a_scaled_fabric_tells_real_values_beside_emulated_ones() -> None:
    scaled = expand(FabricSpec(host_rate="100gbit", scale=ScaleSpec(rate=1e-4, size=1e-3)))
    found = compute(timeline(), scaled, [timeline_job()])
    assert found["ring.jct"].real == pytest.approx(20 / 10)
    assert found["ring.busbw"].real == pytest.approx(1e4 * found["ring.busbw"].value)
    assert found["ring.jct_ratio"].real is None
    assert found["ring.lost_gpu_hours"].value == pytest.approx((3 * 0.8 + 0.6) * 2 / 3600)
    assert as_json(found)["ring.jct"]["real"] == found["ring.jct"].real
