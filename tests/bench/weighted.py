"""Weighted paths: what does a leaf gain that knows of a slow uplink?

All-to-all of 8 hosts over 4 spines, 1,600 connections across the leaves, one uplink of leaf1 at a quarter of its
rate. So many connections because paths are drawn: of 256 the slow uplink would get ten, give or take three. Queues
hold everything that is under way and no timer of TCP fires, so that time is what the links need for what was placed
on them. In queues of a few packets so many connections would wait for TCP's timers instead: with 512 connections and
queues of 60 kB a step took 1.3 to 2.5 times the ideal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from scenarios.run.runner import Result
from scenarios.spec.scenario import Scenario
from tests.bench.book import Book
from tests.bench.training import note
from tests.recorded import records
from topologies.model.addressing import VXLAN_OVERHEAD
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from traffic.models.fluid import Path, course
from traffic.runtime.records import PathRecord
from traffic.transports.tcp import TCP

HOSTS, FLOWS = 8, 50        # 32 pairs of hosts across the leaves, each with so many connections: 1,600
RATE, SLOW = 5.3e6, 4       # bit/s of an uplink; one of leaf1's four has a fourth of it
IDEAL, WITHIN = 1.15, 0.1
MSS, FRAME = 1448, 1514


def weighted(book: Book) -> None:
    """All-to-all of 8 hosts over 4 spines, 1,600 flows across, one uplink at a quarter: time at most 1.15 of the ideal
    as the median of 10 seeds, and within 10 % of what the observed placement lets expect. Beside it paths by hash.
    """
    size = 2_000_000 if book.quick else 8_000_000
    for paths, seeds in (("weighted", 2 if book.quick else 10), ("hash", 1 if book.quick else 3)):
        times, ratios = [], []
        for seed in range(1, seeds + 1):
            scenario = all_to_all(paths, size, seed)
            seconds, expected = _seconds(note(book, f"{paths}, seed {seed}", scenario), expand(scenario.fabric), size)
            times.append(seconds / ideal(size))
            ratios.append(seconds / expected)
        judged = paths == "weighted"
        book.median(f"{paths}: time / ideal", times, target=f"at most {IDEAL}" if judged else "",
                    met=median(times) <= IDEAL if judged else None)
        book.median(f"{paths}: time / what the busiest link needs for the flows placed on it", ratios,
                    target=f"within {WITHIN:.0%}", met=all(abs(r - 1) <= WITHIN for r in ratios))


def all_to_all(paths: str, size: int, seed: int) -> Scenario:
    """The seed picks source ports, hence paths. size: bytes of each rank."""
    return Scenario.model_validate({
        "name": f"bench-weighted-{paths}", "question": "What does a leaf gain that knows of a slow uplink?",
        "seed": seed, "fabric": load_fabric("spines4", [
            "hosts_per_leaf=4", f"uplink_rate={RATE / 1e6}mbit", "queue=8MB", "tcp.rto_min=10s",
            "tcp.initial_window=2", f"paths={paths}", f"links={{leaf1-spine1: {{rate: {RATE / SLOW / 1e6}mbit}}}}"]),
        "workloads": {"shuffle": {"kind": "collective", "op": "all-to-all", "ranks": HOSTS, "size": f"{size}B",
                                  "flows_per_pair": FLOWS, "iterations": 1, "warmup": 0}}})


def _seconds(result: Result, fabric: Fabric, size: int) -> tuple[float, float]:
    """(time of a step as measured, as the observed placement lets expect)."""
    return (result.metrics["shuffle.step_time"].value,
            busiest(records(result.run.records_path, PathRecord), fabric, size / HOSTS / FLOWS))


def busiest(placed: Iterable[PathRecord], fabric: Fabric, payload: float) -> float:
    """Seconds that the busiest direction needs for what was placed on it, data and ACKs; payload: bytes of a flow.

    Equal flows share it evenly to the end, so max-min fair shares end with it and no sooner.
    """
    load: defaultdict[str, float] = defaultdict(float)
    for record in placed:
        weights = course(Path(record.there, record.back), fabric, TCP.overhead)
        for direction, weight in (*weights.data.items(), *weights.acks.items()):
            load[direction] += payload * 8 * weight / fabric.link(direction).rate
    return max(load.values())


def ideal(size: int) -> float:
    """Seconds if the uplinks of leaf 1 were always full of what is sent across: payload of 16 pairs of hosts, framed,
    tunnelled, and the ACKs of the other way (one for two segments), over 3 1/4 uplinks."""
    payload = (HOSTS // 2) ** 2 * size / HOSTS
    per_segment = FRAME + VXLAN_OVERHEAD + (TCP.overhead.ack_frame + VXLAN_OVERHEAD) / 2
    return payload * 8 * per_segment / MSS / (RATE * (3 + 1 / SLOW))
