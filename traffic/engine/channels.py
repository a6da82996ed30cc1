"""Which connection a transfer takes: one of its pair's own (shared), or an idle or new one (pool)."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypedDict

from topologies.model.errors import LabError
from traffic.engine.lane import Lane, Meter
from traffic.engine.mesh import PORT, Connection, Host, Network, Opened, broken_between
from traffic.engine.namespaces import Tcp
from traffic.runtime.records import ConnectionRecord
from traffic.workloads.lowering import Program
from traffic.workloads.workload import Transfer

Lanes = Callable[[list[Lane]], None]
Broken = Callable[[str, LabError], None]    # operation ('' if none was using it), what happened
CLOSED_AT_ONCE, CLOSING_PAUSE = 32, 4e-3    # connections; seconds


class Standing(TypedDict):
    """A connection of a pair of ranks: which one of the pair's, between which hosts, from which port to which."""

    workload: str
    ranks: tuple[int, int]
    number: int
    src: str
    dst: str
    sport: int
    dport: int


class Channels(Protocol):
    """Lanes for the transfers of one workload."""

    meter: Meter

    def wanted(self) -> list[tuple[Host, Host, Tcp, random.Random, Opened]]:
        """Connections that must stand before traffic starts."""

    def lanes(self, op: Transfer, ready: Lanes) -> None:
        """Call `ready` with the lanes of a transfer, now or once they stand."""

    def over(self, op: Transfer) -> None:
        """The transfer is over: its lanes may serve another."""

    def give_up(self, op: Transfer) -> None:
        """The transfer will not go on: whatever is left of it is thrown away."""

    def standing(self) -> list[Standing]:
        """The connections that stand before traffic starts."""

    def close(self) -> list[ConnectionRecord]:
        """Close every connection; what each of them has to tell."""


class _Base:
    """What shared and pooled channels have in common."""

    def __init__(self, program: Program, network: Network, seed: int, phase: str, broken: Broken) -> None:
        self.workload, self.network, self.phase = program.workload, network, phase
        self._seed, self._on_broken = seed, broken
        self.meter = Meter()
        self.tcp = Tcp(self.workload.congestion_control, self.workload.dscp)
        self.told: list[ConnectionRecord] = []

    def _host(self, rank: int) -> Host:
        return self.network.hosts[self.workload.hosts[rank]]

    def _ports(self, src: int, dst: int) -> random.Random:
        """Source ports of a pair, the same for a seed and the names of the two hosts."""
        client, server = self._host(src).name, self._host(dst).name
        return random.Random(f"{self._seed}/{self.workload.name}/{src}/{client}/{dst}/{server}")  # noqa: S311 - no secret

    def _connection(self, src: int, dst: int, near: socket.socket, far: socket.socket,
                    broken: Callable[[Connection, OSError], None]) -> Connection:
        loop = asyncio.get_running_loop()
        return Connection(loop, self._host(src), self._host(dst), (near, far), self.meter, broken)

    def _tell(self, c: Connection) -> None:
        """Note what TCP knows of a connection, and close it."""
        here, there = c.info()
        self.told.append(ConnectionRecord(
            self.workload.name, self.phase, c.client.name, c.server.name, c.sport, PORT, here.congestion_control,
            c.forward.received, here.retransmits, here.rtt, c.back.received, there.retransmits))
        c.close()
        self.network.release(c.client, c.sport)

    def _tell_all(self, connections: Iterable[Connection]) -> None:
        """The same of many, with pauses: thousands of resets at once would hold the switches up for 60 ms."""
        for number, c in enumerate(connections, start=1):
            self._tell(c)
            if number % CLOSED_AT_ONCE == 0:
                time.sleep(CLOSING_PAUSE)


