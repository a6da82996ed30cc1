"""Keep-alive connections, one user at a time on each: an idle one of the pair, the one used last, or a new one.

    lease = pool.lease(pair, broken)
    lease.ask(bytes, over)     client -> server       lease.answer(bytes, over)   server -> client
    lease.release()            idle again             lease.abandon()             closed: what is on its way is lost
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from traffic.runtime.records import ConnectionRecord
from traffic.transports.base import Connection, Dial, Host, Network, Options
from traffic.transports.flow import Meter, send

CLOSED_AT_ONCE, CLOSING_PAUSE = 32, 4e-3    # connections; seconds
Over = Callable[[], None]


class Account:
    """What the connections of one workload carry, and the record of each at its end."""

    def __init__(self, workload: str, phase: str) -> None:
        self._workload, self._phase = workload, phase
        self.meter = Meter()
        self.records: list[ConnectionRecord] = []

    def close(self, connection: Connection) -> None:
        self.records.append(connection.record(self._workload, self._phase))
        connection.close()

    def close_all(self, connections: Iterable[Connection]) -> None:
        """With pauses: thousands of resets at once would hold the switches up for 60 ms."""
        for number, connection in enumerate(connections, start=1):
            self.close(connection)
            if number % CLOSED_AT_ONCE == 0:
                time.sleep(CLOSING_PAUSE)


@dataclass(slots=True, eq=False)
class Pair:
    """Who connects to whom, from ports drawn from `ports`; idle connections, the one used last at the end."""

    client: Host
    server: Host
    ports: random.Random
    idle: list[Connection] = field(default_factory=list)


class Lease:
    """One use of a connection. `broken` is called at most once, when it cannot go on."""

    __slots__ = ("_broken", "_pool", "_waiting", "connection", "is_over", "pair")

    def __init__(self, pool: Pool, pair: Pair, broken: Callable[[OSError], None]) -> None:
        self._pool, self.pair, self._broken = pool, pair, broken
        self.connection: Connection | None = None
        self._waiting: list[Callable[[Connection], None]] = []      # asked before the connection stood
        self.is_over = False

    def opened(self, connection: Connection) -> None:
        """The connection stands."""
        self.connection = connection
        for call in self._waiting:
            call(connection)
        self._waiting.clear()

    def when_open(self, call: Callable[[Connection], None]) -> None:
        """Call with the connection, now or once it stands."""
        if self.connection is None:
            self._waiting.append(call)
        else:
            call(self.connection)

    def ask(self, size: int, over: Over) -> None:
        """Send to the server, once the connection stands."""
        self.when_open(lambda connection: send(connection.forward, size, over))

    def answer(self, size: int, over: Over) -> None:
        """Send to who asked."""
        if self.connection is not None:
            send(self.connection.back, size, over)

    def release(self) -> None:
        """The exchange is over; the connection may serve another."""
        if not self.is_over:
            self.is_over = True
            self._pool.idle(self)

    def abandon(self) -> None:
        """Nobody wants the rest. Twice is fine."""
        if not self.is_over:
            self.is_over = True
            self._pool.drop(self)

    def fail(self, error: OSError) -> None:
        """The connection broke, or did not come to stand."""
        if not self.is_over:
            self.is_over = True
            self._broken(error)


class Pool:
    """The connections of one workload."""

    def __init__(self, network: Network, options: Options, account: Account) -> None:
        self._network, self._options, self._account = network, options, account
        self._pairs: list[Pair] = []
        self._users: dict[Connection, Lease] = {}

    def pair(self, client: Host, server: Host, ports: random.Random) -> Pair:
        """A pair to lease connections of."""
        self._pairs.append(Pair(client, server, ports))
        return self._pairs[-1]

    def lease(self, pair: Pair, broken: Callable[[OSError], None]) -> Lease:
        """A connection of the pair; `broken` may be called at once."""
        lease = Lease(self, pair, broken)
        if pair.idle:
            self._use(lease, pair.idle.pop())
        else:
            self._open(lease)
        return lease

    def refused(self, pair: Pair, broken: Callable[[OSError], None]) -> Lease:
        """A connection to a program that has ended: its host refuses."""
        lease = Lease(self, pair, broken)
        self._open(lease, served=False)
        return lease

    def _open(self, lease: Lease, served: bool = True) -> None:
        pair = lease.pair
        self._network.connect(Dial(pair.client, pair.server, self._options, pair.ports, self._account.meter,
                                   partial(self._opened, lease), lease.fail, self._break, served))

    def _opened(self, lease: Lease, connection: Connection) -> None:
        if lease.is_over:       # given up meanwhile
            lease.pair.idle.append(connection)
        else:
            self._use(lease, connection)

    def _use(self, lease: Lease, connection: Connection) -> None:
        self._users[connection] = lease
        lease.opened(connection)

    def _break(self, connection: Connection, error: OSError) -> None:
        lease = self._users.pop(connection, None)
        for pair in self._pairs:
            if connection in pair.idle:
                pair.idle.remove(connection)
        self._account.close(connection)
        if lease is not None:
            lease.fail(error)

    def idle(self, lease: Lease) -> None:
        """A lease ended well."""
        if lease.connection is not None and self._users.pop(lease.connection, None) is not None:
            lease.pair.idle.append(lease.connection)

    def drop(self, lease: Lease) -> None:
        """A lease was abandoned: its connection is of no use any more."""
        if lease.connection is not None and self._users.pop(lease.connection, None) is not None:
            self._account.close(lease.connection)

    def close(self) -> None:
        """Close all connections."""
        self._account.close_all([*self._users, *(c for pair in self._pairs for c in pair.idle)])
        self._users.clear()
        for pair in self._pairs:
            pair.idle.clear()
