"""Checks of a file for a run of any scenario: those of a newer version of it, or of a teacher."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from scenarios.spec.scenario import Scenario
from scenarios.validation.names import check_problems
from scenarios.validation.spec import CheckName, CheckSpec
from topologies.model.document import Document, read_document
from topologies.model.errors import SpecErrors
from topologies.model.expansion import expand
from topologies.model.fields import Strict
from topologies.model.load import validate


class _Checks(Strict):
    checks: dict[CheckName, CheckSpec] = Field(alias="validate", min_length=1)


def load_checks(path: Path, scenario: Scenario) -> dict[str, CheckSpec]:
    """`validate:` of a YAML file, whose other keys are not looked at, for runs of a scenario.

    Raises SpecError or SpecErrors: what is wrong with the checks, or else what they name and the scenario lacks.
    """
    document = read_document(path)
    key = "validate"
    mine = Document({key: document.data[key]} if key in document.data else {}, document.places, document.directory)
    found, problems = validate(mine, _Checks)
    if found is not None:
        fabric = expand(scenario.fabric.model_copy(update={"links": {}}))
        problems = list(check_problems(scenario, fabric, found.checks))
    if problems or found is None:
        raise SpecErrors(mine.errors(problems))
    return found.checks
