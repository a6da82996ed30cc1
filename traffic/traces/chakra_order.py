"""In which order the nodes of a Chakra trace run: one at a time on each stream of a rank.

A rank has a CPU, a GPU that computes and a GPU that communicates; each does one node at a time, and of those
that are ready the one with the lowest id. A receive needs no stream, a collective holds the streams of all of its
ranks until it is over. Source: ASTRA-sim, workload/HardwareResource.cc and Workload.cc (issue_dep_free_nodes).

    rank 0   gpu   comp 1 | comp 4 |        comp 5 |
             comm           coll 2 ........| coll 3 ...
    rank 1   gpu   comp 1 .........|
             comm                  | coll 2 | coll 3 ...

Which collective of one rank is which of another follows from that order: the k-th that a rank begins in a group is
the k-th of every other rank of it; the k-th send with a tag meets the k-th receive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from topologies.model.errors import TraceError
from traffic.traces.chakra_groups import Group


@dataclass(slots=True, eq=False)
class Step:
    """A node of a rank with what it does: seconds (of a collective or a send as far as the hosts' links say).

    stream   "cpu", "gpu" or "comm"; "" takes none (receives, metadata)
    group    of a collective
    pair     of a send or a receive: source, destination, tag
    """

    where: str
    rank: int
    id: int
    deps: tuple[int, ...]
    stream: str
    seconds: float = 0.0
    group: Group | None = None
    pair: tuple[int, int, int] | None = None
    is_receive: bool = False
    waits: int = 0


@dataclass(slots=True)
class Order:
    """What follows: the nodes of each stream in turn, collectives by their parts, receives and their sends."""

    streams: dict[tuple[int, str], list[Step]] = field(default_factory=dict)
    collectives: list[list[Step]] = field(default_factory=list)
    sends: dict[Step, Step] = field(default_factory=dict)


def order(where: str, ranks: Sequence[Sequence[Step]]) -> Order:
    """The order of all nodes. Raises TraceError with what waits for what when nothing can go on."""
    run = _Run(ranks)
    run.all()
    if run.left:
        raise TraceError(where, "an order of collectives in which every rank can go on", "; ".join(run.stuck()),
                         "ranks begin the collectives of their groups in different orders")
    return run.order


class _Run:
    """The trace played once, on a clock of its own."""

    def __init__(self, ranks: Sequence[Sequence[Step]]) -> None:
        self.order = Order()
        self.left = sum(map(len, ranks))
        self._ready: dict[tuple[int, str], list[tuple[int, int, Step]]] = {}
        self._busy: dict[tuple[int, str], Step] = {}
        self._events: list[tuple[float, int, Step]] = []
        self._changed: set[tuple[int, str]] = set()     # streams that may begin something
        self._serial = 0
        self._met: dict[tuple[Group, int], list[Step]] = {}
        self._begun: dict[tuple[int, Group], int] = {}
        self._posted: dict[tuple[tuple[int, int, int], bool], deque[tuple[float, Step]]] = {}
        self._dependents: dict[tuple[int, int], list[Step]] = {}
        for steps in ranks:
            for step in steps:
                step.waits = len(step.deps)
                for id_ in step.deps:
                    self._dependents.setdefault((step.rank, id_), []).append(step)
        for steps in ranks:
            for step in steps:
                if not step.waits:
                    self._offer(step, 0.0)

    def all(self) -> None:
        """Play until nothing is under way."""
        now = 0.0
        while True:
            self._dispatch(now)
            if not self._events:
                return
            now = self._events[0][0]
            while self._events and self._events[0][0] == now:
                self._over(heappop(self._events)[2], now)

    def stuck(self) -> Iterator[str]:
        """One sentence for each of the first ranks whose collective waits for others."""
        for step in [s for s in self._busy.values() if s.group is not None][:3]:
            assert step.group is not None  # noqa: S101 - chosen above
            yield f"rank {step.rank} waits for the others of {step.group} in {step.where}"

    def _offer(self, step: Step, now: float) -> None:
        if step.stream:
            self._serial += 1
            key = (step.rank, step.stream)
            heappush(self._ready.setdefault(key, []), (step.id, self._serial, step))
            self._changed.add(key)
        else:
            self._begin(step, now)

    def _dispatch(self, now: float) -> None:
        changed, self._changed = sorted(self._changed), set()
        for key in changed:
            ready = self._ready.get(key)
            if ready and key not in self._busy:
                step = heappop(ready)[2]
                self._busy[key] = step
                self.order.streams.setdefault(key, []).append(step)
                self._begin(step, now)

    def _begin(self, step: Step, now: float) -> None:
        if step.group is not None:
            self._join(step, step.group, now)
        elif step.pair is None:
            self._at(now + step.seconds, step)
        elif step.is_receive:
            self._meet(step, step.pair, now)
        else:
            self._at(now + step.seconds, step)
            self._meet(step, step.pair, now + step.seconds)

    def _join(self, step: Step, group: Group, now: float) -> None:
        k = self._begun.get((step.rank, group), 0)
        self._begun[step.rank, group] = k + 1
        parts = self._met.setdefault((group, k), [])
        parts.append(step)
        if len(parts) == len(group.ranks):
            by_rank = {part.rank: part for part in self._met.pop((group, k))}
            self.order.collectives.append([by_rank[rank] for rank in group.ranks])
            for part in parts:
                self._at(now + step.seconds, part)

    def _meet(self, step: Step, pair: tuple[int, int, int], at: float) -> None:
        """A send whose bytes arrive `at`, or a receive that is posted then."""
        others = self._posted.get((pair, not step.is_receive))
        if not others:
            self._posted.setdefault((pair, step.is_receive), deque()).append((at, step))
            return
        when, other = others.popleft()
        receive, send = (step, other) if step.is_receive else (other, step)
        self.order.sends[receive] = send
        self._at(max(at, when), receive)

    def _at(self, when: float, step: Step) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, step))

    def _over(self, step: Step, now: float) -> None:
        self.left -= 1
        if step.stream:
            del self._busy[step.rank, step.stream]
            self._changed.add((step.rank, step.stream))
        for dependent in self._dependents.get((step.rank, step.id), ()):
            dependent.waits -= 1
            if not dependent.waits:
                self._offer(dependent, now)
