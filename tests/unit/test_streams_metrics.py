"""Metrics of packets against brute force and the examples of their RFCs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.records_of import records_of
from traffic.metrics import packets as m
from traffic.runtime.reading import Records
from traffic.transports.udp.records import PacketsRecord, StreamRecord

ARRIVALS = st.integers(0, 60).flatmap(lambda n: st.permutations(range(n)).flatmap(
    lambda order: st.integers(0, n).map(lambda lost: list(order)[: n - lost])))
DELAYS = st.lists(st.floats(1e-6, 1.0), max_size=80)


def brute_reordering(arrivals: list[int]) -> tuple[int, int]:
    """RFC 4737 by its words: reordered if below NextExp; extent to the earliest higher arrival."""
    expected, late, extent = 0, 0, 0
    for i, number in enumerate(arrivals):
        if number >= expected:
            expected = number + 1
            continue
        late += 1
        extent = max(extent, i - min(j for j in range(i) if arrivals[j] > number))
    return late, extent


def brute_runs(arrived: list[bool]) -> list[tuple[int, int]]:
    """(first, length) of each run of losses."""
    runs: list[tuple[int, int]] = []
    for i, there in enumerate(arrived):
        if there:
            continue
        if runs and sum(runs[-1]) == i:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((i, 1))
    return runs


@given(ARRIVALS)
def test_reordering_is_what_rfc_4737_says(arrivals: list[int]) -> None:
    found = m.reordering(arrivals)
    assert (found.reordered, found.extent_max) == brute_reordering(arrivals)


def test_one_late_packet_has_the_extent_of_those_it_came_behind() -> None:
    """As in the first example of RFC 4737 section 9: 4 arrives behind 5, 6, 7 and 8: extent 4."""
    assert m.reordering([1, 2, 3, 5, 6, 7, 8, 4, 9, 10]) == m.Reordering(1, 4)


@given(st.lists(st.booleans(), max_size=80))
def test_loss_runs_and_the_longest_outage_match_brute_force(arrived: list[bool]) -> None:
    sent = [0.5 + i * 0.001 for i in range(len(arrived))]
    runs = brute_runs(arrived)
    assert m.loss_runs(arrived) == len(runs)
    outage = m.longest_outage(arrived, sent)
    if not runs:
        assert outage == m.Outage(0, 0.0)
        return
    first, length = max(runs, key=lambda run: run[1])
    assert outage.packets == length
    after = min(first + length, len(sent) - 1)
    assert outage.seconds == pytest.approx(sent[after] - sent[first])


@given(DELAYS)
def test_jitter_is_rfc_3550s_recursion(delays: list[float]) -> None:
    estimate = 0.0
    for i in range(1, len(delays)):
        estimate = estimate + (abs(delays[i] - delays[i - 1]) - estimate) / 16
    assert m.jitter(delays) == pytest.approx(estimate)


@given(DELAYS)
def test_delay_variation_counts_from_the_smallest_delay(delays: list[float]) -> None:
    assert m.delay_variation(delays).tolist() == [d - min(delays) for d in delays]


@given(st.integers(1, 10**7), st.integers(0, 10**7))
def test_loss_is_in_parts_per_million(sent: int, received: int) -> None:
    received = min(sent, received)
    assert m.loss_ppm(sent, received) * sent == pytest.approx(1e6 * (sent - received))


Row = dict[str, Any]


def stream(**keys: Any) -> Row:
    return {"stream": "s", "sent": 100, "received": 100, "reordered": 0, "reorder_extent_max": 0,
            "outage": {"packets": 0, "seconds": 0.0}, "latency_invalid": "", **keys}


def packets(n: int, name: str = "s", step: int = 1, base: float = 1e-3) -> list[Row]:
    delays = [base + 1e-6 * (i % 100) for i in range(n)]
    return [{"stream": name, "first_seq": 0, "step": step, "t": [i * 1e-3 for i in range(n)], "delay": delays}]


def metrics_of(streams: list[Row], batches: list[Row]) -> list[m.Metric]:
    left = Records(records_of(*({"kind": "stream", **row} for row in streams),
                              *({"kind": "packets", "step": 1, **row} for row in batches)))
    return m.metrics(left[StreamRecord], left[PacketsRecord])


def tags(found: list[m.Metric]) -> dict[str, float]:
    return {metric.tag: metric.value for metric in found}


@pytest.mark.parametrize(("n", "reported"), [
    (99, set()), (100, {"latency_p90"}), (999, {"latency_p90"}),
    (1000, {"latency_p90", "latency_p99", "pdv_p99"}),
    (10_000, {"latency_p90", "latency_p99", "latency_p999", "pdv_p99"})])
def test_percentiles_are_reported_only_where_samples_carry_them(n: int, reported: set[str]) -> None:
    found = metrics_of([stream(sent=n, received=n)], packets(n))
    assert {t for t in tags(found) if "_p9" in t} == reported
    median = next(x for x in found if x.tag == "latency")
    assert median.samples == n
    assert median.spread == pytest.approx((1e-3, 1e-3 + 1e-6 * min(n - 1, 99)))


def test_streams_of_a_workload_are_reported_together() -> None:
    streams = [stream(stream="a", sent=1000, received=900, reordered=9, reorder_extent_max=3,
                      outage={"packets": 60, "seconds": 0.06}),
               stream(stream="b", sent=1000, received=1000, reordered=10, reorder_extent_max=2,
                      outage={"packets": 0, "seconds": 0.0})]
    found = tags(metrics_of(streams, packets(900, "a") + packets(1000, "b", base=0.5)))
    assert found["loss"] == 50_000
    assert (found["outage_packets"], found["outage"]) == (60, 0.06)
    assert (found["reordered"], found["reorder_extent"]) == (19 / 1900, 3)
    assert found["pdv_p99"] < 1e-3         # each stream from its own smallest delay
    assert found["latency_max"] > 0.5


def test_a_clock_that_stepped_leaves_no_latency_but_all_else() -> None:
    found = tags(metrics_of([stream(latency_invalid="it stepped")], packets(2000)))
    assert "loss" in found
    assert not {t for t in found if t.startswith(("latency", "pdv", "jitter"))}


def test_lost_packets_have_no_latency_and_thinned_streams_no_jitter() -> None:
    rows = packets(2000, step=3)
    rows[0]["delay"][5] = None
    found = metrics_of([stream()], rows)
    assert next(x for x in found if x.tag == "latency").samples == 1999
    assert "jitter" not in tags(found)


def test_jitter_follows_the_order_of_arrival_not_of_sending() -> None:
    """Packet 1 was overtaken by packet 2: sent 0, 1, 2 ms, delays 1, 5, 1 ms; they arrive as 0, 2, 1."""
    rows = [{"stream": "s", "step": 1, "t": [0.0, 0.001, 0.002], "delay": [0.001, 0.005, 0.001]}]
    left = Records(records_of(*({"kind": "packets", **row} for row in rows)))
    assert m.samples(left[PacketsRecord])["s"].by_arrival.tolist() == [0.001, 0.001, 0.005]
    assert tags(metrics_of([stream()], rows))["jitter"] == pytest.approx(0.004 / 16)


def test_nothing_sent_makes_no_metrics_and_nothing_received_all_lost() -> None:
    assert metrics_of([stream(sent=0, received=0)], []) == []
    nothing = [{"stream": "s", "step": 1, "t": [0.0], "delay": [None]}]
    found = tags(metrics_of([stream(received=0, outage={"packets": 100, "seconds": 0.1})], nothing))
    assert found == {"loss": 1e6, "outage_packets": 100, "outage": 0.1}


def test_every_metric_has_a_formula_a_unit_and_a_source() -> None:
    for metric in metrics_of([stream(sent=10_000, received=10_000)], packets(10_000)):
        assert metric.formula
        assert metric.source
        assert np.isfinite(metric.value)
