"""Hop by hop: what each took in, and what it gave on. A difference has a place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from topologies.model.fabric import End, Fabric, Link
from topologies.proof.ledger import Accounting
from topologies.switches.engine.accounting import ENGINE
from topologies.switches.engine.counters import REASONS
from topologies.switches.engine.layout import is_host, node_name

ON_ITS_WAY = " on its way"


class Walk:
    """One accounting. What a pulled cable ended is taken from what the direction says was cut: what waited is missing
    in front of it, what was on its way behind it."""

    def __init__(self, accounting: Accounting) -> None:
        self.accounting, self.fabric = accounting, accounting.fabric
        self._cut = Counter({name: self._into(f"{name} cut") for link in self.fabric.links for d in link.directions
                             for name in (d, d + ON_ITS_WAY)})
        self._cut.update({s.name: self._into(f"{s.name} cut") for s in self.fabric.switches})
        self._given = {"injected": self._into("injected"), "packet-outs": self._into("packet-outs")}

    def _into(self, what: str) -> int:
        return self.accounting.rx(ENGINE, what)

    def _out_of(self, what: str) -> int:
        return self.accounting.tx(ENGINE, what)

    def all(self) -> None:
        for link in self.fabric.links:
            if is_host(self.fabric, link.a):
                self._from_host(link, link.a)
                self._to_host(link, link.a)
        for switch in self.fabric.switches:
            self._switch(switch.name)
        for name, left in self._cut.items():
            self.accounting.lose(f"{name.removesuffix(ON_ITS_WAY)} (cut, and not missing)", -left)

    def _from_host(self, link: Link, end: End) -> None:
        name, direction = node_name(self.fabric, end), link.directions[0]
        queue = self.accounting.queue(direction)
        if self.fabric.by_name[end.node].is_host:
            self.accounting.lose(f"{end.interface} (host's device)",
                                 queue.sent - self.accounting.tx(end.node, end.interface))
        self.accounting.lose(f"{direction} (into the engine)",
                             self.accounting.tx(end.node, end.interface) - self._into(name))
        self._lose(f"{direction} (into the link)", self._into(name) - self._into(direction), [direction], "injected")

    def _to_host(self, link: Link, end: End) -> None:
        name, direction = node_name(self.fabric, end), link.directions[1]
        down = self._into(f"{name} not written")
        self._lose(f"{direction} (out of the link)", self._out_of(direction) - self._out_of(name) - down,
                   [direction + ON_ITS_WAY])
        self.accounting.lose(f"{direction} (the host's device was down)", down)
        self.accounting.lose(f"{end.interface} (out of the engine)",
                             self._out_of(name) - self.accounting.rx(end.node, end.interface))

    def _switch(self, name: str) -> None:
        links = self.fabric.links_of(name)
        coming, going = _ways(self.fabric, links, name)
        self._lose(f"{name} (into the switch)", sum(map(self._out_of, coming)) - self._into(name),
                   [*(d + ON_ITS_WAY for d in coming), name])
        self._inside(name)
        headroom = sum(self._into(f"{direction} headroom") for direction in coming)
        self._lose(f"{name} (behind the switch)", self._out_of(name) - sum(map(self._into, going)) - headroom,
                   [*going, name])

    def _inside(self, name: str) -> None:
        """Came in + copies = left + reasons."""
        ruled = self._into(f"{name} dropped_by_rule")
        ended = {reason: self._into(f"{name} {reason}") for reason in REASONS}
        rest = (self._into(name) + self._into(f"{name} copies") - self._out_of(name) - ruled - sum(ended.values()))
        self._lose(f"{name} (inside the switch)", rest, [], "packet-outs")
        self.accounting.lose(f"{name} (rules)", ruled - sum(self.accounting.policy(name).values()))
        for reason, packets in ended.items():
            self.accounting.lose(f"{name} ({reason.replace('_', ' ')})", packets)

    def _lose(self, place: str, packets: int, cut: Iterable[str], given: str = "") -> None:
        """What is missing at a place, but for what was cut beside it; too much may have been given from outside."""
        for name in cut if packets > 0 else ():
            taken = min(packets, self._cut[name])
            self._cut[name] -= taken
            packets -= taken
            self.accounting.lose(f"{name.removesuffix(ON_ITS_WAY)} (cut)", taken)
        if packets < 0 and given:
            taken = min(-packets, self._given[given])
            self._given[given] -= taken
            packets += taken
        self.accounting.lose(place, packets)


def _ways(fabric: Fabric, links: Iterable[Link], node: str) -> tuple[list[str], list[str]]:
    """Directions that lead to a node, and from it."""
    pairs = [link.directions if link.b.node == node else link.directions[::-1] for link in links]
    return [to for to, _ in pairs], [back for _, back in pairs]
