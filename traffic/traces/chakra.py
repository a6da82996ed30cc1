"""Reader of Chakra execution traces (.et) -> nodes of each rank, and the workload that they are.

A directory holds NAME.N.et for every rank N from 0: a GlobalMetadata, then Node messages (schema
mlcommons/chakra, et_def.proto, versions 0.0.4 and near). What is read of a node: its id, name, type, dependencies
(control and data), duration_micros, and the attributes comm_type, comm_size, comm_src, comm_dst, comm_tag.

    COMP_NODE         compute of duration_micros
    COMM_COLL_NODE    the k-th one of a rank is the same collective as the k-th one of every other rank
    COMM_SEND_NODE    the k-th from i to j with a tag is received by the k-th COMM_RECV_NODE of j from i with it

comm_size is what one rank hands in, as ASTRA-sim takes it (system/collective/Ring.cc): of an all-gather
n x comm_size are gathered. Of sends and receives comm_type says nothing. A send is over when its last byte
has arrived; data may arrive before the receive is posted. Groups of ranks, memory and storage nodes, and
other collectives are refused by name.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from topologies.errors import TraceError
from topologies.fabric import Fabric
from topologies.files import read_bounded
from traffic.collectives import algorithm_for
from traffic.placement import place
from traffic.specs import TrainingTraceSpec
from traffic.traces.protowire import Field, fields, messages, packed, signed
from traffic.workload import Collective, CollectiveName, Compute, Op, Transfer, Workload

_NODE_TYPES = ("INVALID_NODE", "METADATA_NODE", "MEM_LOAD_NODE", "MEM_STORE_NODE", "COMP_NODE", "COMM_SEND_NODE",
               "COMM_RECV_NODE", "COMM_COLL_NODE", "STORAGE_NODE", "BATCH_NODE", "CHECKPOINT_NODE")
_SUPPORTED = ("METADATA_NODE", "COMP_NODE", "COMM_SEND_NODE", "COMM_RECV_NODE", "COMM_COLL_NODE")
_COLLECTIVE_TYPES = ("ALL_REDUCE", "REDUCE", "ALL_GATHER", "GATHER", "SCATTER", "BROADCAST", "ALL_TO_ALL",
                     "REDUCE_SCATTER", "REDUCE_SCATTER_BLOCK", "BARRIER")
KINDS: dict[str, CollectiveName] = {"ALL_REDUCE": "all-reduce", "ALL_GATHER": "all-gather",
                                    "ALL_TO_ALL": "all-to-all", "REDUCE_SCATTER": "reduce-scatter"}
# Fields of AttributeProto's value: int32_val, int64_val, uint32_val, uint64_val; string_val; bool_val
_NUMBERS: dict[int, Callable[[int], int]] = {7: signed, 9: signed, 11: int, 13: int}
_STRING = 29
_BOOL = 27
_FILE = re.compile(r"(.+)\.(\d+)\.et")
Attribute = int | str | bool


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a rank's trace; `micros` its duration."""

    where: str
    id: int
    name: str
    type: str
    deps: tuple[int, ...]
    micros: int
    attributes: dict[str, Attribute]

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


def read(directory: Path) -> list[list[Node]]:
    """The nodes of each rank in the order of their file. Raises TraceError naming the file and the node."""
    return [_nodes(path) for path in _files(directory)]


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise TraceError(str(directory), "a directory of NAME.0.et, NAME.1.et, ...",
                         "a file" if directory.exists() else "no such directory")
    found = {(m[1], int(m[2])): f for f in directory.iterdir() if (m := _FILE.fullmatch(f.name))}
    names = sorted({name for name, _ in found})
    if len(names) != 1:
        raise TraceError(str(directory), "files NAME.0.et, NAME.1.et, ... of one trace",
                         f"those of {', '.join(names)}" if names else "none")
    ranks = range(1 + max(rank for _, rank in found))
    missing = [f"{names[0]}.{rank}.et" for rank in ranks if (names[0], rank) not in found]
    if missing:
        raise TraceError(str(directory), f"a file for each of ranks 0 to {ranks[-1]}", f"no {', '.join(missing[:4])}",
                         "a step can only be replayed with all of its ranks")
    if len(ranks) < 2:
        raise TraceError(str(directory), "at least two ranks", "one rank")
    return [found[names[0], rank] for rank in ranks]


def _nodes(path: Path) -> list[Node]:
    """All nodes of a file; the first message is its GlobalMetadata."""
    data = read_bounded(path, "a trace file that can be read", error=TraceError)
    found = list(messages(data, str(path)))
    if not found:
        raise TraceError(str(path), "a GlobalMetadata and nodes", "an empty file")
    list(fields(found[0][1], f"{path}, GlobalMetadata"))
    nodes = [_node(message, f"{path}, byte {at}") for at, message in found[1:]]
    by_id = {node.id: node for node in nodes}
    for node in nodes:
        strangers = [d for d in node.deps if d not in by_id]
        if by_id[node.id] is not node or strangers:
            raise TraceError(node.where, "an id of its own and dependencies on nodes of the file",
                             f"{', '.join(map(str, strangers)) or f'id {node.id} twice'}")
    return nodes


