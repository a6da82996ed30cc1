"""A replica on several hosts: workers that share each layer (tensor), stages that share the layers (pipeline).

    gateway ══> h1 <─ring─> h2      stage 0: the first half of the layers        tensor: 2
                 │           │      activations, each worker's to its counterpart
                h3 <─ring─> h4      stage 1: the second half                     pipeline: 2

Consecutive hosts of `replicas` are a replica, stage by stage, named after its first. What crosses the
network in a step of T tokens, with A = hidden x bytes of an element:

    tensor     two all-reduces a layer, after attention and after the feed-forward, of T x A bytes each
               (Shoeybi et al., "Megatron-LM", 2019, section 3); `fuse` layers' are sent as one
    pipeline   T x A bytes from each worker of a stage to its counterpart in the next, as training jobs
               send them, and from the last stage to the first 4 bytes for each token that was made

Fused, an all-reduce carries the bytes of 2 x fuse: its time on the wire is right, and what each of them pays in
latency is paid once. A step of few tokens is bound by just that latency on real hardware.

Pure: who is in which replica, sizes, what an idle network takes, and what cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from topologies.model.fabric import Fabric
from traffic.jobs.models import Model
from traffic.models.predict import busy_seconds, fluid_seconds
from traffic.workloads.specs import ServingSpec
from traffic.workloads.workload import Collective, Transfer, Workload

ELEMENT = 2         # bytes of an activation's element
TOKEN_ID = 4        # bytes of a token that was made
_PROBE = 1_000_000  # bytes for which the fluid model, which is linear, is asked

Pair = tuple[str, str]
Stages = tuple[tuple[str, ...], ...]        # hosts of each stage


class Idle(BaseModel):
    """What an idle network takes: emulated seconds a byte by the busiest port, and delays of the links.

    reduce  of each stage's all-reduce: (seconds a byte, seconds)    hand  of the activations after each but the last
    back    seconds of token ids
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reduce: tuple[tuple[float, float], ...]
    hand: tuple[tuple[float, float], ...]
    back: float


class Parallel(BaseModel):
    """How a workload's replicas are spread. Sizes in emulated bytes.

    stages      replica -> hosts of each of its stages        idle  replica -> what an idle network takes
    exchanges   all-reduces of a stage and step; 0 where a stage is one worker
    reduce      bytes of one of them for each token           hand  bytes of activations for each token
    token_id    bytes that tell the first stage of a token
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    stages: dict[str, Stages]
    idle: dict[str, Idle]
    exchanges: int
    reduce: float
    hand: float
    token_id: float

    def reduce_size(self, tokens: int) -> int:
        """Bytes of one all-reduce of a step; at least one for each worker."""
        workers = len(next(iter(self.stages.values()))[0])
        return max(round(tokens * self.reduce), workers)

    def hand_size(self, tokens: int) -> int:
        """Bytes from a worker to its counterpart."""
        return max(round(tokens * self.hand), 1)

    def back_size(self, made: int) -> int:
        """Bytes from the last stage to the first."""
        return max(round(made * self.token_id), 1)

    def part_size(self, tokens: int) -> int:
        """Bytes of a message of a step: a worker's part of an all-reduce, or activations."""
        workers = len(next(iter(self.stages.values()))[0])
        return self.reduce_size(tokens) // workers if self.exchanges else self.hand_size(tokens)

    def train_size(self, tokens: int) -> int:
        """Bytes that a worker sends in a row: its 2 (n - 1) parts of an all-reduce, or activations."""
        workers = len(next(iter(self.stages.values()))[0])
        return self.part_size(tokens) * (2 * (workers - 1) if self.exchanges else 1)

    def idle_seconds(self, replica: str, tokens: int) -> float:
        """Emulated seconds that a step's exchange takes with nobody else on the network."""
        idle = self.idle[replica]
        reduces = sum(self.reduce_size(tokens) * each + delay for each, delay in idle.reduce)
        hands = sum(self.hand_size(tokens) * each + delay for each, delay in idle.hand)
        return self.exchanges * reduces + hands + idle.back

    def moved(self, tokens: int) -> float:
        """Bytes that all workers of a replica send for so many tokens, together."""
        stages = next(iter(self.stages.values()))
        workers = len(stages[0])
        reduced = len(stages) * self.exchanges * 2 * (workers - 1) * self.reduce
        return tokens * (reduced + (len(stages) - 1) * workers * self.hand)


