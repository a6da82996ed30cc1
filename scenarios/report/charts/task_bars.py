"""What each task of an agent was made of: a bar a task, the parts of its critical path end to end."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas

from scenarios.report.charts.canvas import WIDE, Figure, Ink, canvas, figure
from scenarios.report.measured import Json
from scenarios.report.tasks import WORDS
from scenarios.report.text import plural, quantity
from traffic.metrics.serving.tasks import PARTS

MAX_TASKS = 24          # bars; of more tasks the slowest are drawn
FILL = dict(zip(PARTS, (*Ink.SERIES, "none"), strict=True))         # pauses are hollow
HATCHES = {"prefill": "//", "external": "\\\\"}     # neighbours are distinguished without colour


def task_figure(where: str, tasks: Sequence[Json]) -> Figure:
    """The answered tasks of one workload in one phase ('agents.main'), the slowest first, as tasks.json has them."""
    slowest = sorted(tasks, key=lambda t: -t["seconds"])
    caption = (f"{plural(len(tasks), 'task')} of {quantity(slowest[-1]['seconds'], 's')} to "
               f"{quantity(slowest[0]['seconds'], 's')}, the slowest first. The parts of a task's critical path add up "
               "to its time.")
    if len(tasks) > MAX_TASKS:
        caption += f" The slowest {MAX_TASKS} are drawn; the table has all."
    rows = tuple((str(t["task"]), f"{t['seconds']:.3f}", *(f"{t['parts'][p]:.3f}" for p in PARTS), str(len(t["path"])))
                 for t in slowest)
    return figure(
        f"tasks-{where.replace('.', '-')}", lambda width: _draw(width, slowest[:MAX_TASKS]),
        title=f"What tasks of {where} were made of", caption=caption,
        alt=f"Stacked bars of the times of tasks of {where}. {caption}",
        header=("task", "time (s)", *(f"{WORDS.get(p, p)} (s)" for p in PARTS), "calls on the path"), rows=rows)


def _draw(width: float, tasks: Sequence[Json]) -> Canvas:
    drawing = canvas(width, 1.1 + 0.17 * max(len(tasks), 4))
    axes = drawing.add_subplot()
    for i, task in enumerate(tasks):
        left = 0.0
        for part in PARTS:
            seconds = task["parts"][part]
            edge = Ink.MUTED if part == "think" else Ink.PAPER
            axes.barh(i, seconds, 0.7, left=left, color=FILL[part], edgecolor=edge,
                      hatch=HATCHES.get(part), linewidth=0.4, label=WORDS.get(part, part) if i == 0 else None)
            left += seconds
    axes.set_yticks(range(len(tasks)), [str(t["task"]) for t in tasks])
    axes.set_ylim(max(len(tasks), 4) - 0.5, -0.5)
    axes.set_ylabel("task")
    axes.set_xlabel("s")
    axes.grid(axis="x")
    drawing.legend(loc="outside upper left", ncols=len(PARTS) if width >= WIDE else 4)
    return drawing
