"""The receiver: kernel time stamps of every packet, and patience for the tail.

SO_TIMESTAMPNS stamps a packet when it enters the destination's network stack, before this process
is scheduled; so its own lateness does not count as latency.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from traffic.transports.udp.board import FOREIGN, RECEIVED, Board, Lane
from traffic.transports.udp.wire import HEADER, MAGIC

BATCH = 256                             # packets of one socket before the next has its turn
STAMP = struct.Struct("=qq")            # struct timespec: seconds, nanoseconds
STAMP_SPACE = socket.CMSG_SPACE(STAMP.size)


class Inlet:
    """The receiving end of one stream."""

    def __init__(self, index: int, lane: Lane, sock: socket.socket, ports: tuple[int, ...]) -> None:
        self.sock = sock
        self._index = index
        self._lane = lane
        self._way = {port: k for k, port in enumerate(ports)}

    def take(self) -> bool:
        """Take what is waiting, at most BATCH packets. True if one of them was new: strangers and duplicates
        must not keep the tail open."""
        receive, before = self.sock.recvmsg, self._lane.count[RECEIVED]
        for _ in range(BATCH):
            try:
                data, extra, _, source = receive(HEADER.size, STAMP_SPACE)
            except BlockingIOError:
                break
            self._note(data, extra, source[1])
        return self._lane.count[RECEIVED] > before

    def _note(self, data: bytes, extra: list[tuple[int, int, bytes]], port: int) -> None:
        lane = self._lane
        magic, index, seq, stamp = HEADER.unpack(data) if len(data) == HEADER.size else (0, 0, 0, 0)
        if magic != MAGIC or index != self._index or seq >= lane.capacity or port not in self._way or not extra:
            lane.count[FOREIGN] += 1
            return
        lane.arrived(seq, self._way[port], kernel_stamp(extra), stamp)


def kernel_stamp(extra: list[tuple[int, int, bytes]]) -> int:
    """CLOCK_REALTIME ns of a packet's arrival, from what `recvmsg` tells beside its bytes."""
    seconds, nanoseconds = STAMP.unpack(extra[0][2])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


class Source(Protocol):
    """A socket, and what takes from it what waits there: True if something was new."""

    sock: socket.socket

    def take(self) -> bool: ...


def receive_all(inlets: Sequence[Source], board: Board, control: int, drain_of: Callable[[], float]) -> None:
    """Receive until the sender has finished and everything has arrived, or nothing new came for the drain time.

    `control` becomes readable when the sender has finished; `drain_of()` then reads the drain time in
    seconds from it.
    """
    poll = select.epoll()
    by_fd = {inlet.sock.fileno(): inlet for inlet in inlets}
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
            elif by_fd[fd].take():
                quiet_since = time.monotonic()