def ring_pairs(hosts: Sequence[str]) -> list[Pair]:
    """Each host and its right neighbour; none for one host."""
    return list(zip(hosts, (*hosts[1:], hosts[0]), strict=True)) if len(hosts) > 1 else []


def pairs_of(stages: Stages) -> list[Pair]:
    """(sender, receiver) of all that a replica's workers exchange."""
    rings = [pair for stage in stages for pair in ring_pairs(stage)]
    hands = [pair for a, b in pairwise(stages) for pair in zip(a, b, strict=True)]
    return [*rings, *hands, *([(stages[-1][0], stages[0][0])] if len(stages) > 1 else [])]


def replica_hosts(spec: ServingSpec, fabric: Fabric) -> tuple[str, ...]:
    """The hosts that compute: those named, or all workload hosts that have no other part."""
    hosts = [h.name for h in fabric.hosts]
    agents = (*spec.agent.hosts, *spec.agent.servers) if spec.agent is not None else ()
    stores = spec.store.hosts if spec.store is not None else ()
    taken = {spec.gateway or hosts[0], *(spec.decode or ()), *agents, *stores}
    return spec.replicas if spec.replicas is not None else tuple(h for h in hosts if h not in taken)


def replicas_of(spec: ServingSpec, hosts: Sequence[str]) -> dict[str, Stages]:
    """Replica -> its stages, from the hosts that compute; as many hosts as `problems` asks for."""
    groups = [hosts[k:k + spec.workers] for k in range(0, len(hosts), spec.workers)]
    return {group[0]: tuple(tuple(group[k:k + spec.tensor]) for k in range(0, spec.workers, spec.tensor))
            for group in groups}


def exchanges_of(spec: ServingSpec) -> int:
    """All-reduces of a stage and step."""
    layers = Model.of(spec.model).shape.layers // spec.pipeline
    return layers // (spec.fuse or layers) if spec.tensor > 1 else 0


def parallel_of(spec: ServingSpec, hosts: Sequence[str], fabric: Fabric) -> Parallel | None:
    """The replicas of a spec without `problems`; None where each is one host."""
    if spec.workers == 1:
        return None
    shape, scale = Model.of(spec.model).shape, fabric.spec.scale.scale
    stages, exchanges = replicas_of(spec, hosts), exchanges_of(spec)
    activation = scale.to_emulated_size(shape.hidden * ELEMENT)
    layers = shape.layers // spec.pipeline
    return Parallel(
        stages=stages, idle={name: _idle(of, fabric) for name, of in stages.items()}, exchanges=exchanges,
        reduce=2 * layers / exchanges * activation if exchanges else 0.0, hand=activation,
        token_id=scale.to_emulated_size(TOKEN_ID))


def fused(spec: ServingSpec, parallel: Parallel) -> dict[str, str]:
    """What a report says of all-reduces that stand for several; nothing where none do."""
    real, sent = 2 * Model.of(spec.model).shape.layers, parallel.exchanges * spec.pipeline
    if not sent:
        return {}
    return {"all-reduces": f"the {real} of a step are sent as {sent} with the same bytes: rates are right, the latency "
                           f"of {real - sent} is left out"}


def _idle(stages: Stages, fabric: Fabric) -> Idle:
    return Idle(reduce=tuple(_ring(s, fabric) for s in stages),
                hand=tuple(_hand(a, b, fabric) for a, b in pairwise(stages)),
                back=_delay(fabric, stages[-1][0], stages[0][0]))


