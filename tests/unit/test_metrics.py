"""Metrics against numbers worked out by hand, and against brute force."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.records_of import record_of, records_of
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.scale import Scale
from topologies.model.spec import FabricSpec
from traffic.metrics import collective, fairness, steps
from traffic.metrics.below import classes_below_scale
from traffic.metrics.metric import Definition, Metric, percentile, variation, with_real
from traffic.metrics.registry import as_json, compute
from traffic.models.predict import step_seconds
from traffic.runtime.records import (
    CollectiveRecord,
    ComputeRecord,
    IperfRecord,
    Record,
    RequestRecord,
    StepRecord,
    encode,
)
from traffic.transports.tcp import TCP
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

S = 4_000_000


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


def job(*more: Collective | Compute, name: str = "ring", ranks: int = 4, size: int = S) -> Workload:
    op = Collective("all-reduce", "all-reduce", tuple(range(ranks)), size,
                    after=tuple(m.id for m in more if isinstance(m, Compute)))
    return Workload(name=name, hosts=tuple(f"h{i + 1}" for i in range(ranks)), ops=(*more, op), iterations=2)


def rows(*records: Record) -> list[Record]:
    """As they come back from records.jsonl."""
    return records_of(*(json.loads(encode(r)) for r in records))


def collective_record(start: Sequence[float], end: Sequence[float], iteration: int = 0, op: str = "all-reduce",
                      phase: str = "main", size: int = S) -> CollectiveRecord:
    return CollectiveRecord(
        workload="ring", phase=phase, iteration=iteration, op=op, collective="all-reduce", algorithm="ring",
        ranks=tuple(range(len(start))), bytes=size, start=min(start), end=max(end), rank_start=tuple(start),
        rank_end=tuple(end))


def step_record(start: float, end: float, iteration: int = 0, phase: str = "main", ranks: int = 4) -> StepRecord:
    return StepRecord(
        workload="ring", phase=phase, iteration=iteration, start=start, end=end, ranks=((start, end),) * ranks)


def timeline() -> list[Record]:
    """Two steps of 10 s; each rank computes 2 s (rank 3: 4 s), then all exchange until second 8."""
    found: list[Record] = []
    for i in range(2):
        t, work = 10.0 * i, [2.0, 2.0, 2.0, 4.0]
        found += [ComputeRecord(
            workload="ring", phase="main", iteration=i, op=f"w{r}", rank=r, host=f"h{r + 1}", seconds=s, start=t,
            end=t + s) for r, s in enumerate(work)]
        found.append(collective_record([t + s for s in work], [t + 8] * 4, iteration=i))
        found.append(StepRecord(
            workload="ring", phase="main", iteration=i, start=t, end=t + 10, ranks=((t, t + 8),) * 4))
    return rows(*found)


def timeline_job() -> Workload:
    return job(*(Compute(f"w{r}", r, s) for r, s in enumerate([2.0, 2.0, 2.0, 4.0])))


# --- collectives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "factor"), [
    ("all-reduce", 1.75), ("all-gather", 0.875), ("reduce-scatter", 0.875), ("all-to-all", 0.875)])
def test_busbw_factor_of_eight_ranks(kind: collective.CollectiveName, factor: float) -> None:
    assert collective.factor(kind, 8) == factor


@given(n=st.integers(2, 12), parts=st.integers(1, 10_000),
       kind=st.sampled_from(["all-reduce", "all-gather", "reduce-scatter", "all-to-all"]))
def test_the_factor_is_what_crosses_a_port_for_each_byte_of_s(
        n: int, parts: int, kind: collective.CollectiveName) -> None:
    op = Collective("c", kind, tuple(range(n)), parts * n, "direct" if kind == "all-to-all" else "ring")
    assert collective.busiest_port(op) == pytest.approx(op.size * collective.factor(kind, n))


def test_limits_are_those_of_1448_byte_segments_in_1514_byte_frames() -> None:
    assert TCP.overhead.bulk_limit(20e6) == pytest.approx(19.128e6, rel=1e-4)
    assert TCP.overhead.ring_limit(20e6) == pytest.approx(18.720e6, rel=1e-4)
    assert TCP.overhead.ring_limit(20e6, per_ack=1e9) == pytest.approx(TCP.overhead.bulk_limit(20e6))


def test_bandwidths_are_over_the_mean_time_and_leave_the_warm_up_out(fabric: Fabric) -> None:
    records = rows(collective_record([0] * 4, [100] * 4, iteration=-1), collective_record([0] * 4, [5, 5, 5, 6]),
                   collective_record([10, 11, 10, 10], [14] * 4, iteration=1))
    found = compute(records, fabric, [job()])
    assert found["ring.time"].value == 5.0
    assert found["ring.time"].spread == (4.0, 6.0)
    assert found["ring.algbw"].value == pytest.approx(8 * S / 5)
    busbw = found["ring.busbw"]
    assert (busbw.value, busbw.samples, busbw.unit) == (pytest.approx(8 * S / 5 * 1.5), 2, "bit/s")
    assert busbw.spread == pytest.approx((8 * S / 6 * 1.5, 8 * S / 4 * 1.5))
    assert found["ring.busbw_of_limit"].value == pytest.approx(busbw.value / TCP.overhead.ring_limit(10e6))


def test_busbw_of_an_uneven_all_to_all_is_that_of_its_busiest_port(fabric: Fabric) -> None:
    splits = ((0, 100_000, 20_000), (30_000, 0, 20_000), (30_000, 500_000, 7_000_000))
    op = Collective("v", "all-to-all", (0, 1, 2), 7_530_000, "direct", splits)
    w = Workload(name="ring", hosts=("h1", "h2", "h3"), ops=(op,))
    found = compute(rows(collective_record([0] * 3, [2] * 3, op="v", size=op.size)), fabric, [w])
    assert found["ring.busbw"].value == 8 * 600_000 / 2
    assert found["ring.algbw"].value == 8 * 7_530_000 / 2


def test_several_collectives_of_a_step_have_metrics_of_their_own(fabric: Fabric) -> None:
    w = job(Collective("second", "all-reduce", (0, 1, 2, 3), S // 2))
    found = compute(rows(collective_record([0] * 4, [4] * 4), collective_record([4] * 4, [5] * 4, op="second",
                                                                               size=S // 2)), fabric, [w])
    assert found["ring.all-reduce.time"].value == 4
    assert found["ring.second.algbw"].value == pytest.approx(8 * S / 2)
    assert "ring.busbw" not in found


def test_a_collective_below_scale_has_a_time_and_no_bandwidth(fabric: Fabric) -> None:
    found = compute(rows(collective_record([0] * 4, [1] * 4, size=40_000)), fabric, [job(size=40_000)])
    assert list(found) == ["ring.time"]
    assert "6.9 packets" in classes_below_scale(job(size=40_000), fabric)["all-reduce"]
    assert classes_below_scale(job(), fabric) == {}
    assert "idle RTTs" in classes_below_scale(job(), fabric, idle_rtt=1.0)["all-reduce"]


# --- ranks that share a host ----------------------------------------------------------------------


def shared() -> Workload:
    """Eight ranks on four hosts, dealt out in turn: each host's port carries what two ranks send."""
    hosts = tuple(f"h{r % 4 + 1}" for r in range(8))
    return Workload(name="ring", hosts=hosts, ops=(Collective("c", "all-reduce", tuple(range(8)), S),))


