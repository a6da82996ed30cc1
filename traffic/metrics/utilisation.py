"""How much of the time the accelerators computed, and what the rest adds up to.

    utilisation of a rank = its planned compute seconds / wall seconds
    lost GPU-hours        = sum over ranks of (1 - utilisation) x wall hours
      of them by network  = ranks x sum over iterations of (wall - what its computes take over a network without time)

The last is the iteration's own timeline: its computes as long as they really were, slow GPU and jitter included, in the
order that their dependencies ask for, and everything that is sent there at once. The rest of the lost hours is what the
job and its GPUs leave idle themselves: pipeline bubbles, ranks that wait for a slower one.

Source: docs/reference/methods.md: training. With a scaled fabric the hours are those of the real job.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from topologies.model.scale import Scale
from traffic.metrics.metric import Definition, Metric, spread
from traffic.metrics.steps import compute_seconds
from traffic.models.predict import compute_only_seconds
from traffic.runtime.records import ComputeRecord, StepRecord
from traffic.workloads.workload import Workload

UTILISATION = Definition("gpu_utilisation", "", "GPU utilisation",
                         "mean over ranks of planned compute seconds / wall seconds of the iterations",
                         "docs/reference/methods.md: training")
LOST = Definition("lost_gpu_hours", "h", "lost GPU-hours", "(1 - utilisation) x ranks x wall hours, in real time",
                  "docs/reference/methods.md: training")

IDEAL = Definition("ideal_step", "s", "step time over a network that takes no time",
                   "median over iterations of the longest chain of their computes, as long as they were, by their "
                   "dependencies", "docs/reference/methods.md: training")
BY_NETWORK = Definition("network_gpu_hours", "h", "GPU-hours lost to the network",
                        "ranks x sum over iterations of (wall - ideal) hours, in real time; at least 0",
                        "docs/reference/methods.md: training")


def metrics(steps: Sequence[StepRecord], computes: Sequence[ComputeRecord], workload: Workload,
            scale: Scale) -> list[Metric]:
    """Utilisation and lost hours over the measured iterations; nothing for a workload without compute.

    Utilisation is that of the plan: a GPU that is slowed by an event computes longer, and no more.
    """
    per_step = compute_seconds(workload)
    wall = sum(s.end - s.start for s in steps)
    if wall <= 0 or not any(per_step.values()):
        return []
    shares = [seconds * len(steps) / wall for seconds in per_step.values()]
    lost = sum(1 - share for share in shares) * scale.to_real_time(wall) / 3600
    ideals = ideal_seconds(steps, computes, workload)
    waited = max(0.0, scale.to_real_time(wall - sum(ideals))) * len(shares) / 3600
    return [UTILISATION.of(fmean(shares), len(shares), spread(shares)), LOST.of(lost, len(shares)),
            IDEAL.median(ideals), BY_NETWORK.of(waited, len(shares))]


def ideal_seconds(steps: Sequence[StepRecord], computes: Sequence[ComputeRecord], workload: Workload) -> list[float]:
    """Of each step: what it would have taken over a network without time. Computes without a record are as planned."""
    took: dict[int, dict[str, float]] = {}
    for c in computes:
        took.setdefault(c.iteration, {})[c.op] = c.end - c.start
    return [compute_only_seconds(workload, took.get(s.iteration)) for s in steps]
