"""JOB.json: what a process of the engine is asked to do.

    {"inventory": path, "t0": seconds of CLOCK_MONOTONIC, "records": path, "phase": name, "seed": n,
     "workloads": [a workload as traffic.workloads.workload.to_json writes it, ...]}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topologies.model.errors import SpecError, SpecErrors
from topologies.model.inventory import Inventory
from traffic.transports.base import Host
from traffic.workloads.lowering import Program, lower
from traffic.workloads.workload import from_json


class Job(BaseModel):
    """A job as it is written; the workloads are checked by `programs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    inventory: Path
    t0: float
    records: Path
    phase: str
    seed: int = 1
    workloads: tuple[dict[str, Any], ...] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> Job:
        """Raises SpecError for a missing file or one that is no job."""
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            found = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise SpecError(str(path), "a job of the traffic engine as JSON", found) from None

    def programs(self) -> list[Program]:
        """The lowered workloads. Raises SpecError."""
        workloads = [from_json(data, f"workloads.{i}") for i, data in enumerate(self.workloads)]
        names = [w.name for w in workloads]
        if len(set(names)) < len(names):
            raise SpecError("workloads", "names of their own", ", ".join(names))
        return [lower(w) for w in workloads]


def hosts_of(programs: list[Program], inventory: Inventory) -> dict[str, Host]:
    """The hosts that these programs use, by name. Raises SpecErrors naming those that do not exist."""
    wanted = sorted({name for p in programs for name in p.workload.hosts})
    unknown = [name for name in wanted if name not in inventory.netns or not inventory.fabric.host(name).ip]
    if unknown:
        known = ", ".join(h.name for h in inventory.fabric.all_hosts)
        raise SpecErrors([SpecError("workload hosts", f"hosts of the lab: {known[:300]}", ", ".join(unknown))])
    return {name: Host(name, inventory.fabric.host(name).ip, inventory.netns_path(name)) for name in wanted}
