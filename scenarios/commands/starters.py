"""aifab new: a commented file to begin with, that checks and runs as it is."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from topologies.model.errors import LabError

STARTERS = Path(__file__).parents[1] / "starters"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class Starter(StrEnum):
    """What can be begun."""

    scenario = "scenario"
    fabric = "fabric"
    study = "study"


def new(
    kind: Annotated[Starter, typer.Argument(help="which kind of file")],
    name: Annotated[str, typer.Argument(help="its name: small letters, digits and hyphens")],
    directory: Annotated[Path, typer.Option("--directory", "-d", help="where to write it")] = Path(),
) -> None:
    """Write a commented scenario, fabric or study to start from. Existing files are never overwritten.

    Examples:

      aifab new scenario my-ring

      aifab new fabric my-racks --directory labs
    """
    if not _NAME.fullmatch(name):
        raise LabError("NAME", "up to 41 small letters, digits and hyphens, a letter or digit first", repr(name),
                       f"for example: {_suggested(name)}")
    path = directory / (f"{name}.study.yml" if kind is Starter.study else f"{name}.yml")
    text = (STARTERS / f"{kind}.yml").read_text().replace("NAME", name)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(text)
    except OSError as error:
        raise LabError(str(path), "a new file", error.strerror or str(error),
                       "name another one: nothing was written") from None
    typer.echo(f"{path}\nnext:  aifab check {path}")


def _suggested(name: str) -> str:
    """The nearest name that would do."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:41] or "my-lab"
