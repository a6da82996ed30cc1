"""Does each lesson still hold? Runs scenarios one after another and answers their checks.

    holds           VALID, and every check passed        does not hold   VALID, and a check failed
    unproven        SUSPECT or INVALID: run it again     error           the run did not come to its end
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scenarios.run.runner import StageListener, run_scenario
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from scenarios.spec.scenario import Scenario
from scenarios.validation.evaluate import FAILED_EXIT, Result, Status, Validation, validate
from scenarios.validation.junit import Suite, failed_suite, suite_of
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.load import ready_files


class Holds(StrEnum):
    """What a run says of its lesson."""

    YES = "holds"
    NO = "does not hold"
    UNPROVEN = "unproven"
    ERROR = "error"


_OF_RESULT = {Result.PASSED: Holds.YES, Result.FAILED: Holds.NO, Result.UNPROVEN: Holds.UNPROVEN}


@dataclass(frozen=True)
class Lesson:
    """One scenario, run: what came of its checks (None if it failed), how long it took (s), its JUnit suite."""

    name: str
    holds: Holds
    seconds: float
    suite: Suite
    validation: Validation | None = None
    error: str = ""

    @property
    def level(self) -> str:
        """The verdict; '-' without one."""
        return self.validation.level if self.validation else "-"

    @property
    def passed(self) -> str:
        """'3 of 4' checks."""
        found = self.validation
        return f"{found.count(Status.PASS)} of {len(found.outcomes)}" if found else "-"


def load_lessons(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names or files, all of the library by default.

    Raises SpecErrors with all that is wrong with any of them, one without checks included, before anything runs.
    """
    found: list[Scenario] = []
    errors: list[LabError] = []
    for name in names or ready_files(LIBRARY):
        try:
            scenario = load_scenario(name)
        except SpecErrors as several:
            errors += several.errors
        except SpecError as error:
            errors.append(error)
        else:
            if not scenario.checks:
                errors.append(SpecError(name, "a scenario with checks (validate:), which say whether its lesson holds",
                                        "none", "docs/reference/validation.md says how to write them"))
            found.append(scenario)
    if errors:
        raise SpecErrors(errors)
    return found


def run_lessons(scenarios: Sequence[Scenario], base: Path, *, lock: bool = True,
                listener: StageListener | None = None) -> Iterator[Lesson]:
    """Run each and answer its checks; a run that breaks is an ERROR, and the next one starts.

    KeyboardInterrupt passes through.
    """
    for scenario in scenarios:
        started = time.monotonic()
        try:
            result = run_scenario(scenario, base, lock=lock, argv=("aifab", "lessons", scenario.name),
                                  listener=listener)
            run, validation = result.run, validate(result.run, recorded=result.recorded)
        except LabError as error:
            seconds = time.monotonic() - started
            yield Lesson(scenario.name, Holds.ERROR, seconds, failed_suite(scenario.name, error, seconds),
                         error=str(error))
            continue
        seconds = time.monotonic() - started
        yield Lesson(scenario.name, _OF_RESULT[validation.result], seconds, suite_of(validation, run, seconds),
                     validation)


def exit_code(lessons: Sequence[Lesson]) -> int:
    """0 if all hold; else the gravest of: 1 an error, 5 one that does not hold, 3 and 4 one without proof."""
    if any(lesson.holds is Holds.ERROR for lesson in lessons):
        return 1
    if any(lesson.holds is Holds.NO for lesson in lessons):
        return FAILED_EXIT
    return min((lesson.validation.exit_code for lesson in lessons
                if lesson.validation and lesson.holds is Holds.UNPROVEN), default=0)
