"""Runs and studies of earlier versions: their names are mapped in one place, and what they cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.evidence import old_names
from scenarios.evidence.results import RunDirectory
from scenarios.report.data import load
from scenarios.study.store import read_study
from scenarios.validation.evaluate import validate
from scenarios.validation.names import check_problems
from scenarios.validation.spec import CheckSpec
from tests.unit import run_factory
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from traffic.metrics.known import unit_of


def older(run: RunDirectory, part: str, **names: str) -> None:
    """Write a part of a run again as an earlier version named it: new name -> old name."""
    path = run.path / f"{part}.json"
    text = path.read_text()
    for new, old in names.items():
        assert new in text
        text = text.replace(f'{new}"', f'{old}"')
    path.write_text(text)


def test_every_new_name_is_a_metric_and_no_old_one_is() -> None:
    assert [new for new in old_names.METRICS.values() if unit_of(new) is None] == []
    assert [old for old in old_names.METRICS if unit_of(old) is not None] == []


@pytest.mark.parametrize(("old", "new"), [
    ("chat.main.e2e_p99", "chat.main.e2el_p99"), ("fabric.pacing", "fabric.bottleneck_link"), ("hit_share", "hit_rate"),
    ("fabric.broken.pacing_rate", "fabric.broken.bottleneck_link_rate"), ("ring.busbw", "ring.busbw")])
def test_the_last_part_of_a_key_is_its_name(old: str, new: str) -> None:
    assert old_names.metric_key(old) == new


def test_metrics_and_ledger_of_an_old_run_are_read_with_the_names_of_today(tmp_path: Path) -> None:
    metric = {"value": 0.4, "unit": "", "tag": "laggard_share", "title": "late", "where": "rank 3 on h4"}
    run = run_factory.make(tmp_path, metrics={"ring.laggard_share": metric}, ledger=run_factory.ledger(900, {}))
    older(run, "ledger", balances="closes")
    assert run.read("metrics") == {"ring.straggler_lateness": metric | {"tag": "straggler_lateness"}}
    found = load(run)
    assert found.metrics["ring.straggler_lateness"]["where"] == "rank 3 on h4"
    assert (found.ledger or {})["balances"] is True


def test_checks_of_an_old_run_ask_for_the_names_of_today(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json", by_alias=True)
    spec["validate"] = {"late": {"culprit": "ring.straggler_lateness", "equals": "rank 3", "pass": "p", "fail": "f"}}
    metric = {"value": 0.4, "unit": "", "where": "rank 3 on h4"}
    run = run_factory.make(tmp_path, type(run_factory.scenario()).model_validate(spec),
                           metrics={"ring.laggard_share": metric}, verdict=run_factory.verdict())
    older(run, "scenario", **{"ring.straggler_lateness": "ring.laggard_share"})
    (outcome,) = validate(run).outcomes
    assert outcome.found == "rank 3 on h4"


def test_records_of_an_old_run_are_read_with_the_names_of_today() -> None:
    assert old_names.record({"kind": "slip-run", "p99": 0.1}) == {"kind": "timer-lateness-run", "p99": 0.1}
    assert old_names.record({"kind": "stream", "pacing": None}) == {"kind": "stream", "lateness": None}
    assert old_names.record({"kind": "roce", "timeouts": 2}) == {
        "kind": "roce", "retransmission_timeouts": 2, "messages": 0}
    assert old_names.record({"kind": "tcp-settings", "host": "h1"})["initial_window"] == 10
    step = {"kind": "step", "start": 1.0}
    assert old_names.record(step) is step


def test_ends_of_links_of_an_old_inventory() -> None:
    old = {"fabric": {"links": [{"name": "l", "a": {"node": "h1", "port": "h1-eth0", "number": 0}}]}}
    assert old_names.part("inventory", old) == {
        "fabric": {"links": [{"name": "l", "a": {"node": "h1", "interface": "h1-eth0", "ofport": 0}}]}}


def test_an_old_study_is_mapped_or_refused_with_what_to_do(tmp_path: Path) -> None:
    old = {"metrics": [{"metric": "chat.slo_share", "better": "higher"}],
           "designs": {"a": {"runs": [{"metrics": {"chat.slo_share": {"value": 1.0}}}]}}}
    assert old_names.study(old) == {
        "metrics": [{"metric": "chat.slo_attainment", "better": "higher"}],
        "designs": {"a": {"runs": [{"metrics": {"chat.slo_attainment": {"value": 1.0}}}]}}}
    (tmp_path / "study.json").write_text(json.dumps(old))
    with pytest.raises(LabError, match="remove it: finished runs are found again"):
        read_study(tmp_path)


def test_a_scenario_that_asks_for_an_old_name_is_refused_with_the_new_one() -> None:
    scenario = run_factory.scenario()
    check = CheckSpec.model_validate({"metric": "ring.laggard_share", "at_most": 0.1, "pass": "p", "fail": "f"})
    (problem,) = check_problems(scenario, expand(scenario.fabric), {"late": check})
    assert problem.hint == "it is called straggler_lateness now"


@pytest.mark.parametrize(("kind", "own"), [("fifo", {}), ("fq_codel", {"ecn": False}),
                                           ("red", {"min": "9000B", "max": "9000B", "ecn": False})])
def test_a_queue_of_an_old_run_loses_the_keys_of_other_kinds(tmp_path: Path, kind: str, own: dict[str, object]) -> None:
    queue = {"bytes": 60_000, "packets": None, "kind": kind, **own}
    run = run_factory.make(tmp_path)
    spec = json.loads((run.path / "scenario.json").read_text())
    spec["fabric"]["links"] = {"h1-leaf1": {"queue": {"min": None, "max": None, "ecn": False, **queue}}}
    (run.path / "scenario.json").write_text(json.dumps(spec))
    found = load(run).scenario.fabric.links["h1-leaf1"].queue
    assert found is not None
    assert found.model_dump(mode="json") == queue
