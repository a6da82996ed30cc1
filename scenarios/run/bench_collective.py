"""A sweep over the sizes of one collective, in the manner of nccl-tests: one lab, one phase for each size.

    64KiB, 128KiB, ... 1MiB  ->  a scenario with a phase each  ->  one run, one verdict  ->  a row each

Time and bandwidths are those of the measured iterations. Drops, retransmits and Jain's index are of the
whole phase, warm-up included: a connection's retransmits cannot be distinguished by iteration.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from scenarios.run.runner import Result, StageListener, run_scenario
from scenarios.spec.references import reference_problems
from scenarios.spec.scenario import Phase, Scenario
from topologies.model.document import dotted
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.metrics import fairness
from traffic.metrics.metric import Metric
from traffic.runtime.counters import Counters
from traffic.runtime.reading import Records
from traffic.runtime.records import ConnectionRecord, StepRecord
from traffic.workloads.kinds.engine import workloads_of
from traffic.workloads.kinds.registry import build
from traffic.workloads.specs import CollectiveSpec
from traffic.workloads.workload import Collective

MOST_SIZES = 40


@dataclass(frozen=True)
class Row:
    """One size. None is what was not reported: bandwidths below scale, Jain's index without equal-cost links.

    size B, time s (mean over iterations), algbw and busbw bit/s, of_limit busbw / its limit on the slowest
    access link, drops packets in all queues, retransmits TCP segments, jfi of the links between leaves and spines
    """

    size: int
    time: float | None
    algbw: float | None
    busbw: float | None
    of_limit: float | None
    drops: int
    retransmits: int
    jfi: float | None


@dataclass(frozen=True)
class Sweep:
    """What a sweep found, and whether to believe it."""

    op: str
    algorithm: str
    ranks: int
    rows: tuple[Row, ...]
    result: Result


def sizes(smallest: int, largest: int, factor: float) -> list[int]:
    """smallest, smallest x factor, ... up to largest, in whole bytes. Raises SpecError."""
    if not 0 < smallest <= largest:
        raise SpecError("--min", f"a size above zero and at most --max, {largest} bytes", f"{smallest} bytes")
    if not factor > 1:
        raise SpecError("--factor", "a factor above 1", f"{factor:g}")
    found = [smallest]
    while round(found[-1] * factor) <= largest and len(found) <= MOST_SIZES:
        found.append(max(round(found[-1] * factor), found[-1] + 1))
    if len(found) > MOST_SIZES:
        raise SpecError("--factor", f"at most {MOST_SIZES} sizes from --min to --max", f"more, with {factor:g}",
                        "raise the factor")
    return found


def name_of(size: int) -> str:
    """The workload, and the phase, of a size."""
    return f"{size}-bytes"


def scenario_of(fabric: FabricSpec, collective: CollectiveSpec, of: Sequence[int]) -> Scenario:
    """A phase for each of the sizes. Raises SpecErrors for ranks or an algorithm that the fabric cannot serve."""
    workloads: dict[str, CollectiveSpec] = {name_of(size): collective.model_copy(update={"size": size}) for size in of}
    scenario = Scenario(
        name=f"bench-{collective.op}", question=f"How fast is {collective.op} on fabric {fabric.name}, by size?",
        fabric=fabric, workloads=dict(workloads), phases=tuple(Phase(name=name, run=(name,)) for name in workloads))
    first = dict(list(workloads.items())[:1])
    expanded = expand(fabric)
    wrong = list(reference_problems(scenario.model_copy(update={"workloads": first}), expanded))
    if wrong:
        raise SpecErrors([SpecError(f"--{dotted(p.path[2:])}", p.expected, p.found) for p in wrong])
    try:
        for name, spec in workloads.items():
            build(spec, expanded, name, scenario.seed)
    except SpecError as error:
        raise SpecError(f"aifab bench {collective.op}", error.expected, error.found) from None
    return scenario


def bench(scenario: Scenario, runs: Path, *, lock: bool = True, argv: Sequence[str] = (),
          listener: StageListener | None = None) -> Sweep:
    """Run a sweep that `scenario_of` made. Raises what a run raises."""
    fabric = expand(scenario.fabric)
    name, spec = next(iter(scenario.workloads.items()))
    if not isinstance(spec, CollectiveSpec):
        raise TypeError(f"a sweep is of collectives, not of {spec!r}")
    (workload,) = workloads_of([build(spec, fabric, name, scenario.seed)])
    result = run_scenario(scenario, runs, fabric=fabric, lock=lock, argv=argv, listener=listener)
    counters = result.recorded.counters
    rows = rows_of(scenario, fabric, result.metrics, result.recorded.records, counters) if counters is not None else ()
    algorithm = next(op.algorithm for op in workload.ops if isinstance(op, Collective))
    return Sweep(spec.op, algorithm, len(workload.hosts), tuple(rows), result)


def rows_of(scenario: Scenario, fabric: Fabric, metrics: Mapping[str, Metric], records: Records,
            counters: Counters) -> Iterator[Row]:
    """A row for each workload, from what its run left behind."""
    collectives = {name: spec for name, spec in scenario.workloads.items() if isinstance(spec, CollectiveSpec)}
    for name, spec in collectives.items():
        steps = [s for s in records[StepRecord] if s.workload == name]
        window = (min(s.start for s in steps), max(s.end for s in steps))
        moved, dropped = between(counters, *window)
        links = {d: b for d, b in moved.items() if d in _fabric_directions(fabric)}
        jfi = [m.value for m in fairness.metrics(links, fabric).get("fabric", []) if m.tag == fairness.JFI.tag]

        def value(tag: str, of: str = name) -> float | None:
            found = metrics.get(f"{of}.{tag}")
            return None if found is None else found.value

        yield Row(
            size=spec.size,
            time=value("time"), algbw=value("algbw"), busbw=value("busbw"), of_limit=value("busbw_of_limit"),
            drops=sum(dropped.values()), retransmits=_retransmits(records, name), jfi=jfi[0] if jfi else None)


def _fabric_directions(fabric: Fabric) -> set[str]:
    return {d for link in fabric.links if link.kind == "fabric" for d in link.directions}


def _retransmits(records: Records, workload: str) -> int:
    return sum(c.retransmits + c.reply_retransmits for c in records[ConnectionRecord] if c.workload == workload)


def between(counters: Counters, start: float, end: float) -> tuple[dict[str, float], dict[str, int]]:
    """Bytes sent and packets dropped by direction, from the sample before `start` to the one after `end`."""
    first, last = counters.between(start, end)
    moved, dropped = counters.bytes[last] - counters.bytes[first], counters.drops[last] - counters.drops[first]
    return (dict(zip(counters.directions, map(float, moved), strict=True)),
            dict(zip(counters.directions, map(int, dropped), strict=True)))


# ---- as text, CSV and JSON

_COLUMNS = (("size", "(B)", 12), ("time", "(s)", 11), ("algbw", "(Mbit/s)", 10), ("busbw", "(Mbit/s)", 10),
            ("of limit", "", 10), ("drops", "(packets)", 11), ("retransmits", "(segments)", 13), ("JFI", "", 8))


def text(sweep: Sweep) -> str:
    """The table of nccl-tests, with what only a laboratory knows in three more columns."""
    lines = [f"# {sweep.op} ({sweep.algorithm}) on {sweep.ranks} ranks",
             "#" + "".join(f"{name:>{width}}" for name, _, width in _COLUMNS),
             "#" + "".join(f"{unit:>{width}}" for _, unit, width in _COLUMNS)]
    for row in sweep.rows:
        cells = (str(row.size), _cell(row.time, 4), _cell(row.algbw, 3, 1e6), _cell(row.busbw, 3, 1e6),
                 _cell(row.of_limit, 3), str(row.drops), str(row.retransmits), _cell(row.jfi, 3))
        lines.append(" " + "".join(f"{cell:>{width}}" for cell, (_, _, width) in zip(cells, _COLUMNS, strict=True)))
    verdict = sweep.result.verdict
    lines.append(f"# verdict {verdict.level.name}" + "".join(f"\n#   {reason}" for reason in _reasons(sweep)))
    lines.append(f"# report {sweep.result.run.report_path}")
    return "\n".join(lines)


def _cell(value: float | None, digits: int, unit: float = 1.0) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"


def _reasons(sweep: Sweep) -> list[str]:
    return [reason.text for reason in sweep.result.verdict.reasons]


def as_json(sweep: Sweep) -> dict[str, object]:
    """One object: rows in units of bytes, seconds and bit/s, the verdict over all of them."""
    return {"op": sweep.op, "algorithm": sweep.algorithm, "ranks": sweep.ranks,
            "rows": [asdict(row) for row in sweep.rows], "verdict": sweep.result.verdict.level.name,
            "reasons": _reasons(sweep), "run": sweep.result.run.id}


def as_csv(sweep: Sweep) -> str:
    """A header and a line for each size, with the verdict in each: a line that is cut out keeps it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*(f.name for f in fields(Row)), "verdict"], lineterminator="\n")
    writer.writeheader()
    for row in sweep.rows:
        writer.writerow({**asdict(row), "verdict": sweep.result.verdict.level.name})
    return out.getvalue()
