"""Running one phase: its workloads at the same time, its events on time, its end when all have ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from scenarios.evidence.results import write_whole
from scenarios.evidence.tenants import Tenants
from scenarios.run.child import Child
from scenarios.run.ended import LabEndError, cause, check_lab
from scenarios.run.jobs import jobs_of, setting_of
from scenarios.run.measure import Measurement
from scenarios.run.timed import Timed
from scenarios.spec.events import Player
from scenarios.spec.scenario import LinkEvent, Phase, RankEvent, Scenario, SwitchEvent
from scenarios.spec.vpc_schedule import Pairs
from topologies.access.events import Progress, Standing
from topologies.access.netns import inside
from topologies.lab.interfaces import is_up
from topologies.model.errors import Gathered, LabError, RunError
from topologies.model.fabric import Fabric
from topologies.model.units import show_time
from traffic.workloads.kinds.kind import Built, Setting
from traffic.workloads.kinds.registry import build

READY = 60.0            # seconds to open the connections of thousands of pairs
POLL = 0.05             # seconds between looks at the children
Traffic = tuple[Built, ...]      # the workloads of a phase
OnProgress = Callable[[str, float, float | None], None]       # workload, bytes done, bytes in all
Observe = Callable[[Sequence[Standing]], None]              # connections that stand


def traffic_of(scenario: Scenario, phase: Phase, fabric: Fabric) -> Traffic:
    """The workloads of a phase, built, before anything runs.

    Raises SpecErrors with all that is wrong with any of them: a trace that cannot be read among it.
    """
    gathered = Gathered()
    traffic: list[Built] = []
    for name in phase.run:
        with gathered.at(f"workloads.{name}"):
            traffic.append(build(scenario.workloads[name], fabric, name, scenario.seed))
    gathered.raise_all()
    return tuple(traffic)


def as_run(scenario: Scenario, phase: Phase, traffic: Traffic, *, hidden: bool = True) -> Traffic:
    """The traffic with its slow ranks; hidden=False leaves out what predictions do not know of. Raises
    SpecErrors."""
    gathered = Gathered()
    found: list[Built] = []
    for built in traffic:
        for rank, factor in scenario.slow_ranks(phase.name, built.name, hidden=hidden).items():
            with gathered.at():
                built = built.slowed(rank, factor, _rank_event(scenario, phase, built.name, rank))  # noqa: PLW2901
        found.append(built)
    gathered.raise_all()
    return tuple(found)


def _rank_event(scenario: Scenario, phase: Phase, workload: str, rank: int) -> str:
    """The path of the event that slows a rank."""
    return next(f"events.{n}.rank" for n, e in enumerate(scenario.events)
                if isinstance(e, RankEvent) and e.rank == rank and e.workload in (None, workload)
                and scenario.phase_of(e) == phase.name)


class PhaseRun:
    """The processes of one phase."""

    def __init__(self, measurement: Measurement, scenario: Scenario, phase: Phase, traffic: Traffic,
                 tenants: Tenants) -> None:
        self.measurement, self.scenario, self.phase, self.tenants = measurement, scenario, phase, tenants
        self.children = [Child(what, f"phase {phase.name}: {what}", module, str(job), logs=measurement.run.logs)
                         for what, module, job in self._jobs(traffic)]

    def _jobs(self, traffic: Traffic) -> Iterator[tuple[str, str, Path]]:
        m = self.measurement
        stem = str(m.run.logs / self.phase.name)
        setting = setting_of(self.scenario, m.lab.fabric, Setting(
            inventory=str(self.tenants.inventory(self.phase.name)), t0=m.t0, records=str(m.run.records_path),
            phase=self.phase.name, stem=stem))
        for job in jobs_of(traffic, setting):
            path = Path(f"{stem}.{job.what}.job.json")
            job.save()
            write_whole(path, json.dumps(job.dump()).encode())
            yield job.what, job.module, path

    def run(self, progress: OnProgress, standing: Observe) -> tuple[float, float]:
        """From ready to the last end; (start, end) in seconds since t0. Raises what a child reports.

        `standing` is given the engine's connections when all is ready and nothing has started.
        """
        m = self.measurement
        standing([c for child in self.children for c in child.ready(READY).connections])
        watched = {name: pid for child in self.children for name, pid in child.watched.items()}
        for name, pid in watched.items():
            m.watch(name, pid)
        events: tuple[LinkEvent | SwitchEvent, ...] = (
            *self.scenario.link_events(self.phase.name), *self.scenario.switch_events(self.phase.name))
        timed = (Player(m.lab.inventory, events, m.proof.history, m.t0, m.watch),
                 Timed("schedule", self.tenants.steps(self.phase.name, m.proof.history)))
        m.begin_second()
        late = m.lateness()
        start = time.monotonic() - m.t0
        for child in self.children:
            child.say("go")
        with ExitStack() as stack:
            for each in timed:
                each.start()
                stack.callback(each.stop)
            self._until_done(progress)
        for each in timed:
            if each.left:
                raise RunError(f"phase {self.phase.name}: {each.name}", "all of them before the traffic ended",
                               f"{each.left} were due later than {show_time(time.monotonic() - m.t0 - start)}",
                               "let them happen earlier, or the traffic last longer")
        for name in watched:
            m.unwatch(name)
        end = time.monotonic() - m.t0
        m.note_lateness(self.phase.name, late)
        m.begin_second()
        return start, end

    def _until_done(self, progress: OnProgress) -> None:
        while not all(c.finished for c in self.children):
            check_lab(self.measurement.lab.inventory)
            for child in self.children:
                for event in child.drain():
                    if isinstance(event, Progress):
                        progress(event.workload, event.done, event.total)
            time.sleep(POLL)

    def end(self) -> None:
        """End what still runs; the children keep their records."""
        for child in self.children:
            child.end()


def check_hosts_alive(measurement: Measurement, error: LabError) -> LabError:
    """Replace a traffic error by the end of the lab, or by the host's interface that went down: the cause, not the
    symptom."""
    inventory = measurement.lab.inventory
    if isinstance(ended := cause(inventory, error), LabEndError):
        return ended
    for host in inventory.fabric.all_hosts:
        port = inventory.fabric.access_link(host.name).a.interface
        with inside(inventory.netns_path(host.name)):
            up = is_up(port)
        if not up:
            return RunError(f"host {host.name}: interface {port}", "up for the whole run", "down",
                            f"records so far are kept; the traffic said: {error.where}: {error.found}")
    return error


def pairs_of(traffic: Traffic) -> Pairs:
    """Workload -> (from, to) of the hosts that it sends between."""
    return {built.name: built.pairs() for built in traffic}


def hosts_used(traffic: Iterable[Traffic]) -> set[str]:
    """Names of the hosts that any workload uses."""
    return {host for its in traffic for built in its for host in built.hosts()}


def notes_of(traffic: Iterable[Traffic]) -> dict[str, dict[str, str]]:
    """Workload -> what its reader or generator has to say of it, where it has anything."""
    return {built.name: dict(built.notes) for its in traffic for built in its if built.notes}
