"""The small language that every workload compiles to: compute, transfer, collective, dependencies.

    Compute      rank works for some seconds
    Transfer     bytes from one rank to another; it is over when the last byte has arrived
    Collective   many ranks exchange; for a rank it is over when that rank has got all of its inputs

`after` names operations of this workload. An operation of rank r that comes after a collective waits
for r's part of it only: a rank goes on when its own inputs have arrived, not by the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CollectiveName = Literal["all-reduce", "all-gather", "reduce-scatter", "all-to-all"]


@dataclass(frozen=True, slots=True)
class Compute:
    """`seconds` of work on `rank`."""

    id: str
    rank: int
    seconds: float
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transfer:
    """`size` bytes from rank src to rank dst, started when all of `after` is over at src.

    behind   a transfer *into* src whose bytes this one passes on: byte k may leave once byte k of
             `behind` has arrived there (in slices). That is how a ring pipelines.
    at       not before this many seconds after the start of the workload (open-loop arrivals)
    reply    a transfer from dst to src whose TCP connection this one answers on (request/response)
    """

    id: str
    src: int
    dst: int
    size: int
    after: tuple[str, ...] = ()
    behind: str = ""
    at: float = 0.0
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Collective:
    """`size` is S of METHODS' algbw in bytes; `splits[i][j]` bytes from ranks[i] to ranks[j] (all-to-all-v)."""

    id: str
    kind: CollectiveName
    ranks: tuple[int, ...]
    size: int
    algorithm: Literal["ring", "direct"] = "ring"
    splits: tuple[tuple[int, ...], ...] | None = None
    after: tuple[str, ...] = ()


Op = Compute | Transfer | Collective


@dataclass(frozen=True)
class Workload:
    """`hosts[r]` is the host of rank r; `ops` of one iteration, repeated warmup + iterations times."""

    name: str
    hosts: tuple[str, ...]
    ops: tuple[Op, ...]
    iterations: int = 1
    warmup: int = 0
    flows_per_pair: int = 1
    congestion_control: str = "cubic"
    connections: Literal["shared", "pool"] = "shared"       # pool: a transfer takes an idle connection or opens one
    timeout: float = 60.0       # seconds without progress of a transfer before the run fails, or the request is given up
    notes: dict[str, str] = field(default_factory=dict)     # origin, factors: what a report states
