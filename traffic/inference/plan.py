"""What a user wrote about serving -> the job of the process, in emulated units where the network is meant.

Sizes of the GPU's memory stay real: only time, and what crosses the fabric, is scaled.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.model.units import show_size
from traffic.inference.agent import Task, tasks_of
from traffic.inference.gpu import Roofline
from traffic.inference.parallel import Parallel, fused, pairs_of, parallel_of, problems, replica_hosts, replicas_of
from traffic.inference.requests import Request, requests_of, trace_notes
from traffic.runtime.job import PhaseJob
from traffic.transports.tcp import TCP
from traffic.workloads.specs import ServingSpec

KV_FUSE = 8     # layers that travel together where nothing is said
SIMPLER = {     # than in real engines, where prefill and decoding are apart
    "KV memory": "a decoder reserves none before a KV cache comes and a prefiller holds none until it is fetched, so a "
                 "slow network delays decoding and never holds prefill back, as it does in vLLM",
    "first token": "the prefiller sends it: TTFT does not hold the KV transfer, as it does where the decoder sends it "
                   "(vLLM, Dynamo); kv_wait is what comes after it"}


class Serving(BaseModel):
    """One workload. `spec` as written; times, sizes and counts beside it are emulated and resolved.

    kv_tokens    KV memory of a replica for running requests, in tokens
    token_bytes  of an answer's token on the wire       time   emulated seconds of a real one
    decode       hosts that decode what `replicas` have prefilled; () where replicas do both
    kv_bytes     of a token's KV cache on the wire, from one to the other
    parallel     the workers of each replica; None where a replica is one host
    rates        payload bit/s of TCP on the access link of each host that KV caches come from or go to
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    spec: ServingSpec
    clients: tuple[str, ...]
    gateway: str
    replicas: tuple[str, ...]
    decode: tuple[str, ...] = ()
    requests: tuple[Request, ...]
    tasks: tuple[Task, ...] = ()        # of agents, whose model calls are the requests
    kv_tokens: int
    token_bytes: float
    kv_bytes: float
    rates: dict[str, float] = {}
    time: float
    congestion_control: str
    dscp: int = 0
    parallel: Parallel | None = None
    trace_notes: dict[str, str] = {}

    @property
    def roofline(self) -> Roofline:
        """Of one stage, which has its share of the work and of the GPUs: of all the work on all of a replica's."""
        return _roofline(self.spec)

    @property
    def workers(self) -> dict[str, tuple[str, ...]]:
        """Replica -> its hosts, itself the first."""
        alone = {name: (name,) for name in (*self.replicas, *self.decode)}
        spread = self.parallel.stages if self.parallel else {}
        return alone | {name: tuple(h for stage in stages for h in stage) for name, stages in spread.items()}

    @property
    def notes(self) -> dict[str, str]:
        """What a report has to say: how a trace was read, what was fused, what is simpler than in real engines."""
        return {**self.trace_notes, **(fused(self.spec, self.parallel) if self.parallel else {}),
                **(SIMPLER if self.decode else {})}

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.gateway, *(host for pair in self.pairs for host in pair))))

    @property
    def stores(self) -> tuple[str, ...]:
        """Hosts that store KV blocks; () where there are none."""
        return self.spec.store.hosts if self.spec.store is not None else ()

    @property
    def layer_shares(self) -> tuple[float, ...]:
        """Share of the layers that is computed with each group that travels; () where a KV cache goes whole."""
        if self.spec.kv_transfer != "layers":
            return ()
        layers = self.roofline.model.shape.layers
        fuse = self.spec.kv_fuse or KV_FUSE
        return tuple(min(done, layers) / layers for done in range(fuse, layers + fuse, fuse))

    @property
    def block_bytes(self) -> int:
        """Of a block's KV on the wire."""
        return max(round(self.spec.block * self.kv_bytes), 1)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(client, server) of every pair of hosts that talks."""
        replicas, agent = dict.fromkeys((*self.replicas, *self.decode)), self.spec.agent
        callers = agent.hosts if agent is not None else self.clients
        tools = () if agent is None else (*((c, a) for c in self.clients for a in agent.hosts),
                                          *((a, s) for a in agent.hosts for s in agent.servers))
        spread = self.parallel.stages.values() if self.parallel else ()
        return [*((c, self.gateway) for c in callers), *((self.gateway, r) for r in replicas),
                *((p, d) for p in self.replicas for d in self.decode), *tools,
                *(pair for stages in spread for pair in pairs_of(stages)),
                *((r, store) for r in replicas for store in self.stores)]

    @property
    def planned_bytes(self) -> int:
        """What goes over the network if all goes well, KV caches not counted."""
        models = sum(r.size + self.answer_bytes(r.output) for r in self.requests)
        tools = sum(c.ask + c.answer for t in self.tasks for c in t.calls)
        tokens = sum(r.input + r.output - 1 for r in self.requests)
        workers = round(self.parallel.moved(tokens)) if self.parallel else 0
        return 2 * models + tools + sum(t.ask + t.answer for t in self.tasks) + workers

    def answer_bytes(self, tokens: int) -> int:
        """Of a message with this many tokens, at least 1."""
        return max(round(tokens * self.token_bytes), 1)


class ServingJob(PhaseJob):
    """JOB.json of python -m traffic.inference."""

    what = "a job of the serving runtime"
    seed: int = 1
    workloads: tuple[Serving, ...] = Field(min_length=1)


def serving_of(spec: ServingSpec, fabric: Fabric, name: str, seed: int) -> Serving:
    """A workload with its hosts chosen and its requests read. Raises SpecError, TraceError."""
    where, scale = f"workloads.{name}", fabric.spec.scale.scale
    gateway = spec.gateway or fabric.hosts[0].name
    clients = spec.clients if spec.clients is not None else tuple(n.name for n in fabric.of("outside"))
    replicas = replica_hosts(spec, fabric)
    for key, names in (("clients", clients), ("replicas", replicas)):
        if not names:
            raise SpecError(f"{where}.{key}", f"at least one of the {key}", "none")
    for key, expected, found, hint in problems(spec, replicas):
        raise SpecError(f"{where}.{key}", expected, found, hint)
    kv_tokens = _kv_tokens(spec, where)
    _check_store(spec, where)
    _check_fuse(spec, where)
    holders = (*replicas, *(spec.decode or ()), *(spec.store.hosts if spec.store is not None else ()))
    outside = frozenset(n.name for n in fabric.of("outside"))
    tasks, asked = tasks_of(spec, clients, outside, scale, seed, where)
    serving = Serving(
        name=name, spec=spec, clients=clients, gateway=gateway, replicas=tuple(replicas_of(spec, replicas)),
        kv_tokens=kv_tokens, parallel=parallel_of(spec, replicas, fabric),
        requests=tuple(asked or requests_of(spec, clients, scale, seed, where)), tasks=tuple(tasks),
        token_bytes=scale.to_emulated_size(spec.bytes_per_output_token), time=scale.time, decode=spec.decode or (),
        kv_bytes=scale.to_emulated_size(_roofline(spec).kv_bytes_per_token),
        rates={h: TCP.overhead.bulk_limit(fabric.access_link(h).rate, fabric.spec.mtu) for h in holders},
        congestion_control=spec.congestion_control or TCP.congestion_control(fabric.spec),
        dscp=fabric.spec.dscp_of(spec.traffic_class), trace_notes=trace_notes(spec))
    if not serving.requests:
        raise SpecError(f"{where}.thinning", "a share that leaves requests", f"{spec.thinning:g}, which leaves none")
    _check_longest(serving, where)
    return serving


def _check_longest(serving: Serving, where: str) -> None:
    """A context is in one batch, and a pipeline's batches share the memory."""
    longest = max(serving.requests, key=lambda r: r.input + r.output)
    room, share = serving.kv_tokens // serving.spec.pipeline, serving.spec.pipeline > 1
    if longest.input + longest.output > room:
        whose = "one batch of a replica's KV memory" if share else "a replica's KV memory"
        what = f"request {longest.id}" if longest.task < 0 else f"task {longest.task}"
        raise SpecError(f"{where}, {what}", f"at most {room} tokens, what {whose} holds",
                        f"a context of {longest.input + longest.output} tokens",
                        "more gpus, a larger kv_memory, a smaller gpu_cache, or shorter requests")


