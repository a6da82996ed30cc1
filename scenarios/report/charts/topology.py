"""The figure of the fabric: drawn where that can be read, else as a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure as Canvas

from scenarios.report.charts import drawing, matrix
from scenarios.report.charts.canvas import NARROW, WIDE, Figure, figure
from scenarios.report.series import Load
from scenarios.report.text import number, percent, plural, quantity
from topologies.model.fabric import Fabric

MAX_ROWS = 400      # of the table; the busiest directions of a larger fabric
HEADER = ("direction", "rate", "mean load", "peak load", "drops", "longest queue", "queue size")


def fabric_figure(fabric: Fabric, loads: Sequence[Load], drops: Mapping[str, int] | None) -> Figure:
    """The fabric with its links coloured by mean load. `drops`: packets per direction, None if not counted."""
    by_direction = {load.direction: load for load in loads}
    known = drops or {}

    def draw(width: float) -> Canvas:
        way = drawing.draw if drawing.fits(fabric, width) else matrix.draw
        return way(width, fabric, by_direction, known)

    caption = " ".join((_size(fabric), _loads(fabric, loads), _drops(drops)))
    rows = tuple((load.direction, quantity(load.rate, "bit/s"), percent(load.mean), percent(load.peak),
                  number(known.get(load.direction, 0)) if drops is not None else "-",
                  quantity(load.max_backlog, "B"), quantity(load.queue, "B")) for load in loads[:MAX_ROWS])
    return figure("fabric", draw, title="The fabric, by load", caption=caption, alt=f"Drawing of the fabric. {caption}",
                  header=HEADER, rows=rows, notes=(_note(fabric, WIDE), _note(fabric, NARROW)) if loads else ("", ""))


def _size(fabric: Fabric) -> str:
    leaves = len(fabric.leaves)
    hosts = len(fabric.of("host", "outside"))
    spines = plural(len(fabric.spines), "spine")
    return f"{plural(hosts, 'host')}, {leaves} {'leaf' if leaves == 1 else 'leaves'}, {spines}."


def _loads(fabric: Fabric, loads: Sequence[Load]) -> str:
    if not loads:
        return "Loads were not sampled."
    hot = sum(drawing.load_class(load.mean) == len(drawing.CLASSES) for load in loads)
    text = f"Above {percent(drawing.CLASSES[-1])} mean load: {hot} of {plural(len(loads), 'direction')}."
    return text + (f" The table has the {MAX_ROWS} busiest." if len(loads) > MAX_ROWS else "")


def _note(fabric: Fabric, width: float) -> str:
    """How to read the drawing at this width."""
    if drawing.fits(fabric, width):
        return "In a link, the part next to a node shows the mean load of what leaves that node."
    hidden = matrix.hidden_hosts(fabric)
    return ("In a cell, the left bar is traffic up (to the spine, from the host), the right bar traffic down."
            + (f" {plural(hidden, 'less busy host')} left out." if hidden else ""))


def _drops(drops: Mapping[str, int] | None) -> str:
    if drops is None:
        return "Drops were not counted."
    lossy = sum(1 for n in drops.values() if n)
    return f"Crosses mark the {plural(lossy, 'queue')} that dropped packets." if lossy else "No queue dropped a packet."
