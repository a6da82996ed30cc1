"""aifab trace: the way of one flow, table by table and wire by wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.run.trace import Trace


def trace(
    source: Annotated[str, typer.Argument(metavar="HOST", help="where it starts")],
    target: Annotated[str, typer.Argument(metavar="HOST", help="where it is addressed to")],
    port: Annotated[int, typer.Option(help="UDP port at the target: another one is another flow", min=1, max=65535)] =
        47123,
    lab_id: Annotated[str, typer.Option("--lab", metavar="ID", help="which lab, if several are up")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON and nothing else")] = False,
) -> None:
    """Show the path between two hosts of a running lab, by the rules and by the wires' counters.

    Examples:

      sudo aifab trace h1 h7

      sudo aifab trace h1 h7 --port 9001

    Exit code 1 if rules and counters disagree.
    """
    import json

    from scenarios.run.attach import running_inventory
    from scenarios.run.trace import trace as trace_flow

    found = trace_flow(running_inventory(lab_id), source, target, port)
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        for line in _lines(found):
            typer.echo(line)
    raise typer.Exit(0 if found.agrees else 1)


def _rows(found: Trace) -> list[tuple[str, str, str, str]]:
    """(switch, table, rule, what it does) of each rule on the way."""
    from controller.rules.tables import Table

    return [(s.switch, Table(s.flow.table).name, s.flow.name, _does(s.did, s.flow.goto)) for s in found.walk.steps]


def _does(did: str, goto: int | None) -> str:
    from controller.rules.tables import Table

    jump = f"goto {Table(goto).name}" if goto is not None else ""
    return ", ".join(x for x in (did, jump) if x) or "drop"


def _lines(found: Trace) -> list[str]:
    from scenarios.run.trace import SENT

    cell, walk = found.cell, found.walk
    rows = _rows(found)
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    table = ["  ".join((*(x.ljust(w) for x, w in zip(row, widths, strict=False)), row[3])) for row in rows]
    counted = [f"{d} {found.counted[d]}" for d in walk.directions if d in found.counted]
    silent = [d for d in walk.directions if d not in found.counted]
    others = [f"{d} {n}" for d, n in found.counted.items() if d not in walk.directions]
    lines = [f"{cell.source} -> {cell.target} ({cell.ip}): {'allowed' if cell.allowed else 'denied'}, {cell.reason}",
             *table, f"by rules:    {', '.join(walk.directions)}, {_ending(found)}",
             f"by counters: {', '.join(counted) or 'nothing'} (sent {SENT})"]
    if found.dropped:
        lines.append(f"             {found.dropped} dropped by that rule")
    if silent:
        lines.append(f"WRONG: fewer than {SENT} packets crossed {', '.join(silent)}")
    if others:
        lines.append(f"WRONG: packets crossed {', '.join(others)}: another way, or other traffic in this lab")
    return lines


def _ending(found: Trace) -> str:
    from controller.verify.walk import Dropped

    end = found.walk.end
    return f"dropped at {end.switch} by {end.rule}" if isinstance(end, Dropped) else f"delivered to {end.host}"


def _as_json(found: Trace) -> dict[str, object]:
    names = ("switch", "table", "rule", "does")
    return {"source": found.cell.source, "target": found.cell.target, "ip": found.cell.ip,
            "allowed": found.cell.allowed, "reason": found.cell.reason, "agrees": found.agrees,
            "steps": [dict(zip(names, row, strict=True)) for row in _rows(found)], "path": found.walk.directions,
            "end": _ending(found), "counted": found.counted, "dropped": found.dropped}
