"""A serving workload's results with the keys of vLLM's `bench serve`, for tools that read those.

Latencies in milliseconds, over all requests that were answered; p99 stands there with any number of samples,
as vLLM writes it, where the metrics of a run tell one from 1,000 only. Source: vLLM, vllm/benchmarks/serve.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from topologies.scale import Scale
from traffic.metrics import inference

Row = Mapping[str, Any]


def bench_serve(requests: Sequence[Row], setup: Row, scale: Scale) -> dict[str, float | int]:
    """The result of one workload in one phase. Times, and rates per time, are real ones: after scale."""
    answered = [r for r in requests if r["status"] == "ok"]
    ended = [r["done"] for r in requests if r["done"] is not None]
    seconds = scale.to_real_time(max(ended) - min(r["scheduled"] for r in requests)) if ended else 0.0
    tokens = {"total_input_tokens": sum(r["input_tokens"] for r in answered),
              "total_output_tokens": sum(r["output_tokens"] for r in answered)}
    found: dict[str, float | int] = {"duration": seconds, "completed": len(answered),
                                     "failed": len(requests) - len(answered), **tokens}
    if seconds > 0:
        good = sum(inference.met(r, setup) for r in requests)
        found |= {"request_throughput": len(answered) / seconds, "request_goodput": good / seconds,
                  "output_throughput": tokens["total_output_tokens"] / seconds,
                  "total_token_throughput": sum(tokens.values()) / seconds}
    values = {
        "ttft": [inference.ttft(r) for r in answered],
        "tpot": [t for r in answered if (t := inference.tpot(r)) is not None],
        "itl": [g for r in answered for g in inference.gaps(r)],
        "e2el": [r["done"] - r["scheduled"] for r in answered]}
    for name, of in values.items():
        found |= _statistics(name, [1e3 * scale.to_real_time(v) for v in of])
    return found


def _statistics(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"mean_{name}_ms": float(np.mean(values)), f"median_{name}_ms": float(np.median(values)),
            f"std_{name}_ms": float(np.std(values)), f"p99_{name}_ms": float(np.percentile(values, 99))}
