"""aifab check: is this file right, and what would it do? Needs no root and no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from scenarios.spec.load_scenario import LIBRARY, read_scenario
from topologies.model.document import nearest, read_document, read_stream
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.load import CATALOG, find_spec, load_fabric, ready_files

STUDY = ".study.yml"
ASSUMED = "border"      # the smallest fabric of the catalog that has everything which VPCs and Externals can name


def check(
    files: Annotated[list[str], typer.Argument(
        metavar="FILE...", help="scenario, fabric, study or VPC files, or names of the library or the catalog")],
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="PATH=VALUE", help="override a value, such as fabric.host_rate=20mbit")] = None,
    fabric: Annotated[str, typer.Option(help="the fabric that VPCs are checked on: a file, or a name of the catalog; "
                                             f"{ASSUMED} by default")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="reject VPC keys that would be ignored with a note")] = False,
) -> None:
    """Check files: list every mistake with its line, or say what the file describes.

    Examples:

      aifab check scenarios/library/demo.yml

      aifab check allreduce --set size=4MB --set fabric=wide16

      aifab check vpcs.yml --fabric border
    """
    errors: list[LabError] = []
    for name in files:
        try:
            of_vpcs = _is_intent(name)
            lines = (_intent_lines(name, fabric, settings or [], strict) if of_vpcs
                     else _described(name, settings or [], strict))
            typer.echo("\n  ".join(lines))
        except SpecErrors as several:
            errors += several.errors
        except LabError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)


def _described(name: str, settings: list[str], strict: bool) -> Iterator[str]:
    from controller.intent.intent import ignored_in
    from controller.intent.lenient import note_lines, refuse
    from scenarios.spec.compiling import compiled, located
    from scenarios.spec.expected import duration_lines, event_lines, fabric_line, traffic_lines, vpc_lines
    from topologies.switches.datapaths import require_asked

    if _is_study(name):
        yield from _study_lines(name, settings)
        return
    if is_fabric(name):
        fabric = expand(load_fabric(name, settings))
        require_asked(fabric)
        yield f"{name}: OK, a fabric"
        yield fabric_line(fabric)
        return
    scenario, fabric, document = read_scenario(name, settings)
    with located(document):
        made = compiled(scenario, fabric)
        traffic = list(traffic_lines(scenario, made))
    notes = list(ignored_in(scenario.intent, document.value(("vpcs",)), ("vpcs",)))
    if strict:
        refuse(document, notes)
    phases = ", ".join(phase.name for phase in scenario.phases)
    yield f"{name}: OK, a scenario (phases: {phases}): {scenario.question}"
    yield fabric_line(made.fabric)
    yield from vpc_lines(scenario)
    yield from note_lines(document, notes)
    yield from traffic
    yield from event_lines(scenario)
    yield from duration_lines(scenario, made)
    if scenario.checks:
        yield f"checks: {', '.join(scenario.checks)}"


def _is_intent(name: str) -> bool:
    """A file of VPCs says of every object which kind it is; no other file has a key `kind` at its top."""
    path = Path(name)
    if not path.is_file():
        return False
    try:
        return any("kind" in item for item in read_stream(path, "objects").data["objects"])
    except SpecErrors:      # doubled keys, say: then by the look of it
        return re.search(r"^kind\s*:", path.read_text(encoding="utf-8-sig"), re.MULTILINE) is not None
    except SpecError:
        return False


def _intent_lines(name: str, fabric: str, settings: list[str], strict: bool) -> Iterator[str]:
    """The VPCs with their hosts, on which fabric that holds, and what is ignored."""
    from scenarios.run.vpcs import check_intent, read_accepted
    from scenarios.spec.expected import intent_lines

    intent, document, notes = read_accepted(Path(name), strict=strict)
    on = fabric or ASSUMED
    spec = load_fabric(on, settings)
    assumed = "" if fabric else ", which is assumed: --fabric names another"
    try:
        check_intent(intent, document, expand(spec))
    except SpecErrors as several:
        typer.echo(f"{name}: VPCs, checked on the fabric {spec.name}{assumed}", err=True)
        raise several from None
    yield f"{name}: OK, VPCs on the fabric {spec.name}{assumed}"
    yield from intent_lines(intent)
    yield from notes


def _is_study(name: str) -> bool:
    """A file of studies says so by its name; a name of the library may be a scenario's."""
    return name.endswith(STUDY) or (not (LIBRARY / f"{name}.yml").exists() and name in ready_files(LIBRARY, STUDY))


def _study_lines(name: str, settings: list[str]) -> Iterator[str]:
    """The designs, each with its fabric; and whether there are runs enough to find anything."""
    from scenarios.spec.duration import clock, span
    from scenarios.spec.expected import fabric_line
    from scenarios.study.load import load_study
    from scenarios.study.statistics import MIN_PAIRS

    for quick in (False, True):
        plan = load_study(name, settings, quick=quick)
        runs = f"{len(plan.designs)} designs, {len(plan.seeds)} seeds, {len(plan.order)} runs"
        yield f"quick form: {runs}" if quick else f"{name}: OK, a study ({runs}): {plan.study.question}"
        if not quick:
            for design in plan.designs.values():
                yield f"{design.name}: {fabric_line(design.fabric)}"
        longest = max(plan.designs.values(), key=lambda design: design.seconds)
        yield (f"{'quick form' if quick else 'the study'}: {span(plan.seconds)} for all runs, up to "
               f"{clock(longest.seconds[1])} each ({longest.name})")
        if len(plan.seeds) < MIN_PAIRS:
            yield (f"too few repeats to tell designs apart: {len(plan.seeds)}, and a 95 % interval of the median needs "
                   f"{MIN_PAIRS}")
        if plan.study.quick is None:
            return


def is_fabric(name: str) -> bool:
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
