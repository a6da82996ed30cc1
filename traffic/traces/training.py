"""A measured training step -> a workload: its collectives with their true bytes, splits and gaps.

    rank r:   gap ─> c1-all_to_allv ─> gap ─> c2-all_to_all ─> ... ─> tail
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from topologies.model.errors import TraceError
from topologies.model.fabric import Fabric
from topologies.model.units import show_time
from traffic.collectives import algorithm_for
from traffic.traces.pytorch_et import read
from traffic.traces.pytorch_step import Gap, TraceCollective, TrainingTrace
from traffic.workloads.placement import place
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Op, Transfer, Workload


def training_workload(spec: TrainingTraceSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """The step of `spec.trace`, one rank a host. Only a random placement is drawn from the seed.

    Each collective k (from 1) is an op "ck-<name in the trace>", each gap of rank r before it a Compute
    "gk-rr", what follows the last one "tail-rr". bytes_factor multiplies every size, time_factor every
    gap; both come on top of the fabric's scale. Raises TraceError, SpecError.
    """
    trace = read(Path(spec.trace), spec.trace_iteration)
    scale = fabric.spec.scale.scale
    size_factor, time_factor = spec.bytes_factor * scale.size, spec.time_factor * scale.time
    collectives = [_scaled(c, k, size_factor) for k, c in enumerate(trace.collectives, start=1)]
    return Workload(
        name=name, hosts=place(spec.placement, trace.ranks, fabric, seed, fold=spec.fold),
        ops=tuple(_ops(trace, collectives, time_factor)),
        iterations=spec.iterations, warmup=spec.warmup, flows_per_pair=spec.flows_per_pair,
        notes=_notes(spec, trace, size_factor, time_factor))


def totals(workload: Workload) -> dict[str, int]:
    """Collective -> bytes of its inputs over all ranks, as a trace counts them (own shares included)."""
    return {op.id: sum(sum(row) for row in op.splits) if op.splits is not None
            else op.size if op.kind == "all-gather" else len(op.ranks) * op.size
            for op in workload.ops if isinstance(op, Collective)}


def _ops(trace: TrainingTrace, collectives: list[Collective | Transfer], time_factor: float) -> Iterator[Op]:
    own = [dict(zip(mine, gaps, strict=True)) for mine, gaps in zip(trace.parts, trace.gaps, strict=True)]
    for k, op in enumerate(collectives):
        for rank in trace.collectives[k].ranks:
            gap = own[rank][k]
            yield Compute(_gap_id(k + 1, rank), rank, gap.seconds * time_factor, after=_waits(rank, gap, collectives))
        yield op
        if isinstance(op, Transfer):
            yield Compute(_received(op), op.dst, 0.0, after=(_gap_id(k + 1, op.dst), op.id))
    for rank, gap in enumerate(trace.tails):
        yield Compute(f"tail-r{rank}", rank, gap.seconds * time_factor, after=_waits(rank, gap, collectives))


def _waits(rank: int, gap: Gap, collectives: list[Collective | Transfer]) -> tuple[str, ...]:
    """What is over when a gap begins: of a send its arrival, of a receive also that it was posted."""
    if gap.after < 0:
        return ()
    op = collectives[gap.after]
    return (_received(op) if isinstance(op, Transfer) and op.dst == rank else op.id,)


def _received(send: Transfer) -> str:
    return f"{send.id}/received"


def _gap_id(k: int, rank: int) -> str:
    return f"g{k}-r{rank}"


def _scaled(collective: TraceCollective, k: int, factor: float) -> Collective | Transfer:
    """The op of one collective. Every share is rounded by itself, so that an all-to-all stays even.

    Of an all-to-all-v `size` is the most that a rank hands in, as docs/reference/records.md has it; of an all-gather
    all that is gathered. A barrier is an all-reduce of one byte a rank, whatever the factor.
    Raises TraceError when the factor leaves nothing to send.
    """
    n, ranks, name = len(collective.ranks), collective.ranks, f"c{k}-{collective.op}"
    after = tuple(_gap_id(k, rank) for rank in ranks)
    kind = collective.kind
    if kind == "barrier":
        return Collective(name, "all-reduce", ranks, n, after=after)
    splits: tuple[tuple[int, ...], ...] | None = None
    if collective.splits is not None:
        splits = tuple(tuple(round(b * factor) for b in row) for row in collective.splits)
        size = max(sum(row) for row in splits)
    elif kind == "all-to-all":
        size = n * round(collective.rank_bytes[0] // n * factor)
    else:
        size = round(collective.rank_bytes[0] * factor) * (n if kind == "all-gather" else 1)
    if size == 0 and any(collective.rank_bytes):
        raise TraceError(f"collective {k}, {collective.op}", "at least one byte to send",
                         f"{collective.rank_bytes[0]} bytes x {factor:g}", "raise bytes_factor")
    if kind == "send":
        return Transfer(name, ranks[0], ranks[1], size, after=after[:1])
    return Collective(name, kind, ranks, size, algorithm=algorithm_for(kind), splits=splits, after=after)


def _notes(spec: TrainingTraceSpec, trace: TrainingTrace, size_factor: float, time_factor: float) -> dict[str, str]:
    total = sum(sum(c.rank_bytes) for c in trace.collectives)
    gaps = [sum(g.seconds for g in (*gaps, tail)) for gaps, tail in zip(trace.gaps, trace.tails, strict=True)]
    return {
        "trace": f"{Path(spec.trace).name} ({spec.format})"
                 + (f", step {spec.trace_iteration or 1} of {trace.steps}" if trace.steps > 1 else ""),
        "collectives": f"{len(trace.collectives)} over {trace.ranks} ranks, {total} bytes handed in",
        "bytes": f"x {size_factor:g}",
        "gaps": f"{show_time(min(gaps))} to {show_time(max(gaps))} a rank without a collective, x {time_factor:g}; "
                "work that ran beside a collective is not known and not replayed",
        **({"assumed": trace.assumed} if trace.assumed else {}),
        "start": f"ranks start together; in the trace they start {show_time(trace.start_spread)} apart",
    }
