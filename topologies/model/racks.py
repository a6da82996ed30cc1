"""Racks that follow from something else: rails from servers and their GPUs, the leaves of a bifurcated fabric from its
sides. A spec that gives both has to say the same twice, as a saved one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topologies.model.errors import Violation, Violations

MAX_HOSTS_PER_LEAF = 200      # addressing counts a leaf's hosts in one byte, and ports from 101 below 1000


def racks_that_follow(value: dict[str, object]) -> dict[str, object]:
    """The keys of a fabric as written, with those that its topology gives. Raises Violations for what contradicts
    them."""
    topology = value.get("topology")
    if topology == "rail-optimized":
        follows, source = _from_rails(value), "servers and rails"
    elif topology == "bifurcated":
        follows, source = _from_sides(value), "sides"
    else:
        return value
    violations = [Violation((key,), f"no {key}: with topology: {topology} it follows from {source}",
                            str(value[key])[:80], "remove it; to remove a base fabric's key, set it to null")
                  for key, right in follows.items() if not _is_as(value.get(key), right)]
    if violations:
        raise Violations(violations)
    return value | follows


def rail_racks(servers: int, rails: int) -> dict[str, tuple[str, ...]]:
    """Leaf -> its hosts: leaf k has GPU k of each server, named s1g1, s1g2 ... (server, GPU)."""
    return {f"leaf{k}": tuple(f"s{s}g{k}" for s in range(1, servers + 1)) for k in range(1, rails + 1)}


def side_racks(sides: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Leaf -> its hosts: the racks of the first side first."""
    racks = [tuple(rack) for of in sides.values() for rack in of]
    return {f"leaf{k}": rack for k, rack in enumerate(racks, 1)}


def _is_as(given: object, right: object) -> bool:
    """Whether a key was left out, or says what it has to (in a saved spec it does)."""
    if isinstance(right, dict) and isinstance(given, dict):
        return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()} == right
    return given is None or bool(given == right)


def _from_rails(value: Mapping[str, object]) -> dict[str, object]:
    """What follows from servers and rails; nothing where their own rules tell. Raises Violations for what is
    missing."""
    servers, rails = value.get("servers"), value.get("rails")
    missing = [key for key, n in (("servers", servers), ("rails", rails)) if n is None]
    if missing:
        raise Violations([Violation((key,), "a number of them with topology: rail-optimized",
                                    "nothing") for key in missing])
    if not (isinstance(servers, int) and isinstance(rails, int)) or max(servers, rails) > MAX_HOSTS_PER_LEAF:
        return {}
    return {"leaves": rails, "hosts_per_leaf": servers, "racks": rail_racks(servers, rails)}


def _from_sides(value: Mapping[str, object]) -> dict[str, object]:
    """What follows from sides; nothing where their own rules tell. Raises Violations where there are none."""
    sides = value.get("sides")
    if sides is None:
        raise Violations([Violation(("sides",), "the racks of each side with topology: bifurcated", "nothing",
                                    "such as "
                                    "sides: {training: [[h1, h2], [h3, h4]], inference: [[h5, h6], [h7, h8]]}")])
    if not isinstance(sides, dict) or not all(
            isinstance(racks, list | tuple) and all(isinstance(rack, list | tuple) for rack in racks)
            for racks in sides.values()):
        return {}
    racks = side_racks(sides)
    return {"leaves": len(racks), "racks": racks}
