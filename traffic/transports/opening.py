"""Many connections at a time, and what is said where one does not come to stand or breaks."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from topologies.model.errors import LabError, RunError
from traffic.transports.base import Connection, Dial, Host, Network

SETUP_AT_ONCE = 64              # connections; more would overflow small queues with SYNs


def broken_between(client: Host, server: Host, doing: str, error: OSError) -> LabError:
    """The error for a connection that cannot go on, naming both of its hosts."""
    return RunError(f"connection {client.name} -> {server.name}", doing, os.strerror(error.errno or 0) or str(error),
                    f"is the interface of {client.name} ({client.ip}) or of {server.name} ({server.ip}) down?")


async def connect_all(wanted: Iterable[tuple[Network, Dial]], timeout: float) -> None:
    """Open all of `wanted`, a limited number at a time; where one fails, whoever wants it is called (`Dial.failed`).

    Raises RunError naming a pair whose connection does not stand in time.
    """
    done = asyncio.get_running_loop().create_future()
    waiting, underway = deque(wanted), dict[int, Dial]()

    def over(number: int, dial: Dial, connection: Connection) -> None:
        dial.opened(connection)
        del underway[number]
        more()

    def more() -> None:
        while waiting and len(underway) < SETUP_AT_ONCE:
            network, dial = waiting.popleft()
            number = len(waiting)
            underway[number] = dial
            network.connect(replace(dial, opened=partial(over, number, dial)))
        if not waiting and not underway and not done.done():
            done.set_result(None)

    more()
    try:
        await asyncio.wait_for(done, timeout)
    except TimeoutError:
        dial = next(iter(underway.values()))
        raise broken_between(dial.client, dial.server, f"a connection within {timeout:g} s",
                             TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))) from None
