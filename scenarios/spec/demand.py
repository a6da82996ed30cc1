"""What a phase asks of the machine, against what it carries without its own work showing in the results. Pure.

A packet costs the machine about the same whatever its size, so what is small counts as a full frame; one that stays on
its leaf crosses one switch instead of three. Jobs ask for what saturates their busiest port; requests and serving for
their mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scenarios.spec.scenario import Scenario
from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.fabric import Fabric
from topologies.model.units import show_rate
from traffic.collectives import schedule
from traffic.inference.plan import Serving
from traffic.models.predict import busy_seconds
from traffic.transports.rocev2.plan import queue_pairs
from traffic.transports.udp.plan import Stream, streams_of
from traffic.workloads.specs import BulkSpec
from traffic.workloads.workload import Collective, Transfer, Workload

if TYPE_CHECKING:
    from scenarios.run.phases import Traffic

PER_PROCESSOR = 40e6    # bit/s of TCP over three switches that a processor carries with headroom. Measured on two:
#                         rings of 8 hosts at 10 Mbit/s, 16 at 5, 32 at 2.5 leave a quarter of them idle (README)
NEAR = 1 / 3            # switches that a packet between hosts of one leaf crosses, of those between two leaves
SLACK = 1.05


def carried(processors: int | None = None) -> float:
    """bit/s that a machine carries; of this one where nothing is said."""
    return PER_PROCESSOR * (processors or len(os.sched_getaffinity(0)))


def demand(scenario: Scenario, traffic: Traffic, fabric: Fabric, seconds: float) -> float:
    """bit/s between hosts while all of a phase runs, which takes so many seconds; no more than its hosts can send."""
    asked = sum(_jobs(traffic.workloads, fabric, seconds))
    asked += sum(8 * (s.planned_bytes + _caches(s)) / max(seconds, 1.0) for s in traffic.serving)
    streams: list[Stream] = []
    for name, spec in traffic.streams.items():
        streams += streams_of(spec, fabric, name, scenario.seed)
    for name, roce in traffic.roce.items():
        streams += queue_pairs(roce, fabric, name, scenario.seed)
    streams += [s for replay in traffic.replays.values() for s in replay.streams]
    asked += sum(_stream(s, fabric) for s in streams) + sum(_bulk(b, fabric) for b in traffic.bulk.values())
    return min(asked, sum(fabric.access_link(h.name).rate for h in fabric.all_hosts if h.role != "probe"))


def warning(phase: str, asked: float, processors: int | None = None) -> str:
    """What to expect of a phase that asks for too much; '' of one that does not."""
    count = processors or len(os.sched_getaffinity(0))
    if asked <= SLACK * carried(count):
        return ""
    return (f"warning: phase {phase} asks for {show_rate(asked)} between hosts, and {count} processor"
            f"{'s' * (count > 1)} carry some {show_rate(carried(count))} with headroom: expect SUSPECT or INVALID; "
            "lower the rates, take fewer hosts or more processors")


def _caches(serving: Serving) -> float:
    """Bytes of the KV caches that go from where they are prefilled to where they are decoded."""
    return serving.kv_bytes * sum(r.input for r in serving.requests) if serving.decode else 0.0


def _weight(fabric: Fabric, src: str, dst: str) -> float:
    if src == dst:
        return 0.0
    return NEAR if fabric.host(src).leaf == fabric.host(dst).leaf else 1.0


def _jobs(workloads: Iterable[Workload], fabric: Fabric, seconds: float) -> Iterator[float]:
    """Of each: its bytes in the time in which its busiest port is busy; of requests in an open loop, in all of it."""
    for w in workloads:
        moved = sum(size * _weight(fabric, w.hosts[src], w.hosts[dst]) for src, dst, size in _moves(w))
        busy = seconds if w.connections == "pool" else busy_seconds(w, fabric)
        if moved and busy:
            yield 8 * moved / busy


def _moves(workload: Workload) -> Iterator[tuple[int, int, int]]:
    for op in workload.ops:
        for move in schedule(op) if isinstance(op, Collective) else (op,) if isinstance(op, Transfer) else ():
            yield move.src, move.dst, move.size


def _stream(stream: Stream, fabric: Fabric) -> float:
    """As many full frames as the stream has packets; no more than its host can send of its own ones."""
    full = 8 * (fabric.spec.mtu + ETHERNET_HEADER)
    pps = min(stream.pps, fabric.access_link(stream.src).rate / (8 * stream.frame))
    return pps * full * _weight(fabric, stream.src, stream.dst)


def _bulk(spec: BulkSpec, fabric: Fabric) -> float:
    """What senders can send and receivers can take, each host once."""
    ends = [sum(fabric.access_link(h).rate for h in dict.fromkeys(pair[side] for pair in spec.pairs))
            for side in (0, 1)]
    return min(ends) * max(_weight(fabric, *pair) for pair in spec.pairs)
