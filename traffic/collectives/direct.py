"""Direct schedules: every rank sends to every other at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from traffic.collectives.moves import Move, part

if TYPE_CHECKING:
    from traffic.workloads.workload import Collective


def _peers(n: int, i: int) -> Iterator[int]:
    """The others, beginning with the right neighbour, so that not all start with the same receiver."""
    return ((i + k) % n for k in range(1, n))


def _direct(c: Collective, phase: str, chunk: Callable[[int, int], int], reduce: bool,
            size: Callable[[int, int], int] | None = None, after: Sequence[tuple[str, ...]] = ()) -> Iterator[Move]:
    """Member i sends chunk(i, j) to every other member j; after[i] is what it waits for first."""
    n = len(c.ranks)
    for i in range(n):
        for j in _peers(n, i):
            bytes_ = size(i, j) if size else part(c.size, n, chunk(i, j))
            yield Move(f"{c.id}/{phase}/{c.ranks[i]}-{c.ranks[j]}", c.ranks[i], c.ranks[j], chunk(i, j), bytes_,
                       reduce, after=after[i] if after else ())


def all_gather(c: Collective) -> Iterator[Move]:
    """Each member's chunk to all others."""
    return _direct(c, "ag", lambda i, j: i, reduce=False)


def reduce_scatter(c: Collective) -> Iterator[Move]:
    """Everyone's chunk j to member j, which adds them up."""
    return _direct(c, "rs", lambda i, j: j, reduce=True)


def all_reduce(c: Collective) -> Iterator[Move]:
    """Everyone's chunk j to member j, which adds them up and sends the sum to all."""
    reduce = list(reduce_scatter(c))
    into = [tuple(m.id for m in reduce if m.dst == rank) for rank in c.ranks]
    yield from reduce
    yield from _direct(c, "ag", lambda i, j: i, reduce=False, after=into)


def all_to_all(c: Collective) -> Iterator[Move]:
    """Member i's part for j goes to j. Chunk i * n + j names it: each has n buffers of n parts."""
    n, splits = len(c.ranks), c.splits
    size = (lambda i, j: splits[i][j]) if splits else (lambda i, j: part(c.size, n, j))
    return _direct(c, "aa", lambda i, j: i * n + j, reduce=False, size=size)
