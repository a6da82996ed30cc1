"""KV blocks on their way between replicas and stores: real bytes over keep-alive TCP connections of each pair.

    fetch   replica ──128 B──> store     write   replica ══blocks══> store      held by the store when its last
            replica <══blocks══ store                                           byte is there

What is held where is in store.py. A fetch takes what the stores held when it was asked for, even if they forget it
meanwhile. Of a store that dies in a fetch the replica has nothing; the prompt goes on with the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from traffic.inference.kv.cache import Hierarchy
from traffic.inference.kv.store import Stores, Terms, chosen
from traffic.inference.links import CONTROL_BYTES, Links
from traffic.inference.plan import Serving
from traffic.inference.records import StoreRecord
from traffic.inference.requests import Request
from traffic.transports.pool import Lease
from traffic.workloads.specs import StoreSpec

Blocks = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Move:
    """Blocks between a replica and a store. `over` is called with whether they came whole, unless nobody wants them."""

    what: str
    request: int
    replica: str
    store: str
    blocks: Blocks
    order: int
    over: Callable[[Move, bool], None]
    start: float = field(default_factory=monotonic)
    lease: Lease | None = None
    landed: int = -1


class Fetch:
    """What one prompt waits for. `over` is called once, with the blocks that came."""

    def __init__(self, carrier: Carrier, moves: list[Move], order: int, over: Callable[[Set[int]], None]) -> None:
        self._carrier, self._moves, self.order, self._over = carrier, moves, order, over
        self._left = len(moves)
        self._brought: set[int] = set()

    def start(self) -> None:
        """Ask all stores at once; over at once where there is nothing to ask for."""
        for move in self._moves:
            move.over = self._ended
            self._carrier.go(move)
        if not self._moves:
            self._over(frozenset())

    def _ended(self, move: Move, whole: bool) -> None:
        if whole:
            self._brought.update(move.blocks)
        self._left -= 1
        if not self._left:
            self._over(self._brought)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        for move in self._moves:
            self._carrier.abandon(move)


class Carrier:
    """All that moves between the replicas and the stores of one workload.

    events   numbers everything that changes what a cache or a store holds, so that it can be done again in order
    """

    def __init__(self, serving: Serving, store: StoreSpec, links: Links, phase: str, t0: float,
                 reported: Callable[[StoreRecord], None]) -> None:
        self._serving, self._links, self._phase, self._t0, self._reported = serving, links, phase, t0, reported
        self.events = itertools.count()
        self.stores = stores_of(serving, store)
        self._terms = terms_of(serving, store)
        self._moves: set[Move] = set()

    def fetch(self, replica: str, request: Request, prompt: int, own: Hierarchy,
              over: Callable[[Set[int]], None]) -> Fetch:
        """Decide what a prompt of so many tokens fetches; nothing moves before it is started."""
        order = next(self.events)
        wanted = chosen(self._terms, self.stores, own, request.blocks, prompt, replica)
        moves = [Move("fetch", request.id, replica, store, blocks, order, _nobody)
                 for store, blocks in self.stores.shares(wanted).items()]
        return Fetch(self, moves, order, over)

    def write(self, replica: str, request: int, context: Blocks) -> None:
        """A request is over at a replica: what the stores lack of its context goes there."""
        sent = self.stores.offer(context)
        order = next(self.events) if sent else -1
        for store, blocks in sent.items():
            self.go(Move("write", request, replica, store, blocks, order, partial(self._written, context)))

    def _written(self, context: Blocks, move: Move, whole: bool) -> None:
        if whole:
            move.landed = next(self.events)
            self.stores.landed(move.blocks, context)
        else:
            self.stores.lost(move.blocks)

    def go(self, move: Move) -> None:
        """Send the blocks of a move, or ask for them."""
        self._moves.add(move)
        size = len(move.blocks) * self._serving.block_bytes
        lease = move.lease = self._links.lease(move.replica, move.store, partial(self._end, move, False))
        whole = partial(self._end, move, True)
        if move.what == "fetch":
            lease.ask(CONTROL_BYTES, partial(lease.answer, size, whole))
        else:
            lease.ask(size, whole)

    def _end(self, move: Move, whole: bool) -> None:
        if move not in self._moves:
            return
        end = monotonic() if whole else None
        self._moves.remove(move)
        if move.lease is not None:
            (move.lease.release if whole else move.lease.abandon)()
        move.over(move, whole)
        self._reported(self._record(move, end))

    def abandon(self, move: Move) -> None:
        """Nobody wants it any more."""
        move.over = _nobody
        self._end(move, whole=False)

    def kill(self, host: str) -> None:
        """A replica or a store dies: what it has on the way is lost."""
        self.stores.die(host)
        for move in [m for m in self._moves if host in (m.replica, m.store)]:
            self._end(move, whole=False)

    def close(self) -> None:
        """Write down what was still on its way."""
        for move in self._moves:
            self._reported(self._record(move, None))
        self._moves.clear()

    def _record(self, move: Move, end: float | None) -> StoreRecord:
        return StoreRecord(
            workload=self._serving.name, phase=self._phase, what=move.what, request=move.request, replica=move.replica,
            store=move.store, blocks=len(move.blocks), bytes=len(move.blocks) * self._serving.block_bytes,
            order=move.order, landed=move.landed, start=move.start - self._t0,
            end=None if end is None else end - self._t0)


def _nobody(_move: Move, _whole: bool) -> None:
    """Nobody waits for it."""


def stores_of(serving: Serving, store: StoreSpec) -> Stores:
    """The stores of a workload, empty. Their memory is real bytes, as that of the replicas' tiers."""
    return Stores(store.hosts, store.size, serving.spec.block * serving.roofline.kv_bytes_per_token)


def terms_of(serving: Serving, store: StoreSpec) -> Terms:
    """What its replicas decide by."""
    return Terms(store.fetch, serving.roofline, serving.spec.block, serving.block_bytes, serving.rates, serving.time)
