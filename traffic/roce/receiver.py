"""The receiving end of queue pairs: kernel stamps, ICRC, the order of PSNs, ACKs and NAKs."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from traffic.packets import AckTemplate, Heard, Icrc, icrc_is_right, stamp_of
from traffic.roce.gobackn import Responder
from traffic.roce.plan import FIRST_QPN, QueuePair
from traffic.streams.board import DUPLICATES, FOREIGN, LAST_ARRIVAL, RECEIVED, Board, Lane
from traffic.streams.receiver import BATCH, STAMP, STAMP_SPACE

LARGEST = 9216


class Incoming:
    """One queue pair at its destination."""

    def __init__(self, number: int, pair: QueuePair, lane: Lane, addresses: tuple[str, str], icrc: Icrc,
                 answers: socket.socket) -> None:
        self._src, dst = addresses
        self.pair, self.lane, self._icrc, self._socket = pair, lane, icrc, answers
        self.ports = pair.ports()
        self._way = {port: k for k, port in enumerate(self.ports)}
        self.responder = Responder(pair.first_psn, pair.service == "rc")
        self._template = AckTemplate(dst, self._src, FIRST_QPN + number)
        self.bad_icrc = self.unanswered = 0
        self.delivered_at = 0       # CLOCK_REALTIME ns

    def take(self, heard: Heard, data: bytes, sport: int, arrival: int) -> bool:
        """One packet. True if it was new, not one of a stranger."""
        lane, count, responder = self.lane, self.lane.count, self.responder
        if sport not in self._way or len(data) != self.pair.payload:
            count[FOREIGN] += 1
            return False
        if not icrc_is_right(self._icrc, sport, data):
            self.bad_icrc += 1
            return False
        transmission, stamp = stamp_of(data)
        if transmission >= lane.capacity or lane.order[transmission]:
            count[DUPLICATES] += 1
            return False
        received = count[RECEIVED] + 1
        lane.delay[transmission] = arrival - stamp
        lane.order[transmission] = received
        lane.port_received[self._way[sport]] += 1
        count[LAST_ARRIVAL] = arrival
        before = responder.expected
        reply = responder.take(heard.psn, heard.opcode & 0x1F, heard.ack_request)
        if responder.expected > before:
            self.delivered_at = arrival
        count[RECEIVED] = received
        if reply is not None:
            try:
                self._socket.sendto(self._template.packet(self.ports[0], *reply), (self._src, 0))
            except BlockingIOError:
                self.unanswered += 1
        return True

    def told(self) -> dict[str, Any]:
        """What the parent is told at the end."""
        r = self.responder
        return {"delivered": r.expected, "discarded": r.discarded, "repeated": r.duplicates, "acks": r.acks,
                "naks": r.naks, "bad_icrc": self.bad_icrc, "unanswered": self.unanswered,
                "delivered_at": self.delivered_at}


def take_from(sock: socket.socket, incoming: Mapping[int, Incoming]) -> bool:
    """Take what waits at a host's port, at most BATCH packets. True if one of them was new."""
    new = False
    for _ in range(BATCH):
        try:
            data, extra, _, source = sock.recvmsg(LARGEST, STAMP_SPACE)
        except BlockingIOError:
            break
        heard = Heard(data)
        queue_pair = incoming.get(heard.qpn)
        if queue_pair is None or not extra:
            continue
        seconds, nanoseconds = STAMP.unpack(extra[0][2])
        new |= queue_pair.take(heard, data, source[1], seconds * 1_000_000_000 + nanoseconds)
    return new


def receive_all(sockets: Sequence[socket.socket], incoming: Mapping[int, Incoming], board: Board, control: int,
                drain_of: Callable[[], float]) -> None:
    """Receive until the sender has finished and everything has arrived, or nothing new came for the drain time.

    `control` becomes readable when the sender has finished; `drain_of()` then reads the drain time in seconds.
    """
    with contextlib.closing(select.epoll()) as poll:
        by_fd = {sock.fileno(): sock for sock in sockets}
        for fd in (*by_fd, control):
            poll.register(fd, select.EPOLLIN)
        drain, quiet_since = float("inf"), time.monotonic()
        while not (drain < float("inf") and board.finished):
            left = drain - (time.monotonic() - quiet_since)
            if left <= 0:
                return
            for fd, _ in poll.poll(min(left, 60.0)):
                if fd == control:
                    drain = drain_of()
                    quiet_since = time.monotonic()
                elif take_from(by_fd[fd], incoming):
                    quiet_since = time.monotonic()
