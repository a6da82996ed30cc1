"""Sockets inside other network namespaces.

A socket belongs for life to the namespace that its thread is in when it is made; any event loop may
use it from then on. So: setns into the host, make the socket, setns back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from topologies.model.errors import HostError, LabError

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    if _libc().setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise HostError("network namespaces", "the right to enter a host's namespace", os.strerror(code), "run as root")


@contextmanager
def inside(path: str) -> Iterator[None]:
    """This thread is in the network namespace `path` (/run/netns/NAME) until the block ends.

    Keep the block short and without await: everything on this thread is in there.
    """
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(path, "the network namespace of a host of a running lab", os.strerror(error.errno or 0),
                       "is the lab still up?") from None
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        try:
            yield
        finally:
            _setns(here)
    finally:
        os.close(there)
        os.close(here)


class Tcp(NamedTuple):
    """What a connection's sockets have set at both ends."""

    congestion_control: str
    dscp: int = 0


def tcp_socket(path: str, tcp: Tcp) -> socket.socket:
    """A non-blocking TCP socket in the namespace `path`, with its congestion control and its DSCP set.

    Raises HostError naming the kernel module where the congestion control is not available.
    """
    with inside(path):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    prepare(sock, tcp)
    return sock


def prepare(sock: socket.socket, tcp: Tcp) -> None:
    """What every TCP socket of the engine has set, those of accepted connections too."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, tcp.congestion_control.encode())
    except OSError:
        raise unavailable(tcp.congestion_control) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tcp.dscp << 2)


def unavailable(congestion_control: str) -> HostError:
    """The error for a congestion control that this kernel does not have."""
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
        available = file.read().split()
    return HostError("congestion_control", f"one that this kernel has: {', '.join(available)}", congestion_control,
                     f"load the kernel module tcp_{congestion_control}, or choose another in the spec")


def allow_descriptors(count: int) -> None:
    """Raise this process' limit of open files to at least `count`. Raises HostError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (OSError, ValueError) as error:
        raise HostError("open files", f"a limit of {count} for the connections of this run", f"{soft} ({error})",
                        "raise it with ulimit -n, or run fewer ranks or flows_per_pair") from None


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when the thread that started it ends."""
    _libc().prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def run_beside_switches() -> None:
    """Give this process the priority of the switches, where that is allowed.

    It stands for the hosts, which have processors of their own; behind the switches it would wait for
    them (docs/decisions/015-switches-run-first.md).
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
