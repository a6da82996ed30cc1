"""Ring schedules: every rank sends to its right neighbour only.

    0 -> 1 -> 2 -> ... -> n-1 -> 0

Source: Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations" (2009),
and NCCL, whose broadcast is a chain as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from traffic.collectives.moves import Move, part

if TYPE_CHECKING:
    from traffic.workloads.workload import Collective


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


def all_gather(c: Collective) -> Iterator[Move]:
    """Member i has chunk i; all have all chunks after n - 1 steps."""
    for moves in _ring(c, "ag", 0, reduce=False):
        yield from moves


def reduce_scatter(c: Collective) -> Iterator[Move]:
    """Chunk k starts at member k + 1 and is complete at member k."""
    for moves in _ring(c, "rs", -1, reduce=True):
        yield from moves


def all_reduce(c: Collective) -> Iterator[Move]:
    """Reduce-scatter, then an all-gather that passes each complete chunk on as it comes in."""
    n = len(c.ranks)
    reduce = _ring(c, "rs", -1, reduce=True)
    last = [reduce[-1][(i - 1) % n].id for i in range(n)]      # the move that completes chunk i at member i
    for moves in (*reduce, *_ring(c, "ag", 0, reduce=False, behind=last)):
        yield from moves


def broadcast(c: Collective) -> Iterator[Move]:
    """A chain from the first member: each passes the whole buffer on while it comes in."""
    n, behind = len(c.ranks), ""
    for src, dst in zip(c.ranks, c.ranks[1:], strict=False):
        move = Move(f"{c.id}/bc/{src}-{dst}", src, dst, 0, c.size, False, behind, chunks=n)
        behind = move.id
        yield move
