"""What the traffic engine costs."""

from __future__ import annotations

from tests.bench.book import Book
from tests.bench.ring import engine_share, run_ring
from tests.lab.engine_lab import engine_lab
from tests.workloads import workload_of
from topologies.lab.host_limits import measuring_lock
from traffic.runtime.reading import lines
from traffic.workloads.specs import CollectiveSpec

LIMIT = 0.08        # of a core per 100 Mbit/s moved


def engine(book: Book) -> None:
    """The engine costs at most 8 % of a core per 100 Mbit/s moved: in the ring at 10 Mbit/s, and alone on a
    Linux bridge at more.
    """
    one = run_ring(book, "small", "10mbit", "1MB" if book.quick else "8MB", 2)
    _note(book, "in the ring of 8 hosts at 10 Mbit/s", one.engine, one.verdict)
    for hosts, rate in ((2, "100mbit"), (8, "20mbit"), (8, "50mbit")):
        _note(book, f"alone, a ring of {hosts} hosts at {rate}", alone(book, hosts, rate), "")


def _note(book: Book, what: str, share: float, verdict: str) -> None:
    book.figure(f"{what}: share of a core per 100 Mbit/s", round(share, 4), target=f"at most {LIMIT}",
                met=share <= LIMIT, verdict=verdict)


def alone(book: Book, hosts: int, rate: str) -> float:
    """The share on hosts that a Linux bridge connects: no emulated switch wakes the engine in small pieces."""
    spec = CollectiveSpec(kind="collective", size="2MB" if book.quick else "20MB", placement="packed", iterations=2,
                          warmup=0)
    directory = book.work / f"alone-{hosts}-{rate}"
    directory.mkdir()
    with measuring_lock(wait=True), engine_lab(directory, hosts, rate) as lab:
        done = lab.run(workload_of(spec, lab.fabric, "bench", 1))
        return engine_share(list(lines(done.records)))
