"""ECMP: how evenly do many flows of one host pair spread over the spines?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from scenarios.run.lab import Lab
from tests.bench.book import Book
from tests.bench.labs import lab_alone, run_collective, run_streams, uplink_bytes
from topologies.model.load import load_fabric
from traffic.metrics.fairness import max_to_mean
from traffic.workloads.specs import CollectiveSpec, StreamSpec

FLOWS = 64
SOURCE, DESTINATION = "h1", "h3"        # on leaf1 and leaf2
LIMIT = 1.6


def spread(book: Book) -> None:
    """64 UDP and 64 TCP flows of one host pair over 4 spines: every spine used, MMR under 1.6 (median of 10
    seeds).
    """
    udp = StreamSpec(kind="udp", pairs=((SOURCE, DESTINATION),), pps=20 * FLOWS, frame=512, count=20 * FLOWS,
                     flows=FLOWS)
    tcp = CollectiveSpec(kind="collective", op="all-to-all", ranks=2, placement=(SOURCE, DESTINATION), size="4MB",
                         iterations=1, warmup=0, flows_per_pair=FLOWS)
    seeds = range(1, (3 if book.quick else 10) + 1)
    with lab_alone(load_fabric("spines4")) as it:
        _judge(book, "UDP", [_bytes(it, partial(run_streams, it, {"udp": udp}, book.work, s)) for s in seeds])
        _judge(book, "TCP", [_bytes(it, partial(run_collective, it, tcp, book.work, s)) for s in seeds])


def _bytes(it: Lab, send: Callable[[], object]) -> list[int]:
    """Bytes that each uplink of the source's leaf carries while `send` sends."""
    before = uplink_bytes(it, "leaf1")
    send()
    return [now - before[link] for link, now in uplink_bytes(it, "leaf1").items()]


def _judge(book: Book, what: str, runs: list[list[int]]) -> None:
    """runs: bytes on each uplink of the source's leaf, one list a seed. An uplink is used that carried a flow."""
    used = sum(all(x > sum(run) / FLOWS / 2 for x in run) for run in runs)
    ratios = [max_to_mean(run) or float(len(run)) for run in runs]
    book.median(f"{what}, {FLOWS} flows over 4 spines, MMR", ratios, target=f"median under {LIMIT}",
                met=median(ratios) < LIMIT, uplink_bytes=runs)
    book.figure(f"{what}, seeds with every spine used", f"{used}/{len(runs)}", target="all", met=used == len(runs))
