"""What we use of os-ken's connections and messages, as types: os-ken itself has none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Entry = TypeVar("Entry")


class Message(Protocol):
    """One to a switch. xid: None until it is numbered; buf: its bytes, once it is serialised."""

    xid: int | None
    buf: bytes

    def serialize(self) -> None: ...


class Port(Protocol):
    """A switch's description of a port. state and config: bits of OFPPS and OFPPC."""

    port_no: int
    state: int
    config: int


class Datapath(Protocol):
    """The connection of one switch."""

    id: int
    socket: socket.socket

    @property
    def ports(self) -> Mapping[int, Port]: ...

    def set_xid(self, message: Message) -> object: ...

    def send(self, buf: bytes) -> object: ...

    def send_msg(self, message: Message) -> object: ...

    def close(self) -> None: ...


class Received(Protocol):
    """A message of a switch: a reply bears its request's xid."""

    datapath: Datapath
    xid: int


class RemovedFlow(Received, Protocol):
    table_id: int
    priority: int
    cookie: int
    stats: Mapping[str, int]


class PortStatus(Received, Protocol):
    desc: Port


class Refusal(Received, Protocol):
    type: int
    code: int


@dataclass(frozen=True)
class FlowCounter:
    """One installed flow: identity and counters."""

    table: int
    priority: int
    cookie: int
    packets: int
    bytes: int


class BucketCounters(Protocol):
    packet_count: int
    byte_count: int


class GroupCounters(Protocol):
    """Of a group and of its buckets, in the switch's order."""

    group_id: int
    packet_count: int
    byte_count: int
    bucket_stats: Sequence[BucketCounters]


@dataclass(frozen=True)
class Request(Generic[Entry]):
    """Something to ask a switch; its reply has entries of this type."""

    message: Callable[[Datapath], Message]
