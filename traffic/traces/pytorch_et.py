"""Reader of a measured training step: Kineto profiles of PyTorch, with or without its execution traces.

A directory holds for every rank a profile (torch.profiler, JSON with traceEvents), an execution trace
(ExecutionTraceObserver, JSON with nodes) or a cut of them, an object a line; plain or .gz (pytorch_files).

    profile            when each collective ran: its NCCL kernel; in newer ones also what it was, in its args
    execution trace    what each collective was: record_param_comms, with tensors, splits and process group

Kernels that say nothing are the calls of the execution trace in turn: the n-th kernel in time is the n-th collective
by sequence number, which takes one process group and kinds that agree. A profile whose kernels say everything needs no
execution trace; what a kernel leaves out (the root of a broadcast, long lists of splits) comes from one beside it. The
k-th collective of a rank in a process group is the k-th of each of its other ranks.

    step |<- gap ->[kernel 1]<- gap ->[kernel 2]          [kernel 3]<- tail ->|
                    includes waiting for peers, so it is never counted as compute

A gap runs from the end of the latest kernel that was over when this one started (or from the start of
the step) to its start. Kernels of one stream cannot overlap, so an asynchronous collective that was
queued early has a gap near zero; kernels of two streams may, and then do not wait for each other here
either. `wait` entries are no transfers. Nothing is returned unless everything could be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from topologies.model.errors import TraceError
from traffic.traces.documents import Document, document
from traffic.traces.pytorch_calls import Call, listed_groups, node_call
from traffic.traces.pytorch_files import Ranked, all_ranks, by_rank, trace_files
from traffic.traces.pytorch_profile import KERNELS, Extent, Profile, name, profile, said_rank
from traffic.traces.pytorch_step import Part, Step, TrainingTrace, same_size
from traffic.traces.rows import shorten

_INIT = "process_group:init"


def read(directory: Path, step: int | None = None) -> TrainingTrace:
    """Step number `step` (from 1, by default the first) of the profiles in `directory`. Raises TraceError."""
    loaded = {path: _load(path) for path in trace_files(directory)}
    traces, profiles = _files(directory, loaded)
    ranks = all_ranks(directory, (traces, profiles) if traces.paths else (profiles,))
    n = len(ranks)
    seen = [_profile(loaded[profiles.paths[r]], r, n, step) for r in ranks]
    calls = [_calls(traces.paths[r], loaded[traces.paths[r]].document, n) for r in ranks] if traces.paths else []
    if calls and not all(k.call for p in seen for k in p.kernels):
        _same_sequence(directory, calls)
    parts = [_parts(directory, p, calls[r] if calls else None) for r, p in enumerate(seen)]
    return Step(directory, seen, parts).trace()


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file, of which only what a reader of either kind needs is kept."""

    document: Document
    extent: Extent


def _load(path: Path) -> _Loaded:
    extent = Extent()
    return _Loaded(document(path, lambda item: extent.keep(item) or _is_wanted(item)), extent)


def _files(directory: Path, loaded: dict[Path, _Loaded]) -> tuple[Ranked, Ranked]:
    """Execution traces and profiles, by rank. Raises TraceError for a JSON file that is neither."""
    traces: list[Path] = []
    profiles: list[Path] = []
    said: dict[Path, int] = {}
    for path, file in loaded.items():
        header = file.document
        if "schema" in header.header and "nodes" in header.lists:
            traces.append(path)
        elif {"distributedInfo", "schemaVersion"} & set(header.header) or header.lists == {"traceEvents"}:
            profiles.append(path)
            rank = said_rank(header)
            if rank is not None:
                said[path] = rank[0]
        else:
            raise TraceError(header.where, "the header of a PyTorch execution trace (schema, nodes) or of a Kineto "
                             "profile (distributedInfo, traceEvents)", shorten(header.header) if header.header
                             else "an empty file", "keep other files elsewhere")
    if not profiles:
        raise TraceError(str(directory), "a Kineto profile of each rank", "execution traces alone",
                         "they do not say when a collective ran: record them with torch.profiler as well")
    return by_rank(directory, "execution trace", traces, {}), by_rank(directory, "profile", profiles, said)


# --- one rank -------------------------------------------------------------------------------------


def _profile(file: _Loaded, rank: int, n: int, step: int | None) -> Profile:
    said = said_rank(file.document)
    if said is not None and said != (rank, n):
        raise TraceError(file.document.where, f"rank {rank} of {n}, as the files say", f"rank {said[0]} of {said[1]}",
                         "files of ranks are missing or mixed up")
    return profile(file.document, file.extent, n, step)


def _calls(path: Path, found: Document, n: int) -> list[Call]:
    """The collectives of one rank in the order of their sequence numbers, those of a group of one left out."""
    groups: dict[str, tuple[int, ...]] = {}
    for row in found.rows:
        if _INIT in name(row):
            groups.update(listed_groups(row))
    recorded = [r for r in found.rows if name(r) == "record_param_comms"]
    calls = _without_nested([c for r in recorded if (c := node_call(r, groups, n)) is not None])
    launches = [r for r in found.rows if name(r).startswith("nccl:")]
    if launches and len(launches) != len(calls):
        raise TraceError(str(path), "one record_param_comms node for each nccl: node",
                         f"{len(calls)} and {len(launches)}", "rows of the file are missing, or collectives were "
                         "coalesced, which is not supported")
    if calls and not launches and "attrs" not in recorded[0].data:
        raise TraceError(str(path), "one record_param_comms node for each nccl: node", f"{len(calls)} and 0",
                         "rows of the file are missing")
    other = next((name(r) for r in found.rows if name(r).startswith(("gloo:", "mpi:", "ucc:"))), "")
    if other and not calls:
        raise TraceError(str(path), "collectives of NCCL (record_param_comms)", f"{other} of another backend",
                         "such a trace does not say in which process group they ran")
    return _in_turn([c for c in calls if len(c.ranks) != 1])


