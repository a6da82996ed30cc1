"""aifab validate: answer the checks of a finished run, from its files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Junit = Annotated[Path | None, typer.Option(metavar="FILE", help="also write the results as JUnit XML")]


def validate(
    target: Annotated[str, typer.Argument(metavar="[RUN]", help="a run directory or id; default: the last run")] = "",
    runs: Annotated[Path, typer.Option(help="where run directories are")] = Path("runs"),
    checks: Annotated[Path | None, typer.Option(
        metavar="FILE", help="use the checks of this file instead of the run's own")] = None,
    junit: Junit = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Answer the checks (`validate:`) of a finished run; needs no root and no lab.

    Examples:

      aifab validate

      aifab validate runs/20260101T120000Z-demo-1f2e --junit checks.xml

    Exit codes: 0 all hold, 1 error, 2 usage, 3 the run is INVALID, 4 SUSPECT: nothing is proven, 5 a check failed.
    """
    from scenarios.evidence.results import RunDirectory
    from scenarios.validation.evaluate import validate as answer
    from scenarios.validation.junit import suite_of, write
    from scenarios.validation.lines import lines
    from scenarios.validation.load import load_checks
    from topologies.model.errors import LabError

    run = RunDirectory.open(target, runs) if target else RunDirectory.latest(runs)
    wanted = load_checks(checks, run.scenario) if checks else run.scenario.checks
    if not wanted:
        raise LabError(run.id, "a scenario with checks (validate:)", "none",
                       "give a file that has them with --checks")
    found = answer(run, wanted)
    if junit is not None:
        write(junit, [suite_of(found, run)])
    if as_json:
        print(json.dumps({"run": run.id, **found.as_json()}))
    else:
        print("\n".join(lines(found)))
    raise typer.Exit(found.exit_code)
