"""A queue discipline that drops from the head: what a new one costs, a pair of classes and one for the wires."""

from __future__ import annotations

from typing import Literal

from topologies.links.htb.disciplines import Wire
from topologies.model.disciplines import Discipline, QueueSpec
from topologies.model.fabric import Link
from topologies.model.scale import Scale


class HeadDrop(Discipline):
    kind: Literal["head_drop"] = "head_drop"
    spare: int


class HeadDropQueue(QueueSpec):
    kind: Literal["head_drop"] = "head_drop"
    spare: int = 0

    def discipline(self, scale: Scale) -> HeadDrop:
        return HeadDrop(spare=self.spare)


class HeadDropWire(Wire[HeadDrop]):
    tc, module, what = "pfifo_head_drop", "sch_head_drop", "queues that drop from the head"

    def words(self, how: HeadDrop, link: Link, size: int) -> str:
        return f"pfifo_head_drop limit {self.limit(link, size) + how.spare}"

    def limit(self, link: Link, size: int) -> int:
        return max(size // link.max_frame, 1)
