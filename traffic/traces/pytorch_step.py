"""A training step put together from what each rank recorded of it: which collectives, over whom, with what between.

The k-th collective of a rank in a process group is the k-th of each of its other ranks; the k-th send to a rank in
a group meets its k-th receive from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from topologies.model.errors import TraceError
from traffic.traces.pytorch_calls import Call
from traffic.traces.pytorch_profile import Kernel, Profile
from traffic.workloads.workload import CollectiveName

_Key = tuple[str, tuple[int, ...], str, int]      # group, ranks, "" or "p2p", which of them


@dataclass(frozen=True, slots=True)
class TraceCollective:
    """One collective over `ranks`. `rank_bytes` of each one's input; `splits[i][j]` bytes from the i-th to the j-th.

    A send has two ranks, source and destination. A broadcast starts at ranks[0].
    """

    op: str
    kind: CollectiveName | Literal["barrier", "send"]
    rank_bytes: tuple[int, ...]
    splits: tuple[tuple[int, ...], ...] | None = None
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """`seconds` without a collective on a rank, after collective `after` was over (-1: after the step's start)."""

    seconds: float
    after: int


@dataclass(frozen=True, slots=True)
class TrainingTrace:
    """One step. gaps[r][k] comes before collective parts[r][k] on rank r, tails[r] after the last one.

    `start_spread` is the time in seconds between the first and the last rank's start of the step.
    `assumed` is what the trace does not say and the reader took for granted, in words.
    """

    collectives: tuple[TraceCollective, ...]
    gaps: tuple[tuple[Gap, ...], ...]
    tails: tuple[Gap, ...]
    start_spread: float
    parts: tuple[tuple[int, ...], ...]
    steps: int = 1
    assumed: str = ""

    @property
    def ranks(self) -> int:
        return len(self.gaps)


@dataclass(frozen=True, slots=True)
class Part:
    """A collective of one rank: what it was and when it ran."""

    call: Call
    kernel: Kernel


def same_size(first: Call, other: Call) -> None:
    """Raises TraceError where two ranks hand in different bytes although their collective wants the same."""
    uneven = first.op == "all_to_allv" or first.send or first.kind in ("scatter", "gather", "barrier")
    if not uneven and other.size != first.size:
        raise TraceError(other.where, f"{first.size} bytes, as in {first.where}", f"{other.size} bytes")


class Step:
    """The parts of all ranks put together. Raises TraceError where peers disagree."""

    def __init__(self, directory: Path, seen: Sequence[Profile], parts: Sequence[Sequence[Part]]) -> None:
        self._directory, self._seen, self._parts = directory, seen, parts
        self._keys = [list(_keys(mine, rank, tuple(range(len(seen))))) for rank, mine in enumerate(parts)]
        self._found: dict[_Key, dict[int, Part]] = {}
        for rank, keys in enumerate(self._keys):
            for key, part in zip(keys, parts[rank], strict=True):
                self._found.setdefault(key, {})[rank] = part
        # in turn as on the rank that comes to it last
        place: dict[_Key, int] = {}
        for keys in self._keys:
            for k, key in enumerate(keys):
                place[key] = max(k, place.get(key, 0))
        self._order = sorted(self._found, key=lambda key: (place[key], key[1], key[0], key[3]))
        self._index = {key: k for k, key in enumerate(self._order)}
        self._assumed = 0

    def trace(self) -> TrainingTrace:
        if not self._order:
            raise TraceError(str(self._directory), "at least one collective", "none")
        starts = [p.start + p.base - self._seen[0].base for p in self._seen]
        collectives = tuple(self._collective(key) for key in self._order)
        return TrainingTrace(
            collectives=collectives, gaps=tuple(self._gaps(r) for r in range(len(self._seen))),
            tails=tuple(self._tail(r) for r in range(len(self._seen))),
            start_spread=(max(starts) - min(starts)) * 1e-6,
            parts=tuple(tuple(self._index[k] for k in keys) for keys in self._keys), steps=self._seen[0].steps,
            assumed=f"{self._assumed} broadcasts whose root is not said start at the first rank of their group"
            if self._assumed else "")

    def _collective(self, key: _Key) -> TraceCollective:
        """What the ranks recorded of one collective. Raises TraceError where one is missing or disagrees."""
        at, ranks = self._found[key], key[1]
        first = next(iter(at.values())).call
        missing = [r for r in ranks if r not in at]
        if missing:
            where = f"rank {missing[0]}"
            peer = " for it" if key[2] else f" number {key[3] + 1} of group {key[0] or '0'}"
            raise TraceError(first.where, f"{first.op}{peer} on every rank of {', '.join(map(str, ranks))[:80]}",
                             f"none on {where}", "the ranks disagree on their collectives")
        calls = [at[r].call for r in ranks]
        if key[2]:
            return _send(ranks, calls[0], calls[1])
        for other in calls[1:]:
            if other.op != calls[0].op or (other.seq >= 0 and calls[0].seq >= 0 and other.seq != calls[0].seq):
                raise TraceError(other.where, f"{calls[0].op} number {calls[0].seq}, as in {calls[0].where}",
                                 f"{other.op} number {other.seq}", "the ranks disagree on their collectives")
            same_size(calls[0], other)
        return self._of_all(ranks, calls)

    def _of_all(self, ranks: tuple[int, ...], calls: list[Call]) -> TraceCollective:
        first, n = calls[0], len(calls)
        sizes = tuple(c.size for c in calls)
        kind: CollectiveName | Literal["barrier"]
        match first.kind:
            case "gather" | "scatter":
                return TraceCollective(first.op, "all-to-all", sizes, _rooted(ranks, calls), ranks)
            case "send" | "recv":
                raise AssertionError("a pair is no group")
            case other:
                kind = other
        if kind == "broadcast":
            root = first.root if len({c.root for c in calls}) == 1 else -1
            self._assumed += root < 0
            ranks = (root, *(r for r in ranks if r != root)) if root >= 0 else ranks
        elif kind == "all-to-all" and any(c.send for c in calls):
            return TraceCollective(first.op, kind, sizes, _splits(ranks, calls), ranks)
        elif first.op == "all_to_allv":
            raise TraceError(first.where, "its splits in full", "a list that is cut short",
                             "put the execution traces beside the profiles")
        if kind in ("all-to-all", "reduce-scatter") and first.size % n:
            raise TraceError(first.where, f"bytes that {n} ranks can share equally", f"{first.size} bytes")
        return TraceCollective(first.op, kind, sizes, None, ranks)

    def _gaps(self, rank: int) -> tuple[Gap, ...]:
        return tuple(self._gap(rank, p.kernel.start) for p in self._parts[rank])

    def _tail(self, rank: int) -> Gap:
        """From the end of the last kernel to the end of the step; zero where a kernel outlasts the step."""
        return self._gap(rank, max([self._seen[rank].end, *(p.kernel.end for p in self._parts[rank])]))

    def _gap(self, rank: int, moment: float) -> Gap:
        """The time on a rank between the latest kernel that was over at `moment` and `moment`."""
        over = [(p.kernel.end, i) for i, p in enumerate(self._parts[rank])
                if p.kernel.end <= moment and p.kernel.start < moment]
        end, after = max(over, default=(self._seen[rank].start, -1))
        return Gap(max(0.0, moment - end) * 1e-6, self._index[self._keys[rank][after]] if after >= 0 else -1)


def _keys(parts: Sequence[Part], rank: int, everyone: tuple[int, ...]) -> Iterator[_Key]:
    """Which collective each part of a rank is: the k-th of its group, or of its pair."""
    numbers: dict[tuple[str, tuple[int, ...], str], int] = {}
    for part in parts:
        call = part.call
        ranks, p2p = call.ranks or everyone, ""
        if call.kind in ("send", "recv"):
            if call.root < 0 or call.root == rank:
                raise TraceError(call.where, f"the other end of the {call.op}", "none",
                                 "put the execution traces beside the profiles")
            ranks, p2p = ((rank, call.root) if call.kind == "send" else (call.root, rank)), "p2p"
        group = (call.group if call.ranks and call.group != "0" else "", ranks, p2p)
        numbers[group] = numbers.get(group, -1) + 1
        yield (*group, numbers[group])


def _send(ranks: tuple[int, ...], send: Call, receive: Call) -> TraceCollective:
    if send.size != receive.size:
        raise TraceError(receive.where, f"{send.size} bytes, as in {send.where}", f"{receive.size} bytes")
    return TraceCollective("send", "send", (send.size, 0), None, ranks)


def _splits(ranks: tuple[int, ...], calls: list[Call]) -> tuple[tuple[int, ...], ...]:
    """Row i: what the i-th sends. Raises TraceError where the j-th expects something else."""
    short = next((c for c in calls if not c.send), None)
    if short is not None:
        raise TraceError(short.where, "its splits in full", "none, or a list that is cut short",
                         "put the execution traces beside the profiles")
    for i, sender in enumerate(calls):
        for j, receiver in enumerate(calls):
            if sender.send[j] != receiver.receive[i]:
                raise TraceError(receiver.where, f"{sender.send[j]} bytes from rank {ranks[i]} at rank {ranks[j]}, as "
                                 f"{sender.where} sends them", f"{receiver.receive[i]} bytes")
    return tuple(c.send for c in calls)


def _rooted(ranks: tuple[int, ...], calls: list[Call]) -> tuple[tuple[int, ...], ...]:
    """A gather: everyone's input to the root. A scatter: what everyone gets, from the root."""
    first, root = calls[0], calls[0].root
    if root not in ranks or any(c.root != root for c in calls):
        raise TraceError(first.where, f"the root of the {first.op}", "none that its ranks agree on",
                         "put the execution traces beside the profiles")
    at = ranks.index(root)
    if first.kind == "gather":
        return tuple(tuple(c.size if j == at else 0 for j in range(len(ranks))) for c in calls)
    return tuple(tuple(c.received if i == at else 0 for c in calls) for i in range(len(ranks)))
