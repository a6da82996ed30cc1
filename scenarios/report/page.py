"""One HTML file that needs nothing else: no script, no request, readable on paper and on a telephone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import scenarios.report.charts.matplotlib_first  # noqa: F401

# isort: split
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from scenarios.evidence.results import Recorded, RunDirectory
from scenarios.report import tenants
from scenarios.report.answer import MEANING, banner, sentences
from scenarios.report.data import RunData, load
from scenarios.report.figures import figures
from scenarios.report.tables import (
    accounting,
    limits,
    metric_rows,
    note_rows,
    prediction_rows,
    provenance,
    scenario_yaml,
)
from scenarios.validation.lines import rows, summary

_HERE = Path(__file__).parent
_SIGNS = {"VALID": "✓", "SUSPECT": "?", "INVALID": "✕"}


def build(run: RunDirectory, recorded: Recorded | None = None) -> str:
    """The report of a run as HTML. Raises LabError if the run's meta or scenario cannot be read."""
    data = load(run, recorded)
    metrics = metric_rows(data)
    return render(
        "report.html", _HERE, data=data,
        answer=sentences(data), banner=banner(data), verdict=verdict_view(data), figures=figures(data),
        accounting=accounting(data.ledger) if data.ledger else None, metrics=metrics,
        scaled=any(m.real for m in metrics),
        predictions=prediction_rows(data), notes=note_rows(data), provenance=provenance(data),
        limits=limits(data.scenario, data.fabric),
        moves=list(tenants.move_rows(data)), proofs=list(tenants.proof_rows(data)),
        shares=list(tenants.share_rows(data)), beside=list(tenants.beside_rows(data)),
        checks=rows(data.validation) if data.validation else [],
        checked=summary(data.validation) if data.validation else "",
        yaml=escape(scenario_yaml(data.scenario)))


def render(template: str, folder: Path, **parts: object) -> str:
    """A template of `folder` with the style and the macros of reports; directions get arrows."""
    css = Markup((_HERE / "report.css").read_text())    # noqa: S704 - our own file
    return _environment(folder).get_template(template).render(css=css, **parts)


@cache
def _environment(folder: Path) -> Environment:
    """Templates are compiled once a process."""
    return Environment(loader=FileSystemLoader([folder, _HERE]), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, finalize=_arrows)


def _arrows(value: object) -> object:
    """A direction 'a->b' as a→b, which no line break cuts. Ready markup stays as it is."""
    return value.replace("->", "→") if isinstance(value, str) and not isinstance(value, Markup) else value


def verdict_view(data: RunData) -> dict[str, object]:
    """The badge, the reasons and what was checked."""
    verdict = data.verdict or {}
    level = data.level or "NO VERDICT"
    return {"level": level, "class": level.lower().replace(" ", "-"), "sign": _SIGNS.get(level, "-"),
            "meaning": MEANING.get(data.level, ""), "reasons": verdict.get("reasons", []),
            "checked": verdict.get("checked", [])}
