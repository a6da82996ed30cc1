"""Both ends of a queue pair as InfiniBand has them: plain state, no clock, no socket.

A reliable connection (RC) goes back N packets. An unreliable one (UC) never repeats: its responder drops the whole
message where a packet is missing or out of order, up to the next packet that begins a message.

Packets are counted from 0 here; the wire has PSNs of 24 bits that begin anywhere and wrap.
Source: InfiniBand Architecture Specification, volume 1, 9.7.5, 9.8 and 9.9; for UC also Linux, hfi1/uc.c and
rxe_resp.c (which drops one message more: that which begins within another).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from traffic.transports.rocev2.wire import ACK, FIRST, LAST, MIDDLE, NAK_SEQUENCE, ONLY, PSNS

RETRIES = 7         # time-outs in a row without progress that end a queue pair: retry_cnt, as most software sets it
ACK_EVERY = 16      # packets; and at the end of each message


def nearest(psn: int, first: int, around: int) -> int:
    """The packet number next to `around` whose PSN is `psn`, where packet 0 has the PSN `first`."""
    difference = (psn - first - around) % PSNS
    return around + (difference if difference < PSNS // 2 else difference - PSNS)


class Packet(NamedTuple):
    """What the requester sends next."""

    psn: int
    opcode: int
    ack_request: bool


class Reply(NamedTuple):
    """What the responder answers."""

    psn: int
    syndrome: int
    messages: int


@dataclass
class Requester:
    """The sending end: `total` packets in messages of `message` packets, the first with the PSN `first`."""

    total: int
    message: int
    first: int
    reliable: bool = True
    next: int = 0           # packet to be sent next
    highest: int = 0        # packets that were sent at least once
    acked: int = 0          # packets that the responder has
    go_backs: int = 0
    retransmission_timeouts: int = 0
    silent: int = 0         # time-outs in a row without progress

    @property
    def failed(self) -> bool:
        """Its retries are used up."""
        return self.silent > RETRIES

    @property
    def done(self) -> bool:
        return self.acked == self.total if self.reliable else self.next == self.total

    @property
    def waiting(self) -> bool:
        """Everything is sent, something not acknowledged."""
        return self.next == self.total and not self.done

    def take(self) -> Packet:
        """The next packet; call only where next < total."""
        n, k = self.next, self.next % self.message
        last = k == self.message - 1 or n == self.total - 1
        opcode = (ONLY if last else FIRST) if k == 0 else (LAST if last else MIDDLE)
        self.next += 1
        self.highest = max(self.highest, self.next)
        return Packet((self.first + n) % PSNS, opcode, self.reliable and (last or k % ACK_EVERY == ACK_EVERY - 1))

    def hear(self, psn: int, syndrome: int) -> bool:
        """An ACK or NAK has come. True if the responder has more packets than was known."""
        n = nearest(psn, self.first, self.acked)
        if syndrome != NAK_SEQUENCE:
            return self._has(n + 1)
        progress = self._has(n)
        if self.acked == n < self.next:
            self.next = n
            self.go_backs += 1
        return progress

    def _has(self, count: int) -> bool:
        if not self.acked < count <= self.highest:
            return False
        self.acked, self.silent = count, 0
        self.next = max(self.next, count)
        return True

    def time_out(self) -> None:
        """Nothing was heard for too long: begin again behind what is acknowledged."""
        self.next = self.acked
        self.retransmission_timeouts += 1
        self.silent += 1


@dataclass
class Responder:
    """The receiving end. `delivered` are packets; of a reliable pair each once and in order, of an unreliable one
    those of messages that came whole and in order.
    """

    first: int
    reliable: bool = True
    expected: int = 0       # number of the packet whose turn it is
    delivered: int = 0
    messages: int = 0       # delivered
    begun: int = 0          # packets so far of the message that an unreliable pair is receiving; 0: none
    discarded: int = 0      # out-of-order discards; unreliable: of messages that were incomplete or reordered
    duplicates: int = 0     # came again
    acks: int = 0
    naks: int = 0
    complained: bool = False

    def take(self, psn: int, opcode: int, ack_request: bool) -> Reply | None:
        """A packet has come: what to answer. An unreliable responder answers nothing."""
        n = nearest(psn, self.first, self.expected)
        if not self.reliable:
            self._take_unreliable(n, opcode)
            return None
        if n > self.expected:
            self.discarded += 1
            return self._complain()
        if n == self.expected:
            self.expected += 1
            self.delivered += 1
            self.complained = False
            self.messages += opcode in (LAST, ONLY)
        else:
            self.duplicates += 1
        if not ack_request:
            return None
        self.acks += 1
        return Reply((self.first + self.expected - 1) % PSNS, ACK, self.messages)

    def _take_unreliable(self, n: int, opcode: int) -> None:
        """A packet that begins a message is taken whatever its PSN, any other only in its turn."""
        begins = opcode in (FIRST, ONLY)
        if not begins and not (self.begun and n == self.expected):
            self.discarded += self.begun + 1
            self.begun = 0
            return
        if begins:
            self.discarded += self.begun
            self.begun = 0
        self.begun += 1
        self.expected = n + 1
        if opcode in (LAST, ONLY):
            self.delivered += self.begun
            self.messages += 1
            self.begun = 0

    def _complain(self) -> Reply | None:
        """One NAK for each gap."""
        if self.complained:
            return None
        self.complained = True
        self.naks += 1
        return Reply((self.first + self.expected) % PSNS, NAK_SEQUENCE, self.messages)
