"""A large fabric as a matrix, where lines would hide each other: a column for each leaf.

              L1      L2      ...
    spine1   [#|-]   [#|#]         left bar: up (leaf to spine, host to leaf)
    spine2   [-|#]   [#|-]         right bar: down; its height and its colour are the mean load
    host 1   [#|#]   [-|-]         n-th host of each leaf
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure as Canvas

from scenarios.report.charts.canvas import WIDE, Ink, canvas
from scenarios.report.charts.drawing import legend, load_class, shown_hosts
from scenarios.report.series import Load
from topologies.model.fabric import Fabric, Node

MAX_HOSTS = 24      # rows of hosts; the busiest of a larger leaf
ROW = 0.24          # inches
Box = list[tuple[float, float]]
Cell = tuple[int, float, str, str]      # column, row (downwards), 'leaf1->spine1' up, 'spine1->leaf1' down


def draw(width: float, fabric: Fabric, loads: Mapping[str, Load], drops: Mapping[str, int]) -> Canvas:
    """`loads` by direction, `drops` packets by direction."""
    spines = [s.name for s in fabric.spines]
    columns = [_busiest(shown_hosts(fabric, leaf.name), loads) for leaf in fabric.tunnel_ends]
    tallest = max(map(len, columns), default=0)
    rows = len(spines) + 1 + tallest
    drawing = canvas(width, ROW * rows + 0.95)
    axes = drawing.add_subplot()
    cells = list(_cells(fabric, spines, columns))
    _paint(axes, cells, loads)
    _crosses(axes, cells, drops)
    _label(axes, fabric, spines, tallest, width)
    legend(drawing, bool(loads), any(drops.values()), width)
    return drawing


def hidden_hosts(fabric: Fabric) -> int:
    """Hosts for which there is no row."""
    return sum(max(len(shown_hosts(fabric, leaf.name)) - MAX_HOSTS, 0) for leaf in fabric.tunnel_ends)


def _busiest(hosts: Sequence[Node], loads: Mapping[str, Load]) -> list[Node]:
    """At most MAX_HOSTS, in their order."""
    def load(host: Node) -> float:
        return sum(loads[d].mean for d in (f"{host.name}->{host.leaf}", f"{host.leaf}->{host.name}") if d in loads)
    kept = {h.name for h in sorted(hosts, key=load, reverse=True)[:MAX_HOSTS]}
    return [h for h in hosts if h.name in kept]


def _cells(fabric: Fabric, spines: Sequence[str], columns: Sequence[Sequence[Node]]) -> Iterator[Cell]:
    for x, (leaf, hosts) in enumerate(zip(fabric.tunnel_ends, columns, strict=True)):
        for y, spine in ((y, s) for y, s in enumerate(spines) if f"{leaf.name}-{s}" in fabric.links_by_name):
            yield x, y, f"{leaf.name}->{spine}", f"{spine}->{leaf.name}"
        for y, host in enumerate(hosts):
            yield x, len(spines) + 0.5 + y, f"{host.name}->{leaf.name}", f"{leaf.name}->{host.name}"


def _bars(cells: Iterable[Cell], loads: Mapping[str, Load]) -> Iterator[tuple[str, Box]]:
    """Colour and corners of each bar: as high as the mean load of its direction."""
    for x, y, *directions in cells:
        for side, direction in enumerate(directions):
            if direction in loads:
                mean = loads[direction].mean
                height = 0.8 * min(max(mean, 0.0), 1.0)
                yield Ink.LOAD[load_class(mean)], _box(x - 0.4 + 0.4 * side, y + 0.4 - height, height)


def _box(left: float, top: float, height: float) -> Box:
    return [(left, top), (left + 0.4, top), (left + 0.4, top + height), (left, top + height)]


def _paint(axes: Axes, cells: Sequence[Cell], loads: Mapping[str, Load]) -> None:
    """Frames, then bars; one collection for each colour, for there may be thousands."""
    frames = [_box(x - 0.4 + 0.4 * side, y - 0.4, 0.8) for x, y, *_ in cells for side in (0, 1)]
    axes.add_collection(PolyCollection(frames, facecolor="none", edgecolor=Ink.GRID, linewidth=0.6))
    colours: dict[str, list[Box]] = {}
    for colour, box in _bars(cells, loads):
        colours.setdefault(colour, []).append(box)
    for colour, boxes in colours.items():
        axes.add_collection(PolyCollection(boxes, facecolor=colour, linewidth=0))


def _crosses(axes: Axes, cells: Sequence[Cell], drops: Mapping[str, int]) -> None:
    for x, y, *directions in cells:
        for side, direction in enumerate(directions):
            if drops.get(direction):
                axes.plot(x - 0.2 + 0.4 * side, y, "X", color=Ink.BAD, markersize=6.5, markeredgecolor=Ink.PAPER,
                          zorder=4)


def _label(axes: Axes, fabric: Fabric, spines: Sequence[str], tallest: int, width: float) -> None:
    names = [leaf.name for leaf in fabric.tunnel_ends]
    if len(names) * 0.55 > width:
        names = [name.replace("leaf", "L").replace("border", "B") for name in names]
    if len(names) * 0.3 > width:
        names = [name if i % 4 == 0 else "" for i, name in enumerate(names)]
    rows = [*spines, *(f"host {i + 1}" for i in range(tallest))]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([i + (0.5 if i >= len(spines) else 0) for i in range(len(rows))], rows,
                    fontsize=8 if width >= WIDE else 7)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(len(rows) + 0.1, -0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
