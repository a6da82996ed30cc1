"""aifab run: run a scenario, print what came out, leave a run directory with a report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from scenarios.commands.validate import Junit

if TYPE_CHECKING:
    from scenarios.spec.scenario import Scenario
    from topologies.model.fabric import Fabric


def run(
    scenario: Annotated[str, typer.Argument(help="a scenario file, or a name of the library")],
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="PATH=VALUE", help="override a value, such as trace=FILE or fabric.spines=4")] = None,
    runs: Annotated[Path, typer.Option(help="where run directories go")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
    no_lock: Annotated[bool, typer.Option(
        "--no-lock", help="run beside another measuring run; the result is SUSPECT")] = False,
    no_report: Annotated[bool, typer.Option(
        "--no-report", help="do not write report.html; `aifab report` writes it later")] = False,
    junit: Junit = None,
) -> None:
    """Run a scenario (as root), judge it, and answer its checks.

    Examples:

      sudo aifab run scenarios/library/demo.yml

      sudo aifab run allreduce --set workloads.ring.size=4MB --json

    Exit codes: 0 VALID, 1 error, 2 usage, 3 INVALID, 4 SUSPECT, 5 VALID but a check failed, 130 interrupted.
    """
    from scenarios.spec.compiling import located
    from scenarios.spec.load_scenario import read_scenario

    found, fabric, document = read_scenario(scenario, settings or [])
    with located(document):
        finish(found, fabric, runs, as_json=as_json, no_lock=no_lock, junit=junit, report=not no_report)


def finish(scenario: Scenario, fabric: Fabric, runs: Path, *, as_json: bool, no_lock: bool, junit: Path | None = None,
           report: bool = True) -> NoReturn:
    """Run a scenario, print what came out, exit with the verdict's code, or 5 for a VALID run whose checks fail.

    Raises what a run raises; `junit` is then written as well, with the error in it.
    """
    from rich.console import Console

    from scenarios.report.terminal import json_object, show
    from scenarios.run.progress import Bars
    from scenarios.run.runner import run_scenario
    from scenarios.validation.evaluate import validate
    from scenarios.validation.junit import check_writable, failed_suite, suite_of, write
    from topologies.lab.host_limits import require_root
    from topologies.model.errors import LabError

    require_root()
    if junit is not None:
        check_writable(junit)
    started = time.monotonic()
    try:
        with Bars(quiet=as_json or not sys.stderr.isatty()) as bars:
            result = run_scenario(scenario, runs, fabric=fabric, lock=not no_lock, argv=sys.argv, listener=bars,
                                  report=report)
        validation = validate(result.run, recorded=result.recorded)
    except LabError as error:
        if junit is not None:
            write(junit, [failed_suite(scenario.name, error, time.monotonic() - started)])
        raise
    if junit is not None:
        write(junit, [suite_of(validation, result.run, time.monotonic() - started)])
    if as_json:
        print(json.dumps(json_object(result.run, result.recorded)))
    else:
        show(result.run, Console(), result.recorded)
    raise typer.Exit(result.verdict.exit_code or validation.exit_code)
