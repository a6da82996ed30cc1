"""Which figures a run has: those that it has data for, in the order of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scenarios.report.answer import of_group
from scenarios.report.charts.bars import loss_figure, step_figure
from scenarios.report.charts.canvas import Figure
from scenarios.report.charts.curves import latency_figure, load_figure, request_figure, streams_of
from scenarios.report.charts.serving import serving_figures
from scenarios.report.charts.task_bars import task_figure
from scenarios.report.charts.timeline import last_steps, slowdown_figure, timeline_figure
from scenarios.report.charts.topology import fabric_figure
from scenarios.report.data import RunData
from scenarios.report.measured import value_of
from traffic.metrics.bottleneck import BOTTLENECK
from traffic.metrics.on_paths import STEP_ON_PATHS
from traffic.metrics.steps import STEP_TIME
from traffic.runtime.records import SENTINEL, EngineRecord, RequestRecord, StepRecord, TransferRecord
from traffic.transports.udp.records import PacketsRecord


def figures(data: RunData) -> list[Figure]:
    """Step times, ranks, first tokens, loads, losses, the fabric, latencies."""
    found = [*_steps(data), *_ranks(data), *serving_figures(data.records)]
    if data.counters is not None and data.loads:
        found.append(load_figure(data.counters, data.loads, phase_starts(data), bottlenecks(data)))
    found += [task_figure(where, tasks) for where, tasks in (data.tasks or {}).items() if tasks]
    loss = loss_figure(data.ledger) if data.ledger else None
    if loss is not None:
        found.append(loss)
    found.append(fabric_figure(data.fabric, data.loads, queue_drops(data)))
    return [*found, *_latencies(data)]


def bottlenecks(data: RunData) -> set[str]:
    """Directions that were found to be the bottleneck."""
    return {str(m.get("where")) for key, m in data.metrics.items() if key.endswith(f".{BOTTLENECK.tag}")}


def phase_starts(data: RunData) -> dict[str, float]:
    """Phase -> its start, s, where there are several phases with TCP traffic."""
    starts = {e.phase: e.start for e in data.records[EngineRecord]}
    return starts if len(starts) > 1 else {}


def queue_drops(data: RunData) -> dict[str, int] | None:
    """Packets that each queue dropped: as the ledger counted, else as the sampler saw, None if neither did."""
    if data.ledger is not None:
        found: Counter[str] = Counter()
        for place, n in data.ledger.get("queue_drops", {}).items():
            found[place.split(" class ")[0]] += int(n)
        return dict(found)
    return {load.direction: load.drops for load in data.loads} if data.counters is not None else None


def _steps(data: RunData) -> Iterator[Figure]:
    by_phase: dict[tuple[str, str], list[StepRecord]] = {}
    for step in data.records[StepRecord]:
        if getattr(data.scenario.workloads.get(step.workload), "kind", "") == "requests":
            continue    # they arrive in an open loop: what is recorded as their step is the whole phase
        by_phase.setdefault((step.workload, step.phase), []).append(step)
    for (workload, phase), steps in by_phase.items():
        several = sum(name == workload for name, _ in by_phase) > 1
        predicted = of_group(data.predictions, workload) | of_group(data.predictions, f"{workload}.{phase}")
        yield step_figure(workload, steps, value_of(predicted, STEP_TIME), phase=phase if several else "",
                          on_paths=value_of(predicted, STEP_ON_PATHS))


def _ranks(data: RunData) -> Iterator[Figure]:
    """A timeline for each workload and phase, and how long transfers took."""
    steps = last_steps(data.records)
    for step in steps:
        yield timeline_figure(step, several_phases=len({s.phase for s in steps}) > 1)
    slowdown = slowdown_figure(data.records[TransferRecord], data.fabric)
    if slowdown is not None:
        yield slowdown


def _latencies(data: RunData) -> Iterator[Figure]:
    requests = request_figure(data.records[RequestRecord])
    if requests is not None:
        yield requests
    batches = data.records[PacketsRecord]
    own = streams_of([b for b in batches if b.workload != SENTINEL])
    if own:
        yield latency_figure("latency", "One-way latency of the streams", own)
    sentinel = streams_of([b for b in batches if b.workload == SENTINEL])
    if sentinel:
        yield latency_figure("sentinel", "One-way latency of the lab's own probe packets", sentinel)
