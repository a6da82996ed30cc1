"""How fast collectives moved their bytes, and the limits to compare with.

    algbw = S / t           busbw = algbw x factor

    factor: all-reduce 2(n-1)/n; reduce-scatter, all-gather, all-to-all (n-1)/n; broadcast 1

The factor makes busbw the rate at which payload crosses each host's port, so that it can be held
against the link whatever n is. For an all-to-all-v with its uneven shares the same is meant by the
payload of the busiest port, in one direction, over t.

Source: NVIDIA nccl-tests, doc/PERFORMANCE.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from topologies.model.fabric import Fabric
from traffic.collectives import schedule
from traffic.metrics.metric import Definition, Metric, spread
from traffic.runtime.records import CollectiveRecord
from traffic.transports.registry import transport
from traffic.workloads.workload import Collective, CollectiveName, Workload

NCCL = "nccl-tests doc/PERFORMANCE.md"
TIME = Definition("time", "s", "collective time", "mean over iterations of: last rank's end - first rank's start, "
                  "waiting for late ranks included", "docs/reference/methods.md: training")
ALGBW = Definition("algbw", "bit/s", "algorithm bandwidth", "8 S / t, t the mean over iterations", NCCL)
BUSBW = Definition("busbw", "bit/s", "bus bandwidth", "algbw x factor (all-reduce 2(n-1)/n, broadcast 1, "
                   "others (n-1)/n)", NCCL)
BUSBW_V = Definition("busbw", "bit/s", "bus bandwidth (all-to-all-v)",
                     "8 x payload through the busiest port in one direction / t", NCCL)
SHARE = Definition("busbw_of_limit", "", "bus bandwidth / ring limit",
                   "busbw x f / (rate x 1448 / (1514 + 66/k)), k = 2 data segments per ACK; f = payload of the busiest "
                   "host's port / of the busiest rank: 1 unless ranks share a host",
                   "docs/reference/methods.md: limits to compare with")


def factor(kind: CollectiveName, n: int) -> float:
    """busbw / algbw of a collective over n ranks."""
    if kind == "broadcast":
        return 1.0
    return (2.0 if kind == "all-reduce" else 1.0) * (n - 1) / n


def slowest_rate(hosts: Sequence[str], fabric: Fabric) -> float:
    """bit/s of the slowest access link among the hosts."""
    return min(fabric.access_link(h).rate for h in hosts)


def port_bytes(collective: Collective) -> dict[int, tuple[int, int]]:
    """Rank -> payload bytes that it sends and receives in the collective, by its schedule."""
    found = dict.fromkeys(collective.ranks, (0, 0))
    for move in schedule(collective):
        sent, received = found[move.src]
        found[move.src] = sent + move.size, received
        sent, received = found[move.dst]
        found[move.dst] = sent, received + move.size
    return found


def busiest_port(collective: Collective) -> int:
    """Payload bytes through the busiest port in its busier direction."""
    return max(max(both) for both in port_bytes(collective).values())


def busiest_host(collective: Collective, hosts: Sequence[str]) -> int:
    """Payload bytes through the busiest host's port in its busier direction; hosts: of every rank.

    Ranks of one host share its port, and what they send to each other does not reach it.
    """
    out: dict[str, int] = {}
    into: dict[str, int] = {}
    for move in schedule(collective):
        src, dst = hosts[move.src], hosts[move.dst]
        if src != dst:
            out[src] = out.get(src, 0) + move.size
            into[dst] = into.get(dst, 0) + move.size
    return max((*out.values(), *into.values()), default=0)


def metrics(op: Collective, records: Sequence[CollectiveRecord], workload: Workload, fabric: Fabric) -> list[Metric]:
    """Time, algbw and busbw of one collective from its records of the measured iterations."""
    times = [r.end - r.start for r in records if r.end > r.start]
    if not times:
        return []
    mean = fmean(times)
    size, even = records[0].bytes, op.splits is None
    bus = size * factor(op.kind, len(op.ranks)) if even else busiest_port(op)
    found = [
        (BUSBW if even else BUSBW_V).of(8 * bus / mean, len(times), spread([8 * bus / t for t in times])),
        ALGBW.of(8 * size / mean, len(times), spread([8 * size / t for t in times])),
        TIME.mean(times),
    ]
    crosses = busiest_host(op, workload.hosts) / max(busiest_port(op), 1)
    if even and crosses:    # a port that only receives has another limit: predict.py
        rate = slowest_rate([workload.hosts[r] for r in op.ranks], fabric)
        limit = transport(workload.transport).overhead.ring_limit(rate, fabric.spec.mtu)
        share = 8 * bus * crosses / limit
        found.append(SHARE.of(share / mean, len(times), spread([share / t for t in times])))
    return found