def test_folded_ranks_are_held_against_the_port_that_they_share(fabric: Fabric) -> None:
    """The limit of the port is half as much for each of two ranks: at that rate the share of the limit is 1."""
    folded, alone = shared(), Workload(name="ring", hosts=tuple(f"h{r + 1}" for r in range(8)), ops=shared().ops)
    rate = fabric.access_link("h1").rate
    seconds = 8 * 2 * S * 2 * 7 / 8 / TCP.overhead.ring_limit(rate)
    records = rows(
        CollectiveRecord(workload="ring", phase="main", iteration=0, op="c", collective="all-reduce", algorithm="ring",
                         ranks=tuple(range(8)), bytes=S, start=0.0, end=seconds, rank_start=(0.0,) * 8,
                         rank_end=(seconds,) * 8),
        StepRecord(workload="ring", phase="main", iteration=0, start=0.0, end=seconds, ranks=()))
    assert compute(records, fabric, [folded])["ring.busbw_of_limit"].value == pytest.approx(1)
    assert compute(records, fabric, [alone])["ring.busbw_of_limit"].value == pytest.approx(0.5)
    assert steps.roofline(folded, fabric) == pytest.approx(2 * steps.roofline(alone, fabric))


def test_what_ranks_of_one_host_exchange_meets_no_port(fabric: Fabric) -> None:
    op = Collective("all-reduce", "all-reduce", (0, 1, 2, 3), S)
    assert collective.busiest_host(op, ("h1", "h1", "h2", "h2")) == collective.busiest_port(op)     # one of two crosses
    inside = Workload(name="ring", hosts=("h1",) * 4, ops=(op,))
    assert steps.roofline(inside, fabric) == 0
    found = compute(rows(step_record(0, 4), collective_record([0] * 4, [4] * 4)), fabric, [inside])
    assert "ring.busbw" in found
    assert "ring.busbw_of_limit" not in found
    moved = Workload(name="ring", hosts=("h1", "h1"), ops=(Transfer("t", 0, 1, 10**9),))
    assert step_seconds(moved, fabric) == 0


