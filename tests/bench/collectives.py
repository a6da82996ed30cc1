"""Collectives without congestion: how near to their limit, and how much the same from one iteration to the next?"""

from __future__ import annotations

from functools import partial
from typing import Any

from scenarios.run.runner import Result, run_scenario
from scenarios.spec.scenario import Scenario
from tests.bench.book import Book
from tests.bench.labs import undisturbed
from traffic.metrics.collective import factor
from traffic.workloads.workload import CollectiveName

OPS: tuple[CollectiveName, ...] = ("all-reduce", "all-gather", "all-to-all")
SHAPES = ((4, 2, 10), (8, 4, 10), (16, 8, 5))       # ranks, hosts a leaf, Mbit/s: what two cores carry
WITHIN, EVEN = 0.93, 0.03
SECONDS = 2.0           # of each iteration, about


def collectives(book: Book) -> None:
    """All-reduce, all-gather and all-to-all of 4, 8 and 16 ranks on pinned paths: busbw at least 0.93 of its limit,
    a coefficient of variation of at most 3 % over 10 iterations, VALID.
    """
    for ranks, hosts, mbit in SHAPES:
        result, made = undisturbed(partial(uncongested, book, ranks, hosts, mbit))
        for op in OPS:
            judge(book, f"{op}, {ranks} ranks at {mbit} Mbit/s", result, op)
        book.figure(f"{ranks} ranks at {mbit} Mbit/s, verdict", result.verdict.level.name, target="VALID",
                    met=result.verdict.level.name == "VALID", run=result.run.id, runs_made=made,
                    reasons=[r.text for r in result.verdict.reasons])


def uncongested(book: Book, ranks: int, hosts: int, mbit: int) -> Result:
    """One run with a phase for each collective; sizes are such that each iteration takes about as long."""
    port = SECONDS * mbit * 1e6 / 8 / (2 if book.quick else 1)      # bytes through each host's port
    workloads: dict[str, Any] = {
        op: {"kind": "collective", "op": op, "size": f"{int(port / factor(op, ranks))}B", "placement": "strided",
             "iterations": 3 if book.quick else 10, "warmup": 1} for op in OPS}
    return run_scenario(Scenario.model_validate({
        "name": f"bench-collectives-{ranks}", "question": "How near do collectives come to what their links carry?",
        "fabric": {"name": "pinned", "leaves": 2, "spines": 2, "hosts_per_leaf": hosts, "host_rate": f"{mbit}mbit",
                   "paths": "pinned"},
        "workloads": workloads, "phases": [{"name": op, "run": [op]} for op in OPS]}), book.work)


def judge(book: Book, what: str, result: Result, op: CollectiveName) -> None:
    """Share of the limit and variation of one collective."""
    share, cv = result.metrics[f"{op}.busbw_of_limit"], result.metrics[f"{op}.step_cv"]
    book.figure(f"{what}: busbw / limit", share.value, target=f"at least {WITHIN}", met=share.value >= WITHIN,
                metric=share.as_json())
    book.figure(f"{what}: variation of step times", cv.value, target=f"at most {EVEN}", met=cv.value <= EVEN,
                metric=cv.as_json())
