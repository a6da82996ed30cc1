"""The jobs of a phase: what each process is asked to do. Pure.

    traffic of a phase ──jobs_of──> one job for each sort of process that it needs

`run` writes them to files; `check` makes the same ones, so that what a process would refuse is refused before anything
runs. A limit that a job's model has becomes the scenario's problem, at the path that its place has there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

from scenarios.spec.events import slowest
from scenarios.spec.scenario import Scenario
from topologies.model.document import KeyPath, Problem
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.load import key_path
from traffic.workloads.kinds.kind import UNKNOWN, Built, Json, Setting, by_process
from traffic.workloads.kinds.registry import kind_of


@dataclass(frozen=True)
class Job:
    """One process of a phase: `what` names its files, `module` is what Python runs, `dump` makes its job for JSON,
    `save` writes the files that the job names."""

    what: str
    module: str
    dump: Callable[[], Json]
    save: Callable[[], None]


def setting_of(scenario: Scenario, fabric: Fabric, where: Setting = UNKNOWN) -> Setting:
    """Of the jobs of a scenario; where: what else a Setting has, nothing for jobs that are only checked."""
    return replace(where, seed=scenario.seed, drain=drain_time(slowest(scenario, fabric)))


def drain_time(fabric: Fabric) -> float:
    """Seconds that the longest queue of the fabric needs to empty, and a little: when silence means loss."""
    return 1.0 + max(2 * k.queue * 8 / k.rate + k.delay for k in fabric.links)


def jobs_of(traffic: Collection[Built], setting: Setting) -> Iterator[Job]:
    """The jobs of a phase. Raises SpecErrors with the scenario's paths for what a job does not allow."""
    for process, its in by_process(traffic).items():
        yield Job(process.what, process.module, process.job(its, setting), partial(process.save, its, setting))


def limit_problems(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    """What the jobs of a scenario do not allow, as far as no trace is needed to know."""
    built: dict[str, Built] = {}
    for name, spec in scenario.workloads.items():
        if (kind := kind_of(spec)).checks_early:
            try:
                built[name] = kind.build(spec, fabric, name, scenario.seed)
            except SpecError as error:
                yield from _problems(error)
    setting, seen = setting_of(scenario, fabric), set[KeyPath]()
    for phase in scenario.phases:
        for process, its in by_process([built[name] for name in phase.run if name in built]).items():
            try:
                process.job(its, setting)
            except SpecError as error:
                found = _problems(error)
                yield from (p for p in found if p.path not in seen)
                seen |= {p.path for p in found}


def _problems(error: SpecError) -> list[Problem]:
    errors = error.errors if isinstance(error, SpecErrors) else [error]
    return [Problem(_path(e.where), e.expected, e.found, e.hint) for e in errors]


def _path(where: str) -> KeyPath:
    """'workloads.1.pairs.0' -> its path; a workload's name is text, even one of digits."""
    first, *rest = where.split(".", 2)
    return (first, *rest[:1], *(key_path(rest[1]) if len(rest) > 1 else ()))
