"""What a packet of a stream carries, and the sockets that carry it.

    magic 4 | stream 4 | sequence number 8 | CLOCK_REALTIME ns of its sending 8 | zeros up to the frame
"""

from __future__ import annotations

import os
import socket
import struct

from topologies.access.netns import inside
from topologies.access.process import allow_files
from topologies.model.errors import LabError, RunError
from topologies.model.inventory import Inventory
from traffic.transports.udp.plan import Stream

MAGIC = 0xA1FA_B001
HEADER = struct.Struct("!IIQq")      # magic, stream, sequence number, stamp

SO_TIMESTAMPNS = 35             # of asm-generic/socket.h; Python does not name them
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
SK_MEMINFO_DROPS = 8            # the counter that SO_RXQ_OVFL tells with each packet, readable at the end too
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DO = 2              # a frame that does not fit is an error, never two fragments
SEND_BUFFER = 64 * 2**20
RECEIVE_BUFFER = 64 * 2**20
OTHER_FILES = 64                # pipes, namespaces, standard streams, records


def allow_sockets(count: int) -> None:
    """Raise this process's limit of open files for `count` sockets. Raises HostError if it cannot go so far."""
    allow_files(count + OTHER_FILES, f"{count} sockets of packet streams", "fewer flows")


def _udp(netns: str) -> socket.socket:
    with inside(netns):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def _bind(sock: socket.socket, stream: Stream, host: str, ip: str, port: int) -> None:
    try:
        sock.bind((ip, port))
    except OSError as error:
        raise LabError(f"stream {stream.name}", f"UDP port {port} of {ip} free on {host}",
                       os.strerror(error.errno or 0), "is another job of streams running on this host?") from None


def open_receiver(inventory: Inventory, stream: Stream, port: int) -> socket.socket:
    """The stream's socket at its destination, with kernel time stamps. Raises LabError."""
    sock = _udp(inventory.netns_path(stream.dst))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    _bind(sock, stream, stream.dst, inventory.fabric.host(stream.dst).ip, port)
    return sock


def open_sender(inventory: Inventory, stream: Stream, source: int, port: int) -> socket.socket:
    """One flow of the stream at its source: bound to the source port, connected. Raises LabError.

    IP_RECVERR stays off: a packet that the host's own queue drops was sent, and that queue counts it.
    """
    sock = _udp(inventory.netns_path(stream.src))
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, stream.dscp << 2)
    _bind(sock, stream, stream.src, inventory.fabric.host(stream.src).ip, source)
    try:
        sock.connect((inventory.fabric.host(stream.dst).ip, port))
    except OSError as error:
        raise RunError(f"stream {stream.name}", f"a route from {stream.src} to {stream.dst}",
                       os.strerror(error.errno or 0), f"is {stream.src}'s interface up?") from None
    return sock


def socket_drops(sock: socket.socket) -> int:
    """Packets that the kernel dropped at this socket because its receive buffer was full."""
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 9 * 4)
    return int(struct.unpack_from("=I", info, SK_MEMINFO_DROPS * 4)[0])
