"""aifab vpc, evpn, verify: tenants of a running lab, what the control plane made of them, and the proof."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

LabId = Annotated[str, typer.Option("--lab", metavar="ID", help="which lab, if several are up")]
IntentFile = Annotated[Path, typer.Argument(metavar="FILE", help="VPCs, attachments and peerings; --- between them")]
StrictOption = Annotated[bool, typer.Option("--strict", help="reject keys that would be ignored with a note")]
EmptyOption = Annotated[bool, typer.Option("--empty", help="let a file without objects remove every VPC")]
vpc = typer.Typer(no_args_is_help=True)


@vpc.callback()
def vpc_group() -> None:
    """Put hosts of a running lab into VPCs: isolated networks over the same fabric.

    Examples:

      sudo aifab vpc apply vpcs.yml

      sudo aifab vpc delete
    """


@vpc.command()
def apply(file: IntentFile, lab_id: LabId = "", strict: StrictOption = False, empty: EmptyOption = False) -> None:
    """Make the lab's VPCs match a file; objects that it does not name are removed."""
    from scenarios.run.attach import running_inventory
    from scenarios.run.vpcs import apply_intent, check_intent, check_not_empty, read_accepted

    intent, document, notes = read_accepted(file, strict=strict)
    inventory = running_inventory(lab_id)
    check_intent(intent, document, inventory.fabric)
    check_not_empty(inventory, intent, document, meant=empty)
    _echo(notes)
    _tell(apply_intent(inventory, intent))


@vpc.command()
def plan(file: IntentFile, lab_id: LabId = "", strict: StrictOption = False, empty: EmptyOption = False) -> None:
    """Show what apply would change, without changing anything."""
    from scenarios.run.attach import running_inventory
    from scenarios.run.vpcs import check_intent, check_not_empty, plan_intent, read_accepted

    intent, document, notes = read_accepted(file, strict=strict)
    inventory = running_inventory(lab_id)
    check_intent(intent, document, inventory.fabric)
    check_not_empty(inventory, intent, document, meant=empty)
    _echo(notes)
    _tell(plan_intent(inventory, intent))


@vpc.command()
def get(lab_id: LabId = "") -> None:
    """Print the lab's VPCs as a file for apply."""
    from controller.northbound.client import ControllerClient
    from scenarios.run.attach import running_inventory
    from scenarios.run.vpcs import as_yaml

    typer.echo(as_yaml(ControllerClient(running_inventory(lab_id).api_socket).intent()["objects"]), nl=False)


@vpc.command()
def delete(lab_id: LabId = "") -> None:
    """Remove all VPCs: every host is in one flat network again."""
    from controller.intent.intent import Intent
    from scenarios.run.attach import running_inventory
    from scenarios.run.vpcs import apply_intent

    _tell(apply_intent(running_inventory(lab_id), Intent()))


def _echo(notes: list[str]) -> None:
    for line in notes:
        typer.echo(line, err=True)


def _tell(answer: dict[str, Any]) -> None:
    """A plan or what became of it."""
    for line in answer["objects"]:
        typer.echo(line)
    for switch, (come, go) in answer["flows"].items():
        typer.echo(f"{switch}: {come} rules added, {go} removed")
    done = f", on all switches after {answer['seconds'] * 1000:.0f} ms" if "seconds" in answer else ""
    typer.echo(f"version {answer['version']}{done}" if answer["objects"] else "nothing changes")
    if answer.get("pending"):
        typer.echo(f"not confirmed yet by {', '.join(answer['pending'])}", err=True)


class Shown(StrEnum):
    """The tables of the EVPN control plane."""

    routes = "routes"
    vnis = "vnis"
    macs = "macs"
    arp = "arp"
    peers = "peers"
    drops = "drops"


def evpn(
    table: Annotated[Shown, typer.Argument(help="which table")] = Shown.routes,
    lab_id: LabId = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON and nothing else")] = False,
) -> None:
    """Show a table of the EVPN control plane, or what policy has dropped.

    Examples:

      sudo aifab evpn routes

      sudo aifab evpn drops
    """
    from controller.northbound.client import ControllerClient
    from scenarios.run.attach import running_inventory

    client = ControllerClient(running_inventory(lab_id).api_socket)
    rows = _drops(client.counters()) if table is Shown.drops else client.evpn()[table]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for line in _columns(rows) if rows else [f"no {table}"]:
        typer.echo(line)


def _drops(counters: dict[str, Any]) -> list[dict[str, Any]]:
    """Drop rules that have counted anything, switch by switch."""
    return [{"switch": switch, "rule": rule, **count} for switch, s in counters["switches"].items()
            for rule, count in sorted(s["drops"].items()) if count["packets"]]


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """A head and the rows, each column as wide as it has to be: a route that is cut short is of no use."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [keys, *([_cell(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(keys))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cell(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def verify(
    lab_id: LabId = "",
    everything: Annotated[bool, typer.Option("--all", help="every pair with its reason")] = False,
) -> None:
    """Send packets between every pair of hosts, and compare with what the VPCs allow.

    Examples:

      sudo aifab verify

      sudo aifab verify --all

    Exit code 1 if any pair is wrong.
    """
    from scenarios.run.attach import running_inventory
    from scenarios.run.verify import verify as verify_lab

    found = verify_lab(running_inventory(lab_id))
    denies, allows, uncounted = found.false_denies(), found.false_allows(), found.uncounted()
    if everything:
        for c in found.cells:
            typer.echo(f"{c.source} -> {c.target} ({c.ip}): {'allowed' if c.allowed else 'denied'}, {c.reason}")
    for c in denies:
        typer.echo(f"WRONG {c.source} -> {c.target}: expected at {c.receiver} ({c.reason}); found nowhere", err=True)
    for c, host in allows:
        typer.echo(f"WRONG {c.source} -> {c.target}: expected {c.reason}; {host} received it", err=True)
    for (leaf, rule), (expected, counted) in uncounted.items():
        typer.echo(f"WRONG {leaf}, {rule}: expected {expected} drops; found {counted}", err=True)
    allowed = sum(c.allowed for c in found.cells)
    typer.echo(f"{len(found.cells)} pairs: {allowed} allowed, {len(found.cells) - allowed} denied; "
               f"{len(allows)} false allows, {len(denies)} false denies, {len(uncounted)} drop rules short")
    raise typer.Exit(0 if found.is_right else 1)
