"""The same report for a terminal (rich), and as one JSON object for programs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scenarios.evidence.results import Recorded, RunDirectory
from scenarios.report.answer import banner, sentences
from scenarios.report.data import RunData, load
from scenarios.report.losses import losses
from scenarios.report.tables import accounting, metric_rows, note_rows, prediction_rows
from scenarios.report.text import number
from scenarios.validation.evaluate import Validation
from scenarios.validation.lines import lines, rows

_COLOURS = {"VALID": "green", "SUSPECT": "yellow", "INVALID": "red"}
MAX_LOSSES = 12     # rows; the page has them all


def json_object(run: RunDirectory, recorded: Recorded | None = None) -> dict[str, object]:
    """What `--json` prints. `verdict` is null if the run did not come to one; parts that are missing are empty."""
    data = load(run, recorded)
    verdict = data.verdict or {}
    return {"run": data.id, "status": data.meta.status, "verdict": data.level, "reasons": verdict.get("reasons", []),
            "answer": sentences(data), "metrics": data.metrics, "ledger": data.ledger, "notes": data.notes,
            "validation": data.validation.as_json() if data.validation else None, "missing": data.missing}


def show(run: RunDirectory, console: Console, recorded: Recorded | None = None) -> None:
    """Prints question, answer, verdict, metrics, losses and the ledger."""
    console.print(render(load(run, recorded)))


def render(data: RunData) -> RenderableType:
    """Everything to print, top to bottom; sections without data are left out."""
    parts: list[RenderableType] = []
    warning = banner(data)
    if warning:
        parts.append(Panel(Text(" ".join(warning)), title="do not use these numbers",
                           border_style=_COLOURS.get(data.level or "", "red")))
    parts += [Text(data.scenario.question, style="bold"), Text(" ".join(sentences(data))), Text(), _verdict(data)]
    if data.validation:
        parts += [Text(), Text("\n").join(_checks(data.validation))]
    for table in (_metrics(data), _predictions(data), _losses(data)):
        if table is not None:
            parts += [Text(), table]
    notes = note_rows(data)
    if notes:
        parts += [Text(), Text("\n".join(f"{workload}, {what}: {text}" for workload, what, text in notes))]
    if data.ledger:
        parts += [Text(), Text(accounting(data.ledger).line)]
    return Group(*parts)


def _verdict(data: RunData) -> RenderableType:
    text = Text("Verdict: ")
    text.append(data.level or "none", style=f"bold {_COLOURS.get(data.level or '', 'red')}")
    for reason in (data.verdict or {}).get("reasons", []):
        text.append(f"\n  {reason.get('level', '')} {reason.get('invariant', '')}: {reason.get('text', '')}")
    return text


def _checks(validation: Validation) -> Iterator[Text]:
    """The lines of the checks, each mark in the colour of what it says."""
    colours = {f"  [{row.mark}] {row.name}": _COLOURS[row.level.upper()] for row in rows(validation)}
    for line in lines(validation):
        text = Text(line)
        for start, colour in colours.items():
            if line.startswith(start):
                text.stylize(f"bold {colour}", 2, start.index("]") + 1)
        yield text


def _metrics(data: RunData) -> Table | None:
    rows = metric_rows(data)
    real = any(row.real for row in rows)
    table = _table("metric", "", "value", *(["in real units"] if real else []), "spread", "samples")
    for row in rows:
        table.add_row(row.key, row.title, row.value, *([row.real] if real else []), row.spread, row.samples)
    return table if rows else None


def _predictions(data: RunData) -> Table | None:
    table = _table("prediction", "predicted", "measured", "ratio")
    for row in prediction_rows(data):
        table.add_row(*row)
    return table if table.row_count else None


def _losses(data: RunData) -> Table | None:
    found = losses(data.ledger) if data.ledger else []
    table = _table("lost", "at", "packets")
    for cause, place, count in found[:MAX_LOSSES]:
        table.add_row(cause, place, number(count))
    if len(found) > MAX_LOSSES:
        table.add_row("", f"{len(found) - MAX_LOSSES} more", number(sum(n for *_, n in found[MAX_LOSSES:])))
    return table if found else None


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 else "right", overflow="fold")
    return table
