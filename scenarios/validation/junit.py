"""Checks as JUnit XML, in the form that GitLab, Jenkins and GitHub's actions read.

    testsuites > testsuite (a run) > testcase (a check; classname: aifab.SCENARIO)
        PASS        an empty testcase, or one with system-out
        FAIL        <failure>
        WARN, SKIP  <skipped>, whose message says which
        unproven    <skipped>: neither a pass nor a failure; the testcase `verdict` of the suite is the <error>
        run failed  one testcase `run` with <error>

A suite has a testcase `verdict` unless a check of its own is about the verdict. There is no standard; the elements
are those that pytest's xunit2 family writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

from scenarios.evidence.results import RunDirectory
from scenarios.validation.evaluate import Outcome, Status, Validation
from topologies.access import files
from topologies.model.errors import LabError


@dataclass(frozen=True)
class Case:
    """One testcase: what became of it ('' for a pass, else 'failure', 'error', 'skipped'), and in words."""

    name: str
    became: str
    message: str
    detail: str


@dataclass(frozen=True)
class Suite:
    """The checks of one run, or of one that failed."""

    scenario: str
    cases: tuple[Case, ...]
    seconds: float = 0.0
    timestamp: str = ""


def suite_of(validation: Validation, run: RunDirectory, seconds: float = 0.0) -> Suite:
    """A finished run's suite. seconds: how long it took from start to report."""
    cases = [_case(o, validation.level) for o in validation.outcomes]
    if not any(o.proven for o in validation.outcomes) or validation.level == "VALID":
        cases.insert(0, _verdict(validation.level, run))
    return Suite(validation.scenario, tuple(cases), seconds, run.meta.started[:19])


def failed_suite(scenario: str, error: LabError | str, seconds: float = 0.0) -> Suite:
    """The suite of a run that never came to its checks."""
    first = str(error).splitlines()[0]
    return Suite(scenario, (Case("run", "error", first, str(error)),), seconds)


def _verdict(level: str, run: RunDirectory) -> Case:
    reasons = [f"{r.get('invariant')}: {r.get('text')}" for r in (run.read("verdict") or {}).get("reasons", [])]
    return Case("verdict", "" if level == "VALID" else "error", f"the run is {level}", "\n".join(reasons))


def _case(o: Outcome, level: str) -> Case:
    detail = "\n".join(x for x in (f"expected {o.expected}", f"found {o.found}", o.hint) if x) if o.expected else ""
    if o.blocked_by:
        return Case(o.name, "skipped", o.sentence, "")
    if not o.proven:
        return Case(o.name, "skipped", f"unproven, the run is {level}: {o.status} by its numbers", detail)
    became = {Status.PASS: "", Status.FAIL: "failure", Status.WARN: "skipped"}[o.status]
    return Case(o.name, became, f"warning: {o.sentence}" if o.status is Status.WARN else o.sentence, detail)


def as_xml(suites: Iterable[Suite]) -> bytes:
    """The whole document, in UTF-8."""
    suites = list(suites)
    root = Xml.Element("testsuites", {"name": "aifab", **_totals(suites)})
    for suite in suites:
        node = Xml.SubElement(root, "testsuite", {"name": suite.scenario, **_totals([suite])})
        if suite.timestamp:
            node.set("timestamp", suite.timestamp)
        for case in suite.cases:
            _add(node, suite, case)
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _totals(suites: list[Suite]) -> dict[str, str]:
    became = [case.became for suite in suites for case in suite.cases]
    return {"tests": str(len(became)), "failures": str(became.count("failure")), "errors": str(became.count("error")),
            "skipped": str(became.count("skipped")), "time": f"{sum(s.seconds for s in suites):.3f}"}


def _add(node: Xml.Element, suite: Suite, case: Case) -> None:
    """A testcase; the time of a run is its first one's, for what a check itself takes is nothing."""
    seconds = suite.seconds if case is suite.cases[0] else 0.0
    element = Xml.SubElement(node, "testcase", name=case.name, classname=f"aifab.{suite.scenario}",
                             time=f"{seconds:.3f}")
    if case.became:
        inner = Xml.SubElement(element, case.became, message=_clean(case.message))
        if case.became != "skipped":
            inner.set("type", case.became)
        inner.text = _clean(case.detail)
    elif case.message or case.detail:
        Xml.SubElement(element, "system-out").text = _clean("\n".join(x for x in (case.message, case.detail) if x))


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(c for c in text if c >= " " or c in "\n\t")


def check_writable(path: Path) -> None:
    """Before a run that takes minutes: can the file be written when it is over? Raises LabError."""
    try:
        files.check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def write(path: Path, suites: Iterable[Suite]) -> None:
    """Write the document. Raises LabError."""
    try:
        files.write_whole(path, as_xml(suites))
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> LabError:
    return LabError(str(path), "a file that can be written, for JUnit", error.strerror or str(error),
                    "its directory has to exist")
