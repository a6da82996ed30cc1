"""What a fluid model expects of a workload, written down before traffic starts.

Bytes are a fluid and the network has no queues, no losses and no start-up:

    a collective starts on every rank when the last rank is ready, and takes as long as its busiest port:

        t = max over ports of 8 x wire bytes / rate  +  latency
        wire bytes of a port in one direction =
            payload in it x frame/payload  +  payload against it x (ACK frame/payload) / k

    ports are the hosts' access links and the leaves' uplinks, a leaf's uplinks taken together (ECMP
    that spreads perfectly) and with 50 bytes more per frame (VXLAN). For a ring on a non-blocking
    fabric that gives the ring limit (traffic/transports/overhead.py).

    latency = one full frame through the longest path of the collective: sum of (delay + 8 x frame / rate)

Collectives of one workload do not slow each other down, but an iteration takes at least what the busiest
port needs for all of its bytes; other workloads and other requests are not there. Measured times are
expected at or above the prediction, and the distance is the finding. Under contention the model to use
is max-min fair shares on the observed paths, which this is not.
Source: docs/reference/methods.md: predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from statistics import fmean, median

from topologies.model.addressing import ETHERNET_HEADER, VXLAN_OVERHEAD
from topologies.model.fabric import Fabric
from traffic.collectives import Move, schedule
from traffic.metrics.collective import BUSBW, TIME, busiest_port
from traffic.metrics.metric import Definition, Metric, spread, with_real
from traffic.metrics.serving.requests import E2EL, THROUGHPUT
from traffic.metrics.steps import JCT, ROOFLINE, SOURCE, STEP_TIME, roofline
from traffic.transports.overhead import Overhead
from traffic.transports.registry import transport
from traffic.workloads.jitter import as_in
from traffic.workloads.workload import Collective, Compute, Op, Transfer, Workload

MOST_DRAWN = 20     # iterations whose computes are drawn, where they vary; the others are like these
_FORMULA = ("fluid model: compute and collectives in turn, each at the limit of its busiest port, plus latency; "
            "at least the busiest port's time for all bytes")
_BUSBW = Definition("busbw", "bit/s", "bus bandwidth at the limit of the busiest port",
                    "8 x payload of the busiest port / (8 x its wire bytes / rate)", BUSBW.source)
_TIME = Definition("time", "s", TIME.title, "max over ports of 8 x wire bytes / rate + latency of one frame", SOURCE)
_STEP = Definition("step_time", "s", STEP_TIME.title, _FORMULA, SOURCE)
_JCT = Definition("jct", "s", JCT.title, f"iterations x step time; {_FORMULA}", SOURCE)
_E2EL = Definition("e2el", "s", E2EL.title, "median over requests of: request + work + response on an idle network",
                   E2EL.source)
_THROUGHPUT = Definition("throughput", "requests/s", "requests offered per second",
                         "requests / (last idle answer - first arrival)", THROUGHPUT.source)


def predict(workload: Workload, fabric: Fabric) -> dict[str, Metric]:
    """Tag -> prediction, under the keys that `metrics.compute` gives the measurements: 'busbw', 'c1-x.time'.

    Request/response workloads (connections "pool") get the latency of an idle network and the offered
    rate, others the times of their collectives and iterations.
    """
    tags = _requests(workload, fabric) if workload.connections == "pool" else _job(workload, fabric)
    scale = fabric.spec.scale.scale
    return {tag: with_real(metric, scale) for tag, metric in tags.items()}


def _job(workload: Workload, fabric: Fabric) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    collectives = [op for op in workload.ops if isinstance(op, Collective)]
    for op in collectives:
        prefix = "" if len(collectives) == 1 else f"{op.id}."
        fluid = fluid_seconds(op, workload, fabric)
        if fluid > 0:
            found[f"{prefix}busbw"] = _BUSBW.of(8 * busiest_port(op) / fluid)
        found[f"{prefix}time"] = _TIME.of(fluid + latency(op, workload, fabric))
    drawn = range(min(workload.iterations, MOST_DRAWN)) if workload.jitter else range(1)
    times = [step_seconds(as_in(workload, i), fabric) for i in drawn]
    found["step_time"] = _STEP.of(median(times), len(times), spread(times))
    found["jct"] = _JCT.of(workload.iterations * fmean(times))
    found["roofline"] = ROOFLINE.of(workload.iterations * roofline(workload, fabric))
    return found


def _requests(workload: Workload, fabric: Fabric) -> dict[str, Metric]:
    due = {op.id: op.at for op in workload.ops if isinstance(op, Transfer) and not op.reply}
    ends = _ends(workload, fabric)
    done = {op.reply: ends[op.id][op.dst] for op in workload.ops if isinstance(op, Transfer) and op.reply}
    if not done:
        return {}
    latencies = [t - due[request] for request, t in done.items()]
    found = {"e2el": _E2EL.of(median(latencies), len(latencies), spread(latencies))}
    seconds = max(done.values()) - min(due.values())
    return {**({"throughput": _THROUGHPUT.of(len(done) / seconds, len(done))} if seconds > 0 else {}), **found}


def fluid_seconds(op: Collective, workload: Workload, fabric: Fabric) -> float:
    """Seconds that the busiest port needs for its wire bytes of the collective."""
    return max(_ports(schedule(op), workload, fabric))


def busy_seconds(workload: Workload, fabric: Fabric) -> float:
    """Seconds that the busiest port needs for its wire bytes of a whole iteration, whatever runs beside what."""
    return max(_ports((move for op in workload.ops for move in _moves(op)), workload, fabric))


def _moves(op: Op) -> Iterable[Move | Transfer]:
    if isinstance(op, Collective):
        return schedule(op)
    return (op,) if isinstance(op, Transfer) else ()


def _ports(moves: Iterable[Move | Transfer], workload: Workload, fabric: Fabric) -> Iterator[float]:
    """Seconds of every access link and of every leaf's uplinks, busier direction."""
    hosts: dict[str, list[int]] = {}
    leaves: dict[str, list[int]] = {}
    for move in moves:
        src, dst = (fabric.host(workload.hosts[r]) for r in (move.src, move.dst))
        if src.name == dst.name:
            continue
        _add(hosts, src.name, dst.name, move.size)
        if src.leaf != dst.leaf:
            _add(leaves, src.leaf, dst.leaf, move.size)
    yield 0.0
    overhead, mtu = transport(workload.transport).overhead, fabric.spec.mtu
    for name, (out, back) in hosts.items():
        yield 8 * _busier(overhead, out, back, mtu) / fabric.access_link(name).rate
    for name, (out, back) in leaves.items():
        yield 8 * _busier(overhead, out, back, mtu, VXLAN_OVERHEAD) / sum(k.rate for k in fabric.uplinks(name))


