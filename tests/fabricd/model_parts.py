"""What the model of the engine's laws (model.py) is made of: packets, queues, directions, chance. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

QUEUES = 8
ALL64 = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
PAUSE_BYTES = 64
NO_LIMIT = 1_000_000    # bytes, of a queue that was told nothing


def mix(x: int) -> int:
    """splitmix64's finaliser."""
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & ALL64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & ALL64
    return x ^ x >> 31


class Chance:
    """The draws of one direction."""

    def __init__(self, seed: int, number: int) -> None:
        self._state = mix(seed + number & ALL64)

    def draw(self) -> float:
        self._state = self._state + GOLDEN & ALL64
        return float((mix(self._state) >> 11) * 2.0**-53)


@dataclass(eq=False)
class Packet:
    """frame: all of its bytes. pause: (queue, is stop) of a pause frame."""

    frame: bytearray
    queue: int = 0
    ingress: Direction | None = None
    ingress_queue: int = 0
    at: int = 0
    pause: tuple[int, bool] | None = None

    @property
    def tos(self) -> int:
        return self.frame[15] if self.frame[12:14] == b"\x08\x00" else 0

    def mark(self) -> bool:
        """Congestion experienced, if it can be marked."""
        if not self.tos & 3:
            return False
        self.frame[15] |= 3
        self.frame[24:26] = b"\0\0"
        total = sum(int.from_bytes(self.frame[i:i + 2], "big") for i in range(14, 34, 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        self.frame[24:26] = (0xFFFF - total).to_bytes(2, "big")
        return True


@dataclass
class Counts:
    sent_packets: int = 0
    sent_bytes: int = 0
    drops: int = 0
    drop_bytes: int = 0
    headroom_drops: int = 0
    marks: int = 0
    pauses: int = 0
    paused_ns: int = 0
    high: int = 0


@dataclass(eq=False)
class Queue:
    limit: int = NO_LIMIT
    level: int = 0
    min: float = 0.0
    max: float = 0.0
    kmin: int = 0
    kmax: int = 0
    pmax: float = 0.0
    xoff: int = 0
    xon: int = 0
    headroom: int = 0
    beside: int = 0
    waiting: deque[Packet] = field(default_factory=deque)
    bytes: int = 0
    is_paused: bool = False
    paused_at: int = 0
    has_paused: bool = False
    held: int = 0
    min_clock: int = 0
    max_clock: int = 0
    turn: int = 0
    counts: Counts = field(default_factory=Counts)


@dataclass(eq=False)
class Direction:
    """One way of a cable; near and far are names of nodes."""

    number: int
    near: str
    far: str
    near_port: int
    far_port: int
    chance: Chance
    rate: int = 1_000_000_000
    delay: int = 0
    jitter: int = 0
    loss: float = 0.0
    ber: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    is_cable_in: bool = True
    is_way_open: bool = True
    sending: Packet | None = None
    control: deque[Packet] = field(default_factory=deque)
    flying: deque[Packet] = field(default_factory=deque)
    last_arrival: int = 0
    turn: int = 0
    cut: int = 0
    cut_flying: int = 0
    lost: int = 0
    bit_errors: int = 0
    queues: list[Queue] = field(default_factory=lambda: [Queue() for _ in range(QUEUES)])

    @property
    def name(self) -> str:
        return f"{self.near}->{self.far}"

    def time(self, size: int) -> int:
        """Nanoseconds that so many bytes take."""
        return (size * 8_000_000_000 + self.rate // 2) // self.rate

    def share_time(self, share: float, size: int) -> int:
        rate = max(int(share * self.rate), 1)
        return (size * 8_000_000_000 + rate // 2) // rate

    def next_queue(self, now: int, largest: int) -> tuple[Queue | None, int | None]:
        """The queue whose frame goes next; when a share is there again, if that is what hinders."""
        best: tuple[int, bool, Fraction, int] | None = None
        chosen, again = None, None
        for number, q in enumerate(self.queues):
            if not q.waiting or q.is_paused:
                continue
            if q.max > 0 and q.max_clock > now + self.share_time(q.max, largest):
                there = q.max_clock - self.share_time(q.max, largest)
                again = there if again is None else min(again, there)
                continue
            is_below = q.min > 0 and q.min_clock <= now + self.share_time(q.min, largest)
            rank = (-q.level, not is_below, Fraction(q.turn), number)
            if best is None or rank < best:
                best, chosen = rank, q
        return chosen, again

    def use(self, q: Queue, size: int, now: int) -> None:
        """A frame of a queue begins to be sent."""
        self.turn = q.turn
        q.turn += size
        if q.max > 0:
            q.max_clock = max(q.max_clock, now) + self.share_time(q.max, size)
        if q.min > 0:
            q.min_clock = max(q.min_clock, now) + self.share_time(q.min, size)
