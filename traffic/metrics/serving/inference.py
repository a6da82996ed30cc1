"""How a serving workload did: TTFT and what it was made of, ITL, TPOT, E2EL, goodput, the prefix cache, replicas.

    due ─ network in ─> replica: queue ─> prefill ─> first token ─ network out ─> client ... last token
    |<------------------------- TTFT ------------------------------------------>|
    |<--------------------------------------- E2EL ------------------------------------------------>|

All latencies count from when a request was due. Requests that were not answered have none and count in no
percentile; they count against goodput. ITL is the gap between two messages of an answer, divided by the tokens
of the later one: with one token a message, each token's gap.

Source: docs/reference/methods.md: serving; names follow vLLM's `bench serve` and AIPerf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from topologies.model.scale import MIN_PACKETS
from traffic.inference.records import ReplicaRecord, ServingRecord, ServingSetupRecord
from traffic.metrics.metric import ENOUGH, Definition, Metric, percentile, spread
from traffic.runtime.records import reached
from traffic.transports.tcp import TCP

Stamp = Callable[[ServingRecord], float]        # when an answered request reached a stage, s
SOURCE = "docs/reference/methods.md: serving"
SEGMENT = TCP.overhead.payload()    # bytes, at an MTU of 1500
# packets of a transfer whose rate is reported: a link's idle bucket lets two pass at once (decision 003)
LONG = 100

TTFT = Definition("ttft", "s", "time to first token (median)", "median of first token at the client - due", SOURCE)
E2EL = Definition("e2el", "s", "end-to-end latency (median)", "median of last token at the client - due", SOURCE)
TPOT = Definition("tpot", "s", "time per output token (median)", "median of (E2EL - TTFT) / (output tokens - 1)",
                  SOURCE)
ITL = Definition("itl", "s", "inter-token latency (median)",
                 "median over messages of (gap to the message before) / tokens of the message", SOURCE)
LAG = Definition("arrival_lag", "s", "lag behind the arrivals (p99)", "p99 of sent - due, of fewer than 1,000 the "
                 "largest; not the time that the network takes", SOURCE)
IN = Definition("ttft_in", "s", "TTFT: network in (mean)", "mean of prompt whole at the replica - due: both hops, "
                "rejections and retries", SOURCE)
FETCH = Definition("ttft_fetch", "s", "TTFT: KV fetch (mean)", "mean of last block from the stores there - arrived; "
                   "reported where there are stores", SOURCE)
QUEUE = Definition("ttft_queue", "s", "TTFT: queue (mean)", "mean of admitted to the batch - arrived (with stores: "
                   "fetched)", SOURCE)
PREFILL = Definition("ttft_prefill", "s", "TTFT: prefill (mean)", "mean of first token computed - admitted", SOURCE)
OUT = Definition("ttft_out", "s", "TTFT: first token out (mean)", "mean of first token at the client - made", SOURCE)
EXCHANGE = Definition("ttft_exchange", "s", "TTFT: of prefill, what workers exchange (mean)", "mean of seconds of the "
                      "prefill that the workers of a replica on several hosts exchanged", SOURCE)
NETWORK = Definition("ttft_network_share", "", "share of TTFT that is the network's",
                     "(network in + KV fetch + what workers exchange + first token out) / TTFT, of means; reported "
                     "where the median prompt has 10 packets", SOURCE)
TAIL = Definition("ttft_tail", "s", "TTFT of the slowest tenth (mean)", "mean over the tenth of the answered requests "
                  "with the largest TTFT; reported from 100", SOURCE)
_OF_TAIL = "(mean of {} over the slowest tenth - over all) / (the same of TTFT); can be below zero"
TAIL_IN = Definition("tail_in", "", "tail: network in", _OF_TAIL.format("network in"), SOURCE)
TAIL_FETCH = Definition("tail_fetch", "", "tail: KV fetch", _OF_TAIL.format("KV fetch"), SOURCE)
TAIL_QUEUE = Definition("tail_queue", "", "tail: queue", _OF_TAIL.format("queue"), SOURCE)
TAIL_PREFILL = Definition("tail_prefill", "", "tail: prefill", _OF_TAIL.format("prefill"), SOURCE)
TAIL_OUT = Definition("tail_out", "", "tail: first token out", _OF_TAIL.format("first token out"), SOURCE)
TAILS = {IN.tag: TAIL_IN, FETCH.tag: TAIL_FETCH, QUEUE.tag: TAIL_QUEUE, PREFILL.tag: TAIL_PREFILL, OUT.tag: TAIL_OUT}
THROUGHPUT = Definition("request_throughput", "requests/s", "requests answered per second",
                        "answered / (last end - first due)", SOURCE)
TOKENS = Definition("output_throughput", "tokens/s", "output tokens per second",
                    "output tokens of answered requests / (last end - first due)", SOURCE)
GOODPUT = Definition("request_goodput", "requests/s", "requests that met every SLO, per second",
                     "requests with TTFT and TPOT within their SLO / (last end - first due)", SOURCE)
GOOD_TOKENS = Definition("token_goodput", "tokens/s", "output tokens per second of requests that met every SLO",
                         "output tokens of requests within their SLOs / (last end - first due)", SOURCE)
MISSED = Definition("tokens_missed", "tokens", "output tokens not served within the SLOs",
                    "output tokens that were asked for - output tokens of requests within their SLOs", SOURCE)
TOKENS_MET = Definition("token_slo_attainment", "", "share of output tokens served within every SLO",
                        "output tokens of requests within their SLOs / output tokens that were asked for", SOURCE)
MET = Definition("slo_attainment", "", "share of requests that met every SLO", "requests within the SLOs / requests",
                 SOURCE)
COMPLETED = Definition("completed", "requests", "requests answered in full", "requests with status ok", SOURCE)
REJECTED = Definition("rejected", "requests", "requests rejected", "requests with status rejected", SOURCE)
TIMED_OUT = Definition("timed_out", "requests", "requests timed out", "requests with status timeout", SOURCE)
CANCELLED = Definition("cancelled", "requests", "requests cancelled", "requests with status cancelled, whose answers "
                       "nobody waited for any more", SOURCE)
FAILED = Definition("failed", "requests", "requests failed", "requests with status failed", SOURCE)
OUTCOMES = {"ok": COMPLETED, "rejected": REJECTED, "timeout": TIMED_OUT, "failed": FAILED, "cancelled": CANCELLED}
HITS = Definition("hit_rate", "", "prompt blocks found in the prefix cache",
                  "blocks found / blocks of all prompts that were looked up", SOURCE)
SAVED = Definition("tokens_saved", "tokens", "prompt tokens that were not computed", "tokens of blocks found", SOURCE)
BUSY = Definition("gpu_busy", "", "time that replicas computed (mean)",
                  "mean over replicas of seconds in steps / (last end - first due)", SOURCE)
KV_TIME = Definition("kv_transfer", "s", "KV transfer (median)", "median of KV cache whole at the decoder - begun",
                     SOURCE)
KV_BW = Definition("kv_bandwidth", "bit/s", "KV transfer rate (median)", "median of 8 x KV bytes / KV transfer, of "
                   "caches of 100 packets or more that went whole", SOURCE)
KV_WAIT = Definition("kv_wait", "s", "KV cache whole after the first token (median)", "median of KV cache whole at the "
                     "decoder - first token made, of requests with one attempt", SOURCE)
PREEMPTED = Definition("preemptions", "", "preemptions", "contexts dropped because KV memory was full", SOURCE)


def arrived(r: ServingRecord) -> float:
    return reached(r.arrived)


def fetched(r: ServingRecord) -> float:
    """What it needs is there; without stores when it arrives."""
    return reached(r.arrived) if r.fetched is None else r.fetched


def admitted(r: ServingRecord) -> float:
    return reached(r.admitted)


def made(r: ServingRecord) -> float:
    return reached(r.made)


PARTS: tuple[tuple[Definition, Stamp, Stamp], ...] = (
    (IN, lambda r: r.scheduled, arrived), (FETCH, arrived, fetched), (QUEUE, fetched, admitted),
    (PREFILL, admitted, made), (OUT, made, lambda r: reached(r.first)))


def metrics(requests: Sequence[ServingRecord], replicas: Sequence[ReplicaRecord],
            setups: Sequence[ServingSetupRecord]) -> list[Metric]:
    """Metrics of one workload in one phase, from its serving, serving-replica and serving-setup records."""
    if not requests or not setups:
        return []
    answered = [r for r in requests if r.status == "ok"]
    return [*_latencies(answered), *_lag(requests), *_split(answered), *_tail(answered),
            *_rates(requests, answered, setups[0]),
            *_outcomes(requests), *_cache(requests), *_transfers(requests), *_replicas(requests, replicas)]


def ttft(r: ServingRecord) -> float:
    """Seconds from when an answered request was due to its first token."""
    return reached(r.first) - r.scheduled


def tpot(r: ServingRecord) -> float | None:
    """Seconds for each token after the first; None where there is one only."""
    n = r.output_tokens
    return (reached(r.done) - reached(r.first)) / (n - 1) if n > 1 else None


def gaps(r: ServingRecord) -> Iterator[float]:
    """The gap before each message but the first, for each of its tokens."""
    for (before, _), (t, n) in zip(r.messages, r.messages[1:], strict=False):
        yield (t - before) / n


def met(r: ServingRecord, setup: ServingSetupRecord) -> bool:
    """Whether a request was answered within every SLO."""
    if r.status != "ok" or ttft(r) > setup.slo_ttft:
        return False
    return (tpot(r) or 0.0) <= setup.slo_tpot


def _latencies(answered: Sequence[ServingRecord]) -> Iterator[Metric]:
    values = {
        TTFT: [ttft(r) for r in answered], E2EL: [reached(r.done) - r.scheduled for r in answered],
        TPOT: [t for r in answered if (t := tpot(r)) is not None], ITL: [g for r in answered for g in gaps(r)]}
    for definition, found in values.items():
        if found:
            yield definition.median(found)
            yield from _percentiles(definition, found)


def _percentiles(definition: Definition, values: Sequence[float]) -> Iterator[Metric]:
    for q in (90, 99):
        value = percentile(values, q)
        if value is not None:
            yield replace(definition, tag=f"{definition.tag}_p{q}", title=definition.title.replace("median", f"p{q}"),
                          formula=definition.formula.replace("median", f"p{q}")).of(value, len(values))


def _lag(requests: Sequence[ServingRecord]) -> Iterator[Metric]:
    lags = [r.sent - r.scheduled for r in requests if r.sent is not None]
    if lags:
        value = percentile(lags, 99)
        yield LAG.of(max(lags) if value is None else value, len(lags), spread(lags))


def _split(answered: Sequence[ServingRecord]) -> Iterator[Metric]:
    """The parts of the mean TTFT, which add up to it, and the network's share where prompts are above scale."""
    if not answered:
        return
    means = {}
    for definition, values in parts(answered):
        means[definition.tag] = sum(values) / len(values)
        yield definition.mean(values)
    exchange = [r.prefill_fabric for r in answered]
    if any(exchange):
        yield EXCHANGE.mean(exchange)
    sizes = sorted(r.request_bytes for r in answered)
    if sizes[len(sizes) // 2] >= MIN_PACKETS * SEGMENT:
        network = sum(means.get(d.tag, 0.0) for d in (IN, FETCH, OUT)) + fmean(exchange)
        yield NETWORK.of(network / sum(means.values()), len(answered))


def parts(answered: Sequence[ServingRecord]) -> Iterator[tuple[Definition, list[float]]]:
    """Each part of TTFT with its seconds, request by request; without stores there is no fetch."""
    for definition, start, end in PARTS:
        if definition is not FETCH or any(r.fetched is not None for r in answered):
            yield definition, [end(r) - start(r) for r in answered]


def _tail(answered: Sequence[ServingRecord]) -> Iterator[Metric]:
    """What made the slowest tenth slow: each part's share of what they took longer than the mean."""
    if len(answered) < ENOUGH[90]:
        return
    slowest = sorted(answered, key=ttft)[-(len(answered) // 10):]
    usual = {d.tag: fmean(values) for d, values in parts(answered)}
    more = {d.tag: fmean(values) - usual[d.tag] for d, values in parts(slowest)}
    yield TAIL.mean([ttft(r) for r in slowest])
    if (total := sum(more.values())) > 0:
        yield from (TAILS[tag].of(value / total, len(slowest)) for tag, value in more.items())


def _seconds(requests: Sequence[ServingRecord]) -> float:
    """From the first due time to the last end."""
    return max(reached(r.done) for r in requests) - min(r.scheduled for r in requests)


def _rates(requests: Sequence[ServingRecord], answered: Sequence[ServingRecord],
           setup: ServingSetupRecord) -> Iterator[Metric]:
    within = [r for r in requests if met(r, setup)]
    seconds, good, tokens = _seconds(requests), len(within), sum(r.output_tokens for r in within)
    yield MET.of(good / len(requests), len(requests))
    wanted = sum(r.wanted_tokens for r in requests)
    yield MISSED.of(wanted - tokens, len(requests))
    if wanted:
        yield TOKENS_MET.of(tokens / wanted, len(requests))
    if seconds > 0:
        yield THROUGHPUT.of(len(answered) / seconds, len(answered))
        yield GOODPUT.of(good / seconds, len(requests))
        yield GOOD_TOKENS.of(tokens / seconds, len(requests))
        yield TOKENS.of(sum(r.output_tokens for r in answered) / seconds, len(answered))


def _outcomes(requests: Sequence[ServingRecord]) -> Iterator[Metric]:
    for status, definition in OUTCOMES.items():
        yield definition.of(sum(r.status == status for r in requests), len(requests))


def _cache(requests: Sequence[ServingRecord]) -> Iterator[Metric]:
    looked = [r for r in requests if r.order >= 0]
    blocks = sum(r.blocks for r in looked)
    if blocks:
        yield HITS.of(sum(r.hit_gpu + r.hit_host + r.hit_store for r in looked) / blocks, len(looked))
        yield SAVED.of(sum(r.hit_tokens for r in looked), len(looked))


def _transfers(requests: Sequence[ServingRecord]) -> Iterator[Metric]:
    """KV caches that went from a replica that prefilled to one that decodes."""
    moved = [r for r in requests if r.kv_end is not None]
    if moved:
        yield KV_TIME.median([_moving(r) for r in moved])
    if first := [r for r in moved if r.attempts == 1]:
        yield KV_WAIT.median([reached(r.kv_end) - made(r) for r in first])
    if long := [r for r in moved if r.kv_bytes >= LONG * SEGMENT and r.kv_parts == 1]:
        yield KV_BW.median([8 * r.kv_bytes / _moving(r) for r in long])


def _moving(r: ServingRecord) -> float:
    """Seconds that its KV cache was on its way."""
    return reached(r.kv_end) - reached(r.kv_start)


def _replicas(requests: Sequence[ServingRecord], replicas: Sequence[ReplicaRecord]) -> Iterator[Metric]:
    seconds = _seconds(requests)
    if replicas and seconds > 0:
        yield BUSY.mean([r.busy / seconds for r in replicas])
        yield PREEMPTED.of(sum(r.preemptions for r in replicas), len(replicas))
