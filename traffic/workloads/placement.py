"""Ranks -> hosts.

    packed     leaf1: 0 1 2 3    leaf2: 4 5 6 7      neighbours of a ring share a leaf
    strided    leaf1: 0 2 4 6    leaf2: 1 3 5 7      every hop of a ring crosses the fabric
    random     leaf1: 3 0 6 1    leaf2: 5 2 7 4      drawn from a seed
    rail       s1g1: 0  s1g2: 1  s2g1: 2 ...         server after server; rank r is on rail r mod rails
    a list     the host of each rank

`rail` is how jobs number the GPUs of a rail-optimized fabric: ranks with the same place in their servers share a
rail, hence a leaf, and never meet a spine. `packed` would fill a rail first. On leaf and spine it is refused.
"""

from __future__ import annotations

import random
from itertools import cycle, islice, zip_longest

from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from traffic.workloads.specs import Placement

WITHOUT_RAILS = "packed, strided, random or a list of hosts"


def place(placement: Placement, ranks: int | None, fabric: Fabric, seed: int = 0, *,
          fold: bool = False) -> tuple[str, ...]:
    """The host of each rank. Without `ranks`: one on every workload host, or on every host of a list.

    With `fold` ranks that are too many begin again with the first host; two ranks of one host exchange
    their bytes inside of it. Raises SpecError where there are more ranks than hosts and no `fold`, or a
    listed host does not exist or is twice.
    """
    hosts = _hosts(placement, fabric, seed)
    if ranks is None:
        ranks = len(hosts)
    if ranks > len(hosts) and not fold:
        of = f"fabric {fabric.spec.name}" if isinstance(placement, str) else "the placement"
        raise SpecError("ranks", f"at most {len(hosts)}, one for each host of {of}", str(ranks),
                        "lower ranks, add hosts, or set `fold: true` to have several ranks share a host")
    return tuple(islice(cycle(hosts), ranks))


def leaves_of(hosts: tuple[str, ...], fabric: Fabric) -> tuple[tuple[int, ...], ...]:
    """The ranks on each leaf, in the order of the leaves' first ranks: the groups of a hierarchical collective."""
    groups: dict[str, list[int]] = {}
    for rank, host in enumerate(hosts):
        groups.setdefault(fabric.host(host).leaf, []).append(rank)
    return tuple(map(tuple, groups.values()))


def _hosts(placement: Placement, fabric: Fabric, seed: int) -> tuple[str, ...]:
    match placement:
        case "packed":
            return _packed(fabric)
        case "strided":
            return _strided(fabric)
        case "rail":
            return _rail(fabric)
        case "random":
            return _random(fabric, seed)
        case _:
            return _listed(placement, fabric)


def _packed(fabric: Fabric) -> tuple[str, ...]:
    return tuple(h.name for h in fabric.hosts)


def _strided(fabric: Fabric) -> tuple[str, ...]:
    """One host of each leaf in turn; a leaf that has run out is passed over."""
    racks = [[h.name for h in fabric.hosts_of(leaf.name) if h.role == "host"] for leaf in fabric.leaves]
    return tuple(name for turn in zip_longest(*racks) for name in turn if name is not None)


def _rail(fabric: Fabric) -> tuple[str, ...]:
    """All GPUs of the first server, then of the second: one host of each rail in turn."""
    if fabric.spec.topology != "rail-optimized":
        raise SpecError("placement", f"{WITHOUT_RAILS} on a fabric without rails", "rail",
                        "rails come with `topology: rail-optimized`")
    return _strided(fabric)


def _random(fabric: Fabric, seed: int) -> tuple[str, ...]:
    names = list(_packed(fabric))
    random.Random(f"placement {seed}").shuffle(names)   # noqa: S311 - a repeatable draw, no secret
    return tuple(names)


def _listed(placement: tuple[str, ...], fabric: Fabric) -> tuple[str, ...]:
    twice = sorted({name for name in placement if placement.count(name) > 1})
    if twice:
        raise SpecError("placement", "each host once", f"{', '.join(twice)} more than once")
    return tuple(fabric.host(name).name for name in placement)
