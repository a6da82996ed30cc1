"""TCP between hosts: connections opened inside their namespaces.

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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from topologies.model.errors import RunError
from traffic.transports.base import Dial, Host, Options
from traffic.transports.tcp.connection import PORT, TcpConnection
from traffic.transports.tcp.sockets import prepare, tcp_socket

CLOSED = 6999                   # nobody listens here
SOURCE_PORTS = (10_000, 30_000)  # below Linux's own ephemeral range
PORT_TRIES = 50
BACKLOG = 4096


@dataclass(slots=True)
class _Opening:
    """A connection on its way: the server's end comes from the listener, the client's from connect."""

    dial: Dial
    near: socket.socket
    far: socket.socket | None = None
    connected: bool = False


class TcpNetwork:
    """All listeners and half-open connections of a process."""

    protocol: Literal["tcp"] = "tcp"
    port = PORT

    def __init__(self, loop: asyncio.AbstractEventLoop, hosts: Mapping[str, Host]) -> None:
        self._loop, self.hosts = loop, hosts
        self._listeners: dict[str, socket.socket] = {}
        # By the server's name, not its address: two tenants may have the same addresses.
        self._opening: dict[tuple[str, tuple[str, int]], _Opening] = {}
        self._taken: set[tuple[str, int]] = set()

    def listen(self, host: Host) -> None:
        """Have `host` accept connections. Raises RunError where its port is taken or its address missing."""
        if host.name in self._listeners:
            return
        sock = tcp_socket(host.netns, Options("reno"))      # an accepted socket is given its own
        try:
            sock.bind((host.ip, PORT))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise RunError(f"host {host.name}", f"to listen on {host.ip} port {PORT}", os.strerror(error.errno or 0),
                           "does its interface have its address? does another engine run in this lab?") from None
        self._listeners[host.name] = sock
        self._loop.add_reader(sock.fileno(), self._accept, host, sock)

    def connect(self, dial: Dial) -> None:
        """Open a connection; a host refuses where nobody serves, as its kernel answers the SYN with a reset."""
        near = tcp_socket(dial.client.netns, dial.options)
        try:
            key = (dial.server.name, (dial.client.ip, self._bind(near, dial.client, dial.ports)))
            self._opening[key] = _Opening(dial, near)
            code = near.connect_ex((dial.server.ip, PORT if dial.served else CLOSED))
        except OSError as error:
            near.close()
            dial.failed(error)
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail(key, code)
        else:
            self._loop.add_writer(near.fileno(), self._connected, key)

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
        opening.dial.failed(OSError(code, os.strerror(code)))

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
            dial = opening.dial
            prepare(opening.far, dial.options)
            port = (dial.client.name, key[1][1])
            dial.opened(TcpConnection(self._loop, dial, (opening.near, opening.far),
                                      partial(self._taken.discard, port)))

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
