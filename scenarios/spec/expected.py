"""What a scenario will do, reported before anything runs: its fabric in a line, its traffic in a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from controller.intent.intent import Intent
from scenarios.spec.demand import demand, warning
from scenarios.spec.duration import clock, fabrics_of, span
from scenarios.spec.scenario import LinkEvent, RankEvent, Scenario, ShareChange, SwitchEvent
from scenarios.spec.vpc_schedule import changes_of, places
from topologies.model.fabric import Fabric
from topologies.model.scale import Scale
from topologies.model.units import show_rate, show_size, show_time
from traffic.workloads.kinds.registry import build, kind_of

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
        spines = ", ".join(k.far(of[0]).node for k in fabric.uplinks(of[0]))
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
        yield f"VPC {vpc}: {', '.join(hosts) or 'no hosts'}"


def duration_lines(scenario: Scenario, made: Compiled) -> Iterator[str]:
    """How long each phase takes and all of the run, and which phase asks for more than the machine carries."""
    found = made.duration
    warnings: list[str] = []
    for (phase, fabric), traffic in zip(fabrics_of(scenario, made.fabric), made.runs, strict=True):
        seconds, _ = found.phases[phase.name]
        asked = demand(traffic, fabric, seconds)
        rate = f", at {show_rate(asked)} between hosts" if asked else ""
        yield f"phase {phase.name}: {span(found.phases[phase.name])}{rate}"
        warnings.append(warning(phase.name, asked))
    collide = " (longer if paths collide)" if len(set(found.total)) > 1 else ""
    yield (f"the run: {span(found.total)}{collide}, including {clock(found.besides)} for bring-up, calibration, proofs "
           f"and report; the first run after a boot takes {clock(found.first)} more")
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
        hidden = "; hidden from predictions" if event.hidden else ""
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


def traffic_lines(scenario: Scenario, made: Compiled) -> Iterator[str]:
    """One line for each workload, in emulated units. Raises TraceError, SpecError for one that no phase runs."""
    built = {b.name: b for its in made.planned for b in its}
    for name, spec in scenario.workloads.items():
        phases = ", ".join(p.name for p in scenario.phases if name in p.run)
        workload = built.get(name) or build(spec, made.fabric, name, scenario.seed)
        yield (f"{name} (in {phases or 'no phase: it does not run'}): "
               f"{kind_of(spec).explain(spec, workload, made.fabric)}")
