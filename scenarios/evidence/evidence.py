"""From what a run left behind to its metrics and to what the verdict is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scenarios.evidence.results import RunDirectory
from scenarios.run.measure import Proof
from scenarios.run.phases import Traffic
from scenarios.spec.events import History
from scenarios.verdict.invariants.evidence import AuditFinding, Count, Evidence, Fault, Phase
from scenarios.verdict.invariants.samples import Counters
from scenarios.verdict.verdict import sentinels
from topologies.model.fabric import Fabric
from topologies.proof import ledger
from traffic.metrics import registry
from traffic.metrics.bottleneck import Samples
from traffic.metrics.serving import tasks, vllm
from traffic.runtime.records import SENTINEL
from traffic.workloads.kinds.kind import by_process
from traffic.workloads.kinds.registry import KINDS
from traffic.workloads.workload import Workload


def link_bytes(counters: Counters, fabric: Fabric, proof: Proof) -> dict[str, float]:
    """Direction of a fabric link -> bytes that it carried while phases ran."""
    if not len(counters.t) or not proof.phases:
        return {}
    start, end = proof.phases[0][1], proof.phases[-1][2]
    first = max(int(np.searchsorted(counters.t, start)) - 1, 0)
    last = min(int(np.searchsorted(counters.t, end)), len(counters.t) - 1)
    moved = counters.bytes[last] - counters.bytes[first]
    wanted = {d for k in fabric.links if k.kind == "fabric" for d in k.directions}
    return {d: float(b) for d, b in zip(counters.directions, moved, strict=True) if d in wanted}


def metrics_of(run: RunDirectory, fabric: Fabric, workloads: Sequence[Workload], proof: Proof) -> dict[str, Any]:
    """metrics.json."""
    counters = Counters.read(run.counters_path)
    rtts = [r.measured for r in proof.calibration.rtts] if proof.calibration else []
    samples = Samples(counters.directions, counters.t, counters.bytes, counters.backlog, counters.drops)
    return registry.as_json(registry.compute(run.records(), fabric, workloads, link_bytes(counters, fabric, proof),
                                             idle_rtt=max(rtts, default=0.0), samples=samples))


def serving_of(run: RunDirectory, fabric: Fabric) -> dict[str, Any]:
    """serving.json: workload and phase ('chat.main') -> results with the keys of vLLM's `bench serve`."""
    kinds = ("serving", "serving-setup")
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for r in run.records():
        if r["kind"] in kinds:
            of = found.setdefault(f"{r['workload']}.{r['phase']}", {k: [] for k in kinds})
            of[r["kind"]].append(r)
    scale = fabric.spec.scale.scale
    return {key: vllm.bench_serve(of["serving"], of["serving-setup"][0], scale) for key, of in found.items()}


def tasks_of(run: RunDirectory) -> dict[str, Any]:
    """tasks.json: workload and phase ('agents.main') -> the critical path of every answered task, and its parts, s."""
    kinds = ("task", "serving", "tool")
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for r in run.records():
        if r["kind"] in kinds:
            found.setdefault(f"{r['workload']}.{r['phase']}", {k: [] for k in kinds})[r["kind"]].append(r)
    return {key: [a.as_json() for a in tasks.anatomies(*of.values())] for key, of in found.items() if of["task"]}


def assemble(run: RunDirectory, fabric: Fabric, proof: Proof, metrics: Mapping[str, Any],
             traffic: Sequence[Traffic], *, locked: bool) -> Evidence:
    """Everything that the verdict rests on."""
    records = list(run.records())
    built = [b for its in traffic for b in its]
    processes = by_process(built)
    hosts = [fabric.access_link(h.name) for h in fabric.hosts]
    end = proof.phases[-1][2] if proof.phases else 0.0
    return Evidence(
        counters=Counters.read(run.counters_path), calibration=proof.calibration,
        audit=tuple(AuditFinding(f.where, f.what, f.unit, f.expected, f.found) for f in proof.audits),
        emulator=emulator_counts(proof.before, proof.after), ledger=proof.ledger.as_json() if proof.ledger else None,
        lateness_p99=lateness(records, {b.name: b.process.sends for b in built}), headline_p50=headline(metrics),
        sentinels=sentinels(records),
        host_rate=min(k.rate for k in hosts), host_frame=max(k.max_frame for k in hosts),
        phases=tuple(Phase(*p) for p in proof.phases), faults=tuple(faults(proof.history, fabric, end)),
        engines=tuple(name for p in processes for name in p.watched), replay_lag=replay_lag(metrics), locked=locked,
        controller_ended=proof.controller_ended, timers=tuple(p.sends for p in processes if p.sends))


def emulator_counts(before: ledger.Counters | None, after: ledger.Counters | None) -> dict[str, Count] | None:
    """The emulator's own loss counters, at the start and at the end."""
    if before is None or after is None:
        return None
    found = {f"port sockets of {s}": Count(n, after.overruns.get(s)) for s, n in before.overruns.items()}
    found["kernel backlogs"] = Count(before.softnet, after.softnet)
    return found


def lateness(records: Iterable[Mapping[str, Any]], senders: Mapping[str, str]) -> dict[str, float]:
    """Process -> p99 of the lateness of its timers, the worst phase, s. senders: workload -> process that paces it."""
    found: dict[str, float] = {}
    for r in records:
        if r["kind"] == "timer-lateness-run":
            process = r.get("process", "engine")
            found[process] = max(found.get(process, 0.0), r["p99"])
        elif r["kind"] == "stream" and r["workload"] != SENTINEL and r["lateness"]:
            sender = senders[r["workload"]]
            found[sender] = max(found.get(sender, 0.0), r["lateness"]["p99"])
    return found


def replay_lag(metrics: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Workload (in a phase) of open-loop requests -> (p99 of its lag, median E2EL), s."""
    lag, e2el = ".arrival_lag", ".e2el"
    return {name: (m["value"], metrics.get(name + e2el, {}).get("value", 0.0))
            for key, m in metrics.items() if key.endswith(lag) and (name := key.removesuffix(lag))}


def headline(metrics: Mapping[str, Any]) -> float | None:
    """The smallest of the times that the run is about, s: the one that timer lateness can spoil most."""
    tags = {tag for kind in KINDS.values() for tag in kind.times}
    times = [m["value"] for key, m in metrics.items() if key.rsplit(".", 1)[-1] in tags and m["value"] is not None]
    return min(times, default=None)


def faults(history: History, fabric: Fabric, end: float) -> Iterator[Fault]:
    """Declared events as windows: links and switches that went down, and links whose rate changed."""
    for name, link, since, until in history.windows(end):
        yield Fault(name, since, until, fabric.link(link).directions)
    for outage in history.outages:
        directions = tuple(d for k in fabric.links_of(outage.switch) for d in k.directions)
        yield Fault(outage.name, outage.since, outage.end(end), directions, (outage.switch,))
    for change in history.changes:
        if change.rate is not None or change.queue is not None:
            yield Fault(f"{change.link} {change.what}", change.t, change.end, fabric.link(change.link).directions,
                        rate=change.rate)
