"""Equal-cost paths between leaves: in a leaf/spine fabric, one through each spine with both links up."""

from __future__ import annotations

from controller.state import State
from topologies.fabric import Fabric, Node


def live_spines(fabric: Fabric, state: State, source: Node, target: Node) -> tuple[Node, ...]:
    """Spines through which `source` reaches `target` (two leaves), spine 1 first; may be empty."""
    if not state.down:
        return fabric.spines
    return tuple(
        spine for spine in fabric.spines
        if not state.down & {f"{source.name}-{spine.name}", f"{target.name}-{spine.name}"})
