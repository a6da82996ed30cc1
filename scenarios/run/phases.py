"""Running one phase: its workloads at the same time, its events on time, its end when all have ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scenarios.evidence.results import write_whole
from scenarios.evidence.tenants import Tenants
from scenarios.run.child import Child, Event
from scenarios.run.jobs import jobs_of
from scenarios.run.measure import Measurement
from scenarios.run.timed import Timed
from scenarios.spec.events import Player, slowed
from scenarios.spec.moves import Pairs
from scenarios.spec.scenario import LinkEvent, Phase, RankEvent, Scenario, SwitchEvent
from topologies.access.netns import inside
from topologies.lab.interfaces import is_up
from topologies.model.errors import Gathered, LabError, RunError
from topologies.model.fabric import Fabric
from topologies.model.units import show_time
from traffic.inference.plan import Serving, serving_of
from traffic.transports.replay.plan import Replay, check_together, merged, replay_of
from traffic.workloads.build import workload_of
from traffic.workloads.lowering import lower
from traffic.workloads.specs import BulkSpec, ReplaySpec, RoceSpec, ServingSpec, StreamSpec
from traffic.workloads.workload import Workload

READY = 60.0            # seconds to open the connections of thousands of pairs
POLL = 0.05             # seconds between looks at the children
Progress = Callable[[str, float, float | None], None]       # workload, bytes done, bytes in all
Standing = Callable[[list[dict[str, Any]]], None]           # connections, as traffic.engine.channels.Standing


@dataclass(frozen=True)
class Traffic:
    """What a phase needs in processes: TCP workloads share one engine, streams one process, RoCEv2,
    serving, replays and bulk one each."""

    workloads: tuple[Workload, ...]
    streams: dict[str, StreamSpec]
    roce: dict[str, RoceSpec]
    bulk: dict[str, BulkSpec]
    serving: tuple[Serving, ...] = ()
    replays: dict[str, Replay] = field(default_factory=dict)

    @property
    def notes(self) -> dict[str, dict[str, str]]:
        """Workload -> what its reader or generator has to say of it, where it has anything."""
        found = {w.name: dict(w.notes) for w in self.workloads} | {n: r.notes for n, r in self.replays.items()}
        found |= {s.name: s.notes for s in self.serving}
        return {name: notes for name, notes in found.items() if notes}


def traffic_of(scenario: Scenario, phase: Phase, fabric: Fabric) -> Traffic:
    """The compiled workloads of a phase, before anything runs.

    Raises SpecErrors with all that is wrong with any of them: a trace that cannot be read among it.
    """
    specs = {name: scenario.workloads[name] for name in phase.run}
    gathered = Gathered()
    workloads: list[Workload] = []
    serving: list[Serving] = []
    replays: dict[str, Replay] = {}
    for name, spec in specs.items():
        with gathered.at(f"workloads.{name}"):
            if isinstance(spec, ServingSpec):
                serving.append(serving_of(spec, fabric, name, scenario.seed))
            elif isinstance(spec, ReplaySpec):
                replays[name] = replay_of(spec, fabric, name)
            elif not isinstance(spec, StreamSpec | RoceSpec | BulkSpec):
                workloads.append(workload_of(spec, fabric, name, scenario.seed))
    with gathered.at():
        check_together(replays)
    gathered.raise_all()
    return Traffic(
        workloads=tuple(workloads), streams={n: s for n, s in specs.items() if isinstance(s, StreamSpec)},
        roce={n: s for n, s in specs.items() if isinstance(s, RoceSpec)},
        bulk={n: s for n, s in specs.items() if isinstance(s, BulkSpec)}, serving=tuple(serving), replays=replays)


def as_run(scenario: Scenario, phase: Phase, traffic: Traffic, *, hidden: bool = True) -> Traffic:
    """The traffic with its slow ranks; hidden=False leaves out what predictions are not told. Raises SpecErrors."""
    gathered = Gathered()
    workloads: list[Workload] = []
    for w in traffic.workloads:
        for rank, factor in scenario.slow_ranks(phase.name, w.name, hidden=hidden).items():
            with gathered.at():
                w = slowed(w, {rank: factor}, _rank_event(scenario, phase, w.name, rank))  # noqa: PLW2901
        workloads.append(w)
    gathered.raise_all()
    return replace(traffic, workloads=tuple(workloads))


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
        logs = measurement.run.logs
        self.children = [Child(f"phase {phase.name}: {what}", module, str(job), log=logs / f"{what}.log")
                         for what, module, job in self._jobs(traffic)]

    def _jobs(self, traffic: Traffic) -> Iterator[tuple[str, str, Path]]:
        m, fabric = self.measurement, self.measurement.lab.fabric
        common: dict[str, Any] = {"inventory": str(self.tenants.inventory(self.phase.name)), "t0": m.t0,
                                  "records": str(m.run.records_path), "phase": self.phase.name}
        schedule = m.run.logs / f"{self.phase.name}.replay.schedule.npz"
        if traffic.replays:
            merged(list(traffic.replays.values()))[1].save(schedule)
        for job in jobs_of(self.scenario, traffic, fabric, common, str(schedule)):
            path = m.run.logs / f"{self.phase.name}.{job.what}.job.json"
            write_whole(path, json.dumps(job.dump()).encode())
            yield job.what, job.module, path

    def run(self, progress: Progress, standing: Standing) -> tuple[float, float]:
        """From ready to the last end; (start, end) in seconds since t0. Raises what a child reports.

        `standing` is given the engine's connections when all is ready and nothing has started.
        """
        m = self.measurement
        watched: dict[str, int] = {}
        connections: list[dict[str, Any]] = []

        def ready(event: Event) -> None:
            watched.update(event.get("pids", {}))
            connections.extend(event.get("connections", ()))

        for child in self.children:
            child.wait_for("ready", READY, ready)
            watched[child.name.rsplit(" ", 1)[-1]] = child.pid
        standing(connections)
        for name, pid in watched.items():
            m.watch(name, pid)
        events: tuple[LinkEvent | SwitchEvent, ...] = (
            *self.scenario.link_events(self.phase.name), *self.scenario.switch_events(self.phase.name))
        timed = (Player(m.lab.inventory, events, m.proof.history, m.t0, m.watch),
                 Timed("schedule", self.tenants.steps(self.phase.name, m.proof.history)))
        m.begin_second()
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
        m.begin_second()
        return start, end

    def _until_done(self, progress: Progress) -> None:
        def on_event(event: Event) -> None:
            if event.get("event") == "progress":
                progress(str(event["workload"]), float(event["done"]), event.get("total"))

        while not all(c.finished for c in self.children):
            for child in (c for c in self.children if not c.finished):
                drain_events(child, on_event)
            time.sleep(POLL)

    def end(self) -> None:
        """End what still runs; the children keep their records."""
        for child in self.children:
            child.end()


def drain_events(child: Child, on_event: Callable[[Event], None]) -> None:
    """Take every event that a child has said so far. Raises LabError if it failed or ended too early."""
    while not child.events.empty():
        event = child.events.get()
        if event is None:
            raise child.ended("done")
        if child.take(event, on_event) == "done":
            return


def check_hosts_alive(measurement: Measurement, error: LabError) -> LabError:
    """Replace a traffic error by the host's interface that went down, if one did: the cause, not the symptom."""
    inventory = measurement.lab.inventory
    for host in inventory.fabric.all_hosts:
        port = inventory.fabric.access_link(host.name).a.port
        with inside(inventory.netns_path(host.name)):
            up = is_up(port)
        if not up:
            return RunError(f"host {host.name}: interface {port}", "up for the whole run", "down",
                            f"records so far are kept; the traffic said: {error.where}: {error.found}")
    return error


def pairs_of(traffic: Traffic) -> Pairs:
    """Workload -> (from, to) of the hosts that it sends between."""
    found: dict[str, set[tuple[str, str]]] = {
        w.name: {(w.hosts[a], w.hosts[b]) for a, b in lower(w).pairs() if w.hosts[a] != w.hosts[b]}
        for w in traffic.workloads}
    for of in (traffic.streams, traffic.roce, traffic.bulk):
        found |= {name: set(spec.pairs) for name, spec in of.items()}
    found |= {s.name: set(s.pairs) for s in traffic.serving}
    return found | {name: {(s.src, s.dst) for s in r.streams} for name, r in traffic.replays.items()}


def hosts_used(traffic: Sequence[Traffic]) -> set[str]:
    """Names of the hosts that any workload uses."""
    names = {h for t in traffic for w in t.workloads for h in w.hosts}
    names |= {h for t in traffic for s in t.serving for h in s.hosts}
    for t in traffic:
        pairs = [p for of in (t.streams, t.roce, t.bulk) for spec in of.values() for p in spec.pairs]
        names |= {h for pair in pairs for h in pair}
    names |= {h for t in traffic for r in t.replays.values() for s in r.streams for h in (s.src, s.dst)}
    return names
