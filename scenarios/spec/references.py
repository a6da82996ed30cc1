"""Names in a scenario against the fabric that it runs on: hosts, links, ranks, traces. Pure but for `exists`."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.evidence.shares import class_problems
from scenarios.run.jobs import limit_problems
from scenarios.spec.extents import extent_problems
from scenarios.spec.scenario import LinkEvent, RankEvent, Scenario, SwitchEvent
from scenarios.spec.vpc_schedule import vpc_problems
from scenarios.validation.names import check_problems
from topologies.model.addressing import ETHERNET_HEADER, VXLAN_OVERHEAD
from topologies.model.document import KeyPath, Problem, nearest
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric, Link
from topologies.model.load import short_queue
from traffic.workloads.kinds.registry import KINDS, kind_of


def reference_problems(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    """Everything that the scenario names and its fabric (or the disk) does not have.

    What is wrong with the fabric itself is found where it is expanded (topologies.model.load.expanded).
    """
    problems = [*_names(scenario, fabric), *extent_problems(scenario, fabric)]
    yield from problems
    if not problems:       # streams are made between hosts that there are
        yield from limit_problems(scenario, fabric)


def _names(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    for name, workload in scenario.workloads.items():
        yield from kind_of(workload).problems(workload, fabric, ("workloads", name))
    yield from vpc_problems(scenario, fabric)
    yield from class_problems(scenario)
    yield from check_problems(scenario, fabric)
    for n, event in enumerate(scenario.events):
        if isinstance(event, RankEvent):
            yield from _rank_event(scenario, fabric, event, ("events", n, "rank"))
            continue
        if isinstance(event, SwitchEvent):
            yield from _switch_event(scenario, fabric, event, ("events", n))
            continue
        try:
            yield from _queue_event(scenario, event, fabric.link(event.link), ("events", n, "queue"))
        except SpecError:
            yield Problem(("events", n, "link"), "a link of the fabric, such as leaf1-spine1", event.link,
                          nearest(event.link, list(fabric.links_by_name)))


def _rank_event(scenario: Scenario, fabric: Fabric, event: RankEvent, at: KeyPath) -> Iterator[Problem]:
    """The rank exists and computes; what is known of a trace's ranks is known when it is read."""
    phase = next(p for p in scenario.phases if p.name == scenario.phase_of(event))
    name = event.workload or phase.run[0]
    spec = scenario.workloads[name]
    kind = kind_of(spec)
    if not kind.has_ranks:
        yield Problem(at, f"a rank of {_ranked()}", f"{name}, {kind.name}")
        return
    ranks = kind.ranks(spec, fabric)
    if ranks is not None and event.rank >= ranks:
        yield Problem(at, f"a rank of {name}, 0 to {ranks - 1}", str(event.rank))
    if not kind.computes(spec):
        yield Problem(at, "a rank with compute times to multiply", f"{name}, which computes nothing",
                      f"give workloads.{name} a compute time")


def _ranked() -> str:
    """'a collective, a training job or a training trace'."""
    *first, last = (f"a {kind.name.replace('-', ' ')}" for kind in KINDS.values() if kind.has_ranks)
    return f"{', '.join(first)} or {last}"


def _switch_event(scenario: Scenario, fabric: Fabric, event: SwitchEvent, at: KeyPath) -> Iterator[Problem]:
    """The switch exists, and is up before it goes down, and down before it comes up."""
    switches = [s.name for s in fabric.switches]
    if event.switch not in switches:
        yield Problem((*at, "switch"), f"a switch of the fabric: {', '.join(switches)[:300]}", event.switch,
                      nearest(event.switch, switches))
        return
    before = [e for p in scenario.phases for e in scenario.switch_events(p.name) if e.switch == event.switch]
    last = [e.state for e in before[:before.index(event)]][-1:] or ["up"]
    is_down = last == ["down"]
    if is_down != (event.state == "up"):
        yield Problem((*at, "state"), "up, after an event that took it down" if is_down else "down or restart",
                      event.state, f"{event.switch} is {'down' if is_down else 'up'} by then")


def _queue_event(scenario: Scenario, event: LinkEvent, link: Link, at: KeyPath) -> Iterator[Problem]:
    """An event changes a queue's length, never its kind, and only where the kernel throws nothing away for it."""
    if event.queue is None:
        return
    mtu = scenario.fabric.mtu
    frame = mtu + ETHERNET_HEADER + (VXLAN_OVERHEAD if link.kind == "fabric" else 0)
    if event.queue.bytes is not None and event.queue.bytes < frame:
        yield short_queue(at, event.queue.bytes, frame, mtu)
    if event.queue.kind != "fifo":
        yield Problem(at, "a length such as 60kB: a queue keeps its kind", f"kind: {event.queue.kind}")
    own = scenario.fabric.links.get(link.name)
    has = own.queue.discipline(scenario.fabric.scale.scale) if own and own.queue else link.discipline
    if not has.resizable:
        yield Problem(at, "a link with a plain queue", f"{link.name}, whose queue is of kind {has.kind}",
                      "of another kind the kernel throws away what waits, and counts it as no drop")
