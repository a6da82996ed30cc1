"""All-reduce by recursive halving and doubling: 2 log2 n messages a rank instead of 2 (n - 1).

    step 0   0-1 2-3 4-5 6-7    half of the buffer each way     reduce-scatter: the pieces halve,
    step 1   0-2 1-3 4-6 5-7    a quarter                       the distance doubles
    step 2   0-4 1-5 2-6 3-7    an eighth
                                                                all-gather: the same backwards
The largest messages go to the nearest ranks. Source: Thakur, Rabenseifner & Gropp, "Optimization of
collective communication operations in MPICH" (2005), section 4.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from traffic.collectives.moves import Move, span

if TYPE_CHECKING:
    from traffic.workloads.workload import Collective


def problems(c: Collective) -> Iterator[tuple[str, str]]:
    """Pairs need a power of two."""
    n = len(c.ranks)
    if n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        yield ("2, 4, 8, 16, ... ranks for halving-doubling (a power of two)",
               f"{n}; {below} and {2 * below} can be served, ring and direct serve any number")


def all_reduce(c: Collective) -> Iterator[Move]:
    """Reduce-scatter by halving, then all-gather by doubling; a step waits for all that came in before it."""
    n = len(c.ranks)
    into: list[tuple[str, ...]] = [()] * n
    steps = n.bit_length() - 1
    for step in range(steps):
        moves = [_move(c, "rs", step, i, _kept(i ^ (1 << step), step + 1, n), into[i]) for i in range(n)]
        into = [(*into[i], moves[i ^ (1 << step)].id) for i in range(n)]
        yield from moves
    for step in reversed(range(steps)):
        moves = [_move(c, "ag", step, i, _kept(i, step + 1, n), into[i]) for i in range(n)]
        into = [(*into[i], moves[i ^ (1 << step)].id) for i in range(n)]
        yield from moves


def _kept(i: int, steps: int, n: int) -> tuple[int, int]:
    """First chunk and number of chunks that member i works on after `steps` halvings."""
    first, count = 0, n
    for step in range(steps):
        count //= 2
        if i >> step & 1:
            first += count
    return first, count


def _move(c: Collective, phase: str, step: int, i: int, chunks: tuple[int, int], after: tuple[str, ...]) -> Move:
    src, dst = c.ranks[i], c.ranks[i ^ (1 << step)]
    return Move(f"{c.id}/{phase}{step}/{src}-{dst}", src, dst, chunks[0], span(c.size, len(c.ranks), *chunks),
                reduce=phase == "rs", after=after, chunks=chunks[1])
