"""An established TCP connection whose two sockets are both ours, and what the kernel knows of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from traffic.runtime.records import ConnectionRecord
from traffic.transports.base import Dial
from traffic.transports.tcp.lane import TcpLane

PORT = 7000                         # every host listens here
_RESET = struct.pack("ii", 1, 0)    # SO_LINGER: no TIME_WAIT, whose ports a repeat would want
_TCP_INFO_RTT, _TCP_INFO_RETRANSMITS = 15, 23   # 32-bit words after the first 8 bytes of struct tcp_info


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Segments retransmitted and the smoothed round trip time in seconds, of one side."""

    retransmits: int
    rtt: float
    congestion_control: str

    @classmethod
    def of(cls, sock: socket.socket) -> TcpInfo:
        words = struct.unpack_from("24I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 8)
        name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()
        return cls(words[_TCP_INFO_RETRANSMITS], words[_TCP_INFO_RTT] / 1e6, name)


class TcpConnection:
    """sockets: the client's and the server's. closed: called when it is, so that its port may be drawn again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dial: Dial, sockets: tuple[socket.socket, socket.socket],
                 closed: Callable[[], None]) -> None:
        self.client, self.server = dial.client, dial.server
        self._sockets, self._broken, self._closed = sockets, dial.broken, closed
        self.sport: int = sockets[0].getsockname()[1]
        self.is_open = True
        near, far = sockets
        self.forward = TcpLane(loop, near, far, dial.meter, self._break)
        self.back = TcpLane(loop, far, near, dial.meter, self._break)

    def _break(self, error: OSError) -> None:
        if self.is_open:
            self._broken(self, error)

    def record(self, workload: str, phase: str) -> ConnectionRecord:
        """What it has carried, and what TCP knows of it; while it is open."""
        here, there = (TcpInfo.of(sock) for sock in self._sockets)
        return ConnectionRecord(
            workload=workload, phase=phase, src=self.client.name, dst=self.server.name, sport=self.sport, dport=PORT,
            cc=here.congestion_control, bytes=self.forward.received, retransmits=here.retransmits, rtt=here.rtt,
            reply_bytes=self.back.received, reply_retransmits=there.retransmits)

    def close(self) -> None:
        self.is_open = False
        for lane in (self.forward, self.back):
            lane.close()
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
        self._closed()
