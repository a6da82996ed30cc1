"""How much a workload becomes, before it is built: operations, connections, requests. Pure, and quick for any spec.

    spec ──extent_of──> Extent ──limits──> at most as much as check and the engine can hold ──> build

A file of a few lines may ask for more than any machine has: a ring of 20,000 ranks is 800 million transfers. So what is
built is counted first, by the formulas of the schedules (traffic/collectives), and refused where it is too much.
Of what a trace holds nothing is known here; its readers count it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from topologies.model.fabric import Fabric
from traffic.collectives import algorithm_for
from traffic.jobs.job import MAX_OPS as MAX_JOB_OPS
from traffic.jobs.job import at_least
from traffic.jobs.models import Model
from traffic.workloads.agent_specs import AgentSpec
from traffic.workloads.specs import CollectiveSpec, ServingSpec, TrainingJobSpec, WorkloadSpec

MAX_OPS = 100_000           # computes and transfers of a workload's iteration: 2 to 4 s of a check, 130 MB
MAX_DEPENDENCIES = 2_000_000
MAX_CONNECTIONS = 10_000    # TCP connections of a workload: two descriptors each, and source ports from 20,000 a host
MAX_REQUESTS = 50_000       # of a workload: 2 s of a check, 150 MB
MAX_BLOCKS = 2_000_000      # ids of blocks of all prompts of a workload together
MAX_STEPS = 100_000         # of a prompt: chunks that it is computed in
MAX_ALL_OPS, MAX_ALL_REQUESTS = 200_000, 100_000        # of all phases together, each workload once for each phase
Limit = tuple[str, str, str, str]   # key of the spec or '', expected, found, hint


@dataclass(frozen=True, slots=True)
class Extent:
    """What a workload becomes. ops: computes and transfers of an iteration; blocks: ids of blocks of prompts."""

    ops: int = 0
    dependencies: int = 0
    connections: int = 0
    requests: int = 0
    blocks: int = 0


def extent_of(spec: WorkloadSpec, fabric: Fabric) -> Extent:
    """Of a collective exact, of a training job at least, of requests that are drawn their mean; else nothing."""
    match spec:
        case CollectiveSpec():
            return _collective(spec, fabric)
        case TrainingJobSpec():
            layers = Model.of(spec.model).shape.layers // spec.pipeline
            return Extent(ops=at_least(spec, min(spec.fuse or layers, layers)))
        case ServingSpec() if spec.trace is None:
            return _serving(spec)
    return Extent()


def limits(spec: WorkloadSpec, fabric: Fabric) -> Iterator[Limit]:
    """What is more than can be held, with the key to blame."""
    found = extent_of(spec, fabric)
    if isinstance(spec, TrainingJobSpec) and found.ops > MAX_JOB_OPS:
        yield ("", f"at most {MAX_JOB_OPS:,} computes and transfers in an iteration",
               f"{spec.ranks:,} ranks and {spec.micro_batches:,} micro-batches, which are at least {found.ops:,}",
               "lower micro_batches or the number of ranks" + (", or raise fuse" if spec.fuse else ""))
    if isinstance(spec, CollectiveSpec):
        yield from _collective_limits(spec, found, fabric)
    if isinstance(spec, ServingSpec):
        yield from _serving_limits(spec, found)


def ranks_of(spec: CollectiveSpec, fabric: Fabric) -> int:
    """Given, or one on each host of the placement."""
    if spec.ranks is not None:
        return spec.ranks
    return len(fabric.hosts) if isinstance(spec.placement, str) else len(spec.placement)


def _collective(spec: CollectiveSpec, fabric: Fabric) -> Extent:
    n, algorithm = ranks_of(spec, fabric), spec.algorithm or algorithm_for(spec.op)
    both = 2 if spec.op == "all-reduce" else 1
    moves, pairs, waits = both * n * (n - 1), n, 0
    if algorithm == "direct":
        pairs, waits = n * (n - 1), n * n * (n - 1) * (both - 1)      # the second half waits for all of the first
    elif algorithm == "halving-doubling":
        pairs = n * max(n.bit_length() - 1, 1)
        moves = 2 * pairs
    elif algorithm == "tree" or spec.op == "broadcast":
        moves = pairs = n - 1
    elif algorithm == "hierarchical":
        m = max(min(len({h.leaf for h in fabric.hosts}), n), 1)       # leaves, of n / m ranks each
        moves, pairs = 2 * n * (n // m - 1) + 2 * n * (m - 1), 2 * n
    joins = (3 if spec.compute else 2) * n
    return Extent(ops=moves + joins, dependencies=waits, connections=pairs * spec.flows_per_pair)


def _collective_limits(spec: CollectiveSpec, found: Extent, fabric: Fabric) -> Iterator[Limit]:
    n, algorithm = ranks_of(spec, fabric), spec.algorithm or algorithm_for(spec.op)
    of, hint = f"{spec.op} ({algorithm}) of {n:,} ranks", "fewer ranks"
    if found.ops > MAX_OPS:
        yield ("ranks", f"at most {MAX_OPS:,} computes and transfers in an iteration", f"{of}, which are {found.ops:,}",
               hint)
    elif found.dependencies > MAX_DEPENDENCIES:
        yield "ranks", f"at most {MAX_DEPENDENCIES:,} transfers that wait for others", \
            f"{of}, which have {found.dependencies:,}", f"{hint}, or algorithm: ring"
    elif found.connections > MAX_CONNECTIONS:
        yield ("flows_per_pair" if spec.flows_per_pair > 1 else "ranks", f"at most {MAX_CONNECTIONS:,} TCP connections",
               f"{of} with {spec.flows_per_pair} flows a pair, which are {found.connections:,}",
               f"{hint}, or fewer flows_per_pair")


def _serving(spec: ServingSpec) -> Extent:
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


def _serving_limits(spec: ServingSpec, found: Extent) -> Iterator[Limit]:
    what = "sessions" if spec.turns > 1 else "tasks of agents" if spec.agent else "requests"
    if found.requests > MAX_REQUESTS:
        each = f" of {spec.turns:,} turns" if spec.turns > 1 else f" of {calls_of(spec.agent):.0f} calls" \
            if spec.agent else ""
        key = "turns" if spec.turns > spec.requests else "requests"
        yield key, f"at most {MAX_REQUESTS:,} requests, those of all turns and agents together", \
            f"{spec.requests:,} {what}{each}, which are {found.requests:,}", f"fewer {what}"
    elif found.blocks > MAX_BLOCKS:
        yield "block", f"at most {MAX_BLOCKS:,} blocks of all prompts together", \
            f"{found.requests:,} requests in blocks of {spec.block} tokens, which have some {found.blocks:,}", \
            "a larger block, fewer or shorter requests"
    if math.ceil(spec.input_tokens / spec.chunk) > MAX_STEPS:
        yield "chunk", f"prompts that are computed in at most {MAX_STEPS:,} steps", \
            f"{spec.input_tokens:,} tokens in chunks of {spec.chunk}", "a larger chunk"
