"""What a running switch is asked and told beside OpenFlow, whatever datapath it is of.

It needs nothing of what built the lab, so the controller's southbound may use it. Every call raises LabError if the
switch does not answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from topologies.model.inventory import SwitchProcess

Layer4 = Literal["tcp", "udp"]


@dataclass(frozen=True)
class Frame:
    """A packet of a flow as it comes in by an OpenFlow port."""

    in_port: int
    protocol: Layer4
    src_mac: str
    dst_mac: str
    src_ip: str
    dst_ip: str
    sport: int
    dport: int


@dataclass(frozen=True)
class Sent:
    """tunnel_ends: VTEP addresses that the packet would be encapsulated to. shown: the switch's words, for messages."""

    tunnel_ends: tuple[str, ...]
    shown: str


@dataclass(frozen=True)
class Management:
    """The queries and orders that a datapath answers.

    is_switch        whether a pid is a process that forwards, and not another one that got the number after it
    set_neighbours   the MACs of remote VTEPs for a switch's tunnel, as (IP, MAC); renews those that it knows
    flush_caches     the next packet of each flow is held against the rules
    settle_counters  wait until the rules' counters are up to date
    drop_counts      cookie of a drop rule -> packets
    path_of          what the switch would do with a packet; nothing is sent or counted
    forwards         whether a switch whose process lives forwards: a connection may be lost because it lost its power
    """

    is_switch: Callable[[int], bool]
    set_neighbours: Callable[[SwitchProcess, Iterable[tuple[str, str]]], None]
    flush_caches: Callable[[SwitchProcess], None]
    settle_counters: Callable[[SwitchProcess], None]
    drop_counts: Callable[[SwitchProcess], Counter[int]]
    path_of: Callable[[SwitchProcess, Frame], Sent]
    forwards: Callable[[SwitchProcess], bool] = lambda _switch: True
