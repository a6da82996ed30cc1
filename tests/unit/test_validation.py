"""Checks of a scenario: what may be written, what they answer, and what an unproven answer looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from scenarios.validation.evaluate import Outcome, Result, Status, Validation, same_place, validate
from scenarios.validation.facts import Facts
from scenarios.validation.lines import lines, summary
from tests.unit import run_factory
from topologies.model.errors import LabError

Json = dict[str, Any]
SAID = {"pass": "It holds.", "fail": "It does not hold."}
TWO_PHASES = {
    "name": "two", "question": "Why?", "fabric": {"host_rate": "10mbit"},
    "workloads": {"ring": run_factory.RING}, "phases": [{"name": "before", "run": ["ring"]},
                                                        {"name": "after", "run": ["ring"]}]}
METRICS = {
    "ring.busbw": {"value": 9.2e6, "unit": "bit/s"}, "ring.busbw_of_limit": {"value": 0.98, "unit": ""},
    "ring.before.step_time": {"value": 1.0, "unit": "s"}, "ring.after.step_time": {"value": 2.0, "unit": "s"},
    "ring.jct": {"value": 3.0, "unit": "s"}, "ring.step_cv": {"value": 0.0, "unit": ""},
    "fabric.after.bottleneck_link": {"value": 1.0, "unit": "", "where": "leaf1->spine1"},
    "ring.straggler_lateness": {"value": 0.4, "unit": "", "where": "rank 3 on h4"}}
PREDICTIONS = {"ring.jct": {"value": 2.9, "unit": "s"}}
QUEUES = {"leaf1->h1": 900, "leaf1->h1 class gold": 50, "h1->leaf1": 30, "leaf2->h5": 20}


def spec(checks: Json | None = None) -> Scenario:
    return Scenario.model_validate({**TWO_PHASES, "validate": checks or {}})


def run_with(base: Path, level: str = "VALID", checks: Json | None = None, **parts: Any) -> RunDirectory:
    """A finished run of two phases; its links are sampled, leaf1->h1 drops 100 packets evenly over 20 s."""
    scenario = spec(checks)
    given: Json = {"metrics": METRICS, "predictions": PREDICTIONS,
                   "verdict": run_factory.verdict(level, level != "VALID"),
                   "ledger": run_factory.ledger(queues=QUEUES, policy={"leaf1 unknown-mac": 7})} | parts
    fabric = RunDirectory.create(base, scenario).fabric
    records = [{"kind": "engine", "phase": phase, "start": at, "end": at + 9.0}
               for phase, at in (("before", 0.5), ("after", 10.0))]
    return run_factory.make(base, scenario, records=records,
                            samples=run_factory.counters(fabric, drops={"leaf1->h1": 100}), **given)


def answer(base: Path, level: str = "VALID", **check: Any) -> Outcome:
    """What one check answers about that run."""
    checks = spec({"it": {**SAID, **check}}).checks
    return validate(run_with(base, level), checks).outcomes[0]


@pytest.mark.parametrize(("check", "holds", "found"), [
    ({"metric": "ring.busbw_of_limit", "at_least": 0.98}, True, "0.98"),
    ({"metric": "ring.busbw_of_limit", "at_least": 0.981}, False, "0.98"),
    ({"metric": "ring.busbw_of_limit", "at_most": 0.98}, True, "0.98"),
    ({"metric": "ring.busbw_of_limit", "at_most": "97%"}, False, "0.98"),
    ({"metric": "ring.busbw_of_limit", "between": [0.9, 0.99]}, True, "0.98"),
    ({"metric": "ring.busbw_of_limit", "between": [0.99, 1.1]}, False, "0.98"),
    ({"metric": "ring.busbw_of_limit", "equals": 1, "within": "2%"}, True, "0.98"),
    ({"metric": "ring.busbw_of_limit", "equals": 1, "within": "1.9%"}, False, "0.98"),
    ({"metric": "ring.busbw", "at_least": "9.2mbit"}, True, "9.2 Mbit/s"),
    ({"metric": "ring.busbw", "at_least": "9.3mbit"}, False, "9.2 Mbit/s"),
    ({"metric": "ring.after.step_time", "at_most": "1999ms"}, False, "2 s"),
    ({"metric": "ring.after.step_time", "of": "ring.before.step_time", "equals": 2}, True, "2 (2 s / 1 s)"),
    ({"metric": "ring.after.step_time", "of": "ring.before.step_time", "at_most": 1.9}, False, "2 (2 s / 1 s)"),
    ({"metric": "ring.jct", "of_prediction": "ring.jct", "at_most": 1.05}, True, "1.03 (3 s / 2.9 s)"),
    ({"metric": "ring.busbw_of_limit", "of": "ring.step_cv", "at_least": 0}, False,
     "ring.step_cv is 0: there is no ratio"),
    ({"drops": "leaf1->h1", "equals": 950}, True, "950"),
    ({"drops": "leaf1->h1 class gold", "equals": 50}, True, "50"),
    ({"drops": "h1-leaf1", "equals": 980}, True, "980"),
    ({"drops": "queues", "equals": 1000}, True, "1,000"),
    ({"drops": "policy", "at_most": 6}, False, "7"),
    ({"drops": "leaf1 unknown-mac", "equals": 7}, True, "7"),
    ({"drops": "links", "equals": 0}, True, "0"),
    ({"drops": "leaf1->h1", "of": "queues", "at_least": 0.95}, True, "0.95 (950 / 1,000)"),
    ({"drops": "leaf1->h1", "of": "faults", "at_least": 0.95}, False, "no drops at faults: there is no ratio"),
    ({"culprit": "fabric.after.bottleneck_link", "equals": "leaf1-spine1"}, True, "leaf1->spine1"),
    ({"culprit": "fabric.after.bottleneck_link", "equals": "spine1->leaf1"}, False, "leaf1->spine1"),
    ({"culprit": "fabric.after.bottleneck_link", "one_of": ["leaf1-spine2", "leaf1-spine1"]}, True, "leaf1->spine1"),
    ({"culprit": "ring.straggler_lateness", "equals": "rank 3"}, True, "rank 3 on h4"),
    ({"culprit": "ring.straggler_lateness", "equals": "rank 2"}, False, "rank 3 on h4"),
    ({"verdict": "VALID"}, True, "VALID"),
    ({"verdict": ["SUSPECT", "INVALID"]}, False, "VALID"),
])
def test_a_check_compares_what_the_run_has_measured(tmp_path: Path, check: Json, holds: bool, found: str) -> None:
    outcome = answer(tmp_path, **check)
    assert (outcome.status, outcome.sentence) == ((Status.PASS, "It holds.") if holds else
                                                  (Status.FAIL, "It does not hold."))
    assert outcome.found.removesuffix(" packets") == found


def test_a_rank_is_not_mistaken_for_one_whose_number_begins_alike() -> None:
    assert not same_place("rank 1", "rank 12 on h5")
    assert not same_place("leaf1-spine1", "leaf1->spine11")
    assert same_place("hosts to leaves", "hosts to leaves")


def test_a_scaled_metric_is_held_against_its_real_value(tmp_path: Path) -> None:
    run = run_with(tmp_path, metrics={"ring.busbw": {"value": 9e6, "unit": "bit/s", "real": 3.6e11}})
    checks = spec({"it": {**SAID, "metric": "ring.busbw", "at_least": "350gbit"}}).checks
    found = validate(run, checks).outcomes[0]
    assert (found.status, found.found) == (Status.PASS, "360 Gbit/s")


def test_a_metric_that_was_not_measured_fails_and_near_ones_are_reported(tmp_path: Path) -> None:
    outcome = answer(tmp_path, metric="ring.before.step_cv", at_least=0)
    assert outcome.status is Status.FAIL
    assert outcome.found.startswith("ring.before.step_cv was not measured; did you mean ring.before.step_time")
    assert "there is ring.busbw, " in outcome.found


def test_a_culprit_that_nothing_named_fails(tmp_path: Path) -> None:
    outcome = answer(tmp_path, culprit="fabric.before.bottleneck_link", equals="leaf1-spine1")
    assert outcome.status is Status.FAIL
    assert "fabric.before.bottleneck_link was not measured" in outcome.found


# ---- drops of one phase: 100 packets in 20 s, phases from 0.5 to 9.5 s and from 10 to 19 s

@pytest.mark.parametrize(("place", "wait", "low", "high"), [
    ("leaf1->h1", 0.0, 44, 46), ("queues", 0.0, 44, 46), ("leaf1->h1", 4.5, 22, 23), ("leaf2->h5", 0.0, 0, 0)])
def test_drops_of_a_phase_are_those_between_its_first_and_last_record(
        tmp_path: Path, place: str, wait: float, low: int, high: int) -> None:
    found = Facts(run_with(tmp_path)).drops_of_phase(place, "after", wait)
    assert found is not None
    assert low <= found <= high


def test_a_phase_that_was_over_before_its_wait_answers_nothing(tmp_path: Path) -> None:
    outcome = answer(tmp_path, drops="queues", phase="after", wait="9s", at_most=0)
    assert outcome.status is Status.FAIL
    assert "nothing was counted" in outcome.found


# ---- VPCs

def proof(when: str, reached: list[str], **wrong: Any) -> Json:
    return {"when": when, "reached": reached, "false_allows": [], "false_denies": [], "uncounted": [], **wrong}


def of_proofs(base: Path, proofs: list[Json], **check: Any) -> Outcome:
    checks = spec({"it": {**SAID, **check}}).checks
    return validate(run_with(base, tenants={"proofs": proofs}), checks).outcomes[0]


def test_isolation_is_proved_only_if_every_proof_was_right(tmp_path: Path) -> None:
    good, bad = proof("at the start", []), proof("after phase x", [], false_allows=[{"source": "h1"}])
    assert of_proofs(tmp_path, [good, good], isolation="proved").status is Status.PASS
    wrong = of_proofs(tmp_path, [good, bad], isolation="proved")
    assert (wrong.status, wrong.found) == (Status.FAIL, "1 false allows after phase x")
    assert of_proofs(tmp_path, [], isolation="proved").found == "no proof was made"


def test_pairs_are_looked_up_in_every_proof_or_in_that_of_a_phase(tmp_path: Path) -> None:
    proofs = [proof("at the start", ["h1->h2"]), proof("after phase after", ["h1->h2", "h2->h1"])]
    assert of_proofs(tmp_path, proofs, reachable=[["h1", "h2"]]).status is Status.PASS
    wrong = of_proofs(tmp_path, proofs, reachable=[["h1", "h2"], ["h2", "h1"]])
    assert (wrong.status, wrong.found) == (Status.FAIL, "h2->h1 did not arrive at the start")
    assert of_proofs(tmp_path, proofs, reachable=[["h2", "h1"]], phase="after").status is Status.PASS
    assert of_proofs(tmp_path, proofs, unreachable=[["h1", "h3"]]).status is Status.PASS
    assert of_proofs(tmp_path, proofs, unreachable=[["h2", "h1"]]).found == "h2->h1 arrived after phase after"


# ---- all of them together

CHECKS: Json = {
    "first": {**SAID, "metric": "ring.busbw_of_limit", "at_least": 0.99, "stop_on_error": True, "hint": "Look closer."},
    "second": {**SAID, "drops": "queues", "at_most": 0}}


def test_a_failed_check_that_stops_blocks_the_rest_by_name(tmp_path: Path) -> None:
    found = validate(run_with(tmp_path, checks=CHECKS))
    assert [o.status for o in found.outcomes] == [Status.FAIL, Status.SKIP]
    assert found.outcomes[1].blocked_by == "first"
    assert (found.result, found.exit_code) == (Result.FAILED, 5)
    text = "\n".join(lines(found))
    assert "[SKIP: blocked by first] second" in text
    assert "-> Look closer." in text


def test_a_warning_is_reported_and_fails_nothing(tmp_path: Path) -> None:
    checks = {"it": {**SAID, "level": "warning", "drops": "queues", "at_most": 0}}
    found = validate(run_with(tmp_path, checks=checks))
    assert [o.status for o in found.outcomes] == [Status.WARN]
    assert (found.result, found.exit_code) == (Result.PASSED, 0)
    assert summary(found) == "0 of 1 check hold, 1 with a warning."


@pytest.mark.parametrize(("level", "code"), [("INVALID", 3), ("SUSPECT", 4)])
@pytest.mark.parametrize("limit", [0.5, 0.99])
def test_nothing_is_proven_unless_the_run_is_valid(tmp_path: Path, level: str, code: int, limit: float) -> None:
    checks = {"it": {**SAID, "metric": "ring.busbw_of_limit", "at_least": limit}}
    found = validate(run_with(tmp_path, level, checks))
    assert (found.result, found.exit_code) == (Result.UNPROVEN, code)
    assert not found.outcomes[0].proven
    text = "\n".join(lines(found))
    assert f"Nothing is proven: the run is {level}" in text
    assert "[PASS, unproven]" in text if limit == 0.5 else "[FAIL, unproven]" in text


def test_a_check_of_the_verdict_counts_whatever_the_verdict_is(tmp_path: Path) -> None:
    checks = {"it": {**SAID, "verdict": "INVALID"}}
    assert validate(run_with(tmp_path, "INVALID", checks)).result is Result.PASSED
    assert validate(run_with(tmp_path, "VALID", checks)).result is Result.FAILED
    beside = {**checks, "other": {**SAID, "drops": "queues", "at_least": 1}}
    assert validate(run_with(tmp_path, "INVALID", beside)).result is Result.UNPROVEN


def test_worse_verdicts_never_make_a_block_better(tmp_path: Path) -> None:
    def exit_code(level: str) -> int:
        return validate(run_with(tmp_path, level, CHECKS)).exit_code
    assert [exit_code(level) for level in ("VALID", "SUSPECT", "INVALID")] == [5, 4, 3]


def test_a_run_that_did_not_end_answers_nothing(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, spec(CHECKS), status="failed")
    with pytest.raises(LabError, match=r"a finished run.*found one that is failed: the interface of h3"):
        validate(run)


@pytest.mark.parametrize(("part", "content", "found"), [
    ("verdict.json", '{"verdict": "FINE"}', "expected one of VALID, SUSPECT, INVALID; found FINE"),
    ("ledger.json", "{", "expected a part of a run, in JSON"),
    ("ledger.json", None, "found no such file")])
def test_a_damaged_or_missing_part_is_named(tmp_path: Path, part: str, content: str | None, found: str) -> None:
    run = run_with(tmp_path, checks=CHECKS | {"first": CHECKS["second"]})
    (run.path / part).write_text(content) if content is not None else (run.path / part).unlink()
    with pytest.raises(LabError, match=found) as error:
        validate(run)
    assert part in error.value.where


def test_no_checks_is_no_failure() -> None:
    assert Validation("id", "name", "VALID", ()).result is Result.PASSED


def test_checks_survive_being_saved_with_the_run(tmp_path: Path) -> None:
    run = run_with(tmp_path, checks=CHECKS)
    assert RunDirectory.open(run.path).scenario.checks == spec(CHECKS).checks
    assert set((run.read("scenario") or {})["validate"]) == {"first", "second"}
