"""Reader of Mooncake's traces: a line of JSON a request, with ids of its prompt's blocks.

    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [0, 46, 47, ...]}

timestamp in ms from the start; a hash id stands for 512 tokens and all that comes before them, so equal
leading ids are a prefix whose KV cache can be used again; the last block may be cut short. Source: Qin et
al., Mooncake, FAST 2025, FAST25-release/traces.

The arrivals of the published conversation trace are rounded down to 3 s, those of others are exact: `slot_of` tells
them apart. `spread` gives each batch of equal stamps times of its own inside its slot, drawn from the seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from topologies.model.errors import TraceError
from traffic.traces.rows import Row, json_rows, shorten

BLOCK = 512         # tokens of a hash id
MIN_SLOT = 1000     # ms: stamps on a finer grid are exact enough
MIN_STAMPS = 10     # different ones, before a common divisor of their distances is no accident


@dataclass(frozen=True, slots=True)
class CachedRequest:
    """`arrival` in seconds from the start of the replay; tokens in and out; ids of the prompt's blocks."""

    arrival: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]


def read(path: Path, window: tuple[float, float] | None = None) -> list[CachedRequest]:
    """The requests that arrive in `window`, [from, to) seconds of the trace, counted from its start.

    Raises TraceError naming file:line of a row that cannot be read, and for an empty window.
    """
    return _within(_rows(path), path, window)


def read_spread(path: Path, window: tuple[float, float] | None, seed: int) -> list[CachedRequest]:
    """The same, with stamps that were rounded to slots spread inside them."""
    rows = _rows(path)
    chosen, slot = _within(rows, path, window), slot_of(rows)
    return spread(chosen, seed, slot) if slot else chosen


def slot(path: Path) -> float:
    """Seconds to which the stamps of a trace were rounded, 0 where they are exact. Raises TraceError."""
    return slot_of(_rows(path))


def slot_of(requests: list[CachedRequest]) -> float:
    """The grid of a second or more on which all stamps lie, in seconds; 0 where there is none.

    The common divisor of all distances, of ten different stamps or more. Batches that are all of one size are no
    rounding: somebody made them so.
    """
    counts = Counter(round(r.arrival * 1000) for r in requests)
    stamps = sorted(counts)
    if len(stamps) < MIN_STAMPS or len(set(counts.values())) == 1:
        return 0.0
    grid = math.gcd(*(stamp - stamps[0] for stamp in stamps))
    return grid / 1000 if grid >= MIN_SLOT else 0.0


def spread(requests: list[CachedRequest], seed: int, slot: float) -> list[CachedRequest]:
    """Requests of one stamp at times drawn from [stamp, stamp + slot), in their order."""
    rng = random.Random(seed)     # noqa: S311 - no secret
    counts: dict[float, int] = {}
    for r in requests:
        counts[r.arrival] = counts.get(r.arrival, 0) + 1
    times = [t + offset for t, n in counts.items()
             for offset in (sorted(rng.uniform(0.0, slot) for _ in range(n)) if n > 1 else [0.0])]
    return sorted((replace(r, arrival=t) for r, t in zip(requests, times, strict=True)), key=lambda r: r.arrival)


def _rows(path: Path) -> list[CachedRequest]:
    rows: list[CachedRequest] = []
    for row in json_rows(path):
        request = _request(row)
        if rows and request.arrival < rows[-1].arrival:
            raise TraceError(row.where, "rows in the order of time", f"{request.arrival:g} s after "
                             f"{rows[-1].arrival:g} s", "sort the rows by timestamp")
        rows.append(request)
    if not rows:
        raise TraceError(str(path), "at least one request", "an empty file")
    return rows


def _within(rows: list[CachedRequest], path: Path, window: tuple[float, float] | None) -> list[CachedRequest]:
    start, end = (0.0, float("inf")) if window is None else window
    chosen = [replace(r, arrival=r.arrival - start) for r in rows if start <= r.arrival < end]
    if not chosen:
        raise TraceError(str(path), f"rows from {start:g} s to before {end:g} s", "none",
                         f"the trace goes on until {rows[-1].arrival:g} s")
    return chosen


def _request(row: Row) -> CachedRequest:
    tokens_in = _whole(row, "input_length", 1)
    blocks = row.data.get("hash_ids")
    if not isinstance(blocks, list) or not all(type(b) is int and b >= 0 for b in blocks):
        raise TraceError(row.where, "hash_ids, a list of whole numbers", shorten(blocks))
    if len(blocks) != -(-tokens_in // BLOCK):
        raise TraceError(row.where, f"{-(-tokens_in // BLOCK)} hash_ids, one for each {BLOCK} of {tokens_in} tokens",
                         str(len(blocks)))
    return CachedRequest(_whole(row, "timestamp") / 1000, tokens_in, _whole(row, "output_length"), tuple(blocks))


def _whole(row: Row, key: str, least: int = 0) -> int:
    value = row.data.get(key)
    if type(value) is not int or value < least:
        raise TraceError(row.where, f"{key}, a whole number of {least} or more", shorten(value))
    return value
