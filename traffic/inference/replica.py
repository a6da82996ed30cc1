"""A replica's clock: steps of its batch that end when the roofline says, and tokens that leave as they are made.

    prompt whole --> (fetch) --> queue --admitted: cache looked up--> [step][step][step] ... one token a step to each
                                                                         └─ messages of `coalesce` tokens to the gateway

Who says how long a step takes is its pace: the roofline alone, or workers that exchange over the fabric
(traffic/inference/workers.py). A replica has as many batches as pipeline stages, each with its share of the memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Protocol

from traffic.inference.batching import Batch, Sequence, Step
from traffic.inference.kv.cache import Hierarchy, Tier
from traffic.inference.kv.carrier import Carrier, Fetch
from traffic.inference.kv.shipping import computed
from traffic.inference.plan import Serving
from traffic.inference.records import ReplicaRecord
from traffic.inference.requests import Request
from traffic.inference.routing import ReplicaView
from traffic.runtime.timers import Timers

Emit = Callable[[int], None]        # tokens of a message
StepOver = Callable[[float, float], None]   # when it was over, by the clock of the model; seconds of it on the network


class Pace(Protocol):
    """Lets steps take their time."""

    def run(self, batch: int, step: Step, seconds: float, start: float, over: StepOver) -> None:
        """A step of a batch that takes each of the replica's GPUs so many seconds, from `start` on."""

    def stop(self) -> None:
        """The replica is dead."""


class Roofed:
    """A replica on one host: a step takes what the roofline says."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers

    def run(self, _batch: int, _step: Step, seconds: float, start: float, over: StepOver) -> None:
        self._timers.at(start + seconds, partial(over, start + seconds, 0.0))

    def stop(self) -> None:
        """Nothing to undo."""


@dataclass(slots=True, eq=False)
class Attempt:
    """A request at one replica. Stamps of time.monotonic(); None until reached.

    already    tokens that an earlier replica had made before it failed: they are part of the prompt now
    hand_over  called when the first token is made: the rest is decoded elsewhere
    ship       called with what share of its KV cache is computed, where that goes over layer by layer
    covered    tokens of its prompt whose KV is there when the steps so far are over
    looked     number of its look into the stores     brought  blocks that came from there
    ready      tokens that came with a KV cache that was computed elsewhere
    fabric     seconds that the replica's workers exchanged in the steps of its prefill
    """

    request: Request
    emit: Emit
    already: int = 0
    hand_over: Callable[[], None] | None = None
    ship: Callable[[float], None] | None = None
    ready: int = 0
    arrived: float | None = None
    admitted: float | None = None
    made: float | None = None
    computed: float | None = None       # its last token
    hit: dict[str, int] = field(default_factory=dict)
    hit_tokens: int = 0
    order: int = -1
    kept: int = -1
    looked: int = -1
    fetch: Fetch | None = None  # from the stores, while it runs
    brought: Set[int] = frozenset()
    fetched: float | None = None
    sequence: Sequence | None = None
    covered: int = 0
    unsent: int = 0             # tokens made and not yet in a message
    finished: bool = False
    fabric: float = 0.0

    @property
    def prompt(self) -> int:
        return self.request.input + self.already

    @property
    def target(self) -> int:
        return 1 if self.hand_over is not None else self.request.output - self.already


def tiers_of(serving: Serving) -> Hierarchy:
    """The tiers of one replica's prefix cache, empty."""
    spec = serving.spec
    block = spec.block * serving.roofline.kv_bytes_per_token
    sizes = {"gpu": spec.gpu_cache, "host": spec.host_cache}
    return Hierarchy([Tier(name, size, block) for name, size in sizes.items() if size])


