"""A study that was stopped goes on: nothing finished is lost or repeated, nothing half-written is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.spec.scenario import Scenario
from scenarios.study.execute import Listener, execute
from scenarios.study.load import Plan
from scenarios.study.result import FILE, Outcome, StudyResult
from scenarios.study.store import Store, read_study
from tests.unit import run_factory
from tests.unit.study_factory import STUDY, TIMES, plan, run, runner
from topologies.model.errors import HostError, LabError, RunError, SpecError


@pytest.fixture
def spread(tmp_path: Path) -> tuple[Plan, Store]:
    """Three designs, two seeds."""
    it = plan(tmp_path / "files", STUDY.replace("repeats: 7", "repeats: 2"))
    store = Store(tmp_path / "study")
    store.runs.mkdir(parents=True)
    return it, store


class Reported(Listener):
    """Every (design, seed) that was begun, and why again."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, str]] = []

    def begin(self, number: int, of: int, design: str, seed: int, again: str) -> None:
        assert 1 <= number <= of == 6
        self.begun.append((design, seed, again))


def done(spread: tuple[Plan, Store]) -> tuple[StudyResult, Reported]:
    """Go through all that is missing."""
    it, store = spread
    reported = Reported()
    return execute(it, Store(store.directory), runner(it, store, TIMES), reported), reported


def test_every_design_runs_with_every_seed_in_the_planned_order(spread: tuple[Plan, Store]) -> None:
    result, reported = done(spread)
    assert [(d, s) for d, s, _ in reported.begun] == list(spread[0].order)
    assert result.missing == ()
    assert result.designs["one"].values("ring.step_time") == {1: 20.1, 2: 20.2}
    assert read_study(spread[1].directory) == result
    assert done(spread)[1].begun == []


def test_a_study_killed_in_a_run_does_that_run_anew_and_no_other(spread: tuple[Plan, Store]) -> None:
    it, store = spread
    first, second = it.order[:2]
    run(store.runs, it.designs[first[0]].with_seed(first[1]), 1.0)
    killed = run(store.runs, it.designs[second[0]].with_seed(second[1]), 1.0, status="running")
    result, reported = done(spread)
    assert [(d, s) for d, s, _ in reported.begun] == list(it.order[1:])
    assert [(d.run, d.why) for d in result.discarded] == [(killed.id, "killed before it ended")]
    assert result.designs[first[0]].values("ring.step_time")[first[1]] == 1.0, "finished before it could be noted"


def _break(run_: Path, what: str) -> None:
    if what == "no metrics":
        (run_ / "metrics.json").unlink()
    elif what == "half metrics":
        (run_ / "metrics.json").write_text((run_ / "metrics.json").read_text()[:50])
    elif what == "no scenario":
        (run_ / "scenario.json").unlink()
    elif what == "odd verdict":
        (run_ / "verdict.json").write_text('{"verdict": "FINE", "reasons": []}')
    elif what == "odd meta":
        (run_ / "meta.json").write_text("[]")


@pytest.mark.parametrize(("what", "why"), [
    ("no metrics", "half-written: no metrics.json"), ("half metrics", "damaged: expected a part of a run, in JSON"),
    ("no scenario", "damaged: expected a run directory, which has this file"),
    ("odd verdict", "damaged: verdict or metrics are not as"), ("odd meta", "damaged: expected a JSON object")])
def test_a_damaged_run_is_named_and_done_anew(spread: tuple[Plan, Store], what: str, why: str) -> None:
    result, _ = done(spread)
    victim = result.designs["four"].runs[0]
    _break(spread[1].runs / victim.run, what)
    again, reported = done(spread)
    assert [(d, s) for d, s, _ in reported.begun] == [("four", victim.seed)]
    assert [d.run for d in again.discarded] == [victim.run]
    assert again.discarded[0].why.startswith(why)
    assert again.missing == ()


def test_a_run_of_a_design_that_has_changed_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "study")
    store.runs.mkdir(parents=True)
    old = plan(tmp_path / "files", STUDY.replace("repeats: 7", "repeats: 1"))
    execute(old, store, runner(old, store, TIMES))
    new = plan(tmp_path / "files", STUDY.replace("repeats: 7", "repeats: 1").replace("spines: 4", "spines: 3"))
    result = execute(new, store, runner(new, store, TIMES))
    assert [d.why for d in result.discarded] == ["its scenario is that of no run of this study (any more)"]
    assert len(result.outcomes) == 3


