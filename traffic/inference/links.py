"""Keep-alive connections between hosts, one request at a time on each, as HTTP/1.1 has it.

    lease = links.lease(src, dst, broken)       an idle connection of the pair, or a new one

Both ends are ours (traffic/transports/tcp/lane.py), so a message has no header: its bytes are its size.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

from topologies.model.errors import RunError
from traffic.runtime.records import ConnectionRecord
from traffic.transports.base import Network, Options
from traffic.transports.flow import Meter
from traffic.transports.pool import Account, Lease, Pair, Pool

CONTROL_BYTES = 128     # of a message without content, such as an answer that says no: status line and headers
Over = Callable[[], None]


class Links:
    """All connections of one workload, between hosts by their names."""

    def __init__(self, network: Network, name: str, phase: str, seed: int, options: Options) -> None:
        self._hosts, self._name, self._seed = network.hosts, name, seed
        self._account = Account(name, phase)
        self._pool = Pool(network, options, self._account)
        self._pairs: dict[tuple[str, str], Pair] = {}

    @property
    def meter(self) -> Meter:
        """Bytes received so far."""
        return self._account.meter

    def lease(self, src: str, dst: str, broken: Over) -> Lease:
        """A connection from src to dst; `broken` is called at most once, when it cannot go on."""
        return self._pool.lease(self._pair(src, dst), lambda _error: broken())

    def refused(self, src: str, dst: str, broken: Over) -> Lease:
        """A connection to a program that has ended: the host refuses."""
        return self._pool.refused(self._pair(src, dst), lambda _error: broken())

    def _pair(self, src: str, dst: str) -> Pair:
        if (src, dst) not in self._pairs:
            ports = random.Random(f"{self._seed}/{self._name}/{src}/{dst}")  # noqa: S311 - no secret
            self._pairs[src, dst] = self._pool.pair(self._hosts[src], self._hosts[dst], ports)
        return self._pairs[src, dst]

    def close(self) -> list[ConnectionRecord]:
        """Close all; what each connection of the workload had to tell."""
        self._pool.close()
        return self._account.records


async def warm(links: Links, pairs: list[tuple[str, str]], timeout: float) -> None:
    """Have one connection of each pair stand. Raises RunError naming a pair that does not."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = set(pairs)

    def fail(pair: tuple[str, str]) -> None:
        if not done.done():
            done.set_exception(RunError(f"connection {pair[0]} -> {pair[1]}", "to stand", "it was refused or reset",
                                        "is an interface or a link down?"))

    def over(pair: tuple[str, str]) -> None:
        leases[pair].release()
        left.discard(pair)
        if not left and not done.done():
            done.set_result(None)

    leases: dict[tuple[str, str], Lease] = {}
    for pair in left.copy():
        leases[pair] = links.lease(*pair, partial(fail, pair))
        leases[pair].ask(1, partial(over, pair))
    try:
        await asyncio.wait_for(done, timeout)
    except TimeoutError:
        src, dst = sorted(left)[0]
        raise RunError(f"connection {src} -> {dst}", f"to stand within {timeout:g} s", "it does not",
                       "is a link down?") from None


