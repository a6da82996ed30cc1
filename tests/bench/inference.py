"""What serving reaches: requests and streamed messages a second, cache arithmetic, and what affinity saves."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.book import Book
from tests.bench.labs import library_run
from tests.lab.engine_lab import engine_lab
from tests.lab.serving_lab import serve
from topologies.lab.host_limits import measuring_lock
from traffic.inference.kv.cache import Hierarchy, Tier, reuse
from traffic.traces.mooncake import read
from traffic.transports.tcp import TCP

TRACES = Path(__file__).parents[3] / "shared/traces"
MOONCAKE = "mooncake_fast25/conversation_t0000-0600s.jsonl"
LOADS = (25, 50, 75, 100)               # requests a second on the default fabric
MESSAGES = (400, 800, 1200)             # streamed messages a second there
ALONE = {"requests": (250, 500), "messages": (2500, 5000)}      # without switches
SMALL: dict[str, Any] = {"input_tokens": 100, "variation": 0, "bytes_per_input_token": 2, "bytes_per_output_token": 16}
SECONDS = 20


def inference(book: Book) -> None:
    """50 requests/s and 800 streamed messages/s VALID on the default fabric, 500 and 5,000 without switches; 28.4 % of
    Mooncake's blocks; Azure's and Mooncake's windows accounted for and VALID; affinity saves the prefill it avoids; KV
    caches at 90 % of the wire's payload rate; 1P7D to 7P1D with a maximum of goodput in between.
    """
    for what, rates, targets in (("requests", LOADS, 50), ("messages", MESSAGES, 800)):
        best = 0
        for rate in rates[:1] if book.quick else rates:
            verdict = fabric_load(book, what, rate)
            best = rate if verdict == "VALID" else best
        book.figure(f"most {what} a second that stayed VALID", best, "1/s", target=f"at least {targets}",
                    met=None if book.quick else best >= targets)
    for what, several in ALONE.items():
        alone(book, what, several[:1] if book.quick else several)
    mooncake_offline(book)
    for name in ("inference-stateless", "inference-azure-replay", "inference-mooncake-replay"):
        accounted(book, name)
    replay_of_originals(book)
    affinity(book)
    kv_transfer(book)
    disaggregated(book)


def load_of(what: str, rate: int, seconds: int) -> dict[str, Any]:
    """Keys of a workload with so many requests of 4 tokens, or messages of 1 token, a second."""
    output = 4 if what == "requests" else 41
    per_second = rate if what == "requests" else rate / output
    return {**SMALL, "output_tokens": output, "rate": per_second, "requests": max(round(per_second * seconds), 1),
            "coalesce": 4 if what == "requests" else 1}


def fabric_load(book: Book, what: str, rate: int) -> str:
    keys = load_of(what, rate, 5 if book.quick else SECONDS)
    result = library_run(book, "inference-stateless", [f"workloads.chat.{k}={v}" for k, v in keys.items()])
    lag = result.metrics["chat.arrival_lag"].value
    book.figure(f"{rate} {what} a second on the border fabric: p99 lag", 1e3 * lag, "ms",
                verdict=result.verdict.level.name, completed=result.metrics["chat.completed"].value)
    return result.verdict.level.name


def alone(book: Book, what: str, rates: Sequence[int]) -> None:
    """Offered so much, how late the process was, on hosts that a Linux bridge connects."""
    target = {"requests": 500, "messages": 5000}[what]
    best = 0
    with contextlib.nullcontext() if book.quick else measuring_lock(wait=True), engine_lab(book.work, 8, "") as lab:
        for rate in rates:
            done = serve(lab, replicas=[f"h{n}" for n in range(3, 9)], **load_of(what, rate, 5 if book.quick else 10))
            (lateness,) = done.of("timer-lateness-run")
            answered = sum(r["status"] == "ok" for r in done.requests)
            keeps_up = lateness["p99"] <= 1e-3 and answered == len(done.requests)
            best = rate if keeps_up else best
            book.figure(f"{rate} {what} a second without switches: p99 timer lateness", 1e3 * lateness["p99"], "ms",
                        answered=answered, asked=len(done.requests))
    book.figure(f"most {what} a second without switches at a p99 timer lateness within 1 ms", best, "1/s",
                target=f"at least {target}", met=None if book.quick else best >= target)


def mooncake_offline(book: Book) -> None:
    """The cache's own arithmetic on the cut."""
    path = TRACES / MOONCAKE
    if path.exists():
        found, total = reuse([r.blocks for r in read(path)], Hierarchy([Tier("gpu", None, 1)]))
        share = round(100 * found / total, 1)
        book.figure("Mooncake blocks seen before, one endless cache", share, "%", target="28.4", met=share == 28.4)


