"""How long the computes of a workload take in one iteration, where they vary: drawn anew for each, from the seed.

    seconds = planned x a log-normal draw with mean 1 and coefficient of variation `jitter`

The engine, the models and whoever else asks get the same draws: they depend on workload, seed, iteration and the order
of the operations alone.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

from traffic.workloads.workload import Compute, Workload


def lengths(workload: Workload, iteration: int) -> dict[str, float]:
    """Compute -> its seconds in an iteration (negative: of the warm-up); nothing where all are as planned."""
    if not workload.jitter:
        return {}
    sigma = math.sqrt(math.log(1 + workload.jitter**2))
    draw = random.Random(f"jitter {workload.seed} {workload.name} {iteration}")      # noqa: S311 - repeatable noise
    return {op.id: op.seconds * draw.lognormvariate(-sigma**2 / 2, sigma) for op in workload.ops
            if isinstance(op, Compute) and op.seconds}


def as_in(workload: Workload, iteration: int) -> Workload:
    """The workload with the computes of one iteration, which vary no more."""
    drawn = lengths(workload, iteration)
    if not drawn:
        return workload
    return replace(workload, jitter=0.0, ops=tuple(
        replace(op, seconds=drawn[op.id]) if op.id in drawn else op for op in workload.ops))     # type: ignore[arg-type]
