"""aifab list, show, ps: what there is to run, what is in it, and which labs are up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scenarios.spec.load_scenario import LIBRARY
from topologies.model.document import nearest, read_document
from topologies.model.errors import LabError
from topologies.model.load import CATALOG, ready_files

STUDY = ".study.yml"
Entries = Iterator[tuple[str, str]]     # name, what it is in a line
RunsDirectory = Annotated[Path, typer.Option(help="where run directories are")]


class What(StrEnum):
    """What can be listed."""

    scenarios = "scenarios"
    studies = "studies"
    fabrics = "fabrics"
    workloads = "workloads"
    workshops = "workshops"
    runs = "runs"


def list_things(
    what: Annotated[What | None, typer.Argument(help="default: all but runs")] = None,
    runs: RunsDirectory = Path("runs"),
) -> None:
    """List scenarios, studies, fabrics, kinds of workload, workshops or runs.

    Examples:

      aifab list

      aifab list scenarios

      aifab list runs
    """
    if what is not None:
        typer.echo("\n".join(_lines(_listed(what, runs))) or f"no {what}")
        return
    for kind in (k for k in What if k is not What.runs):
        typer.echo("\n".join([f"{kind}:", *(f"  {line}" for line in _lines(_listed(kind, runs)))]))


def show(
    name: Annotated[str, typer.Argument(help="a scenario, study, fabric or workshop by name")],
) -> None:
    """Print a scenario, study or fabric that comes with aifab, or a workshop's README.

    Examples:

      aifab show allreduce

      aifab show small
    """
    path = find(name)
    typer.echo(f"# {path}", err=True)
    typer.echo(path.read_text(), nl=False)


def find(name: str) -> Path:
    """The file behind a name; of those with one name a scenario's goes first. Raises LabError."""
    from scenarios.workshops.lesson import WORKSHOPS, lessons

    known = {lesson: WORKSHOPS / lesson / "README.md" for lesson, _ in lessons()}
    known |= ready_files(CATALOG) | ready_files(LIBRARY, STUDY) | ready_files(LIBRARY)
    if name not in known:
        raise LabError(name, "a scenario, study, fabric or workshop by name", "none of that name",
                       nearest(name, list(known)) or "aifab list names them all")
    return known[name]


def ps() -> None:
    """List the labs that are up on this machine: id, hosts, the process that owns it, and what it is for.

    Example:

      sudo aifab ps
    """
    from scenarios.run.attach import running_labs
    from topologies.lab.host_limits import require_root
    from topologies.model.inventory import Inventory

    require_root()
    labs = running_labs()
    for journal in labs:
        fabric, owner = Inventory.read(journal.directory / "inventory.json").fabric, journal.owner
        pid = owner.pid if owner is not None else "?"
        typer.echo(f"{journal.lab}  {len(fabric.all_hosts)} hosts, {len(fabric.switches)} switches  pid {pid}  "
                   f"{owner.what if owner is not None else fabric.spec.name}")
    if not labs:
        typer.echo("no lab is up; start one with: sudo aifab up")


def _lines(entries: Entries) -> Iterator[str]:
    """Names in a column."""
    found = list(entries)
    width = max((len(name) for name, _ in found), default=0)
    return (f"{name:{width}}  {about}".rstrip() for name, about in found)


def _listed(what: What, runs: Path) -> Entries:
    makers: dict[What, Callable[[], Entries]] = {
        What.scenarios: lambda: _questions(".yml"), What.studies: lambda: _questions(STUDY), What.fabrics: _fabrics,
        What.workloads: _workloads, What.workshops: _workshops, What.runs: lambda: _runs(runs)}
    return makers[what]()


def _questions(suffix: str) -> Entries:
    """Scenarios and studies say which question they answer."""
    for name, path in ready_files(LIBRARY, suffix).items():
        question = read_document(path, name).data.get("question")
        if question:        # without one it is data of another scenario
            yield name, str(question)


def _fabrics() -> Entries:
    """Each begins with what it is for; its first sentence."""
    for name, path in ready_files(CATALOG).items():
        lines = path.read_text().splitlines()
        about = " ".join(line[1:].strip() for line in lines[:next(n for n, x in enumerate(lines) if x[:1] != "#")])
        yield name, about.split(". ")[0].rstrip(".")


def _workloads() -> Entries:
    from traffic.workloads.kinds.registry import KINDS

    for name, kind in KINDS.items():
        about = (kind.spec.__doc__ or "").strip().splitlines()[0]
        yield name, about.replace("`", "")


def _workshops() -> Entries:
    from scenarios.workshops.lesson import lessons

    for name, lesson in lessons():
        yield name, f"{lesson.title} ({lesson.minutes} min)"


def _runs(base: Path) -> Entries:
    """The last one first."""
    from scenarios.evidence.results import RunDirectory, run_directories

    for path in run_directories(base):
        run = RunDirectory(path)
        verdict = run.read("verdict") or {}
        yield run.id, str(verdict.get("level", run.meta.status))
