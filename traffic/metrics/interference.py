"""What sharing the network costs: a job beside others against the same job alone.

    interference factor = contended JCT / isolated JCT        1: the others do not matter

Source: docs/reference/methods.md: training; draft-calabria-bmwg-ai-fabric-training-bench. Requests in an open loop have
no completion time; for them it is the same of the median end-to-end latency, for serving of the median TTFT.
"""

from __future__ import annotations

from collections.abc import Mapping

from traffic.metrics.metric import Definition, Metric

INTERFERENCE = Definition("interference", "", "interference factor",
                          "JCT in a phase with other workloads / JCT in a phase of its own",
                          "docs/reference/methods.md: training")
LATENCY = Definition("e2el_interference", "", "interference factor of the latency",
                     "median end-to-end latency in a phase with other workloads / in a phase of its own",
                     "docs/reference/methods.md: training, applied to latency")
FIRST_TOKEN = Definition("ttft_interference", "", "interference factor of the time to first token",
                         "median TTFT in a phase with other workloads / in a phase of its own",
                         "docs/reference/methods.md: training, applied to TTFT")
OF_TAG = {"jct": INTERFERENCE, "ttft": FIRST_TOKEN, "e2el": LATENCY}  # a workload's is of the first time that it has


def metrics(tag: str, values: Mapping[str, float], alone: Mapping[str, bool]) -> dict[str, Metric]:
    """Phase -> factor, for every phase that the workload shared, if it ran alone in exactly one other.

    tag: jct, ttft or e2el; values: phase -> seconds; alone: phase -> whether it had the network for itself.
    """
    isolated = [values[p] for p in values if alone[p]]
    if len(isolated) != 1 or isolated[0] <= 0:
        return {}
    return {p: OF_TAG[tag].of(t / isolated[0]) for p, t in values.items() if not alone[p]}
