"""Requests of a trace and their answers, in an open loop."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from topologies.model.units import show_size, show_time
from traffic.metrics.serving import requests
from traffic.runtime.records import RequestRecord
from traffic.traces.requests import requests_workload
from traffic.workloads.kinds.engine import EngineKind, Operations
from traffic.workloads.kinds.kind import Family
from traffic.workloads.kinds.names import (
    client_problems,
    doubled_problems,
    host_problems,
    trace_problems,
    window_problems,
)
from traffic.workloads.specs import RequestsSpec
from traffic.workloads.workload import Transfer, Workload

ANSWERS = Family((RequestRecord,), lambda left, _: requests.metrics(left[RequestRecord]))


class RequestsKind(EngineKind[RequestsSpec]):
    """Each request at its time, whatever became of the others (traffic/traces/requests.py)."""

    spec, title, times = RequestsSpec, "The replayed requests", ("e2el",)
    families = (ANSWERS,)

    def problems(self, spec: RequestsSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from trace_problems(spec.trace, at)
        yield from client_problems(fabric, spec.clients, at)
        for key, names in (("clients", spec.clients), ("servers", spec.servers)):
            for n, name in enumerate(names or ()):
                yield from host_problems(fabric, name, (*at, key, n))
            yield from doubled_problems(names or (), (*at, key))
            if names == ():
                yield Problem((*at, key), f"at least one of the {key}", "none")
        servers = spec.servers if spec.servers is not None else tuple(h.name for h in fabric.hosts)
        for n, name in enumerate(spec.clients or ()):
            if name in servers:
                yield Problem((*at, "clients", n), "clients that are no servers", f"{name} as both",
                              "name the servers: without `servers:` every workload host is one")
        yield from window_problems(spec.window, at)

    def workload(self, spec: RequestsSpec, fabric: Fabric, name: str, seed: int) -> Workload:
        return requests_workload(spec, fabric, name, seed)

    def explain(self, spec: RequestsSpec, built: Operations, fabric: Fabric) -> str:
        transfers = [op for op in built.workload.ops if isinstance(op, Transfer)]
        arrivals = [op.at for op in transfers if not op.reply]
        return (f"{len(arrivals)} requests within {show_time(max(arrivals))}, "
                f"{show_size(sum(op.size for op in transfers))} both ways")
