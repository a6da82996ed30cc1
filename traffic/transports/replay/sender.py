"""The sending end of a replay: every packet at its time in the capture, none skipped in silence.

    packet k is due at start + due[k]; what is due is sent at once, late or not
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence

from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.errors import RunError
from traffic.transports.replay.plan import ReplayStream, Schedule
from traffic.transports.udp.board import SENT, SLOTS, Board, Lane
from traffic.transports.udp.sender import FATAL, LEAD, MAX_NAP
from traffic.transports.udp.wire import HEADER, MAGIC

_UDP_LENGTH, _BODY = 24, 28         # offsets from IPv4 on
_IPV4 = 20
_SHORT = struct.Struct("!H")


class Outgoing:
    """One flow on its way, through its host's raw socket."""

    def __init__(self, number: int, stream: ReplayStream, lane: Lane, addresses: tuple[str, str],
                 sock: socket.socket) -> None:
        src, dst = addresses
        self.stream, self._lane, self._number = stream, lane, number
        self._send, self._to = sock.sendto, (dst, 0)
        self.errors: Counter[str] = Counter()
        # Without a checksum, so that lengths and stamps can be changed; the kernel fills in that of IPv4.
        packet = (IP(src=src, dst=dst, flags="DF", ttl=64) / UDP(sport=stream.sport, dport=stream.dport, chksum=0)
                  / Raw(bytes(stream.largest - ETHERNET_HEADER - _BODY)))
        self._packet = memoryview(bytearray(bytes(packet)))

    def send(self, due: int, frame: int) -> None:
        """The next packet, as a frame of that size. Raises RunError where the host cannot send at all."""
        count, lane, size = self._lane.count, self._lane, frame - ETHERNET_HEADER
        seq, slot, now = count[SENT], count[SLOTS], time.monotonic_ns()
        lane.late[slot] = now - due
        count[SLOTS] = slot + 1
        _SHORT.pack_into(self._packet, _UDP_LENGTH, size - _IPV4)
        HEADER.pack_into(self._packet, _BODY, MAGIC, self._number, seq, time.clock_gettime_ns(time.CLOCK_REALTIME))
        try:
            self._send(self._packet[:size], self._to)
        except OSError as error:
            self._failed(error)
            return
        lane.sent[seq] = now
        lane.port_sent[0] += 1
        count[SENT] = seq + 1

    def _failed(self, error: OSError) -> None:
        code = error.errno or 0
        self.errors[errno.errorcode.get(code, str(code))] += 1
        if code in FATAL:
            src = self.stream.src
            raise RunError(f"stream {self.stream.name}, host {src}", "a host that can send", os.strerror(code),
                           f"is {src}'s interface up? What was recorded so far is kept")


def play(schedule: Schedule, outgoing: Sequence[Outgoing], board: Board) -> None:
    """All packets of the schedule, or until board.stop is set. Raises RunError."""
    start = time.monotonic_ns() + LEAD
    for after, number, frame in zip(schedule.due.tolist(), schedule.stream.tolist(), schedule.frame.tolist(),
                                    strict=True):
        due = start + after
        while not board.stop[0] and (wait := due - time.monotonic_ns()) > 0:
            time.sleep(min(wait, MAX_NAP) / 1e9)
        if board.stop[0]:
            return
        outgoing[number].send(due, frame)
