"""How requests fared: latency as their senders felt it, throughput, failures, and the generator's own lag.

    scheduled ──lag──> sent ─────────────> first_byte ─────> done
    |<------------- time to first byte ------->|
    |<------------------------ end-to-end latency ---------->|

All latencies count from when a request was due in the open loop, so a generator or a network that
falls behind cannot hide it. Percentiles are reported only where the samples carry them (p99 from 1,000,
p90 from 100); the median always comes with its range. Latencies are of requests that were answered.

Source: docs/reference/methods.md: requests; names follow vLLM's `bench serve` and AIPerf.
"""

from __future__ import annotations

from collections.abc import Sequence

from traffic.metrics.metric import Definition, Metric, percentile
from traffic.runtime.records import RequestRecord, reached

SOURCE = "docs/reference/methods.md: requests"

THROUGHPUT = Definition("throughput", "requests/s", "requests answered per second",
                        "answered / (last done - first scheduled)", SOURCE)
PAYLOAD = Definition("payload_rate", "bit/s", "payload of answered requests",
                     "8 x (request + response bytes) / (last done - first scheduled)", SOURCE)
E2EL = Definition("e2el", "s", "end-to-end latency (median)", "median of done - scheduled", SOURCE)
TTFB = Definition("ttfb", "s", "time to first byte (median)", "median of first_byte - scheduled", SOURCE)
LAG = Definition("replay_lag", "s", "replay lag (median)",
                 "median of sent - scheduled; connection set-up included", SOURCE)
COMPLETED = Definition("completed", "requests", "requests answered", "requests with status ok", SOURCE)
TIMED_OUT = Definition("timed_out", "requests", "requests that timed out", "requests with status timeout", SOURCE)
FAILED = Definition("failed", "requests", "requests that failed", "requests with status failed", SOURCE)
ERRORS = Definition("error_rate", "", "share of requests without an answer", "(timed out + failed) / requests", SOURCE)


def metrics(requests: Sequence[RequestRecord]) -> list[Metric]:
    """Metrics of one workload's request records of the measured iterations."""
    if not requests:
        return []
    answered = [r for r in requests if r.status == "ok"]
    return [
        *_rates(requests, answered),
        *_latencies(E2EL, [reached(r.done) - r.scheduled for r in answered]),
        *_latencies(TTFB, [reached(r.first_byte) - r.scheduled for r in answered]),
        *_latencies(LAG, [r.sent - r.scheduled for r in requests if r.sent is not None]),
        *_outcomes(requests, len(answered))]


def _rates(requests: Sequence[RequestRecord], answered: Sequence[RequestRecord]) -> list[Metric]:
    if not answered:
        return [THROUGHPUT.of(0.0, 0)]
    seconds = max(reached(r.done) for r in answered) - min(r.scheduled for r in requests)
    if seconds <= 0:
        return []
    payload = sum(r.request_bytes + r.response_bytes for r in answered)
    return [THROUGHPUT.of(len(answered) / seconds, len(answered)), PAYLOAD.of(8 * payload / seconds, len(answered))]


def _latencies(definition: Definition, values: Sequence[float]) -> list[Metric]:
    """The median with its range, then the percentiles that the number of samples allows."""
    if not values:
        return []
    found = [definition.median(values)]
    for q in (90, 99):
        value = percentile(values, q)
        if value is not None:
            found.append(_at(definition, q).of(value, len(values)))
    return found


def _at(definition: Definition, q: int) -> Definition:
    return Definition(f"{definition.tag}_p{q}", definition.unit, definition.title.replace("median", f"p{q}"),
                      definition.formula.replace("median", f"p{q}"), definition.source)


def _outcomes(requests: Sequence[RequestRecord], answered: int) -> list[Metric]:
    n = len(requests)
    timeouts = sum(r.status == "timeout" for r in requests)
    failed = n - answered - timeouts
    return [COMPLETED.of(answered, n), TIMED_OUT.of(timeouts, n), FAILED.of(failed, n),
            ERRORS.of((timeouts + failed) / n, n)]