# --- phases ---------------------------------------------------------------------------------------


def phase(name: str, jct: float) -> list[Record]:
    return rows(step_record(0, jct, phase=name), collective_record([0] * 4, [jct] * 4, phase=name))


def iperf(name: str) -> list[Record]:
    return rows(IperfRecord(
        workload="bulk", phase=name, src="h5", dst="h6", start=0, seconds=5, bytes=10**6, bits_per_second=1e6,
        retransmits=0, connections=1, congestion_control="cubic"))


def test_interference_is_the_shared_phase_against_the_one_alone(fabric: Fabric) -> None:
    found = compute([*phase("alone", 4), *phase("shared", 6), *iperf("shared")], fabric, [job()])
    assert found["ring.shared.interference"].value == 1.5
    assert "ring.alone.interference" not in found
    assert found["ring.jct"].value == found["ring.alone.jct"].value == 4
    assert found["ring.shared.jct"].value == 6


def test_two_phases_with_others_have_no_interference_factor(fabric: Fabric) -> None:
    found = compute([*phase("a", 4), *iperf("a"), *phase("b", 6), *iperf("b")], fabric, [job()])
    assert not [key for key in found if key.endswith("interference")]


def test_the_sentinel_does_not_count_as_company(fabric: Fabric) -> None:
    sentinel = record_of({"kind": "stream", "workload": "sentinel", "phase": "alone"})
    found = compute([*phase("alone", 4), sentinel, *phase("shared", 6), *iperf("shared")], fabric, [job()])
    assert "ring.shared.interference" in found
    assert not [key for key in found if key.startswith("sentinel")]


# --- requests -------------------------------------------------------------------------------------


def request(i: int, latency: float | None, status: str = "ok") -> RequestRecord:
    t = i * 0.1
    done = None if latency is None else t + latency
    return RequestRecord(
        workload="chat", phase="main", iteration=0, id=str(i), client="h5", server="h1", request_bytes=1000,
        response_bytes=4000, status=status, scheduled=t, sent=t + 0.002,
        first_byte=None if done is None else done - 0.01, done=done)


