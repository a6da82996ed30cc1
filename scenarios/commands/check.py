"""aifab check: is this file right, and what would it do? Needs no root and no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from scenarios.load_scenario import LIBRARY, load_scenario
from topologies.document import nearest, read_document
from topologies.errors import LabError, SpecError, SpecErrors
from topologies.fabric import expand
from topologies.load import CATALOG, find_spec, load_fabric


def check(
    files: Annotated[list[str], typer.Argument(
        metavar="FILE...", help="scenario or fabric files, or names of the library or the catalog")],
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="PATH=VALUE", help="change a value first, such as fabric.host_rate=20mbit")] = None,
) -> None:
    """Check files; tell every mistake with its line, or what the file describes.

    Examples:

      aifab check scenarios/library/demo.yml

      aifab check allreduce --set size=4MB --set fabric=wide16
    """
    errors: list[LabError] = []
    for name in files:
        try:
            typer.echo("\n  ".join(_described(name, settings or [])))
        except SpecErrors as several:
            errors += several.errors
        except LabError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)


def _described(name: str, settings: list[str]) -> Iterator[str]:
    from scenarios.expected import event_lines, fabric_line, traffic_lines, vpc_lines
    from scenarios.moves import check_traffic
    from scenarios.phases import as_run, pairs_of, traffic_of
    from scenarios.shares import check_classes

    if _is_fabric(name):
        yield f"{name}: OK, a fabric"
        yield fabric_line(expand(load_fabric(name, settings)))
        return
    scenario = load_scenario(name, settings)
    traffic = list(traffic_lines(scenario))
    fabric = expand(scenario.fabric)
    runs = {p.name: as_run(scenario, p, traffic_of(scenario, p, fabric)) for p in scenario.phases}
    pairs = {phase: pairs_of(run) for phase, run in runs.items()}
    check_traffic(scenario, fabric, pairs)
    check_classes(scenario, pairs)
    phases = ", ".join(phase.name for phase in scenario.phases)
    yield f"{name}: OK, a scenario (phases: {phases}): {scenario.question}"
    yield fabric_line(fabric)
    yield from vpc_lines(scenario)
    yield from traffic
    yield from event_lines(scenario)


def _is_fabric(name: str) -> bool:
    """A scenario has workloads or a question; a name of the library goes before one of the catalog."""
    if (LIBRARY / f"{name}.yml").exists():
        return False
    if (CATALOG / f"{name}.yml").exists():
        return True
    try:
        path, shown = find_spec(name, LIBRARY, "scenario")
    except SpecError as error:
        fabrics = sorted(p.stem for p in CATALOG.glob("*.yml"))
        raise SpecError(name, f"{error.expected}; or a fabric of the catalog: {', '.join(fabrics)}", "none of them",
                        error.hint or nearest(name, fabrics)) from None
    return not {"workloads", "question", "fabric", "phases"} & read_document(path, shown).data.keys()
