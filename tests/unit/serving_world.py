"""Serving without sockets: clients, gateway and replicas as they are, a clock that jumps, wires without queues."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from topologies.model.expansion import expand
from topologies.model.load import load_fabric
from traffic.inference import client, replica
from traffic.inference.client import Clients, Exchange
from traffic.inference.gateway import Gateway
from traffic.inference.kv import shipping
from traffic.inference.plan import Serving, serving_of
from traffic.inference.replica import Replica, Roofed
from traffic.workloads.specs import ServingSpec

Call = Callable[[], None]
RATE = 1e9      # bit/s of a wire, whoever else sends
DELAY = 1e-4    # s


class Clock:
    """Timers whose time is that of the last call."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Call]] = []
        self._order = itertools.count()

    def at(self, when: float, call: Call) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), call))

    def run(self, until: float = float("inf")) -> None:
        """Everything that is due until then."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self._heap)
            call()
        if until < float("inf"):
            self.now = max(self.now, until)


class Wire:
    """A lease of a connection: messages arrive in order, unless it is given up."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._free, self.is_over = clock, 0.0, False

    def ask(self, size: int, over: Call) -> None:
        self._free = max(self._free, self._clock.now) + 8 * size / RATE
        self._clock.at(self._free + DELAY, lambda: None if self.is_over else over())

    answer = ask

    def release(self) -> None:
        """Nothing is on its way."""

    def abandon(self) -> None:
        self.is_over = True


class Wires:
    """Links of a workload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def lease(self, _src: str, _dst: str, _broken: Call) -> Wire:
        return Wire(self._clock)


class World:
    """One workload on the border fabric, of keys or of a spec; `exchanges` are requests that have ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int = 1, spec: ServingSpec | None = None,
                 **keys: Any) -> None:
        self.clock, self.exchanges = Clock(), list[Exchange]()
        for module in (client, replica, shipping):
            monkeypatch.setattr(module, "monotonic", lambda: self.clock.now)
        spec = spec or ServingSpec.model_validate({"kind": "serving", **keys})
        self.serving: Serving = serving_of(spec, expand(load_fabric("border")), "chat", seed)
        self.replicas = {name: Replica(name, self.serving, Roofed(self.clock), self.clock)      # type: ignore[arg-type]
                         for name in self.serving.workers}
        wires = Wires(self.clock)
        self.gateway = Gateway(self.serving, self.replicas, wires, seed)        # type: ignore[arg-type]
        self.clients = Clients(self.serving, self.gateway, wires, self.clock, self.exchanges.append)    # type: ignore[arg-type]
        for name, after in spec.failures:
            self.clock.at(after * self.serving.time, lambda name=name: self.gateway.kill(name))     # type: ignore[misc]

    def run(self) -> list[dict[str, Any]]:
        """To the end: the records of all requests, by their ids."""
        self.clients.start(0.0)
        self.clock.run()
        found = [e.record("main", 0.0) for e in self.exchanges]
        return sorted(({k: getattr(r, k) for k in r.__slots__} for r in found), key=lambda r: int(r["id"]))
