"""The jobs of a phase: what each process is asked to do, as the models that these processes read. Pure.

    traffic of a phase ──jobs_of──> [engine] [streams] [roce] [inference] [replay] [iperf]

`run` writes them to files; `check` makes the same ones, so that what a process would refuse is refused before anything
runs. A limit that a job's model has becomes the scenario's problem, at the path that its place has there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from scenarios.spec.events import slowest
from scenarios.spec.scenario import Scenario
from topologies.model.document import KeyPath, Problem, dotted
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.explain import explain
from topologies.model.fabric import Fabric
from topologies.model.units import show_time
from traffic.inference.plan import ServingJob
from traffic.transports.iperf import Job as IperfJob
from traffic.transports.iperf import bulks_of
from traffic.transports.replay.plan import ReplayJob, merged
from traffic.transports.rocev2.plan import QueuePair, RoceJob, queue_pairs
from traffic.transports.udp.plan import MAX_DRAIN, MAX_STREAMS, Stream, source_ports, streams_of
from traffic.transports.udp.plan import Job as StreamsJob
from traffic.workloads.specs import BulkSpec, RoceSpec, StreamSpec
from traffic.workloads.workload import to_json

if TYPE_CHECKING:
    from scenarios.run.phases import Traffic

M = TypeVar("M", bound=BaseModel)
Json = dict[str, Any]
NOWHERE: Json = {"inventory": "", "t0": 0.0, "records": "", "phase": ""}       # of jobs that are only checked
# Values of a stream -> the keys of a spec that give them.
_KEYS: dict[str, tuple[str, ...]] = {"pps": ("pps", "rate"), "count": ("count", "size"), "frame": ("frame", "mtu")}
_STREAMS: dict[type[BaseModel], str] = {StreamsJob: "streams", RoceJob: "queue pairs", ReplayJob: "flows"}


@dataclass(frozen=True)
class Job:
    """One process of a phase: `what` names its files, `module` is what Python runs, `dump` makes its job for JSON."""

    what: str
    module: str
    dump: Callable[[], Json]


def drain_time(fabric: Fabric) -> float:
    """Seconds that the longest queue of the fabric needs to empty, and a little: when silence means loss."""
    return 1.0 + max(2 * k.queue * 8 / k.rate + k.delay for k in fabric.links)


def jobs_of(scenario: Scenario, traffic: Traffic, fabric: Fabric, common: Json, schedule: str) -> Iterator[Job]:
    """The jobs of a phase. common: what all of them have; schedule: the file of the replays' schedule.

    Raises SpecErrors with the scenario's paths for what a job does not allow.
    """
    if traffic.workloads:
        yield Job("engine", "traffic.engine", lambda: {
            **common, "seed": scenario.seed, "workloads": [to_json(w) for w in traffic.workloads]})
    packets = {**common, "drain": drain_time(slowest(scenario, fabric)), "realtime": True}
    if traffic.streams:
        job = _made(StreamsJob, packets, _streams(scenario, traffic.streams, fabric))
        yield Job("streams", "traffic.transports.udp", job.model_dump)
    if traffic.roce:
        roce = _made(RoceJob, packets, _pairs(scenario, traffic.roce, fabric))
        yield Job("roce", "traffic.transports.rocev2", roce.model_dump)
    if traffic.serving:
        serving = _made(ServingJob, {**common, "seed": scenario.seed, "workloads": traffic.serving}, ())
        yield Job("inference", "traffic.inference", partial(serving.model_dump, mode="json"))
    if traffic.replays:
        replayed, _ = merged(list(traffic.replays.values()))
        replay = _made(ReplayJob, {**packets, "schedule": schedule}, replayed)
        yield Job("replay", "traffic.transports.replay", replay.model_dump)
    if traffic.bulk:
        bulks = bulks_of(traffic.bulk, fabric.spec.scale.scale)
        bulk = _made(IperfJob, {**common, "bulks": bulks}, ())
        yield Job("iperf", "traffic.transports.iperf", partial(bulk.model_dump, mode="json"))


def limit_problems(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    """What the jobs of streams, RoCEv2 and bulk transfers do not allow: all that needs no trace to be known."""
    made: dict[str, tuple[Stream, ...]] = {}
    for name, spec in scenario.workloads.items():
        found: list[Problem] = []
        if isinstance(spec, StreamSpec):
            made[name], found = _built(partial(streams_of, spec, fabric, name, scenario.seed), Stream, name, spec)
        elif isinstance(spec, RoceSpec):
            made[name], found = _built(partial(queue_pairs, spec, fabric, name, scenario.seed), QueuePair, name, spec)
        yield from found
    packets = {**NOWHERE, "drain": drain_time(slowest(scenario, fabric)), "realtime": True}
    scale, told = fabric.spec.scale.scale, set[KeyPath]()
    for phase in scenario.phases:
        specs = {name: scenario.workloads[name] for name in phase.run if name in scenario.workloads}
        bulks = bulks_of({n: s for n, s in specs.items() if isinstance(s, BulkSpec)}, scale)
        problems = [
            *_of_job(StreamsJob, packets, [s for n in specs for s in made.get(n, ()) if not isinstance(s, QueuePair)]),
            *_of_job(RoceJob, packets, [s for n in specs for s in made.get(n, ()) if isinstance(s, QueuePair)]),
            *(_problems(IperfJob, {**NOWHERE, "bulks": bulks}, ()) if bulks else ())]
        yield from (p for p in problems if p.path not in told)
        told |= {p.path for p in problems}


def _streams(scenario: Scenario, specs: Mapping[str, StreamSpec], fabric: Fabric) -> tuple[Stream, ...]:
    return tuple(s for name, spec in specs.items() for s in streams_of(spec, fabric, name, scenario.seed))


def _pairs(scenario: Scenario, specs: Mapping[str, RoceSpec], fabric: Fabric) -> tuple[QueuePair, ...]:
    return tuple(p for name, spec in specs.items() for p in queue_pairs(spec, fabric, name, scenario.seed))


def _built(build: Callable[[], tuple[Stream, ...]], model: type[Stream], name: str,
           spec: StreamSpec | RoceSpec) -> tuple[tuple[Stream, ...], list[Problem]]:
    """The streams of a workload, or what is wrong with them in its own keys."""
    at = ("workloads", name)
    try:
        return build(), []
    except SpecError as error:
        return (), [Problem(at, error.expected, error.found, error.hint)]
    except ValidationError as error:
        wrong = explain(error, model, dict.fromkeys(model.model_fields))
        return (), [Problem((*at, *_key(p.path, spec)), f"{p.expected}{' packets a second' * (p.path == ('pps',))}",
                            p.found, p.hint) for p in wrong]


def _key(path: KeyPath, spec: StreamSpec | RoceSpec) -> KeyPath:
    """The key of a workload that gave a stream's value; nothing where none did."""
    wanted = _KEYS.get(str(path[0]), (str(path[0]),)) if path else ()
    return next(((key,) for key in wanted if getattr(spec, key, None) is not None), ())


