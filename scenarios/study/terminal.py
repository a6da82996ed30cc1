"""A study for a terminal: who won, by how much and how sure that is, on the first screen."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scenarios.study.analysis import Analysis
from scenarios.study.narrative import caveats, findings, lead_sentence
from scenarios.study.tables import overview, verdicts


def show(analysis: Analysis, console: Console) -> None:
    """Prints question, answer, table, findings and what is to be known of the runs."""
    console.print(render(analysis))


def render(analysis: Analysis) -> RenderableType:
    """Everything to print, top to bottom."""
    result = analysis.result
    leads = [lead_sentence(m) for m in analysis.metrics]
    parts: list[RenderableType] = [Text(result.question, style="bold"), Text(), Text(leads[0], style="bold")]
    parts += [Text(s) for s in leads[1:]]
    parts += [Text(), Text(f"Runs: {verdicts(result)}.")]
    parts += [Text(s, style="yellow") for s in caveats(analysis)]
    header, rows = overview(analysis)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for i, column in enumerate(header):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    parts += [Text(), table]
    sentences = findings(analysis)
    if sentences:
        parts += [Text(), Text(f"Against {result.baseline}:", style="bold"), *(Text(f"- {s}") for s in sentences)]
    if analysis.costs is not None:
        parts += [Text(), Text("Costs:", style="bold"), *(Text(f"- {s}") for s in analysis.costs.sentences),
                  Text(analysis.costs.basis, style="dim")]
    if result.discarded:
        parts += [Text(), Text("Not used:", style="bold"), *(Text(f"- {d.run}: {d.why}") for d in result.discarded)]
    return Group(*parts)
