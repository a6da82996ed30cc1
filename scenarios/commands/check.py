"""aifab check: is this file right, and what would it do? Needs no root and no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from scenarios.load_scenario import LIBRARY, load_scenario
from topologies.document import nearest, read_document
from topologies.errors import LabError, SpecError, SpecErrors
from topologies.expansion import expand
from topologies.load import CATALOG, find_spec, load_fabric, ready_files

STUDY = ".study.yml"


def check(
    files: Annotated[list[str], typer.Argument(
        metavar="FILE...", help="scenario, fabric or study files, or names of the library or the catalog")],
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

    if _is_study(name):
        yield from _study_lines(name, settings)
        return
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
    if scenario.checks:
        yield f"checks: {', '.join(scenario.checks)}"


def _is_study(name: str) -> bool:
    """A file of studies says so by its name; a name of the library may be a scenario's."""
    return name.endswith(STUDY) or (not (LIBRARY / f"{name}.yml").exists() and name in ready_files(LIBRARY, STUDY))


def _study_lines(name: str, settings: list[str]) -> Iterator[str]:
    """The designs, each with its fabric; and whether there are runs enough to find anything."""
    from scenarios.expected import fabric_line
    from scenarios.study.load import load_study
    from scenarios.study.statistics import MIN_PAIRS

    for quick in (False, True):
        plan = load_study(name, settings, quick=quick)
        runs = f"{len(plan.designs)} designs, {len(plan.seeds)} seeds, {len(plan.order)} runs"
        yield f"quick form: {runs}" if quick else f"{name}: OK, a study ({runs}): {plan.study.question}"
        if not quick:
            for design in plan.designs.values():
                yield f"{design.name}: {fabric_line(expand(design.scenario.fabric))}"
        if len(plan.seeds) < MIN_PAIRS:
            yield (f"too few repeats to tell designs apart: {len(plan.seeds)}, and a 95 % interval of the median needs "
                   f"{MIN_PAIRS}")
        if plan.study.quick is None:
            return


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
