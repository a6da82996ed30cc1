"""Weighted paths: what does a leaf gain that knows of a slow uplink?"""

from __future__ import annotations

from statistics import median

from scenarios.runner import Result
from scenarios.scenario import Scenario
from tests.bench.book import Book
from tests.bench.training import against_model, note
from topologies.addressing import VXLAN_OVERHEAD
from topologies.load import load_fabric
from traffic.metrics.collective import ACK_FRAME

HOSTS, FLOWS = 8, 16        # 32 pairs of hosts across the leaves, each with so many connections: 512
RATE, SLOW = 5.3e6, 4       # bit/s of an uplink; one of leaf1's four has a fourth of it
IDEAL, WITHIN = 1.15, 0.1
MSS, FRAME = 1448, 1514


def weighted(book: Book) -> None:
    """All-to-all of 8 hosts over 4 spines, 512 flows across, one uplink at a quarter: time at most 1.15 of the ideal
    as the median of 10 seeds, and within 10 % of what the observed placement lets expect. Beside it paths by hash.
    """
    size = 2_000_000 if book.quick else 8_000_000
    for paths, seeds in (("weighted", 2 if book.quick else 10), ("hash", 1 if book.quick else 3)):
        runs = [run(book, paths, size, seed) for seed in range(1, seeds + 1)]
        times = [r.metrics["shuffle.step_time"]["value"] / ideal(size) for r in runs]
        judged = paths == "weighted"
        book.median(f"{paths}: time / ideal", times, target=f"at most {IDEAL}" if judged else "",
                    met=median(times) <= IDEAL if judged else None)
        ratios = [against_model(r, "shuffle.step_time") for r in runs]
        book.median(f"{paths}: time / fair shares on the observed paths", ratios, target=f"within {WITHIN:.0%}",
                    met=abs(median(ratios) - 1) <= WITHIN)


def run(book: Book, paths: str, size: int, seed: int) -> Result:
    """One all-to-all; the seed picks source ports, hence paths."""
    return note(book, f"{paths}, seed {seed}", Scenario.model_validate({
        "name": f"bench-weighted-{paths}", "question": "What does a leaf gain that knows of a slow uplink?",
        "seed": seed, "fabric": load_fabric("spines4", [
            "hosts_per_leaf=4", f"uplink_rate={RATE / 1e6}mbit", "tcp.rto_min=50ms", f"paths={paths}",
            f"links={{leaf1-spine1: {{rate: {RATE / SLOW / 1e6}mbit}}}}"]),
        "workloads": {"shuffle": {"kind": "collective", "op": "all-to-all", "ranks": HOSTS, "size": f"{size}B",
                                  "flows_per_pair": FLOWS, "iterations": 2, "warmup": 0}}}))


def ideal(size: int) -> float:
    """Seconds if the uplinks of leaf 1 were always full of what is sent across: payload of 16 pairs of hosts, framed,
    tunnelled, and the ACKs of the other way (one for two segments), over 3 1/4 uplinks."""
    payload = (HOSTS // 2) ** 2 * size / HOSTS
    per_segment = FRAME + VXLAN_OVERHEAD + (ACK_FRAME + VXLAN_OVERHEAD) / 2
    return payload * 8 * per_segment / MSS / (RATE * (3 + 1 / SLOW))
