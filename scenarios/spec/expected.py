"""What a scenario will do, told before anything runs: its fabric in a line, its traffic in a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from controller.intent.intent import Intent
from scenarios.spec.demand import demand, warning
from scenarios.spec.duration import clock, fabrics_of, span
from scenarios.spec.moves import changes_of, places
from scenarios.spec.scenario import LinkEvent, RankEvent, Scenario, ShareChange, SwitchEvent
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.scale import Scale
from topologies.model.units import show_rate, show_size, show_time
from traffic.inference.plan import serving_of
from traffic.traces.requests import requests_workload
from traffic.transports.replay.plan import replay_of
from traffic.workloads.build import build, workload_of
from traffic.workloads.lowering import lower
from traffic.workloads.specs import (
    BulkSpec,
    CollectiveSpec,
    ReplaySpec,
    RequestsSpec,
    RoceSpec,
    ServingSpec,
    StreamSpec,
    TrainingJobSpec,
    TrainingTraceSpec,
)
from traffic.workloads.workload import Transfer, Workload

if TYPE_CHECKING:
    from scenarios.spec.compiling import Compiled


def fabric_line(fabric: Fabric) -> str:
    """Nodes by role and the worst leaf's oversubscription."""
    roles = Counter(node.role for node in fabric.nodes)
    plural = {"host": "hosts", "outside": "outside hosts", "probe": "probes", "leaf": "leaves",
              "border": "border leaves", "spine": "spines", "vtep": "routers with a VTEP"}
    single = {"vtep": "router with a VTEP", "border": "border leaf", "outside": "outside host"}
    parts = ", ".join(f"{n} {plural[role] if n > 1 else single.get(role, role)}" for role, n in roles.items())
    leaves = [leaf.name for leaf in fabric.leaves if any(h.role != "probe" for h in fabric.hosts_of(leaf.name))]
    worst = max(leaves, key=fabric.oversubscription)
    scale = "" if fabric.spec.scale.scale.is_identity else ", scaled"
    rails = ""
    if fabric.spec.topology == "rail-optimized":
        rails = f"; {fabric.spec.servers} servers with {fabric.spec.rails} GPUs, GPU k of each on rail k (leafk)"
    for n, (side, of) in enumerate(fabric.spec.side_leaves.items()):
        spines = ", ".join(s.name for s in fabric.spines_of(of[0]))
        rails += f"{', ' if n else '; bifurcated: '}{side} on {', '.join(of)} with {spines}"
    paths = "; each host's path pinned to one spine" if fabric.spec.paths == "pinned" else ""
    return (f"{len(fabric.nodes)} nodes ({parts}), hosts at {show_rate(fabric.access_link(fabric.hosts[0].name).rate)}"
            f"{scale}; oversubscription after encapsulation {fabric.oversubscription(worst):.2f}:1 "
            f"({worst}){rails}{paths}")


def intent_lines(intent: Intent) -> Iterator[str]:
    """One line for each VPC with its hosts."""
    at = places(intent)
    for vpc in intent.vpcs:
        hosts = [h for h, subnet in at.items() if subnet.split("/")[0] == vpc]
        yield f"VPC {vpc}: {', '.join(hosts) or 'nobody'}"


def duration_lines(scenario: Scenario, made: Compiled) -> Iterator[str]:
    """How long each phase takes and all of the run, and which phase asks for more than the machine carries."""
    found = made.duration
    warnings: list[str] = []
    for (phase, fabric), traffic in zip(fabrics_of(scenario, made.fabric), made.runs, strict=True):
        seconds, _ = found.phases[phase.name]
        asked = demand(scenario, traffic, fabric, seconds)
        rate = f", at {show_rate(asked)} between hosts" if asked else ""
        yield f"phase {phase.name}: {span(found.phases[phase.name])}{rate}"
        warnings.append(warning(phase.name, asked))
    collide = ", the longer where paths collide" if len(set(found.total)) > 1 else ""
    yield (f"the run: {span(found.total)}{collide}, {clock(found.besides)} of it for bring-up, calibration, proofs and "
           f"report; {clock(found.first)} more the first time since the machine has started")
    yield from filter(None, warnings)


