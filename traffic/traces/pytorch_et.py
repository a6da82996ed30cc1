"""Reader of a measured training step: PyTorch execution traces and their Kineto profiles.

A directory holds, for every rank N from 0,

    et_comm_rankN.jsonl       execution-trace nodes; `record_param_comms` names each collective, its
                              tensor (num_elem, elem_bytes), its send and its receive splits
    kineto_comm_rankN.jsonl   profiler events; the NCCL kernels say when each collective ran

first line a header. The n-th collective in the order of the process group's sequence numbers is the
n-th NCCL kernel in the order of time (one grouped kernel a collective); their kinds have to agree.

    step |<- gap ->[kernel 1]<- gap ->[kernel 2]          [kernel 3]<- tail ->|
                    includes waiting for peers, so it is never counted as compute

A gap runs from the end of the latest kernel that was over when this one started (or from the start of
the step) to its start. Kernels of one stream cannot overlap, so an asynchronous collective that was
queued early has a gap near zero; kernels of two streams may, and then do not wait for each other here
either. `wait` entries are no transfers. Nothing is returned unless everything could be read.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from topologies.errors import TraceError
from traffic.traces.rows import Row, json_rows, shorten
from traffic.workload import CollectiveName

KINDS: dict[str, CollectiveName] = {
    "allreduce": "all-reduce", "all_to_all": "all-to-all", "all_to_allv": "all-to-all",
}
KERNELS: dict[str, CollectiveName] = {"AllReduce": "all-reduce", "SendRecv": "all-to-all"}
_FILE = re.compile(r"(et|kineto)_comm_rank(\d+)\.jsonl")
_KERNEL = re.compile(r"nccl(?:Dev)?Kernel_([A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class TraceCollective:
    """One collective over all ranks. `rank_bytes` of each rank's input; `splits[i][j]` bytes from i to j."""

    op: str
    kind: CollectiveName
    rank_bytes: tuple[int, ...]
    splits: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """`seconds` without a collective on a rank, after collective `after` was over (-1: after the step's start)."""

    seconds: float
    after: int


@dataclass(frozen=True, slots=True)
class TrainingTrace:
    """One step. gaps[r][k] comes before collective k on rank r, tails[r] after the last one.

    `start_spread` is the time in seconds between the first and the last rank's start of the step.
    """

    collectives: tuple[TraceCollective, ...]
    gaps: tuple[tuple[Gap, ...], ...]
    tails: tuple[Gap, ...]
    start_spread: float

    @property
    def ranks(self) -> int:
        return len(self.gaps)


@dataclass(frozen=True, slots=True)
class _Call:
    """A collective as one rank recorded it; sizes in bytes."""

    where: str
    seq: int
    group: int
    op: str
    size: int
    send: tuple[int, ...]
    receive: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Kernel:
    where: str
    kind: CollectiveName
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class _Profile:
    """Kernels by start, and the step around them; microseconds on the profiler's clock."""

    kernels: tuple[_Kernel, ...]
    start: float
    end: float


def read(directory: Path) -> TrainingTrace:
    """The step in `directory`. Raises TraceError naming the file, and the line where there is one."""
    ranks = _ranks(directory)
    profiles = [_profile(directory / f"kineto_comm_rank{r}.jsonl", r, len(ranks)) for r in ranks]
    calls = [_calls(directory / f"et_comm_rank{r}.jsonl", len(ranks)) for r in ranks]
    _same_sequence(directory, calls)
    for mine, profile in zip(calls, profiles, strict=True):
        _same_kinds(directory, mine, profile)
    starts = [p.start for p in profiles]
    return TrainingTrace(
        collectives=tuple(_collective(at) for at in zip(*calls, strict=True)),
        gaps=tuple(_gaps(p) for p in profiles), tails=tuple(_tail(p) for p in profiles),
        start_spread=(max(starts) - min(starts)) * 1e-6)


def _ranks(directory: Path) -> range:
    """Ranks 0 .. n-1. Raises TraceError when a file of one of them is missing."""
    if not directory.is_dir():
        raise TraceError(str(directory), "a directory of et_comm_rankN.jsonl and kineto_comm_rankN.jsonl",
                         "a file" if directory.exists() else "no such directory")
    found = {m[0] for f in directory.iterdir() if (m := _FILE.fullmatch(f.name))}
    if not found:
        raise TraceError(str(directory), "files et_comm_rankN.jsonl and kineto_comm_rankN.jsonl", "none of them")
    ranks = range(1 + max(int(m[2]) for f in found if (m := _FILE.fullmatch(f))))
    wanted = [f"{kind}_comm_rank{r}.jsonl" for r in ranks for kind in ("et", "kineto")]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise TraceError(str(directory), f"two files for each of ranks 0 to {ranks[-1]}",
                         f"no {', '.join(missing[:4])}", "a step can only be replayed with all of its ranks")
    if len(ranks) < 2:
        raise TraceError(str(directory), "at least two ranks", "one rank")
    return ranks


