"""ECMP collisions: what do more flows per pair gain, and what does spraying?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from scenarios.run.lab import Lab
from scenarios.run.runner import run_scenario
from scenarios.spec.scenario import Scenario
from tests.bench.book import Book
from tests.bench.labs import lab_alone, of_kind, run_collective, uplink_bytes
from topologies.model.load import load_fabric
from traffic.metrics.fairness import jain
from traffic.transports.tcp.settings import prepare_namespace
from traffic.workloads.specs import CollectiveSpec

# Of spines4: eight hosts, non-blocking. A flow of a sixteenth of the bytes loses its last packets and waits for
# a timer: at these rates the usual 200 ms would be what is measured.
FABRIC = ["hosts_per_leaf=4", "uplink_rate=10.6mbit", "tcp.rto_min=50ms"]
HOSTS = 8
# RoCEv2 costs a processor more for each byte than TCP: at half the rate the machine keeps its idle time.
SLOW = ["host_rate=5mbit", "uplink_rate=5.3mbit"]
FLOWS = (1, 4, 16)
GAIN, SPRAYED = 1.15, 0.95


@dataclass(frozen=True)
class Spread:
    """One run: JFI of the uplinks' bytes (mean of both leaves), busbw in bit/s."""

    jfi: float
    busbw: float


def ecmp(book: Book) -> None:
    """A permutation of 8 hosts across 4 spines, non-blocking, 1, 4 and 16 flows per pair, medians of 10 seeds: JFI
    rises, busbw by at least 15 % from 1 to 16. Sprayed RoCEv2 reaches at least 95 % of pinned.
    """
    seeds = range(1, (2 if book.quick else 10) + 1)
    size = 1_000_000 if book.quick else 4_000_000
    with lab_alone(load_fabric("spines4", FABRIC)) as it:
        for host in it.fabric.hosts:
            prepare_namespace(it.inventory.netns[host.name], it.fabric.spec.tcp, host.name)
        runs = {flows: [permutation(it, book, size, flows, seed) for seed in seeds] for flows in FLOWS}
    for flows, found in runs.items():
        book.median(f"{flows} flows per pair, JFI", [s.jfi for s in found])
        book.median(f"{flows} flows per pair, busbw", [s.busbw for s in found], "bit/s")
    jfi = [median(s.jfi for s in found) for found in runs.values()]
    busbw = [median(s.busbw for s in found) for found in runs.values()]
    book.figure("JFI rises with the flows", " < ".join(f"{x:.3f}" for x in jfi), target="it rises",
                met=all(a < b for a, b in pairwise(jfi)))
    book.figure("busbw, 16 flows / 1 flow", busbw[-1] / busbw[0], target=f"at least {GAIN}",
                met=busbw[-1] >= GAIN * busbw[0])
    pinned, sprayed = (goodputs(book, paths, spray=spray) for paths, spray in (("pinned", False), ("hash", True)))
    book.figure("RoCEv2, sprayed / pinned goodput", sprayed / pinned, target=f"at least {SPRAYED}",
                met=sprayed >= SPRAYED * pinned, sprayed=sprayed, pinned=pinned)


def permutation(it: Lab, book: Book, size: int, flows: int, seed: int) -> Spread:
    """Each host sends `size` bytes to the host across, both ways; the seed picks source ports, hence paths."""
    across = tuple(tuple(size if j == (i + HOSTS // 2) % HOSTS else 0 for j in range(HOSTS)) for i in range(HOSTS))
    spec = CollectiveSpec(kind="collective", op="all-to-all", placement="packed", size=f"{size}B", splits=across,
                          iterations=1, warmup=0, flows_per_pair=flows)
    before = [uplink_bytes(it, leaf) for leaf in ("leaf1", "leaf2")]
    records = run_collective(it, spec, book.work, seed)
    after = [uplink_bytes(it, leaf) for leaf in ("leaf1", "leaf2")]
    (one,) = of_kind(records, "collective")
    moved = [[b[link] - a[link] for link in a] for a, b in zip(before, after, strict=True)]
    return Spread(fmean(evenness(x) for x in moved), 8 * size / (one["end"] - one["start"]))


def evenness(sent: Sequence[int]) -> float:
    """Jain's index of bytes on links that some traffic crossed."""
    found = jain(sent)
    assert found is not None, "no link carried anything"
    return found


def goodputs(book: Book, paths: str, *, spray: bool) -> float:
    """bit/s that RoCEv2 queue pairs deliver together in the same permutation, one way each pair.

    Its messages are of one packet each: an unreliable pair loses a longer one whole when it is overtaken.
    """
    pairs = [[f"h{i + 1}", f"h{(i + HOSTS // 2) % HOSTS + 1}"] for i in range(HOSTS)]
    result = run_scenario(Scenario.model_validate({
        "name": f"bench-ecmp-{paths}", "question": "What does spraying reach of pinned paths?",
        "fabric": load_fabric("spines4", [*FABRIC, *SLOW, f"paths={paths}"]),
        "workloads": {"sends": {"kind": "rocev2", "service": "uc", "message": "1024B", "pairs": pairs,
                                "rate": "4.75mbit", "spray": spray, "size": "500kB" if book.quick else "2.5MB"}}}),
                          book.work)
    book.figure(f"RoCEv2 on {'sprayed' if spray else paths} paths, verdict", result.verdict.level.name,
                reasons=[r.text for r in result.verdict.reasons], run=result.run.id)
    return float(result.metrics["sends.rdma_goodput"].value)
