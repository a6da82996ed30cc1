"""Whether the processes behind the switches still run, by pidfd: an end is reported as it happens, without polling."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable

_CREDENTIALS = struct.Struct("3i")      # struct ucred: pid, uid, gid


def peer(connection: socket.socket) -> int:
    """Pid of the process that has connected a unix socket."""
    size = _CREDENTIALS.size
    pid: int = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
    return pid


def when_ended(pid: int, then: Callable[[], None]) -> None:
    """Call `then` on a thread of its own once process `pid` has ended; soon, if it has ended already.

    A process whose parent has not asked for its exit status yet has ended, too.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        descriptor = None
    threading.Thread(target=_wait, args=(descriptor, then), name=f"end of {pid}", daemon=True).start()


def _wait(descriptor: int | None, then: Callable[[], None]) -> None:
    if descriptor is not None:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.poll()
        os.close(descriptor)
    then()
