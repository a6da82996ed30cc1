"""The sender: every packet at its own time on an absolute schedule, nothing skipped in silence.

    slot i of a stream is due at start + phase + i / pps; what is due is sent at once, late or not
"""

from __future__ import annotations

import errno
import heapq
import os
import random
import socket
import time
from collections import Counter

from topologies.model.errors import RunError
from traffic.transports.udp.board import SENT, SLOTS, Board, Lane
from traffic.transports.udp.plan import MAX_PACKETS, Stream
from traffic.transports.udp.wire import HEADER, MAGIC

MAX_NAP = 50_000_000        # ns; the stop flag is looked at at least this often
LEAD = 2_000_000            # ns between go and the first slot
FATAL = {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENODEV, errno.ENXIO,
         errno.EMSGSIZE, errno.EADDRNOTAVAIL, errno.EINVAL}


class Flow:
    """One stream on its way: its sockets in turn, its slots, what could not be sent."""

    def __init__(self, index: int, stream: Stream, lane: Lane, sockets: tuple[socket.socket, ...]) -> None:
        self.stream, self.lane = stream, lane
        self.errors: Counter[str] = Counter()
        self.slots = stream.packets
        self._index = index
        self._sockets = sockets
        self._packet = bytearray(stream.payload)
        self._period = 1e9 / stream.pps
        self._first = 0.0

    def start_at(self, start: int) -> int:
        """Place the schedule; the seeded phase keeps streams of one rate from sending in step. First slot's ns."""
        phase = random.Random(f"phase {self.stream.seed} {self.stream.name}").random()  # noqa: S311 - repeatable
        self._first = start + phase * self._period
        return int(self._first)

    def send_slot(self, due: int) -> int:
        """Serve the slot that was due at `due` (CLOCK_MONOTONIC ns). The next slot's time, 0 after the last.

        Raises RunError where the host cannot send at all.
        """
        count, lane = self.lane.count, self.lane
        slot, seq = count[SLOTS], count[SENT]
        way = slot % len(self._sockets)
        now = time.monotonic_ns()
        lane.late[slot] = now - due
        count[SLOTS] = slot + 1
        HEADER.pack_into(self._packet, 0, MAGIC, self._index, seq, time.clock_gettime_ns(time.CLOCK_REALTIME))
        try:
            self._sockets[way].send(self._packet)
        except OSError as error:
            self._failed(error)
        else:
            lane.sent[seq] = now
            lane.port_sent[way] += 1
            count[SENT] = seq + 1
        return self._after(slot + 1)

    def _after(self, slot: int) -> int:
        if slot == self.slots:
            return 0
        if slot == self.lane.capacity:
            raise RunError(f"stream {self.stream.name}",
                           f"an endless stream to be stopped before {MAX_PACKETS} packets", f"{slot} packets",
                           "stop it, or send fewer packets a second")
        return int(self._first + slot * self._period)

    def _failed(self, error: OSError) -> None:
        code = error.errno or 0
        name = errno.errorcode.get(code, str(code))
        self.errors[name] += 1
        if code in FATAL:
            src = self.stream.src
            hint = ("its frames do not fit the interface's MTU" if code == errno.EMSGSIZE
                    else f"is {src}'s interface up, and has it its address and route?")
            raise RunError(f"stream {self.stream.name}, host {src}", "a host that can send",
                           f"{name}: {os.strerror(code)}", f"{hint} What was recorded so far is kept")


def send_all(flows: list[Flow], board: Board) -> None:
    """Run all schedules to their ends, or until board.stop is set. Raises RunError."""
    start = time.monotonic_ns() + LEAD
    heap = [(flow.start_at(start), k) for k, flow in enumerate(flows)]
    heapq.heapify(heap)
    while heap and not board.stop[0]:
        due, k = heap[0]
        wait = due - time.monotonic_ns()
        if wait > 0:
            time.sleep(min(wait, MAX_NAP) / 1e9)
            continue
        following = flows[k].send_slot(due)
        if following:
            heapq.heapreplace(heap, (following, k))
        else:
            heapq.heappop(heap)