def _of_job(model: type[StreamsJob], common: Json, streams: list[Stream]) -> list[Problem]:
    """What is wrong with a job of streams, their source ports among it; nothing if there are none."""
    if not streams:
        return []
    found = _problems(model, common, streams)
    if not found and model is StreamsJob:
        try:
            list(source_ports(tuple(streams)))
        except SpecError as error:
            found.append(Problem(("workloads", streams[-1].workload), error.expected, error.found, error.hint))
    return found


def _made(model: type[M], data: Json, streams: tuple[Stream, ...]) -> M:
    """The job's model. Raises SpecErrors."""
    try:
        return model(**data, **({"streams": streams} if streams else {}))
    except ValidationError as error:
        raise SpecErrors([SpecError(dotted(p.path), p.expected, p.found, p.hint)
                          for p in _of_scenario(error, model, streams)]) from None


def _problems(model: type[BaseModel], data: Json, streams: Sequence[Stream]) -> list[Problem]:
    try:
        model(**data, **({"streams": tuple(streams)} if streams else {}))
    except ValidationError as error:
        return _of_scenario(error, model, streams)
    return []


def _of_scenario(error: ValidationError, model: type[BaseModel], streams: Sequence[Stream]) -> list[Problem]:
    """What a job's model says of its data, at the places that a scenario has for them."""
    return [_problem(p, model, streams) for p in explain(error, model, dict.fromkeys(model.model_fields))]


def _problem(p: Problem, model: type[BaseModel], streams: Sequence[Stream]) -> Problem:
    head = p.path[0] if p.path else ""
    if head == "bulks":
        return Problem(("workloads", *p.path[1:]), p.expected, p.found, p.hint)
    if head == "drain":
        return Problem(("fabric",), f"queues that are empty within {show_time(MAX_DRAIN)}, there and back",
                       f"one that takes {p.found} s", "a shorter queue, a higher rate, or less delay")
    if head == "streams" and len(p.path) == 1:
        sizes = Counter({s.workload: 0 for s in streams})
        for s in streams:
            sizes[s.workload] += s.packets or 1
        if len(streams) > MAX_STREAMS:
            p = Problem(p.path, f"at most {MAX_STREAMS:,} {_STREAMS.get(model, 'streams')} in a phase",
                        f"{len(streams):,}", "fewer pairs, or phases of their own")
        return Problem(("workloads", sizes.most_common(1)[0][0]), p.expected, p.found, p.hint)
    return Problem(("workloads",), f"{dotted(p.path)}: {p.expected}", p.found, p.hint)
