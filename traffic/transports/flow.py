"""Bytes on their way from one host to another, whatever carries them: a flow in portions, one for each connection.

    operation ──Flow──> Portion ──offer──> Lane: one direction of a connection
                           ▲                 │
                           └─departed, arrived

A lane sends of a portion what is allowed. A portion that passes on what another brings gets its credit in whole
slices, so that short reads do not turn into ever shorter sends along a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

SLICE = 32_768          # bytes: 381 wake-ups a second for 100 Mbit/s; half of it cost a seventh more CPU


class Lane(Protocol):
    """One direction of a connection. It carries portions in the order in which they were offered."""

    received: int       # bytes, of all portions

    def offer(self, portion: Portion) -> None:
        """`portion` has more bytes to send than before: call its `departed` and `arrived` for them."""


class Flow:
    """Bytes of one operation while they travel. Stamps are times of time.monotonic(), 0 until reached.

    sizes         bytes of each portion
    over          called once, with the flow, when its last byte has been received
    wants_first   stamp the first byte at the receiver, at the price of one more wake-up
    """

    __slots__ = ("active", "end", "first", "left", "over", "portions", "ready", "seen", "since", "start", "wants_first")

    def __init__(self, sizes: Sequence[int], over: Callable[[Flow], None], wants_first: bool = False) -> None:
        self.over, self.wants_first = over, wants_first
        self.portions = [Portion(self, size) for size in sizes]
        self.reset()

    def reset(self) -> None:
        """Ready for another iteration."""
        self.active = False
        self.left = len(self.portions)
        self.ready = self.start = self.first = self.end = self.since = 0.0
        self.seen = 0
        for portion in self.portions:
            portion.reset()

    @property
    def got(self) -> int:
        return sum(p.got for p in self.portions)

    @property
    def allowed(self) -> int:
        return sum(p.allowed for p in self.portions)

    @property
    def progress(self) -> int:
        """Grows while any connection that this flow still needs brings bytes, if only those of flows before it."""
        return sum(p.lane.received for p in self.portions if p.lane is not None and p.got < p.size)

    def pass_on(self, source: Flow) -> None:
        """Send only what `source` has brought. Both are cut into the same portions."""
        for mine, theirs in zip(self.portions, source.portions, strict=True):
            theirs.followers.append(mine)
            mine.source = theirs

    def go(self, lanes: Sequence[Lane]) -> None:
        """Start on these lanes, one a portion."""
        self.active = True
        for portion, lane in zip(self.portions, lanes, strict=True):
            portion.go(lane)


class Portion:
    """The part of a flow that goes through one connection: sent, allowed and got count bytes up to size.

    queued is the lane's: whether the portion is among those that it has yet to send of.
    """

    __slots__ = ("allowed", "flow", "followers", "got", "lane", "queued", "sent", "size", "source")

    def __init__(self, flow: Flow, size: int) -> None:
        self.flow, self.size = flow, size
        self.followers: list[Portion] = []
        self.source: Portion | None = None
        self.reset()

    def reset(self) -> None:
        self.sent = self.got = self.allowed = 0
        self.queued = False
        self.lane: Lane | None = None

    def go(self, lane: Lane) -> None:
        self.lane = lane
        self.credit(self.source.got if self.source else self.size)

    def credit(self, bytes_there: int) -> None:
        """`bytes_there` have arrived at the sender: allow whole slices of them, at the end all."""
        allowed = self.size if bytes_there >= self.size else bytes_there - bytes_there % SLICE
        if self.lane is not None and allowed > self.allowed:
            self.allowed = allowed
            self.lane.offer(self)

    def departed(self, count: int, when: float) -> None:
        """The lane has sent so many bytes, the first of them not before `when`."""
        if not self.flow.start:
            self.flow.start = when
        self.sent += count

    def arrived(self, count: int) -> None:
        """So many more bytes are at the receiver: pass them on; with the last of all portions the flow is over."""
        flow = self.flow
        if flow.wants_first and not flow.first:
            flow.first = monotonic()
        self.got = got = self.got + count
        for follower in self.followers:
            follower.credit(got)
        if got == self.size:
            flow.left -= 1
            if not flow.left:
                flow.end = monotonic()
                flow.over(flow)


class Meter:
    """Bytes received by a whole workload."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


def send(lane: Lane, size: int, over: Callable[[], None]) -> None:
    """A message of so many bytes; `over` when its last one has arrived."""
    Flow([size], lambda _: over()).go([lane])