def _add(ports: dict[str, list[int]], src: str, dst: str, size: int) -> None:
    ports.setdefault(src, [0, 0])[0] += size
    ports.setdefault(dst, [0, 0])[1] += size


def _busier(overhead: Overhead, out: int, back: int, mtu: int, outer: int = 0) -> float:
    """Wire bytes of the busier direction of a port that carries payload `out` one way and `back` the other."""
    return max(overhead.wire_bytes(out, back, mtu, outer), overhead.wire_bytes(back, out, mtu, outer))


def latency(op: Collective, workload: Workload, fabric: Fabric) -> float:
    """Seconds of one full frame on the longest path between members of the collective that exchange bytes."""
    pairs = {(workload.hosts[m.src], workload.hosts[m.dst]) for m in schedule(op)}
    return max((path_seconds(fabric, a, b) for a, b in pairs), default=0.0)


def path_seconds(fabric: Fabric, src: str, dst: str) -> float:
    """Sum over the links from src to dst of delay + serialisation of a full frame; the worst of the paths."""
    a, b = fabric.host(src), fabric.host(dst)
    if a.name == b.name:
        return 0.0
    frame = fabric.spec.mtu + ETHERNET_HEADER
    ends = sum(k.delay + 8 * frame / k.rate for k in (fabric.access_link(src), fabric.access_link(dst)))
    inside = 8 * (frame + VXLAN_OVERHEAD)
    return ends + max(sum(k.delay + inside / k.rate for k in path.links) for path in fabric.paths(a.leaf, b.leaf))