class Shared(_Base):
    """flows_per_pair connections for each pair of ranks that talks, open from before the start."""

    def __init__(self, program: Program, network: Network, seed: int, phase: str, broken: Broken) -> None:
        super().__init__(program, network, seed, phase, broken)
        self._pairs: dict[tuple[int, int], list[Connection]] = {pair: [] for pair in program.pairs()}

    def wanted(self) -> list[tuple[Host, Host, Tcp, random.Random, Opened]]:
        found: list[tuple[Host, Host, Tcp, random.Random, Opened]] = []
        for src, dst in self._pairs:
            one = (self._host(src), self._host(dst), self.tcp, self._ports(src, dst),
                   partial(self._opened, src, dst))
            found += [one] * self.workload.flows_per_pair
        return found

    def _opened(self, src: int, dst: int, near: socket.socket, far: socket.socket) -> None:
        connections = self._pairs[src, dst]
        connections.append(self._connection(src, dst, near, far, self._break))
        connections.sort(key=lambda c: c.sport)     # not by the order in which the network let them stand

    def _break(self, c: Connection, error: OSError) -> None:
        self._on_broken("", broken_between(c.client, c.server, f"workload {self.workload.name} to go on", error))

    def standing(self) -> list[Standing]:
        return [Standing(workload=self.workload.name, ranks=pair, number=k, src=c.client.name, dst=c.server.name,
                         sport=c.sport, dport=PORT)
                for pair, connections in self._pairs.items() for k, c in enumerate(connections)]

    def lanes(self, op: Transfer, ready: Lanes) -> None:
        if op.reply:
            ready([c.back for c in self._pairs[op.dst, op.src]])
        else:
            ready([c.forward for c in self._pairs[op.src, op.dst]])

    def over(self, op: Transfer) -> None:
        """Its connections stay with the pair."""

    def give_up(self, op: Transfer) -> None:
        """Shared connections are never given up: the run ends instead."""

    def close(self) -> list[ConnectionRecord]:
        self._tell_all(c for connections in self._pairs.values() for c in connections)
        for connections in self._pairs.values():
            connections.clear()
        return self.told


class Pool(_Base):
    """A request takes the connection of its pair that was used last, or opens one; its answer uses the same."""

    def __init__(self, program: Program, network: Network, seed: int, phase: str, broken: Broken) -> None:
        super().__init__(program, network, seed, phase, broken)
        self._answered = {op.reply for op in program.ops if isinstance(op, Transfer) and op.reply}
        self._idle: dict[tuple[int, int], list[Connection]] = {pair: [] for pair in program.pairs()}
        self._port_draws = {pair: self._ports(*pair) for pair in program.pairs()}
        self._users: dict[str, Connection] = {}     # request (or transfer without answer) -> its connection
        self._holding: dict[Connection, tuple[str, Transfer]] = {}
        self._connecting: set[str] = set()

    def wanted(self) -> list[tuple[Host, Host, Tcp, random.Random, Opened]]:
        return []

    def standing(self) -> list[Standing]:
        return []

    def lanes(self, op: Transfer, ready: Lanes) -> None:
        if op.reply:
            c = self._users[op.reply]
            self._holding[c] = (op.reply, op)
            ready([c.back])
            return
        idle = self._idle[op.src, op.dst]
        if idle:
            self._take(idle.pop(), op, ready)
            return
        self._connecting.add(op.id)
        self.network.connect(self._host(op.src), self._host(op.dst), self.tcp,
                             self._port_draws[op.src, op.dst], partial(self._opened, op, ready),
                             partial(self._refused, op))

    def _take(self, c: Connection, op: Transfer, ready: Lanes) -> None:
        self._users[op.id] = c
        self._holding[c] = (op.id, op)
        ready([c.forward])

    def _opened(self, op: Transfer, ready: Lanes, near: socket.socket, far: socket.socket) -> None:
        c = self._connection(op.src, op.dst, near, far, self._break)
        if op.id in self._connecting:
            self._connecting.discard(op.id)
            self._take(c, op, ready)
        else:       # given up meanwhile
            self._idle[op.src, op.dst].append(c)

    def _refused(self, op: Transfer, error: OSError) -> None:
        if op.id in self._connecting:
            self._connecting.discard(op.id)
            self._on_broken(op.id, broken_between(self._host(op.src), self._host(op.dst),
                                                  f"a connection for {op.id}", error))

    def _break(self, c: Connection, error: OSError) -> None:
        request, op = self._holding.pop(c, ("", None))
        self._users.pop(request, None)
        for idle in self._idle.values():
            if c in idle:
                idle.remove(c)
        self._tell(c)
        if op is not None:
            self._on_broken(op.id, broken_between(c.client, c.server, f"{op.id} to go on", error))

    def over(self, op: Transfer) -> None:
        request = op.reply or op.id
        if op.reply or op.id not in self._answered:
            c = self._users.pop(request)
            del self._holding[c]
            self._idle[(op.dst, op.src) if op.reply else (op.src, op.dst)].append(c)

    def give_up(self, op: Transfer) -> None:
        c = self._users.pop(op.reply or op.id, None)
        if c is not None:
            del self._holding[c]
            self._tell(c)
        self._connecting.discard(op.id)

    def close(self) -> list[ConnectionRecord]:
        self._tell_all([*self._users.values(), *(c for idle in self._idle.values() for c in idle)])
        self._users.clear()
        self._idle.clear()
        return self.told


def channels(program: Program, network: Network, seed: int, phase: str, broken: Broken) -> Channels:
    """The channels that a workload asks for."""
    kind = Pool if program.workload.connections == "pool" else Shared
    return kind(program, network, seed, phase, broken)
