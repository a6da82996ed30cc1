"""A sweep over sizes: which sizes, which scenario, and what its rows are made of."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scenarios.run.bench_collective import (
    Row,
    Sweep,
    as_csv,
    as_json,
    between,
    name_of,
    rows_of,
    scenario_of,
    sizes,
    text,
)
from tests.unit.records_of import records_of
from tests.unit.sampled import sampled
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from traffic.metrics.metric import Definition
from traffic.runtime.reading import Records
from traffic.workloads.specs import CollectiveSpec

FABRIC = FabricSpec(name="two", leaves=2, spines=2, hosts_per_leaf=2, probes=False)


def collective(**keys: Any) -> CollectiveSpec:
    return CollectiveSpec.model_validate({"kind": "collective", "op": "all-reduce", "size": "1kB", **keys})


def test_sizes_go_from_the_smallest_by_the_factor_and_never_beyond_the_largest() -> None:
    assert sizes(64, 1024, 2) == [64, 128, 256, 512, 1024]
    assert sizes(64, 1000, 4) == [64, 256]
    assert sizes(10, 10, 2) == [10]
    assert sizes(1, 5, 1.3) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("smallest", "largest", "factor", "where"), [
    (0, 10, 2, "--min"), (20, 10, 2, "--min"), (1, 10, 1, "--factor"), (1, 10, 0.5, "--factor"),
    (1000, 10**6, 1.001, "--factor")])
def test_sizes_that_make_no_sweep_are_refused_by_the_option(smallest: int, largest: int, factor: float,
                                                            where: str) -> None:
    with pytest.raises(SpecError) as caught:
        sizes(smallest, largest, factor)
    assert caught.value.where == where


def test_each_size_has_a_phase_of_its_own() -> None:
    scenario = scenario_of(FABRIC, collective(iterations=4, warmup=2), [1000, 2000])
    assert [(p.name, p.run) for p in scenario.phases] == [(n, (n,)) for n in ("1000-bytes", "2000-bytes")]
    assert [w.size for w in scenario.workloads.values() if isinstance(w, CollectiveSpec)] == [1000, 2000]
    assert all(w.iterations == 4 and w.warmup == 2 for w in scenario.workloads.values()
               if isinstance(w, CollectiveSpec))


def test_what_the_fabric_cannot_serve_is_refused_by_option_and_once() -> None:
    with pytest.raises(SpecErrors) as caught:
        scenario_of(FABRIC, collective(ranks=5), [1000, 2000])
    assert [e.where for e in caught.value.errors] == ["--ranks"]
    with pytest.raises(SpecError, match="tree"):
        scenario_of(FABRIC, collective(algorithm="tree"), [1000])


def test_a_row_has_the_drops_retransmits_and_spread_of_its_own_phase() -> None:
    fabric, scenario = expand(FABRIC), scenario_of(FABRIC, collective(), [1000, 2000])
    directions = ("leaf1->spine1", "leaf1->spine2", "leaf1->h1")
    seen = sampled(directions, [0.0, 1.0, 2.0, 3.0, 4.0],
                   [[0, 0, 0], [0, 0, 0], [300, 100, 400], [300, 100, 400], [500, 300, 800]],
                   drops=[[0, 0, 0], [0, 0, 0], [0, 0, 7], [0, 0, 7], [1, 0, 9]])
    records = [
        {"kind": "step", "workload": "1000-bytes", "iteration": -1, "start": 1.1, "end": 1.4},
        {"kind": "step", "workload": "1000-bytes", "iteration": 0, "start": 1.4, "end": 1.9},
        {"kind": "step", "workload": "2000-bytes", "iteration": 0, "start": 3.1, "end": 3.9},
        {"kind": "connection", "workload": "1000-bytes", "retransmits": 5, "reply_retransmits": 1},
        {"kind": "connection", "workload": "2000-bytes", "retransmits": 0, "reply_retransmits": 0}]
    values = {f"{name_of(1000)}.{tag}": v for tag, v in
              (("time", 0.5), ("algbw", 16e3), ("busbw", 24e3), ("busbw_of_limit", 0.9))}
    values[f"{name_of(2000)}.time"] = 0.8
    metrics = {key: Definition("x", "", "x", "x", "x").of(v) for key, v in values.items()}
    first, second = rows_of(scenario, fabric, metrics, Records(records_of(*records)), seen)
    assert first == Row(1000, 0.5, 16e3, 24e3, 0.9, drops=7, retransmits=6, jfi=pytest.approx(0.8))  # type: ignore[arg-type]
    assert second == Row(2000, 0.8, None, None, None, drops=3, retransmits=0, jfi=pytest.approx(1.0))  # type: ignore[arg-type]


def test_a_window_takes_the_samples_around_it() -> None:
    seen = sampled(("a->b",), [0.0, 1.0, 2.0], [[0], [10], [30]], drops=[[0], [1], [2]])
    assert between(seen, 1.5, 1.6) == ({"a->b": 20.0}, {"a->b": 1})
    assert between(seen, 0.5, 9.0) == ({"a->b": 30.0}, {"a->b": 2})


@pytest.fixture
def sweep() -> Sweep:
    verdict = SimpleNamespace(level=SimpleNamespace(name="SUSPECT"), reasons=[SimpleNamespace(text="late")])
    run = SimpleNamespace(id="x", report_path=Path("runs/x/report.html"))
    rows = (Row(1000, 0.5, 16e6, 24e6, 0.951, 7, 6, 0.8), Row(2000, 0.25, None, None, None, 0, 0, None))
    return Sweep("all-reduce", "ring", 4, rows, SimpleNamespace(verdict=verdict, run=run))  # type: ignore[arg-type]


def test_the_table_has_a_line_for_each_size_and_a_dash_for_what_is_not_reported(sweep: Sweep) -> None:
    lines = text(sweep).splitlines()
    assert lines[0] == "# all-reduce (ring) on 4 ranks"
    assert lines[1].split() == ["#", "size", "time", "algbw", "busbw", "of", "limit", "drops", "retransmits", "JFI"]
    assert lines[3].split() == ["1000", "0.5000", "16.000", "24.000", "0.951", "7", "6", "0.800"]
    assert lines[4].split() == ["2000", "0.2500", "-", "-", "-", "0", "0", "-"]
    assert lines[5:7] == ["# verdict SUSPECT", "#   late"]


def test_csv_and_json_say_the_same(sweep: Sweep) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(sweep))))
    reported = json.loads(json.dumps(as_json(sweep)))
    assert reported["verdict"] == "SUSPECT"
    assert {r["verdict"] for r in rows} == {"SUSPECT"}
    for row, same in zip(rows, reported["rows"], strict=True):
        assert {k: None if v == "" else float(v) for k, v in row.items() if k != "verdict"} == same
