"""What KV caches cost that travel: by layers beside the prefill, and from stores instead of computing them again."""

from __future__ import annotations

import contextlib
from statistics import fmean, median
from typing import Any

from tests.bench.book import Book
from tests.lab.engine_lab import engine_lab
from tests.lab.serving_lab import serve
from topologies.lab.host_limits import measuring_lock
from topologies.model.scale import Scale
from traffic.inference.kv.shipping import predictions
from traffic.transports.tcp import TCP

SLOW: dict[str, Any] = {"flops": 6e10, "bandwidth": 1e11, "memory": 1e9}      # a GPU that matches 20 Mbit/s
MODEL = {"layers": 8, "hidden": 512, "ffn": 2048, "heads": 8, "kv_heads": 1, "vocab": 1000}     # 2,048 B of KV a token
ONE: dict[str, Any] = {"model": MODEL, "gpu": SLOW, "variation": 0, "output_tokens": 4, "coalesce": 4,
                       "bytes_per_input_token": 1}


def kv_travel(book: Book) -> None:
    """A KV cache by layers is whole after the first token when predicted; a fetch takes the payload rate of the wire;
    `cheaper` is no worse than the better of always and never.
    """
    with contextlib.nullcontext() if book.quick else measuring_lock(wait=True), engine_lab(book.work, 5) as lab:
        layers(book, lab)
        stores(book, lab)


def layers(book: Book, lab: Any) -> None:
    """How long after the first token the cache is whole, alone on a wire of 20 Mbit/s: whole, and by layers."""
    keys = {**ONE, "replicas": ["h3"], "decode": ["h5"], "process": "constant", "rate": 0.7, "input_tokens": 300,
            "requests": 3 if book.quick else 9}
    designs: dict[str, dict[str, Any]] = {
        "whole": {}, "in 4 groups of layers": {"kv_transfer": "layers", "kv_fuse": 2}}
    for name, more in designs.items():
        run = serve(lab, **keys, **more)
        found = [r["kv_end"] - r["made"] for r in run.requests]
        expected = predictions(run.serving, Scale())["kv_wait"].value
        near = abs(median(found) / expected - 1) <= 0.1
        book.median(f"KV cache whole after the first token, {name}", [1e3 * w for w in found], "ms",
                    target=f"{1e3 * expected:.0f} ms predicted, within 10 %", met=near)


def stores(book: Book, lab: Any) -> None:
    """TTFT of sessions that are dealt over two replicas, by whether they fetch what the other one has computed."""
    keys = {**ONE, "replicas": ["h3", "h4"], "routing": "round_robin", "rate": 0.25, "turns": 3, "think": "2s",
            "block": 16, "input_tokens": 150, "gpu_cache": "100MB", "requests": 3 if book.quick else 12}
    means = {}
    for fetch in ("never", "always", "cheaper"):
        run = serve(lab, **keys, store={"hosts": ["h5"], "size": "1GB", "fetch": fetch})
        means[fetch] = fmean(r["first"] - r["scheduled"] for r in run.requests)
        blocks = sum(r["blocks"] for r in run.requests)
        book.figure(f"mean TTFT, fetch: {fetch}", 1e3 * means[fetch], "ms", **{
            f"found_in_{tier}": sum(r[f"hit_{tier}"] for r in run.requests) / blocks for tier in ("gpu", "store")})
        fetches = [m for m in run.of("serving-store") if m["what"] == "fetch" and m["end"] is not None]
        if fetch == "always" and fetches:
            rates = [8 * m["bytes"] / (m["end"] - m["start"]) / TCP.overhead.bulk_limit(20e6) for m in fetches]
            book.median("rate of a fetch / payload rate of the wire", rates, target="at least 0.9",
                        met=median(rates) >= 0.9)
    best = min(means["never"], means["always"])
    book.figure("TTFT of cheaper / the better of always and never", means["cheaper"] / best, target="at most 1.05",
                met=None if book.quick else means["cheaper"] <= 1.05 * best)
