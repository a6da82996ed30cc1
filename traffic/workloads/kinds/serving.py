"""Inference serving: clients, a gateway, replicas, and all that goes between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from topologies.model.units import show_size
from traffic.inference import unloaded
from traffic.inference.gpu import Chunk
from traffic.inference.kv import shipping
from traffic.inference.plan import Serving, ServingJob, serving_of
from traffic.inference.records import (
    ReplicaRecord,
    ServingRecord,
    ServingSetupRecord,
    StepRecord,
    StoreRecord,
    TaskRecord,
    ToolRecord,
)
from traffic.metrics.metric import Metric
from traffic.metrics.serving import inference, spanning, stores, tasks
from traffic.runtime.reading import Records
from traffic.workloads.extent import Extent
from traffic.workloads.kinds.kind import Built, Family, Json, Kind, Pair, Process, Setting, checked_job
from traffic.workloads.kinds.serving_checks import extent_of, limit_problems, name_problems
from traffic.workloads.specs import ServingSpec


def _metrics(left: Records, fabric: Fabric) -> Iterator[Metric]:
    served = left[ServingRecord]
    yield from inference.metrics(served, left[ReplicaRecord], left[ServingSetupRecord])
    yield from tasks.metrics(left[TaskRecord], served, left[ToolRecord])
    yield from spanning.metrics(left[StepRecord])
    yield from stores.metrics(served, left[StoreRecord])


SERVING = Family((ServingRecord, ReplicaRecord, ServingSetupRecord, StepRecord, StoreRecord, TaskRecord, ToolRecord),
                 _metrics)


class Inference(Process["Served"]):
    """One process for all serving workloads of a phase."""

    what, module, sends = "inference", "traffic.inference", "inference"

    def job(self, built: Sequence[Served], setting: Setting) -> Callable[[], Json]:
        return checked_job(ServingJob, {**setting.common, "seed": setting.seed,
                                        "workloads": tuple(b.serving for b in built)})


@dataclass(frozen=True)
class Served(Built):
    """Requests with their hosts, drawn or read."""

    serving: Serving
    process = Inference()

    def pairs(self) -> set[Pair]:
        return set(self.serving.pairs)

    def hosts(self) -> set[str]:
        return set(self.serving.hosts)

    @property
    def notes(self) -> Mapping[str, str]:
        return self.serving.notes

    def seconds(self, fabric: Fabric) -> float:
        return serving_seconds(self.serving)

    def demand(self, fabric: Fabric, seconds: float) -> float:
        """The mean over the phase."""
        return 8 * (self.serving.planned_bytes + _caches(self.serving)) / max(seconds, 1.0)

    def predictions(self, fabric: Fabric) -> dict[str, Metric]:
        scale = fabric.spec.scale.scale
        shipped = {f"{self.name}.{tag}": m for tag, m in shipping.predictions(self.serving, scale).items()}
        return unloaded.predictions([self.serving], scale) | shipped


class ServingKind(Kind[ServingSpec, Served]):
    """Requests that are drawn or replayed, and replicas of a model that answer them (traffic/inference)."""

    spec, title, times = ServingSpec, "Serving", ("ttft",)
    families = (SERVING,)

    def problems(self, spec: ServingSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        return name_problems(spec, fabric, at)

    def extent(self, spec: ServingSpec, fabric: Fabric) -> Extent:
        return extent_of(spec)

    def limits(self, spec: ServingSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        return limit_problems(spec, at)

    def build(self, spec: ServingSpec, fabric: Fabric, name: str, seed: int) -> Served:
        return Served(name, serving_of(spec, fabric, name, seed))

    def explain(self, spec: ServingSpec, built: Served, fabric: Fabric) -> str:
        serving = built.serving
        model = spec.model if isinstance(spec.model, str) else "a model of its own"
        prompts = sum(r.size for r in serving.requests)
        answers = sum(serving.answer_bytes(r.output) for r in serving.requests)
        apart = f" that prefill and {len(serving.decode)} that decode" if serving.decode else ""
        count = len(serving.replicas)
        if serving.parallel:
            apart = f" of {spec.workers} workers (tensor {spec.tensor}, pipeline {spec.pipeline})"
        stores = f", {len(serving.stores)} KV stores of {show_size(int(spec.store.size))}" if spec.store else ""
        tools = sum(c.kind != "model" for t in serving.tasks for c in t.calls)
        agents = f"{len(serving.tasks)} tasks of agents, {tools} tool calls, " if serving.tasks else ""
        return (f"{model} on {count} replica{'s' if count > 1 else ''}{apart} by {spec.routing}, "
                f"{agents}{len(serving.requests)} requests, prompts of {show_size(prompts)} and answers of "
                f"{show_size(answers)} in all, KV memory of {serving.kv_tokens} tokens a replica{stores}")


def _caches(serving: Serving) -> float:
    """Bytes of the KV caches that go from where they are prefilled to where they are decoded."""
    return serving.kv_bytes * sum(r.input for r in serving.requests) if serving.decode else 0.0


def serving_seconds(serving: Serving) -> float:
    """Until the last request is answered: due after what it waits for, and then computed by the roofline.

    Not before replicas have prefilled all prompts and their KV caches are across, but no later than the last one's
    time-out where that is known.
    """
    ends = _ends(serving)
    work = sum(_prefill(serving, r.input) for r in serving.requests) / len(serving.replicas)
    if serving.decode:
        moved = 8 * serving.kv_bytes * sum(r.input for r in serving.requests)
        work = max(work, moved / (min(len(serving.replicas), len(serving.decode)) * min(serving.rates.values())))
    given_up = max(r.at for r in serving.requests) + serving.spec.timeout * serving.time
    open_loop = not serving.tasks and all(r.after < 0 for r in serving.requests)
    return max(*ends, 0.0, min(work, given_up) if open_loop else work)


def _ends(serving: Serving) -> list[float]:
    """Emulated seconds at which each request or task is over, were it alone; a call starts after those before it."""
    alone = {r.id: _alone(serving, r.input, r.output) for r in serving.requests}
    ends: dict[int, float] = {}
    for task in serving.tasks:
        for call in task.calls:
            start = max((ends[n] for n in call.after), default=task.at) + call.pause
            ends[call.id] = start + (alone[call.id] if call.kind == "model" else call.service)
    for r in serving.requests:
        if r.id not in ends:
            ends[r.id] = (ends[r.after] if r.after >= 0 else 0.0) + r.at + alone[r.id]
    return list(ends.values())


def _alone(serving: Serving, given: int, made: int) -> float:
    """Emulated seconds from a request to its last token, with the replica to itself."""
    step = serving.roofline.seconds([Chunk(1, given + made // 2)]) * serving.spec.pipeline * serving.time
    if serving.parallel is not None:
        step += max(serving.parallel.idle_seconds(name, 1) for name in serving.parallel.stages)
    return min(_prefill(serving, given) + made * step, serving.spec.timeout * serving.time)


def _prefill(serving: Serving, given: int) -> float:
    seconds = serving.roofline.prefill_seconds(given) * serving.spec.pipeline * serving.time
    if serving.parallel is not None:
        seconds += max(serving.parallel.idle_seconds(name, given) for name in serving.parallel.stages)
    return seconds
