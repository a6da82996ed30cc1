"""A kind of workload on the TCP engine: each rank sends its bytes to the first one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from topologies.model.fields import Size
from topologies.model.units import show_size
from traffic.workloads.kinds.engine import EngineKind, Operations
from traffic.workloads.placement import place
from traffic.workloads.specs import Classed
from traffic.workloads.workload import Transfer, Workload


class GatherSpec(Classed):
    """Each rank sends `size` to the first, all at once."""

    kind: Literal["gather"]
    ranks: int = Field(4, ge=2)
    size: Size = Field(gt=0)


class GatherKind(EngineKind[GatherSpec]):
    """An incast with a name of its own."""

    spec, title, times = GatherSpec, "The gather", ("step_time",)

    def problems(self, spec: GatherSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        if spec.ranks > len(fabric.hosts):
            yield Problem((*at, "ranks"), f"at most {len(fabric.hosts)} ranks, one for each host", str(spec.ranks))

    def workload(self, spec: GatherSpec, fabric: Fabric, name: str, seed: int) -> Workload:
        size = round(fabric.spec.scale.scale.to_emulated_size(spec.size))
        ops = tuple(Transfer(f"gather/{rank}", rank, 0, size) for rank in range(1, spec.ranks))
        return Workload(name=name, hosts=place("strided", spec.ranks, fabric), ops=ops)

    def explain(self, spec: GatherSpec, built: Operations, fabric: Fabric) -> str:
        return f"gather of {show_size(spec.size)} from each of {spec.ranks - 1} ranks"
