"""The kernel's TCP: both sockets of a connection live in one process, each in its host's namespace.

    network.py     listeners, and connections on their way
    connection.py  an established connection, and what TCP_INFO knows of it
    lane.py        the hot path: bytes through one direction
    sockets.py     a socket inside another namespace, with its congestion control and its DSCP
    settings.py    what is set in a host's TCP before traffic starts
"""

from __future__ import annotations

from traffic.transports.base import Transport
from traffic.transports.overhead import Overhead
from traffic.transports.tcp.network import TcpNetwork

_HEADERS = 52       # IPv4 20, TCP 20, time stamps 12
_ACK_FRAME = 66     # Ethernet 14 + those 52: an ACK without data
_PER_ACK = 2.0      # Linux's delayed ACKs on a steady stream

TCP = Transport("tcp", Overhead(_HEADERS, _ACK_FRAME, _PER_ACK), TcpNetwork,
                lambda fabric: fabric.tcp.congestion_control)
