"""The workload of a Chakra execution trace, as ASTRA-sim runs it.

    COMP_NODE         compute of duration_micros on the GPU, or on the CPU with is_cpu_op
    COMM_COLL_NODE    one collective with the node of every other rank of its group (chakra_groups, chakra_order)
    COMM_SEND_NODE    the k-th from i to j with a tag is received by the k-th COMM_RECV_NODE of j from i with it
    METADATA_NODE     takes no time; those of process groups list ranks

comm_size is what one rank hands in, as ASTRA-sim takes it (native_collectives/collective_algorithm/Ring.cc): of an
all-gather n x comm_size are gathered. A BROADCAST starts at comm_src, else at the first rank of its group; a BARRIER is
an all-reduce of one byte a rank. Of sends and receives comm_type says nothing. A send is over when its last byte has
arrived; data may arrive before the receive is posted. What else a trace may hold (memory and storage nodes, REDUCE,
GATHER and SCATTER, of which comm_size does not say whose bytes it counts) is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from topologies.model.errors import TraceError
from topologies.model.fabric import Fabric
from traffic.collectives import algorithm_for
from traffic.traces.chakra_groups import Group, Groups
from traffic.traces.chakra_nodes import Node, read
from traffic.traces.chakra_order import Order, Step, order
from traffic.workloads.placement import place
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, CollectiveName, Compute, Op, Transfer, Workload

_SUPPORTED = ("METADATA_NODE", "COMP_NODE", "COMM_SEND_NODE", "COMM_RECV_NODE", "COMM_COLL_NODE")
_COLLECTIVE_TYPES = ("ALL_REDUCE", "REDUCE", "ALL_GATHER", "GATHER", "SCATTER", "BROADCAST", "ALL_TO_ALL",
                     "REDUCE_SCATTER", "REDUCE_SCATTER_BLOCK", "BARRIER")
KINDS: dict[str, CollectiveName] = {
    "ALL_REDUCE": "all-reduce", "ALL_GATHER": "all-gather", "ALL_TO_ALL": "all-to-all", "BROADCAST": "broadcast",
    "REDUCE_SCATTER": "reduce-scatter", "REDUCE_SCATTER_BLOCK": "reduce-scatter", "BARRIER": "all-reduce"}
# What a rank sends, as a multiple of what it hands in, for n ranks
_SENT: dict[CollectiveName, Callable[[int], float]] = {
    "all-reduce": lambda n: 2 * (n - 1) / n, "all-gather": lambda n: n - 1, "all-to-all": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n, "broadcast": lambda _: 1}


def chakra_workload(spec: TrainingTraceSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """The step of `spec.trace`: "nID/rR" is node ID of rank R, "cK-TYPE" the K-th collective to begin (from 1).

    bytes_factor multiplies every size, time_factor every duration, both on top of the fabric's scale.
    The seed draws a random placement. Raises TraceError, SpecError.
    """
    ranks = read(Path(spec.trace))
    scale = fabric.spec.scale.scale
    hosts = place(spec.placement, len(ranks), fabric, seed, fold=spec.fold)
    compiler = _Compiler(spec, ranks, spec.bytes_factor * scale.size, spec.time_factor * scale.time,
                         min(fabric.access_link(host).rate for host in hosts))
    ops = tuple(compiler.ops())
    if not any(isinstance(op, Collective | Transfer) for op in ops):
        raise TraceError(spec.trace, "a node that communicates", "none")
    return Workload(
        name=name, hosts=hosts, ops=ops,
        iterations=spec.iterations, warmup=spec.warmup, flows_per_pair=spec.flows_per_pair,
        notes={"trace": f"{Path(spec.trace).name} (chakra)",
               "nodes": f"{sum(map(len, ranks))} of {len(ranks)} ranks, {compiler.collectives} collectives and "
                        f"{compiler.sends} sends", "bytes": f"x {spec.bytes_factor * scale.size:g}",
               "durations": f"x {spec.time_factor * scale.time:g}",
               "streams": "one compute and one communication node at a time on each rank"})


def _launches(node: Node) -> bool:
    """A call on the CPU whose kernel is a node of its own: older converters give it the kernel's type, no size."""
    return node.type.startswith("COMM_") and node.on_cpu and "comm_size" not in node.attributes


