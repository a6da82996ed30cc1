"""A request trace -> a workload of request/response transfers, open loop.

    client --- req/i, at its arrival ---> server: work/i ---> resp/i, on the same connection ---> client
               input tokens                       output tokens x time
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.model.units import show_time
from traffic.traces.azure import Request, notes, read
from traffic.workloads.extent import MAX_OPS
from traffic.workloads.specs import RequestsSpec
from traffic.workloads.workload import Compute, Op, Transfer, Workload


def requests_workload(spec: RequestsSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """The requests of `spec.trace` between clients and servers. Ranks: the clients, then the servers.

    Request i is a Transfer req/i that starts at its arrival whatever became of the others, a Compute
    work/i of output tokens x time_per_output_token that starts when the request has arrived, and a
    Transfer resp/i that answers on the request's connection. The work of different requests on one
    server does not queue: a Compute is a timer and no op of one request comes after one of another.
    So a server's capacity is not modelled; what requests share is the network.

    Clients and servers are taken round robin, each round in an order of its own that the seed draws,
    so that loads are even and every client meets every server. A transfer has at least one byte.
    Sizes and times follow the fabric's scale. Raises TraceError, SpecError.
    """
    clients = _hosts(fabric, spec.clients, "outside", f"workloads.{name}.clients")
    servers = _hosts(fabric, spec.servers, "host", f"workloads.{name}.servers")
    both = sorted(set(clients) & set(servers))
    if both:
        raise SpecError(f"workloads.{name}.servers", "servers that are no clients of the same workload",
                        ", ".join(both))
    requests = read(Path(spec.trace), spec.window, spec.speedup)
    if len(requests) > MAX_OPS // 3:        # a request, its work and its answer
        raise SpecError(f"workloads.{name}.trace", f"at most {MAX_OPS // 3:,} requests", f"{len(requests):,}",
                        "a window of the trace")
    rng = np.random.default_rng(seed)
    from_ranks = _rounds(rng, len(clients), len(requests))
    to_ranks = [len(clients) + k for k in _rounds(rng, len(servers), len(requests))]
    scale = fabric.spec.scale.scale
    ops = [op for i, request in enumerate(requests)
           for op in _request(spec, fabric, i, request, from_ranks[i], to_ranks[i])]
    return Workload(
        name=name, hosts=(*clients, *servers), ops=tuple(ops), connections="pool",
        timeout=scale.to_emulated_time(spec.timeout), notes=_notes(spec, requests, fabric))


def _hosts(fabric: Fabric, wanted: tuple[str, ...] | None, role: str, where: str) -> tuple[str, ...]:
    """The wanted hosts, by default all of a role."""
    if wanted is None:
        hosts = tuple(n.name for n in fabric.nodes if n.role == role)
        hint = "give the fabric a border with outside hosts" if role == "outside" else ""
    else:
        hosts, hint = tuple(fabric.host(h).name for h in wanted), ""
    if not hosts or len(set(hosts)) < len(hosts):
        raise SpecError(where, "at least one host, each named once", ", ".join(hosts) or "none", hint)
    return hosts


def _rounds(rng: np.random.Generator, n: int, count: int) -> list[int]:
    """`count` numbers below n: each round of n holds every number once, in an order of its own."""
    return [int(k) for _ in range(-(-count // n)) for k in rng.permutation(n)][:count]


def _request(spec: RequestsSpec, fabric: Fabric, i: int, request: Request, src: int, dst: int) -> Iterator[Op]:
    scale = fabric.spec.scale.scale
    ask = round(scale.to_emulated_size(request.input_tokens * spec.bytes_per_input_token))
    answer = round(scale.to_emulated_size(request.output_tokens * spec.bytes_per_output_token))
    work = scale.to_emulated_time(request.output_tokens * spec.time_per_output_token)
    yield Transfer(f"req/{i}", src, dst, max(ask, 1), at=scale.to_emulated_time(request.arrival))
    yield Compute(f"work/{i}", dst, work, after=(f"req/{i}",))
    yield Transfer(f"resp/{i}", dst, src, max(answer, 1), after=(f"work/{i}",), reply=f"req/{i}")


def _notes(spec: RequestsSpec, requests: list[Request], fabric: Fabric) -> dict[str, str]:
    scale = fabric.spec.scale.scale
    found = {
        "trace": f"{Path(spec.trace).name} ({spec.format})",
        "requests": f"{len(requests)} in {show_time(requests[-1].arrival)}, "
                    f"{sum(r.input_tokens for r in requests)} input and "
                    f"{sum(r.output_tokens for r in requests)} output tokens",
        "bytes": f"{spec.bytes_per_input_token:g} B per input token, "
                 f"{spec.bytes_per_output_token:g} B per output token",
        "servers": f"{show_time(spec.time_per_output_token)} per output token; requests do not queue for a server",
        "speedup": f"{spec.speedup:g}",
    }
    if spec.window is not None:
        found["window"] = f"{show_time(spec.window[0])} to {show_time(spec.window[1])} of the trace"
    if not scale.is_identity:
        found["scale"] = f"bytes x {scale.size:g}, times x {scale.time:g}"
    return found | notes(Path(spec.trace))
