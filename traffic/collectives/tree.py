"""Broadcast down a binary tree, every rank passing on what comes in while it comes in.

           0                depth log2 n instead of the chain's n - 1; an inner rank sends
         /   \\              the buffer twice, so its port sets the pace at half the rate
        1     2
       / \\   / \\
      3   4 5   6
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from traffic.collectives.moves import Move

if TYPE_CHECKING:
    from traffic.workloads.workload import Collective


def broadcast(c: Collective) -> Iterator[Move]:
    """From the first member to all; member i > 0 gets the buffer from member (i - 1) / 2."""
    n = len(c.ranks)
    into = {c.ranks[0]: ""}
    for i in range(1, n):
        src, dst = c.ranks[(i - 1) // 2], c.ranks[i]
        into[dst] = f"{c.id}/bc/{src}-{dst}"
        yield Move(into[dst], src, dst, 0, c.size, False, into[src], chunks=n)
