"""aifab class: traffic classes of a running lab."""

from __future__ import annotations

from typing import Annotated

import typer

LabId = Annotated[str, typer.Option("--lab", metavar="ID", help="which lab, if several are up")]
classes = typer.Typer(no_args_is_help=True)


@classes.callback()
def class_group() -> None:
    """See and change the shares that traffic classes have of every wire of a running lab.

    Examples:

      sudo aifab class show

      sudo aifab class set inference --min 60%
    """


@classes.command()
def show(lab_id: LabId = "") -> None:
    """Print each class: its DSCP, its shares as the wires have them now, its VPCs."""
    from scenarios.run.attach import running_inventory
    from topologies.switches.datapaths import datapath_of

    inventory = running_inventory(lab_id)
    found = datapath_of(inventory).shares(inventory)
    if not found:
        typer.echo("the fabric has no classes")
    for name, c in found.items():
        whose = [f"VPCs {', '.join(c.vpcs)}"] if c.vpcs else []
        whose += [f"open to {', '.join(c.open_to)}"] if c.open_to else []
        typer.echo(f"{name:16} DSCP {c.dscp:2}  {_shares(c.min, c.max)}" + "".join(f"  {w}" for w in whose))


@classes.command("set")
def set_class(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="a class of the fabric")],
    least: Annotated[str | None, typer.Option("--min", metavar="SHARE", help="guaranteed on every wire")] = None,
    most: Annotated[str | None, typer.Option("--max", metavar="SHARE", help="the most that it can get")] = None,
    lab_id: LabId = "",
) -> None:
    """Change a class's shares on every wire while it carries traffic. A scenario running on the lab becomes
    INVALID, because a scenario changes shares only by its own schedule.
    """
    from scenarios.run.attach import running_inventory
    from scenarios.run.live_shares import change_shares

    found, seconds = change_shares(running_inventory(lab_id), name, least, most)
    typer.echo(f"{name}: {_shares(found.min, found.max)} of every link, after {seconds * 1000:.0f} ms")


def _shares(least: float, most: float) -> str:
    return f"min {least * 100:.4g}% max {most * 100:.4g}%"