class _Compiler:
    """The nodes of all ranks as operations. Raises TraceError where ranks do not fit together."""

    def __init__(self, spec: TrainingTraceSpec, ranks: list[list[Node]], size_factor: float, time_factor: float,
                 rate: float) -> None:
        self._where, self._ranks = spec.trace, ranks
        self._size, self._time, self._rate = size_factor, time_factor, rate
        self._groups = Groups(Path(spec.trace), ranks, spec.dimensions)
        self._names = [{n.id: f"n{n.id}/r{r}" for n in nodes} for r, nodes in enumerate(ranks)]
        self._nodes = [{n.id: n for n in nodes} for nodes in ranks]
        self._before: dict[tuple[int, int], int] = {}       # (rank, node) -> the node before it on its stream
        self.collectives = self.sends = 0

    def ops(self) -> Iterator[Op]:
        """What the ranks do together, then each rank's own nodes."""
        for nodes in self._ranks:
            for node in nodes:
                self._check(node)
        steps = [[self._step(rank, node) for node in nodes] for rank, nodes in enumerate(self._ranks)]
        self._check_counts(steps)
        found = order(self._where, steps)
        for (rank, _), stream in found.streams.items():
            self._before.update({(rank, b.id): a.id for a, b in pairwise(stream)})
        yield from self._together(found)
        for mine in steps:
            for step in mine:
                yield from self._one(step, self._sender(step, found))

    def _check(self, node: Node) -> None:
        if node.type not in _SUPPORTED:
            raise TraceError(node.where, f"a node of type {', '.join(_SUPPORTED)}",
                             f"{node.type}, which is not supported")
        if node.type == "COMP_NODE" and not node.micros and node.attributes.get("num_ops"):
            raise TraceError(node.where, "duration_micros", "num_ops without it, which is not supported")
        if node.type.startswith("COMM_") and node.on_cpu and not _launches(node):
            raise TraceError(node.where, "communication of a GPU (is_cpu_op false)", "is_cpu_op true",
                             "nodes of the CPU that launch a collective are COMP_NODE; the kernel's is the collective")

    def _step(self, rank: int, node: Node) -> Step:
        """How long a collective or a send takes is what the slowest host's link says."""
        where, deps = node.where, node.deps
        if node.type == "COMP_NODE" or _launches(node):
            return Step(where, rank, node.id, deps, "cpu" if node.on_cpu else "gpu", node.micros * 1e-6 * self._time)
        if node.type == "COMM_COLL_NODE":
            group = self._groups.of(node, rank)
            sent = _SENT[self._kind(node)](len(group.ranks)) * self._handed_in(node, group)
            return Step(where, rank, node.id, deps, "comm", 8 * sent / self._rate, group)
        if node.type == "COMM_SEND_NODE":
            pair = (rank, self._peer(node, "comm_dst", rank), node.tag)
            return Step(where, rank, node.id, deps, "comm", 8 * self._bytes(node) / self._rate, pair=pair)
        if node.type == "COMM_RECV_NODE":
            return Step(where, rank, node.id, deps, "", pair=(self._peer(node, "comm_src", rank), rank, node.tag),
                        is_receive=True)
        return Step(where, rank, node.id, deps, "")

    def _after(self, rank: int, id_: int) -> tuple[str, ...]:
        """What a node waits for: its dependencies and the node before it on its stream."""
        before = self._before.get((rank, id_))
        ids = (*self._nodes[rank][id_].deps, *(() if before is None else (before,)))
        return tuple(dict.fromkeys(self._names[rank][d] for d in ids))

    def _one(self, step: Step, send: Step | None) -> Iterator[Op]:
        """A compute, a send, or a receive: a compute of no length after its transfer."""
        own, rank, after = f"n{step.id}/r{step.rank}", step.rank, self._after(step.rank, step.id)
        if send is not None:
            yield Compute(own, rank, 0.0, (*after, f"n{send.id}/r{send.rank}"))
        elif step.pair is not None:
            self.sends += 1
            yield Transfer(own, rank, step.pair[1], self._bytes(self._nodes[rank][step.id]), after)
        elif step.group is None:
            yield Compute(own, rank, step.seconds, after)

    def _sender(self, step: Step, found: Order) -> Step | None:
        """The send of a receive. Raises TraceError where their sizes differ."""
        send = found.sends.get(step)
        if send is not None:
            sent, got = self._node(send), self._node(step)
            if sent.number("comm_size") != got.number("comm_size"):
                raise TraceError(got.where, f"{sent.number('comm_size')} bytes, as in {sent.where}",
                                 f"{got.number('comm_size')} bytes")
        return send

    def _bytes(self, node: Node) -> int:
        real = node.number("comm_size")
        size = round(real * self._size)
        if size < 1:
            raise TraceError(node.where, "at least one byte to send", f"{real} bytes x {self._size:g}",
                             "raise bytes_factor" if real else "")
        return size

    def _handed_in(self, node: Node, group: Group) -> int:
        """Bytes that a rank puts into a collective; one for each rank of a barrier."""
        return len(group.ranks) if self._type(node) == "BARRIER" else self._bytes(node)

    # -- collectives ------------------------------------------------------------------------------

    def _together(self, found: Order) -> Iterator[Op]:
        """The collectives; a rank's part waits for what its own node depends on, by a compute of no length."""
        names = [f"c{k}-{self._type(self._node(parts[0])).lower()}" for k, parts in enumerate(found.collectives, 1)]
        for name, parts in zip(names, found.collectives, strict=True):
            for part in parts:
                self._names[part.rank][part.id] = name
        for name, parts in zip(names, found.collectives, strict=True):
            self.collectives += 1
            yield from self._collective(name, parts)

    def _collective(self, name: str, parts: list[Step]) -> Iterator[Op]:
        nodes, group = [self._node(part) for part in parts], parts[0].group
        assert group is not None  # noqa: S101 - every part of a collective has its group
        first, root = nodes[0], self._root(nodes[0], group)
        for node in nodes:
            if self._said(node, group) != self._said(first, group) or self._root(node, group) != root:
                raise TraceError(node.where, f"{self._said(first, group)}, as in {first.where}",
                                 self._said(node, group) if self._root(node, group) == root
                                 else f"it from rank {self._root(node, group)}, not {root}")
        kind, handed_in, n = self._kind(first), self._handed_in(first, group), len(group.ranks)
        if n == 1:
            yield Compute(name, group.ranks[0], 0.0, self._after(parts[0].rank, parts[0].id))
            return
        joins = tuple(f"{name}/after/r{part.rank}" for part in parts)
        for part, join in zip(parts, joins, strict=True):
            yield Compute(join, part.rank, 0.0, self._after(part.rank, part.id))
        ranks = (root, *(r for r in group.ranks if r != root)) if kind == "broadcast" else group.ranks
        yield Collective(name, kind, ranks, handed_in * n if kind == "all-gather" else handed_in,
                         algorithm_for(kind), after=joins)

    def _node(self, part: Step) -> Node:
        return self._nodes[part.rank][part.id]

    def _said(self, node: Node, group: Group) -> str:
        size = len(group.ranks) if self._type(node) == "BARRIER" else node.number("comm_size")
        return f"{'barrier' if self._type(node) == 'BARRIER' else self._kind(node)} of {size} bytes"

    def _type(self, node: Node) -> str:
        number = node.number("comm_type")
        return _COLLECTIVE_TYPES[number] if number < len(_COLLECTIVE_TYPES) else str(number)

    def _kind(self, node: Node) -> CollectiveName:
        name = self._type(node)
        if name not in KINDS:
            raise TraceError(node.where, f"a collective of {', '.join(KINDS)}", f"{name}, which is not supported")
        return KINDS[name]

    def _root(self, node: Node, group: Group) -> int:
        """Where a broadcast starts; of other collectives the first rank, which means nothing."""
        if self._kind(node) != "broadcast" or "comm_src" not in node.attributes:
            return group.ranks[0]
        root = node.number("comm_src")
        if root not in group.ranks:
            raise TraceError(node.where, f"comm_src to be one of {group}", str(root))
        return root

    # -- what has to agree --------------------------------------------------------------------------

    def _check_counts(self, steps: list[list[Step]]) -> None:
        """Every rank of a group has as many of its collectives; every send has its receive, of its size."""
        counts = [Counter(s.group for s in mine if s.group is not None) for mine in steps]
        for group in dict.fromkeys(g for mine in counts for g in mine):
            numbers = {rank: counts[rank][group] for rank in group.ranks}
            first, odd = group.ranks[0], next((r for r in group.ranks if numbers[r] != numbers[group.ranks[0]]), None)
            if odd is not None:
                of = "" if len(group.ranks) == len(steps) and not group.name else f" of {group}"
                raise TraceError(self._where, f"{numbers[first]} collectives{of} on every rank, as on rank {first}",
                                 f"{numbers[odd]} on rank {odd}")
        self._check_pairs(steps)

    def _check_pairs(self, steps: list[list[Step]]) -> None:
        ends: dict[bool, dict[tuple[int, int, int], list[Step]]] = {False: {}, True: {}}
        for step in (s for mine in steps for s in mine if s.pair is not None):
            assert step.pair is not None  # noqa: S101 - chosen so
            ends[step.is_receive].setdefault(step.pair, []).append(step)
        for pair in dict.fromkeys([*ends[False], *ends[True]]):
            sends, receives = ends[False].get(pair, []), ends[True].get(pair, [])
            if len(receives) > len(sends):
                raise TraceError(receives[len(sends)].where, f"a send of rank {pair[0]} with tag {pair[2]} for it",
                                 "none left")
            if len(sends) > len(receives):
                raise TraceError(sends[len(receives)].where, f"a receive of rank {pair[1]} for it", "none left")

    def _peer(self, node: Node, key: str, own: int) -> int:
        mine = "comm_src" if key == "comm_dst" else "comm_dst"
        if mine in node.attributes and node.number(mine) != own:
            raise TraceError(node.where, f"{mine} to be rank {own}, whose file this is", str(node.number(mine)))
        peer = node.number(key)
        if peer >= len(self._ranks) or peer == own:
            raise TraceError(node.where, f"{key} to be another rank from 0 to {len(self._ranks) - 1}", str(peer),
                             "files of ranks are missing" if peer != own else "")
        return peer
