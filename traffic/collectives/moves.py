"""What a schedule is made of: moves of chunks, and how a buffer is cut into them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Move:
    """`chunks` chunks from `chunk` on, together `size` bytes, from rank src to rank dst.

    behind   the move into src whose bytes this one passes on, '' if src has them from the start
    after    moves into src that must be complete before this one starts
    reduce   the receiver adds what arrives to its own chunks; else it replaces them
    """

    id: str
    src: int
    dst: int
    chunk: int
    size: int
    reduce: bool
    behind: str = ""
    after: tuple[str, ...] = ()
    chunks: int = 1


def part(size: int, n: int, i: int) -> int:
    """Bytes of chunk i when `size` bytes are cut into n chunks as evenly as whole bytes allow."""
    return size // n + (1 if i < size % n else 0)


def span(size: int, n: int, first: int, count: int) -> int:
    """Bytes of `count` consecutive chunks from `first` on."""
    return sum(part(size, n, i) for i in range(first, first + count))
