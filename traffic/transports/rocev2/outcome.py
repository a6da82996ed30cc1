"""From what both ends saw to the `roce` record of a queue pair; its `stream` record tells of single packets."""

from __future__ import annotations

from dataclasses import dataclass

from traffic.transports.rocev2.plan import QueuePair
from traffic.transports.rocev2.records import RoceRecord
from traffic.transports.udp.records import StreamRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderEnd:
    """What the sender of a queue pair knows at its end. errors: by their names, of packets that were not sent."""

    errors: dict[str, int]
    acked: int
    highest: int
    go_backs: int
    retransmission_timeouts: int
    blocked: int
    bad_icrc: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverEnd:
    """What the receiver knows. delivered_at: CLOCK_REALTIME, ns."""

    delivered: int
    messages: int
    discarded: int
    repeated: int
    acks: int
    naks: int
    bad_icrc: int
    unanswered: int
    delivered_at: int


def roce_record(pair: QueuePair, stream: StreamRecord, sender: SenderEnd, receiver: ReceiverEnd,
                zero: int) -> RoceRecord:
    """The record of a queue pair from what its two ends reported.

    zero: CLOCK_REALTIME ns at t0. `end` is the arrival of the last packet that was delivered, so what is sent
    again after it does not count as time.
    """
    delivered = receiver.delivered
    return RoceRecord(
        workload=pair.workload, phase=stream.phase, stream=pair.name, src=pair.src, dst=pair.dst,
        service=pair.service, spray=pair.flows > 1, mtu=pair.mtu, packets=pair.packets or 0, status=sender.status,
        sent=stream.sent, retransmitted=stream.sent - sender.highest, delivered=delivered,
        messages=receiver.messages, bytes=delivered * pair.mtu, discarded=receiver.discarded,
        repeated=receiver.repeated,
        acks=receiver.acks, naks=receiver.naks, go_backs=sender.go_backs,
        retransmission_timeouts=sender.retransmission_timeouts, blocked=sender.blocked,
        icrc_errors=sender.bad_icrc + receiver.bad_icrc,
        unanswered=receiver.unanswered, start=stream.start,
        end=(receiver.delivered_at - zero) / 1e9 if delivered else None)
