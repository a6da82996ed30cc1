"""The receiving end of queue pairs: kernel stamps, ICRC, the order of PSNs, ACKs and NAKs."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from traffic.transports.rocev2.gobackn import Responder
from traffic.transports.rocev2.outcome import ReceiverEnd
from traffic.transports.rocev2.packets import AckTemplate, Heard, Icrc, icrc_is_right, stamp_of
from traffic.transports.rocev2.plan import FIRST_QPN, QueuePair
from traffic.transports.udp.board import FOREIGN, Lane
from traffic.transports.udp.receiver import BATCH, STAMP_SPACE, kernel_stamp

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
        self._template = AckTemplate(dst, self._src, FIRST_QPN + number, pair.dscp)
        self.bad_icrc = self.unanswered = 0
        self.delivered_at = 0       # CLOCK_REALTIME ns

    def take(self, heard: Heard, data: bytes, sport: int, arrival: int) -> bool:
        """One packet. True if it was new, not one of a stranger."""
        lane, responder = self.lane, self.responder
        if sport not in self._way or len(data) != self.pair.payload:
            lane.count[FOREIGN] += 1
            return False
        if not icrc_is_right(self._icrc, sport, data):
            self.bad_icrc += 1
            return False
        transmission, stamp = stamp_of(data)
        if not lane.arrived(transmission, self._way[sport], arrival, stamp):
            return False
        before = responder.delivered
        reply = responder.take(heard.psn, heard.opcode & 0x1F, heard.ack_request)
        if responder.delivered > before:
            self.delivered_at = arrival
        if reply is not None:
            try:
                self._socket.sendto(self._template.packet(self.ports[0], *reply), (self._src, 0))
            except BlockingIOError:
                self.unanswered += 1
        return True

    def reported(self) -> ReceiverEnd:
        """What the parent gets at the end."""
        r = self.responder
        return ReceiverEnd(
            delivered=r.delivered, messages=r.messages, discarded=r.discarded + r.begun, repeated=r.duplicates,
            acks=r.acks, naks=r.naks, bad_icrc=self.bad_icrc, unanswered=self.unanswered,
            delivered_at=self.delivered_at)


class Port:
    """A host's port 4791: what waits there is given to its queue pairs."""

    def __init__(self, sock: socket.socket, incoming: Mapping[int, Incoming]) -> None:
        self.sock, self._incoming = sock, incoming

    def take(self) -> bool:
        """Take what waits, at most BATCH packets. True if one of them was new."""
        new = False
        for _ in range(BATCH):
            try:
                data, extra, _, source = self.sock.recvmsg(LARGEST, STAMP_SPACE)
            except BlockingIOError:
                break
            heard = Heard(data)
            queue_pair = self._incoming.get(heard.qpn)
            if queue_pair is not None and extra:
                new |= queue_pair.take(heard, data, source[1], kernel_stamp(extra))
        return new
