"""What a scenario makes its hosts send, phase by phase, and everything that is wrong with it at once. Pure.

Shapes, names and rules are checked when a scenario is loaded. This is what shows only when its traffic is made: traces
that cannot be read, algorithms that do not fit their ranks, hosts that may not speak with each other. An error is
placed by its dotted path; `located` turns that into file and line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

from scenarios.evidence.shares import check_classes
from scenarios.run.jobs import jobs_of, setting_of
from scenarios.run.phases import Traffic, as_run, pairs_of, traffic_of
from scenarios.spec.duration import Duration, check_duration, duration_of
from scenarios.spec.scenario import Scenario
from scenarios.spec.vpc_schedule import Pairs, check_traffic
from topologies.model.document import Document, KeyPath
from topologies.model.errors import Gathered, LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.switches.datapaths import require_asked

_PATH = re.compile(r"[\w-]+(?:\.[\w-]+)*")


@dataclass(frozen=True)
class Compiled:
    """planned: the traffic of each phase as written; runs: with its slow ranks; pairs: phase -> who sends to whom;
    duration: of the run."""

    fabric: Fabric
    planned: tuple[Traffic, ...]
    runs: tuple[Traffic, ...]
    pairs: dict[str, Pairs]
    duration: Duration


def compiled(scenario: Scenario, fabric: Fabric | None = None) -> Compiled:
    """All traffic of a scenario. Raises SpecErrors with everything that a run would refuse, each once.

    fabric: the scenario's, where it has been expanded before.
    """
    if fabric is None:
        fabric = expand(scenario.fabric)
    gathered = Gathered()
    with gathered.at("fabric"):
        require_asked(fabric)
    planned: list[Traffic] = []
    for phase in scenario.phases:
        with gathered.at():
            planned.append(traffic_of(scenario, phase, fabric))
    gathered.raise_all()
    runs: list[Traffic] = []
    for phase, traffic in zip(scenario.phases, planned, strict=True):
        with gathered.at():
            runs.append(as_run(scenario, phase, traffic))
    with gathered.at():
        setting = setting_of(scenario, fabric)      # fails for links of events
    gathered.raise_all()
    for traffic in planned:
        with gathered.at():
            deque(jobs_of(traffic, setting), maxlen=0)      # what their processes would refuse
    gathered.raise_all()
    pairs = {phase.name: pairs_of(run) for phase, run in zip(scenario.phases, runs, strict=True)}
    with gathered.at():
        check_traffic(scenario, fabric, pairs)
    with gathered.at():
        check_classes(scenario, pairs)
    gathered.raise_all()
    duration = duration_of(scenario, runs, fabric)
    check_duration(scenario, duration)
    return Compiled(fabric, tuple(planned), tuple(runs), pairs, duration)


def workload_errors(scenario: Scenario, fabric: Fabric, but: Set[str]) -> None:
    """Raises SpecErrors with what is wrong with the traffic of each workload; those of `but` are left out."""
    gathered = Gathered()
    for phase in scenario.phases:
        for name in phase.run:
            if name not in but:
                with gathered.at():
                    traffic_of(scenario, phase.model_copy(update={"run": (name,)}), fabric)
    gathered.raise_all()


@contextmanager
def located(document: Document) -> Iterator[None]:
    """Give the errors of what is done inside the file and line of the paths that they name."""
    try:
        yield
    except SpecErrors as several:
        raise SpecErrors([_located(document, error) for error in several.errors]) from None
    except SpecError as error:
        raise _located(document, error) from None


def _located(document: Document, error: LabError) -> LabError:
    """The error at its line; one whose place is no path of the document (a row of a trace) stays as it is."""
    match = _PATH.match(error.where)
    parts = match[0].split(".") if match else [""]
    if parts[0] not in document.data:
        return error
    place = document.place(_known(document, parts))
    where = f"{place.source}:{place.line} {error.where}" if place.line else f"{place.source} ({error.where})"
    return type(error)(where, error.expected, error.found, error.hint)


def _known(document: Document, parts: list[str]) -> KeyPath:
    """The longest part of a written path that the document has."""
    path: KeyPath = ()
    for part in parts:
        longer = next((p for p in ((*path, part), (*path, int(part)) if part.isdecimal() else ())
                       if p and p in document.places), None)
        if longer is None:
            return path
        path = longer
    return path
