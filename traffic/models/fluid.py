"""Workloads as fluids on the paths that their connections take: how long steps last where flows share links.

    a transfer's bytes flow at the max-min fair rate of its connection (maxmin.py) among all that flow now;
    whenever one of them ends, or starts, or a link changes its rate, all rates are new

The dependencies are those of the engine: a connection carries one thing after another, in slices; a transfer that
passes on another has a slice when it has come in; a step starts when the one before it is over on every rank. The
last bytes of a slice take the path's latency besides. No queues, no losses, no start-up.
Source: docs/reference/methods.md: predictions.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from topologies.model.addressing import ETHERNET_HEADER, VXLAN_OVERHEAD
from topologies.model.fabric import Fabric
from traffic.collectives import part
from traffic.models.maxmin import Course, fair_rates
from traffic.transports.flow import SLICE
from traffic.transports.overhead import Overhead
from traffic.transports.registry import transport
from traffic.workloads.jitter import lengths
from traffic.workloads.lowering import Program
from traffic.workloads.workload import Compute, Transfer

MAX_SLICES = 100_000    # of all steps together; slices become larger where there would be more
MAX_TRANSFERS, MAX_CONNECTIONS = 200_000, 600   # beyond them nothing is predicted: it would take minutes
MAX_KEPT = 10_000       # sets of lanes whose rates are remembered
EPSILON = 1e-6          # bytes that are as good as none

Pair = tuple[int, int, int]     # ranks from and to, number of the connection between them
Lane = tuple[str, int, int, int, bool]      # workload, its Pair, whether against the connection's direction


@dataclass(frozen=True, slots=True)
class Path:
    """Directions that one connection crosses: 'h1->leaf1', 'leaf1->spine2' ...; there, and back."""

    there: tuple[str, ...]
    back: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RateChange:
    """From second t of the phase on, a direction has another rate, bit/s."""

    t: float
    direction: str
    rate: float


@dataclass(frozen=True, slots=True)
class Step:
    """One iteration; negative ones are warm-up. Seconds of the phase."""

    iteration: int
    start: float
    end: float


def fluid_steps(programs: Sequence[Program], paths: Mapping[str, Mapping[Pair, Path]], fabric: Fabric,
                changes: Iterable[RateChange] = ()) -> dict[str, list[Step]]:
    """Workload -> its steps, all workloads side by side from second 0.

    paths: workload -> path of each of its connections. Raises Unpredictable.
    """
    runs = {p.workload.name: p.workload.warmup + p.workload.iterations for p in programs}
    transfers = sum(len(p.ops) * runs[p.workload.name] for p in programs)
    connections = sum(map(len, paths.values()))
    if transfers > MAX_TRANSFERS or connections > MAX_CONNECTIONS:
        raise Unpredictable(f"{connections} connections and {transfers} operations, of at most {MAX_CONNECTIONS} and "
                            f"{MAX_TRANSFERS}: the model would take minutes")
    slices = sum(p.total_bytes * runs[p.workload.name] for p in programs) / SLICE
    overheads = {p.workload.name: transport(p.workload.transport).overhead for p in programs}
    network = _Network(fabric, paths, overheads, changes)
    jobs = [_Job(p, network, SLICE * max(1, round(slices / MAX_SLICES))) for p in programs]
    for job in jobs:
        job.begin()
    network.run()
    return {job.program.workload.name: job.steps for job in jobs}


def course(path: Path, fabric: Fabric, overhead: Overhead, *, reverse: bool = False) -> Course:
    """What a byte of payload weighs on the links of a connection, data and ACKs."""
    data, acks = (path.back, path.there) if reverse else (path.there, path.back)
    mtu = fabric.spec.mtu
    return Course({d: overhead.wire_bytes(1, 0, mtu, _outer(d, fabric)) for d in data},
                  {d: overhead.wire_bytes(0, 1, mtu, _outer(d, fabric)) for d in acks})


def _outer(direction: str, fabric: Fabric) -> int:
    return VXLAN_OVERHEAD if fabric.link(direction).kind == "fabric" else 0


def _latency(directions: Iterable[str], fabric: Fabric) -> float:
    """Seconds of a full frame over these links, which the last bytes have to wait for."""
    frame = fabric.spec.mtu + ETHERNET_HEADER
    return sum(fabric.link(d).delay + 8 * (frame + _outer(d, fabric)) / fabric.link(d).rate for d in directions)


class Unpredictable(Exception):     # noqa: N818 - no error of anybody: the run goes on without the prediction
    """The model cannot tell how long these workloads take, and why."""


class _Network:
    """Lanes with slices in them, and a clock."""

    def __init__(self, fabric: Fabric, paths: Mapping[str, Mapping[Pair, Path]], overheads: Mapping[str, Overhead],
                 changes: Iterable[RateChange]) -> None:
        self.now = 0.0
        self._capacity = {d: k.rate for k in fabric.links for d in k.directions}
        self._courses: dict[Lane, Course] = {}
        self._latency: dict[Lane, float] = {}
        for name, overhead in overheads.items():
            for pair, path in paths[name].items():
                for reverse, directions in ((False, path.there), (True, path.back)):
                    self._courses[(name, *pair, reverse)] = course(path, fabric, overhead, reverse=reverse)
                    self._latency[(name, *pair, reverse)] = _latency(directions, fabric)
        self._queues: dict[Lane, deque[tuple[float, Callable[[], None]]]] = {}
        self._left: dict[Lane, float] = {}      # of the first slice in each lane that has one
        self._rates: dict[frozenset[Lane], dict[Lane, float]] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        for change in changes:
            self.at(change.t, partial(self._change, change))

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._number), what))

    def _change(self, change: RateChange) -> None:
        self._capacity[change.direction] = change.rate
        self._rates.clear()

    def send(self, lane: Lane, size: float, arrived: Callable[[], None]) -> None:
        """Put a slice into a lane, behind those that are there."""
        queue = self._queues.setdefault(lane, deque())
        queue.append((size, arrived))
        if len(queue) == 1:
            self._left[lane] = size

    def run(self) -> None:
        """Until nothing flows and nothing is due."""
        while self._agenda or self._left:
            rates = self._fair()
            ends = min((left * 8 / rates[lane] for lane, left in self._left.items() if rates[lane] > 0),
                       default=float("inf"))
            due = self._agenda[0][0] if self._agenda else float("inf")
            until = min(self.now + ends, due)
            if until == float("inf"):
                name = next(iter(self._left))[0]
                raise Unpredictable(f"a transfer of {name} waits forever: a link on its way has rate 0")
            for lane in self._left:
                self._left[lane] -= rates[lane] * (until - self.now) / 8 if rates[lane] < float("inf") \
                    else self._left[lane]
            self.now = until
            self._take_ends()
            while self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()

    def _fair(self) -> dict[Lane, float]:
        key = frozenset(self._left)
        if key not in self._rates:
            if len(self._rates) > MAX_KEPT:
                self._rates.clear()
            self._rates[key] = fair_rates({lane: self._courses[lane] for lane in self._left}, self._capacity)
        return self._rates[key]

    def _take_ends(self) -> None:
        for lane in [lane for lane, left in self._left.items() if left <= EPSILON]:
            queue = self._queues[lane]
            _, arrived = queue.popleft()
            self.at(self.now + self._latency[lane], arrived)
            if queue:
                self._left[lane] = queue[0][0]
            else:
                del self._left[lane]


@dataclass(slots=True)
class _Portion:
    """A transfer's part on one connection: slices that arrived, and who passes them on."""

    task: _Task
    lane: Lane
    sizes: list[float]
    got: int = 0
    sent: int = 0
    open: bool = False
    source: _Portion | None = None
    followers: list[_Portion] = field(default_factory=list)


