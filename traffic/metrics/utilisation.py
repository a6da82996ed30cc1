"""How much of the time the accelerators computed, and what the rest adds up to.

    utilisation of a rank = its compute seconds / wall seconds
    lost GPU-hours        = sum over ranks of (1 - utilisation) x wall hours

Source: METHODS, training. With a scaled fabric the hours are those of the real job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from topologies.scale import Scale
from traffic.metrics.metric import Definition, Metric, spread
from traffic.metrics.steps import compute_seconds
from traffic.workload import Workload

UTILISATION = Definition("gpu_utilisation", "", "GPU utilisation",
                         "mean over ranks of planned compute seconds / wall seconds of the iterations",
                         "METHODS: training")
LOST = Definition("lost_gpu_hours", "h", "lost GPU-hours", "(1 - utilisation) x ranks x wall hours, in real time",
                  "METHODS: training")


def metrics(steps: Sequence[Mapping[str, Any]], workload: Workload, scale: Scale) -> list[Metric]:
    """Utilisation and lost hours over the measured iterations; nothing for a workload without compute."""
    per_step = compute_seconds(workload)
    wall = sum(s["end"] - s["start"] for s in steps)
    if wall <= 0 or not any(per_step.values()):
        return []
    shares = [seconds * len(steps) / wall for seconds in per_step.values()]
    lost = sum(1 - share for share in shares) * scale.to_real_time(wall) / 3600
    return [UTILISATION.of(fmean(shares), len(shares), spread(shares)), LOST.of(lost, len(shares))]
