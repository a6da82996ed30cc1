"""The smallest transport: bytes cross the memory of one process, a slice at each turn of its event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Literal

from traffic.runtime.records import ConnectionRecord
from traffic.transports.base import Dial, Host, Transport
from traffic.transports.flow import SLICE, Meter, Portion
from traffic.transports.overhead import Overhead

PORT = 9


class PipeLane:
    """One direction."""

    def __init__(self, loop: asyncio.AbstractEventLoop, meter: Meter) -> None:
        self._loop, self._meter, self._queue = loop, meter, deque[Portion]()
        self.received = 0

    def offer(self, portion: Portion) -> None:
        if not portion.queued:
            portion.queued = True
            self._queue.append(portion)
            if len(self._queue) == 1:
                self._loop.call_soon(self._carry)

    def _carry(self) -> None:
        portion = self._queue[0]
        count = min(portion.allowed - portion.sent, SLICE)
        if count:
            portion.departed(count, monotonic())
            self.received += count
            self._meter.bytes += count
            portion.arrived(count)
        else:
            self._queue.popleft().queued = False
        if self._queue:
            self._loop.call_soon(self._carry)


class PipeConnection:
    """Two lanes and a number."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dial: Dial, sport: int, closed: Callable[[], None]) -> None:
        self.client, self.server, self.sport, self._closed = dial.client, dial.server, sport, closed
        self.forward, self.back = PipeLane(loop, dial.meter), PipeLane(loop, dial.meter)

    def record(self, workload: str, phase: str) -> ConnectionRecord:
        return ConnectionRecord(
            workload=workload, phase=phase, src=self.client.name, dst=self.server.name, sport=self.sport, dport=PORT,
            cc="none", bytes=self.forward.received, retransmits=0, rtt=0.0, reply_bytes=self.back.received,
            reply_retransmits=0)

    def close(self) -> None:
        self._closed()


class PipeNetwork:
    """Hosts that share a memory. `open` counts the connections that stand."""

    protocol: Literal["udp"] = "udp"
    port = PORT

    def __init__(self, loop: asyncio.AbstractEventLoop, hosts: Mapping[str, Host]) -> None:
        self._loop, self.hosts, self._listening = loop, hosts, set[str]()
        self.open = 0

    def listen(self, host: Host) -> None:
        self._listening.add(host.name)

    def connect(self, dial: Dial) -> None:
        if not dial.served or dial.server.name not in self._listening:
            dial.failed(ConnectionRefusedError())
            return
        self.open += 1
        dial.opened(PipeConnection(self._loop, dial, dial.ports.randrange(1024), self._one_less))

    def _one_less(self) -> None:
        self.open -= 1

    def close(self) -> None:
        self._listening.clear()


PIPE = Transport("pipe", Overhead(headers=100, ack_frame=0, per_ack=1.0), PipeNetwork, lambda _fabric: "none")
