"""Connections between hosts: opened inside their namespaces, shared or pooled, told about, closed.

The server's end is found again by the client's address, so both sockets of a connection are known.
Source ports are drawn from the seed and the names of the two hosts: the same run with the same seed
takes the same paths through an ECMP fabric.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from topologies.model.errors import LabError, RunError
from traffic.engine.lane import Lane, Meter
from traffic.engine.namespaces import Tcp, prepare, tcp_socket

PORT = 7000                     # every host listens here
CLOSED = 6999                   # nobody listens here
SOURCE_PORTS = (10_000, 30_000)  # below Linux's own ephemeral range
PORT_TRIES = 50
SETUP_AT_ONCE = 64              # connections; more would overflow small queues with SYNs
BACKLOG = 4096
_RESET = struct.pack("ii", 1, 0)    # SO_LINGER: no TIME_WAIT, whose ports a repeat would want
_TCP_INFO_RTT, _TCP_INFO_RETRANSMITS = 15, 23   # 32-bit words after the first 8 bytes of struct tcp_info


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host's sockets are made."""

    name: str
    ip: str
    netns: str      # path


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


class Connection:
    """An established connection; `forward` is the client's direction. `broken` is told of its first error."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: Host, server: Host, sockets: tuple[socket.socket,
                 socket.socket], meter: Meter, broken: Callable[[Connection, OSError], None]) -> None:
        self.client, self.server = client, server
        self._sockets = sockets
        self.sport: int = sockets[0].getsockname()[1]
        self.is_open = True
        self._told = broken
        near, far = sockets
        self.forward = Lane(loop, near, far, meter, self._broken)
        self.back = Lane(loop, far, near, meter, self._broken)

    def _broken(self, error: OSError) -> None:
        if self.is_open:
            self._told(self, error)

    def info(self) -> tuple[TcpInfo, TcpInfo]:
        """Of the client's and of the server's side."""
        return TcpInfo.of(self._sockets[0]), TcpInfo.of(self._sockets[1])

    def close(self) -> None:
        self.is_open = False
        for lane in (self.forward, self.back):
            lane.close()
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()


Opened = Callable[[socket.socket, socket.socket], None]
Failed = Callable[[OSError], None]


@dataclass(slots=True)
class _Opening:
    """A connection on its way: the server's end comes from the listener, the client's from connect."""

    near: socket.socket
    opened: Opened
    failed: Failed
    far: socket.socket | None = None
    connected: bool = False


class Network:
    """All listeners and half-open connections of the engine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hosts: dict[str, Host]) -> None:
        self._loop, self.hosts = loop, hosts
        self._listeners: dict[str, socket.socket] = {}
        # By the server's name, not its address: two tenants may have the same addresses.
        self._opening: dict[tuple[str, tuple[str, int]], _Opening] = {}
        self._taken: set[tuple[str, int]] = set()

    def listen(self, host: Host) -> None:
        """Have `host` accept connections. Raises RunError where its port is taken or its address missing."""
        if host.name in self._listeners:
            return
        sock = tcp_socket(host.netns, Tcp("reno"))      # an accepted socket is given its own
        try:
            sock.bind((host.ip, PORT))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise RunError(f"host {host.name}", f"to listen on {host.ip} port {PORT}", os.strerror(error.errno or 0),
                           "does its interface have its address? does another engine run in this lab?") from None
        self._listeners[host.name] = sock
        self._loop.add_reader(sock.fileno(), self._accept, host, sock)

    def connect(self, client: Host, server: Host, tcp: Tcp, ports: random.Random, opened: Opened,
                failed: Failed, port: int = PORT) -> None:
        """Open a connection from a port drawn from `ports`; one of the two is called, perhaps at once."""
        near = tcp_socket(client.netns, tcp)
        try:
            key = (server.name, (client.ip, self._bind(near, client, ports)))
            self._opening[key] = _Opening(near, partial(self._prepared, tcp, opened), failed)
            code = near.connect_ex((server.ip, port))
        except OSError as error:
            near.close()
            failed(error)
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail(key, code)
        else:
            self._loop.add_writer(near.fileno(), self._connected, key)

    def _prepared(self, tcp: Tcp, opened: Opened, near: socket.socket, far: socket.socket) -> None:
        prepare(far, tcp)
        opened(near, far)

    def _bind(self, sock: socket.socket, client: Host, ports: random.Random) -> int:
        """The first free one of the ports that the seed draws."""
        for _ in range(PORT_TRIES):
            port = ports.randrange(*SOURCE_PORTS)
            if (client.name, port) in self._taken:
                continue
            try:
                sock.bind((client.ip, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            self._taken.add((client.name, port))
            return port
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    def _fail(self, key: tuple[str, tuple[str, int]], code: int) -> None:
        opening = self._opening.pop(key)
        opening.near.close()
        opening.failed(OSError(code, os.strerror(code)))

    def _connected(self, key: tuple[str, tuple[str, int]]) -> None:
        opening = self._opening[key]
        self._loop.remove_writer(opening.near.fileno())
        code = opening.near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(key, code)
            return
        opening.connected = True
        self._match(key, opening)

    def _accept(self, host: Host, listener: socket.socket) -> None:
        try:
            far, peer = listener.accept()
        except (BlockingIOError, ConnectionError):      # it went away before we came
            return
        key = (host.name, (peer[0], peer[1]))
        opening = self._opening.get(key)
        if opening is None:                             # not one of ours, or given up
            far.close()
            return
        far.setblocking(False)
        opening.far = far
        self._match(key, opening)

    def _match(self, key: tuple[str, tuple[str, int]], opening: _Opening) -> None:
        if opening.connected and opening.far is not None:
            del self._opening[key]
            opening.opened(opening.near, opening.far)

    def release(self, client: Host, sport: int) -> None:
        """The port of a closed connection may be drawn again."""
        self._taken.discard((client.name, sport))

    def close(self) -> None:
        for opening in self._opening.values():
            self._loop.remove_writer(opening.near.fileno())
            opening.near.close()
            if opening.far is not None:
                opening.far.close()
        self._opening.clear()
        for sock in self._listeners.values():
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._listeners.clear()


def broken_between(client: Host, server: Host, doing: str, error: OSError) -> LabError:
    """The error for a connection that cannot go on, naming both of its hosts."""
    return RunError(f"connection {client.name} -> {server.name}", doing, os.strerror(error.errno or 0) or str(error),
                    f"is the interface of {client.name} ({client.ip}) or of {server.name} ({server.ip}) down?")


async def connect_all(network: Network, wanted: list[tuple[Host, Host, Tcp, random.Random, Opened]],
                      timeout: float) -> None:
    """Open all of `wanted`, a limited number at a time. Raises RunError naming a pair that failed."""
    done = asyncio.get_running_loop().create_future()
    waiting, underway = deque(wanted), dict[int, tuple[Host, Host]]()

    def fail(client: Host, server: Host, error: OSError) -> None:
        if not done.done():
            done.set_exception(broken_between(client, server, f"a connection to {server.ip} port {PORT}", error))

    def over(number: int, opened: Opened, near: socket.socket, far: socket.socket) -> None:
        opened(near, far)
        del underway[number]
        more()

    def more() -> None:
        while waiting and len(underway) < SETUP_AT_ONCE and not done.done():
            client, server, tcp, ports, opened = waiting.popleft()
            number = len(waiting)
            underway[number] = (client, server)
            network.connect(client, server, tcp, ports, partial(over, number, opened), partial(fail, client, server))
        if not waiting and not underway and not done.done():
            done.set_result(None)

    more()
    try:
        await asyncio.wait_for(done, timeout)
    except TimeoutError:
        client, server = next(iter(underway.values()))
        raise broken_between(client, server, f"a connection within {timeout:g} s",
                             TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))) from None
