"""make lessons: what is reported of each scenario, and the exit code; runs are replaced by directories made before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scenarios.commands.lessons import shown
from scenarios.evidence.results import Recorded
from scenarios.run import lessons
from scenarios.run.lessons import Holds, Lesson, exit_code, load_lessons, run_lessons
from scenarios.run.runner import Result
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from scenarios.spec.scenario import Scenario
from scenarios.validation.junit import failed_suite
from scenarios.verdict.invariants.evidence import Level
from scenarios.verdict.verdict import Verdict
from tests.unit import run_factory
from topologies.model.errors import LabError, SpecErrors
from topologies.model.load import ready_files

CHECK = {"metric": "ring.busbw_of_limit", "at_least": 0.9, "pass": "Close.", "fail": "Far."}


def scenario(name: str) -> Scenario:
    return Scenario.model_validate({**run_factory.scenario(name).model_dump(mode="json"), "validate": {"close": CHECK}})


def taken(monkeypatch: pytest.MonkeyPatch, base: Path, **runs: tuple[str, float] | LabError) -> list[Lesson]:
    """Lessons whose runs end with these verdicts and bus bandwidths, or with an error."""
    def run(spec: Scenario, *_: Any, **__: Any) -> Result:
        found = runs[spec.name]
        if isinstance(found, LabError):
            raise found
        level, busbw = found
        directory = run_factory.make(base, spec, metrics=run_factory.metrics(busbw),
                                     verdict=run_factory.verdict(level, level != "VALID"), ledger=run_factory.ledger())
        return Result(directory, Verdict(Level.VALID, (), ()), {}, None, Recorded(directory))
    monkeypatch.setattr(lessons, "run_scenario", run)
    return list(run_lessons([scenario(name) for name in runs], base))


GOOD, BAD = 9.3e6, 5e6


@pytest.mark.parametrize(("runs", "holds", "code"), [
    ({"a": ("VALID", GOOD), "b": ("VALID", GOOD)}, [Holds.YES, Holds.YES], 0),
    ({"a": ("VALID", GOOD), "b": ("VALID", BAD)}, [Holds.YES, Holds.NO], 5),
    ({"a": ("INVALID", GOOD), "b": ("SUSPECT", GOOD)}, [Holds.UNPROVEN, Holds.UNPROVEN], 3),
    ({"a": ("SUSPECT", BAD), "b": ("VALID", GOOD)}, [Holds.UNPROVEN, Holds.YES], 4),
    ({"a": ("VALID", BAD), "b": ("INVALID", GOOD)}, [Holds.NO, Holds.UNPROVEN], 5),
    ({"a": LabError("h1", "x", "y"), "b": ("VALID", BAD)}, [Holds.ERROR, Holds.NO], 1)])
def test_a_lesson_holds_only_by_a_valid_run_whose_checks_pass(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: dict[str, Any], holds: list[Holds], code: int) -> None:
    found = taken(monkeypatch, tmp_path, **runs)
    assert [lesson.holds for lesson in found] == holds
    assert exit_code(found) == code


def test_the_table_has_a_row_for_each_and_says_what_was_found_where_one_does_not_hold(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = taken(monkeypatch, tmp_path, good=("VALID", GOOD), bad=("VALID", BAD), weak=("INVALID", GOOD),
                  broken=LabError("h1", "an interface", "none"))
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(shown(found, 5))
    text = console.export_text()
    for row in (r"good +holds +VALID +1 of 1", r"bad +does not hold +VALID +0 of 1",
                r"weak +unproven +INVALID +1 of 1", r"broken +error +- +-", r"\[FAIL\] close: Far",
                r"\[PASS, unproven\] close", "h1: expected an interface", r"1 of 5 lessons hold, in 0 s"):
        assert re.search(row, text), row
    assert text.count("Close.") == 1        # of the one that holds nothing more is reported


def test_everything_wrong_with_the_choice_is_reported_before_anything_runs(tmp_path: Path) -> None:
    bare = tmp_path / "bare.yml"
    bare.write_text("name: bare\nquestion: Why?\nfabric: small\nworkloads:\n  ring: {kind: collective, size: 1MB}\n")
    with pytest.raises(SpecErrors) as error:
        load_lessons(["incats", str(bare)])
    assert [e.expected.split(":")[0] for e in error.value.errors] == [
        "a file, or a scenario of the library", "a scenario with checks (validate"]


@pytest.mark.parametrize("name", sorted(ready_files(LIBRARY)))
def test_every_scenario_of_the_library_says_whether_its_lesson_holds(name: str) -> None:
    checks = load_scenario(name).checks
    assert checks
    for check in checks.values():
        assert check.passes != check.fails
        assert all(s[0].isupper() and s.endswith(".") for s in (check.passes, check.fails))


def test_a_failed_run_leaves_a_suite(tmp_path: Path) -> None:
    assert failed_suite("a", "it broke").cases[0].became == "error"