def vpc_lines(scenario: Scenario) -> Iterator[str]:
    """One line for each VPC with its hosts, one for each change that is scheduled."""
    yield from intent_lines(scenario.intent)
    for phase in scenario.phases:
        for _, change in changes_of(scenario, phase.name):
            what = [f"{host} to {subnet}" for host, subnet in change.move.items()]
            what += [f"class {name} to {_shares(c)}" for name, c in change.shares.items()]
            yield f"in phase {phase.name} after {show_time(change.at)}: {', '.join(what)}"


def _shares(change: ShareChange) -> str:
    given = {"min": change.min, "max": change.max}
    return " and ".join(f"a {key} of {share:.4g} of each link" for key, share in given.items() if share is not None)


def event_lines(scenario: Scenario) -> Iterator[str]:
    """One line for each event, in emulated units."""
    scale = scenario.fabric.scale.scale
    for event in scenario.events:
        phase = scenario.phase_of(event)
        if isinstance(event, SwitchEvent):
            how = {"down": "dies", "up": "starts again", "restart": "dies and starts again"}[event.state]
            yield f"in phase {phase} after {show_time(scale.to_emulated_time(event.at))}: {event.switch} {how}"
            continue
        hidden = "; predictions are not told" if event.hidden else ""
        if isinstance(event, RankEvent):
            of = event.workload or next(p.run[0] for p in scenario.phases if p.name == phase)
            yield (f"in phase {phase}: rank {event.rank} of {of} computes {event.compute_factor:g} times as "
                   f"long{hidden}")
        else:
            at = show_time(scale.to_emulated_time(event.at))
            yield f"in phase {phase} after {at}: {event.link} {', '.join(_happens(event, scale))}{hidden}"


def _happens(event: LinkEvent, scale: Scale) -> Iterator[str]:
    if event.state is not None:
        yield f"goes {event.state}"
    if event.flap is not None:
        period = show_time(scale.to_emulated_time(event.flap.period))
        yield f"goes down and up, {event.flap.count} times in {period} each"
    if event.rate is not None:
        yield f"has {show_rate(scale.to_emulated_rate(event.rate))}"
    if event.queue is not None:
        packets, size = event.queue.packets, event.queue.bytes or 0
        yield f"has a queue of {f'{packets} packets' if packets else show_size(scale.to_emulated_size(size))}"


def traffic_lines(scenario: Scenario) -> Iterator[str]:
    """One line for each workload, in emulated units. Reads the traces. Raises TraceError, SpecError."""
    fabric = expand(scenario.fabric)
    for name, workload in scenario.workloads.items():
        phases = ", ".join(p.name for p in scenario.phases if name in p.run)
        yield f"{name} (in {phases or 'no phase: it does not run'}): {_traffic(scenario, fabric, name, workload)}"


def _traffic(scenario: Scenario, fabric: Fabric, name: str, workload: object) -> str:
    match workload:
        case CollectiveSpec():
            return _collective(build(workload, fabric, name, scenario.seed))
        case TrainingJobSpec() | TrainingTraceSpec():
            program = lower(workload_of(workload, fabric, name, scenario.seed))
            runs = workload.iterations + workload.warmup
            return (f"{len(program.spans)} collectives on {len(program.workload.hosts)} ranks, "
                    f"{show_size(program.total_bytes)} a step, {runs} steps")
        case RequestsSpec() | ServingSpec():
            return _requests(workload, fabric, name, scenario.seed)
        case StreamSpec() | RoceSpec() | ReplaySpec():
            return _packets(fabric, name, workload)
        case BulkSpec():
            duration = fabric.spec.scale.scale.to_emulated_time(workload.duration)
            return (f"bulk TCP, {len(workload.pairs)} pairs with {workload.connections} connections each, "
                    f"as fast as it goes for {show_time(duration)}")
    raise TypeError(f"unknown kind of workload: {workload!r}")