def _ring(hosts: tuple[str, ...], fabric: Fabric) -> tuple[float, float]:
    """Of an all-reduce; each of its 2 (n - 1) rounds waits for the delay of the longest hop."""
    n = len(hosts)
    if n == 1:
        return 0.0, 0.0
    whole = Collective("ring", "all-reduce", tuple(range(n)), n * _PROBE)
    hops = zip(hosts, (*hosts[1:], hosts[0]), strict=True)
    each = fluid_seconds(whole, Workload("idle", hosts, ()), fabric) / whole.size
    return each, 2 * (n - 1) * max(_delay(fabric, a, b) for a, b in hops)


def _hand(here: tuple[str, ...], there: tuple[str, ...], fabric: Fabric) -> tuple[float, float]:
    """Of the activations, all workers' at once."""
    n = len(here)
    ops = tuple(Transfer(f"{k}", k, n + k, _PROBE) for k in range(n))
    each = busy_seconds(Workload("idle", (*here, *there), ops), fabric) / _PROBE
    return each, max(_delay(fabric, a, b) for a, b in zip(here, there, strict=True))


def _delay(fabric: Fabric, src: str, dst: str) -> float:
    """Of the links from src to dst, the longer way; a lone frame pays no serialisation here (decision 003)."""
    a, b = fabric.host(src), fabric.host(dst)
    ends = fabric.access_link(src).delay + fabric.access_link(dst).delay
    return ends + max(sum(link.delay for link in path.links) for path in fabric.paths(a.leaf, b.leaf))


Wrong = tuple[str, str, str, str]       # key, expected, found, hint


def problems(spec: ServingSpec, hosts: Sequence[str]) -> Iterator[Wrong]:
    """Everything about workers that cannot be; hosts: those that compute."""
    if spec.fuse is not None and spec.tensor == 1:
        yield "fuse", "tensor of 2 or more, whose all-reduces are fused", f"{spec.fuse} without", ""
    if spec.workers == 1:
        return
    yield from _shares(spec)
    if len(hosts) % spec.workers or not hosts:
        yield ("replicas", f"hosts by {spec.workers}, tensor x pipeline of each replica", f"{len(hosts)}",
               "name them in `replicas:`, each replica's one after the other")
    if spec.decode:
        yield "decode", "replicas of one host each, without tensor and pipeline", f"{spec.workers} hosts each", ""
    if spec.store is not None:
        yield "store", "replicas of one host each, without tensor and pipeline", f"{spec.workers} hosts each", ""
    if spec.agent is not None:      # its critical path would count what workers exchange as prefill and decoding
        yield "agent", "replicas of one host each, without tensor and pipeline", f"{spec.workers} hosts each", ""
    if spec.pipeline > 1 and spec.batch < spec.pipeline:
        yield "batch", f"{spec.pipeline} or more, one for each stage", f"{spec.batch}", ""
    if spec.pipeline > 1 and (spec.gpu_cache or spec.host_cache):
        yield ("gpu_cache" if spec.gpu_cache else "host_cache", "no prefix cache with pipeline",
               f"pipeline: {spec.pipeline}", "prefixes are computed by several batches at once there")


def _shares(spec: ServingSpec) -> Iterator[Wrong]:
    """What does not divide."""
    shape = Model.of(spec.model).shape
    if shape.heads % spec.tensor or shape.kv_heads % spec.tensor:
        yield ("tensor", f"a divisor of the model's {shape.heads} heads and {shape.kv_heads} kv_heads",
               f"{spec.tensor}", "")
    if shape.layers % spec.pipeline:
        yield "pipeline", f"a divisor of the model's {shape.layers} layers", f"{spec.pipeline}", ""
    elif spec.fuse is not None and spec.tensor > 1 and shape.layers // spec.pipeline % spec.fuse:
        yield "fuse", f"a divisor of the {shape.layers // spec.pipeline} layers of a stage", f"{spec.fuse}", ""
