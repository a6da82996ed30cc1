"""Keep-alive TCP connections between hosts, one request at a time on each, as HTTP/1.1 has it.

    lease = links.lease(src, dst, broken)       an idle connection of the pair, or a new one
    lease.ask(bytes, over)     src -> dst       lease.answer(bytes, over)   dst -> src
    lease.release()            idle again       lease.abandon()             closed: what is on its way is lost

Both ends are ours (traffic/engine/lane.py), so a message has no header: its bytes are its size.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from functools import partial

from topologies.model.errors import RunError
from traffic.engine.lane import Flow, Lane, Meter
from traffic.engine.mesh import CLOSED, PORT, Connection, Network
from traffic.engine.namespaces import Tcp
from traffic.runtime.records import ConnectionRecord
from traffic.workloads.workload import Transfer

CONTROL_BYTES = 128     # of a message without content, such as an answer that says no: status line and headers
Over = Callable[[], None]
_MESSAGE = Transfer("message", 0, 1, 1)     # a flow wants an operation; nobody asks which


def _send(lane: Lane, size: int, over: Over) -> None:
    Flow(_MESSAGE, [size], wants_first=False, over=lambda _: over()).go([lane])


class Lease:
    """One request's use of a connection. `broken` is called at most once, when it cannot go on."""

    __slots__ = ("_broken", "_links", "_waiting", "connection", "is_over", "pair")

    def __init__(self, links: Links, pair: tuple[str, str], broken: Over) -> None:
        self._links, self.pair, self._broken = links, pair, broken
        self.connection: Connection | None = None
        self._waiting: list[tuple[int, Over]] = []      # asked before the connection stood
        self.is_over = False

    def opened(self, connection: Connection) -> None:
        """The connection stands."""
        self.connection = connection
        for size, over in self._waiting:
            _send(connection.forward, size, over)
        self._waiting.clear()

    def ask(self, size: int, over: Over) -> None:
        """Send to the server, once the connection stands."""
        if self.connection is None:
            self._waiting.append((size, over))
        else:
            _send(self.connection.forward, size, over)

    def answer(self, size: int, over: Over) -> None:
        """Send to who asked."""
        if self.connection is not None:
            _send(self.connection.back, size, over)

    def release(self) -> None:
        """The exchange is over; the connection may serve another."""
        if not self.is_over:
            self.is_over = True
            self._links.idle(self)

    def abandon(self) -> None:
        """Nobody wants the rest. Twice is fine."""
        if not self.is_over:
            self.is_over = True
            self._links.drop(self)

    def fail(self) -> None:
        """The connection broke, or did not come to stand."""
        if not self.is_over:
            self.is_over = True
            self._broken()


class Links:
    """All connections of one workload."""

    def __init__(self, network: Network, name: str, phase: str, seed: int, tcp: Tcp) -> None:
        self._network, self._name, self._phase, self._seed = network, name, phase, seed
        self._tcp = tcp
        self.meter = Meter()
        self.told: list[ConnectionRecord] = []
        self._idle: dict[tuple[str, str], list[Connection]] = {}
        self._users: dict[Connection, Lease] = {}
        self._ports: dict[tuple[str, str], random.Random] = {}

    def lease(self, src: str, dst: str, broken: Over) -> Lease:
        """An idle connection from src to dst, the one used last, or a new one."""
        lease = Lease(self, (src, dst), broken)
        idle = self._idle.get((src, dst))
        if idle:
            self._use(idle.pop(), lease)
        else:
            self._open(src, dst, lease)
        return lease

    def refused(self, src: str, dst: str, broken: Over) -> Lease:
        """A connection to a program that has ended: the host's kernel answers the SYN with a reset."""
        lease = Lease(self, (src, dst), broken)
        self._open(src, dst, lease, CLOSED)
        return lease

    def _open(self, src: str, dst: str, lease: Lease, port: int = PORT) -> None:
        draws = self._ports.setdefault((src, dst), random.Random(f"{self._seed}/{self._name}/{src}/{dst}"))  # noqa: S311
        hosts = self._network.hosts
        self._network.connect(hosts[src], hosts[dst], self._tcp, draws, partial(self._opened, lease),
                              lambda _error: lease.fail(), port)

    def _use(self, connection: Connection, lease: Lease) -> None:
        self._users[connection] = lease
        lease.opened(connection)

    def _opened(self, lease: Lease, near: socket.socket, far: socket.socket) -> None:
        src, dst = (self._network.hosts[name] for name in lease.pair)
        connection = Connection(asyncio.get_running_loop(), src, dst, (near, far), self.meter, self._break)
        if lease.is_over:       # given up meanwhile
            self._idle.setdefault(lease.pair, []).append(connection)
        else:
            self._use(connection, lease)

    def _break(self, connection: Connection, _error: OSError) -> None:
        lease = self._users.pop(connection, None)
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)
        self._tell(connection)
        if lease is not None:
            lease.fail()

    def idle(self, lease: Lease) -> None:
        """A lease ended well."""
        if lease.connection is not None and self._users.pop(lease.connection, None) is not None:
            self._idle.setdefault(lease.pair, []).append(lease.connection)

    def drop(self, lease: Lease) -> None:
        """A lease was abandoned: its connection is of no use any more."""
        if lease.connection is not None and self._users.pop(lease.connection, None) is not None:
            self._tell(lease.connection)

    def _tell(self, c: Connection) -> None:
        here, there = c.info()
        self.told.append(ConnectionRecord(
            self._name, self._phase, c.client.name, c.server.name, c.sport, PORT, here.congestion_control,
            c.forward.received, here.retransmits, here.rtt, c.back.received, there.retransmits))
        c.close()
        self._network.release(c.client, c.sport)

    def close(self) -> list[ConnectionRecord]:
        """Close all; what each connection of the workload had to tell."""
        for connection in [*self._users, *(c for idle in self._idle.values() for c in idle)]:
            self._tell(connection)
        self._users.clear()
        self._idle.clear()
        return self.told


async def warm(links: Links, pairs: list[tuple[str, str]], timeout: float) -> None:
    """Have one connection of each pair stand. Raises RunError naming a pair that does not."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = set(pairs)

    def fail(pair: tuple[str, str]) -> None:
        if not done.done():
            done.set_exception(RunError(f"connection {pair[0]} -> {pair[1]}", "to stand", "it was refused or reset",
                                        "is an interface or a link down?"))

    def over(pair: tuple[str, str]) -> None:
        leases[pair].release()
        left.discard(pair)
        if not left and not done.done():
            done.set_result(None)

    leases: dict[tuple[str, str], Lease] = {}
    for pair in left.copy():
        leases[pair] = links.lease(*pair, partial(fail, pair))
        leases[pair].ask(1, partial(over, pair))
    try:
        await asyncio.wait_for(done, timeout)
    except TimeoutError:
        src, dst = sorted(left)[0]
        raise RunError(f"connection {src} -> {dst}", f"to stand within {timeout:g} s", "it does not",
                       "is a link down?") from None


