"""From what a run left behind to its metrics and to what the verdict is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scenarios.evidence.results import Recorded
from scenarios.run.measure import Proof
from scenarios.run.phases import Traffic
from scenarios.spec.events import History
from scenarios.verdict.invariants.evidence import Count, Evidence, Fault, Phase
from scenarios.verdict.verdict import sentinels
from topologies.model.fabric import Fabric
from topologies.proof import ledger
from traffic.inference.records import ServingRecord, ServingSetupRecord, TaskRecord, ToolRecord
from traffic.metrics import registry
from traffic.metrics.metric import Metric
from traffic.metrics.serving import tasks, vllm
from traffic.runtime.counters import Counters
from traffic.runtime.reading import Records
from traffic.runtime.records import SENTINEL, LatenessRunRecord
from traffic.transports.udp.records import StreamRecord
from traffic.workloads.kinds.kind import by_process
from traffic.workloads.kinds.registry import KINDS
from traffic.workloads.workload import Workload


def link_bytes(counters: Counters, fabric: Fabric, proof: Proof) -> dict[str, float]:
    """Direction of a fabric link -> bytes that it carried while phases ran."""
    if not len(counters.t) or not proof.phases:
        return {}
    first, last = counters.between(proof.phases[0][1], proof.phases[-1][2])
    moved = counters.bytes[last] - counters.bytes[first]
    wanted = {d for k in fabric.links if k.kind == "fabric" for d in k.directions}
    return {d: float(b) for d, b in zip(counters.directions, moved, strict=True) if d in wanted}


def metrics_of(recorded: Recorded, fabric: Fabric, workloads: Sequence[Workload], proof: Proof) -> dict[str, Metric]:
    """What metrics.json holds, by key."""
    counters = recorded.counters
    rtts = [r.measured for r in proof.calibration.rtts] if proof.calibration else []
    carried = link_bytes(counters, fabric, proof) if counters is not None else {}
    return registry.compute(recorded.records, fabric, workloads, carried, idle_rtt=max(rtts, default=0.0),
                            counters=counters)


def serving_of(records: Records, fabric: Fabric) -> dict[str, dict[str, float | int]]:
    """serving.json: workload and phase ('chat.main') -> results with the keys of vLLM's `bench serve`."""
    scale = fabric.spec.scale.scale
    return {f"{workload}.{phase}": vllm.bench_serve(its[ServingRecord], its[ServingSetupRecord][0], scale)
            for (workload, phase), its in records.by_phase(ServingRecord, ServingSetupRecord).items()}


def tasks_of(records: Records) -> dict[str, list[dict[str, object]]]:
    """tasks.json: workload and phase ('agents.main') -> the critical path of every answered task, and its parts, s."""
    return {f"{workload}.{phase}": [a.as_json() for a in tasks.anatomies(its[TaskRecord], its[ServingRecord],
                                                                         its[ToolRecord])]
            for (workload, phase), its in records.by_phase(TaskRecord, ServingRecord, ToolRecord).items()
            if its[TaskRecord]}


def assemble(recorded: Recorded, fabric: Fabric, proof: Proof, metrics: Mapping[str, Metric],
             traffic: Sequence[Traffic], *, locked: bool) -> Evidence:
    """Everything that the verdict rests on."""
    records = recorded.records
    built = [b for its in traffic for b in its]
    processes = by_process(built)
    hosts = [fabric.access_link(h.name) for h in fabric.hosts]
    end = proof.phases[-1][2] if proof.phases else 0.0
    return Evidence(
        counters=recorded.counters, calibration=proof.calibration, audit=tuple(proof.audits),
        emulator=emulator_counts(proof.before, proof.after), ledger=proof.ledger.as_json() if proof.ledger else None,
        lateness_p99=lateness(records, {b.name: b.process.sends for b in built}), headline_p50=headline(metrics),
        sentinels=sentinels(records),
        host_rate=min(k.rate for k in hosts), host_frame=max(k.max_frame for k in hosts),
        phases=tuple(Phase(*p) for p in proof.phases), faults=tuple(faults(proof.history, fabric, end)),
        engines=tuple(name for p in processes for name in p.watched), replay_lag=replay_lag(metrics), locked=locked,
        controller_ended=proof.controller_ended, timers=tuple(p.sends for p in processes if p.sends),
        late=tuple(proof.late))


def emulator_counts(before: ledger.Counters | None, after: ledger.Counters | None) -> dict[str, Count] | None:
    """The emulator's own loss counters, at the start and at the end."""
    if before is None or after is None:
        return None
    found = {f"{before.overrun_at} of {s}": Count(n, after.overruns.get(s)) for s, n in before.overruns.items()}
    found["kernel backlogs"] = Count(before.softnet, after.softnet)
    return found


def lateness(records: Records, senders: Mapping[str, str]) -> dict[str, float]:
    """Process -> p99 of the lateness of its timers, the worst phase, s. senders: workload -> process that paces it."""
    found: dict[str, float] = {}
    for r in records:
        if isinstance(r, LatenessRunRecord):
            found[r.process] = max(found.get(r.process, 0.0), r.p99)
        elif isinstance(r, StreamRecord) and r.workload != SENTINEL and r.lateness is not None:
            sender = senders[r.workload]
            found[sender] = max(found.get(sender, 0.0), r.lateness.p99)
    return found


def replay_lag(metrics: Mapping[str, Metric]) -> dict[str, tuple[float, float]]:
    """Workload (in a phase) of open-loop requests -> (p99 of its lag, median E2EL), s."""
    lag, e2el = ".arrival_lag", ".e2el"
    return {name: (m.value, metrics[name + e2el].value if name + e2el in metrics else 0.0)
            for key, m in metrics.items() if key.endswith(lag) and (name := key.removesuffix(lag))}


def headline(metrics: Mapping[str, Metric]) -> float | None:
    """The smallest of the times that the run is about, s: the one that timer lateness can spoil most."""
    tags = {tag for kind in KINDS.values() for tag in kind.times}
    times = [m.value for key, m in metrics.items() if key.rsplit(".", 1)[-1] in tags]
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
