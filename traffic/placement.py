"""Ranks -> hosts.

    packed     leaf1: 0 1 2 3    leaf2: 4 5 6 7      neighbours of a ring share a leaf
    strided    leaf1: 0 2 4 6    leaf2: 1 3 5 7      every hop of a ring crosses the fabric
    a list     the host of each rank
"""

from __future__ import annotations

from itertools import zip_longest

from topologies.errors import SpecError
from topologies.fabric import Fabric
from traffic.specs import Placement


def place(placement: Placement, ranks: int | None, fabric: Fabric) -> tuple[str, ...]:
    """The host of each rank. Without `ranks`: one on every workload host, or on every host of a list.

    Raises SpecError where there are more ranks than hosts, or a listed host does not exist or is twice.
    """
    if isinstance(placement, str):
        hosts = _packed(fabric) if placement == "packed" else _strided(fabric)
    else:
        hosts = _listed(placement, fabric)
    if ranks is None:
        ranks = len(hosts)
    if ranks > len(hosts):
        of = f"fabric {fabric.spec.name}" if isinstance(placement, str) else "the placement"
        raise SpecError("ranks", f"at most {len(hosts)}, one for each host of {of}", str(ranks),
                        "lower ranks, or add hosts")
    return hosts[:ranks]


def _packed(fabric: Fabric) -> tuple[str, ...]:
    return tuple(h.name for h in fabric.hosts)


def _strided(fabric: Fabric) -> tuple[str, ...]:
    """One host of each leaf in turn; a leaf that has run out is passed over."""
    racks = [[h.name for h in fabric.hosts_of(leaf.name) if h.role == "host"] for leaf in fabric.leaves]
    return tuple(name for turn in zip_longest(*racks) for name in turn if name is not None)


def _listed(placement: tuple[str, ...], fabric: Fabric) -> tuple[str, ...]:
    twice = sorted({name for name in placement if placement.count(name) > 1})
    if twice:
        raise SpecError("placement", "each host once", f"{', '.join(twice)} more than once")
    return tuple(fabric.host(name).name for name in placement)
