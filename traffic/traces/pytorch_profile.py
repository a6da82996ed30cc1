"""A Kineto profile of one rank: when its NCCL kernels ran, and of which collective each is, where it says so."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import pairwise

from topologies.model.errors import TraceError
from traffic.traces.documents import Document
from traffic.traces.pytorch_calls import Call, Groups, Kind, argument_call, groups_of
from traffic.traces.rows import Row, shorten

# Type in a kernel's name -> the collectives that it may be; none: any (RCCL's one kernel for all)
KERNELS: dict[str, tuple[Kind, ...]] = {
    "AllReduce": ("all-reduce", "barrier"), "AllGather": ("all-gather",), "ReduceScatter": ("reduce-scatter",),
    "Broadcast": ("broadcast",), "SendRecv": ("all-to-all", "gather", "scatter", "send", "recv"), "Generic": ()}
_KERNEL = re.compile(r"nccl(?:Dev)?Kernel_([A-Za-z]+)")
_STEP = re.compile(r"ProfilerStep#(\d+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """Microseconds; `launched` when its call was made on the CPU, as far as known."""

    where: str
    type: str
    start: float
    end: float
    launched: float
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Kernels by start and the step around them, on the profiler's clock; `base` its zero, all in microseconds.

    every   kernels of all steps of the file
    """

    where: str
    kernels: tuple[Kernel, ...]
    every: tuple[Kernel, ...]
    start: float
    end: float
    base: float = 0.0
    steps: int = 1


@dataclass(slots=True)
class Extent:
    """From the first to the last of all events, kept or not; microseconds."""

    start: float = math.inf
    end: float = -math.inf
    other: set[str] = field(default_factory=set)    # collectives of another backend

    def keep(self, event: dict[str, object]) -> bool:
        """Whether the reader needs the event; looks at every one on the way."""
        name, ts, dur = event.get("name"), event.get("ts"), event.get("dur")
        if event.get("ph", "X") == "X" and isinstance(ts, int | float) and isinstance(dur, int | float):
            self.start, self.end = min(self.start, ts), max(self.end, ts + dur)
        if not isinstance(name, str):
            return "ph" not in event
        if name.startswith(("gloo:", "mpi:", "ucc:")):
            self.other.add(name)
        return (event.get("cat") == "kernel" and "nccl" in name) or name == "record_param_comms" or (
            name.startswith("ProfilerStep") and event.get("cat") != "gpu_user_annotation")


def said_rank(document: Document) -> tuple[int, int] | None:
    """Rank and world size of a profile's header, None where it says none. Raises TraceError."""
    info = document.header.get("distributedInfo")
    if not isinstance(info, dict):
        return None
    rank, size = info.get("rank"), info.get("world_size")
    if type(rank) is not int or type(size) is not int or rank < 0:
        raise TraceError(document.where, "rank and world_size in distributedInfo", shorten(info))
    return rank, size


def profile(document: Document, extent: Extent, n: int, step: int | None) -> Profile:
    """The kernels of step number `step` of the file, from 1, by default the first. Raises TraceError."""
    info = document.header.get("distributedInfo")
    groups = groups_of(info["pg_config"], document.where) if isinstance(info, dict) and "pg_config" in info else {}
    for row in document.rows:
        name(row)
    launches = {_external(r): r for r in document.rows if r.data["name"] == "record_param_comms"}
    every = sorted((_kernel(r, launches, groups, n) for r in document.rows if r.data.get("cat") == "kernel"),
                   key=lambda k: k.start)
    if not every and extent.other:
        raise TraceError(document.where, "kernels of NCCL", f"{', '.join(sorted(extent.other)[:3])} of another backend",
                         "such a profile does not say in which process group they ran")
    steps = _steps(document)
    first = steps[0][0] if steps else min(extent.start, *(k.start for k in every[:1]), math.inf)
    chosen = (step or 1) - 1
    if chosen >= max(1, len(steps)):
        raise TraceError(document.where, f"a step {step}", f"{len(steps)} steps", "trace_iteration counts from 1")
    start, end = steps[chosen] if steps else (first, max(extent.end, first))
    following = steps[chosen + 1][0] if chosen + 1 < len(steps) else math.inf
    early = [k for k in every if k.start < first] if len(steps) == 1 else []
    if early:
        raise TraceError(early[0].where, f"a kernel that starts inside of the step, not before {first:.0f} us",
                         f"{early[0].start:.0f} us")
    base = document.header.get("baseTimeNanoseconds", 0)
    mine = tuple(k for k in every if start <= k.launched < following) if len(steps) > 1 else tuple(every)
    return Profile(document.where.removesuffix(":1"), mine, tuple(every), start, end,
                   base / 1000 if isinstance(base, int | float) else 0.0, len(steps))


def name(row: Row) -> str:
    """The name of a row. Raises TraceError."""
    value = row.data.get("name")
    if not isinstance(value, str):
        raise TraceError(row.where, "a node with a name", shorten(row.data))
    return value


def _steps(document: Document) -> list[tuple[float, float]]:
    """Start and end of each ProfilerStep, in their order; none where the profile is not divided into steps."""
    found = [(r, _STEP.match(name(r))) for r in document.rows if name(r).startswith("ProfilerStep")]
    numbers = [m[1] if m else "" for _, m in found]
    if len(set(numbers)) < len(numbers):
        raise TraceError(document.where.removesuffix(":1"), "one ProfilerStep of each number",
                         f"{len(numbers)} of {len(set(numbers))}")
    spans = sorted(_span(r) for r, _ in found)
    for (_, before), (after, _) in pairwise(spans):
        if after < before - 1:       # clocks round
            raise TraceError(document.where, "steps one after the other", "two that overlap")
    return spans


def _external(row: Row) -> object:
    args = row.data.get("args")
    value = args.get("External id", args.get("external id")) if isinstance(args, dict) else None
    return value if isinstance(value, int | str) else None


def _kernel(row: Row, launches: dict[object, Row], groups: Groups, n: int) -> Kernel:
    match = _KERNEL.search(name(row))
    if match is None or match[1] not in KERNELS:
        raise TraceError(row.where, f"an NCCL kernel of {' or '.join(KERNELS)}",
                         f"{shorten(row.data['name'])}, which is not supported")
    launch = launches.get(_external(row)) if _external(row) is not None else None
    start, end = _span(row)
    launched = _time(launch, "ts") if launch is not None else start
    call = None
    for source in (row, launch):
        args = source.data.get("args") if source is not None else None
        if call is None and isinstance(args, dict) and "Collective name" in args:
            call = argument_call(row.where, args, groups, n)
    if call is not None and KERNELS[match[1]] and call.kind not in KERNELS[match[1]]:
        raise TraceError(row.where, f"a kernel of {call.op}, as its args say", match[1])
    return Kernel(row.where, match[1], start, end, min(launched, start), call)


def _span(row: Row) -> tuple[float, float]:
    """Start and end of an event in microseconds."""
    ts, dur = _time(row, "ts"), _time(row, "dur")
    return ts, ts + dur


def _time(row: Row, key: str) -> float:
    value = row.data.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise TraceError(row.where, f"{key} in microseconds", shorten(value))
    return float(value)