def step_seconds(workload: Workload, fabric: Fabric) -> float:
    """Seconds of one iteration, until the last op is over on its last rank; at least what its busiest port needs."""
    last = max((t for times in _ends(workload, fabric).values() for t in times.values()), default=0.0)
    return max(last, busy_seconds(workload, fabric))


def compute_only_seconds(workload: Workload, took: Mapping[str, float] | None = None) -> float:
    """Seconds of one iteration over a network that takes no time: the longest chain of computes, bubbles included.

    took: compute -> seconds that it really took, for those that are known; the others take what was planned.
    """
    found = took or {}
    ran = replace(workload, ops=tuple(replace(op, seconds=found[op.id]) if isinstance(op, Compute) and op.id in found
                                      else op for op in workload.ops)) if found else workload
    return max((t for times in _ends(ran, None).values() for t in times.values()), default=0.0)


def _ends(workload: Workload, fabric: Fabric | None) -> dict[str, dict[int, float]]:
    """Op -> rank -> second at which it is over there; on each rank it starts when what it comes after is over.

    A collective starts when it can on its last rank; a transfer behind another starts after it. Without a
    fabric what is sent takes no time.
    """
    over: dict[str, dict[int, float]] = {}

    def ready(after: tuple[str, ...], rank: int) -> float:
        return max((_at(over[name], rank) for name in after), default=0.0)

    for op in _in_order(workload):
        if isinstance(op, Compute):
            over[op.id] = {op.rank: ready(op.after, op.rank) + op.seconds}
        elif isinstance(op, Transfer):
            start = max(op.at, ready(_waits(op), op.src))
            over[op.id] = {op.dst: start + (_transfer_seconds(op, workload, fabric) if fabric else 0.0)}
        else:
            end = max(ready(op.after, rank) for rank in op.ranks)
            end += fluid_seconds(op, workload, fabric) + latency(op, workload, fabric) if fabric else 0.0
            over[op.id] = dict.fromkeys(op.ranks, end)
    return over


def _at(times: dict[int, float], rank: int) -> float:
    """When an op is over as `rank` sees it: its own part, or all of it where it has none."""
    return times[rank] if rank in times else max(times.values())


def _in_order(workload: Workload) -> Iterator[Op]:
    """The ops, each after all that it waits for. The workload has no cycles: lowering refuses them."""
    by_id = {op.id: op for op in workload.ops}
    return (by_id[name] for name in TopologicalSorter({op.id: _waits(op) for op in workload.ops}).static_order())


def _waits(op: Op) -> tuple[str, ...]:
    if isinstance(op, Transfer):
        return (*op.after, *(name for name in (op.behind, op.reply) if name))
    return op.after


def _transfer_seconds(op: Transfer, workload: Workload, fabric: Fabric) -> float:
    """A transfer alone: its bytes at the bulk limit of the slower of its two access links, plus latency.

    Between ranks of one host it takes no time, as it meets no link.
    """
    src, dst = workload.hosts[op.src], workload.hosts[op.dst]
    if src == dst:
        return 0.0
    rate = min(fabric.access_link(h).rate for h in (src, dst))
    limit = transport(workload.transport).overhead.bulk_limit(rate, fabric.spec.mtu)
    return 8 * op.size / limit + path_seconds(fabric, src, dst)
