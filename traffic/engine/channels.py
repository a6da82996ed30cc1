"""Which connection a transfer takes: one of its pair's own (shared), or an idle or new one (pool)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from topologies.access.events import Standing
from topologies.model.errors import LabError
from traffic.runtime.records import ConnectionRecord
from traffic.transports.base import Connection, Dial, Host, Network, Options
from traffic.transports.flow import Lane, Meter
from traffic.transports.opening import broken_between
from traffic.transports.pool import Account, Lease, Pool
from traffic.workloads.lowering import Program
from traffic.workloads.workload import Transfer

Lanes = Callable[[Sequence[Lane]], None]
Broken = Callable[[str, LabError], None]    # operation ('' if none was using it), what happened


class Channels(Protocol):
    """Lanes for the transfers of one workload."""

    @property
    def meter(self) -> Meter:
        """Bytes received so far."""

    def wanted(self) -> list[tuple[Network, Dial]]:
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
        self.workload, self.network = program.workload, network
        self._seed, self._on_broken = seed, broken
        self.account = Account(self.workload.name, phase)
        self.options = Options(self.workload.congestion_control, self.workload.dscp)

    @property
    def meter(self) -> Meter:
        return self.account.meter

    def _host(self, rank: int) -> Host:
        return self.network.hosts[self.workload.hosts[rank]]

    def _ports(self, src: int, dst: int) -> random.Random:
        """Source ports of a pair, the same for a seed and the names of the two hosts."""
        client, server = self._host(src).name, self._host(dst).name
        return random.Random(f"{self._seed}/{self.workload.name}/{src}/{client}/{dst}/{server}")  # noqa: S311 - no secret


class Shared(_Base):
    """flows_per_pair connections for each pair of ranks that talks, open from before the start."""

    def __init__(self, program: Program, network: Network, seed: int, phase: str, broken: Broken) -> None:
        super().__init__(program, network, seed, phase, broken)
        self._pairs: dict[tuple[int, int], list[Connection]] = {pair: [] for pair in program.pairs()}

    def wanted(self) -> list[tuple[Network, Dial]]:
        found: list[tuple[Network, Dial]] = []
        for src, dst in self._pairs:
            dial = Dial(self._host(src), self._host(dst), self.options, self._ports(src, dst), self.meter,
                        partial(self._opened, src, dst), partial(self._refused, src, dst), self._break)
            found += [(self.network, dial)] * self.workload.flows_per_pair
        return found

    def _opened(self, src: int, dst: int, connection: Connection) -> None:
        connections = self._pairs[src, dst]
        connections.append(connection)
        connections.sort(key=lambda c: c.sport)     # not by the order in which the network let them stand

    def _refused(self, src: int, dst: int, error: OSError) -> None:
        server = self._host(dst)
        doing = f"a connection to {server.ip} port {self.network.port}"
        self._on_broken("", broken_between(self._host(src), server, doing, error))

    def _break(self, c: Connection, error: OSError) -> None:
        self._on_broken("", broken_between(c.client, c.server, f"workload {self.workload.name} to go on", error))

    def standing(self) -> list[Standing]:
        return [Standing(workload=self.workload.name, ranks=pair, number=k, src=c.client.name, dst=c.server.name,
                         protocol=self.network.protocol, sport=c.sport, dport=self.network.port)
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
        self.account.close_all(c for connections in self._pairs.values() for c in connections)
        for connections in self._pairs.values():
            connections.clear()
        return self.account.records


class Pooled(_Base):
    """A request takes the connection of its pair that was used last, or opens one; its answer uses the same."""

    def __init__(self, program: Program, network: Network, seed: int, phase: str, broken: Broken) -> None:
        super().__init__(program, network, seed, phase, broken)
        self._answered = {op.reply for op in program.ops if isinstance(op, Transfer) and op.reply}
        self._pool = Pool(network, self.options, self.account)
        self._pairs = {(src, dst): self._pool.pair(self._host(src), self._host(dst), self._ports(src, dst))
                       for src, dst in program.pairs()}
        self._leases: dict[str, Lease] = {}     # of requests, and of transfers without answer

    def wanted(self) -> list[tuple[Network, Dial]]:
        return []

    def standing(self) -> list[Standing]:
        return []

    def lanes(self, op: Transfer, ready: Lanes) -> None:
        if op.reply:
            self._leases[op.reply].when_open(lambda c: ready([c.back]))
            return
        lease = self._leases[op.id] = self._pool.lease(self._pairs[op.src, op.dst], partial(self._failed, op))
        lease.when_open(lambda c: ready([c.forward]))

    def _failed(self, op: Transfer, error: OSError) -> None:
        doing = f"a connection on which {op.id} goes on"
        self._on_broken(op.id, broken_between(self._host(op.src), self._host(op.dst), doing, error))

    def over(self, op: Transfer) -> None:
        if op.reply or op.id not in self._answered:
            self._leases.pop(op.reply or op.id).release()

    def give_up(self, op: Transfer) -> None:
        lease = self._leases.pop(op.reply or op.id, None)
        if lease is not None:
            lease.abandon()

    def close(self) -> list[ConnectionRecord]:
        self._pool.close()
        return self.account.records


def channels(program: Program, network: Network, seed: int, phase: str, broken: Broken) -> Channels:
    """The channels that a workload asks for."""
    kind: type[Pooled | Shared] = Pooled if program.workload.connections == "pool" else Shared
    return kind(program, network, seed, phase, broken)
