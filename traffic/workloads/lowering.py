"""Workload -> Program: computes and transfers only, with every dependency resolved to one rank's part.

A collective c becomes its transfers and two joins per rank r, computes of no length:

    all that c comes after, at r --> c/begin/r --> r's transfers ...... transfers into r --> c/end/r

so that what rank r does after c waits for c/end/r alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from topologies.model.errors import LabError, SpecError, SpecErrors
from traffic.collectives import problems, schedule
from traffic.workloads.workload import Collective, Compute, Op, Transfer, Workload

Primitive = Compute | Transfer


@dataclass(frozen=True, slots=True)
class Span:
    """A collective in a program: its joins, by the order of its ranks."""

    collective: Collective
    begin: tuple[str, ...]
    end: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """What the engine runs: `ops` with `after` naming ops of the program only, in the order of the workload."""

    workload: Workload
    ops: tuple[Primitive, ...]
    spans: tuple[Span, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes moved in one iteration."""
        return sum(op.size for op in self.ops if isinstance(op, Transfer))

    def pairs(self) -> dict[tuple[int, int], list[Transfer]]:
        """(src, dst) -> the transfers that need a connection opened by src; answers use their request's."""
        found: dict[tuple[int, int], list[Transfer]] = {}
        for op in self.ops:
            if isinstance(op, Transfer) and not op.reply and op.size:
                found.setdefault((op.src, op.dst), []).append(op)
        return found


def lower(workload: Workload) -> Program:
    """The program of a workload. Raises SpecErrors with everything that is wrong with it."""
    errors = list(_problems(workload))
    if errors:
        raise SpecErrors(errors)
    resolve = _Resolver(workload)
    ops: list[Primitive] = []
    spans: list[Span] = []
    for op in workload.ops:
        if isinstance(op, Collective):
            span = _span(op)
            spans.append(span)
            ops += _collective(op, span, resolve)
        elif isinstance(op, Compute):
            ops.append(replace(op, after=resolve(op.after, op.rank)))
        else:
            ops.append(replace(op, after=resolve((*op.after, op.reply) if op.reply else op.after, op.src)))
    _refuse_cycles(workload, ops)
    return Program(workload, tuple(ops), tuple(spans))


class _Resolver:
    """Names of operations -> names of primitives, as seen by one rank."""

    def __init__(self, workload: Workload) -> None:
        self._collectives = {op.id: op for op in workload.ops if isinstance(op, Collective)}
        self._computes = {op.id: op.rank for op in workload.ops if isinstance(op, Compute)}

    def __call__(self, names: Iterable[str], rank: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for name in names for p in self._one(name, rank)))

    def own(self, c: Collective, rank: int) -> Iterator[str]:
        """What rank's part of c waits for: the work of the other members holds up their own parts only."""
        others = set(c.ranks) - {rank}
        return (name for name in c.after if self._computes.get(name) not in others)

    def _one(self, name: str, rank: int) -> Iterator[str]:
        c = self._collectives.get(name)
        if c is None:
            yield name
        elif rank in c.ranks:
            yield f"{name}/end/{rank}"
        else:       # a rank that takes no part waits for all of it
            yield from (f"{name}/end/{r}" for r in c.ranks)


def _span(c: Collective) -> Span:
    return Span(c, tuple(f"{c.id}/begin/{r}" for r in c.ranks), tuple(f"{c.id}/end/{r}" for r in c.ranks))


def _collective(c: Collective, span: Span, resolve: _Resolver) -> Iterator[Primitive]:
    into: dict[int, list[str]] = {r: [] for r in c.ranks}
    for rank, begin in zip(c.ranks, span.begin, strict=True):
        yield Compute(begin, rank, 0.0, resolve(resolve.own(c, rank), rank))
    for move in schedule(c):
        into[move.dst].append(move.id)
        yield Transfer(move.id, move.src, move.dst, move.size, (f"{c.id}/begin/{move.src}", *move.after), move.behind)
    for rank, begin, end in zip(c.ranks, span.begin, span.end, strict=True):
        yield Compute(end, rank, 0.0, (begin, *into[rank]))


