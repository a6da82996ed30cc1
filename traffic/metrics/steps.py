"""How long a job's iterations took, against what they need at least, and what they waited for.

One iteration of rank r, from step, compute and collective records:

    |<- compute ->|<- waits for the slowest ->|<- exchanges ->| ... |<- waits for the iteration's end ->|
    step start     rank_start[r]       max(rank_start)    rank_end[r]                            step end

Source of all definitions: docs/reference/methods.md: training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from topologies.model.fabric import Fabric
from traffic.metrics.collective import busiest_host, slowest_rate
from traffic.metrics.intervals import Interval, common, length, union
from traffic.metrics.metric import Definition, Metric, spread, variation
from traffic.runtime.records import CollectiveRecord, ComputeRecord, StepRecord, TransferRecord
from traffic.workloads.workload import Collective, Compute, Workload

SOURCE = "docs/reference/methods.md: training"

STEP_TIME = Definition("step_time", "s", "step time", "median over iterations of their wall time", SOURCE)
STEP_CV = Definition("step_cv", "", "variation of the step time",
                     "sample standard deviation / mean of step times", SOURCE)
JCT = Definition("jct", "s", "job completion time",
                 "end of the last iteration - start of the first, without warm-up", SOURCE)
ROOFLINE = Definition("roofline", "s", "roofline of the job",
                      "Iter x (C + sum of 8 S factor / B): C the most compute of a rank, B the access rate of a host, "
                      "which its ranks share, no overlap", SOURCE)
JCT_RATIO = Definition("jct_ratio", "", "job completion time / roofline", "JCT / roofline", SOURCE)
OVERLAP = Definition("overlap", "", "communication hidden behind compute",
                     "1 - sum over ranks of the time in which it communicates and computes nothing / sum over ranks of "
                     "the union of the intervals in which it communicates", SOURCE)
STRAGGLERS = Definition("straggler_share", "", "share of the step that ranks wait for the slowest",
                        "mean over ranks of the union of [rank_start, max(rank_start)] / step time", SOURCE)


def compute_seconds(workload: Workload) -> dict[int, float]:
    """Rank -> planned seconds of compute in one iteration."""
    seconds = dict.fromkeys(range(len(workload.hosts)), 0.0)
    for op in workload.ops:
        if isinstance(op, Compute):
            seconds[op.rank] += op.seconds
    return seconds


def roofline(workload: Workload, fabric: Fabric) -> float:
    """Seconds of one iteration: C + sum of 8 S factor / B, without overlap.

    C is the compute of the rank that has most of it, B the rate of the slowest access link in a
    collective; headers are left out. 8 S factor is the payload of the busiest port: of a rank, or of a
    host whose ranks share one. Where ranks exchange in groups, the sum is that of the host with most:
    groups work at the same time.
    """
    exchange = dict.fromkeys(workload.hosts, 0.0)
    for op in workload.ops:
        if isinstance(op, Collective):
            hosts = {workload.hosts[r] for r in op.ranks}
            seconds = 8 * busiest_host(op, workload.hosts) / slowest_rate(sorted(hosts), fabric)
            for host in hosts:
                exchange[host] += seconds
    return max(compute_seconds(workload).values()) + max(exchange.values())


def metrics(steps: Sequence[StepRecord], computes: Sequence[ComputeRecord], collectives: Sequence[CollectiveRecord],
            workload: Workload, fabric: Fabric, transfers: Sequence[TransferRecord] = ()) -> list[Metric]:
    """Step metrics of one job from the records of its measured iterations; transfers: those of no collective."""
    if not steps:
        return []
    times = [s.end - s.start for s in steps]
    jct = max(s.end for s in steps) - min(s.start for s in steps)
    least = len(steps) * roofline(workload, fabric)
    found = [STEP_TIME.median(times), JCT.of(jct), ROOFLINE.of(least)]
    if least > 0:
        found.append(JCT_RATIO.of(jct / least))
    if (cv := variation(times)) is not None:
        found.append(STEP_CV.of(cv, len(times)))
    if (hidden := overlap(computes, collectives, transfers)) is not None:
        found.append(OVERLAP.of(hidden, len(steps)))
    shares = straggler_shares(steps, collectives)
    return [*found, STRAGGLERS.of(fmean(shares), len(shares), spread(shares))] if shares else found


def overlap(computes: Sequence[ComputeRecord], collectives: Sequence[CollectiveRecord],
            transfers: Sequence[TransferRecord] = ()) -> float | None:
    """1 - exposed / communication, both summed over ranks; None without compute or without communication.

    A rank communicates from when it joins a collective to when it has its inputs, and while a transfer of its
    own is under way; what goes on at once is counted once. Exposed is what of it falls into no compute of the
    rank. Waiting for a straggler is communication; a pipeline's bubble is neither. 0: nothing is hidden; 1: all.
    """
    busy = _by_rank((c.rank, c.start, c.end) for c in computes)
    talks = _by_rank(_talks(collectives, transfers))
    if not busy or not talks:
        return None
    hidden = sum(common(times, busy.get(rank, [])) for rank, times in talks.items())
    return hidden / sum(map(length, talks.values()))


def _talks(collectives: Sequence[CollectiveRecord],
           transfers: Sequence[TransferRecord]) -> Iterator[tuple[int, float, float]]:
    for c in collectives:
        yield from zip(c.ranks, c.rank_start, c.rank_end, strict=True)
    for t in transfers:
        yield t.src_rank, t.start, t.end
        yield t.dst_rank, t.start, t.end


def _by_rank(intervals: Iterable[tuple[int, float, float]]) -> dict[int, list[Interval]]:
    """Rank -> union of its intervals; ranks without any time are left out."""
    found: dict[int, list[Interval]] = {}
    for rank, start, end in intervals:
        found.setdefault(rank, []).append((start, end))
    return {rank: times for rank, several in found.items() if (times := union(several))}


def straggler_shares(steps: Sequence[StepRecord], collectives: Sequence[CollectiveRecord]) -> list[float]:
    """Of each step with collectives: the mean over its ranks of the time spent waiting for the slowest / step time.

    A rank that waits in several collectives at once waits once.
    """
    waits: dict[tuple[str, int], dict[int, list[Interval]]] = {}
    for c in collectives:
        mine = waits.setdefault((c.phase, c.iteration), {})
        slowest = max(c.rank_start)
        for rank, start in zip(c.ranks, c.rank_start, strict=True):
            mine.setdefault(rank, []).append((start, slowest))
    means = {key: fmean(length(union(times)) for times in mine.values()) for key, mine in waits.items()}
    return [means[s.phase, s.iteration] / (s.end - s.start) for s in steps
            if (s.phase, s.iteration) in means and s.end > s.start]
