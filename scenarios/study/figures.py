"""Small multiples of a study: a panel for each metric, a row for each design, every run a dot."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

import scenarios.report.charts.matplotlib_first  # noqa: F401

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scenarios.report.charts.canvas import WIDE, Figure, Ink, canvas, figure
from scenarios.report.text import quantity
from scenarios.study.analysis import Analysis, Compared
from scenarios.study.narrative import signed
from scenarios.study.statistics import MIN_PAIRS
from scenarios.study.tables import DIFFERENCES, differences, overview

NAME = 24           # characters of a design's name on one line
ROW = 0.3           # inches
Panel = Callable[[Axes, Compared], None]


def figures(analysis: Analysis) -> list[Figure]:
    """What each design reached, and how it differs from the baseline; those that there are data for."""
    metrics = [m for m in analysis.metrics if m.estimates]
    return [f for f in (_values(analysis, metrics), _differences(analysis, metrics)) if f is not None]


def _values(analysis: Analysis, metrics: Sequence[Compared]) -> Figure | None:
    if not metrics:
        return None
    names = list(analysis.result.designs)
    header, rows = overview(analysis)
    caption = ("Each dot is a run, hollow where it was SUSPECT; the bar is the median, the line its interval, which "
               f"fewer than {MIN_PAIRS} runs do not have. "
               f"{_directions(metrics)}")

    def panel(axes: Axes, metric: Compared) -> None:
        for row, name in enumerate(names):
            _runs(axes, analysis, metric, name, row)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: quantity(v, metric.unit)))

    return figure("designs", lambda width: _multiples(width, metrics, names, panel), title="Every run of every design",
                  caption=caption, alt=f"A panel for each metric, a row for each design. {_alt(metrics)}",
                  header=header, rows=tuple(rows))


def _differences(analysis: Analysis, metrics: Sequence[Compared]) -> Figure | None:
    held = [m for m in metrics if any(f.difference for f in m.findings)]
    if not held:
        return None
    base = analysis.result.baseline
    names = [name for name in analysis.result.designs if name != base]
    caption = ("Median of the differences between runs with one seed, and its interval, which fewer than "
               f"{MIN_PAIRS} pairs do not have. Filled: a difference was seen, "
               f"for the interval leaves out zero, which is {base}. "
               f"Hollow: none was seen, or too few pairs. {_directions(held)}")

    def panel(axes: Axes, metric: Compared) -> None:
        axes.axvline(0, color=Ink.FG, linewidth=0.8)
        for f in metric.findings:
            d, row = f.difference, names.index(f.design)
            if d is not None:
                if d.low is not None and d.high is not None:
                    axes.plot([d.low, d.high], [row, row], color=Ink.SERIES[0], linewidth=1.6)
                axes.plot(d.median, row, "o", markersize=7, markeredgecolor=Ink.SERIES[0],
                          color=Ink.SERIES[0] if d.seen else Ink.PAPER)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: signed(v, metric.unit)))

    return figure("differences", lambda width: _multiples(width, held, names, panel),
                  title=f"Differences from {base}", caption=caption,
                  alt=f"A panel for each metric, a row for each design but {base}. {caption}",
                  header=DIFFERENCES, rows=tuple(differences(analysis)))


def _directions(metrics: Sequence[Compared]) -> str:
    """'Lower is better in a and b; higher in c.'"""
    parts = [f"{better} is better in {', '.join(found)}" for better in ("lower", "higher")
             if (found := [m.label for m in metrics if m.choice.better == better])]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."     # capitalize() would make a ttft of a TTFT


def _alt(metrics: Sequence[Compared]) -> str:
    return " ".join(f"{m.label}: " + ", ".join(
        f"{name} {quantity(e.median, m.unit)}" for name, e in m.estimates.items()) + "." for m in metrics)


def _runs(axes: Axes, analysis: Analysis, metric: Compared, name: str, row: int) -> None:
    e = metric.estimates.get(name)
    if e is None:
        return
    design = analysis.result.designs[name]
    ink = Ink.MUTED if design.reference else Ink.SERIES[0]
    if e.low is not None and e.high is not None:
        axes.plot([e.low, e.high], [row, row], color=ink, linewidth=1.2)
    axes.plot([e.median, e.median], [row - 0.3, row + 0.3], color=ink, linewidth=2.6)
    for run in design.used.values():
        if metric.choice.metric in run.metrics:
            axes.plot(run.metrics[metric.choice.metric].shown, row, "o", markersize=4.2, markeredgecolor=ink,
                      color=ink if run.verdict == "VALID" else Ink.PAPER, zorder=3)


def _multiples(width: float, metrics: Sequence[Compared], names: Sequence[str], panel: Panel) -> Canvas:
    """Two panels beside each other on a wide page, one on a narrow one; designs are named at the left."""
    across = 2 if width >= WIDE and len(metrics) > 1 else 1
    down = math.ceil(len(metrics) / across)
    drawing = canvas(width, down * (0.75 + ROW * max(len(names), 2)))
    for n, metric in enumerate(metrics):
        axes = drawing.add_subplot(down, across, n + 1)
        panel(axes, metric)
        first = n % across == 0
        axes.set_yticks(range(len(names)), [textwrap.fill(name, NAME) if first else "" for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(textwrap.fill(metric.label, 46), loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(4 if width >= WIDE else 3))
        axes.grid(axis="x")
        axes.margins(x=0.08)
    return drawing
