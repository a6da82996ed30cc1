"""matplotlib figures as inline SVG that follows the page: its colours, its font, light or dark, any width.

A figure is drawn with the stand-in colours of `Ink`; `to_svg` puts CSS variables in their place. Ids get
the figure's prefix, for several inline SVGs share one page. Nothing in the result names a URL.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import scenarios.report.charts.matplotlib_first  # noqa: F401

# isort: split
import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

WIDE, NARROW = 8.8, 4.5     # inches; of a desktop page and of a telephone


class Ink:
    """Stand-in colours -> CSS variables of report.css."""

    FG, MUTED, GRID, PAPER, BAD = "#010101", "#010102", "#010103", "#010104", "#010105"
    SERIES = ("#010201", "#010202", "#010203", "#010204", "#010205", "#010206")
    LOAD = ("#010301", "#010302", "#010303", "#010304", "#010305")


_VARIABLES = {
    Ink.FG: "--fg", Ink.MUTED: "--muted", Ink.GRID: "--grid", Ink.PAPER: "--paper", Ink.BAD: "--bad",
    **{ink: f"--s{i + 1}" for i, ink in enumerate(Ink.SERIES)},
    **{ink: f"--l{i + 1}" for i, ink in enumerate(Ink.LOAD)},
}
# a line is distinguished from the others by its dashes as well as by its colour
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)), (0, (3, 2.5)))
_STYLE = {
    "svg.fonttype": "none", "font.size": 8.5, "axes.titlesize": 8.5, "axes.labelsize": 8.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "text.color": Ink.FG, "axes.labelcolor": Ink.FG, "axes.edgecolor": Ink.MUTED, "axes.titlecolor": Ink.FG,
    "xtick.color": Ink.MUTED, "ytick.color": Ink.MUTED, "xtick.labelcolor": Ink.FG, "ytick.labelcolor": Ink.FG,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "hatch.linewidth": 0.7,
    "grid.color": Ink.GRID, "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.4,
    "path.simplify": False, "axes.unicode_minus": False,
}
_METADATA = ("Date", "Creator", "Format", "Type")
Row = tuple[str, ...]
Look = dict[str, Any]       # keywords of a bar, a line or a text, which matplotlib types one by one


@dataclass(frozen=True)
class Figure:
    """One figure of the page, for wide and for narrow screens, and the same as words and as a table."""

    key: str
    title: str
    caption: str
    alt: str
    wide: str
    narrow: str
    header: Row
    rows: tuple[Row, ...]
    wide_note: str = ""         # how to read the drawing, where the two differ
    narrow_note: str = ""


Draw = Callable[[float], Canvas]    # width in inches -> figure


def style() -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = mpl.rc_context(_STYLE)
    return context


def figure(key: str, draw: Draw, *, title: str, caption: str, alt: str, header: Row,
           rows: tuple[Row, ...], notes: tuple[str, str] = ("", "")) -> Figure:
    """Draws at both widths."""
    with style():
        wide, narrow = (to_svg(draw(width), f"{key}-{name}") for width, name in ((WIDE, "w"), (NARROW, "n")))
    return Figure(key, title, caption, alt, wide, narrow, header, rows, *notes)


def canvas(width: float, height: float) -> Canvas:
    """An empty figure of so many inches, laid out so that no label is cut."""
    return Canvas(figsize=(width, height), layout="constrained")


def to_svg(drawing: Canvas, prefix: str) -> str:
    """An <svg> element without width and height: CSS gives it its size. Equal figures give equal text."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix}):
        drawing.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    svg = text.getvalue()
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">', svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace("xlink:href", "href").replace("-&gt;", "→")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    for ink, variable in _VARIABLES.items():
        svg = svg.replace(ink, f"var({variable})")
    return re.sub(r"\s*\n\s*", "\n", svg)
