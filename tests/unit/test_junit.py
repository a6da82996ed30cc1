"""Checks as JUnit XML: what CI systems count is what came of the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from scenarios.validation.evaluate import validate
from scenarios.validation.junit import Suite, as_xml, check_writable, failed_suite, suite_of, write
from tests.unit import run_factory
from topologies.model.errors import LabError

Json = dict[str, Any]
LIMIT = {"metric": "ring.busbw_of_limit", "pass": "Close < enough.", "fail": "Too & slow."}
CHECKS: Json = {
    "good": {**LIMIT, "at_least": 0.5}, "odd": {**LIMIT, "at_least": 2, "level": "warning"},
    "bad": {**LIMIT, "at_least": 2, "stop_on_error": True}, "rest": {**LIMIT, "at_least": 0.5}}


def run_of(base: Path, level: str, checks: Json) -> RunDirectory:
    scenario = Scenario.model_validate({**run_factory.scenario().model_dump(mode="json"), "validate": checks})
    return run_factory.make(base, scenario, metrics=run_factory.metrics(), verdict=run_factory.verdict(level, 2),
                            ledger=run_factory.ledger())


def suite(base: Path, level: str = "VALID", checks: Json = CHECKS) -> Suite:
    run = run_of(base, level, checks)
    return suite_of(validate(run), run, 12.5)


def became(*suites: Suite) -> dict[str, str]:
    """Name of each testcase -> what became of it."""
    root = Xml.fromstring(as_xml(suites))  # noqa: S314 - our own
    return {str(case.get("name")): next((e.tag for e in case if e.tag != "system-out"), "pass")
            for case in root.iter("testcase")}


def test_each_check_is_a_testcase_and_totals_are_their_sums(tmp_path: Path) -> None:
    root = Xml.fromstring(as_xml([suite(tmp_path)]))  # noqa: S314 - our own
    assert became(suite(tmp_path)) == {"verdict": "pass", "good": "pass", "odd": "skipped", "bad": "failure",
                                       "rest": "skipped"}
    for node in (root, root[0]):
        totals = {k: node.get(k) for k in ("tests", "failures", "errors", "skipped", "time")}
        assert totals == {"tests": "5", "failures": "1", "errors": "0", "skipped": "2", "time": "12.500"}
    messages = {case.get("name"): case[0].get("message") for case in root.iter("testcase") if len(case)}
    assert messages["bad"] == "Too & slow."
    assert messages["odd"] == "warning: Too & slow."
    assert messages["rest"] == "blocked by bad"
    assert root[0].get("name") == "ring8"
    assert {case.get("classname") for case in root.iter("testcase")} == {"aifab.ring8"}


@pytest.mark.parametrize("level", ["SUSPECT", "INVALID"])
def test_under_another_verdict_no_check_is_green_or_red_and_the_verdict_is_the_error(
        tmp_path: Path, level: str) -> None:
    found = suite(tmp_path, level)
    assert became(found) == {"verdict": "error", "good": "skipped", "odd": "skipped", "bad": "skipped",
                             "rest": "skipped"}
    assert found.cases[0].message == f"the run is {level}"
    assert "headroom: " in found.cases[0].detail
    assert found.cases[1].message == f"unproven, the run is {level}: PASS by its numbers"


def test_a_check_of_the_verdict_takes_the_place_of_the_verdict_where_it_is_not_valid(tmp_path: Path) -> None:
    checks = {"broken": {"verdict": "INVALID", "pass": "a", "fail": "b"}}
    assert became(suite(tmp_path, "INVALID", checks)) == {"broken": "pass"}
    assert became(suite(tmp_path, "VALID", checks)) == {"verdict": "pass", "broken": "failure"}


def test_a_run_without_checks_is_its_verdict(tmp_path: Path) -> None:
    assert became(suite(tmp_path, "VALID", {})) == {"verdict": "pass"}
    assert became(suite(tmp_path, "INVALID", {})) == {"verdict": "error"}


def test_a_run_that_failed_is_an_error_with_its_reason_beside_those_that_did_not(tmp_path: Path) -> None:
    error = LabError("h3", "an interface that is up", "one that went down\x1b", "look at the log")
    both = [failed_suite("other", error, 3.0), suite(tmp_path)]
    root = Xml.fromstring(as_xml(both))  # noqa: S314 - our own
    assert (root.get("tests"), root.get("errors"), root.get("time")) == ("6", "1", "15.500")
    case = root[0][0]
    assert (case.get("name"), case[0].tag) == ("run", "error")
    assert case[0].get("message") == "h3: expected an interface that is up; found one that went down"


def test_a_place_that_cannot_be_written_is_reported_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="a file that can be written, for JUnit; found No such file"):
        check_writable(tmp_path / "nowhere" / "checks.xml")
    with pytest.raises(LabError, match="found Is a directory"):
        write(tmp_path, [])
    write(tmp_path / "checks.xml", [])
    assert (tmp_path / "checks.xml").read_bytes().startswith(b"<?xml version='1.0' encoding='utf-8'?>\n<testsuites ")
