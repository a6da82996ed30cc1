"""Costs of a study: a metric of each run, a row of each design, and prices that are looked at before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scenarios.cost.prices import PRICES
from scenarios.cost.study import costs_of
from scenarios.spec.scenario import Scenario
from scenarios.study import page, tables, terminal
from scenarios.study.analysis import analyse
from scenarios.study.load import load_study
from scenarios.study.result import DesignResult, Measure, Outcome, StudyResult
from scenarios.study.spec import MetricChoice
from tests.unit import run_factory
from topologies.model.errors import LabError
from topologies.model.units import parse_rate

COST = "ring.main.cost"
STUDY = """
name: spines
question: Do four spines pay?
scenario: training-oversubscription
designs:
  two: {set: {fabric.spines: 2}}
  four: {set: {fabric.spines: 4}}
metrics:
  - {metric: job.step_time, better: lower}
prices: typical
priced_as: 400gbit
"""


def design(steps: list[float], verdict: Any = "VALID", size: str = "8MB", **fabric: Any) -> DesignResult:
    """Runs of these step times, seed 1 and on; 2 s of each are computed."""
    scenario = run_factory.scenario(fabric={"host_rate": "10mbit", **fabric}, workloads={
        "ring": {**run_factory.RING, "size": size, "compute": "2s"}})
    runs = tuple(Outcome(run=f"r{n}", seed=n, verdict=verdict, metrics={
        "ring.step_time": Measure(value=s, unit="s", title="step time"),
        "ring.ideal_step": Measure(value=2.0, unit="s")}) for n, s in enumerate(steps, start=1))
    return DesignResult(settings={}, scenario=Scenario.model_validate(scenario), runs=runs)


def study(**designs: DesignResult) -> StudyResult:
    return StudyResult(
        name="spines", question="Do four spines pay?", baseline=next(iter(designs)), seeds=(1, 2, 3),
        metrics=(MetricChoice(metric="ring.step_time", better="lower"),), designs=designs,
        order=tuple((name, seed) for seed in (1, 2, 3) for name in designs), prices="typical",
        priced_as=parse_rate("400gbit"))


def test_each_run_costs_its_own_and_a_design_the_median() -> None:
    made = study(two=design([10.0, 12.0, 11.0]), four=design([9.0, 9.5, 9.2], spines=4))
    found = costs_of(made)
    assert found is not None
    values = found.result.designs["two"].values(COST)
    assert values[2] / values[1] == pytest.approx(1.2)      # nothing else differs
    analysed = analyse(made)
    assert [m.choice.metric for m in analysed.metrics] == ["ring.step_time", COST]
    assert analysed.metrics[1].unit == "USD"
    assert analysed.metrics[1].estimates["two"].median == pytest.approx(values[3])
    assert {row[0] for row in found.rows} == {"two", "four"}
    assert any("is cheapest" in s for s in found.sentences)


def test_the_cheaper_design_is_the_other_one_when_times_are_turned_round() -> None:
    slow, fast = [30.0, 31.0, 32.0], [9.0, 9.1, 9.2]

    def cheapest(two: list[float], four: list[float]) -> str:
        found = costs_of(study(two=design(two), four=design(four, spines=4)))
        assert found is not None
        return next(s for s in found.sentences if "training step" in s)

    assert "two is cheapest" in cheapest(fast, slow)
    assert "four is cheapest" in cheapest(slow, fast)


def test_page_terminal_and_json_tell_costs() -> None:
    analysed = analyse(study(two=design([10.0, 12.0, 11.0]), four=design([9.0, 9.5, 9.2], spines=4)))
    shown = page.build(analysed)
    assert 'id="costs"' in shown
    assert "is cheapest" in shown
    assert tables.json_object(analysed, {})["costs"]
    console = Console(record=True, width=200)
    terminal.show(analysed, console)
    assert "assumptions" in console.export_text()
    plain = study(two=design([1.0]), four=design([1.0], spines=4)).model_copy(update={"prices": None})
    assert 'id="costs"' not in page.build(analyse(plain))


def test_work_that_differs_is_no_metric_and_is_said() -> None:
    found = costs_of(study(two=design([10.0] * 3), four=design([5.0] * 3, size="4MB")))
    assert found is not None
    assert [c.metric for c in found.result.metrics] == ["ring.step_time"]
    assert any("did not do the same work" in s for s in found.sentences)


def test_invalid_runs_cost_nothing_that_is_reported() -> None:
    found = costs_of(study(two=design([10.0] * 3, "INVALID"), four=design([9.0] * 3, spines=4)))
    assert found is not None
    assert [row[3] for row in found.rows] == ["-", "a training step of ring in phase main"]


def test_a_study_without_prices_has_no_costs() -> None:
    plain = study(two=design([1.0]), four=design([1.0], spines=4)).model_copy(update={"prices": None})
    assert costs_of(plain) is None


@pytest.mark.parametrize(("old", "new", "said"), [
    ("prices: typical", "prices: typicl", r"s.study.yml:9 prices: .*found neither\n.*typical\?"),
    ("priced_as: 400gbit", "", r"hosts whose rate is sold: .*found h1 at 10 Mbit/s"),
    ("prices: typical", "", r"s.study.yml:\d+ priced_as: expected prices"),
    ("priced_as: 400gbit", "priced_as: 400", r"s.study.yml:10 priced_as: expected a number with a unit"),
])
def test_prices_are_looked_at_before_anything_runs(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "s.study.yml"
    path.write_text(STUDY.strip().replace(old, new) + "\n")
    with pytest.raises(LabError, match=said):
        load_study(str(path))


def test_a_part_that_a_design_lacks_is_named_before_anything_runs(tmp_path: Path) -> None:
    text = (PRICES / "typical.yml").read_text()
    mine = text[:text.index("nics:")] + "nics: []\n\n" + text[text.index("gpu_hours:"):]
    (tmp_path / "mine.yml").write_text(mine)
    path = tmp_path / "s.study.yml"
    path.write_text(STUDY.strip().replace("prices: typical", "prices: mine.yml") + "\n")
    with pytest.raises(LabError, match=r"mine.yml: nics: expected a NIC of 400 Gbit/s, which link h1-leaf1 needs"):
        load_study(str(path))