def chat(fabric: Fabric, records: Sequence[RequestRecord]) -> dict[str, Metric]:
    return compute(rows(*records), fabric, [Workload(name="chat", hosts=("h5", "h1"), ops=())])


def test_request_metrics_count_from_when_a_request_was_due(fabric: Fabric) -> None:
    found = chat(fabric, [request(0, 0.2), request(1, 0.4), request(2, 0.3)])
    assert found["chat.e2el"].value == pytest.approx(0.3)
    assert found["chat.e2el"].spread == pytest.approx((0.2, 0.4))
    assert found["chat.ttfb"].value == pytest.approx(0.29)
    assert found["chat.replay_lag"].value == pytest.approx(0.002)
    assert found["chat.throughput"].value == pytest.approx(3 / 0.5)
    assert found["chat.payload_rate"].value == pytest.approx(8 * 15_000 / 0.5)


def test_requests_without_an_answer_are_counted_and_have_no_latency(fabric: Fabric) -> None:
    found = chat(fabric, [request(0, 0.2), request(1, None, "timeout"), request(2, None, "failed"), request(3, 0.2)])
    assert [found[f"chat.{tag}"].value for tag in ("completed", "timed_out", "failed", "error_rate")] == [2, 1, 1, 0.5]
    assert found["chat.e2el"].samples == 2
    assert found["chat.replay_lag"].samples == 4


def test_nothing_answered_is_a_throughput_of_zero(fabric: Fabric) -> None:
    found = chat(fabric, [request(0, None, "timeout")])
    assert found["chat.throughput"].value == 0
    assert "chat.e2el" not in found


@pytest.mark.parametrize(("n", "reported"), [
    (99, []), (100, ["e2el_p90"]), (999, ["e2el_p90"]), (1000, ["e2el_p90", "e2el_p99"])])
def test_a_percentile_is_reported_only_with_enough_samples(fabric: Fabric, n: int, reported: list[str]) -> None:
    found = chat(fabric, [request(i, 0.1 + i * 1e-3) for i in range(n)])
    assert [key.removeprefix("chat.") for key in found if "e2el_p" in key] == reported
    assert found["chat.e2el"].spread == pytest.approx((0.1, 0.1 + (n - 1) * 1e-3))


def test_percentiles_and_variation_of_known_samples() -> None:
    assert percentile([float(i) for i in range(1001)], 99) == 990
    assert percentile([1.0] * 99, 90) is None
    assert variation([1.0, 3.0]) == pytest.approx(2**0.5 / 2)
    assert variation([5.0]) is None


# --- fairness -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=32))
def test_fairness_lies_between_one_link_and_all_links(values: list[int]) -> None:
    jfi, mmr = fairness.jain(values), fairness.max_to_mean(values)
    if not any(values):
        assert jfi is mmr is None
        return
    n = len(values)
    exact = sum(values) ** 2 / (n * sum(v * v for v in values))
    assert jfi == pytest.approx(exact)
    assert mmr == pytest.approx(max(values) / (sum(values) / n))
    assert 1 / n - 1e-9 <= exact <= 1 + 1e-9


def test_fairness_is_reported_per_leaf_and_for_all_links_both_ways(fabric: Fabric) -> None:
    """leaf1 sends 300 and 100, leaf2 gets them; what leaf2 sends back is ACKs and tells nothing about a choice."""
    sent = {"leaf1->spine1": 300, "leaf1->spine2": 100, "spine1->leaf2": 300, "spine2->leaf2": 100,
            "leaf2->spine1": 8, "leaf2->spine2": 8, "spine1->leaf1": 8, "spine2->leaf1": 8}
    found = compute([], fabric, [], link_bytes=sent)
    for where in ("fabric", "fabric.leaf1", "fabric.leaf2"):
        assert found[f"{where}.mmr"].value == 1.5
        assert found[f"{where}.jfi"].value == pytest.approx(0.8)
    assert found["fabric.jfi"].samples == 4
    assert found["fabric.leaf1.jfi"].samples == 2


