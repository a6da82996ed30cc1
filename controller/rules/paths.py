"""Equal-cost paths between leaves, as the links' state leaves them."""

from __future__ import annotations

from collections.abc import Sequence

from controller.rules.state import State
from topologies.model.fabric import Fabric, Node, Path


def live_paths(fabric: Fabric, state: State, source: Node, target: Node) -> tuple[Path, ...]:
    """Paths from `source` to `target` (two leaves) with all links up, by number; may be empty."""
    paths = fabric.paths(source.name, target.name)
    return tuple(p for p in paths if p.is_up(state.down)) if state.down else paths


def ways_out(fabric: Fabric, source: Node, target: Node) -> tuple[Path, ...]:
    """All paths, whatever is down, and for every other way up from `source` its first link: no packet gets further."""
    paths = {p.number: p for p in fabric.paths(source.name, target.name)}
    return tuple(paths.get(number) or Path(source.name, number, target.aliases[number - 1], up[:1])
                 for number, up in fabric.ways_up(source.name).items())


def path_rates(state: State, paths: Sequence[Path]) -> list[float]:
    """bit/s of each path: the lowest of its links' rates."""
    changed = dict(state.rates)
    return [min(changed.get(link.name, link.rate) for link in path.links) for path in paths]
