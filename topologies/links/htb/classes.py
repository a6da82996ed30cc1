"""Traffic classes of a wire: which HTB class and which queue each has, and what tc gets for them.

    1: htb ---- 1:1 at the link's rate ---- 1:10 ---- 10: bfifo     in no class: what the minima leave, up to all
                                      `---- 1:11 ---- 11: bfifo     the first class of the spec: its min, up to its max
                                      `---- 1:12 ---- 12: bfifo     ...

A class that sends gets its minimum before anybody gets more; what is left goes round evenly among those that want it.
Numbers are hexadecimal, as tc writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from topologies.model.spec import ClassSpec

PARENT_CLASS = 0x0001_0001      # HTB class 1:1
_FIRST = 0x10


@dataclass(frozen=True)
class WireClass:
    """One class of a wire; name and dscp are '' and None for what is in no class. Shares of the link's rate."""

    name: str
    dscp: int | None
    number: int
    min: float
    max: float

    @property
    def handle(self) -> int:
        """Of its queue: 11: is 0x0011_0000."""
        return self.number << 16

    @property
    def class_handle(self) -> int:
        """Of its HTB class: 1:11 is 0x0001_0011."""
        return 0x0001_0000 | self.number


def wire_classes(spec: Mapping[str, ClassSpec]) -> tuple[WireClass, ...]:
    """The classes of every wire, what is in none first; none at all where the spec has none."""
    if not spec:
        return ()
    rest = WireClass("", None, _FIRST, 1 - sum(c.min for c in spec.values()), 1.0)
    return (rest, *(WireClass(name, c.dscp, _FIRST + n, c.min, c.max) for n, (name, c) in enumerate(spec.items(), 1)))


def htb_words(c: WireClass, rate: float, burst: int, quantum: int) -> str:
    """What tc is given of a class on a link of `rate` bit/s."""
    return (f"parent 1:1 classid 1:{c.number:x} htb rate {round(c.min * rate)}bit ceil {round(c.max * rate)}bit "
            f"burst {burst} cburst {burst} quantum {quantum}")


def class_lines(device: str, c: WireClass, htb: str, queue: str) -> Iterator[str]:
    """tc lines for one class of a device, with its queue and the filter that finds its packets by their DSCP."""
    yield f"class add dev {device} {htb}"
    yield f"qdisc add dev {device} parent 1:{c.number:x} handle {c.number:x}: {queue}"
    if c.dscp is not None:
        yield (f"filter add dev {device} parent 1: protocol ip u32 "
               f"match ip dsfield {c.dscp << 2:#x} 0xfc flowid 1:{c.number:x}")