def accounted(book: Book, name: str, options: Sequence[str] = ()) -> None:
    """Every request has an end, and the run is VALID."""
    result = library_run(book, name, options)
    m = {tag: result.metrics[f"chat.{tag}"] for tag in ("completed", "rejected", "timed_out", "failed", "arrival_lag")}
    ended = sum(m[tag].value for tag in ("completed", "rejected", "timed_out", "failed"))
    asked = m["completed"].samples
    book.figure(f"{name} {' '.join(options)}: requests accounted for", ended, target=f"{asked}, VALID",
                met=ended == asked and result.verdict.level.name == "VALID", verdict=result.verdict.level.name,
                lag_ms=1e3 * m["arrival_lag"].value, completed=m["completed"].value,
                ttft_ms=1e3 * result.metrics["chat.ttft"].value)


def replay_of_originals(book: Book) -> None:
    """Azure's code trace with a silence and a burst, and Mooncake's cut at 4 times its pace, thinned to fit."""
    azure, mooncake = TRACES / "azure_llm_2023/code_t0000-0600s.csv", TRACES / MOONCAKE
    share = 0.1 if book.quick else 1.0
    for name, trace, end, more in (
            ("inference-azure-replay", azure, 230, ("speedup=2", "bytes_per_input_token=8")),
            ("inference-mooncake-replay", mooncake, 240, ("speedup=4", "thinning=0.3", "bytes_per_input_token=2"))):
        if trace.exists():
            keys = (f"trace={trace}", f"window=[0s, {end * share:g}s]", *more)
            accounted(book, name, ["validate={}", "phases=[{name: main, run: [chat]}]",
                                   *(f"workloads.chat.{key}" for key in keys)])


PARTS = ("ttft_in", "ttft_queue", "ttft_prefill", "ttft_out")


def affinity(book: Book) -> None:
    """What sessions gain, with the same seed in both phases: hits, TTFT, and the prefill saved against it."""
    rows: list[dict[str, dict[str, float]]] = []
    verdicts: list[str] = []
    for seed in range(1, 2 if book.quick else 8):
        result = library_run(book, "inference-sessions-affinity", [f"seed={seed}"])
        of = {w: {t: result.metrics[f"{w}.{t}"].value for t in ("hit_rate", "tokens_saved", *PARTS)}
              for w in ("affinity", "round-robin")}
        rows.append(of)
        verdicts.append(result.verdict.level.name)
    gains = [sum(r["round-robin"][p] - r["affinity"][p] for p in PARTS) for r in rows]
    saved = [r["round-robin"]["ttft_prefill"] - r["affinity"]["ttft_prefill"] for r in rows]
    ratio = sum(gains) / sum(saved)
    book.median("mean TTFT gained by affinity", [1e3 * g for g in gains], "ms", runs=rows, verdicts=verdicts)
    for name in ("affinity", "round-robin"):
        book.median(f"prompt blocks found, {name}", [100 * r[name]["hit_rate"] for r in rows], "%")
    book.figure("TTFT gained / prefill saved by affinity", ratio, target="0.9 to 1.1", met=0.9 <= ratio <= 1.1)


def kv_transfer(book: Book) -> None:
    """The rate of a KV cache alone on a wire of 20 Mbit/s, against what TCP can carry there."""
    tiny = {"layers": 2, "hidden": 512, "ffn": 2048, "heads": 8, "kv_heads": 1, "vocab": 1000}     # 512 B a token
    with contextlib.nullcontext() if book.quick else measuring_lock(wait=True), engine_lab(book.work, 5) as lab:
        done = serve(lab, model=tiny, replicas=["h3"], decode=["h5"], process="constant", rate=0.8, requests=5,
                     variation=0, input_tokens=1000, output_tokens=12, bytes_per_input_token=1)
    rates = [8 * r["kv_bytes"] / (r["kv_end"] - r["kv_start"]) / TCP.overhead.bulk_limit(20e6) for r in done.requests]
    book.median("KV transfer / payload rate of the wire", rates, target="at least 0.9", met=median(rates) >= 0.9)


def disaggregated(book: Book) -> None:
    """Goodput of every way to divide eight workers."""
    result = library_run(book, "inference-disaggregated")
    goodput = {f"p{n}d{8 - n}": result.metrics[f"p{n}d{8 - n}.request_goodput"].value for n in range(1, 8)}
    best = max(goodput, key=lambda split: goodput[split])
    book.figure("1P7D ... 7P1D: the division with most goodput", best, target="neither end",
                met=best not in ("p1d7", "p7d1"), goodput=goodput, verdict=result.verdict.level.name)
