"""The files of a workshop: which there are, and what its lesson.yml says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeGuard

from pydantic import Field, field_validator, model_validator

from scenarios.spec.scenario import LinkEvent
from scenarios.validation.spec import CheckName, CheckSpec
from topologies.model.document import nearest
from topologies.model.errors import SpecError, Violation, Violations
from topologies.model.fields import Strict
from topologies.model.load import load_model

WORKSHOPS = Path(__file__).parent
_NAME = re.compile(r"\d\d-[a-z0-9-]+")
AnswerKind = Literal["link", "rate", "time", "number"]


class FunctionCheck(Strict):
    """A function of the learner's skeleton, called with each case's arguments, before anything runs."""

    function: str
    cases: tuple[tuple[tuple[float, ...], float], ...] = Field(min_length=1, description="[arguments, value] each")
    passes: str = Field(alias="pass")
    fails: str = Field(alias="fail")
    hint: str = ""


class Predicted(Strict):
    """An answer that a function of the skeleton gives: the time of a ring, by its paths in the run."""

    function: str
    ring: str = Field(description="the workload, which has run in one phase")


class Lesson(Strict):
    """What lesson.yml says.

    free     dotted paths of the scenario that are the learner's; all else stays as the starter has it
    faults   what is wrong with the network and stands in no file of the learner
    answers  what answers.yml is asked for, or a function of the skeleton
    checks   as in a scenario's `validate:`, but `$name` stands for an answer
    """

    title: str
    minutes: int = Field(ge=20, le=40)
    about: str
    file: Literal["start.yml", "skeleton.py"] = "start.yml"
    free: tuple[str, ...] = Field(min_length=1)
    faults: tuple[LinkEvent, ...] = ()
    answers: dict[str, AnswerKind | Predicted] = Field({})
    functions: dict[CheckName, FunctionCheck] = Field({})
    checks: dict[CheckName, dict[str, object]] = Field(alias="validate", min_length=1)

    @field_validator("checks")
    @classmethod
    def _complete(cls, checks: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        """With numbers in the place of answers each is a check."""
        for check in checks.values():
            CheckSpec.model_validate({key: 1 if is_answer(value) else value for key, value in check.items()})
        return checks

    @model_validator(mode="after")
    def _answers_exist(self) -> Lesson:
        violations = [Violation(("validate", name, key), f"one of the answers {', '.join(self.answers)}", value)
                      for name, check in self.checks.items() for key, value in check.items()
                      if is_answer(value) and value[1:] not in self.answers]
        if violations:
            raise Violations(violations)
        return self


def is_answer(value: object) -> TypeGuard[str]:
    """Whether a value of a check stands for an answer."""
    return isinstance(value, str) and value.startswith("$")


def names() -> list[str]:
    """Every workshop, in the order of their numbers."""
    return sorted(p.name for p in WORKSHOPS.iterdir() if _NAME.fullmatch(p.name) and p.is_dir())


def find(name: str) -> str:
    """A workshop by its name, its number or the beginning of its name. Raises SpecError."""
    known = names()
    found = [n for n in known if name and n.startswith(name)]
    if len(found) == 1:
        return found[0]
    without_number = {n: n for n in known} | {n[3:]: n for n in known}
    raise SpecError(name or "workshop", f"a workshop: {', '.join(known)}",
                    f"the beginning of {', '.join(found)}" if found else "none of them",
                    nearest(name, without_number))


def lesson_of(name: str) -> Lesson:
    """What its lesson.yml says. Raises SpecError or SpecErrors."""
    return load_model(WORKSHOPS / name / "lesson.yml", Lesson, name=f"{name}/lesson.yml")


def lessons() -> Iterator[tuple[str, Lesson]]:
    """Name and lesson of every workshop."""
    for name in names():
        yield name, lesson_of(name)
