"""A frame alone in the fabric engine: it pays each link's time and delay, and little else."""

from __future__ import annotations

from tests.bench.book import Book
from tests.bench.engine_fabric import EngineFabric, Shape, engine_fabric
from tests.bench.generator import Row, generate
from topologies.lab.host_limits import measuring_lock

RATE = 20_000_000
SIZES = (1514, 98)
EXCESS, ONE_WAY = 200.0, 100.0      # us
DELAYS = (1, 10, 100)               # ms a link
FAST = 1_000_000_000
FLOOR = (100.0, 200.0)              # us, p50 and p99


def engine_lone_frame(book: Book) -> None:
    """Round trips of lone frames within 0.2 ms of theory at 20 Mbit/s; delays of 1, 10 and 100 ms a link within 0.1 ms
    one way; between idle hosts at 1 Gbit/s p50 and p99 of 0.1 and 0.2 ms.
    """
    count = 20 if book.quick else 200
    with measuring_lock(wait=True):
        with engine_fabric(Shape(rate=RATE)) as it:
            for size in SIZES:
                _round_trip(book, it, size, count)
        for delay in DELAYS:
            with engine_fabric(Shape(rate=RATE, fabric_delay=delay * 1_000_000)) as it:
                _one_way(book, it, delay, count)
        for attach in ("calm", "fast"):
            with engine_fabric(Shape(rate=FAST, uplink=FAST, limit=1_000_000, attach=attach)) as it:
                _floor(book, it, attach, 5 * count)


def one_way(shape: Shape, size: int) -> float:
    """us from a host to one of another leaf, by each link's time for the frame and its delay."""
    times = [size * 8e6 / rate for rate in (shape.rate, shape.uplink_rate)]
    return 2 * (sum(times) + (shape.delay + shape.fabric_delay) / 1000)


def _echoes(it: EngineFabric, size: int, count: int, interval: float = 0.02) -> Row:
    seconds = count * interval
    flow = it.flow("echo", "echo", "h1", f"h{it.shape.per_leaf + 1}", size=size, interval=interval, count=count)
    found: Row = generate([flow], seconds + 0.2, realtime=40).flows["echo"]
    return found


def _round_trip(book: Book, it: EngineFabric, size: int, count: int) -> None:
    found = _echoes(it, size, count)
    theory, p50 = 2 * one_way(it.shape, size), found["rtt_us"]["p50"]
    book.figure(f"round trip of {size} bytes at 20 Mbit/s, over theory", round(p50 - theory, 1), "us",
                target=f"from 0 to {EXCESS:g}", met=0 <= p50 - theory <= EXCESS and found["received"] == count,
                theory=theory, **found)


def _one_way(book: Book, it: EngineFabric, delay: int, count: int) -> None:
    flow = it.flow("udp", "stream", "h1", f"h{it.shape.per_leaf + 1}", 6000, size=1514, interval=0.01, count=count)
    found = generate([flow], count * 0.01 + 0.1, drain=1.0, realtime=40).flows["stream"]
    theory, p50 = one_way(it.shape, 1514), found["latency_us"]["p50"]
    book.figure(f"one way with {delay} ms a link, over theory", round(p50 - theory, 1), "us",
                target=f"from 0 to {ONE_WAY:g}", met=0 <= p50 - theory <= ONE_WAY and found["received"] == count,
                theory=theory, **found)


def _floor(book: Book, it: EngineFabric, attach: str, count: int) -> None:
    found = _echoes(it, 98, count, 0.005)
    times = found["rtt_us"]
    for name, limit in zip(("p50", "p99"), FLOOR, strict=True):
        book.figure(f"round trip between idle hosts at 1 Gbit/s, {attach}, {name}", times[name], "us",
                    target=f"at most {limit:g}", met=times[name] <= limit, **found)
