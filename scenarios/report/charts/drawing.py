"""A small fabric drawn as a weather map: each part of a link shows the load of what leaves the node it touches.

        spine1     spine2          part next to leaf1: leaf1->spine1
          | \\     / |              part next to spine1: spine1->leaf1
          |  \\   /  |              a cross: the queue there dropped packets
        leaf1      leaf2
        h1 h2      h3 h4           too many hosts or links for that: see `matrix`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from scenarios.report.charts.canvas import WIDE, Ink, Look, canvas
from scenarios.report.series import Load
from scenarios.report.text import number
from topologies.model.fabric import Fabric, Node

CLASSES = (0.2, 0.4, 0.6, 0.8)      # of mean load; the fifth is above
WIDTHS = (1.0, 1.8, 2.7, 3.7, 4.9)  # points, so that load can be seen without colour
SPLIT, GAP = 0.42, 0.012            # where the parts of a link meet: off the middle, where links cross
HOST_ROOM = 0.4                     # inches across for each host
MAX_LINKS = 24                      # between leaves and spines; more of them hide each other
DIGIT, LINE = 5.0, 10.0             # points that a digit of a drop count is wide and high, with its border
TIER = 90.0                         # points from hosts to leaves to spines
SPINE_Y, LEAF_Y, HOST_Y = 2.0, 1.0, 0.28
Point = tuple[float, float]


def load_class(share: float) -> int:
    """0 (least) to 4 of a mean load."""
    return sum(share >= edge for edge in CLASSES)


def fits(fabric: Fabric, width: float) -> bool:
    """Whether the fabric can be drawn so that every link is seen."""
    links = sum(link.kind == "fabric" for link in fabric.links)
    return links <= MAX_LINKS and sum(_cells(fabric).values()) * HOST_ROOM <= width


def shown_hosts(fabric: Fabric, leaf: str) -> list[Node]:
    """Hosts of a leaf that are drawn: probes carry nothing that counts."""
    return [h for h in fabric.hosts_of(leaf) if h.role != "probe"]


def _cells(fabric: Fabric) -> dict[str, int]:
    """Leaf, or router with a VTEP -> places for hosts below it, at least one for itself."""
    return {leaf.name: max(len(shown_hosts(fabric, leaf.name)), 1) for leaf in fabric.tunnel_ends}


def places(fabric: Fabric, width: float) -> dict[str, Point]:
    """Node -> (inches across, tier); hosts side by side below their leaf."""
    cells = _cells(fabric)
    room = width / sum(cells.values())
    at: dict[str, Point] = {}
    used = 0
    for leaf, count in cells.items():
        at[leaf] = (used + count / 2) * room, LEAF_Y
        for j, host in enumerate(shown_hosts(fabric, leaf)):
            at[host.name] = (used + j + 0.5) * room, HOST_Y
        used += count
    spines = fabric.spines
    return at | {s.name: (width * (k + 0.5) / len(spines), SPINE_Y) for k, s in enumerate(spines)}


def draw(width: float, fabric: Fabric, loads: Mapping[str, Load], drops: Mapping[str, int]) -> Canvas:
    """`loads` by direction, `drops` packets by direction."""
    at = places(fabric, width - 0.2)
    drawing = canvas(width, 3.2)
    axes = drawing.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-0.1, width - 0.1)
    axes.set_ylim(HOST_Y - 0.22, SPINE_Y + 0.15)
    crosses: list[tuple[Point, int]] = []
    for link in fabric.links:
        if link.a.node in at and link.b.node in at:
            crosses += _link(axes, at, (link.a.node, link.b.node), loads, drops)
    for (place, count), (dx, dy, align) in zip(crosses, label_places(crosses), strict=True):
        _cross(axes, place, count, (dx, dy), align)
    for node in fabric.nodes:
        if node.name in at:
            (_host if node.is_host else _switch)(axes, node, at[node.name])
    legend(drawing, bool(loads), any(drops.values()), width)
    return drawing


def stroke(load: Load | None) -> Look:
    """Colour and width of a direction; dotted where its load is not known."""
    if load is None:
        return {"color": Ink.MUTED, "linewidth": 0.8, "linestyle": ":"}
    grade = load_class(load.mean)
    return {"color": Ink.LOAD[grade], "linewidth": WIDTHS[grade], "solid_capstyle": "butt"}


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _link(axes: Axes, at: Mapping[str, Point], ends: tuple[str, str], loads: Mapping[str, Load],
          drops: Mapping[str, int]) -> Iterator[tuple[Point, int]]:
    """Draws both directions; where a queue dropped packets, and how many."""
    a, b = ends
    for near, far, share in ((a, b, SPLIT), (b, a, 1 - SPLIT)):
        direction = f"{near}->{far}"
        x, y = zip(at[near], _between(at[near], at[far], share - GAP), strict=True)
        axes.plot(x, y, zorder=1, **stroke(loads.get(direction)))
        if drops.get(direction):
            yield _between(at[near], at[far], 0.3), drops[direction]


def label_places(crosses: Sequence[tuple[Point, int]]) -> list[tuple[float, float, str]]:
    """Where the number of each cross stands, so that no two meet: offset in points, and alignment.

    Beside its cross if there is room, else above or below it, else further away.
    """
    size = [(len(number(count)) * DIGIT, LINE) for _, count in crosses]
    points = [(x * 72, y * TIER) for (x, y), _ in crosses]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    found: list[tuple[float, float, str]] = []
    for (x, y), (w, h) in zip(points, size, strict=True):
        tried = [(6.0, 0.0, "left"), (-6.0, 0.0, "right"),
                 *((0.0, sign * step * LINE, "center") for step in range(1, 6) for sign in (1, -1))]
        boxes = [(left, y + dy - h / 2, left + w, y + dy + h / 2) for dx, dy, align in tried
                 for left in (x + dx - {"left": 0.0, "right": w, "center": w / 2}[align],)]
        own = (x - 5, y - 5, x + 5, y + 5)
        free = [k for k, box in enumerate(boxes) if not any(_meet(box, t) for t in taken if t != own)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        found.append(tried[best])
    return found


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cross(axes: Axes, place: Point, count: int, offset: Point, align: str) -> None:
    axes.plot(*place, "X", color=Ink.BAD, markersize=7.5, markeredgecolor=Ink.PAPER, zorder=4)
    axes.annotate(number(count), place, offset, textcoords="offset points", va="center", ha=align, fontsize=7.5,
                  color=Ink.BAD, zorder=5, bbox={"facecolor": Ink.PAPER, "edgecolor": "none", "pad": 0.6})


def _switch(axes: Axes, node: Node, place: Point) -> None:
    axes.text(*place, node.name, ha="center", va="center", fontsize=8.5, color=Ink.FG, zorder=6,
              bbox={"boxstyle": "round,pad=0.25", "facecolor": Ink.PAPER, "edgecolor": Ink.FG, "linewidth": 0.9})


def _host(axes: Axes, node: Node, place: Point) -> None:
    """A square, or a circle outside of the data centre; a long name is slanted so that neighbours do not meet."""
    marker = "o" if node.role == "outside" else "s"
    axes.plot(*place, marker, color=Ink.PAPER, markeredgecolor=Ink.FG, markersize=6, zorder=6)
    slanted: Look = {"ha": "right", "rotation": 40, "rotation_mode": "anchor", "fontsize": 7}
    upright: Look = {"ha": "center", "fontsize": 8}
    axes.annotate(node.name, place, (0, -7), textcoords="offset points", va="top", color=Ink.FG,
                  **(slanted if len(node.name) > 5 else upright))


def legend(drawing: Canvas, sampled: bool, lossy: bool, width: float) -> None:
    """Classes of load, and the cross."""
    edges = (0, *(round(edge * 100) for edge in CLASSES), 100)
    handles = [Line2D([], [], color=Ink.LOAD[i], linewidth=WIDTHS[i], label=f"{edges[i]}-{edges[i + 1]} %")
               for i in range(len(WIDTHS))] if sampled else []
    if lossy:
        handles.append(Line2D([], [], color=Ink.BAD, marker="X", linestyle="none", label="drops"))
    if handles:
        drawing.legend(handles=handles, loc="outside upper left", ncols=6 if width >= WIDE else 3, handlelength=2.2,
                       columnspacing=1.4, title="mean load of a direction" if sampled else None, alignment="left",
                       title_fontsize=8)
