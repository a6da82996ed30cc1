"""Equal-cost paths between leaves: in a leaf/spine fabric, one through each spine with both links up."""

from __future__ import annotations

from collections.abc import Sequence

from controller.rules.state import State
from topologies.model.fabric import Fabric, Node


def live_spines(fabric: Fabric, state: State, source: Node, target: Node) -> tuple[Node, ...]:
    """Spines through which `source` reaches `target` (two leaves), spine 1 first; may be empty."""
    between = fabric.spines_between(source.name, target.name)
    if not state.down:
        return between
    return tuple(
        spine for spine in between
        if not state.down & {f"{source.name}-{spine.name}", f"{target.name}-{spine.name}"})


def path_rates(fabric: Fabric, state: State, source: Node, target: Node, spines: Sequence[Node]) -> list[float]:
    """bit/s from leaf `source` to leaf `target` through each spine: the lower of its two links' rates.

    Spines of another side, which have one link only, have its rate: no packet gets as far as there.
    """
    changed = dict(state.rates)

    def rate(spine: Node) -> float:
        names = [f"{leaf.name}-{spine.name}" for leaf in (source, target)]
        return min(changed.get(n, fabric.links_by_name[n].rate) for n in names if n in fabric.links_by_name)

    return [rate(spine) for spine in spines]