def _collective(workload: Workload) -> str:
    program = lower(workload)
    collective = program.spans[0].collective
    runs = workload.iterations + workload.warmup
    return (f"{collective.kind} ({collective.algorithm}) of {show_size(collective.size)} on {len(collective.ranks)} "
            f"ranks, {runs} times, {show_size(runs * program.total_bytes)} in all")


def _requests(spec: RequestsSpec | ServingSpec, fabric: Fabric, name: str, seed: int) -> str:
    if isinstance(spec, RequestsSpec):
        ops = requests_workload(spec, fabric, name, seed).ops
        transfers = [op for op in ops if isinstance(op, Transfer)]
        arrivals = [op.at for op in transfers if not op.reply]
        return (f"{len(arrivals)} requests within {show_time(max(arrivals))}, "
                f"{show_size(sum(op.size for op in transfers))} both ways")
    serving = serving_of(spec, fabric, name, seed)
    model = spec.model if isinstance(spec.model, str) else "a model of its own"
    prompts = sum(r.size for r in serving.requests)
    answers = sum(serving.answer_bytes(r.output) for r in serving.requests)
    apart = f" that prefill and {len(serving.decode)} that decode" if serving.decode else ""
    count, spread = len(serving.replicas), serving.parallel
    if spread:
        apart = f" of {spec.workers} workers (tensor {spec.tensor}, pipeline {spec.pipeline})"
    stores = f", {len(serving.stores)} KV stores of {show_size(int(spec.store.size))}" if spec.store is not None else ""
    tools = sum(c.kind != "model" for t in serving.tasks for c in t.calls)
    agents = f"{len(serving.tasks)} tasks of agents, {tools} tool calls, " if serving.tasks else ""
    return (f"{model} on {count} replica{'s' if count > 1 else ''}{apart} by {spec.routing}, "
            f"{agents}{len(serving.requests)} requests, prompts of {show_size(prompts)} and answers of "
            f"{show_size(answers)} in all, KV memory of {serving.kv_tokens} tokens a replica{stores}")


def _packets(fabric: Fabric, name: str, spec: StreamSpec | RoceSpec | ReplaySpec) -> str:
    if isinstance(spec, ReplaySpec):
        return f"replay of {replay_of(spec, fabric, name).notes['capture']}"
    return _stream(fabric, spec) if isinstance(spec, StreamSpec) else _roce(fabric, spec)


def _stream(fabric: Fabric, spec: StreamSpec) -> str:
    """Frames count whole here as in the spec; a scale stretches times and slows rates."""
    scale = fabric.spec.scale.scale
    rate = scale.to_emulated_rate(spec.rate) if spec.rate is not None else (spec.pps or 0.0) * spec.frame * 8
    if spec.count is not None:
        length = f"{spec.count} packets each"
    else:
        length = f"for {show_time(scale.to_emulated_time(spec.duration or 0.0))}"
    streams = len(spec.pairs)
    return (f"UDP, {streams} stream{'s' if streams > 1 else ''} of {show_rate(rate)} "
            f"in frames of {spec.frame} B, {length}")


def _roce(fabric: Fabric, spec: RoceSpec) -> str:
    scale = fabric.spec.scale.scale
    kind = "reliable" if spec.service == "rc" else "unreliable"
    paths = "sprayed over all paths" if spec.spray else f"on the path{'s' if spec.queue_pairs > 1 else ''} they hash to"
    return (f"RoCEv2, {len(spec.pairs)} pairs with {spec.queue_pairs} {kind} queue pairs each, {paths}, "
            f"{show_size(scale.to_emulated_size(spec.size))} each at {show_rate(scale.to_emulated_rate(spec.rate))}")
