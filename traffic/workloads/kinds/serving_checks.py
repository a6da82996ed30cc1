"""What is wrong with the spec of a serving workload: names, and more than can be held."""

from __future__ import annotations

import math
from collections.abc import Iterator

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from traffic.inference.parallel import problems as worker_problems
from traffic.inference.parallel import replica_hosts
from traffic.workloads.agent_specs import AgentSpec
from traffic.workloads.extent import MAX_BLOCKS, MAX_REQUESTS, MAX_STEPS, Extent
from traffic.workloads.kinds.names import (
    client_problems,
    doubled_problems,
    host_problems,
    trace_problems,
    window_problems,
)
from traffic.workloads.specs import ServingSpec


def name_problems(spec: ServingSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
    """What it names and the fabric or the disk does not have, and hosts that do two things."""
    if spec.trace is not None:
        yield from trace_problems(spec.trace, at)
    yield from _serving_hosts(fabric, spec, at)
    if spec.agent is not None:
        yield from _agents(fabric, spec, spec.agent, (*at, "agent"))
    yield from (Problem((*at, key), *rest) for key, *rest in worker_problems(spec, replica_hosts(spec, fabric)))
    if spec.lacks:
        yield Problem((*at, "routing"), f"a policy that does without {spec.lacks}, which {spec.format} traces do not "
                      "have, such as least_outstanding", spec.routing)
    yield from window_problems(spec.window, at)


def _serving_hosts(fabric: Fabric, spec: ServingSpec, at: KeyPath) -> Iterator[Problem]:
    yield from client_problems(fabric, spec.clients, at)
    gateway = spec.gateway or fabric.hosts[0].name
    if spec.gateway is not None:
        yield from host_problems(fabric, spec.gateway, (*at, "gateway"))
    yield from _stores(fabric, spec, gateway, at)
    for key, names in (("clients", spec.clients), ("replicas", spec.replicas), ("decode", spec.decode)):
        for n, name in enumerate(names or ()):
            yield from host_problems(fabric, name, (*at, key, n))
            if key == "decode" and name in (spec.replicas or ()):
                yield Problem((*at, key, n), "hosts that do not prefill as well", f"{name} as both")
            if name == gateway:
                yield Problem((*at, key, n), f"{key} that are not the gateway", f"{name} as both",
                              "the gateway is the first workload host unless `gateway:` names another")
        yield from doubled_problems(names or (), (*at, key))
        if names == ():
            yield Problem((*at, key), f"at least one of the {key}", "none")
    servers = spec.agent.servers if spec.agent is not None else ()
    stores = spec.store.hosts if spec.store is not None else ()
    killable = tuple(dict.fromkeys((*replica_hosts(spec, fabric), *(spec.decode or ()), *servers, *stores)))
    what = "a replica" + (" or a tool server" if servers else "") + (" or a store" if stores else "")
    for n, (name, _) in enumerate(spec.failures):
        if name not in killable:
            yield Problem((*at, "failures", n, 0), f"{what}: {', '.join(killable)}", name)


def _stores(fabric: Fabric, spec: ServingSpec, gateway: str, at: KeyPath) -> Iterator[Problem]:
    """Stores on hosts of their own, for prompts whose blocks have ids."""
    if spec.store is None:
        return
    others = {gateway: "the gateway", **dict.fromkeys(spec.clients or (), "a client"),
              **dict.fromkeys(spec.replicas or (), "a replica"), **dict.fromkeys(spec.decode or (), "a decoder")}
    if spec.agent is not None:
        others |= dict.fromkeys(spec.agent.servers, "a tool server") | dict.fromkeys(spec.agent.hosts, "an agent")
    for n, name in enumerate(spec.store.hosts):
        yield from host_problems(fabric, name, (*at, "store", "hosts", n))
        if name in others:
            yield Problem((*at, "store", "hosts", n), "stores on hosts of their own", f"{name}, {others[name]}")
    yield from doubled_problems(spec.store.hosts, (*at, "store", "hosts"))
    if spec.trace is not None and spec.format == "azure":
        yield Problem((*at, "store"), "prompts whose blocks have ids: format: mooncake, or requests that are drawn",
                      "an azure trace, which has no hash_ids")


def _agents(fabric: Fabric, spec: ServingSpec, agent: AgentSpec, at: KeyPath) -> Iterator[Problem]:
    """Agents and tool servers on hosts of the fabric, and apart where they would else speak with themselves."""
    gateway = spec.gateway or fabric.hosts[0].name
    outside = {n.name for n in fabric.of("outside")}
    for n, name in enumerate(agent.hosts):
        where = (*at, "hosts", n)
        yield from host_problems(fabric, name, where)
        for what, others in (("the gateway", (gateway,)), ("a tool server", agent.servers),
                             ("a client", outside if spec.clients is None else spec.clients)):
            if name in others:
                yield Problem(where, "hosts that only agents use, so that their traffic crosses the network",
                              f"{name}, {what} as well")
    yield from doubled_problems(agent.hosts, (*at, "hosts"))
    for key, tool in agent.tools.items():
        where = (*at, "tools", key, "hosts")
        for n, name in enumerate(tool.hosts):
            yield from host_problems(fabric, name, (*where, n))
        yield from doubled_problems(tool.hosts, where)
        if 0 < len(outside & set(tool.hosts)) < len(tool.hosts):
            yield Problem(where, "servers that are all inside or all outside of the data centre", ", ".join(tool.hosts),
                          "split it into two tools: an external service has its own time on the critical path")


def extent_of(spec: ServingSpec) -> Extent:
    """Of requests that are drawn, their mean; what a trace holds its reader counts."""
    if spec.trace is not None:
        return Extent()
    mean = math.exp(spec.variation**2 / 2)      # of a log-normal of median 1
    if spec.agent is not None:
        calls = calls_of(spec.agent)
        context = spec.agent.system_tokens + mean * spec.input_tokens
        return Extent(requests=round(spec.requests * calls),
                      blocks=round(2 * spec.requests * calls * context / spec.block))
    turn = mean * (spec.input_tokens + spec.output_tokens) / spec.block
    return Extent(requests=spec.requests * spec.turns,
                  blocks=round(spec.requests * turn * spec.turns * (spec.turns + 1)))


def calls_of(agent: AgentSpec) -> float:
    """Mean calls of a task, of models and of tools: a loop of steps, and for each delegated call another loop."""
    steps, fan_out = (sum(both) / 2 for both in (agent.steps, agent.fan_out))
    asked, calls = (steps - 1) * fan_out, 0.0
    for level in range(agent.depth + 1):        # from the last level up
        share = agent.delegate if level else 0.0
        calls = steps + asked * ((1 - share) + share * calls)
    return calls


def limit_problems(spec: ServingSpec, at: KeyPath) -> Iterator[Problem]:
    """Requests, blocks or steps of a prompt that are too many."""
    found, what = extent_of(spec), "sessions" if spec.turns > 1 else "tasks of agents" if spec.agent else "requests"
    if found.requests > MAX_REQUESTS:
        each = f" of {spec.turns:,} turns" if spec.turns > 1 else f" of {calls_of(spec.agent):.0f} calls" \
            if spec.agent else ""
        key = "turns" if spec.turns > spec.requests else "requests"
        yield Problem((*at, key), f"at most {MAX_REQUESTS:,} requests, those of all turns and agents together",
                      f"{spec.requests:,} {what}{each}, which are {found.requests:,}", f"fewer {what}")
    elif found.blocks > MAX_BLOCKS:
        yield Problem((*at, "block"), f"at most {MAX_BLOCKS:,} blocks of all prompts together",
                      f"{found.requests:,} requests in blocks of {spec.block} tokens, which have some {found.blocks:,}",
                      "a larger block, fewer or shorter requests")
    if math.ceil(spec.input_tokens / spec.chunk) > MAX_STEPS:
        yield Problem((*at, "chunk"), f"prompts that are computed in at most {MAX_STEPS:,} steps",
                      f"{spec.input_tokens:,} tokens in chunks of {spec.chunk}", "a larger chunk")
