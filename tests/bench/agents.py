"""What an agent's task is made of, and what it costs that its context does not stay with one replica."""

from __future__ import annotations

from typing import Any

from scenarios.evidence.results import RunDirectory
from tests.bench.book import Book
from tests.bench.labs import library_run

CLOSE = 5e-3        # s that a task's parts may miss of its time: timers that ran late between calls


def agents(book: Book) -> None:
    """Parts of every task within 5 ms of its time, VALID; the same tasks with round robin take longer."""
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for seed in range(1, 2 if book.quick else 4):
        result = library_run(book, "inference-agentic", [f"seed={seed}"])
        near, far = (by_task(result.run, key) for key in ("affinity.together", "round-robin.spread"))
        pairs += [(near[task], far[task]) for task in near.keys() & far.keys()]
        m = {key: metric.value for key, metric in result.metrics.items()}
        level = result.verdict.level.name
        book.figure(f"seed {seed}: median time of a task with affinity", m["affinity.task_time"], "s", verdict=level,
                    target="VALID", met=None if book.quick else level == "VALID",
                    largest=result.metrics["affinity.task_dominant"].where,
                    network=m["affinity.task_network"], hits=m["affinity.hit_rate"],
                    hits_spread=m["round-robin.hit_rate"])
    missed = max(abs(sum(t["parts"].values()) - t["seconds"]) for pair in pairs for t in pair)
    book.figure("most that the parts of a task miss of its time", 1e3 * missed, "ms", target="at most 5",
                met=missed <= CLOSE, tasks=2 * len(pairs))
    book.median("how much longer the same task takes with round robin", [f["seconds"] - n["seconds"] for n, f in pairs],
                "s")
    more = [f["parts"]["prefill"] - n["parts"]["prefill"] for n, f in pairs]
    book.median("how much more prefill there is in it", more, "s")


def by_task(run: RunDirectory, key: str) -> dict[int, dict[str, Any]]:
    """Task -> its critical path and parts, of one workload and phase."""
    return {t["task"]: t for t in (run.read("tasks") or {})[key]}