def _is_wanted(node: dict[str, object]) -> bool:
    name_ = node.get("name")
    return not isinstance(name_, str) or name_ == "record_param_comms" or _INIT in name_ or name_.startswith(
        ("nccl:", "gloo:", "mpi:", "ucc:"))


def _without_nested(calls: list[Call]) -> list[Call]:
    """A barrier that PyTorch carries out by an all-reduce of its own is that all-reduce."""
    around = {c.parent for c in calls}
    return [c for c in calls if c.kind != "barrier" or c.id not in around]


def _in_turn(calls: list[Call]) -> list[Call]:
    """By sequence number in each group; sends and receives, which have numbers of their own, as they were made."""
    unknown = {c.group: c for c in calls if not c.ranks}
    for a, b in pairwise(unknown.values()):
        raise TraceError(b.where, "one process group whose collectives have sequence numbers of their own",
                         f"group {b.group} beside group {a.group} of {a.where}",
                         "a number does not say who is in a group: several are not supported")
    numbered = len({c.group for c in calls}) == 1 and all(c.seq >= 0 and c.kind not in ("send", "recv") for c in calls)
    calls = sorted(calls, key=lambda c: c.seq if numbered else c.id)
    last: dict[str, Call] = {}
    for call in calls:
        before = last.get(call.group)
        if before is not None and before.seq == call.seq >= 0 and call.kind not in ("send", "recv"):
            raise TraceError(call.where, "one process group whose collectives have sequence numbers of their own",
                             f"group {call.group}, sequence number {call.seq} beside {before.where}",
                             "coalesced collectives are not supported")
        if call.kind not in ("send", "recv"):
            last[call.group] = call
    return calls


def _parts(directory: Path, seen: Profile, calls: list[Call] | None) -> list[Part]:
    """Each kernel of the step with its collective."""
    if all(k.call is not None for k in seen.kernels):
        return _completed(seen, calls)
    if calls is None:
        silent = next(k for k in seen.kernels if k.call is None)
        raise TraceError(silent.where, 'a kernel whose args say its "Collective name"', "none",
                         "PyTorch 2.4 writes them; put the execution traces of older ones beside the profiles")
    if len({c.group for c in calls}) > 1:
        raise TraceError(seen.where, "kernels that say their collective, or one process group",
                         f"{len({c.group for c in calls})} groups", "which kernel is whose cannot be determined")
    kernels = seen.every if len(calls) == len(seen.every) else seen.kernels
    if len(calls) != len(kernels):
        raise TraceError(kernels[0].where.rpartition(":")[0] or seen.where if kernels else str(directory),
                         f"one NCCL kernel for each of the {len(calls)} collectives", f"{len(kernels)} kernels")
    for call, kernel in zip(calls, kernels, strict=True):
        allowed = KERNELS[kernel.type]
        if allowed and call.kind not in allowed:
            raise TraceError(kernel.where, f"a kernel of {call.op}, as {call.where} says", f"one of {kernel.type}")
    mine = {k.where for k in seen.kernels}
    return [Part(c, k) for c, k in zip(calls, kernels, strict=True) if k.where in mine]


def _completed(seen: Profile, calls: list[Call] | None) -> list[Part]:
    """Kernels that say their collective; with what the execution trace adds, where it holds the same ones."""
    parts = [Part(k.call, k) for k in seen.kernels if k.call is not None and len(k.call.ranks) != 1]
    found: list[Part] = []
    for group in dict.fromkeys(p.call.group for p in parts):
        mine = [p for p in parts if p.call.group == group]
        theirs = [c for c in calls or () if c.group == group]
        if [c.op for c in theirs] == [p.call.op for p in mine] and [c.size for c in theirs] == [
                p.call.size for p in mine]:
            mine = [replace(p, call=c) for p, c in zip(mine, theirs, strict=True)]
        found += mine
    return sorted(found, key=lambda p: p.kernel.start)


def _same_sequence(directory: Path, calls: list[list[Call]]) -> None:
    """Every rank takes part in the same collectives of the one group in the same order, with sizes that fit."""
    for rank, mine in enumerate(calls):
        if any(c.ranks and len(c.ranks) < len(calls) for c in (*calls[0], *mine)):
            return      # several groups: Step compares them
        if len(mine) != len(calls[0]):
            raise TraceError(str(directory), f"{len(calls[0])} collectives on every rank, as on rank 0",
                             f"{len(mine)} on rank {rank}")
        for first, other in zip(calls[0], mine, strict=True):
            if "send" in (first.kind, other.kind) or "recv" in (first.kind, other.kind):
                return
            if (other.op, other.seq) != (first.op, first.seq):
                raise TraceError(other.where, f"{first.op} number {first.seq}, as in {first.where}",
                                 f"{other.op} number {other.seq}", "the ranks disagree on their collectives")
            same_size(first, other)
    if not calls[0]:
        raise TraceError(str(directory), "at least one collective", "none")
