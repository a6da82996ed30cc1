"""What each rank did, and how long transfers took: the figures' numbers, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scenarios.report.charts.curves import request_figure
from scenarios.report.charts.timeline import last_steps, slowdown_figure, slowdowns, timeline_figure
from scenarios.report.data import load
from scenarios.report.figures import bottlenecks, figures, phase_starts
from tests.unit import run_factory
from tests.unit.records_of import records_of
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from traffic.runtime.reading import Records
from traffic.runtime.records import RequestRecord, TransferRecord
from traffic.transports.tcp import TCP

Json = dict[str, Any]
FABRIC = expand(FabricSpec(host_rate="10mbit"))


def records(phase: str = "main", begin: float = 10.0, late: float = 1.0) -> dict[str, list[Json]]:
    """One step of 6 s on two ranks: rank 0 computes 1 s, rank 1 `late` s longer; both exchange until the end."""
    common = {"workload": "job", "phase": phase, "iteration": 0}
    return {
        "step": [{**common, "start": begin, "end": begin + 6, "ranks": [[begin, begin + 6]] * 2}],
        "compute": [{**common, "op": f"c/{r}", "rank": r, "host": f"h{r + 1}", "seconds": 1 + r * late,
                     "start": begin, "end": begin + 1 + r * late} for r in (0, 1)],
        "collective": [{**common, "op": "x", "ranks": [0, 1], "start": begin + 1, "end": begin + 6,
                        "rank_start": [begin + 1, begin + 1 + late], "rank_end": [begin + 5.5, begin + 6]}]}


def typed(of: dict[str, list[Json]]) -> Records:
    return Records(records_of(*({"kind": kind, **row} for kind, rows in of.items() for row in rows)))


def test_a_timeline_tells_compute_wait_and_exchange_of_each_rank() -> None:
    (step,) = last_steps(typed(records()))
    assert step.seconds == 6
    assert step.ranks[0].compute == [(0.0, 1.0)]
    assert step.ranks[0].wait == [(1.0, 1.0)]
    assert step.ranks[0].exchange == [(2.0, 3.5)]
    assert step.ranks[1].wait == [(2.0, 0.0)]
    drawn = timeline_figure(step, several_phases=False)
    assert drawn.rows == (("0", "1.0000", "1.0000", "3.5000"), ("1", "2.0000", "0.0000", "4.0000"))
    assert "Share of it spent computing: 17 % to 33 %." in drawn.caption
    assert "waiting for the slowest to join: 0 % to 17 %." in drawn.caption


def test_the_last_measured_step_of_each_phase_is_drawn_and_no_warm_up() -> None:
    one, other = records("a"), records("b", 30.0)
    later = records("a", 20.0, late=3.0)
    later["step"][0]["iteration"] = later["compute"][0]["iteration"] = 1
    for row in (*later["compute"], *later["collective"]):
        row["iteration"] = 1
    warm = records("a", 0.0)
    for rows in warm.values():
        for row in rows:
            row["iteration"] = -1
    every = {kind: [*warm[kind], *one[kind], *later[kind], *other[kind]] for kind in one}
    found = {s.phase: s for s in last_steps(typed(every))}
    assert (found["a"].iteration, found["b"].iteration) == (1, 0)
    assert found["a"].ranks[1].compute == [(0.0, 4.0)]


def transfer(seconds: float, size: int = 1_000_000, **more: Any) -> Json:
    return {"kind": "transfer", "workload": "job", "phase": "main", "iteration": 0, "src": "h1", "dst": "h5",
            "bytes": size, "start": 1.0, "end": 1.0 + seconds, **more}


def transfers(*rows: Json) -> Sequence[TransferRecord]:
    return Records(records_of(*rows))[TransferRecord]


def test_a_slowdown_is_the_time_over_the_time_alone_at_line_rate() -> None:
    alone = 8e6 / TCP.overhead.bulk_limit(10e6)
    rows = transfers(transfer(2 * alone), transfer(alone), transfer(9.0, iteration=-1), transfer(9.0, size=100),
                     transfer(9.0, dst="h1"))
    assert slowdowns(rows, FABRIC) == {"job": pytest.approx([1.0, 2.0])}
    drawn = slowdown_figure(rows, FABRIC)
    assert drawn is not None
    assert drawn.rows == (("job", "2", "1", "1.5", "2"),)
    assert slowdown_figure(rows[2:], FABRIC) is None


@pytest.mark.large
def test_phases_are_distinguished_in_every_figure_of_steps(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json")
    spec["workloads"] = {"job": spec["workloads"]["ring"]}
    spec["phases"] = [{"name": "a", "run": ["job"]}, {"name": "b", "run": ["job"]}]
    rows = [{"kind": kind, **row} for source in (records("a"), records("b", 30.0)) for kind in source
            for row in source[kind]]
    rows += [transfer(5.0, phase=p) for p in ("a", "b")]
    rows += [{"kind": "engine", "phase": p, "start": at, "end": at + 6} for p, at in (("a", 10.0), ("b", 30.0))]
    blamed = {"fabric.b.bottleneck_link": {"value": 0.9, "unit": "", "tag": "bottleneck_link", "title": "bottlenecks",
                                           "where": "h1->leaf1"}}
    model = {"job.b.step_time_on_paths": {"value": 5.0, "unit": "s", "tag": "step_time_on_paths", "title": "model"}}
    run = run_factory.make(tmp_path, type(run_factory.scenario()).model_validate(spec), records=rows, metrics=blamed,
                           predictions=model, samples=run_factory.counters(FABRIC))
    data = load(run)
    drawn = {f.key: f for f in figures(data)}
    assert {"steps-job-a", "steps-job-b", "timeline-job-a", "timeline-job-b", "slowdown"} <= drawn.keys()
    assert "fair shares" in drawn["steps-job-b"].caption
    assert "fair shares" not in drawn["steps-job-a"].caption
    assert [row[0] for row in drawn["slowdown"].rows] == ["job, a", "job, b"]
    assert phase_starts(data) == {"a": 10.0, "b": 30.0}
    assert bottlenecks(data) == {"h1->leaf1"}
    assert "h1->leaf1 (%)" in drawn["load"].header


def test_a_transfer_that_the_idle_links_buckets_let_pass_has_no_line_rate_to_be_held_against() -> None:
    few = 18 * 1448         # packets of which up to four leave at once: faster than the wire, by the wire's own doing
    burst = transfer(0.93 * 8 * few / TCP.overhead.bulk_limit(10e6), size=few)
    assert slowdowns(transfers(burst), FABRIC) == {}


def test_latencies_of_requests_alone_and_beside_others_are_two_curves() -> None:
    rows = [{"kind": "request", "workload": "chat", "phase": p, "scheduled": 0.0, "done": d, "status": "ok"}
            for p, d in (("alone", 0.4), ("beside", 0.5))]
    drawn = request_figure(Records(records_of(*rows))[RequestRecord])
    assert drawn is not None
    assert [row[0] for row in drawn.rows] == ["chat, alone", "chat, beside"]


def test_requests_of_an_open_loop_have_no_bar_of_a_step(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json")
    trace = tmp_path / "t.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    spec["workloads"] |= {"chat": {"kind": "requests", "trace": str(trace)}}
    spec["phases"] = [{"name": "main", "run": ["ring", "chat"]}]
    step = {"kind": "step", "phase": "main", "iteration": 0, "start": 0.0, "end": 15.7, "ranks": [[0.0, 15.7]]}
    run = run_factory.make(tmp_path, type(run_factory.scenario()).model_validate(spec),
                           records=[{**step, "workload": name} for name in ("ring", "chat")])
    assert [f.key for f in figures(load(run)) if f.key.startswith("steps")] == ["steps-ring"]