def _node(message: bytes, where: str) -> Node:
    numbers = {1: 0, 3: 0, 7: 0}        # id, type, duration_micros; zeros are not on the wire
    name = ""
    deps: list[int] = []
    attributes: dict[str, Attribute] = {}
    for f in fields(message, where):
        if f.number in numbers and isinstance(f.value, int):
            numbers[f.number] = f.value
        elif f.number == 2:
            name = _text(f, where)
        elif f.number in (4, 5):
            deps += packed(f.value, where)
        elif f.number == 10 and isinstance(f.value, bytes):
            attributes.update([_attribute(f.value, where)])
    kind = _NODE_TYPES[numbers[3]] if numbers[3] < len(_NODE_TYPES) else f"type {numbers[3]}"
    return Node(f"{where}, node {numbers[1]} ({name})", numbers[1], name, kind, tuple(deps), numbers[7], attributes)


def _attribute(message: bytes, where: str) -> tuple[str, Attribute]:
    """Name and value; lists and floats, which nothing here needs, stand as ''."""
    name, value = "", ""
    number: int | bool | None = None
    for f in fields(message, where):
        if f.number == 1:
            name = _text(f, where)
        elif f.number == _STRING:
            value = _text(f, where)
        elif f.number in _NUMBERS and isinstance(f.value, int):
            number = _NUMBERS[f.number](f.value)
        elif f.number == _BOOL:
            number = bool(f.value)
    return name, value if number is None else number


def _text(f: Field, where: str) -> str:
    if isinstance(f.value, bytes):
        try:
            return f.value.decode()
        except UnicodeDecodeError:
            pass
    raise TraceError(where, f"text in field {f.number}", "something else", "the file is damaged, or no Chakra trace")


# --- nodes -> workload ----------------------------------------------------------------------------


