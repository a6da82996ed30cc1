"""Names in a scenario against the fabric that it runs on: hosts, links, ranks, traces. Pure but for `exists`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from scenarios.evidence.shares import class_problems
from scenarios.run.jobs import limit_problems
from scenarios.spec.extents import extent_problems
from scenarios.spec.moves import vpc_problems
from scenarios.spec.scenario import LinkEvent, RankEvent, Scenario, SwitchEvent
from scenarios.validation.names import check_problems
from topologies.model.addressing import ETHERNET_HEADER, VXLAN_OVERHEAD
from topologies.model.document import KeyPath, Problem, nearest, show
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric, Link, Role
from topologies.model.inputs import not_regular
from topologies.model.load import plain, short_queue
from traffic.inference.parallel import problems as worker_problems
from traffic.inference.parallel import replica_hosts
from traffic.jobs.job import problems as job_problems
from traffic.transports.rocev2.wire import OVERHEAD
from traffic.workloads.agent_specs import AgentSpec
from traffic.workloads.placement import WITHOUT_RAILS
from traffic.workloads.specs import (
    BulkSpec,
    CollectiveSpec,
    Placement,
    ReplaySpec,
    RequestsSpec,
    RoceSpec,
    ServingSpec,
    StreamSpec,
    TrainingJobSpec,
    TrainingTraceSpec,
    WorkloadSpec,
)


def reference_problems(scenario: Scenario) -> Iterator[Problem]:
    """Everything that the scenario names and the fabric (or the disk) does not have."""
    # Wrong link names of the fabric itself are told by fabric_problems.
    fabric = expand(plain(scenario.fabric))
    problems = [*_names(scenario, fabric), *extent_problems(scenario, fabric)]
    yield from problems
    if not problems:       # streams are made between hosts that there are
        yield from limit_problems(scenario, fabric)


def _names(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    for name, workload in scenario.workloads.items():
        yield from _workload(fabric, workload, ("workloads", name))
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
    match spec:
        case CollectiveSpec():
            ranks = _ranks(fabric, spec)
        case TrainingJobSpec():
            ranks = spec.ranks
        case TrainingTraceSpec():
            return
        case _:
            yield Problem(at, "a rank of a collective, a training job or a training trace", f"{name}, {spec.kind}")
            return
    if event.rank >= ranks:
        yield Problem(at, f"a rank of {name}, 0 to {ranks - 1}", str(event.rank))
    if isinstance(spec, CollectiveSpec) and not spec.compute:
        yield Problem(at, "a rank with compute times to multiply", f"{name}, which computes nothing",
                      f"give workloads.{name} a compute time")


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


def _ranks(fabric: Fabric, spec: CollectiveSpec) -> int:
    if spec.ranks is not None:
        return spec.ranks
    return len(fabric.hosts) if isinstance(spec.placement, str) else len(spec.placement)


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
    kind = own.queue.kind if own and own.queue else link.discipline.kind
    if kind != "fifo":
        yield Problem(at, "a link with a plain queue", f"{link.name}, whose queue is of kind {kind}",
                      "of another kind the kernel throws away what waits, and counts it as no drop")


def _workload(fabric: Fabric, workload: WorkloadSpec, at: KeyPath) -> Iterator[Problem]:
    match workload:
        case CollectiveSpec():
            yield from _collective(fabric, workload, at)
        case TrainingJobSpec():
            yield from _job(fabric, workload, at)
        case TrainingTraceSpec():
            yield from _trace(workload.trace, at, directory=True)
            yield from _placement(fabric, workload.placement, at)
        case RequestsSpec():
            yield from _requests(fabric, workload, at)
        case ServingSpec():
            yield from _serving(fabric, workload, at)
        case StreamSpec():
            yield from _stream(fabric, workload, at)
        case RoceSpec():
            yield from _roce(fabric, workload, at)
        case ReplaySpec():
            yield from _replay(fabric, workload, at)
        case BulkSpec():
            yield from _pairs(fabric, workload.pairs, at)


def _host(fabric: Fabric, name: str, at: KeyPath, roles: tuple[Role, ...]) -> Iterator[Problem]:
    names = [n.name for n in fabric.of(*roles)]
    if name not in names:
        node = fabric.by_name.get(name)
        kind = {"host": "workload host", "outside": "outside host"}
        yield Problem(at, f"a {' or '.join(kind[r] for r in roles)} of the fabric, from {names[0]} to {names[-1]}"
                      if names else "a host (the fabric has none of that kind)",
                      f"{name}, a {node.role}" if node else name, nearest(name, names))


def _distinct(names: Sequence[str], at: KeyPath) -> Iterator[Problem]:
    for n, name in enumerate(names):
        if name in names[:n]:
            yield Problem((*at, n), "each host once", f"{name} again")


def _placement(fabric: Fabric, placement: Placement, at: KeyPath) -> Iterator[Problem]:
    where = (*at, "placement")
    if placement == "rail" and fabric.spec.topology != "rail-optimized":
        yield Problem(where, f"{WITHOUT_RAILS} on a fabric without rails", "rail",
                      "rails come with `topology: rail-optimized`")
    if isinstance(placement, str):
        return
    for n, name in enumerate(placement):
        yield from _host(fabric, name, (*where, n), ("host",))
    yield from _distinct(placement, where)


def _collective(fabric: Fabric, spec: CollectiveSpec, at: KeyPath) -> Iterator[Problem]:
    yield from _placement(fabric, spec.placement, at)
    hosts = len(fabric.hosts)
    placed = hosts if isinstance(spec.placement, str) else len(spec.placement)
    ranks = _ranks(fabric, spec)
    if ranks > hosts and not spec.fold:
        yield Problem((*at, "ranks"), f"at most {hosts} ranks, one for each workload host", str(ranks),
                      "or set `fold: true` to have several ranks share a host")
    elif not isinstance(spec.placement, str) and ranks != placed and not spec.fold:
        yield Problem((*at, "placement"), f"a host for each of {ranks} ranks", f"{placed} hosts")
    if ranks < 2:
        yield Problem((*at, "ranks"), "at least 2 ranks", str(ranks))
    if spec.splits is None:
        return
    if spec.op != "all-to-all":
        yield Problem((*at, "splits"), "splits with op: all-to-all only", f"op: {spec.op}")
    if len(spec.splits) != ranks or any(len(row) != ranks for row in spec.splits):
        yield Problem((*at, "splits"), f"{ranks} rows of {ranks} sizes, one for each rank",
                      f"rows of {', '.join(str(len(row)) for row in spec.splits)}")
    if any(size < 0 for row in spec.splits for size in row):
        yield Problem((*at, "splits"), "sizes of zero or more bytes", str(min(min(r) for r in spec.splits if r)))


def _job(fabric: Fabric, spec: TrainingJobSpec, at: KeyPath) -> Iterator[Problem]:
    yield from _placement(fabric, spec.placement, at)
    for key, expected, found in job_problems(spec):
        yield Problem((*at, key), expected, found)
    hosts = len(fabric.hosts) if isinstance(spec.placement, str) else len(spec.placement)
    if spec.ranks > hosts and not spec.fold:
        yield Problem(at, f"at most {hosts} ranks (data x tensor x pipeline), one for each host", str(spec.ranks),
                      "or set `fold: true` to have several ranks share a host")


def _trace(trace: str, at: KeyPath, *, directory: bool = False) -> Iterator[Problem]:
    """A regular file, or where `directory` is allowed one of those: not what blocks, or never ends, when it is read."""
    path = Path(trace)
    name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):     # a name that is too long, say
        yield Problem((*at, "trace"), "a trace that exists", f"{show(name)}, which does not",
                      "a relative path starts at the scenario file; in --set it starts where you are")
        return
    odd = not_regular(mode)
    if odd and not (directory and path.is_dir()):
        yield Problem((*at, "trace"), "a trace, a regular file" + " or a directory of them" * directory,
                      f"{show(name)}, {odd}")


def _requests(fabric: Fabric, spec: RequestsSpec, at: KeyPath) -> Iterator[Problem]:
    yield from _trace(spec.trace, at)
    if spec.clients is None and not fabric.of("outside"):
        yield Problem((*at, "clients"), "clients, or a fabric with outside hosts", "neither",
                      "give the fabric a border, such as `border: {hosts: 2, rate: 20mbit}`")
    for key, names in (("clients", spec.clients), ("servers", spec.servers)):
        for n, name in enumerate(names or ()):
            yield from _host(fabric, name, (*at, key, n), ("host", "outside"))
        yield from _distinct(names or (), (*at, key))
        if names == ():
            yield Problem((*at, key), f"at least one of the {key}", "none")
    servers = spec.servers if spec.servers is not None else tuple(h.name for h in fabric.hosts)
    for n, name in enumerate(spec.clients or ()):
        if name in servers:
            yield Problem((*at, "clients", n), "clients that are no servers", f"{name} as both",
                          "name the servers: without `servers:` every workload host is one")
    if spec.window is not None and spec.window[0] >= spec.window[1]:
        yield Problem((*at, "window"), "a window [from, to) that is not empty",
                      f"{spec.window[0]:g}s to {spec.window[1]:g}s")


def _serving(fabric: Fabric, spec: ServingSpec, at: KeyPath) -> Iterator[Problem]:
    if spec.trace is not None:
        yield from _trace(spec.trace, at)
    yield from _serving_hosts(fabric, spec, at)
    if spec.agent is not None:
        yield from _agents(fabric, spec, spec.agent, (*at, "agent"))
    yield from (Problem((*at, key), *told) for key, *told in worker_problems(spec, replica_hosts(spec, fabric)))
    if spec.lacks:
        yield Problem((*at, "routing"), f"a policy that does without {spec.lacks}, which {spec.format} traces do not "
                      "have, such as least_outstanding", spec.routing)
    if spec.window is not None and spec.window[0] >= spec.window[1]:
        yield Problem((*at, "window"), "a window [from, to) that is not empty",
                      f"{spec.window[0]:g}s to {spec.window[1]:g}s")


def _serving_hosts(fabric: Fabric, spec: ServingSpec, at: KeyPath) -> Iterator[Problem]:
    if spec.clients is None and not fabric.of("outside"):
        yield Problem((*at, "clients"), "clients, or a fabric with outside hosts", "neither",
                      "give the fabric a border, such as `border: {hosts: 2, rate: 20mbit}`")
    gateway = spec.gateway or fabric.hosts[0].name
    if spec.gateway is not None:
        yield from _host(fabric, spec.gateway, (*at, "gateway"), ("host", "outside"))
    yield from _stores(fabric, spec, gateway, at)
    for key, names in (("clients", spec.clients), ("replicas", spec.replicas), ("decode", spec.decode)):
        for n, name in enumerate(names or ()):
            yield from _host(fabric, name, (*at, key, n), ("host", "outside"))
            if key == "decode" and name in (spec.replicas or ()):
                yield Problem((*at, key, n), "hosts that do not prefill as well", f"{name} as both")
            if name == gateway:
                yield Problem((*at, key, n), f"{key} that are not the gateway", f"{name} as both",
                              "the gateway is the first workload host unless `gateway:` names another")
        yield from _distinct(names or (), (*at, key))
        if names == ():
            yield Problem((*at, key), f"at least one of the {key}", "none")
    servers = spec.agent.servers if spec.agent is not None else ()
    stores = spec.store.hosts if spec.store is not None else ()
    mortal = tuple(dict.fromkeys((*replica_hosts(spec, fabric), *(spec.decode or ()), *servers, *stores)))
    what = "a replica" + (" or a tool server" if servers else "") + (" or a store" if stores else "")
    for n, (name, _) in enumerate(spec.failures):
        if name not in mortal:
            yield Problem((*at, "failures", n, 0), f"{what}: {', '.join(mortal)}", name)


def _stores(fabric: Fabric, spec: ServingSpec, gateway: str, at: KeyPath) -> Iterator[Problem]:
    """Stores on hosts of their own, for prompts whose blocks have ids."""
    if spec.store is None:
        return
    others = {gateway: "the gateway", **dict.fromkeys(spec.clients or (), "a client"),
              **dict.fromkeys(spec.replicas or (), "a replica"), **dict.fromkeys(spec.decode or (), "a decoder")}
    if spec.agent is not None:
        others |= dict.fromkeys(spec.agent.servers, "a tool server") | dict.fromkeys(spec.agent.hosts, "an agent")
    for n, name in enumerate(spec.store.hosts):
        yield from _host(fabric, name, (*at, "store", "hosts", n), ("host", "outside"))
        if name in others:
            yield Problem((*at, "store", "hosts", n), "stores on hosts of their own", f"{name}, {others[name]}")
    yield from _distinct(spec.store.hosts, (*at, "store", "hosts"))
    if spec.trace is not None and spec.format == "azure":
        yield Problem((*at, "store"), "prompts whose blocks have ids: format: mooncake, or requests that are drawn",
                      "an azure trace, which has no hash_ids")


def _agents(fabric: Fabric, spec: ServingSpec, agent: AgentSpec, at: KeyPath) -> Iterator[Problem]:
    """Agents and tool servers on hosts of the fabric, and apart where they would else speak with themselves."""
    gateway = spec.gateway or fabric.hosts[0].name
    outside = {n.name for n in fabric.of("outside")}
    for n, name in enumerate(agent.hosts):
        where = (*at, "hosts", n)
        yield from _host(fabric, name, where, ("host", "outside"))
        for what, others in (("the gateway", (gateway,)), ("a tool server", agent.servers),
                             ("a client", outside if spec.clients is None else spec.clients)):
            if name in others:
                yield Problem(where, "hosts of agents alone: what they send has to cross the network",
                              f"{name}, {what} as well")
    yield from _distinct(agent.hosts, (*at, "hosts"))
    for key, tool in agent.tools.items():
        where = (*at, "tools", key, "hosts")
        for n, name in enumerate(tool.hosts):
            yield from _host(fabric, name, (*where, n), ("host", "outside"))
        yield from _distinct(tool.hosts, where)
        if 0 < len(outside & set(tool.hosts)) < len(tool.hosts):
            yield Problem(where, "servers that are all inside or all outside of the data centre", ", ".join(tool.hosts),
                          "make two tools of it: an external service has its own time on the critical path")


def _pairs(fabric: Fabric, pairs: Sequence[tuple[str, str]], at: KeyPath) -> Iterator[Problem]:
    for n, pair in enumerate(pairs):
        for k, name in enumerate(pair):
            yield from _host(fabric, name, (*at, "pairs", n, k), ("host", "outside"))
        if pair[0] == pair[1]:
            yield Problem((*at, "pairs", n), "two different hosts", f"{pair[0]} twice")


def _stream(fabric: Fabric, spec: StreamSpec, at: KeyPath) -> Iterator[Problem]:
    yield from _pairs(fabric, spec.pairs, at)
    largest = fabric.spec.mtu + ETHERNET_HEADER
    if spec.frame > largest:
        yield Problem((*at, "frame"), f"at most {largest} bytes, a full frame at MTU {fabric.spec.mtu}",
                      str(spec.frame), "larger ones would be cut into fragments")


def _replay(fabric: Fabric, spec: ReplaySpec, at: KeyPath) -> Iterator[Problem]:
    yield from _trace(spec.trace, at)
    for address, host in spec.hosts.items():
        yield from _host(fabric, host, (*at, "hosts", address), ("host", "outside"))


def _roce(fabric: Fabric, spec: RoceSpec, at: KeyPath) -> Iterator[Problem]:
    yield from _pairs(fabric, spec.pairs, at)
    headers = OVERHEAD - ETHERNET_HEADER
    if spec.frame - ETHERNET_HEADER > fabric.spec.mtu:
        yield Problem((*at, "mtu"), f"at most {fabric.spec.mtu - headers} bytes of payload at MTU {fabric.spec.mtu}",
                      str(spec.mtu), f"headers and ICRC take {headers} bytes; or raise the fabric's mtu")
