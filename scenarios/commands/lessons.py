"""aifab lessons: run scenarios, and tell for each whether its lesson still holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenarios.commands.validate import Junit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from scenarios.run.lessons import Lesson

COLOURS = {"holds": "green", "does not hold": "red", "unproven": "yellow", "error": "red"}


def lessons(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="[SCENARIO]...", help="names of the library, or files; default: the whole library")] = None,
    runs: Annotated[Path, typer.Option(help="where run directories go")] = Path("runs"),
    no_lock: Annotated[bool, typer.Option(
        "--no-lock", help="run beside another measuring run; the results are SUSPECT")] = False,
    junit: Junit = None,
) -> None:
    """Run scenarios one after another (as root), and report for each whether its checks hold.

    Examples:

      sudo aifab lessons

      sudo aifab lessons incast training-slow-rank --junit lessons.xml

    Exit codes: 0 all hold, 1 a run failed, 2 usage, 3 one is INVALID, 4 SUSPECT: not proven, 5 one does not hold.
    """
    from rich.console import Console

    from scenarios.run.lessons import exit_code, load_lessons, run_lessons
    from scenarios.run.progress import Bars
    from scenarios.validation.junit import check_writable, write
    from topologies.lab.host_limits import require_root

    wanted = load_lessons(names or [])
    require_root()
    if junit is not None:
        check_writable(junit)
    taken: list[Lesson] = []
    try:
        with Bars(quiet=not sys.stderr.isatty()) as bars:
            for lesson in run_lessons(wanted, runs, lock=not no_lock, listener=bars):
                taken.append(lesson)
                print(f"{lesson.name}: {lesson.holds}, {lesson.level}, {lesson.seconds:.0f} s", file=sys.stderr)
                if junit is not None:       # after each, so that an interruption leaves what there is
                    write(junit, [each.suite for each in taken])
    finally:
        Console().print(shown(taken, len(wanted)))
    raise typer.Exit(exit_code(taken))


def shown(taken: Sequence[Lesson], wanted: int) -> RenderableType:
    """The table, and below it what was expected and found where a lesson is not proven to hold."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from scenarios.run.lessons import Holds
    from scenarios.validation.evaluate import Status
    from scenarios.validation.lines import lines

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("scenario", "its lesson", "verdict", "checks", "time"):
        table.add_column(column, justify="right" if column == "time" else "left", overflow="fold")
    below: list[RenderableType] = []
    for lesson in taken:
        table.add_row(lesson.name, Text(lesson.holds, style=COLOURS[lesson.holds]), lesson.level, lesson.passed,
                      f"{lesson.seconds:.0f} s")
        found = lesson.validation
        if lesson.error or (found and (lesson.holds is not Holds.YES or found.count(Status.WARN))):
            below.append(Text("\n".join(["", lesson.name, *(lines(found) if found else [lesson.error])])))
    holding = sum(lesson.holds is Holds.YES for lesson in taken)
    total = f"\n{holding} of {wanted} lessons hold, in {sum(lesson.seconds for lesson in taken):.0f} s."
    return Group(table, *below, Text(total, style="bold"))
