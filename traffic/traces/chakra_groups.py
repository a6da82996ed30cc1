"""Which ranks take part in a Chakra collective.

    pg_name ("" or "0", or none)   all ranks: "0" is PyTorch's default group, as ASTRA-sim takes it (Workload.cc,
                                   extract_comm_group)
    pg_name "7"                    the ranks that a `## process_group:init ##` node lists for it, or the one .json
                                   file of the directory that says {"7": [0, 1], ...} (--comm-group-configuration)
    comm_group [0, 1]              these ranks
    involved_dim [true, false]     the ranks that differ in the dimensions with true only. Rank r has the coordinates
                                   r % d0, r // d0 % d1, ...: the first dimension runs fastest (logical_topology/
                                   GeneralComplexTopology.cc); the sizes d0, d1, ... are no part of a trace
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from topologies.model.errors import TraceError
from traffic.traces.chakra_attributes import Attribute
from traffic.traces.chakra_nodes import Node
from traffic.traces.compressed import contents

_INIT = "process_group:init"
_WORLD = ("", "0")
_JSON_BYTES = 16_000_000
Listed = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Group:
    """A communicator: its name in the trace, "" for all ranks and for dimensions, and its ranks."""

    name: str
    ranks: tuple[int, ...]
    key: int = field(compare=False, default=0)      # hash of both, taken once

    def __hash__(self) -> int:
        return self.key

    def __str__(self) -> str:
        return f"group {self.name}" if self.name else f"ranks {', '.join(map(str, self.ranks))}"


class Groups:
    """The groups of one trace. Raises TraceError where what lists them cannot be read."""

    def __init__(self, directory: Path, ranks: Sequence[Sequence[Node]], dimensions: Sequence[int] = ()) -> None:
        self._n, self._dimensions, self._where = len(ranks), tuple(dimensions), str(directory)
        self._made: dict[tuple[str, tuple[int, ...]], Group] = {}
        self._world = self._group("", tuple(range(self._n)))
        self._file = _group_file(directory)
        self._own = [_listed(nodes) for nodes in ranks]
        if dimensions and prod(dimensions) != self._n:
            raise TraceError(self._where, f"dimensions whose product is the {self._n} ranks of the trace",
                             " x ".join(map(str, dimensions)))

    def of(self, node: Node, rank: int) -> Group:
        """The group of a collective of `rank`. Raises TraceError naming the node."""
        key = next((k for k in ("pg_name", "comm_group") if node.attributes.get(k, "") not in ("", ())), "")
        value = node.attributes[key] if key else ""
        involved = _involved(node)
        name = "" if isinstance(value, tuple) else str(value).strip()
        if isinstance(value, tuple) or name not in _WORLD:
            if not all(involved):
                raise TraceError(node.where, f"either {key} or an involved_dim of some dimensions", "both",
                                 "which of them holds is not known")
            group = self._group("" if isinstance(value, tuple) else name, _ranks_of(value, node.where)
                                if isinstance(value, tuple) else self._named(name, rank, node.where))
        else:
            self._check_world(name, rank, node.where)
            if all(involved):
                return self._world
            group = self._group("", self._in_dimensions(involved, rank, node.where))
        self._check(group, node.where, rank)
        return group

    def _group(self, name: str, ranks: tuple[int, ...]) -> Group:
        """One object for each group, so that comparing them costs nothing."""
        return self._made.setdefault((name, ranks), Group(name, ranks, hash((name, ranks))))

    def _named(self, name: str, rank: int, where: str) -> tuple[int, ...]:
        for listed in (self._own[rank], self._file, *self._own):
            if name in listed:
                return listed[name] or self._world.ranks
        raise TraceError(where, f"the ranks of group {name}", "none",
                         f'a node named "## {_INIT} ##" of each file lists them, or a .json file beside them: '
                         f'{{"{name}": [0, 1]}}')

    def _check_world(self, name: str, rank: int, where: str) -> None:
        listed = self._own[rank].get(name, ()) if name else ()
        if listed and len(listed) != self._n:
            raise TraceError(where, f"group 0 to be all {self._n} ranks, as PyTorch's default group is",
                             f"it listed with ranks {', '.join(map(str, listed))}", "files of ranks are missing")

    def _in_dimensions(self, involved: Sequence[bool], rank: int, where: str) -> tuple[int, ...]:
        sizes = self._dimensions
        if not sizes:
            raise TraceError(where, "the sizes of the dimensions that involved_dim speaks of",
                             f"involved_dim {list(map(int, involved))} without them",
                             "say them, the one that runs fastest first: dimensions: "
                             f"{_example(self._n, len(involved))}")
        if len(involved) < len(sizes):
            raise TraceError(where, f"involved_dim for each of {len(sizes)} dimensions", f"{len(involved)} of them")
        if not any(involved[:len(sizes)]):
            raise TraceError(where, "at least one dimension that is involved", "none")
        ranks, stride = [rank], 1
        for size, takes_part in zip(sizes, involved, strict=False):
            if takes_part:
                ranks = [r + (k - r // stride % size) * stride for r in ranks for k in range(size)]
            stride *= size
        return tuple(sorted(ranks))

    def _check(self, group: Group, where: str, rank: int) -> None:
        outside = [r for r in group.ranks if not 0 <= r < self._n]
        if outside or len(set(group.ranks)) < len(group.ranks) or rank not in group.ranks:
            raise TraceError(where, f"different ranks from 0 to {self._n - 1}, rank {rank} among them",
                             f"{', '.join(map(str, group.ranks))[:200]} for {group}",
                             "files of ranks are missing" if outside else "")


def _example(ranks: int, count: int) -> list[int]:
    """Sizes that would fit, for a hint."""
    side = next((k for k in range(2, ranks) if ranks % k == 0), ranks)
    return [ranks // side, side, *[1] * (count - 2)] if count > 1 else [ranks]


def _involved(node: Node) -> tuple[bool, ...]:
    value = node.attributes.get("involved_dim", (True,))
    if not isinstance(value, tuple) or not all(isinstance(v, bool | int) for v in value):
        raise TraceError(node.where, "involved_dim as a list of true and false", repr(value)[:80])
    return tuple(map(bool, value)) or (True,)


def _ranks_of(value: Attribute | object, where: str) -> tuple[int, ...]:
    if isinstance(value, tuple | list) and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        return tuple(value)
    raise TraceError(where, "a list of ranks", repr(value)[:80])


def _listed(nodes: Sequence[Node]) -> Listed:
    """Group -> ranks, () for all, as the metadata nodes of a rank say. Later nodes win."""
    found: Listed = {}
    for node in nodes:
        if node.type == "METADATA_NODE" and _INIT in node.name and node.inputs.strip("[]' \""):
            for row in _rows(node):
                if not isinstance(row, dict) or not isinstance(row.get("pg_name"), str):
                    raise TraceError(node.where, "groups with pg_name and ranks", repr(row)[:80])
                found[row["pg_name"]] = _ranks_of(row.get("ranks", []), node.where)
    return found


def _rows(node: Node) -> list[object]:
    """The groups of a metadata node: JSON, mostly as the only text of a list that Python printed."""
    text = node.inputs.strip()
    try:
        value = json.loads(text) if text.startswith('[{') else json.loads(ast.literal_eval(text)[0])
    except (ValueError, SyntaxError, RecursionError, TypeError, IndexError, KeyError, MemoryError):
        value = None
    if not isinstance(value, list):
        raise TraceError(node.where, "a list of groups as JSON in its inputs", node.inputs[:80])
    return value


def _group_file(directory: Path) -> Listed:
    """The one .json file of the directory that is an object of lists of ranks; others are of no concern."""
    found: dict[Path, Listed] = {}
    for path in sorted(directory.glob("*.json")):
        if not path.is_file() or path.stat().st_size > _JSON_BYTES:
            continue
        try:
            data = json.loads(contents(path, _JSON_BYTES))
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and data and all(isinstance(v, list) for v in data.values()) and not any(
                isinstance(v, dict) for row in data.values() for v in row):
            found[path] = {name: _ranks_of(ranks, f"{path}, group {name}") for name, ranks in data.items()}
    if len(found) > 1:
        raise TraceError(str(directory), "one file of groups of ranks", ", ".join(p.name for p in found))
    return next(iter(found.values()), {})
