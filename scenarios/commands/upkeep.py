"""aifab report, clean, doctor: looking back, tidying, and knowing the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    target: Annotated[str, typer.Argument(metavar="[RUN]", help="a run directory or id; default: the last run")] = "",
    runs: Annotated[Path, typer.Option(help="where run directories are")] = Path("runs"),
) -> None:
    """Print a run's summary and rewrite its report.html from its records.

    Examples:

      aifab report

      aifab report runs/20260101T120000Z-demo-1f2e
    """
    from rich.console import Console

    from scenarios.evidence.results import RunDirectory
    from scenarios.report.page import build
    from scenarios.report.terminal import show
    from topologies.model.errors import RunError

    found = RunDirectory.open(target, runs) if target else RunDirectory.latest(runs)
    try:
        path = str(found.write_report(build(found)))
    except RunError as error:
        path = f"not written: {error.where}: {error.found}"
    show(found, Console())
    typer.echo(path)


def clean(
    everything: Annotated[bool, typer.Option("--all", help="stop and remove running labs too")] = False,
) -> None:
    """Remove what labs left behind, by their own records: namespaces, processes, settings, files.

    Examples:

      sudo aifab clean

      sudo aifab clean --all
    """
    from topologies.lab.clean import clean as clean_up
    from topologies.lab.host_limits import require_root

    require_root()
    gone = clean_up(everything)
    typer.echo(f"removed: {', '.join(gone)}" if gone else "nothing was left behind")


def doctor() -> None:
    """Show what this machine can do, what is missing, and how to install it.

    Example:

      aifab doctor

    Exit code 1 if a lab cannot run here at all.
    """
    from rich.console import Console
    from rich.table import Table

    from topologies.lab.features import features

    table = Table("", "feature", "found", "how to get it", box=None)
    found = features()
    for f in found:
        mark = "[green]yes[/]" if f.present else ("[red]no[/]" if f.needed else "[yellow]no[/]")
        table.add_row(mark, f.name, f.found, "" if f.present else f.remedy)
    Console().print(table)
    raise typer.Exit(1 if any(f.needed and not f.present for f in found) else 0)
