"""Which figures a run has: those that it has data for, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scenarios.report.answer import of_group
from scenarios.report.bars import loss_figure, step_figure
from scenarios.report.canvas import Figure
from scenarios.report.curves import latency_figure, load_figure, request_figure, streams_of
from scenarios.report.data import SENTINEL, RunData
from scenarios.report.topology import fabric_figure


def figures(data: RunData) -> list[Figure]:
    """Step times, loads, losses, the fabric, latencies."""
    found = [*_steps(data)]
    if data.wires is not None and data.loads:
        found.append(load_figure(data.wires, data.loads))
    loss = loss_figure(data.ledger) if data.ledger else None
    if loss is not None:
        found.append(loss)
    found.append(fabric_figure(data.fabric, data.loads, queue_drops(data)))
    return [*found, *_latencies(data)]


def queue_drops(data: RunData) -> dict[str, int] | None:
    """Packets that each queue dropped: as the ledger counted, else as the sampler saw, None if neither did."""
    if data.ledger is not None:
        return {place: int(n) for place, n in data.ledger.get("queue_drops", {}).items()}
    return {load.direction: load.drops for load in data.loads} if data.wires is not None else None


def _steps(data: RunData) -> Iterator[Figure]:
    by_workload: dict[str, list[dict[str, Any]]] = {}
    for step in data.records.get("step", ()):
        by_workload.setdefault(step["workload"], []).append(step)
    for workload, steps in by_workload.items():
        predicted = of_group(data.predictions, workload).get("step_time", {}).get("value")
        yield step_figure(workload, steps, predicted if isinstance(predicted, (int, float)) else None)


def _latencies(data: RunData) -> Iterator[Figure]:
    requests = request_figure(data.records.get("request", ()))
    if requests is not None:
        yield requests
    batches = data.records.get("packets", [])
    own = streams_of([b for b in batches if b.get("workload") != SENTINEL])
    if own:
        yield latency_figure("latency", "One-way latency of the streams", own)
    sentinel = streams_of([b for b in batches if b.get("workload") == SENTINEL])
    if sentinel:
        yield latency_figure("sentinel", "One-way latency of the lab's own probe packets", sentinel)
