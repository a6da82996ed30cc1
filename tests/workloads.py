"""Workloads of the TCP engine, as tests look at them."""

from __future__ import annotations

from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from traffic.workloads.kinds.engine import workloads_of
from traffic.workloads.kinds.registry import build
from traffic.workloads.workload import Workload


def workload_of(spec: Strict, fabric: Fabric, name: str, seed: int) -> Workload:
    """The operations of a spec."""
    (workload,) = workloads_of([build(spec, fabric, name, seed)])
    return workload
