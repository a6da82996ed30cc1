"""Reader of Chakra execution traces (.et) -> the nodes of each rank.

A directory holds NAME.N.et (or NAME.N.et.gz) for every rank N from 0: a GlobalMetadata, then Node messages
(schema mlcommons/chakra, schema/protobuf/et_def.proto, from 0.0.4 on). What is read of a node: its id, name, type,
dependencies (control and data), duration_micros and attributes; of metadata nodes also the values of their inputs.
A node may depend on one that is written later; what depends on itself is refused with its cycle. A control dependency
on a node that the file lacks holds nothing up: Chakra's converter leaves callers out that did nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from topologies.model.errors import TraceError
from traffic.traces.chakra_attributes import Attribute, attribute, text
from traffic.traces.compressed import contents
from traffic.traces.protowire import fields, messages, packed

_NODE_TYPES = ("INVALID_NODE", "METADATA_NODE", "MEM_LOAD_NODE", "MEM_STORE_NODE", "COMP_NODE", "COMM_SEND_NODE",
               "COMM_RECV_NODE", "COMM_COLL_NODE", "STORAGE_NODE", "BATCH_NODE", "CHECKPOINT_NODE")
_FILE = re.compile(r"(.+)\.(\d+)\.et(?:\.gz)?")
_JSON = re.compile(rb'\s*[{\[]\s*"')


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a rank's trace; `micros` its duration, `inputs` the values of a metadata node's inputs."""

    where: str
    id: int
    name: str
    type: str
    deps: tuple[int, ...]
    micros: int
    attributes: dict[str, Attribute]
    inputs: str = ""
    callers: tuple[int, ...] = ()       # control dependencies, until it is known which of them the file has

    def number(self, key: str) -> int:
        """A whole number of zero or more among the attributes. Raises TraceError."""
        value = self.attributes.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise TraceError(self.where, f"an attribute {key} of zero or more", repr(value))
        return value

    @property
    def tag(self) -> int:
        """comm_tag, 0 where there is none."""
        return self.number("comm_tag") if "comm_tag" in self.attributes else 0

    @property
    def on_cpu(self) -> bool:
        """is_cpu_op, false where there is none."""
        return bool(self.attributes.get("is_cpu_op", False))


def read(directory: Path) -> list[list[Node]]:
    """The nodes of each rank in the order of their file. Raises TraceError naming the file and the node."""
    return [_nodes(path, rank) for rank, path in enumerate(_files(directory))]


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise TraceError(str(directory), "a directory of NAME.0.et, NAME.1.et, ...",
                         "a file" if directory.exists() else "no such directory")
    found = {(m[1], int(m[2])): f for f in sorted(directory.iterdir()) if (m := _FILE.fullmatch(f.name))}
    names = sorted({name for name, _ in found})
    if len(names) != 1:
        raise TraceError(str(directory), "files NAME.0.et, NAME.1.et, ... of one trace",
                         f"those of {', '.join(names)}" if names else "none")
    last = max(rank for _, rank in found)
    missing = [f"{names[0]}.{rank}.et" for rank in range(min(last, 2 * len(found))) if (names[0], rank) not in found]
    if missing:
        raise TraceError(str(directory), f"a file for each of ranks 0 to {last}", f"no {', '.join(missing[:4])}",
                         "a step can only be replayed with all of its ranks")
    if last < 1:
        raise TraceError(str(directory), "at least two ranks", "one rank")
    return [found[names[0], rank] for rank in range(last + 1)]


def _nodes(path: Path, rank: int) -> list[Node]:
    """All nodes of a file; the first message is its GlobalMetadata."""
    data = contents(path)
    if _is_json(data):
        raise TraceError(str(path), "protobuf messages (GlobalMetadata, then nodes)", "JSON, which is not supported",
                         "write the trace with Chakra's converter, chakra_converter")
    found = list(messages(data, str(path)))
    if not found:
        raise TraceError(str(path), "a GlobalMetadata and nodes", "an empty file")
    _refuse_old_schema(found[0][1], f"{path}, byte 0")
    nodes = [_node(message, f"{path}, byte {at}") for at, message in found[1:]]
    by_id = {node.id: node for node in nodes}
    nodes = [replace(n, callers=(), deps=tuple(dict.fromkeys((*n.deps, *(c for c in n.callers if c in by_id)))))
             for n in nodes]
    by_id = {node.id: node for node in nodes}
    for node in nodes:
        strangers = [d for d in node.deps if d not in by_id]
        if by_id[node.id] is not node or strangers:
            raise TraceError(node.where, "an id of its own and dependencies on nodes of the file",
                             f"{', '.join(map(str, strangers)) or f'id {node.id} twice'}")
    _refuse_cycles(path, rank, nodes)
    return nodes


def _is_json(data: bytes) -> bool:
    """A message may begin like JSON (0x7b is also a length), but does not go on like it."""
    if not _JSON.match(data):
        return False
    try:
        json.JSONDecoder().raw_decode(data.decode().strip())
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_old_schema(first: bytes, where: str) -> None:
    """Before 0.0.4 a file began with a node: id (a number) in field 1, its time in field 7 without a unit."""
    found = list(fields(first, f"{where}, GlobalMetadata"))
    if any(f.number not in (1, 2) or isinstance(f.value, int) for f in found):
        raise TraceError(where, "a GlobalMetadata (schema 0.0.4 or later)",
                         "another message; a node, as in schemas before 0.0.4",
                         "write the trace with a later Chakra converter: older ones do not say in what unit times are")


def _refuse_cycles(path: Path, rank: int, nodes: list[Node]) -> None:
    try:
        TopologicalSorter({node.id: node.deps for node in nodes}).prepare()
    except CycleError as error:
        cycle = " -> ".join(f"n{id_}/r{rank}" for id_ in reversed(error.args[1]))
        raise TraceError(str(path), "nodes that do not wait for themselves", f"{cycle} (node/rank, each waits for the "
                         "next)", "take one of these dependencies out") from None


def _node(message: bytes, where: str) -> Node:
    numbers = {1: 0, 3: 0, 7: 0}        # id, type, duration_micros; zeros are not on the wire
    name, inputs = "", b""
    deps: dict[int, list[int]] = {4: [], 5: []}     # control, data
    attributes: dict[str, Attribute] = {}
    for f in fields(message, where):
        if f.number in numbers and isinstance(f.value, int):
            numbers[f.number] = f.value
        elif f.number == 2:
            name = text(f.value, where)
        elif f.number in deps:
            deps[f.number] += packed(f.value, where)
        elif f.number == 8 and isinstance(f.value, bytes):
            inputs = f.value
        elif f.number == 10 and isinstance(f.value, bytes):
            attributes.update([attribute(f.value, where)])
    kind = _NODE_TYPES[numbers[3]] if numbers[3] < len(_NODE_TYPES) else f"type {numbers[3]}"
    where = f"{where}, node {numbers[1]} ({name})"
    return Node(where, numbers[1], name, kind, tuple(deps[5]), numbers[7], attributes,
                _values(inputs, where) if kind == "METADATA_NODE" else "", tuple(deps[4]))


def _values(inputs: bytes, where: str) -> str:
    """IOInfo's values."""
    return next((text(f.value, where) for f in fields(inputs, where) if f.number == 1), "")
