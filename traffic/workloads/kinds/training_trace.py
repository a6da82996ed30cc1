"""A training step of a trace, replayed."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from traffic.traces.aicb import aicb_workload
from traffic.traces.chakra import chakra_workload
from traffic.traces.training import training_workload
from traffic.workloads.kinds.engine import EngineKind, Operations, steps_line
from traffic.workloads.kinds.names import placement_problems, trace_problems
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Workload

_READERS = {"pytorch_et": training_workload, "chakra": chakra_workload, "aicb": aicb_workload}


class TrainingTraceKind(EngineKind[TrainingTraceSpec]):
    """Collectives of a trace with their sizes, splits and gaps, by the reader of its format (traffic/traces)."""

    spec, title, times = TrainingTraceSpec, "The replayed training step", ("step_time",)
    has_ranks = per_operation = True

    def problems(self, spec: TrainingTraceSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from trace_problems(spec.trace, at, directory=True)
        yield from placement_problems(fabric, spec.placement, at)

    def workload(self, spec: TrainingTraceSpec, fabric: Fabric, name: str, seed: int) -> Workload:
        return _READERS[spec.format](spec, fabric, name, seed)

    def explain(self, spec: TrainingTraceSpec, built: Operations, fabric: Fabric) -> str:
        return steps_line(built.workload)
