"""Which rank the others waited for.

    lateness of rank r = time from the median rank's joining of a collective to its own, union over collectives
    straggler_lateness = the largest lateness of a rank / time in steps

Source: docs/reference/methods.md: training (straggler share), reported for one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from traffic.metrics.intervals import Interval, length, union
from traffic.metrics.metric import Definition, Metric
from traffic.runtime.records import CollectiveRecord, StepRecord
from traffic.workloads.workload import Workload

STRAGGLER = Definition("straggler_lateness", "", "share of the steps for which the median rank waited for the latest "
                                                 "one",
                       "max over ranks of the union of [median rank_start, rank_start] / time in steps",
                       "docs/reference/methods.md: training")


def metrics(steps: Sequence[StepRecord], collectives: Sequence[CollectiveRecord], workload: Workload) -> list[Metric]:
    """The rank that came latest, all in all, named by its host; nothing without collectives."""
    wall = sum(s.end - s.start for s in steps)
    waited: dict[int, list[Interval]] = {}
    for c in collectives:
        middle = median(c.rank_start)
        for rank, start in zip(c.ranks, c.rank_start, strict=True):
            waited.setdefault(rank, []).append((middle, start))
    if not waited or wall <= 0:
        return []
    late = {rank: length(union(times)) for rank, times in waited.items()}
    latest = max(late, key=lambda rank: late[rank])
    found = STRAGGLER.of(late[latest] / wall, len(collectives))
    return [replace(found, where=f"rank {latest} on {workload.hosts[latest]}")]