def _roofline(spec: ServingSpec) -> Roofline:
    return Roofline.of(spec.model, spec.gpu, spec.gpus * spec.workers)


def _check_store(spec: ServingSpec, where: str) -> None:
    """A store holds a block at least."""
    block = spec.block * _roofline(spec).kv_bytes_per_token
    if spec.store is not None and spec.store.size < block:
        raise SpecError(f"{where}.store.size", f"at least {show_size(block)}, one block of {spec.block} tokens",
                        show_size(int(spec.store.size)), "a larger store, or a smaller block")


def _check_fuse(spec: ServingSpec, where: str) -> None:
    """No more layers travel together than there are."""
    layers = _roofline(spec).model.shape.layers
    if spec.kv_fuse is not None and spec.kv_fuse > layers:
        raise SpecError(f"{where}.kv_fuse", f"at most {layers}, the model's layers", str(spec.kv_fuse),
                        "or kv_transfer: whole")


def _kv_tokens(spec: ServingSpec, where: str) -> int:
    """Tokens whose KV a replica holds for running requests."""
    roofline = _roofline(spec)
    room = roofline.kv_capacity
    if room <= 0:
        raise SpecError(f"{where}.gpus", f"GPUs whose memory holds the weights of {show_size(roofline.weight_bytes)}",
                        f"{roofline.gpus} of {show_size(int(roofline.gpu.memory))} each", "more gpus for each replica")
    memory = room if spec.kv_memory is None else spec.kv_memory
    if memory > room:
        raise SpecError(f"{where}.kv_memory", f"at most {show_size(room)}, what the weights leave", show_size(memory))
    tokens = (memory - spec.gpu_cache) // roofline.kv_bytes_per_token
    if tokens <= 0:
        raise SpecError(f"{where}.gpu_cache", f"less than the KV memory of {show_size(memory)}",
                        show_size(spec.gpu_cache))
    return int(tokens)