def chakra_workload(spec: TrainingTraceSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """The step of `spec.trace`: "nID/rR" is node ID of rank R, "cK-TYPE" the K-th collective (from 1).

    bytes_factor multiplies every size, time_factor every duration, both on top of the fabric's scale.
    The seed draws a random placement. Raises TraceError, SpecError.
    """
    ranks = read(Path(spec.trace))
    scale = fabric.spec.scale.scale
    compiler = _Compiler(spec.trace, ranks, spec.bytes_factor * scale.size, spec.time_factor * scale.time)
    ops = tuple(compiler.ops())
    if not any(isinstance(op, Collective | Transfer) for op in ops):
        raise TraceError(spec.trace, "a node that communicates", "none")
    return Workload(
        name=name, hosts=place(spec.placement, len(ranks), fabric, seed, fold=spec.fold), ops=ops,
        iterations=spec.iterations, warmup=spec.warmup, flows_per_pair=spec.flows_per_pair,
        congestion_control=spec.congestion_control or fabric.spec.tcp.congestion_control,
        notes={"trace": f"{Path(spec.trace).name} (chakra)",
               "nodes": f"{sum(map(len, ranks))} of {len(ranks)} ranks, {compiler.collectives} collectives and "
                        f"{compiler.sends} sends", "bytes": f"x {spec.bytes_factor * scale.size:g}",
               "durations": f"x {spec.time_factor * scale.time:g}"})


class _Compiler:
    """The nodes of all ranks as operations. Raises TraceError where ranks do not fit together."""

    def __init__(self, where: str, ranks: list[list[Node]], size_factor: float, time_factor: float) -> None:
        self._where = where
        self._ranks, self._size, self._time = ranks, size_factor, time_factor
        self._rounds = [[n for n in nodes if n.type == "COMM_COLL_NODE"] for nodes in ranks]
        self._names = [{n.id: f"n{n.id}/r{r}" for n in nodes} for r, nodes in enumerate(ranks)]
        self.collectives = self.sends = 0

    def ops(self) -> Iterator[Op]:
        """Each rank's own nodes, then what the ranks do together."""
        for nodes in self._ranks:
            for node in nodes:
                if node.type not in _SUPPORTED:
                    raise TraceError(node.where, f"a node of type {', '.join(_SUPPORTED)}",
                                     f"{node.type}, which is not supported")
        yield from self._together()
        received = self._pair_up()
        for rank, nodes in enumerate(self._ranks):
            for node in nodes:
                yield from self._one(rank, node, received)

    def _after(self, rank: int, node: Node) -> tuple[str, ...]:
        return tuple(self._names[rank][d] for d in node.deps)

    def _one(self, rank: int, node: Node, received: dict[str, str]) -> Iterator[Op]:
        """A compute, a send, or a receive: a compute of no length after its transfer."""
        own, after = f"n{node.id}/r{rank}", self._after(rank, node)
        if node.type in ("COMP_NODE", "METADATA_NODE"):
            if node.type == "COMP_NODE" and not node.micros and node.attributes.get("num_ops"):
                raise TraceError(node.where, "duration_micros", "num_ops without it, which is not supported")
            yield Compute(own, rank, node.micros * 1e-6 * self._time, after)
        elif node.type == "COMM_SEND_NODE":
            self.sends += 1
            yield Transfer(own, rank, node.number("comm_dst"), self._bytes(node), after)
        elif node.type == "COMM_RECV_NODE":
            yield Compute(own, rank, 0.0, (*after, received[own]))

    def _bytes(self, node: Node) -> int:
        real = node.number("comm_size")
        size = round(real * self._size)
        if size < 1:
            raise TraceError(node.where, "at least one byte to send", f"{real} bytes x {self._size:g}",
                             "raise bytes_factor" if real else "")
        return size

    def _together(self) -> Iterator[Op]:
        """The collectives; a rank's part waits for what its own node depends on, by a compute of no length."""
        counts = [len(mine) for mine in self._rounds]
        if len(set(counts)) > 1:
            odd = next(r for r, count in enumerate(counts) if count != counts[0])
            raise TraceError(self._where, f"{counts[0]} collectives on every rank, as on rank 0",
                             f"{counts[odd]} on rank {odd}")
        for k, nodes in enumerate(zip(*self._rounds, strict=True), start=1):
            self.collectives = k
            yield from self._collective(k, nodes)

    def _collective(self, k: int, nodes: tuple[Node, ...]) -> Iterator[Op]:
        first = nodes[0]
        kind, size = self._kind(first), first.number("comm_size")
        for node in nodes:
            if (self._kind(node), node.number("comm_size")) != (kind, size):
                raise TraceError(node.where, f"{kind} of {size} bytes, as in {first.where}",
                                 f"{self._kind(node)} of {node.number('comm_size')} bytes")
        name = f"c{k}-{_COLLECTIVE_TYPES[first.number('comm_type')].lower()}"
        joins = tuple(f"{name}/after/r{rank}" for rank in range(len(nodes)))
        for rank, (node, join) in enumerate(zip(nodes, joins, strict=True)):
            yield Compute(join, rank, 0.0, self._after(rank, node))
            self._names[rank][node.id] = name
        n = len(nodes)
        handed_in = self._bytes(first)
        yield Collective(name, kind, tuple(range(n)), handed_in * n if kind == "all-gather" else handed_in,
                         algorithm_for(kind), after=joins)

    def _kind(self, node: Node) -> CollectiveName:
        number = node.number("comm_type")
        name = _COLLECTIVE_TYPES[number] if number < len(_COLLECTIVE_TYPES) else str(number)
        if name not in KINDS:
            raise TraceError(node.where, f"a collective of {', '.join(KINDS)}", f"{name}, which is not supported")
        group = node.attributes.get("pg_name") or node.attributes.get("comm_group")
        if group:
            raise TraceError(node.where, "a collective of all ranks", f"one of group {group}",
                             "groups of ranks are not supported")
        return KINDS[name]

    def _pair_up(self) -> dict[str, str]:
        """Receive -> the send that it gets, both by their names. Raises TraceError for what has no partner."""
        waiting: dict[tuple[int, int, int], deque[tuple[int, Node]]] = {}
        for src, nodes in enumerate(self._ranks):
            for node in (n for n in nodes if n.type == "COMM_SEND_NODE"):
                key = (src, self._peer(node, "comm_dst", src), node.tag)
                waiting.setdefault(key, deque()).append((src, node))
        pairs: dict[str, str] = {}
        for dst, nodes in enumerate(self._ranks):
            for node in (n for n in nodes if n.type == "COMM_RECV_NODE"):
                key = (self._peer(node, "comm_src", dst), dst, node.tag)
                if not waiting.get(key):
                    raise TraceError(node.where, f"a send of rank {key[0]} with tag {key[2]} for it", "none left")
                src, send = waiting[key].popleft()
                if send.number("comm_size") != node.number("comm_size"):
                    raise TraceError(node.where, f"{send.number('comm_size')} bytes, as in {send.where}",
                                     f"{node.number('comm_size')} bytes")
                pairs[f"n{node.id}/r{dst}"] = f"n{send.id}/r{src}"
        for left in waiting.values():
            for _, send in left:
                raise TraceError(send.where, f"a receive of rank {send.number('comm_dst')} for it", "none left")
        return pairs

    def _peer(self, node: Node, key: str, own: int) -> int:
        peer = node.number(key)
        if peer >= len(self._ranks) or peer == own:
            raise TraceError(node.where, f"{key} to be another rank from 0 to {len(self._ranks) - 1}", str(peer),
                             "files of ranks are missing" if peer != own else "")
        return peer
