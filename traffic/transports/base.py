"""What a transport is: it opens connections between hosts, and a connection has a lane each way.

    Transport ──network──> Network ──connect(Dial)──> Connection ──forward, back──> Lane (flow.py)

What the bytes are for, collectives, requests or KV caches, is above it. A transport is a folder beside this file and a
line in registry.py; tests/toys/pipe.py is the smallest one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from topologies.model.spec import FabricSpec
from traffic.runtime.records import ConnectionRecord
from traffic.transports.flow import Lane, Meter
from traffic.transports.overhead import Overhead


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host's sockets are made."""

    name: str
    ip: str
    netns: str      # path


@dataclass(frozen=True, slots=True)
class Options:
    """What a connection has set at both ends; a transport has congestion controls of its own."""

    congestion_control: str
    dscp: int = 0


class Connection(Protocol):
    """An established connection; `forward` is the client's direction."""

    @property
    def client(self) -> Host: ...
    @property
    def server(self) -> Host: ...
    @property
    def sport(self) -> int: ...
    @property
    def forward(self) -> Lane: ...
    @property
    def back(self) -> Lane: ...

    def record(self, workload: str, phase: str) -> ConnectionRecord:
        """What it has carried, and what the transport knows of it."""

    def close(self) -> None:
        """End it at once; what is on its way is lost, and its port may serve another."""


@dataclass(frozen=True, slots=True)
class Dial:
    """A connection that somebody wants.

    ports    draws source ports, so that the same seed takes the same paths through an ECMP fabric
    opened   called with it once both ends stand, or `failed` once instead; either may be called at once
    broken   called with the first error of an established connection
    served   False: to a program that has ended; the host refuses
    """

    client: Host
    server: Host
    options: Options
    ports: random.Random
    meter: Meter
    opened: Callable[[Connection], None]
    failed: Callable[[OSError], None]
    broken: Callable[[Connection, OSError], None]
    served: bool = True


class Network(Protocol):
    """A transport at work between the hosts of a process."""

    @property
    def hosts(self) -> Mapping[str, Host]: ...
    @property
    def protocol(self) -> Literal["tcp", "udp"]:
        """What IP carries it in: with addresses and ports, what ECMP hashes."""
    @property
    def port(self) -> int:
        """Where every host listens."""

    def listen(self, host: Host) -> None:
        """Have `host` accept connections; twice is fine. Raises LabError."""

    def connect(self, dial: Dial) -> None:
        """Open a connection."""

    def close(self) -> None:
        """Stop listening, and forget connections that do not stand yet."""


@dataclass(frozen=True)
class Transport:
    """How bytes travel between hosts.

    network              starts it in a process    congestion_control    what it uses where a workload says nothing
    """

    name: str
    overhead: Overhead
    network: Callable[[asyncio.AbstractEventLoop, Mapping[str, Host]], Network]
    congestion_control: Callable[[FabricSpec], str]
