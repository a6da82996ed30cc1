"""The queues of a direction in the engine's words: classes and their shares, limits, ECN, the probes' own.

    queue 0       packets in no class: what the classes' minima leave, up to all
    queue 1..6    the classes of the spec in their order: each its min, up to its max
    queue 7       the lab's own probes (docs/decisions/004-sentinel-out-of-band.md), beside the link's rate; on links of
                  hosts that are no probes a queue like 0, so that nobody has free bandwidth

Within a level the engine gives each queue its minimum before anybody gets more, and the rest in even turns, as
wires do (docs/decisions/023-classes-on-wires.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from topologies.links.htb.wires import HOST_QUEUE, SENTINEL_QUEUE, carries_sentinel
from topologies.model.addressing import SENTINEL_DSCP
from topologies.model.disciplines import Red
from topologies.model.fabric import Fabric, Link
from topologies.model.spec import ClassSpec
from topologies.switches.engine.layout import engine_directions, is_host

PROBES = 7
PMAX = 0.1              # of marks at RED's max (Floyd 1997)
SHARE_DIGITS = 9


def share(value: float) -> str:
    """A share as the engine reads it."""
    return f"{value:.{SHARE_DIGITS}f}".rstrip("0").rstrip(".")


def class_shares(classes: Mapping[str, ClassSpec]) -> dict[int, str]:
    """Queue -> its shares in words, '' without any; none where the fabric has no classes."""
    if not classes:
        return {0: ""}
    rest = 1 - sum(c.min for c in classes.values())
    return {0: f"min={share(rest)} max=0"} | {
        number: f"min={share(c.min)} max={share(c.max) if c.max < 1 else '0'}"
        for number, c in enumerate(classes.values(), start=1)}


def own_of_host(fabric: Fabric, link: Link, way: int) -> bool:
    """Whether a direction (0: from end a) is a host's own: what waits there waits in the host."""
    return way == 0 and is_host(fabric, link.a)


def limit(fabric: Fabric, link: Link, way: int, size: int | None = None) -> int:
    """Bytes of a direction's queues; size: in place of the link's."""
    return HOST_QUEUE if own_of_host(fabric, link, way) else link.queue if size is None else size


def marks(link: Link) -> str:
    """ECN in words: the queue of the moment decides, no average. min = max marks all that is above (DCTCP)."""
    how = link.discipline
    return f"kmin={how.min} kmax={how.max} pmax={share(1.0 if how.min == how.max else PMAX)}" \
        if isinstance(how, Red) and how.ecn else ""


def limited(fabric: Fabric, link: Link) -> tuple[int, ...]:
    """The queues of a direction that are as long as the link's spec says."""
    used = tuple(class_shares(fabric.spec.classes))
    return used if carries_sentinel(fabric, link) else (*used, PROBES)


def queue_lines(fabric: Fabric, link: Link) -> Iterator[str]:
    """Commands for the queues of both directions of a link."""
    shares = class_shares(fabric.spec.classes)
    for way, direction in enumerate(engine_directions(fabric, link)):
        for number in limited(fabric, link):
            words = [f"limit={limit(fabric, link, way)}", shares.get(number, ""), marks(link)]
            yield " ".join([f"queue {direction} {number}", *filter(None, words)])
        if carries_sentinel(fabric, link):
            yield f"queue {direction} {PROBES} limit={SENTINEL_QUEUE} beside=1"


def share_lines(fabric: Fabric, classes: Mapping[str, ClassSpec]) -> Iterator[str]:
    """Commands that give all queues other shares."""
    for link in fabric.links:
        for direction in engine_directions(fabric, link):
            yield from (f"queue {direction} {number} {words}" for number, words in class_shares(classes).items())


def limit_lines(fabric: Fabric, link: Link, size: int) -> Iterator[str]:
    """Commands that make a link's queues `size` bytes long, but a host's own."""
    for way, direction in enumerate(engine_directions(fabric, link)):
        if not own_of_host(fabric, link, way):
            yield from (f"queue {direction} {number} limit={size}" for number in limited(fabric, link))


def dscp_lines(fabric: Fabric) -> Iterator[str]:
    for number, c in enumerate(fabric.spec.classes.values(), start=1):
        yield f"dscp {c.dscp} queue={number}"
    yield f"dscp {SENTINEL_DSCP} queue={PROBES}"
