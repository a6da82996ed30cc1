"""The workers of one replica while they compute: steps go through its stages, and what they exchange is real bytes.

    step ──> stage 0: [compute][all-reduce][compute][all-reduce] ──activations──> stage 1: ... ──token ids──> over
                 ▲ one step at a time; a pipeline has one of each batch under way

Workers compute alike, so they begin to exchange at once; a group of layers begins when every worker has
the sum of the one before. A stage takes its next step as soon as it has computed this one; activations
travel meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from time import monotonic

from topologies.model.errors import RunError
from traffic.collectives import Move, schedule
from traffic.inference.batching import Step
from traffic.inference.links import Links
from traffic.inference.parallel import Pair, Parallel, Stages, pairs_of, ring_pairs
from traffic.inference.replica import StepOver
from traffic.runtime.timers import Timers
from traffic.transports.flow import Flow, Lane
from traffic.transports.pool import Lease
from traffic.workloads.workload import Collective

Over = Callable[[], None]


@lru_cache(maxsize=4096)
def ring_moves(workers: int, size: int) -> tuple[Move, ...]:
    """An all-reduce of `size` bytes, at least one for each worker."""
    return schedule(Collective("ring", "all-reduce", tuple(range(workers)), size))


class Ring:
    """The all-reduces of one stage, one at a time. lanes: from each worker to its right neighbour.

    The flows of a size are kept: a batch that decodes asks for the same ones at each step.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._flows: dict[int, list[tuple[Lane, Flow]]] = {}
        self._left = 0
        self._over: Over | None = None

    def start(self, size: int, over: Over) -> None:
        """`over` when every worker has the whole sum."""
        flows = self._flows.get(size)
        if flows is None:
            flows = self._flows[size] = self._laid(size)
        self._left, self._over = len(flows), over
        for _, flow in flows:
            flow.reset()
        for lane, flow in flows:
            flow.go([lane])

    def _laid(self, size: int) -> list[tuple[Lane, Flow]]:
        found: dict[str, tuple[Lane, Flow]] = {}
        for move in ring_moves(len(self._lanes), size):
            flow = Flow([move.size], self._arrived)
            if move.behind:
                flow.pass_on(found[move.behind][1])
            found[move.id] = self._lanes[move.src], flow
        return list(found.values())

    def _arrived(self, _flow: Flow) -> None:
        self._left -= 1
        if not self._left and self._over is not None:
            self._over()


@dataclass(slots=True)
class Pass:
    """A step on its way through the stages. Times of time.monotonic().

    tokens, decoding   of the step, and how many of them decode        made     tokens that it makes at most
    seconds            that a stage computes                           since    when it came to the stage it waits for
    compute, fabric, waited   seconds so far: the longest way through, so that they add up to its time
    """

    batch: int
    tokens: int
    decoding: int
    made: int
    seconds: float
    start: float
    over: StepOver
    since: float
    compute: float = 0.0
    fabric: float = 0.0
    waited: float = 0.0


class Stage:
    """Computes and exchanges one step at a time, in the order in which they come."""

    def __init__(self, parallel: Parallel, timers: Timers, ring: Ring | None, done: Callable[[Pass], None]) -> None:
        self._parallel, self._timers, self._ring, self._done = parallel, timers, ring, done
        self._waiting: deque[Pass] = deque()
        self._is_busy = self._is_over = False

    def take(self, step: Pass, now: float) -> None:
        """A step has come."""
        step.since = now
        self._waiting.append(step)
        if not self._is_busy:
            self._next(now)

    def stop(self) -> None:
        """Forget everything."""
        self._is_over = True

    def _next(self, now: float) -> None:
        self._is_busy = bool(self._waiting) and not self._is_over
        if self._is_busy:
            step = self._waiting.popleft()
            step.waited += now - step.since
            self._compute(step, now, 0)

    def _compute(self, step: Pass, start: float, group: int) -> None:
        """A group of layers, from `start` on."""
        seconds = step.seconds / max(self._parallel.exchanges, 1)
        step.compute += seconds
        self._timers.at(start + seconds, partial(self._exchange, step, start + seconds, group))

    def _exchange(self, step: Pass, due: float, group: int) -> None:
        if self._is_over:
            return
        if self._ring is None:
            self._leave(step, due)
        else:
            self._ring.start(self._parallel.reduce_size(step.tokens), partial(self._summed, step, due, group))

    def _summed(self, step: Pass, since: float, group: int) -> None:
        now = monotonic()
        step.fabric += now - since
        if group + 1 < self._parallel.exchanges:
            self._compute(step, now, group + 1)
        else:
            self._leave(step, now)

    def _leave(self, step: Pass, now: float) -> None:
        step.since = now
        self._done(step)
        self._next(now)


