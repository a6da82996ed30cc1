"""What one rank says of one collective: a record_param_comms node of an execution trace, or the arguments of a kernel.

    inputs   [tensors, seq, group, rank, op, send splits, receive splits, ...]      no tensors for barrier and wait
    seq      a number, or [number, is point-to-point]
    group    a number that means something to its process only, a name, or [name, description]
    rank     of a broadcast, a gather or a scatter the root, of a send or a receive the peer, both in their group
    ...      nothing; the group's size; or the group's first rank, the distance to the next, its size

A node whose inputs are in none of these forms is read by its attributes (collective_name, pg_name, in_msg_nelems and
the like, since schema 1.1.0).

Where: torch/csrc/distributed/c10d/ParamCommsUtils.hpp and ProcessGroupNCCL.cpp, torch/csrc/profiler/util.cpp, in
execution traces of schema 1.0.1 to 1.1.1. Splits count rows of the tensor, which all have the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from topologies.model.errors import TraceError
from traffic.traces.rows import Row, shorten
from traffic.workloads.workload import CollectiveName

Kind = CollectiveName | Literal["barrier", "gather", "scatter", "send", "recv"]

KINDS: dict[str, Kind] = {
    "allreduce": "all-reduce", "allreduce_coalesced": "all-reduce", "all_to_all": "all-to-all",
    "all_to_allv": "all-to-all", "all_gather": "all-gather", "_allgather_base": "all-gather",
    "allgather_into_tensor_coalesced": "all-gather", "reduce_scatter": "reduce-scatter",
    "_reduce_scatter_base": "reduce-scatter", "reduce_scatter_tensor_coalesced": "reduce-scatter",
    "broadcast": "broadcast", "_broadcast_oop": "broadcast", "barrier": "barrier", "gather": "gather",
    "scatter": "scatter", "send": "send", "recv": "recv"}
SKIPPED = ("wait", "init")
_BYTES = {1: ("Byte", "Char", "Bool", "Float8_e4m3fn", "Float8_e5m2", "Float8_e4m3fnuz", "Float8_e5m2fnuz",
              "Float8_e8m0fnu"),
          2: ("Half", "BFloat16", "Short", "UInt16"), 4: ("Float", "Int", "UInt32"),
          8: ("Double", "Long", "UInt64", "ComplexFloat"), 16: ("ComplexDouble",)}
_ELEMENT = {name: size for size, names in _BYTES.items() for name in names}
_ATTRIBUTES = {
    "collective_name": "Collective name", "in_msg_nelems": "In msg nelems", "out_msg_nelems": "Out msg nelems",
    "in_split_size": "In split size", "out_split_size": "Out split size", "pg_name": "Process Group Name",
    "pg_size": "Group size", "global_rank_start": "Global rank start", "global_rank_stride": "Global rank stride"}
_RANKS = re.compile(r"\s*\[\s*(\d+(\s*,\s*\d+)*)?\s*\]\s*")
Groups = Mapping[str, tuple[int, ...]]      # name -> ranks, () for all


@dataclass(frozen=True, slots=True)
class Call:
    """Sizes in bytes; send and receive by member, () where it is even or not said; ranks () where not known.

    root   the rank where it starts or ends, or the other end of a send or a receive; -1 where not known
    id     of the node, parent that of the node around it (-1: none)
    """

    where: str
    op: str
    kind: Kind
    seq: int
    group: str
    ranks: tuple[int, ...]
    size: int
    received: int
    send: tuple[int, ...] = ()
    receive: tuple[int, ...] = ()
    root: int = -1
    id: int = -1
    parent: int = -1


def count(value: object) -> TypeGuard[int]:
    """A whole number of zero or more."""
    return type(value) is int and value >= 0


def kind_of(op: object, where: str) -> Kind:
    """Raises TraceError for a collective that is not supported."""
    if not isinstance(op, str) or op not in KINDS:
        raise TraceError(where, f"one of the collectives {', '.join(KINDS)}", f"{op}, which is not supported",
                         "take it out of every rank's files, or replay another step")
    return KINDS[op]


# --- nodes of an execution trace ------------------------------------------------------------------


def node_call(row: Row, groups: Groups, n: int) -> Call | None:
    """The collective of a record_param_comms node, None for a `wait`."""
    values, outputs = _values(row, "inputs"), _values(row, "outputs")
    at = next((k for k, v in enumerate(values) if isinstance(v, str) and k >= 3 and type(values[k - 1]) is int
               and len(values) > k + 2 and isinstance(values[k + 1], list) and isinstance(values[k + 2], list)), None)
    if at is None and "collective_name" in (said := _attributes(row)):
        call = argument_call(row.where, said, groups, n)
        return call and replace(call, id=_id(row.data.get("id")), parent=_id(row.data.get("ctrl_deps")))
    if at is None:
        raise TraceError(row.where, "inputs [tensor, seq, group, rank, op, send splits, receive splits]",
                         shorten(row.data.get("inputs")))
    op, rest = values[at], [v for v in values[at + 3:] if type(v) is int]
    if op in SKIPPED:
        return None
    kind = kind_of(op, row.where)
    seq, group = _first(values[at - 3]), values[at - 2]
    name = _first(group)
    if not count(seq) or not (count(name) or isinstance(name, str)) or (at != 4 and kind != "barrier"):
        raise TraceError(row.where, f"a tensor, a sequence number and a process group of {op}",
                         shorten(row.data.get("inputs")))
    ranks = _ranks(row.where, name, groups, n, rest)
    size = _tensor_bytes(row, values[0]) if at == 4 and (kind != "scatter" or _flat(values[0])) else 0
    received = _tensor_bytes(row, outputs[0]) if outputs and kind in ("all-to-all", "scatter", "recv") else size
    if kind == "all-to-all" and (values[at + 1] or values[at + 2]) and len(outputs) != 1:
        raise TraceError(row.where, "one output tensor", shorten(row.data.get("outputs")))
    m, splits = len(ranks) or n, kind == "all-to-all" and (op == "all_to_allv" or values[at + 1] or values[at + 2])
    return Call(row.where, str(op), kind, seq, name if isinstance(name, str) else "" if len(ranks) == n else f"{name}",
                ranks, size, received,
                split_bytes(row.where, "send", values[at + 1], size, m) if splits else (),
                split_bytes(row.where, "receive", values[at + 2], received, m) if splits else (),
                _member(ranks, values[at - 1]), _id(row.data.get("id")),
                _id(row.data.get("ctrl_deps", row.data.get("parent"))))


def listed_groups(row: Row) -> dict[str, tuple[int, ...]]:
    """Name -> ranks of a `## process_group:init ##` node. Raises TraceError."""
    values = _values(row, "inputs")
    listed = values[0] if values else "[]"
    try:
        rows = json.loads(listed) if isinstance(listed, str) else None
    except (ValueError, RecursionError):
        rows = None
    return groups_of(rows, row.where)


def groups_of(rows: object, where: str) -> dict[str, tuple[int, ...]]:
    """Name -> ranks of a list of groups with pg_name and ranks. Raises TraceError."""
    if not isinstance(rows, list) or not all(
            isinstance(g, dict) and isinstance(g.get("pg_name"), str) and isinstance(g.get("ranks", []), list)
            and all(count(r) for r in g.get("ranks", [])) for g in rows):
        raise TraceError(where, "process groups with pg_name and ranks", shorten(rows))
    return {g["pg_name"]: tuple(g.get("ranks", [])) for g in rows}


def _values(row: Row, key: str) -> list[object]:
    """Inputs or outputs: a list up to schema 1.0.1, then an object with values, shapes and types."""
    value = row.data.get(key)
    if isinstance(value, dict):
        value = value.get("values")
    if not isinstance(value, list):
        raise TraceError(row.where, "inputs [tensor, seq, group, rank, op, send splits, receive splits]"
                         if key == "inputs" else "a list of outputs", shorten(row.data.get(key)))
    return value


def _attributes(row: Row) -> dict[str, object]:
    """What the attributes of a node say of its collective, by the names that a profile has for it."""
    listed = row.data.get("attrs")
    said = {a["name"]: a.get("value") for a in listed if isinstance(a, dict) and isinstance(a.get("name"), str)} \
        if isinstance(listed, list) else {}
    return said | {theirs: said[ours] for ours, theirs in _ATTRIBUTES.items() if ours in said}


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _id(value: object) -> int:
    return value if count(value) else -1


def _flat(value: object) -> list[object]:
    """What is in lists of lists."""
    return [w for v in value for w in _flat(v)] if isinstance(value, list) else [value]


def _member(ranks: Sequence[int], k: object) -> int:
    return ranks[k] if isinstance(k, int) and 0 <= k < len(ranks) else -1


def _ranks(where: str, name: str | int, groups: Groups, n: int, rest: Sequence[int]) -> tuple[int, ...]:
    """By the list of groups, else by first rank, distance and size; () of a number without a size."""
    if isinstance(name, str) and name in groups:
        return _within(where, name, groups[name] or tuple(range(n)), n)
    size = rest[-1] if len(rest) in (1, 3) else n if name in ("", "0") else 0
    if size == n:
        return tuple(range(n))
    if len(rest) == 3 and rest[0] >= 0 and rest[1] > 0 and size > 0:
        return _within(where, str(name), tuple(rest[0] + k * rest[1] for k in range(min(size, n + 1))), n)
    if isinstance(name, int) and not rest:
        return ()
    raise TraceError(where, f"the ranks of process group {name}", "none",
                     'a node "## process_group:init ##" lists them where the observer starts after the groups exist')


def _within(where: str, name: str, ranks: tuple[int, ...], n: int) -> tuple[int, ...]:
    if len(set(ranks)) < len(ranks) or max(ranks, default=n) >= n:
        raise TraceError(where, f"different ranks from 0 to {n - 1} in process group {name}",
                         ", ".join(map(str, ranks))[:80], "files of ranks are missing")
    return ranks


def _tensor_bytes(row: Row, value: object) -> int:
    """num_elem x elem_bytes of a tensor [id, storage, offset, num_elem, elem_bytes, device], or of a list of them."""
    if not isinstance(value, list) or not value:
        raise TraceError(row.where, "a tensor [id, storage, offset, num_elem, elem_bytes, device]", shorten(value))
    if isinstance(value[0], list):
        return sum(_tensor_bytes(row, tensor) for tensor in value)
    if len(value) != 6 or not count(value[3]) or not count(value[4]):
        raise TraceError(row.where, "a tensor [id, storage, offset, num_elem, elem_bytes, device]", shorten(value))
    return int(value[3] * value[4])


def split_bytes(where: str, what: str, splits: object, size: int, ranks: int) -> tuple[int, ...]:
    """Bytes of each split; no splits are even ones."""
    if splits == [] and size % ranks == 0:
        return (size // ranks,) * ranks
    if not isinstance(splits, list) or len(splits) != ranks or not all(count(s) for s in splits):
        raise TraceError(where, f"{ranks} {what} splits, one for each rank", shorten(splits))
    total = sum(splits)
    if total == 0 and size == 0:
        return (0,) * ranks
    if total == 0 or size % total:
        raise TraceError(where, f"{what} splits that make up the tensor's {size} bytes", f"a sum of {total} rows")
    return tuple(s * (size // total) for s in splits)


# --- arguments of a profile's events --------------------------------------------------------------


def argument_call(where: str, args: Mapping[str, object], groups: Groups, n: int) -> Call | None:
    """The collective of an event's args ("Collective name" and the like), None for a `wait`."""
    op = args["Collective name"]
    if op in SKIPPED:
        return None
    kind, ranks = kind_of(op, where), _said_ranks(where, args, groups, n)
    element = _ELEMENT.get(str(args.get("dtype")))
    if element is None and kind != "barrier":
        raise TraceError(where, f"a dtype: {', '.join(_ELEMENT)}", shorten(args.get("dtype")))
    said = [args.get(key, 0 if kind == "barrier" else None) for key in ("In msg nelems", "Out msg nelems")]
    numbers = [v for v in said if count(v)]
    if len(numbers) < len(said):
        raise TraceError(where, "In msg nelems and Out msg nelems", shorten(said))
    size, received = (v * (element or 0) for v in numbers)
    sent, got = _list(args.get("In split size", [])), _list(args.get("Out split size", []))
    splits = kind == "all-to-all" and (op == "all_to_allv" or bool(sent) or bool(got))
    whole = splits and sent is not None and got is not None
    peer = args.get("Dst Rank", args.get("Src Rank"))
    return Call(where, str(op), kind, _id(args.get("Seq")), str(args.get("Process Group Name", "")),
                ranks, size or (received if kind == "recv" else 0), received,
                split_bytes(where, "send", sent, size, len(ranks)) if whole else (),
                split_bytes(where, "receive", got, received, len(ranks)) if whole else (),
                peer if count(peer) else _member(ranks, args.get("Rank")))


def _said_ranks(where: str, args: Mapping[str, object], groups: Groups, n: int) -> tuple[int, ...]:
    """Of a list in full, else by the group's name in distributedInfo, else as in an execution trace."""
    name, listed = str(args.get("Process Group Name", "")), _list(args.get("Process Group Ranks", []))
    if listed and all(count(r) for r in listed):
        return _within(where, name, tuple(listed), n)
    keys = ("Global rank start", "Global rank stride", "Group size")
    rest = [v for k in keys if type(v := args.get(k)) is int]
    size = args.get("Group size")
    return _ranks(where, name, groups, n, rest if len(rest) == 3 else [size] if count(size) else [])


def _list(value: object) -> list[int] | None:
    """A list, or one as text; None where it is cut short ("[0, 1, ..., 63]")."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and _RANKS.fullmatch(value):
        return [int(v) for v in re.findall(r"\d+", value)]
    return None
