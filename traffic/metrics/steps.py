"""How long a job's iterations took, against what they need at least, and what they waited for.

One iteration of rank r, from step, compute and collective records:

    |<- compute ->|<- waits for the slowest ->|<- exchanges ->| ... |<- waits for the iteration's end ->|
    step start     rank_start[r]       max(rank_start)    rank_end[r]                            step end

Source of all definitions: METHODS, training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from topologies.fabric import Fabric
from traffic.metrics.collective import busiest_port, slowest_rate
from traffic.metrics.metric import Definition, Metric, spread, variation
from traffic.workload import Collective, Compute, Workload

Row = Mapping[str, Any]
SOURCE = "METHODS: training"

STEP_TIME = Definition("step_time", "s", "step time", "median over iterations of their wall time", SOURCE)
STEP_CV = Definition("step_cv", "", "variation of the step time",
                     "sample standard deviation / mean of step times", SOURCE)
JCT = Definition("jct", "s", "job completion time",
                 "end of the last iteration - start of the first, without warm-up", SOURCE)
ROOFLINE = Definition("roofline", "s", "roofline of the job",
                      "Iter x (C + sum of 8 S factor / B): C the most compute of a rank, B its access rate, no overlap",
                      SOURCE)
JCT_RATIO = Definition("jct_ratio", "", "job completion time / roofline", "JCT / roofline", SOURCE)
OVERLAP = Definition("overlap", "", "communication hidden behind compute",
                     "1 - sum over ranks of (time in steps - compute) / sum over ranks of time in collectives", SOURCE)
STRAGGLERS = Definition("straggler_share", "", "share of the step that ranks wait for the slowest",
                        "mean over ranks of sum of (max(rank_start) - rank_start) / step time", SOURCE)


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
    collective; headers are left out. Of an all-to-all-v it is the payload of the busiest port / B. Where
    ranks exchange in groups, the sum is that of the rank with most: groups work at the same time.
    """
    exchange = dict.fromkeys(range(len(workload.hosts)), 0.0)
    for op in workload.ops:
        if isinstance(op, Collective):
            seconds = 8 * busiest_port(op) / slowest_rate([workload.hosts[r] for r in op.ranks], fabric)
            for rank in op.ranks:
                exchange[rank] += seconds
    return max(compute_seconds(workload).values()) + max(exchange.values())


def metrics(steps: Sequence[Row], computes: Sequence[Row], collectives: Sequence[Row],
            workload: Workload, fabric: Fabric) -> list[Metric]:
    """Step metrics of one job from the records of its measured iterations."""
    if not steps:
        return []
    times = [s["end"] - s["start"] for s in steps]
    jct = max(s["end"] for s in steps) - min(s["start"] for s in steps)
    least = len(steps) * roofline(workload, fabric)
    found = [STEP_TIME.median(times), JCT.of(jct), ROOFLINE.of(least)]
    if least > 0:
        found.append(JCT_RATIO.of(jct / least))
    if (cv := variation(times)) is not None:
        found.append(STEP_CV.of(cv, len(times)))
    if (hidden := overlap(steps, computes, collectives)) is not None:
        found.append(OVERLAP.of(hidden, len(steps)))
    shares = straggler_shares(steps, collectives)
    return [*found, STRAGGLERS.of(fmean(shares), len(shares), spread(shares))] if shares else found


def overlap(steps: Sequence[Row], computes: Sequence[Row], collectives: Sequence[Row]) -> float | None:
    """1 - (time in steps - compute) / communication time, summed over ranks; None without one of them.

    A rank's time in a step ends with its own last operation and its time in a collective runs from
    when it joined, so waiting for a straggler is communication and never a negative overlap. 0: nothing
    is hidden; 1: all of it. Timers make it differ from 0 by little.
    """
    inside = sum(span[1] - span[0] for s in steps for span in s["ranks"] if span)
    compute = sum(c["end"] - c["start"] for c in computes)
    communication = sum(end - start for c in collectives
                        for start, end in zip(c["rank_start"], c["rank_end"], strict=True))
    return 1 - (inside - compute) / communication if compute > 0 and communication > 0 else None


def straggler_shares(steps: Sequence[Row], collectives: Sequence[Row]) -> list[float]:
    """Of each step with collectives: the mean over its ranks of the time spent waiting for the slowest / step time."""
    waits: dict[tuple[str, int], dict[int, float]] = {}
    for c in collectives:
        mine = waits.setdefault((c["phase"], c["iteration"]), {})
        slowest = max(c["rank_start"])
        for rank, start in zip(c["ranks"], c["rank_start"], strict=True):
            mine[rank] = mine.get(rank, 0.0) + slowest - start
    means = {key: fmean(mine.values()) for key, mine in waits.items()}
    return [means[s["phase"], s["iteration"]] / (s["end"] - s["start"]) for s in steps
            if (s["phase"], s["iteration"]) in means and s["end"] > s["start"]]
