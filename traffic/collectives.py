"""Collectives as schedules: which bytes go from which rank to which, and what is done with them.

    ring      0 -> 1 -> 2 -> ... -> n-1 -> 0      every rank sends to its right neighbour only
    direct    every rank sends to every other

A buffer is cut into n chunks. A Move carries one chunk; at its receiver the chunk is either added to
what is there (reduce) or put in its place (copy). Moves are what the network sees as transfers, and
enough to execute a collective on symbols, which is how the tests prove them.

Sources: ring schedules as in Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations" (2009), and NCCL; sizes as in NVIDIA nccl-tests, doc/PERFORMANCE.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topologies.errors import SpecError

if TYPE_CHECKING:
    from traffic.workload import Collective


@dataclass(frozen=True, slots=True)
class Move:
    """Chunk `chunk`, `size` bytes, from rank src to rank dst.

    behind   the move into src whose bytes this one passes on, '' if src has them from the start
    after    moves into src that must be complete before this one starts
    reduce   the receiver adds what arrives to its own chunk; else it replaces it
    """

    id: str
    src: int
    dst: int
    chunk: int
    size: int
    reduce: bool
    behind: str = ""
    after: tuple[str, ...] = ()


def part(size: int, n: int, i: int) -> int:
    """Bytes of chunk i when `size` bytes are cut into n chunks as evenly as whole bytes allow."""
    return size // n + (1 if i < size % n else 0)


def _hop(c: Collective, phase: str, step: int, i: int, chunk: int, reduce: bool, behind: str) -> Move:
    """Step `step` of the ring's member i: `chunk` to its right neighbour."""
    n = len(c.ranks)
    src, dst = c.ranks[i], c.ranks[(i + 1) % n]
    return Move(f"{c.id}/{phase}{step}/{src}-{dst}", src, dst, chunk, part(c.size, n, chunk), reduce, behind)


def _ring(c: Collective, phase: str, first_chunk: int, reduce: bool, behind: Sequence[str] = ()) -> list[list[Move]]:
    """n - 1 steps around the ring; member i starts with chunk i + first_chunk and passes on what it gets.

    `behind[i]` is the move whose bytes member i sends in its first step. Moves by step, then by member.
    """
    n = len(c.ranks)
    steps: list[list[Move]] = []
    came_from = list(behind) or [""] * n
    for step in range(n - 1):
        moves = [_hop(c, phase, step, i, (i + first_chunk - step) % n, reduce, came_from[i]) for i in range(n)]
        came_from = [moves[(i - 1) % n].id for i in range(n)]
        steps.append(moves)
    return steps


def _ring_all_gather(c: Collective) -> Iterator[Move]:
    """Member i has chunk i; all have all chunks after n - 1 steps."""
    for moves in _ring(c, "ag", 0, reduce=False):
        yield from moves


def _ring_reduce_scatter(c: Collective) -> Iterator[Move]:
    """Chunk k starts at member k + 1 and is complete at member k."""
    for moves in _ring(c, "rs", -1, reduce=True):
        yield from moves


def _ring_all_reduce(c: Collective) -> Iterator[Move]:
    """Reduce-scatter, then an all-gather that passes each complete chunk on as it comes in."""
    n = len(c.ranks)
    reduce = _ring(c, "rs", -1, reduce=True)
    last = [reduce[-1][(i - 1) % n].id for i in range(n)]      # the move that completes chunk i at member i
    for moves in (*reduce, *_ring(c, "ag", 0, reduce=False, behind=last)):
        yield from moves


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


def _direct_all_gather(c: Collective) -> Iterator[Move]:
    return _direct(c, "ag", lambda i, j: i, reduce=False)


def _direct_reduce_scatter(c: Collective) -> Iterator[Move]:
    return _direct(c, "rs", lambda i, j: j, reduce=True)


def _direct_all_reduce(c: Collective) -> Iterator[Move]:
    """Everyone's chunk j to member j, which adds them up and sends the sum to all."""
    reduce = list(_direct_reduce_scatter(c))
    into = [tuple(m.id for m in reduce if m.dst == rank) for rank in c.ranks]
    yield from reduce
    yield from _direct(c, "ag", lambda i, j: i, reduce=False, after=into)


def _direct_all_to_all(c: Collective) -> Iterator[Move]:
    """Member i's part for j goes to j. Chunk i * n + j names it: each has n buffers of n parts."""
    n, splits = len(c.ranks), c.splits
    size = (lambda i, j: splits[i][j]) if splits else (lambda i, j: part(c.size, n, j))
    return _direct(c, "aa", lambda i, j: i * n + j, reduce=False, size=size)


_SCHEDULES: dict[tuple[str, str], Callable[[Collective], Iterator[Move]]] = {
    ("all-reduce", "ring"): _ring_all_reduce,
    ("all-gather", "ring"): _ring_all_gather,
    ("reduce-scatter", "ring"): _ring_reduce_scatter,
    ("all-reduce", "direct"): _direct_all_reduce,
    ("all-gather", "direct"): _direct_all_gather,
    ("reduce-scatter", "direct"): _direct_reduce_scatter,
    ("all-to-all", "direct"): _direct_all_to_all,
}


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
    if c.splits is not None and c.kind != "all-to-all":
        yield "splits on an all-to-all only", f"splits on {c.kind}"
    elif c.splits is not None and (len(c.splits) != n or any(len(row) != n for row in c.splits)):
        yield f"splits of {n} rows with {n} sizes each", f"rows of {', '.join(str(len(row)) for row in c.splits)}"
    elif c.splits is not None and any(b < 0 for row in c.splits for b in row):
        yield "splits of zero or more bytes", str(min(b for row in c.splits for b in row))


def schedule(c: Collective) -> tuple[Move, ...]:
    """The moves of a collective, each after all the moves that it depends on. Raises SpecError.

    Over all moves, with S = c.size and n ranks: ring and direct all-reduce move 2(n-1)S bytes,
    all-gather, reduce-scatter and all-to-all (n-1)S, to the byte where n divides S or the moves
    carry every chunk equally often (all but all-to-all, which leaves each rank's own part at home).
    """
    wrong = list(problems(c))
    if wrong:
        raise SpecError(f"collective {c.id}", *wrong[0])
    return tuple(_SCHEDULES[c.kind, c.algorithm](c))