def test_a_run_that_the_machine_has_spoilt_is_repeated_as_often_as_allowed(tmp_path: Path) -> None:
    it = plan(tmp_path / "files", STUDY.replace("repeats: 7", "repeats: 2\nretries: 2"))
    store = Store(tmp_path / "study")
    store.runs.mkdir(parents=True)
    reported, tries = Reported(), {"one": 0, "four": 0}

    def level(design: str, seed: int) -> str:
        if seed == 2 or design == "two":
            return "VALID"
        tries[design] += 1
        return "INVALID" if design == "four" or tries[design] == 1 else "SUSPECT"

    result = execute(it, store, runner(it, store, TIMES, level), reported)
    assert tries == {"one": 2, "four": 3}
    assert [a for d, s, a in reported.begun if (d, s) == ("one", 1)] == [
        "", "INVALID because of the machine: leaf1's switch waited for the CPU 46 % of second 12; the limit is 33 %"]
    assert [r.verdict for r in result.designs["four"].runs if r.seed == 1] == ["INVALID"] * 3
    assert result.missing == (("four", 1),)
    assert execute(it, store, runner(it, store, TIMES, level),
                   reported) == result, "and not more often by starting again"


def test_a_run_that_is_invalid_by_itself_is_not_repeated(spread: tuple[Plan, Store]) -> None:
    it, store = spread

    def one(scenario: Scenario) -> object:
        verdict = run_factory.verdict("INVALID", 1)
        verdict["reasons"][0]["invariant"] = "ledger"
        return run_factory.make(store.runs, scenario, verdict=verdict, metrics=run_factory.metrics())

    reported = Reported()
    result = execute(it, store, one, reported)
    assert len(reported.begun) == len(result.outcomes) == 6
    assert len(result.missing) == 6


def test_a_run_that_fails_is_tried_again_and_then_reported(spread: tuple[Plan, Store]) -> None:
    it, store = spread
    calls: list[int] = []

    def fails(scenario: Scenario) -> object:
        calls.append(scenario.seed)
        run(store.runs, scenario, 1.0, status="failed")
        raise RunError("leaf1", "a switch that answers", "none")

    with pytest.raises(RunError, match="a switch that answers"):
        execute(it, store, fails)
    assert calls == [1, 1]
    result, reported = done(spread)
    assert len(reported.begun) == 6
    assert [d.why for d in result.discarded] == ["failed: the interface of h3 went down"] * 2


def test_what_the_machine_lacks_stops_the_study_at_once(spread: tuple[Plan, Store]) -> None:
    def lacks(_: Scenario) -> object:
        raise HostError("this machine", "no other measuring run", "one by process 7")

    with pytest.raises(HostError):
        execute(*spread, lacks)


def test_designs_that_are_the_same_each_have_their_runs(tmp_path: Path) -> None:
    it = plan(tmp_path / "files", STUDY.replace("repeats: 7", "repeats: 2").replace("spines: 4", "spines: 2"))
    store = Store(tmp_path / "study")
    store.runs.mkdir(parents=True)
    result = execute(it, store, lambda scenario: run(store.runs, scenario, 1.0))
    assert {n: len(d.runs) for n, d in result.designs.items()} == {"one": 2, "two": 2, "four": 2}


def test_another_study_in_the_same_directory_is_refused(tmp_path: Path, spread: tuple[Plan, Store]) -> None:
    done(spread)
    spread[1].check_is_of(spread[0])
    other = plan(tmp_path / "other", STUDY.replace("name: spread", "name: other"))
    with pytest.raises(SpecError, match="expected the study other, full form; found the study spread, full form"):
        spread[1].check_is_of(other)
    with pytest.raises(SpecError, match="expected the study spread, quick form; found the study spread, full form"):
        spread[1].check_is_of(plan(tmp_path / "quick", quick=True))


def test_a_damaged_study_says_what_to_do(spread: tuple[Plan, Store]) -> None:
    done(spread)
    path = spread[1].directory / FILE
    value = json.loads(path.read_text())
    del value["designs"]["one"]["scenario"]
    path.write_text(json.dumps(value))
    with pytest.raises(LabError, match=r"designs.one.scenario: expected what this version of aifab writes") as info:
        read_study(spread[1].directory)
    assert "finished runs are found again" in info.value.hint
    path.unlink()
    assert done(spread)[1].begun == []


def test_two_at_once_in_one_directory_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "s").locked(), pytest.raises(LabError, match="nobody is working on"), \
            Store(tmp_path / "s").locked():
        pass


def test_metrics_that_are_no_number_are_left_out(spread: tuple[Plan, Store]) -> None:
    it, store = spread
    scenario = it.designs["one"].with_seed(1)
    found = run_factory.metrics() | {"ring.odd": {"value": None, "unit": "s"}, "ring.range": {"value": [1, 2]}}
    made = run_factory.make(store.runs, scenario, verdict=run_factory.verdict(), metrics=found)
    found |= {"ring.nan": {"value": float("nan")}, "ring.endless": {"value": 1.0, "real": float("inf")}}
    (made.path / "metrics.json").write_text(json.dumps(found))      # as another program may have written it
    (outcome,) = store.collect(it).designs["one"].runs
    assert isinstance(outcome, Outcome)
    assert set(outcome.metrics) == set(run_factory.metrics())
    read_study(store.directory)     # what was written can be read again
