"""Bars: the time of each step of a workload, and the packets lost by cause and place."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas

from scenarios.report.charts.canvas import WIDE, Figure, Ink, canvas, figure
from scenarios.report.losses import CAUSES, Loss, losses
from scenarios.report.measured import Json
from scenarios.report.text import number, percent, plural, quantity
from traffic.runtime.records import StepRecord

MAX_STEPS = 120         # bars of one workload; the later ones of a longer run are in the table only
MAX_PLACES = 14         # bars of loss; smaller ones are added up in one bar
HATCHES = dict(zip(CAUSES.values(), ("", "oo", "//", "..", "xx", "++"), strict=True))      # word of a cause -> hatch


def step_figure(workload: str, steps: Sequence[StepRecord], predicted: float | None, *, phase: str = "",
                on_paths: float | None = None) -> Figure:
    """Step time per iteration: full height is the last rank's end, the pale part what the others waited.

    predicted, on_paths: seconds of a step by itself, and by fair shares on the observed paths, drawn as lines.
    Warm-up iterations (negative) are hollow. phase: of these steps, where the workload has them in several.
    """
    name = f"{workload} in phase {phase}" if phase else workload
    shown = sorted(steps, key=lambda s: s.iteration)
    measured = [s.end - s.start for s in shown if s.iteration >= 0]
    caption = f"{plural(len(measured), 'measured iteration')}"
    if measured:
        caption += f" of {quantity(min(measured), 's')} to {quantity(max(measured), 's')}"
    warmups = len(shown) - len(measured)
    caption += f", {plural(warmups, 'warm-up')} (hollow)." if warmups else "."
    if predicted:
        caption += f" The dashed line is what was predicted for it by itself, {quantity(predicted, 's')}."
    if on_paths:
        caption += f" The dotted line: fair shares on the paths that its connections took, {quantity(on_paths, 's')}."
    if len(shown) > MAX_STEPS:
        caption += f" The first {MAX_STEPS} are drawn; the table has all."
    rows = tuple((str(s.iteration), f"{s.start:.3f}", f"{s.end - s.start:.4f}", f"{_first_end(s):.4f}",
                  "warm-up" if s.iteration < 0 else "measured") for s in shown)
    return figure(
        f"steps-{workload}{'-' if phase else ''}{phase}",
        lambda width: _draw_steps(width, shown[:MAX_STEPS], predicted, on_paths),
        title=f"Step times of {name}", caption=caption, alt=f"Bar chart of step times of {name}. {caption}",
        header=("iteration", "start (s)", "step time (s)", "first rank done after (s)", "kind"), rows=rows)


def _first_end(step: StepRecord) -> float:
    """Seconds from the step's start until the first rank was done; the whole step if ranks are not known."""
    ends = [r[1] for r in step.ranks if r]
    return min(ends, default=step.end) - step.start


def _draw_steps(width: float, steps: Sequence[StepRecord], predicted: float | None, on_paths: float | None) -> Canvas:
    drawing = canvas(width, 2.5)
    axes = drawing.add_subplot()
    for i, step in enumerate(steps):
        total, first = step.end - step.start, _first_end(step)
        warm = step.iteration < 0
        axes.bar(i, first, 0.72, color="none" if warm else Ink.SERIES[0], edgecolor=Ink.SERIES[0], linewidth=0.8)
        axes.bar(i, total - first, 0.72, bottom=first, color="none", edgecolor=Ink.SERIES[0], hatch="////",
                 linewidth=0.8)
        if len(steps) <= (20 if width >= WIDE else 8):
            axes.annotate(f"{total:.3g}", (i, total), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    if predicted:
        axes.axhline(predicted, color=Ink.SERIES[1], linestyle="--", linewidth=1.2)
    if on_paths:
        axes.axhline(on_paths, color=Ink.SERIES[2], linestyle=":", linewidth=1.6)
    every = max(1, len(steps) // (20 if width >= WIDE else 8))
    axes.set_xticks(range(0, len(steps), every), [str(s.iteration) for s in steps[::every]])
    axes.set_xlim(-0.8, max(len(steps), 5) - 0.2)
    axes.set_xlabel("iteration (below 0: warm-up); hatched: some ranks are done, others not")
    if width < WIDE:
        axes.set_xlabel("iteration; hatched: some ranks are done")
    axes.set_ylabel("step time (s)")
    axes.margins(y=0.14)
    axes.grid(axis="y")
    return drawing


def loss_figure(ledger: Json) -> Figure | None:
    """Lost packets by queue and other named cause; None if there were none."""
    found = losses(ledger)
    if not found:
        return None
    total = sum(n for *_, n in found)
    share = f", {percent(total / ledger['sent'])} of all that hosts sent, probes included" if ledger.get("sent") else ""
    caption = f"{plural(total, 'packet')} lost{share}, at {plural(len(found), 'place')}. Each is named by the ledger."
    if any(cause == "unexplained" for cause, *_ in found):
        caption = f"{plural(total, 'packet')} lost{share}; some of them at no place that the ledger can name."
    return figure(
        "loss", lambda width: _draw_losses(width, _grouped(found)), title="Loss by queue and cause", caption=caption,
        alt=f"Bar chart of lost packets. {caption}", header=("cause", "place", "packets", "share of the lost"),
        rows=tuple((c, p, number(n), percent(n / total) if total else "-") for c, p, n in found))


def _grouped(found: Sequence[Loss]) -> list[Loss]:
    rest = found[MAX_PLACES:]
    tail = [("queue", f"{len(rest)} others", sum(n for *_, n in rest))] if rest else []
    return [*found[:MAX_PLACES], *tail]


def _draw_losses(width: float, found: Sequence[Loss]) -> Canvas:
    drawing = canvas(width, 0.7 + 0.24 * max(len(found), 3))
    axes = drawing.add_subplot()
    most = max(abs(n) for *_, n in found)
    for i, (cause, place, n) in enumerate(found):
        plain = cause == "queue"
        axes.barh(i, n, 0.66, color=Ink.BAD if plain else "none", edgecolor=Ink.BAD, hatch=HATCHES[cause],
                  linewidth=0.8)
        axes.annotate(f"{number(n)}  {place}" if width < WIDE else number(n), (max(n, 0), i), (3, 0),
                      textcoords="offset points", va="center", fontsize=8)
    wide = [place if cause == "queue" else f"{place} ({cause})" for cause, place, _ in found]
    axes.set_yticks(range(len(found)), wide if width >= WIDE else [cause for cause, *_ in found])
    axes.set_ylim(max(len(found), 3) - 0.5, -0.5)
    axes.set_xlim(min(0, *(n for *_, n in found)), most * (1.12 if width >= WIDE else 1.9))
    axes.set_xlabel("packets")
    axes.grid(axis="x")
    return drawing
