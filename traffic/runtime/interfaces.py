"""Notices at once that an interface of a host is taken down, by rtnetlink messages of its namespace.

TCP itself says nothing for many minutes: a host without its interface looks like a slow network.
A link whose other end is down (a fault on a wire) only loses its carrier and is not reported here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

from topologies.access.netns import inside
from traffic.transports.base import Host

RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK = 16, 17
IFLA_IFNAME = 3
IFF_UP = 1
_HEADER = struct.Struct("=IHHII")       # struct nlmsghdr: length, type, flags, sequence, pid
_LINK = struct.Struct("=BxHiII")        # struct ifinfomsg: family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")       # struct rtattr: length, type


def links_down(message: bytes) -> Iterator[str]:
    """Names of the interfaces that a datagram of rtnetlink messages reports as down or gone."""
    at = 0
    while at + _HEADER.size <= len(message):
        length, kind, *_ = _HEADER.unpack_from(message, at)
        if length < _HEADER.size:
            return
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            flags = _LINK.unpack_from(message, at + _HEADER.size)[3]
            if kind == RTM_DELLINK or not flags & IFF_UP:
                yield _name(message[at + _HEADER.size + _LINK.size:at + length])
        at += (length + 3) & ~3


def _name(attributes: bytes) -> str:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == IFLA_IFNAME:
            return attributes[at + _ATTRIBUTE.size:at + length].rstrip(b"\0").decode()
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return "?"


class InterfaceWatch:
    """Calls `down(host, interface)` for each interface of these hosts that goes down from now on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hosts: list[Host], down: Callable[[Host, str], None]) -> None:
        self._loop, self._down = loop, down
        self._sockets = [self._open(host) for host in hosts]

    def _open(self, host: Host) -> socket.socket:
        with inside(host.netns):
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        sock.bind((0, RTMGRP_LINK))
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read, host, sock)
        return sock

    def _read(self, host: Host, sock: socket.socket) -> None:
        for interface in links_down(sock.recv(1 << 16)):
            self._down(host, interface)

    def close(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