# --- execution trace ------------------------------------------------------------------------------


def _calls(path: Path, ranks: int) -> list[_Call]:
    """The collectives of one rank in the order of their sequence numbers."""
    rows = json_rows(path)
    if not rows or "schema" not in rows[0].data:
        raise TraceError(f"{path}:1", "the header of a PyTorch execution trace, with a key schema",
                         shorten(rows[0].data) if rows else "an empty file")
    communication = [r for r in rows[1:] if _name(r) == "record_param_comms"]
    calls = [c for r in communication if (c := _call(r, ranks)) is not None]
    launches = [r for r in rows[1:] if _name(r).startswith("nccl:")]
    if len(launches) != len(calls):
        raise TraceError(str(path), "one record_param_comms node for each nccl: node",
                         f"{len(calls)} and {len(launches)}", "rows of the file are missing")
    calls.sort(key=lambda c: c.seq)
    for a, b in pairwise(calls):
        if a.seq == b.seq or a.group != b.group:
            raise TraceError(b.where, "one process group whose collectives have sequence numbers of their own",
                             f"group {b.group}, sequence number {b.seq} beside group {a.group}, {a.seq} of {a.where}",
                             "steps with several process groups are not supported")
    return calls


def _name(row: Row) -> str:
    name = row.data.get("name")
    if not isinstance(name, str):
        raise TraceError(row.where, "a node with a name", shorten(row.data))
    return name


def _call(row: Row, ranks: int) -> _Call | None:
    """The collective of a record_param_comms node, None for a `wait`."""
    inputs = row.data.get("inputs")
    if not isinstance(inputs, list) or len(inputs) not in (6, 7) or not isinstance(inputs[-3], str):
        raise TraceError(row.where, "inputs [tensor, seq, group, rank, op, send splits, receive splits]",
                         shorten(inputs))
    op = inputs[-3]
    if op == "wait":
        return None
    if op not in KINDS:
        raise TraceError(row.where, f"one of the collectives {', '.join(KINDS)}", f"{op}, which is not supported",
                         "take it out of every rank's files, or replay another step")
    tensor, seq, group = inputs[0], inputs[1], inputs[2]
    if len(inputs) != 7 or not _count(seq) or not _count(group):
        raise TraceError(row.where, f"a tensor, a sequence number and a process group of {op}", shorten(inputs))
    size = _tensor_bytes(row, tensor)
    if op != "all_to_allv":
        return _Call(row.where, seq, group, op, size, (), ())
    outputs = row.data.get("outputs")
    if not isinstance(outputs, list) or len(outputs) != 1:
        raise TraceError(row.where, "one output tensor", shorten(outputs))
    return _Call(row.where, seq, group, op, size, _split_bytes(row, "send", inputs[5], size, ranks),
                 _split_bytes(row, "receive", inputs[6], _tensor_bytes(row, outputs[0]), ranks))


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def _tensor_bytes(row: Row, value: object) -> int:
    """num_elem x elem_bytes of a tensor [id, storage, offset, num_elem, elem_bytes, device], or of a list of them."""
    if not isinstance(value, list) or not value:
        raise TraceError(row.where, "a tensor [id, storage, offset, num_elem, elem_bytes, device]", shorten(value))
    if isinstance(value[0], list):
        return sum(_tensor_bytes(row, tensor) for tensor in value)
    if len(value) != 6 or not _count(value[3]) or not _count(value[4]):
        raise TraceError(row.where, "a tensor [id, storage, offset, num_elem, elem_bytes, device]", shorten(value))
    return int(value[3] * value[4])


