"""Writes the operations of a job: real seconds and bytes in, emulated ones out, each rank in its own order.

Per rank there is a cursor, what its next compute waits for. Work and blocking exchanges move it on;
what runs beside the work does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from topologies.model.errors import SpecError
from topologies.model.scale import Scale
from traffic.collectives import algorithm_for
from traffic.jobs.layout import Group
from traffic.workloads.workload import Collective, CollectiveName, Compute, Op, Transfer

Waits = Mapping[int, tuple[str, ...]]


class Emitter:
    """The operations of one job so far. `where` is what errors name; stragglers: rank -> factor of its computes."""

    def __init__(self, where: str, scale: Scale, stragglers: Mapping[int, float]) -> None:
        self.ops: list[Op] = []
        self._where, self._scale, self._stragglers = where, scale, stragglers
        self._cursor: dict[int, tuple[str, ...]] = {}
        self._last: dict[int, str] = {}     # each rank's last compute

    def compute(self, name: str, ranks: Iterable[int], seconds: float, waits: Waits | None = None) -> None:
        """Work of each rank, after its cursor and what it has to wait for besides."""
        for rank in ranks:
            length = self._scale.to_emulated_time(seconds) * self._stragglers.get(rank, 1.0)
            after = dict.fromkeys((*self._cursor.get(rank, ()), *(waits or {}).get(rank, ())))
            self._last[rank] = f"{name}/r{rank}"
            self._cursor[rank] = (self._last[rank],)
            self.ops.append(Compute(self._last[rank], rank, length, tuple(after)))

    def exchange(self, name: str, kind: CollectiveName, groups: Sequence[Group], size: float) -> None:
        """A collective in each group, which the next compute of its members waits for."""
        if len(groups[0]) < 2:
            return
        # Members may come from different collectives; each one's own is distinguished by a compute of no length.
        self.compute(f"{name}/join", [r for g in groups for r in g if self._cursor[r] != (self._last[r],)], 0.0)
        for rank, part in self.beside(name, kind, groups, self.sized(name, size), self.lasts(groups)).items():
            self._cursor[rank] = part

    def beside(self, name: str, kind: CollectiveName, groups: Sequence[Group], size: int, waits: Waits,
               after: str = "") -> Waits:
        """A collective in each group beside the work: rank -> its name there.

        Each member waits for its computes in `waits`, and for its part of collective `after` of the same groups.
        """
        parts: dict[int, tuple[str, ...]] = {}
        for j, group in enumerate(groups):
            first = (f"{after}/g{j}",) if after else ()
            names = dict.fromkeys((*first, *(w for rank in group for w in waits.get(rank, ()))))
            made = Collective(f"{name}/g{j}", kind, group, size, algorithm_for(kind), after=tuple(names))
            self.ops.append(made)
            parts |= dict.fromkeys(group, (made.id,))
        return parts

    def send(self, name: str, pairs: Iterable[tuple[int, int]], size: float) -> None:
        """A transfer "name/rSRC" for each pair, after the cursor of its sender."""
        bytes_ = self.sized(name, size)
        for src, dst in pairs:
            self.ops.append(Transfer(f"{name}/r{src}", src, dst, bytes_, self._cursor[src]))

    def lasts(self, groups: Iterable[Group]) -> Waits:
        """Rank -> its last compute, where it has one."""
        return {r: (self._last[r],) for group in groups for r in group if r in self._last}

    def sized(self, name: str, size: float, before: float = 0.0) -> int:
        """Emulated bytes of `size` real ones that follow `before` others; all parts add up to the rounded sum.

        Raises SpecError where the scale leaves nothing to send.
        """
        scaled = round(self._scale.to_emulated_size(before + size)) - round(self._scale.to_emulated_size(before))
        if scaled < 1:
            raise SpecError(self._where, f"at least one byte to send in {name}",
                            f"{size:.0f} bytes x {self._scale.size:g}", "raise the scale's size")
        return scaled
