"""From what both ends saw to the `roce` record of a queue pair; its `stream` record tells of single packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from traffic.transports.rocev2.plan import QueuePair
from traffic.transports.udp.outcome import StreamRecord


@dataclass(frozen=True, slots=True)
class RoceRecord:
    """A queue pair that is over; docs/records.md describes the fields. sent = packets sent first + retransmitted."""

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


def roce_record(pair: QueuePair, stream: StreamRecord, sender: Mapping[str, Any], receiver: Mapping[str, Any],
                zero: int) -> RoceRecord:
    """The record of a queue pair from what its two ends reported.

    zero: CLOCK_REALTIME ns at t0. `end` is the arrival of the last packet that was delivered, so what is sent
    again after it does not count as time.
    """
    delivered = receiver["delivered"]
    return RoceRecord(
        workload=pair.workload, phase=stream.phase, stream=pair.name, src=pair.src, dst=pair.dst,
        service=pair.service, spray=pair.flows > 1, mtu=pair.mtu, packets=pair.packets or 0, status=sender["status"],
        sent=stream.sent, retransmitted=stream.sent - sender["highest"], delivered=delivered,
        messages=receiver["messages"], bytes=delivered * pair.mtu, discarded=receiver["discarded"],
        repeated=receiver["repeated"],
        acks=receiver["acks"], naks=receiver["naks"], go_backs=sender["go_backs"],
        retransmission_timeouts=sender["retransmission_timeouts"], blocked=sender["blocked"],
        icrc_errors=sender["bad_icrc"] + receiver["bad_icrc"],
        unanswered=receiver["unanswered"], start=stream.start,
        end=(receiver["delivered_at"] - zero) / 1e9 if delivered else None)
