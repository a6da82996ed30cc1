"""What the controller knows of the fabric's condition: which links are down, and which have another rate.

A link is down while either of its ends says so, and while the switch at one of its ends is dead: a dead
switch's ports keep their carrier, so nobody else would say so. State is a value for `compile`; LinkState
gathers it from port reports and from what is reported of switches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topologies.model.fabric import Fabric


@dataclass(frozen=True)
class State:
    """down: names of links that carry nothing. rates: (name, bit/s) of links that have not the fabric's rate."""

    down: frozenset[str] = frozenset()
    rates: frozenset[tuple[str, float]] = frozenset()


class LinkState:
    """Port reports and deaths of switches -> State."""

    def __init__(self, fabric: Fabric) -> None:
        self._links = {(end.node, end.ofport): link.name for link in fabric.links for end in (link.a, link.b)}
        self._down_ends: set[tuple[str, int]] = set()
        self._dead: set[str] = set()
        self._rates: frozenset[tuple[str, float]] = frozenset()

    @property
    def state(self) -> State:
        dead_ends = {end for end in self._links if end[0] in self._dead} if self._dead else set()
        return State(frozenset(self._links[end] for end in self._down_ends | dead_ends), self._rates)

    @property
    def dead(self) -> frozenset[str]:
        """Switches that forward nothing: what they lack, nobody can give them."""
        return frozenset(self._dead)

    def report(self, switch: str, ports: Mapping[int, bool]) -> bool:
        """Ports of one switch, number -> up. Tells whether any link's state changed by it."""
        before = self.state
        for number, up in ports.items():
            end = (switch, number)
            if end not in self._links:
                continue    # LOCAL and the tunnel port are no links
            if up:
                self._down_ends.discard(end)
            else:
                self._down_ends.add(end)
        return self.state != before

    def set_rates(self, rates: Mapping[str, float]) -> bool:
        """Link -> bit/s of those that have another rate than the fabric's. Tells whether any has changed by it."""
        before = self.state
        self._rates = frozenset(rates.items())
        return self.state != before

    def died(self, switch: str) -> bool:
        """A switch forwards nothing any more. Tells whether any link's state changed by it."""
        before = self.state
        self._dead.add(switch)
        return self.state != before

    def revived(self, switch: str) -> bool:
        """A switch forwards, maybe again. Tells whether any link's state changed by it."""
        before = self.state
        self._dead.discard(switch)
        return self.state != before
