"""Entering a network namespace for the length of a with-block.

    with inside("/run/netns/af1-h1"):
        sock = socket.socket()          # stays in that namespace for good

A socket belongs for life to the namespace that its thread is in when it is made; any event loop may use it from then
on. Keep the block short and without await: everything on this thread is in there. setns moves the calling *thread*;
/proc/self/net follows the main thread, so read /proc/thread-self/net inside of the block.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from topologies.model.errors import HostError

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int, what: str) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        error = os.strerror(ctypes.get_errno())
        raise HostError(what, "a network namespace that can be entered", error, "run as root")


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Run the block in the namespace at `path`. Raises HostError that names it if it is gone."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        try:
            there = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise HostError(path, "a network namespace of the lab", os.strerror(error.errno or 0),
                            "the lab is down; `aifab clean` tidies what is left of it") from None
        try:
            _setns(there, path)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home, "the caller's namespace")
    finally:
        os.close(home)


def set_sysctl(key: str, value: str | int) -> None:
    """Set one sysctl of the calling thread's namespace; key as net.ipv4.x."""
    with open("/proc/sys/" + key.replace(".", "/"), "w") as file:
        file.write(str(value))


def get_sysctl(key: str) -> str:
    with open("/proc/sys/" + key.replace(".", "/")) as file:
        return file.read().strip()
