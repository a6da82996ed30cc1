"""aifab graph: draw a fabric."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from topologies.access import files
from topologies.model.errors import LabError

if TYPE_CHECKING:
    from topologies.model.fabric import Fabric


class Format(StrEnum):
    """How a drawing is written."""

    svg = "svg"
    dot = "dot"
    mermaid = "mermaid"


def graph(
    name: Annotated[str, typer.Argument(metavar="FILE", help="a fabric or scenario file, or a name")],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="default: print it")] = None,
    how: Annotated[Format | None, typer.Option(
        "--format", help="default: by the output's suffix, else dot")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="PATH=VALUE", help="change a value first")] = None,
) -> None:
    """Draw a fabric as SVG, or write it as DOT (Graphviz) or Mermaid.

    Examples:

      aifab graph small -o small.svg

      aifab graph allreduce --format mermaid
    """
    suffixes = {".svg": Format.svg, ".dot": Format.dot, ".gv": Format.dot, ".mmd": Format.mermaid}
    text = _drawn(_fabric_of(name, settings or []),
                  how or suffixes.get(output.suffix if output else "", Format.dot))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        files.write_whole(output, text.encode())
    except OSError as error:
        raise LabError(str(output), "a file that can be written", error.strerror or str(error)) from None


def _fabric_of(name: str, settings: list[str]) -> Fabric:
    """Of a scenario its fabric."""
    from scenarios.commands.check import is_fabric
    from scenarios.spec.load_scenario import load_scenario
    from topologies.model.expansion import expand
    from topologies.model.load import load_fabric

    return expand(load_fabric(name, settings) if is_fabric(name) else load_scenario(name, settings).fabric)


def _drawn(fabric: Fabric, how: Format) -> str:
    from topologies.model.graphs import dot, mermaid, svg

    return {Format.svg: svg, Format.dot: dot, Format.mermaid: mermaid}[how](fabric)
