"""What the controller knows of the fabric's condition: which links are down.

A link is down while either of its ends says so. State is a value for `compile`; LinkState gathers it
from port reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topologies.fabric import Fabric


@dataclass(frozen=True)
class State:
    """down: names of links that carry nothing."""

    down: frozenset[str] = frozenset()


class LinkState:
    """Port reports of switches -> State."""

    def __init__(self, fabric: Fabric) -> None:
        self._links = {(end.node, end.number): link.name for link in fabric.links for end in (link.a, link.b)}
        self._down_ends: set[tuple[str, int]] = set()

    @property
    def state(self) -> State:
        return State(frozenset(self._links[end] for end in self._down_ends))

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
