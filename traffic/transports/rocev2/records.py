"""What a queue pair of RoCEv2 leaves behind, beside the `stream` of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class RoceRecord:
    """A queue pair that is over; fields: docs/reference/records.md. sent = packets sent first + retransmitted."""

    kind: ClassVar[str] = "roce"
    workload: str
    phase: str
    stream: str
    src: str
    dst: str
    service: str
    spray: bool
    mtu: int
    packets: int
    status: str             # ok | retries exceeded | interrupted
    sent: int
    retransmitted: int
    delivered: int
    messages: int
    bytes: int
    discarded: int
    repeated: int
    acks: int
    naks: int
    go_backs: int
    retransmission_timeouts: int
    blocked: int
    icrc_errors: int
    unanswered: int
    start: float | None
    end: float | None
