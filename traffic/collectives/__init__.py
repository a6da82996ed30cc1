"""Collectives as schedules: which bytes go from which rank to which, and what is done with them.

    ring               0 -> 1 -> 2 -> ... -> n-1 -> 0: every rank sends to its right neighbour only
    direct             every rank sends to every other
    halving-doubling   pairs at distance 1, 2, 4, ... with pieces that halve; a power of two of ranks
    hierarchical       a ring inside each group, rings across the groups, a ring inside again
    tree               down a binary tree

A buffer is cut into n chunks. A Move carries consecutive chunks; at its receiver they are either added
to what is there (reduce) or put in its place (copy). Moves are what the network sees as transfers, and
enough to execute a collective on symbols, which is how the tests prove them. Sizes are those of NVIDIA
nccl-tests, doc/PERFORMANCE.md; sources of the algorithms stand in their modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from topologies.model.errors import SpecError
from traffic.collectives import direct, halving, hierarchical, ring, tree
from traffic.collectives.moves import Move, part, span

if TYPE_CHECKING:
    from traffic.workloads.workload import AlgorithmName, Collective, CollectiveName

__all__ = ["Move", "algorithm_for", "part", "problems", "schedule", "span"]

_SCHEDULES: dict[tuple[str, str], Callable[[Collective], Iterator[Move]]] = {
    ("all-reduce", "ring"): ring.all_reduce,
    ("all-gather", "ring"): ring.all_gather,
    ("reduce-scatter", "ring"): ring.reduce_scatter,
    ("broadcast", "ring"): ring.broadcast,
    ("all-reduce", "direct"): direct.all_reduce,
    ("all-gather", "direct"): direct.all_gather,
    ("reduce-scatter", "direct"): direct.reduce_scatter,
    ("all-to-all", "direct"): direct.all_to_all,
    ("all-reduce", "halving-doubling"): halving.all_reduce,
    ("all-reduce", "hierarchical"): hierarchical.all_reduce,
    ("broadcast", "tree"): tree.broadcast,
}


def algorithm_for(kind: CollectiveName) -> AlgorithmName:
    """The algorithm of a collective where nobody says one: direct for an all-to-all, else ring."""
    return "direct" if kind == "all-to-all" else "ring"


def problems(c: Collective) -> Iterator[tuple[str, str]]:
    """(expected, found) for everything that is wrong with a collective by itself."""
    n = len(c.ranks)
    if n < 2 or len(set(c.ranks)) < n:
        yield "two or more different ranks", ", ".join(map(str, c.ranks)) or "none"
    if c.size < 0:
        yield "a size of zero or more bytes", str(c.size)
    if (c.kind, c.algorithm) not in _SCHEDULES:
        known = sorted(a for kind, a in _SCHEDULES if kind == c.kind)
        yield f"an algorithm for {c.kind}: {' or '.join(known)}", c.algorithm
    elif c.algorithm == "halving-doubling":
        yield from halving.problems(c)
    elif c.algorithm == "hierarchical":
        yield from hierarchical.problems(c)
    if c.splits is not None and c.kind != "all-to-all":
        yield "splits on an all-to-all only", f"splits on {c.kind}"
    elif c.splits is not None and (len(c.splits) != n or any(len(row) != n for row in c.splits)):
        yield f"splits of {n} rows with {n} sizes each", f"rows of {', '.join(str(len(row)) for row in c.splits)}"
    elif c.splits is not None and any(b < 0 for row in c.splits for b in row):
        yield "splits of zero or more bytes", str(min(b for row in c.splits for b in row))


def schedule(c: Collective) -> tuple[Move, ...]:
    """The moves of a collective, each after all the moves that it depends on. Raises SpecError.

    Over all moves, with S = c.size and n ranks: all-reduce moves 2(n-1)S bytes by any algorithm,
    broadcast, all-gather, reduce-scatter and all-to-all (n-1)S, to the byte where n divides S or the
    moves carry every chunk equally often (all but all-to-all, which leaves each rank's own part at home).
    """
    wrong = list(problems(c))
    if wrong:
        raise SpecError(f"collective {c.id}", *wrong[0])
    return tuple(_SCHEDULES[c.kind, c.algorithm](c))
