"""A fabric drawn: SVG, and the text that Graphviz (DOT) and Mermaid draw.

    spines above, leaves below them, hosts at the bottom; each link with its rate
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from topologies.model.fabric import Fabric, Link, Node
from topologies.model.units import show_rate

CELL, TIER, MARGIN = 74, 130, 40        # pixels: a node's place, between rows, around everything
BOX = (60, 24)                          # pixels of a node
_STYLE = ("text{font:12px sans-serif;text-anchor:middle;dominant-baseline:central;fill:#222}"
          "rect{fill:#fff;stroke:#444}line{stroke:#888}.rate{font-size:10px;fill:#555}"
          ".probe rect{stroke-dasharray:3 2}")
_ROWS = (("spine",), ("leaf", "border"), ("host", "probe", "outside", "vtep"))


def rows(fabric: Fabric) -> list[tuple[Node, ...]]:
    """Nodes by the row that they stand in, from the top; rows without a node left out."""
    return [found for roles in _ROWS if (found := tuple(n for n in fabric.nodes if n.role in roles))]


def dot(fabric: Fabric) -> str:
    """An undirected graph for `dot -Tsvg`."""
    lines = [f'graph "{fabric.spec.name}" {{', "  rankdir=TB; node [shape=box, fontname=\"sans-serif\"];"]
    for row in rows(fabric):
        names = "; ".join(f'"{node.name}"' for node in row)
        lines.append(f"  {{ rank=same; {names} }}")
    lines += [f'  "{upper}" -- "{lower}" [label="{show_rate(link.rate)}"];' for upper, lower, link in _links(fabric)]
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(fabric: Fabric) -> str:
    """A flowchart, as Markdown pages of GitHub and GitLab draw it."""
    lines = ["flowchart TD"]
    lines += [f"  {upper} ---|{show_rate(link.rate)}| {lower}" for upper, lower, link in _links(fabric)]
    return "\n".join(lines) + "\n"


def svg(fabric: Fabric) -> str:
    """A drawing that needs nothing else: each node a box, each link a line; rates at the links between switches."""
    at = _places(fabric)
    width = max(x for x, _ in at.values()) + CELL // 2 + MARGIN
    height = max(y for _, y in at.values()) + BOX[1] + MARGIN
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
             f' width="{width}" height="{height}">',
             f"<title>{escape(fabric.spec.name)}</title>", f"<style>{_STYLE}</style>"]
    for upper, lower, link in _links(fabric):
        (x1, y1), (x2, y2) = at[upper], at[lower]
        parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"><title>{link.name}: {show_rate(link.rate)}'
                     "</title></line>")
    parts += [label for row in rows(fabric)[1:] for label in _rate_labels(fabric, row, at)]
    parts += [_box(node, *at[node.name]) for node in fabric.nodes]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(fabric: Fabric) -> dict[str, tuple[int, int]]:
    """Node -> centre, pixels: hosts side by side below their leaf, the row of spines spread over all of it."""
    at: dict[str, tuple[int, int]] = {}
    below = len(rows(fabric)) - 1
    used = 0
    for leaf in fabric.tunnel_ends:
        hosts = fabric.hosts_of(leaf.name)
        for n, host in enumerate(hosts):
            at[host.name] = MARGIN + CELL // 2 + (used + n) * CELL, MARGIN + below * TIER
        room = max(len(hosts), 1)
        at[leaf.name] = MARGIN + used * CELL + room * CELL // 2, MARGIN + TIER
        used += room
    spines = fabric.spines
    step = used * CELL / max(len(spines), 1)
    return at | {s.name: (round(MARGIN + (k + 0.5) * step), MARGIN) for k, s in enumerate(spines)}


def _rate_labels(fabric: Fabric, row: tuple[Node, ...], at: dict[str, tuple[int, int]]) -> Iterator[str]:
    """The rates of each node's links up, above it; what repeats from node to node stands once."""
    before = ""
    for node in row:
        rates = {link.rate for link in fabric.links_of(node.name)
                 if at[link.far(node.name).node][1] < at[node.name][1]}
        text = ", ".join(map(show_rate, sorted(rates)))
        if text != before:
            x, y = at[node.name]
            yield f'<text class="rate" x="{x}" y="{y - BOX[1]}">{text}</text>'
        before = text


def _box(node: Node, x: int, y: int) -> str:
    w, h = BOX
    return (f'<g class="{node.role}"><rect x="{x - w // 2}" y="{y - h // 2}" width="{w}" height="{h}" rx="3"/>'
            f'<text x="{x}" y="{y}">{escape(node.name)}</text></g>')


def _links(fabric: Fabric) -> Iterator[tuple[str, str, Link]]:
    """(upper end, lower end, link), those of the upper rows first."""
    height = {node.name: n for n, row in enumerate(rows(fabric)) for node in row}
    for link in sorted(fabric.links, key=lambda k: min(height[k.a.node], height[k.b.node])):
        upper, lower = sorted((link.a.node, link.b.node), key=height.__getitem__)
        yield upper, lower, link