class Replica:
    """One replica of a workload. An attempt's tokens go to whoever submitted it, through `emit`."""

    def __init__(self, name: str, serving: Serving, pace: Pace, timers: Timers, carrier: Carrier | None = None) -> None:
        self.name, self._serving, self._pace, self._timers, self._carrier = name, serving, pace, timers, carrier
        self._roofline, spec = serving.roofline, serving.spec
        self._block_bytes = spec.block * self._roofline.kv_bytes_per_token
        self.cache = tiers_of(serving)
        n = spec.pipeline
        self.batches = [Batch(spec.batch // n, spec.chunk, serving.kv_tokens // n, self._found) for _ in range(n)]
        self._attempts: dict[Sequence, Attempt] = {}
        self._busy: set[int] = set()        # numbers of the batches of which a step is under way
        self.is_alive = True
        self._assigned: set[Attempt] = set()        # routed here and not over
        self._coming: dict[Attempt, int] = {}       # sent here and in no batch yet -> tokens to compute
        self._events = itertools.count() if carrier is None else carrier.events     # look-ups, contexts kept
        self._load = 0.0            # seconds that the next step waits for blocks from the host's memory
        self.steps, self.busy, self.kv_peak = 0, 0.0, 0
        self._since = monotonic()

    @property
    def outstanding(self) -> int:
        """Attempts that were routed here and are not over: from when the gateway has chosen, not when they arrive."""
        return len(self._assigned)

    def assign(self, attempt: Attempt) -> None:
        """The gateway has chosen this replica for it."""
        self._assigned.add(attempt)

    def expect(self, attempt: Attempt) -> None:
        """It is sent here."""
        self.assign(attempt)
        self._coming[attempt] = self._to_compute(attempt)

    def release(self, attempt: Attempt) -> None:
        """It is over here, or goes on elsewhere. Twice is fine."""
        self._assigned.discard(attempt)

    def _to_compute(self, attempt: Attempt) -> int:
        """Tokens of its prompt that no cache has, as far as is known by now; the last one is always computed."""
        blocks = attempt.request.blocks
        if attempt.ready:       # came with its KV cache
            return 0
        found = self.cache.match(blocks, attempt.brought).total if blocks else 0
        return max(attempt.prompt - found * self._serving.spec.block, 1)

    def view(self, request: Request) -> ReplicaView:
        """As a routing policy sees it."""
        block, left = self._serving.spec.block, sum(b.prefill_left for b in self.batches)
        contexts = self.held + sum(b.waiting_tokens for b in self.batches) + sum(a.prompt for a in self._coming)
        return ReplicaView(
            self.name, self.outstanding, (left + sum(self._coming.values())) / block, contexts / block,
            self.cache.match(request.blocks).total if request.blocks else 0)

    @property
    def held(self) -> int:
        """Tokens of KV memory in use."""
        return sum(b.held for b in self.batches)

    def submit(self, attempt: Attempt) -> None:
        """Its prompt has arrived in full."""
        attempt.arrived = monotonic()
        if not self.is_alive:
            self._coming.pop(attempt, None)
        elif self._carrier is None or attempt.ready:
            self._join(attempt, attempt.arrived)
        else:
            fetch = attempt.fetch = self._carrier.fetch(
                self.name, attempt.request, attempt.prompt, self.cache, partial(self._fetched, attempt))
            attempt.looked = fetch.order
            fetch.start()

    def _fetched(self, attempt: Attempt, brought: Set[int]) -> None:
        """What comes of its prompt's KV from the stores is here."""
        attempt.fetch, attempt.brought, attempt.fetched = None, brought, monotonic()
        self._join(attempt, attempt.fetched)

    def _join(self, attempt: Attempt, when: float) -> None:
        """It joins the queue."""
        self._coming.pop(attempt, None)
        attempt.sequence = Sequence(attempt.request.id, attempt.prompt, attempt.target)
        attempt.sequence.expected = attempt.prompt - self._to_compute(attempt)
        if attempt.ready:
            attempt.sequence.done, attempt.sequence.generated = attempt.prompt, attempt.ready
        self._attempts[attempt.sequence] = attempt
        number = min(range(len(self.batches)), key=lambda k: self.batches[k].sequences)
        self.batches[number].add(attempt.sequence)
        if number not in self._busy:
            self._begin(number, when)

    def cancel(self, attempt: Attempt) -> None:
        """Nobody waits for it any more."""
        attempt.finished = True
        if attempt.sequence is not None and self._attempts.pop(attempt.sequence, None) is not None:
            for batch in self.batches:
                batch.drop(attempt.sequence)
        self._coming.pop(attempt, None)
        if attempt.fetch is not None:
            attempt.fetch.abandon()
            attempt.fetch = None

    def kill(self) -> None:
        """It dies: nothing that it holds goes on."""
        self.is_alive = False
        self._pace.stop()
        for attempt in list(self._attempts.values()):
            self.cancel(attempt)

    # -- steps --------------------------------------------------------------------------------------

    def _begin(self, number: int, start: float) -> None:
        """Compute a batch's next step, from `start` on; a late timer does not slow the model of the GPU down."""
        step = self.batches[number].next_step()
        if step is None:
            self._busy.discard(number)
            return
        self._busy.add(number)
        load, compute = (s * self._serving.time for s in (self._load, self._roofline.seconds(step.chunks)))
        seconds, self._load = load + compute, 0.0
        self._ship(step, start + load, compute)
        self.steps += 1
        self.busy += seconds
        self.kv_peak = max(self.kv_peak, self.held)
        self._pace.run(number, step, seconds, start, partial(self._end, number, step))

    def _ship(self, step: Step, start: float, seconds: float) -> None:
        """Plan what goes to decoders while the step is computed; the very last goes when the first token is made."""
        for sequence, n in step.prefill:
            attempt = self._attempts[sequence]
            if attempt.ship is None:
                continue
            before, attempt.covered = attempt.covered, sequence.done + n
            for layers in self._serving.layer_shares:
                share = computed(before, attempt.covered, sequence.prompt, layers)
                if share < 1:
                    self._timers.at(start + seconds * layers, partial(self._shipped, attempt, share))

    def _shipped(self, attempt: Attempt, share: float) -> None:
        if self.is_alive and not attempt.finished and attempt.ship is not None:
            attempt.ship(share)

    def _end(self, number: int, step: Step, due: float, fabric: float) -> None:
        if not self.is_alive:
            return
        now = monotonic()
        for sequence, _ in step.prefill:
            if sequence in self._attempts:
                self._attempts[sequence].fabric += fabric
        for sequence in self.batches[number].finish(step):
            self._token(self._attempts[sequence], sequence, now)
        self._begin(number, due)

    def _token(self, attempt: Attempt, sequence: Sequence, now: float) -> None:
        """One token more; it leaves at once if it is the first or the last, else when a message is full."""
        first, last = sequence.generated == 1, sequence.generated >= sequence.target
        if first:
            attempt.made = now
        attempt.unsent += 1
        if last:
            attempt.finished, attempt.computed = True, now
            del self._attempts[sequence]
            self._keep(attempt)
        if first or last or attempt.unsent >= self._serving.spec.coalesce:
            tokens, attempt.unsent = attempt.unsent, 0
            attempt.emit(tokens)
        if last and attempt.hand_over is not None:
            attempt.hand_over()

    # -- prefix cache -------------------------------------------------------------------------------

    def _found(self, sequence: Sequence) -> int:
        """A request is admitted: tokens of its prompt that some tier holds."""
        attempt = self._attempts[sequence]
        attempt.admitted = monotonic()
        blocks = attempt.request.blocks
        if not blocks or not (self.cache.tiers or self._carrier):
            return 0
        hit = self.cache.lookup(blocks, attempt.brought)
        attempt.order = next(self._events)
        attempt.hit = hit.blocks
        attempt.hit_tokens = min(hit.total * self._serving.spec.block, sequence.prompt - 1)
        each = self._block_bytes / self._serving.spec.tensor        # a worker loads its share
        self._load += hit.blocks.get("host", 0) * each / self._serving.spec.host_bandwidth
        return attempt.hit_tokens

    def _keep(self, attempt: Attempt) -> None:
        """An answer is complete: the whole context may be asked for again."""
        whole = attempt.hand_over is None       # else the answer is made elsewhere
        if whole and self.cache.tiers and attempt.request.kept != attempt.request.blocks:
            self.cache.insert(attempt.request.kept)
            attempt.kept = next(self._events)
        if self._carrier is not None:
            request = attempt.request
            self._carrier.write(self.name, request.id, request.kept if whole else request.blocks)

    def record(self, phase: str, t0: float) -> ReplicaRecord:
        """What it did since it was made."""
        return ReplicaRecord(
            workload=self._serving.name, phase=phase, replica=self.name, steps=self.steps, busy=self.busy,
            start=self._since - t0, end=monotonic() - t0, preemptions=sum(b.preemptions for b in self.batches),
            kv_peak=self.kv_peak, kv_tokens=self._serving.kv_tokens)
