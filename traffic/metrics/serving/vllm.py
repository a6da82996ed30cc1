"""A serving workload's results with the keys of vLLM's `bench serve`, and with their meaning there.

    TTFT   first message at the client - sent           E2EL  last message at the client - sent
    ITL    gap between two messages, however many tokens the later one has
    TPOT   (E2EL - TTFT) / (output tokens - 1), of answers with more than one token

So they differ from the metrics of a run (inference.py), whose latencies count from when a request was due and whose ITL
is that of each token. A request that was rejected and asked again counts from its first sending; vLLM asks once.
`request_goodput` holds these TTFT and TPOT against the SLOs. All over requests that were answered, in milliseconds; p99
stands there with any number of samples, as vLLM writes it, where the metrics of a run tell one from 1,000 only. What no
request has is left out, where vLLM writes 0. Source: vLLM, vllm/benchmarks/serve.py (calculate_metrics) and
vllm/benchmarks/lib/endpoint_request_func.py (ttft, itl, latency).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from topologies.model.scale import Scale
from traffic.inference.records import ServingRecord, ServingSetupRecord
from traffic.metrics.serving import inference
from traffic.runtime.records import reached


def bench_serve(requests: Sequence[ServingRecord], setup: ServingSetupRecord,
                scale: Scale) -> dict[str, float | int]:
    """The result of one workload in one phase. Times, and rates per time, are real ones: after scale."""
    answered = [r for r in requests if r.status == "ok"]
    ended = [r.done for r in requests if r.done is not None]
    seconds = scale.to_real_time(max(ended) - min(r.scheduled for r in requests)) if ended else 0.0
    tokens = {"total_input_tokens": sum(r.input_tokens for r in answered),
              "total_output_tokens": sum(r.output_tokens for r in answered)}
    found: dict[str, float | int] = {"duration": seconds, "completed": len(answered),
                                     "failed": len(requests) - len(answered), **tokens}
    if seconds > 0:
        good = sum(_met(r, setup) for r in answered)
        found |= {"request_throughput": len(answered) / seconds, "request_goodput": good / seconds,
                  "output_throughput": tokens["total_output_tokens"] / seconds,
                  "total_token_throughput": sum(tokens.values()) / seconds}
    values = {
        "ttft": [_ttft(r) for r in answered],
        "tpot": [t for r in answered if (t := inference.tpot(r)) is not None],
        "itl": [after - before for r in answered for (before, _), (after, _) in pairwise(r.messages)],
        "e2el": [reached(r.done) - reached(r.sent) for r in answered]}
    for name, of in values.items():
        found |= _statistics(name, [1e3 * scale.to_real_time(v) for v in of])
    return found


def _ttft(r: ServingRecord) -> float:
    """Seconds from when it was sent to the first token."""
    return reached(r.first) - reached(r.sent)


def _met(r: ServingRecord, setup: ServingSetupRecord) -> bool:
    """Whether an answered request kept its SLOs; one token has a TPOT of 0 here, as in vLLM."""
    return _ttft(r) <= setup.slo_ttft and (inference.tpot(r) or 0.0) <= setup.slo_tpot


def _statistics(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"mean_{name}_ms": float(np.mean(values)), f"median_{name}_ms": float(np.median(values)),
            f"std_{name}_ms": float(np.std(values)), f"p99_{name}_ms": float(np.percentile(values, 99))}
