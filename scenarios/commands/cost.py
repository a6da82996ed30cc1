"""aifab cost: what a fabric costs, and what the work of runs costs over theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.cost.designs import Design
    from scenarios.cost.prices import Prices


def cost(
    targets: Annotated[list[str], typer.Argument(
        metavar="FABRIC|RUN...", help="fabrics of the catalog or files; run directories or ids")],
    prices: Annotated[str, typer.Option(help="a price file, or a name of scenarios/prices")] = "typical",
    host_rate: Annotated[str | None, typer.Option(
        "--as", metavar="RATE", help="the real rate of the hosts of an unscaled fabric, such as 400gbit")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="PATH=VALUE", help="override a value of the fabrics, such as oversubscription=4")] = None,
    runs: Annotated[Path, typer.Option(help="where run directories are")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Price a fabric; for a run, also price a training step or a million tokens, and the time lost to the network.

    Several are ranked, with the price change that would put another one first.

    Examples:

      aifab cost scaled400g

      aifab cost small spines4 --as 400gbit

      aifab cost runs/20260101T120000Z-demo-1f2e --as 400gbit --json
    """
    from rich.console import Console

    from scenarios.cost.designs import check_together
    from scenarios.cost.prices import load_prices
    from scenarios.cost.terminal import json_object, render

    file, rate = load_prices(prices), None if host_rate is None else _rate(host_rate)
    designs = [_design(name, file, rate, settings or [], runs) for name in targets]
    check_together(designs)
    if as_json:
        typer.echo(json.dumps(json_object(designs, file)))
    else:
        Console().print(render(designs, file))


def _design(name: str, prices: Prices, rate: float | None, settings: list[str], runs: Path) -> Design:
    """A fabric of the catalog or a file, else a run."""
    from scenarios.cost.designs import of_fabric, of_run
    from scenarios.evidence.results import RunDirectory
    from topologies.model.document import nearest
    from topologies.model.errors import SpecError
    from topologies.model.load import CATALOG, load_fabric

    fabrics = sorted(p.stem for p in CATALOG.glob("*.yml"))
    if name in fabrics or name.endswith((".yml", ".yaml")):
        return of_fabric(name, load_fabric(name, settings), prices, rate)
    if not any(path.is_dir() for path in (Path(name), runs / name)):
        raise SpecError(name, f"a fabric (a file, or one of {', '.join(fabrics)}), a run directory or the id of a run "
                        f"in {runs}/", "none of them", nearest(name, fabrics))
    if settings:
        raise SpecError("--set", "fabrics only: what was run cannot be changed any more", name)
    return of_run(RunDirectory.open(name, runs), prices, rate)


def _rate(text: str) -> float:
    from topologies.model.errors import SpecError
    from topologies.model.units import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise SpecError("--as", str(error), text) from None
