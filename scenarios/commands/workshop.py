"""aifab workshop: lessons that grade themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.evidence.results import RunDirectory
    from scenarios.workshops.work import Work

workshop = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="a workshop, by name or number")]


@workshop.callback()
def workshop_group() -> None:
    """Lessons that grade themselves: start one, work on it, check it.

    Examples:

      aifab workshop list

      aifab workshop start 01-slowest-link

      sudo aifab workshop check 01-slowest-link
    """


@workshop.command("list")
def list_workshops() -> None:
    """List the workshops.

    Example:

      aifab workshop list
    """
    from scenarios.workshops.lesson import lessons

    for name, lesson in lessons():
        typer.echo(f"{name}  ({lesson.minutes} min)  {lesson.title}\n    {lesson.about}")


@workshop.command()
def start(
    name: Name,
    directory: Annotated[Path | None, typer.Argument(
        metavar="[DIR]", help="a new directory; default: the workshop's name, here")] = None,
) -> None:
    """Copy a workshop's README and starter into a new directory. Existing files are never overwritten.

    Examples:

      aifab workshop start 01-slowest-link

      aifab workshop start 02 my-work
    """
    from scenarios.workshops.learner import start as start_in
    from scenarios.workshops.lesson import find, lesson_of

    full = find(name)
    where, lesson = start_in(full, directory or Path(full)), lesson_of(full)
    typer.echo(f"{lesson.title}: about {lesson.minutes} minutes. Read {where / 'README.md'}; you work in "
               f"{where / lesson.file}.\nCheck it with: sudo aifab workshop check {where}")


@workshop.command()
def check(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="where the workshop was started")] = Path(),
) -> None:
    """Run a learner's work (as root) and print the result of each check.

    If the newest run in DIR/runs is of the same scenario, it is graded and nothing runs again.

    Examples:

      sudo aifab workshop check

      sudo aifab workshop check my-work

    Exit codes: 0 all hold, 1 error, 2 a file that does not load, 3 the machine made the run INVALID: not graded,
    4 SUSPECT: nothing is proven, 5 a check failed.
    """
    from scenarios.validation.evaluate import FAILED_EXIT, Result, Status
    from scenarios.validation.lines import lines
    from scenarios.workshops.grade import after, before, not_graded
    from scenarios.workshops.work import read_work

    work = read_work(directory)
    found = before(work)
    if found.count(Status.SKIP):
        typer.echo("\n".join([*lines(found), "Nothing was run."]))
        raise typer.Exit(FAILED_EXIT)
    run = _run_of(work)
    found = after(work, found, run)
    typer.echo(f"Report: {run.report_path}")
    if reasons := not_graded(run):
        typer.echo("\n".join(reasons))
    else:
        typer.echo("\n".join(lines(found)))
        if found.result is Result.PASSED:
            typer.echo(f"Well done. The explanation: aifab workshop solution {work.name}")
    raise typer.Exit(found.exit_code)


def _run_of(work: Work) -> RunDirectory:
    """The newest run if it is of this very scenario and counts, else a new one."""
    from scenarios.run.progress import Bars
    from scenarios.run.runner import run_scenario
    from scenarios.workshops.grade import kept_run
    from topologies.lab.host_limits import require_root

    runs = work.directory / "runs"
    kept = kept_run(work, runs)
    if kept is not None:
        typer.echo(f"Graded by the run that there is ({kept.id}): the scenario is the same.")
        return kept
    require_root()
    with Bars(quiet=not sys.stderr.isatty()) as bars:
        return run_scenario(work.scenario, runs, fabric=work.fabric, argv=sys.argv, listener=bars).run


@workshop.command()
def solution(
    name: Name,
    directory: Annotated[Path | None, typer.Argument(
        metavar="[DIR]", help="write its files into this new directory as well")] = None,
) -> None:
    """Explain a workshop's solution; with a directory, also write its files there.

    Examples:

      aifab workshop solution 01

      aifab workshop solution 01-slowest-link solved
    """
    from scenarios.workshops.learner import explanation, solve
    from scenarios.workshops.lesson import find

    full = find(name)
    typer.echo(explanation(full).rstrip())
    if directory is not None:
        typer.echo(f"\nWritten to {solve(full, directory)}. Check it with: sudo aifab workshop check {directory}")
    else:
        typer.echo(f"\nIts files: aifab workshop solution {full} DIR")
