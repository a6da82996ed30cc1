"""How wires do each queue discipline: tc's words, the limit that the kernel holds, and the module that it needs.

A kind of topologies.model.disciplines has its class here, and a line in DISCIPLINES.
"""

from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

from topologies.model.disciplines import Discipline, Fifo, FqCodel, Red
from topologies.model.fabric import Link

D = TypeVar("D", bound=Discipline)


class Wire(Generic[D]):
    """A discipline on a wire.

    tc       its name there      module   the kernel's, '' for what is always there     what     for `aifab doctor`
    nested   attribute of the kernel's answer that begins with the limit; None: the answer itself begins with it
    """

    tc: str
    module: str = ""
    what: str = ""
    nested: int | None = None

    def words(self, how: D, link: Link, size: int) -> str:
        """tc's, for a queue of `size` bytes."""
        raise NotImplementedError

    def limit(self, link: Link, size: int) -> int:
        """`size` bytes as the kernel holds them."""
        return size


class FifoWire(Wire[Fifo]):
    tc = "bfifo"

    def words(self, how: Fifo, link: Link, size: int) -> str:
        return f"bfifo limit {size}"


class RedWire(Wire[Red]):
    """RED's burst, how many frames may pass before its average follows, is (2 min + max) / (3 x frame) as tc-red(8)
    advises, its probability at max 0.1 (Floyd 1997). Where min = max the average is of two frames and everything above
    is marked: DCTCP's step (Alizadeh et al., SIGCOMM 2010, 3.1).
    """

    tc, module, what = "red", "sch_red", "RED queues with ECN"
    nested = 1      # TCA_RED_PARMS

    def words(self, how: Red, link: Link, size: int) -> str:
        frame, step = link.max_frame, how.min == how.max
        burst = math.ceil(how.min / frame if step else (2 * how.min + how.max) / (3 * frame)) + 1
        return (f"red limit {size} min {how.min} max {how.max} avpkt {frame} burst {burst} "
                f"probability {1.0 if step else 0.1} bandwidth {link.rate / 1e3:.0f}kbit{' ecn' if how.ecn else ''}")


class FqCodelWire(Wire[FqCodel]):
    """Its limit is in packets, and it marks unless told not to."""

    tc, module, what = "fq_codel", "sch_fq_codel", "FQ-CoDel queues"
    nested = 2      # TCA_FQ_CODEL_LIMIT

    def words(self, how: FqCodel, link: Link, size: int) -> str:
        return f"fq_codel limit {self.limit(link, size)} {'ecn' if how.ecn else 'noecn'}"

    def limit(self, link: Link, size: int) -> int:
        return max(size // link.max_frame, 1)


AnyWire = Wire[Any]     # each takes its own discipline
DISCIPLINES: dict[str, AnyWire] = {"fifo": FifoWire(), "red": RedWire(), "fq_codel": FqCodelWire()}


def of(link: Link) -> AnyWire:
    """How the wires of a link do its discipline."""
    return DISCIPLINES[link.discipline.kind]


def queue_words(link: Link, size: int) -> str:
    """A link's queue discipline for tc, `size` bytes long."""
    words: str = of(link).words(link.discipline, link, size)
    return words


def kernel_limit(link: Link, size: int) -> int:
    """`size` bytes of a link's queue as the kernel holds them."""
    return of(link).limit(link, size)


def modules() -> dict[str, str]:
    """Kernel module -> what it is for."""
    return {wire.module: wire.what for wire in DISCIPLINES.values() if wire.module}
