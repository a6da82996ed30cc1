"""The receiving end of a replay: a UDP socket for each port that a host is spoken to at, whoever speaks."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from traffic.transports.replay.plan import ReplayStream
from traffic.transports.udp.board import FOREIGN, Lane
from traffic.transports.udp.receiver import BATCH, STAMP_SPACE, kernel_stamp
from traffic.transports.udp.wire import HEADER, MAGIC


class Port:
    """One port of one host; `flows`: number of a stream that comes here -> the stream and its lane."""

    def __init__(self, sock: socket.socket, flows: Mapping[int, tuple[ReplayStream, Lane]]) -> None:
        self.sock, self._flows = sock, flows

    def take(self) -> bool:
        """Take what waits, at most BATCH packets. True if one of them was new."""
        new = False
        for _ in range(BATCH):
            try:
                data, extra, _, source = self.sock.recvmsg(HEADER.size, STAMP_SPACE)
            except BlockingIOError:
                break
            new |= self._note(data, extra, source[1])
        return new

    def _note(self, data: bytes, extra: list[tuple[int, int, bytes]], port: int) -> bool:
        magic, number, seq, stamp = HEADER.unpack(data) if len(data) == HEADER.size else (0, 0, 0, 0)
        stream, lane = self._flows.get(number, next(iter(self._flows.values())))
        if magic != MAGIC or number not in self._flows or port != stream.sport or seq >= lane.capacity or not extra:
            lane.count[FOREIGN] += 1        # of a stranger: counted with the first flow of this port
            return False
        return lane.arrived(seq, 0, kernel_stamp(extra), stamp)