@dataclass(slots=True)
class _Task:
    op: Compute | Transfer
    dependents: list[str] = field(default_factory=list)
    portions: list[_Portion] = field(default_factory=list)
    waits: int = 0
    left: int = 0


class _Job:
    """One workload: its operations, in iteration after iteration."""

    def __init__(self, program: Program, network: _Network, slice_size: int) -> None:
        self.program, self._network, self._slice = program, network, slice_size
        self.steps: list[Step] = []
        self._iteration = -program.workload.warmup
        self._tasks = {op.id: _Task(op) for op in program.ops}
        for task in self._tasks.values():
            for name in task.op.after:
                self._tasks[name].dependents.append(task.op.id)
            if isinstance(task.op, Transfer) and task.op.size:
                task.portions = self._portions(task, task.op)
        for task in self._tasks.values():
            if isinstance(task.op, Transfer) and task.op.behind:
                for mine, theirs in zip(task.portions, self._tasks[task.op.behind].portions, strict=True):
                    mine.source = theirs
                    theirs.followers.append(mine)

    def _portions(self, task: _Task, op: Transfer) -> list[_Portion]:
        flows = self.program.workload.flows_per_pair
        pair = (op.dst, op.src) if op.reply else (op.src, op.dst)
        sizes = [part(op.size, flows, k) for k in range(flows)]
        return [_Portion(task, (self.program.workload.name, *pair, k, bool(op.reply)), self._slices(size))
                for k, size in enumerate(sizes) if size]

    def _slices(self, size: int) -> list[float]:
        whole, rest = divmod(size, self._slice)
        return [float(self._slice)] * whole + ([float(rest)] if rest else [])

    def begin(self) -> None:
        """Start the next iteration now."""
        self._start = self._network.now
        self._unfinished = len(self._tasks)
        self._lengths = lengths(self.program.workload, self._iteration)
        for task in self._tasks.values():
            task.waits = len(task.op.after) + 1     # the one is the start itself
            task.left = len(task.portions)
            for p in task.portions:
                p.got = p.sent = 0
                p.open = False
        for task in self._tasks.values():
            at = task.op.at if isinstance(task.op, Transfer) else 0.0
            self._network.at(self._start + at, partial(self._ready, task))

    def _ready(self, task: _Task) -> None:
        """One less to wait for."""
        task.waits -= 1
        if task.waits:
            return
        if isinstance(task.op, Compute):
            seconds = self._lengths.get(task.op.id, task.op.seconds)
            self._network.at(self._network.now + seconds, partial(self._over, task))
        elif not task.portions:
            self._over(task)
        for portion in task.portions:
            portion.open = True
            self._push(portion)

    def _push(self, portion: _Portion) -> None:
        """Give the network every slice that is there."""
        there = portion.source.got if portion.source else len(portion.sizes)
        while portion.open and portion.sent < there:
            self._network.send(portion.lane, portion.sizes[portion.sent], partial(self._arrived, portion))
            portion.sent += 1

    def _arrived(self, portion: _Portion) -> None:
        portion.got += 1
        for follower in portion.followers:
            self._push(follower)
        if portion.got == len(portion.sizes):
            portion.task.left -= 1
            if not portion.task.left:
                self._over(portion.task)

    def _over(self, task: _Task) -> None:
        for name in task.dependents:
            self._ready(self._tasks[name])
        self._unfinished -= 1
        if not self._unfinished:
            self.steps.append(Step(self._iteration, self._start, self._network.now))
            self._iteration += 1
            if self._iteration < self.program.workload.iterations:
                self.begin()