def _split_bytes(row: Row, what: str, splits: object, size: int, ranks: int) -> tuple[int, ...]:
    """Bytes of each split. Splits count rows of the tensor, which all have the same bytes."""
    if not isinstance(splits, list) or len(splits) != ranks or not all(_count(s) for s in splits):
        raise TraceError(row.where, f"{ranks} {what} splits, one for each rank", shorten(splits))
    total = sum(splits)
    if total == 0 and size == 0:
        return (0,) * ranks
    if total == 0 or size % total:
        raise TraceError(row.where, f"{what} splits that make up the tensor's {size} bytes", f"a sum of {total} rows")
    return tuple(s * (size // total) for s in splits)


# --- profile --------------------------------------------------------------------------------------


def _profile(path: Path, rank: int, ranks: int) -> _Profile:
    """The NCCL kernels of one rank by time, and its one ProfilerStep."""
    rows = json_rows(path)
    header = rows[0].data.get("distributedInfo") if rows else None
    if not isinstance(header, dict):
        raise TraceError(f"{path}:1", "the header of a Kineto trace, with a key distributedInfo",
                         shorten(rows[0].data) if rows else "an empty file")
    if header.get("rank") != rank or header.get("world_size") != ranks:
        raise TraceError(f"{path}:1", f"rank {rank} of {ranks}, as the files say",
                         f"rank {header.get('rank')} of {header.get('world_size')}",
                         "files of ranks are missing or mixed up")
    steps = [r for r in rows[1:] if _name(r).startswith("ProfilerStep")]
    if len(steps) != 1:
        raise TraceError(str(path), "one ProfilerStep", f"{len(steps)} of them")
    start, end = _span(steps[0])
    kernels = sorted((_kernel(r) for r in rows[1:] if r.data.get("cat") == "kernel" and "nccl" in _name(r)),
                     key=lambda k: k.start)
    early = [k for k in kernels if k.start < start]
    if early:
        raise TraceError(early[0].where, f"a kernel that starts inside of the step, not before {start:.0f} us",
                         f"{early[0].start:.0f} us")
    return _Profile(tuple(kernels), start, end)


def _kernel(row: Row) -> _Kernel:
    match = _KERNEL.match(_name(row))
    if match is None or match[1] not in KERNELS:
        raise TraceError(row.where, f"an NCCL kernel of {' or '.join(KERNELS)}",
                         f"{shorten(_name(row))}, which is not supported")
    return _Kernel(row.where, KERNELS[match[1]], *_span(row))


def _span(row: Row) -> tuple[float, float]:
    """Start and end of an event in microseconds."""
    ts, dur = _time(row, "ts"), _time(row, "dur")
    return ts, ts + dur


def _time(row: Row, key: str) -> float:
    value = row.data.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise TraceError(row.where, f"{key} in microseconds", shorten(value))
    return float(value)


# --- both together --------------------------------------------------------------------------------


def _same_sequence(directory: Path, calls: list[list[_Call]]) -> None:
    """Every rank takes part in the same collectives in the same order, with sizes that fit."""
    for rank, mine in enumerate(calls):
        if len(mine) != len(calls[0]):
            raise TraceError(str(directory), f"{len(calls[0])} collectives on every rank, as on rank 0",
                             f"{len(mine)} on rank {rank}")
        for first, other in zip(calls[0], mine, strict=True):
            if (other.op, other.seq) != (first.op, first.seq):
                raise TraceError(other.where, f"{first.op} number {first.seq}, as in {first.where}",
                                 f"{other.op} number {other.seq}", "the ranks disagree on their collectives")
            if other.op != "all_to_allv" and other.size != first.size:
                raise TraceError(other.where, f"{first.size} bytes, as in {first.where}", f"{other.size} bytes")
    if not calls[0]:
        raise TraceError(str(directory), "at least one collective", "none")


def _same_kinds(directory: Path, calls: list[_Call], profile: _Profile) -> None:
    """Each collective of a rank has its kernel."""
    if len(calls) != len(profile.kernels):
        where = profile.kernels[0].where.rpartition(":")[0] if profile.kernels else str(directory)
        raise TraceError(where, f"one NCCL kernel for each of the {len(calls)} collectives",
                         f"{len(profile.kernels)} kernels")
    for call, kernel in zip(calls, profile.kernels, strict=True):
        if KINDS[call.op] != kernel.kind:
            raise TraceError(kernel.where, f"a kernel of {call.op}, as {call.where} says", f"one of {kernel.kind}")


def _collective(at: tuple[_Call, ...]) -> TraceCollective:
    """What the ranks recorded of one collective, put together. Raises TraceError where peers disagree."""
    op, sizes = at[0].op, tuple(c.size for c in at)
    if op == "all_to_all" and sizes[0] % len(at):
        raise TraceError(at[0].where, f"bytes that {len(at)} ranks can share equally", f"{sizes[0]} bytes")
    if op != "all_to_allv":
        return TraceCollective(op, KINDS[op], sizes)
    for i, sender in enumerate(at):
        for j, receiver in enumerate(at):
            if sender.send[j] != receiver.receive[i]:
                raise TraceError(receiver.where, f"{sender.send[j]} bytes from rank {i} at rank {j}, as {sender.where} "
                                 "sends them", f"{receiver.receive[i]} bytes")
    return TraceCollective(op, KINDS[op], sizes, tuple(c.send for c in at))


def _gap(profile: _Profile, moment: float) -> Gap:
    """The time on a rank between the latest kernel that was over at `moment` and `moment`."""
    over = [(k.end, i) for i, k in enumerate(profile.kernels) if k.end <= moment and k.start < moment]
    end, after = max(over, default=(profile.start, -1))
    return Gap(max(0.0, moment - end) * 1e-6, after)


def _gaps(profile: _Profile) -> tuple[Gap, ...]:
    return tuple(_gap(profile, k.start) for k in profile.kernels)


def _tail(profile: _Profile) -> Gap:
    """From the end of the last kernel to the end of the step; zero where a kernel outlasts the step."""
    return _gap(profile, max([profile.end, *(k.end for k in profile.kernels)]))
