"""One switch of the engine as a controller sees it: its rules, groups and ports, whoever is connected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from topologies.switches.engine.agent.flows import Flows
from topologies.switches.engine.agent.groups import Group
from topologies.switches.engine.agent.link import EngineLink
from topologies.switches.engine.agent.replies import GroupCount, Port
from topologies.switches.engine.agent.wire import Refused

Count = tuple[int, int]     # packets, bytes


class Switch:
    """Its state outlives a controller's connection, as a real switch's does."""

    def __init__(self, name: str, dpid: int, ports: Sequence[Port], engine: EngineLink) -> None:
        self.name, self.dpid, self.engine = name, dpid, engine
        self.ports = {port.number: port for port in ports}
        self.up = dict.fromkeys(self.ports, True)
        self.powered = True
        self.flows = Flows()
        self.groups: dict[int, Group] = {}

    def lose_power(self) -> None:
        """The engine has forgotten the switch's rules."""
        self.powered = False
        self.flows.clear()
        self.groups.clear()

    def rule_counts(self, then: Callable[[dict[int, Count]], None]) -> None:
        """Number of a rule -> its count since its counters were last reset."""
        self.engine.ask(f"rules {self.name}", lambda answer: then(self._counts(answer)))

    def _counts(self, answer: str) -> dict[int, Count]:
        found: dict[int, Count] = {}
        for word in answer.split(" ")[1:] if answer.startswith("ok") else ():
            number, packets, octets = map(int, word.split(":"))
            rule = self.flows.by_number.get(number)
            if rule is not None:
                found[number] = packets - rule.packets0, octets - rule.bytes0
        return found

    def group_counts(self, then: Callable[[dict[int, GroupCount]], None]) -> None:
        self.engine.ask(f"groups {self.name}", lambda answer: then(_group_counts(answer)))


def _group_counts(answer: str) -> dict[int, GroupCount]:
    """`ok ID:PACKETS:BYTES:BUCKET=PACKETS,.. ...`"""
    found: dict[int, GroupCount] = {}
    for word in answer.split(" ")[1:] if answer.startswith("ok") else ():
        number, packets, octets, buckets = word.split(":")
        pairs = (pair.split("=") for pair in buckets.split(",") if pair)
        found[int(number)] = GroupCount(int(packets), int(octets), {int(b): int(n) for b, n in pairs})
    return found


class Connection(Protocol):
    """Who asks something of a switch: where answers go, and errors that come to light later."""

    switch: Switch

    def send(self, data: bytes) -> None: ...

    def refuse(self, refused: Refused, whole: bytes) -> None: ...
