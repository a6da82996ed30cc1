"""Running one phase: its workloads at the same time, its events on time, its end when all have ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scenarios.child import Child, Event
from scenarios.events import Player, slowed, slowest
from scenarios.measure import Measurement
from scenarios.moves import Pairs
from scenarios.results import write_whole
from scenarios.scenario import LinkEvent, Phase, Scenario, SwitchEvent
from scenarios.tenants import Tenants
from scenarios.timed import Timed
from topologies.errors import LabError, RunError
from topologies.fabric import Fabric
from topologies.interfaces import is_up
from topologies.netns import inside
from topologies.units import show_time
from traffic.build import workload_of
from traffic.inference.plan import Serving, ServingJob, serving_of
from traffic.lowering import lower
from traffic.replay.plan import Replay, ReplayJob, check_together, merged, replay_of
from traffic.roce.plan import RoceJob, queue_pairs
from traffic.specs import BulkSpec, ReplaySpec, RoceSpec, ServingSpec, StreamSpec
from traffic.streams.plan import Job as StreamsJob
from traffic.streams.plan import streams_of
from traffic.workload import Workload, to_json

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
    """The compiled workloads of a phase. Raises LabError for a trace that cannot be read, before anything runs."""
    specs = {name: scenario.workloads[name] for name in phase.run}
    replays = {n: replay_of(s, fabric, n) for n, s in specs.items() if isinstance(s, ReplaySpec)}
    check_together(replays)
    return Traffic(
        workloads=tuple(workload_of(s, fabric, n, scenario.seed) for n, s in specs.items()
                        if not isinstance(s, StreamSpec | RoceSpec | ReplaySpec | BulkSpec | ServingSpec)),
        streams={n: s for n, s in specs.items() if isinstance(s, StreamSpec)},
        roce={n: s for n, s in specs.items() if isinstance(s, RoceSpec)},
        bulk={n: s for n, s in specs.items() if isinstance(s, BulkSpec)}, replays=replays,
        serving=tuple(serving_of(s, fabric, n, scenario.seed) for n, s in specs.items() if isinstance(s, ServingSpec)))


def as_run(scenario: Scenario, phase: Phase, traffic: Traffic, *, hidden: bool = True) -> Traffic:
    """The traffic with its slow ranks; hidden=False leaves out what predictions are not told. Raises SpecError."""
    return replace(traffic, workloads=tuple(
        slowed(w, scenario.slow_ranks(phase.name, w.name, hidden=hidden), f"phase {phase.name}: rank")
        for w in traffic.workloads))


def drain_time(fabric: Fabric) -> float:
    """Seconds that the longest queue of the fabric needs to empty, and a little: when silence means loss."""
    return 1.0 + max(2 * k.queue * 8 / k.rate + k.delay for k in fabric.links)


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
        drain = drain_time(slowest(self.scenario, fabric))
        common: dict[str, Any] = {"inventory": str(self.tenants.inventory(self.phase.name)), "t0": m.t0,
                                  "records": str(m.run.records_path), "phase": self.phase.name}
        if traffic.workloads:
            yield self._write("engine", "traffic.engine", {
                **common, "seed": self.scenario.seed, "workloads": [to_json(w) for w in traffic.workloads]})
        if traffic.streams:
            streams = [s for name, spec in traffic.streams.items()
                       for s in streams_of(spec, fabric, name, self.scenario.seed)]
            job = StreamsJob(**common, streams=tuple(streams), drain=drain, realtime=True)
            yield self._write("streams", "traffic.streams", job.model_dump())
        if traffic.roce:
            pairs = [p for name, spec in traffic.roce.items()
                     for p in queue_pairs(spec, fabric, name, self.scenario.seed)]
            roce_job = RoceJob(**common, streams=tuple(pairs), drain=drain, realtime=True)
            yield self._write("roce", "traffic.roce", roce_job.model_dump())
        if traffic.serving:
            serving_job = ServingJob(**common, seed=self.scenario.seed, workloads=traffic.serving)
            yield self._write("inference", "traffic.inference", serving_job.model_dump(mode="json"))
        if traffic.replays:
            replayed, schedule = merged(list(traffic.replays.values()))
            path = m.run.logs / f"{self.phase.name}.replay.schedule.npz"
            schedule.save(path)
            replay_job = ReplayJob(**common, streams=replayed, schedule=str(path), drain=drain, realtime=True)
            yield self._write("replay", "traffic.replay", replay_job.model_dump())
        if traffic.bulk:
            scale = fabric.spec.scale.scale
            bulks = {name: spec.model_copy(update={"duration": scale.to_emulated_time(spec.duration)})
                     for name, spec in traffic.bulk.items()}
            yield self._write("iperf", "traffic.iperf", {
                **common, "bulks": {name: spec.model_dump(mode="json") for name, spec in bulks.items()}})

    def _write(self, what: str, module: str, job: dict[str, Any]) -> tuple[str, str, Path]:
        path = self.measurement.run.logs / f"{self.phase.name}.{what}.job.json"
        write_whole(path, json.dumps(job).encode())
        return what, module, path

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
