"""What the fabric engine carries: rings of TCP flows across leaves, by a generator that costs little."""

from __future__ import annotations

import time
from statistics import mean

from tests.bench.book import Book
from tests.bench.engine_fabric import EngineFabric, Shape, engine_fabric
from tests.bench.generator import Running, generating
from topologies.lab.host_limits import measuring_lock

POINTS = (("8 hosts", 2, 2, 4, 800), ("8 hosts", 2, 2, 4, 1600),       # leaves, spines, hosts a leaf, Mbit/s in all
          ("64 hosts", 4, 4, 16, 320), ("64 hosts", 4, 4, 16, 640))
SECONDS, WARMUP = 8.0, 2.0
WANTED, APART = 0.97, 0.01
SEND_BUFFER = 400_000       # bytes: no flow waits for its sender, none fills its host's device for long
Span = tuple[int, int]


def engine_capacity(book: Book) -> None:
    """TCP in a ring across leaves: 8 hosts at 800 Mbit/s in all (aim 1,600) and 64 at 320 (aim 640), at least 0.97 of
    the bulk limit, every flow within 1 % of the mean.
    """
    with measuring_lock(wait=True):
        for name, leaves, spines, per_leaf, total in POINTS:
            for attach in ("fast", "calm") if total <= 400 else ("fast",):
                rate = round(total * 1e6 / (leaves * per_leaf))
                shape = Shape(leaves=leaves, spines=spines, per_leaf=per_leaf, rate=rate, attach=attach)
                _point(book, f"{name} at {total} Mbit/s in all, {attach}", shape, 2.0 if book.quick else SECONDS)


def bulk_limit(shape: Shape) -> float:
    """Bit/s of payload of one flow that has its link alone: 52 bytes of TCP and IP headers in each full frame."""
    return shape.rate * (shape.mtu - 52) / shape.frame


def ring(it: EngineFabric) -> list[str]:
    """Each host sends to the next one, which is on another leaf."""
    shape = it.shape
    order = [f"h{leaf * shape.per_leaf + place + 1}" for place in range(shape.per_leaf) for leaf in range(shape.leaves)]
    pairs = zip(order, order[1:] + order[:1], strict=True)
    return [it.flow("tcp", f"{a}-{b}", a, b, 5001, send_buffer=SEND_BUFFER) for a, b in pairs]


def _point(book: Book, name: str, shape: Shape, seconds: float) -> None:
    with engine_fabric(shape) as it:
        with generating(ring(it), WARMUP + seconds, WARMUP, drain=0.2, processor=0) as running:
            time.sleep(WARMUP)
            it.client.ask("fresh")
            before = _span(it)
            time.sleep(seconds - 0.5)
            used = _used(before, _span(it))
            late = it.counters.late_write()
        _note(book, name, it, running, used)
        book.figure(f"{name}: lateness p50, p99, max", " / ".join(
            f"{x / 1000:.0f}" for x in (late.quantile(0.5), late.quantile(0.99), late.max)), "us", frames=late.count)


def _span(it: EngineFabric) -> Span:
    counts = it.counters.engine()
    return counts.now, counts.processor


def _used(before: Span, after: Span) -> float:
    """Share of a processor between two looks."""
    return (after[1] - before[1]) / (after[0] - before[0])


def _note(book: Book, name: str, it: EngineFabric, running: Running, used: float) -> None:
    goodputs = running.goodputs()
    ratio = mean(goodputs.values()) / bulk_limit(it.shape)
    apart = max(abs(g / mean(goodputs.values()) - 1) for g in goodputs.values())
    book.figure(f"{name}: share of the bulk limit", round(ratio, 4), target=f"at least {WANTED}", met=ratio >= WANTED,
                goodputs=goodputs, retransmitted=running.total("retransmitted"), drops=it.named_drops(),
                device_drops=sum(it.device_drops().values()), generator=running.processor / running.seconds)
    book.figure(f"{name}: farthest flow from the mean", round(apart, 4), target=f"at most {APART}", met=apart <= APART)
    book.figure(f"{name}: engine's share of a core", round(used, 3), busiest=it.counters.engine().busiest / 1e6)
