"""What sharing the network costs: a job beside others against the same job alone.

    interference factor = contended JCT / isolated JCT        1: the others do not matter

Source: METHODS, training; draft-calabria-bmwg-ai-fabric-training-bench.
"""

from __future__ import annotations

from collections.abc import Mapping

from traffic.metrics.metric import Definition, Metric

INTERFERENCE = Definition("interference", "", "interference factor",
                          "JCT in a phase with other workloads / JCT in a phase of its own", "METHODS: training")


def metrics(jct: Mapping[str, float], alone: Mapping[str, bool]) -> dict[str, Metric]:
    """Phase -> factor, for every phase that the workload shared, if it ran alone in exactly one other.

    jct: phase -> seconds; alone: phase -> whether the workload had the network for itself.
    """
    isolated = [jct[p] for p in jct if alone[p]]
    if len(isolated) != 1 or isolated[0] <= 0:
        return {}
    return {p: INTERFERENCE.of(t / isolated[0]) for p, t in jct.items() if not alone[p]}