class Workers:
    """The pace of one replica on several hosts.

    over     called with each step that is over, and when       failed   called when a connection between workers broke
    """

    def __init__(self, replica: str, parallel: Parallel, timers: Timers, links: Links,
                 reported: Callable[[Pass, float], None], failed: Over) -> None:
        self._hosts: Stages = parallel.stages[replica]
        self._parallel, self._timers, self._links = parallel, timers, links
        self._reported, self._failed = reported, failed
        self._stages: list[Stage] = []
        self._leases: dict[Pair, Lease] = {}

    @property
    def pairs(self) -> list[Pair]:
        """(sender, receiver) of the connections that it holds."""
        return pairs_of(self._hosts)

    def hold(self) -> None:
        """Take the connections, which stand, for as long as the replica lives."""
        self._leases = {pair: self._links.lease(*pair, self._failed) for pair in self.pairs}
        for number, hosts in enumerate(self._hosts):
            ring = Ring([self._lane(pair) for pair in ring_pairs(hosts)]) if len(hosts) > 1 else None
            self._stages.append(Stage(self._parallel, self._timers, ring, partial(self._computed, number)))

    def _lane(self, pair: Pair) -> Lane:
        connection = self._leases[pair].connection
        if connection is None:
            raise RunError(f"connection {pair[0]} -> {pair[1]}", "to stand before traffic starts", "it does not")
        return connection.forward

    def run(self, batch: int, step: Step, seconds: float, start: float, over: StepOver) -> None:
        """A step enters the first stage."""
        made = len(step.decode) + sum(s.done + n >= s.prompt for s, n in step.prefill)
        tokens = len(step.decode) + sum(n for _, n in step.prefill)
        self._stages[0].take(Pass(batch, tokens, len(step.decode), made, seconds, start, over, start), start)

    def stop(self) -> None:
        """The replica is dead: what is on its way is lost."""
        for stage in self._stages:
            stage.stop()
        for lease in self._leases.values():
            lease.abandon()

    def _computed(self, number: int, step: Pass) -> None:
        """A stage is through with a step."""
        if number + 1 < len(self._stages):
            here, there = self._hosts[number:number + 2]
            self._send(step, list(zip(here, there, strict=True)), self._parallel.hand_size(step.tokens),
                       self._stages[number + 1].take)
        elif number:
            self._send(step, [(self._hosts[-1][0], self._hosts[0][0])], self._parallel.back_size(step.made), self._end)
        else:
            self._end(step, step.since)

    def _send(self, step: Pass, pairs: list[Pair], size: int, then: Callable[[Pass, float], None]) -> None:
        """Over each of the pairs; then what comes next, when the last byte is there."""
        left = len(pairs)

        def arrived() -> None:
            nonlocal left
            left -= 1
            if not left:
                now = monotonic()
                step.fabric += now - step.since
                then(step, now)

        for pair in pairs:
            self._leases[pair].ask(size, arrived)

    def _end(self, step: Pass, now: float) -> None:
        self._reported(step, now)
        step.over(now, step.fabric)
