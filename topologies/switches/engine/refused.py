"""What a fabric may ask for and the engine does not have."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.disciplines import Red
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric, Link

CLASSES = 6             # queues 1 to 6; 0 is for packets in none, 7 for the lab's own probes
_ELSEWHERE = "leave it out, or use datapath: ovs"


def refused(fabric: Fabric) -> Iterator[SpecError]:
    """Every difference, by the key that asks for it."""
    if len(fabric.spec.classes) > CLASSES:
        yield SpecError(f"fabric {fabric.spec.name}: classes", f"at most {CLASSES} classes with datapath: engine",
                        str(len(fabric.spec.classes)), "fewer classes, or datapath: ovs")
    yield from (error for link in fabric.links for error in _queue(link))


def _queue(link: Link) -> Iterator[SpecError]:
    how, where = link.discipline, f"link {link.name}: queue"
    if how.kind not in ("fifo", "red"):
        yield SpecError(where, "kind: fifo, or red with ecn, with datapath: engine", f"kind: {how.kind}", _ELSEWHERE)
    if isinstance(how, Red) and not how.ecn:
        yield SpecError(where, "kind: red with ecn: true: the engine marks, and drops from the tail alone",
                        "kind: red without ecn", f"add ecn: true, {_ELSEWHERE}")
