"""What a user wrote about traffic -> the workload that the engine runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from traffic.collectives import algorithm_for, problems
from traffic.jobs.job import primitives, training_job
from traffic.traces.aicb import aicb_workload
from traffic.traces.chakra import chakra_workload
from traffic.traces.requests import requests_workload
from traffic.traces.training import training_workload
from traffic.workloads.extent import MAX_OPS
from traffic.workloads.placement import leaves_of, place
from traffic.workloads.specs import CollectiveSpec, RequestsSpec, TrainingJobSpec, TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Op, Workload


def build(spec: CollectiveSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """One collective a step, each rank's compute time before it. Sizes and times become emulated ones.

    Only a random placement is drawn; the seed picks source ports as well, later. S of an all-to-all-v
    is the largest row of its splits. Raises SpecError.
    """
    scale = fabric.spec.scale.scale
    hosts = place(spec.placement, spec.ranks, fabric, seed, fold=spec.fold)
    ranks = tuple(range(len(hosts)))
    computes: list[Op] = []
    if spec.compute:
        computes = [Compute(f"compute/{r}", r, scale.to_emulated_time(spec.compute)) for r in ranks]
    splits = None
    if spec.splits is not None:
        splits = tuple(tuple(round(scale.to_emulated_size(b)) for b in row) for row in spec.splits)
    algorithm = spec.algorithm or algorithm_for(spec.op)
    groups = leaves_of(hosts, fabric) if algorithm == "hierarchical" else None
    size = max(map(sum, splits)) if splits else round(scale.to_emulated_size(spec.size))
    collective = Collective(spec.op, spec.op, ranks, size, algorithm, splits, tuple(c.id for c in computes), groups)
    for expected, found in problems(collective):
        raise SpecError(f"workloads.{name}", expected, found)
    return Workload(
        name=name, hosts=hosts, ops=(*computes, collective), iterations=spec.iterations, warmup=spec.warmup,
        flows_per_pair=spec.flows_per_pair,
        congestion_control=spec.congestion_control or fabric.spec.tcp.congestion_control)


def trace_workload(spec: TrainingTraceSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """A training step of a trace, by the reader of its format. Raises TraceError, SpecError."""
    readers = {"pytorch_et": training_workload, "chakra": chakra_workload, "aicb": aicb_workload}
    return readers[spec.format](spec, fabric, name, seed)


_BUILDERS: dict[type[Any], Callable[[Any, Fabric, str, int], Workload]] = {
    CollectiveSpec: build,
    TrainingJobSpec: training_job,
    TrainingTraceSpec: trace_workload,
    RequestsSpec: requests_workload,
}


def workload_of(spec: CollectiveSpec | TrainingJobSpec | TrainingTraceSpec | RequestsSpec, fabric: Fabric,
                name: str, seed: int) -> Workload:
    """The workload of a spec that the TCP engine runs. Raises SpecError, TraceError."""
    built = _BUILDERS[type(spec)](spec, fabric, name, seed)
    count = sum(primitives(op) for op in built.ops)
    if count > MAX_OPS and not isinstance(spec, CollectiveSpec):    # its own schedule is counted before it is built
        raise SpecError(f"workloads.{name}", f"at most {MAX_OPS:,} computes and transfers in an iteration",
                        f"{count:,}", "a shorter part of the trace, or fewer ranks")
    return replace(built, dscp=fabric.spec.dscp_of(spec.traffic_class))
