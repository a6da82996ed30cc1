"""TCP sockets inside other network namespaces.

A socket belongs for life to the namespace that its thread is in when it is made; any event loop may
use it from then on. So: setns into the host, make the socket, setns back.
"""

from __future__ import annotations

import socket

from topologies.access.netns import inside
from topologies.model.errors import HostError
from traffic.transports.base import Options


def tcp_socket(path: str, options: Options) -> socket.socket:
    """A non-blocking TCP socket in the namespace `path`, with its congestion control and its DSCP set.

    Raises HostError naming the kernel module where the congestion control is not available.
    """
    with inside(path):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    prepare(sock, options)
    return sock


def prepare(sock: socket.socket, options: Options) -> None:
    """What every TCP socket of ours has set, those of accepted connections too."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, options.congestion_control.encode())
    except OSError:
        raise unavailable(options.congestion_control) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, options.dscp << 2)


def unavailable(congestion_control: str) -> HostError:
    """The error for a congestion control that this kernel does not have."""
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
        available = file.read().split()
    return HostError("congestion_control", f"one that this kernel has: {', '.join(available)}", congestion_control,
                     f"load the kernel module tcp_{congestion_control}, or choose another in the spec")
