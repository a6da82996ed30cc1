"""All metrics of a run, made from its raw records: what metrics.json holds.

Keys are 'workload.tag'. With several collectives in a workload, those of one of them are
'workload.op.tag'. For a workload that ran in several phases these are of its first one, and every phase
has 'workload.phase.tag' as well; its interference factors are there. What belongs to the network as a
whole is 'fabric.tag'. Warm-up iterations, whose numbers are negative, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from topologies.model.fabric import Fabric
from traffic.inference.records import ServingRecord, ServingSetupRecord, StoreRecord
from traffic.metrics import bottleneck, collective, fairness, interference, steps, straggler, utilisation
from traffic.metrics.below import classes_below_scale
from traffic.metrics.metric import Metric, with_real
from traffic.metrics.serving import tail
from traffic.runtime.counters import Counters
from traffic.runtime.reading import Iterated, Records, WorkloadRecord
from traffic.runtime.records import (
    SENTINEL,
    CollectiveRecord,
    ComputeRecord,
    Record,
    StepRecord,
    TransferRecord,
)
from traffic.workloads.kinds.registry import families
from traffic.workloads.workload import Collective, Transfer, Workload

ENGINE = (StepRecord, ComputeRecord, CollectiveRecord)      # of what the TCP engine runs in iterations
Measured = Mapping[str, Mapping[str, Records]]      # workload -> phase -> its records without the warm-up


@dataclass(frozen=True, slots=True)
class _Job:
    """A workload, where it ran, and its collectives that are too small to have a bandwidth."""

    workload: Workload
    fabric: Fabric
    below_scale: frozenset[str]


def compute(records: Iterable[Record], fabric: Fabric, workloads: Sequence[Workload],
            link_bytes: Mapping[str, float] | None = None, idle_rtt: float = 0.0,
            counters: Counters | None = None) -> dict[str, Metric]:
    """Every metric that the records allow, by key, in the order of the workloads.

    link_bytes: direction ('leaf1->spine1') -> bytes sent over it in the
    measured time, for the spread over ECMP links. UDP streams have no Workload: their records suffice.
    Kinds that no metric is made of are passed over. Of collectives below scale (by idle_rtt, seconds)
    only the time is reported. counters: of the links' queues, for the bottleneck link.
    """
    found: dict[str, Metric] = {}
    measured, present = _sorted(records, {(w.name, op.id) for w in workloads if w.connections == "shared"
                                          for op in w.ops if isinstance(op, Transfer)})
    jobs = {w.name: _Job(w, fabric, frozenset(classes_below_scale(w, fabric, idle_rtt))) for w in workloads}
    for name in dict.fromkeys([*jobs, *measured]):
        found.update(_workload(name, jobs.get(name), measured.get(name, {}), present, fabric))
    for where, metrics in fairness.metrics(link_bytes or {}, fabric).items():
        prefix = where if where == "fabric" else f"fabric.{where}"
        found.update({f"{prefix}.{m.tag}": m for m in metrics})
    if counters is not None:
        found.update(_bottleneck(measured, counters, fabric))
        found.update(_tails(measured, counters, fabric))
    scale = fabric.spec.scale.scale
    return {key: with_real(metric, scale) for key, metric in found.items()}


def _bottleneck(measured: Measured, counters: Counters, fabric: Fabric) -> Iterator[tuple[str, Metric]]:
    """'fabric.bottleneck_link' of a run with steps in one phase; where there are several,
    'fabric.PHASE.bottleneck_link' and '.jfi'."""
    steps: dict[str, list[tuple[float, float]]] = {}
    for phases in measured.values():
        for phase, records in phases.items():
            steps.setdefault(phase, []).extend((s.start, s.end) for s in records[StepRecord])
    for phase, spans in steps.items():
        prefix = "fabric" if len(steps) == 1 else f"fabric.{phase}"
        yield from ((f"{prefix}.{m.tag}", m) for m in bottleneck.metrics(counters, spans, fabric))
        if len(steps) > 1:
            spread = fairness.metrics(bottleneck.sent_within(counters, spans), fabric)
            yield from ((f"{prefix}.{m.tag}", m) for m in spread.get("fabric", ()))


def _tails(measured: Measured, counters: Counters, fabric: Fabric) -> Iterator[tuple[str, Metric]]:
    """What held the slowest requests of serving workloads up, under the same keys as their other metrics."""
    for name, phases in measured.items():
        for n, (phase, records) in enumerate(phases.items()):
            found = tail.metrics(records[ServingRecord], records[StoreRecord], records[ServingSetupRecord], counters,
                                 fabric)
            prefixes = [name] * (n == 0) + [f"{name}.{phase}"] * (len(phases) > 1)
            yield from ((f"{prefix}.{m.tag}", m) for prefix in prefixes for m in found)


def as_json(metrics: Mapping[str, Metric]) -> dict[str, dict[str, object]]:
    """For metrics.json and predictions.json."""
    return {key: metric.as_json() for key, metric in metrics.items()}


def _sorted(records: Iterable[Record], own: set[tuple[str, str]]) -> tuple[Measured, dict[str, set[str]]]:
    """Measured records by workload and phase; and phase -> all that was on the network in it.

    own: (workload, op) of the transfers that are kept; those that make up collectives are many, and reported by them.
    """
    found: dict[str, dict[str, list[Record]]] = {}
    present: dict[str, set[str]] = {}
    kinds: tuple[type[WorkloadRecord], ...] = (
        TransferRecord, *ENGINE, *(kind for family in families() for kind in family.records))
    for record in records:
        if not isinstance(record, kinds) or record.workload == SENTINEL:
            continue
        name, phase = record.workload, record.phase
        present.setdefault(phase, set()).add(name)
        kept = not isinstance(record, TransferRecord) or (name, record.op) in own
        if kept and not (isinstance(record, Iterated) and record.iteration < 0):
            found.setdefault(name, {}).setdefault(phase, []).append(record)
    return {name: {phase: Records(its) for phase, its in phases.items()} for name, phases in found.items()}, present


def _workload(name: str, job: _Job | None, phases: Mapping[str, Records],
              present: Mapping[str, set[str]], fabric: Fabric) -> dict[str, Metric]:
    of_phases = {phase: dict(_of_phase(job, records, fabric)) for phase, records in phases.items()}
    found = {f"{name}.{tag}": m for first in list(of_phases.values())[:1] for tag, m in first.items()}
    if len(phases) == 1:
        return found
    found.update({f"{name}.{phase}.{tag}": m for phase, metrics in of_phases.items() for tag, m in metrics.items()})
    tag = next((t for t in interference.OF_TAG if any(t in metrics for metrics in of_phases.values())), None)
    if tag is not None:
        values = {phase: metrics[tag].value for phase, metrics in of_phases.items() if tag in metrics}
        factors = interference.metrics(tag, values, alone={p: present[p] == {name} for p in values})
        found.update({f"{name}.{p}.{m.tag}": m for p, m in factors.items()})
    return found


def _of_phase(job: _Job | None, records: Records, fabric: Fabric) -> Iterator[tuple[str, Metric]]:
    """(tag, metric) of one workload in one phase, by the kinds of records that it left."""
    of_records = [m for family in families() for m in family.of(records, fabric)]
    yield from ((m.tag, m) for m in of_records)
    if job is not None and not of_records:      # streams and requests in an open loop have no iterations to time
        yield from _of_job(job, records)


def _of_job(job: _Job, records: Records) -> Iterator[tuple[str, Metric]]:
    computes, collectives, of_steps = records[ComputeRecord], records[CollectiveRecord], records[StepRecord]
    yield from _collectives(job, collectives)
    for metric in (*steps.metrics(of_steps, computes, collectives, job.workload, job.fabric, records[TransferRecord]),
                   *straggler.metrics(of_steps, collectives, job.workload),
                   *utilisation.metrics(of_steps, computes, job.workload, job.fabric.spec.scale.scale)):
        yield metric.tag, metric


def _collectives(job: _Job, records: Sequence[CollectiveRecord]) -> Iterator[tuple[str, Metric]]:
    ops = [op for op in job.workload.ops if isinstance(op, Collective)]
    for op in ops:
        prefix = "" if len(ops) == 1 else f"{op.id}."
        mine = [r for r in records if r.op == op.id]
        for metric in collective.metrics(op, mine, job.workload, job.fabric):
            if metric.tag == collective.TIME.tag or op.id not in job.below_scale:
                yield f"{prefix}{metric.tag}", metric
