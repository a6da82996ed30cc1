"""The sockets of a host that takes part in RoCEv2.

    raw     sends whole packets from IPv4 on; the kernel adds the route and the Ethernet header
    data    UDP port 4791: all that is no ACK, with kernel time stamps
    acks    the same port: ACKs and NAKs

RoCEv2 has one port for both directions, and our two processes each want theirs: the two sockets share the
port, and a filter of three instructions in the kernel looks at the opcode to choose.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass

from topologies.access.netns import inside
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from traffic.transports.rocev2.wire import ACKNOWLEDGE, ROCE_PORT
from traffic.transports.udp.wire import RECEIVE_BUFFER, SO_RCVBUFFORCE, SO_TIMESTAMPNS

SO_ATTACH_REUSEPORT_CBPF = 51
SEND_BUFFER = 65_536        # bytes of memory that waiting packets take: it holds the sender back, as a card's own does
ACK_BUFFER = 4 * 2**20
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x30, 0x15, 0x06     # BPF_LD|BPF_B|BPF_ABS, BPF_JMP|BPF_JEQ, BPF_RET|BPF_K
DATA, ACKS = 0, 1           # numbers of the two sockets in the order of their binding


@dataclass(frozen=True)
class Endpoint:
    """One host's sockets but those that send data: each queue pair has its own."""

    data: socket.socket
    acks: socket.socket
    answers: socket.socket


def _by_opcode(sock: socket.socket) -> None:
    """Give ACKs to the second socket of the port, all else to the first."""
    program = b"".join(_INSTRUCTION.pack(*i) for i in (
        (_LOAD_BYTE, 0, 0, 0), (_JUMP_EQUAL, 0, 1, ACKNOWLEDGE), (_RETURN, 0, 0, ACKS), (_RETURN, 0, 0, DATA)))
    held = ctypes.create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", 4, ctypes.addressof(held)))


def open_endpoint(inventory: Inventory, host: str) -> Endpoint:
    """Raises LabError if the port is taken."""
    path, ip = inventory.netns_path(host), inventory.fabric.host(host).ip
    with inside(path):
        data, acks = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(2))
    data.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        for sock in (data, acks):
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((ip, ROCE_PORT))
    except OSError as error:
        raise LabError(f"host {host}", f"UDP port {ROCE_PORT} of {ip} free", os.strerror(error.errno or 0),
                       "is another RoCEv2 program running on this host?") from None
    _by_opcode(data)
    return Endpoint(data, acks, open_raw(inventory, host, ACK_BUFFER))


def open_raw(inventory: Inventory, host: str, buffer: int = SEND_BUFFER) -> socket.socket:
    """A socket that takes whole IPv4 packets; its buffer is full when the host's own queue has so much of it."""
    with inside(inventory.netns_path(host)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return sock
