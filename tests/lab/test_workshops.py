"""Workshops as a learner meets them: a starter fails exactly what is the learner's to do, a solution passes all.

What is compared is what came of the checks by the runs' numbers. Whether a run is a ground for a grade is the
machine's affair, and how fast the machine is too: a run whose checks are not as they should be is repeated.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.run.runner import run_scenario
from scenarios.validation.evaluate import Status
from scenarios.workshops.grade import after, before
from scenarios.workshops.learner import solve, start
from scenarios.workshops.lesson import names
from scenarios.workshops.work import read_work

pytestmark = pytest.mark.lab
TRIES = 3
FAILS = {       # what each starter fails
    "01-slowest-link": ["link-found", "rate-found", "monday-predicted", "repaired", "repair-predicted"],
    "02-ecmp-entropy": ["idle-spines", "few-predicted", "many-predicted", "spread", "bandwidth-won"],
    "03-inference-beside-training": ["isolated", "isolation-proved", "first-tokens"],
}


def failing(directory: Path, expected: list[str]) -> list[str]:
    """Checks that fail or are skipped when a directory's work is run; run again while they are not as expected."""
    work = read_work(directory)
    ready = before(work)
    found: list[str] = []
    for _ in range(TRIES):
        run = run_scenario(work.scenario, directory / "runs", lock=False).run
        outcomes = after(work, ready, run).outcomes
        assert len(outcomes) == 1 + len(work.lesson.functions) + len(work.lesson.checks)
        found = [o.name for o in outcomes if o.status is not Status.PASS]
        if found == expected:
            break
    return found


def test_every_workshop_is_tested() -> None:
    assert list(FAILS) == names()


@pytest.mark.parametrize("name", FAILS)
def test_a_starter_fails_exactly_what_is_the_learners_to_do(tmp_path: Path, name: str) -> None:
    assert failing(start(name, tmp_path / "mine"), FAILS[name]) == FAILS[name]


@pytest.mark.parametrize("name", FAILS)
def test_a_solution_passes_every_check(tmp_path: Path, name: str) -> None:
    assert failing(solve(name, tmp_path / "solved"), []) == []


def test_vpcs_alone_isolate_and_give_no_bandwidth_back(tmp_path: Path) -> None:
    """The middle of workshop 03: its solution without the class."""
    work = solve("03-inference-beside-training", tmp_path / "middle")
    text = (work / "start.yml").read_text()
    classes, vpcs = text.index("  classes:"), text.index("vpcs:\n")
    (work / "start.yml").write_text(text[:classes] + text[vpcs:])
    assert failing(work, ["first-tokens"]) == ["first-tokens"]
