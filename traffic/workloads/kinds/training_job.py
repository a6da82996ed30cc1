"""A training job, made from its model, GPU and parallel layout."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from traffic.jobs.job import MAX_OPS, at_least, problems, training_job
from traffic.jobs.models import Model
from traffic.workloads.extent import Extent
from traffic.workloads.kinds.engine import EngineKind, Operations, steps_line
from traffic.workloads.kinds.names import placement_problems
from traffic.workloads.specs import TrainingJobSpec
from traffic.workloads.workload import Workload


class TrainingJobKind(EngineKind[TrainingJobSpec]):
    """One iteration of every rank, with the dependencies that real ranks have (traffic/jobs/job.py)."""

    spec, title, times = TrainingJobSpec, "The training job", ("step_time",)
    has_ranks = per_operation = True

    def problems(self, spec: TrainingJobSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from placement_problems(fabric, spec.placement, at)
        for key, expected, found in problems(spec):
            yield Problem((*at, key), expected, found)
        hosts = len(fabric.hosts) if isinstance(spec.placement, str) else len(spec.placement)
        if spec.ranks > hosts and not spec.fold:
            yield Problem(at, f"at most {hosts} ranks (data x tensor x pipeline), one for each host", str(spec.ranks),
                          "or set `fold: true` to have several ranks share a host")

    def ranks(self, spec: TrainingJobSpec, fabric: Fabric) -> int:
        return spec.ranks

    def extent(self, spec: TrainingJobSpec, fabric: Fabric) -> Extent:
        """At least."""
        layers = Model.of(spec.model).shape.layers // spec.pipeline
        return Extent(ops=at_least(spec, min(spec.fuse or layers, layers)))

    def limits(self, spec: TrainingJobSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        least = self.extent(spec, fabric).ops
        if least > MAX_OPS:
            of = f"{spec.ranks:,} ranks and {spec.micro_batches:,} micro-batches"
            yield Problem(at, f"at most {MAX_OPS:,} computes and transfers in an iteration",
                          f"{of}, which are at least {least:,}",
                          "lower micro_batches or the number of ranks" + (", or raise fuse" if spec.fuse else ""))

    def workload(self, spec: TrainingJobSpec, fabric: Fabric, name: str, seed: int) -> Workload:
        return training_job(spec, fabric, name, seed)

    def explain(self, spec: TrainingJobSpec, built: Operations, fabric: Fabric) -> str:
        return steps_line(built.workload)
