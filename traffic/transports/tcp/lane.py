"""The hot path: bytes through one direction of a TCP connection whose two ends are both ours.

    sender's queue:  [portion, portion ...]      those that have bytes to send now
    in flight:       [portion, bytes] segments   in the order in which they were sent

Since both ends live here, there are no headers: what arrives belongs to the first segment in flight.
A wake-up should move a whole slice, so SO_RCVLOWAT asks for one; it never asks for more than is in
flight, or the end of a message would never be announced. Payload is thrown away in the kernel
(MSG_TRUNC).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic

from traffic.transports.flow import SLICE, Meter, Portion

BLOCK = 1 << 16         # most bytes given to the kernel before others get their turn
_ZEROS = memoryview(bytes(BLOCK))
_SCRATCH = bytearray(SLICE)
_LEVEL, _LOWAT, _TRUNC = socket.SOL_SOCKET, socket.SO_RCVLOWAT, socket.MSG_TRUNC


class Segment:
    """Bytes of a portion that are in flight, one after the other."""

    __slots__ = ("bytes", "portion")

    def __init__(self, portion: Portion, count: int) -> None:
        self.portion, self.bytes = portion, count


class TcpLane:
    """One direction of a connection: tx is the sender's socket, rx the receiver's.

    broken   called once with the OSError of either end; the lane is of no use afterwards
    """

    __slots__ = ("_blocked", "_broken", "_fifo", "_loop", "_lowat", "_meter", "_queue", "_recv_into", "_rx", "_send",
                 "_tx", "received")

    def __init__(self, loop: asyncio.AbstractEventLoop, tx: socket.socket, rx: socket.socket, meter: Meter,
                 broken: Callable[[OSError], None]) -> None:
        self._loop, self._tx, self._rx, self._meter, self._broken = loop, tx, rx, meter, broken
        self._send, self._recv_into = tx.send, rx.recv_into
        self._queue: deque[Portion] = deque()
        self._fifo: deque[Segment] = deque()
        self._blocked = False
        self._lowat = 1
        self.received = 0
        loop.add_reader(rx.fileno(), self._readable)

    @property
    def in_use(self) -> bool:
        """Bytes are queued or in flight."""
        return bool(self._queue or self._fifo)

    def offer(self, portion: Portion) -> None:
        """`portion` has more bytes to send than before."""
        if not portion.queued:
            portion.queued = True
            self._queue.append(portion)
        if not self._blocked:
            self._push()

    def _push(self) -> None:
        """Give the kernel what it takes of the queue, a block of one portion at most."""
        queue = self._queue
        while queue:
            portion = queue[0]
            room = portion.allowed - portion.sent
            if room <= 0:
                queue.popleft().queued = False
                continue
            now = monotonic()
            try:
                sent = self._send(_ZEROS[:room] if room < BLOCK else _ZEROS)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._broken(error)
                return
            if sent:
                portion.departed(sent, now)
                self._departed(portion, sent)
            if sent < room:
                self._wait_for_room()
                return
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._tx.fileno())

    def _wait_for_room(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._loop.add_writer(self._tx.fileno(), self._push)

    def _departed(self, portion: Portion, count: int) -> None:
        fifo = self._fifo
        if fifo and fifo[-1].portion is portion:
            fifo[-1].bytes += count
        else:
            fifo.append(Segment(portion, count))
        self._arm()

    def _arm(self) -> None:
        """Ask to be woken when the next read can take all that it wants."""
        segment = self._fifo[0]
        portion = segment.portion
        want = min(SLICE - portion.got % SLICE, segment.bytes)
        if not portion.got and portion.flow.wants_first:
            want = 1
        if want != self._lowat:
            self._lowat = want
            self._rx.setsockopt(_LEVEL, _LOWAT, want)

    def _readable(self) -> None:
        """Take one slice of the first segment in flight; without one, only an end or an error can come."""
        fifo = self._fifo
        segment = fifo[0] if fifo else None
        want = min(SLICE - segment.portion.got % SLICE, segment.bytes) if segment else 1
        try:
            count = self._recv_into(_SCRATCH, want, _TRUNC)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        if not count or segment is None:
            self._broken(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            return
        segment.bytes -= count
        if not segment.bytes:
            fifo.popleft()
        self.received += count
        self._meter.bytes += count
        segment.portion.arrived(count)
        if fifo:        # after the portion knows what it has; none where its end has closed the connection
            self._arm()

    def close(self) -> None:
        """Forget what is queued and in flight; the sockets are closed by their owner."""
        self._loop.remove_reader(self._rx.fileno())
        if self._blocked:
            self._loop.remove_writer(self._tx.fileno())
        self._queue.clear()
        self._fifo.clear()
        self._blocked = False
