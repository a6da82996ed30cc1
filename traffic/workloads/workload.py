"""The small language that every workload compiles to: compute, transfer, collective, dependencies.

    Compute      rank works for some seconds
    Transfer     bytes from one rank to another; it is over when the last byte has arrived
    Collective   many ranks exchange; for a rank it is over when that rank has got all of its inputs

`after` names operations of this workload. An operation of rank r that comes after a collective waits
for r's part of it only: a rank goes on when its own inputs have arrived, not by the clock. Iterations
do not overlap: one begins when the one before it is over on every rank. A collective that comes after
Computes of its members starts on each member after that member's own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from topologies.model.errors import SpecError

CollectiveName = Literal["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast"]
AlgorithmName = Literal["ring", "direct", "tree", "halving-doubling", "hierarchical"]

_STRICT = ConfigDict(extra="forbid")        # read from JSON, an unknown key is an error


@dataclass(frozen=True, slots=True)
class Compute:
    """`seconds` of work on `rank`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
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
    reply    a transfer from dst to src whose connection this one answers on (request/response)
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
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
    """`size` is S of algbw (docs/reference/methods.md: training) in bytes.

    `splits[i][j]`: bytes from ranks[i] to ranks[j] (all-to-all-v).
    A broadcast starts at ranks[0]. `groups` are the leaves' ranks of a hierarchical all-reduce.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    id: str
    kind: CollectiveName
    ranks: tuple[int, ...]
    size: int
    algorithm: AlgorithmName = "ring"
    splits: tuple[tuple[int, ...], ...] | None = None
    after: tuple[str, ...] = ()
    groups: tuple[tuple[int, ...], ...] | None = None


Op = Compute | Transfer | Collective


@dataclass(frozen=True)
class Workload:
    """`hosts[r]` is the host of rank r; `ops` of one iteration, repeated warmup + iterations times.

    jitter: coefficient of variation of the computes, each drawn anew in each iteration from `seed`
    (traffic/workloads/jitter.py).
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str
    hosts: tuple[str, ...]
    ops: tuple[Op, ...]
    iterations: int = 1
    warmup: int = 0
    flows_per_pair: int = 1
    transport: str = "tcp"      # what carries its bytes: a name of traffic/transports/registry.py
    congestion_control: str = "cubic"
    dscp: int = 0               # of its packets
    connections: Literal["shared", "pool"] = "shared"       # pool: a transfer takes an idle connection or opens one
    timeout: float = 60.0       # seconds without progress of a transfer: then the run fails; in a pool, that request
    jitter: float = 0.0
    seed: int = 0
    notes: dict[str, str] = field(default_factory=dict)     # origin, factors: what a report states


_OPS: dict[str, TypeAdapter[Compute] | TypeAdapter[Transfer] | TypeAdapter[Collective]] = {
    "compute": TypeAdapter(Compute), "transfer": TypeAdapter(Transfer), "collective": TypeAdapter(Collective),
}
_WORKLOAD: TypeAdapter[Workload] = TypeAdapter(Workload)


def to_json(workload: Workload) -> dict[str, object]:
    """As plain JSON values; every operation says its type under `op`. `from_json` reads it back."""
    body = {f.name: getattr(workload, f.name) for f in fields(workload) if f.name != "ops"}
    ops = [{"op": type(op).__name__.lower(), **asdict(op)} for op in workload.ops]
    return {**body, "ops": ops}


def _op_from(row: object, where: str) -> Op:
    kind = row.get("op") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(kind, str) or kind not in _OPS:
        raise SpecError(where, f"an operation: one of {', '.join(_OPS)}", repr(row)[:80])
    try:
        op: Op = _OPS[kind].validate_python({k: v for k, v in row.items() if k != "op"})
    except ValidationError as error:
        raise _first(error, where) from None
    return op


def _first(error: ValidationError, where: str) -> SpecError:
    """The first problem that pydantic found, as an error of ours."""
    problem = error.errors()[0]
    path = ".".join(map(str, problem["loc"]))
    return SpecError(f"{where}.{path}", problem["msg"], repr(problem["input"])[:80])


def from_json(data: object, where: str = "workload") -> Workload:
    """The workload of `to_json`. Raises SpecError naming the first value that is wrong."""
    if not isinstance(data, dict) or not isinstance(data.get("ops"), (list, tuple)):
        raise SpecError(where, "an object with name, hosts and ops", repr(data)[:80])
    ops = tuple(_op_from(row, f"{where}.ops.{i}") for i, row in enumerate(data["ops"]))
    try:
        empty = _WORKLOAD.validate_python({**data, "ops": ()})
    except ValidationError as error:
        raise _first(error, where) from None
    return replace(empty, ops=ops)


def save(workload: Workload, path: Path) -> None:
    """Write a workload to a file."""
    path.write_text(json.dumps(to_json(workload)) + "\n")


def read(path: Path) -> Workload:
    """A workload that `save` wrote. Raises SpecError."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SpecError(str(path), "a workload as JSON", str(error)) from None
    return from_json(data, str(path))
