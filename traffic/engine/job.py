"""JOB.json: what a process of the engine is asked to do.

    {"inventory": path, "t0": seconds of CLOCK_MONOTONIC, "records": path, "phase": name, "seed": n,
     "workloads": [a workload as traffic.workloads.workload.to_json writes it, ...]}
"""

from __future__ import annotations

from pydantic import Field

from topologies.model.errors import SpecError
from traffic.runtime.job import PhaseJob
from traffic.workloads.lowering import Program, lower
from traffic.workloads.workload import from_json


class Job(PhaseJob):
    """A job as it is written; the workloads are checked by `programs`."""

    what = "a job of the traffic engine"
    seed: int = 1
    workloads: tuple[dict[str, object], ...] = Field(min_length=1)

    def programs(self) -> list[Program]:
        """The lowered workloads. Raises SpecError."""
        workloads = [from_json(data, f"workloads.{i}") for i, data in enumerate(self.workloads)]
        names = [w.name for w in workloads]
        if len(set(names)) < len(names):
            raise SpecError("workloads", "names of their own", ", ".join(names))
        return [lower(w) for w in workloads]
