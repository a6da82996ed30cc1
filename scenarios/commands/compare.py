"""aifab compare: the designs of a study side by side, with the same seeds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.run.progress import Bars
    from scenarios.study.execute import Listener
    from scenarios.study.load import Plan
    from scenarios.study.result import StudyResult
    from scenarios.study.store import Store


def compare(
    study: Annotated[str, typer.Argument(help="a study file, or a name of the library")],
    quick: Annotated[bool, typer.Option("--quick", help="the quick form: what the study's `quick` makes smaller")] =
        False,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="PATH=VALUE", help="override a value of the study, such as seed=100")] = None,
    output: Annotated[Path | None, typer.Option(
        "-o", "--output", metavar="DIR", help="the study's directory; default: studies/NAME, or NAME-quick")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
    no_lock: Annotated[bool, typer.Option(
        "--no-lock", help="run beside another measuring run; the results are SUSPECT")] = False,
) -> None:
    """Run every design of a study with the same seeds (as root), and report which one wins and by how much.

    Give the same command again to resume a study that was stopped, or to print a finished one again.
    `aifab check STUDY` lists what it would run.

    Examples:

      sudo aifab compare shared-fabric --quick

      sudo aifab compare shared-fabric --set seed=100 -o studies/again

    Exit codes: 0 every run that counts is VALID, 1 error, 2 usage, 3 a run is missing because it was INVALID,
    4 a run that counts is SUSPECT, 130 interrupted.
    """
    from rich.console import Console

    from scenarios.study import narrative, page, tables, terminal
    from scenarios.study.analysis import analyse
    from scenarios.study.load import load_study
    from scenarios.study.store import Store
    from topologies.lab.host_limits import require_root

    plan = load_study(study, settings or [], quick=quick)
    require_root()
    directory = output or Path("studies") / (f"{plan.study.name}-quick" if quick else plan.study.name)
    store = Store(directory)
    with store.locked():
        store.check_is_of(plan)
        result = _run(plan, store, quiet=as_json, lock=not no_lock)
        analysis = analyse(result)
        path = page.write(analysis, directory)
    if as_json:
        print(json.dumps(tables.json_object(analysis, {
            "answer": narrative.answer(analysis), "caveats": narrative.caveats(analysis)})))
    else:
        terminal.show(analysis, Console())
        typer.echo(str(path))
    raise typer.Exit(_exit_code(result))


def _exit_code(result: StudyResult) -> int:
    if result.missing:
        return 3
    used = [run.verdict for design in result.designs.values() for run in design.used.values()]
    return 4 if "SUSPECT" in used else 0


def _run(plan: Plan, store: Store, *, quiet: bool, lock: bool) -> StudyResult:
    """All runs that are missing. What a killed study has left on the machine goes first."""
    from scenarios.run.progress import Bars
    from scenarios.run.runner import run_scenario
    from scenarios.spec.duration import span
    from scenarios.spec.scenario import Scenario
    from scenarios.study.execute import execute
    from scenarios.study.idle_wait import wait_until_idle
    from topologies.lab.clean import clean

    if any("killed" in d.why for d in store.collect(plan).discarded):
        clean(False)
    with Bars(quiet=quiet or not sys.stderr.isatty()) as bars:
        tell = _reported(bars, quiet)
        if not quiet:
            times = [plan.designs[name].seconds for name, seed in store.collect(plan).missing]
            whole = sum(a for a, _ in times), sum(b for _, b in times)
            typer.echo(f"{len(times)} runs to do: {span(whole)}", err=True)

        def one(scenario: Scenario) -> object:
            return run_scenario(scenario, store.runs, lock=lock, argv=sys.argv, listener=bars)

        try:
            return execute(plan, store, one, tell, wait_until_idle)
        except BaseException:
            left = len(store.collect(plan).missing)
            typer.echo(f"stopped with {left} of {len(plan.order)} runs to do; the same command goes on", err=True)
            raise


def _reported(bars: Bars, quiet: bool) -> Listener:
    """Each run's beginning and end, a line each on standard error."""
    from scenarios.report.text import quantity
    from scenarios.study.execute import Listener
    from scenarios.study.result import Outcome

    class Lines(Listener):
        def begin(self, number: int, of: int, design: str, seed: int, again: str) -> None:
            bars.headline = f"run {number} of {of}, {design}, seed {seed}"
            self._say(f"{bars.headline}{', once more: ' + again if again else ''}")

        def end(self, design: str, outcome: Outcome | None) -> None:
            self._say(f"  {outcome.verdict} after {quantity(outcome.seconds, 's')}" if outcome else "  failed")

        def _say(self, line: str) -> None:
            if not quiet:
                typer.echo(line, err=True)

    return Lines()