def _refuse_cycles(workload: Workload, ops: list[Primitive]) -> None:
    waits = {op.id: (*op.after, op.behind) if isinstance(op, Transfer) and op.behind else op.after for op in ops}
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise SpecErrors([SpecError(f"workload {workload.name}", "operations that do not wait for themselves",
                                    cycle, "take one of these out of the others' after or behind")]) from None


def _problems(workload: Workload) -> Iterator[LabError]:
    by_id: dict[str, Op] = {}
    for op in workload.ops:
        if op.id in by_id:
            yield SpecError(f"workload {workload.name}, {op.id}", "an id of its own for each operation", "it twice")
        by_id[op.id] = op
    for expected, found in _whole_problems(workload):
        yield SpecError(f"workload {workload.name}", expected, found)
    for op in workload.ops:
        for expected, found in _op_problems(op, by_id, len(workload.hosts)):
            yield SpecError(f"workload {workload.name}, {op.id}", expected, found)


def _whole_problems(workload: Workload) -> Iterator[tuple[str, str]]:
    if workload.iterations < 1 or workload.warmup < 0:
        yield "1 or more iterations and 0 or more of warm-up", f"{workload.iterations} and {workload.warmup}"
    if workload.flows_per_pair < 1:
        yield "1 or more connections per pair (flows_per_pair)", str(workload.flows_per_pair)
    if workload.timeout <= 0:
        yield "a timeout above zero", f"{workload.timeout} s"
    if workload.connections == "pool" and workload.flows_per_pair != 1:
        yield "flows_per_pair 1 with a pool of connections", str(workload.flows_per_pair)


def _op_problems(op: Op, by_id: dict[str, Op], ranks: int) -> Iterator[tuple[str, str]]:
    unknown = [name for name in op.after if name not in by_id]
    if unknown:
        yield "after to name operations of the workload", ", ".join(unknown)
    mine = op.ranks if isinstance(op, Collective) else (op.rank,) if isinstance(op, Compute) else (op.src, op.dst)
    outside = [r for r in mine if not 0 <= r < ranks]
    if outside:
        yield f"ranks from 0 to {ranks - 1}", ", ".join(map(str, outside))
    if isinstance(op, Collective):
        yield from problems(op)
    elif isinstance(op, Compute):
        if op.seconds < 0:
            yield "zero or more seconds", str(op.seconds)
    else:
        yield from _transfer_problems(op, by_id)


def _transfer_problems(op: Transfer, by_id: dict[str, Op]) -> Iterator[tuple[str, str]]:
    if op.src == op.dst:
        yield "a transfer between two ranks", f"rank {op.src} to itself"
    if op.size < 0 or op.at < 0:
        yield "a size and a start of zero or more", f"{op.size} B at {op.at} s"
    if op.behind:
        first = by_id.get(op.behind)
        if not isinstance(first, Transfer) or first.dst != op.src or first.size != op.size:
            yield f"behind to name a transfer of {op.size} B into rank {op.src}", _reported(op.behind, first)
    if op.reply:
        request = by_id.get(op.reply)
        if not isinstance(request, Transfer) or (request.src, request.dst) != (op.dst, op.src) or request.reply:
            yield f"reply to name a request from rank {op.dst} to rank {op.src}", _reported(op.reply, request)
        elif request.size == 0 and op.size:
            yield "a request of 1 or more bytes, to have a connection to answer on", f"{op.reply} of 0 B"


def _reported(name: str, op: Op | None) -> str:
    if isinstance(op, Transfer):
        return f"{name}, {op.size} B from rank {op.src} to rank {op.dst}"
    return f"{name}, {'a ' + type(op).__name__.lower() if op else 'which does not exist'}"