def test_flows_that_meet_on_the_way_down_are_seen() -> None:
    """All that leaves send up is even; what leaf1 and leaf3 send to leaf2 meets on spine1's link down."""
    wide = expand(FabricSpec(leaves=3, spines=2))
    sent = {"leaf1->spine1": 100, "leaf1->spine2": 100, "leaf3->spine1": 100, "leaf3->spine2": 100,
            "spine1->leaf2": 200, "spine2->leaf1": 100, "spine2->leaf3": 100}
    found = compute([], wide, [], link_bytes=sent)
    assert found["fabric.leaf2.jfi"].value == pytest.approx(0.5)
    assert found["fabric.leaf2.mmr"].value == pytest.approx(2)
    assert found["fabric.jfi"].value == pytest.approx(800**2 / (10 * (6 * 100**2 + 200**2)))
    assert found["fabric.mmr"].value == pytest.approx(200 / 80)


def test_half_of_the_bytes_on_a_link_of_half_the_rate_is_even() -> None:
    uneven = expand(FabricSpec.model_validate({"links": {"leaf1-spine2": {"rate": "5mbit"}}, "uplink_rate": "10mbit"}))
    found = compute([], uneven, [], link_bytes={"leaf1->spine1": 200, "leaf1->spine2": 100})
    assert found["fabric.jfi"].value == pytest.approx(1)
    assert found["fabric.mmr"].value == pytest.approx(1)
    same = compute([], uneven, [], link_bytes={"leaf1->spine1": 150, "leaf1->spine2": 150})
    assert same["fabric.mmr"].value == pytest.approx(2 / 1.5)


def test_without_traffic_or_choice_there_is_no_fairness(fabric: Fabric) -> None:
    assert compute([], fabric, [], link_bytes={"leaf1->spine1": 0}) == {}
    assert fairness.metrics({"leaf1->spine1": 9}, expand(FabricSpec(spines=1))) == {}


# --- the form -------------------------------------------------------------------------------------


def test_every_metric_has_unit_formula_and_source_and_is_json(fabric: Fabric) -> None:
    found = compute([*timeline(), *rows(*(request(i, 0.1) for i in range(3)))], fabric,
                    [timeline_job(), Workload(name="chat", hosts=("h1", "h2"), ops=())], {"leaf1->spine1": 7})
    assert len(found) > 20
    for key, body in as_json(found).items():
        assert body["formula"]
        assert body["source"]
        assert body["title"]
        assert key.endswith(body["tag"])
        assert json.loads(json.dumps(body)) == body


def test_metrics_without_a_unit_that_scales_have_no_real_value() -> None:
    ratio, time = (Definition("x", unit, "x", "x", "x").of(2.0) for unit in ("", "s"))
    assert with_real(ratio, Scale(0.1, 0.1)).real is None
    assert with_real(time, Scale()).real is None
    assert with_real(time, Scale(rate=0.1, size=0.2)).real == pytest.approx(1.0)


def test_no_records_are_no_metrics(fabric: Fabric) -> None:
    assert compute([], fabric, [job()]) == {}


def test_a_bulk_transfer_is_reported_by_goodput_and_its_share_of_the_bulk_limit() -> None:
    row = {"kind": "iperf", "workload": "flood", "phase": "main", "src": "h1", "dst": "h5", "start": 0.0,
           "seconds": 5.0, "bytes": 5_977_500, "bits_per_second": 9.564e6, "retransmits": 3, "connections": 1,
           "congestion_control": "cubic"}
    found = compute(records_of(row, {**row, "src": "h2", "bits_per_second": 4.782e6}), expand(FabricSpec()), [])
    assert found["flood.goodput"].value == pytest.approx(7.173e6)
    assert found["flood.goodput_of_limit"].value == pytest.approx(0.75, abs=1e-3)
    assert found["flood.retransmits"].value == 6
