"""What streams of packets leave behind: one `stream` a stream, its packets one by one, and what the process cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Outage:
    """The longest run of consecutive losses of a stream."""

    packets: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How late slots were served, s."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One stream that is over; docs/reference/records.md describes the fields. sent = received + lost."""

    kind: ClassVar[str] = "stream"
    workload: str
    phase: str
    stream: str
    number: int                     # the stream's number in its packets
    src: str
    dst: str
    sport: tuple[int, ...]
    dport: int
    dscp: int
    pps: float
    frame: int
    sent: int
    send_errors: dict[str, int]
    received: int
    lost: int
    duplicates: int
    foreign: int
    reordered: int
    reorder_extent_max: int
    loss_runs: int
    outage: Outage
    socket_drops: int
    port_sent: tuple[int, ...]
    port_received: tuple[int, ...]
    start: float | None
    end: float | None
    lateness: Lateness | None
    sample_step: int
    clock_step: float
    latency_invalid: str
    interrupted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketsRecord:
    """Packets first_seq, first_seq + step, ... of a stream: when each was sent, and its one-way delay."""

    kind: ClassVar[str] = "packets"
    workload: str
    phase: str
    stream: str
    first_seq: int
    step: int
    t: tuple[float, ...]
    delay: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsRecord:
    """The process of streams itself: what it cost, and under which scheduler its two halves ran."""

    kind: ClassVar[str] = "streams"
    phase: str
    start: float
    end: float
    sender_cpu: float
    receiver_cpu: float
    sender_scheduler: str
    receiver_scheduler: str
