"""What a fabric may ask for and the engine does not have."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.disciplines import Red
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric, Link

CLASSES = 6             # queues 1 to 6; 0 is for packets in none, 7 for the lab's own probes


def refused(fabric: Fabric) -> Iterator[SpecError]:
    """Every difference, by the key that asks for it."""
    if len(fabric.spec.classes) > CLASSES:
        yield SpecError(f"fabric {fabric.spec.name}: classes", f"at most {CLASSES} classes with datapath: engine",
                        str(len(fabric.spec.classes)), "fewer classes, or datapath: ovs")
    yield from _queues(fabric)


def _queues(fabric: Fabric) -> Iterator[SpecError]:
    """One error a kind: most links have theirs from the same key."""
    wrong: dict[str, list[Link]] = {}
    for link in fabric.links:
        how = link.discipline
        if not (how.kind == "fifo" or (isinstance(how, Red) and how.ecn)):
            wrong.setdefault(how.kind, []).append(link)
    for kind, links in wrong.items():
        more = f" and {len(links) - 1} more" if len(links) > 1 else ""
        without = " without ecn" if kind == "red" else ""
        yield SpecError(f"fabric {fabric.spec.name}: queue of {links[0].name}{more}",
                        "kind: fifo, or red with ecn: true, with datapath: engine", f"kind: {kind}{without}",
                        "another kind, or datapath: ovs")
