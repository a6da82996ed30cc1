"""Hierarchical all-reduce: inside each leaf, then across the leaves, then inside again.

    leaf1   0 -- 1    1. ring reduce-scatter in each group: member j of a group has the group's sum of part j
            |    |    2. ring all-reduce of part j among the j-th members of all groups
    leaf2   2 -- 3    3. ring all-gather in each group

Only 2 (m - 1)/m S/g bytes of a rank cross the fabric (m groups of g), 1/g of what a ring over all ranks
that leaves the leaf at each hop would carry. Part j is m chunks of S/(g m) bytes.
Source: Jia et al., "Highly scalable deep learning training system with mixed-precision" (2018), the
two-level scheme; with all members instead of one leader across, as NCCL's 2D schemes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from traffic.collectives.moves import Move, part, span

if TYPE_CHECKING:
    from traffic.workloads.workload import Collective


def problems(c: Collective) -> Iterator[tuple[str, str]]:
    """Groups of equal size that hold each rank once."""
    if not c.groups:
        yield "groups of ranks for hierarchical, such as those of each leaf", "none"
        return
    flat = sorted(r for group in c.groups for r in group)
    if flat != sorted(c.ranks):
        yield "groups that hold each rank of the collective once", _reported(c.groups)
    elif len({len(group) for group in c.groups}) > 1:
        sizes = ", ".join(str(len(group)) for group in c.groups)
        yield "as many ranks in each group for hierarchical", f"groups of {sizes} ranks"


def _reported(groups: tuple[tuple[int, ...], ...]) -> str:
    return "; ".join(", ".join(map(str, group)) for group in groups)


def all_reduce(c: Collective) -> Iterator[Move]:
    """The three phases; what a phase sends waits for what it needs of the one before, nothing more."""
    groups = c.groups or ()
    none: dict[int, tuple[str, ...]] = dict.fromkeys(c.ranks, ())
    sums = dict(none)
    for group in groups:
        inside = list(_inside(c, group, "rs", -1, none))
        sums.update({move.dst: (move.id,) for move in inside})      # the last one completes the rank's part
        yield from inside
    ready = dict(sums)
    for j in range(len(groups[0])):
        column = tuple(group[j] for group in groups)
        across = list(_across(c, column, j, sums))
        for rank in column if across else ():
            ready[rank] = tuple(move.id for move in across[-len(column) ** 2:] if move.dst == rank)
        yield from across
    for group in groups:
        yield from _inside(c, group, "ag", 0, ready)


def _inside(c: Collective, group: tuple[int, ...], phase: str, first: int,
            after: dict[int, tuple[str, ...]]) -> Iterator[Move]:
    """One turn of a ring in a group; member i starts with part i + first, once `after` is over there."""
    n, g = len(c.ranks), len(group)
    m = n // g
    behind = [""] * g
    for step in range(g - 1):
        moves = []
        for i, src in enumerate(group):
            dst, chunk = group[(i + 1) % g], (i + first - step) % g * m
            moves.append(Move(f"{c.id}/{phase}{step}/{src}-{dst}", src, dst, chunk, span(c.size, n, chunk, m),
                              phase == "rs", behind[i], () if step else after[src], m))
        behind = [moves[(i - 1) % g].id for i in range(g)]
        yield from moves


def _across(c: Collective, column: tuple[int, ...], j: int, sums: dict[int, tuple[str, ...]]) -> Iterator[Move]:
    """Ring all-reduce of part j, chunks j m .. j m + m - 1, among the column's m members.

    What a member sends contains its own sum, so that has to be complete. The last m rounds of moves,
    one reduction and m - 1 copies, bring every member all finished chunks.
    """
    m = len(column)
    behind = [""] * m
    for step in range(2 * (m - 1)):
        moves = []
        for i, src in enumerate(column):
            dst, chunk = column[(i + 1) % m], j * m + (i - 1 - step) % m
            moves.append(Move(f"{c.id}/x{step}/{src}-{dst}", src, dst, chunk, part(c.size, len(c.ranks), chunk),
                              step < m - 1, behind[i], sums[src]))
        behind = [moves[(i - 1) % m].id for i in range(m)]
        yield from moves
