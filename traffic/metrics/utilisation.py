"""How much of the time the accelerators computed, and what the rest adds up to.

    utilisation of a rank = its compute seconds / wall seconds
    lost GPU-hours        = sum over ranks of (1 - utilisation) x wall hours
      of them by network  = ranks x (wall - iterations x what an iteration takes over a network that takes no time)

The rest of them are what the job itself leaves idle: pipeline bubbles, ranks that wait for a slower one by plan.

Source: METHODS, training. With a scaled fabric the hours are those of the real job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from topologies.scale import Scale
from traffic.metrics.metric import Definition, Metric, spread
from traffic.metrics.predict import compute_only_seconds
from traffic.metrics.steps import compute_seconds
from traffic.workload import Workload

UTILISATION = Definition("gpu_utilisation", "", "GPU utilisation",
                         "mean over ranks of planned compute seconds / wall seconds of the iterations",
                         "METHODS: training")
LOST = Definition("lost_gpu_hours", "h", "lost GPU-hours", "(1 - utilisation) x ranks x wall hours, in real time",
                  "METHODS: training")

IDEAL = Definition("ideal_step", "s", "step time over a network that takes no time",
                   "longest chain of computes of one iteration by its dependencies", "METHODS: training")
BY_NETWORK = Definition("network_gpu_hours", "h", "GPU-hours lost to the network",
                        "ranks x (wall hours - iterations x ideal step), in real time; at least 0", "METHODS: training")


def metrics(steps: Sequence[Mapping[str, Any]], workload: Workload, scale: Scale) -> list[Metric]:
    """Utilisation and lost hours over the measured iterations; nothing for a workload without compute.

    A rank that is slowed by an event computes longer than planned: that counts as the network's, too.
    """
    per_step = compute_seconds(workload)
    wall = sum(s["end"] - s["start"] for s in steps)
    if wall <= 0 or not any(per_step.values()):
        return []
    shares = [seconds * len(steps) / wall for seconds in per_step.values()]
    lost = sum(1 - share for share in shares) * scale.to_real_time(wall) / 3600
    ideal = compute_only_seconds(workload)
    waited = max(0.0, scale.to_real_time(wall - len(steps) * ideal)) * len(shares) / 3600
    return [UTILISATION.of(fmean(shares), len(shares), spread(shares)), LOST.of(lost, len(shares)),
            IDEAL.of(ideal), BY_NETWORK.of(waited, len(shares))]
