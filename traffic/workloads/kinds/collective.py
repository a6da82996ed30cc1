"""One collective, repeated."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.document import KeyPath, Problem
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.model.units import show_size
from traffic.collectives import algorithm_for, problems
from traffic.workloads.extent import MAX_CONNECTIONS, MAX_DEPENDENCIES, MAX_OPS, Extent
from traffic.workloads.kinds.engine import EngineKind, Operations, runs
from traffic.workloads.kinds.names import placement_problems
from traffic.workloads.lowering import lower
from traffic.workloads.placement import leaves_of, place
from traffic.workloads.specs import CollectiveSpec
from traffic.workloads.workload import AlgorithmName, Collective, Compute, Op, Workload


class CollectiveKind(EngineKind[CollectiveSpec]):
    """An all-reduce, all-gather, reduce-scatter, all-to-all or broadcast with compute time before it."""

    spec, title, times = CollectiveSpec, "The collective", ("step_time",)
    counts_before = has_ranks = True

    def subject(self, spec: CollectiveSpec) -> str:
        return f"The {_algorithm(spec)} {spec.op}"

    def problems(self, spec: CollectiveSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from placement_problems(fabric, spec.placement, at)
        yield from _rank_problems(spec, fabric, at)
        yield from _split_problems(spec, self.ranks(spec, fabric), at)

    def ranks(self, spec: CollectiveSpec, fabric: Fabric) -> int:
        """Given, or one on each host of the placement."""
        return _placed(spec, fabric) if spec.ranks is None else spec.ranks

    def computes(self, spec: CollectiveSpec) -> bool:
        return bool(spec.compute)

    def extent(self, spec: CollectiveSpec, fabric: Fabric) -> Extent:
        """Exact, by the formulas of the schedules (traffic/collectives)."""
        n, algorithm = self.ranks(spec, fabric), _algorithm(spec)
        both = 2 if spec.op == "all-reduce" else 1
        moves, pairs, waits = both * n * (n - 1), n, 0
        if algorithm == "direct":
            pairs, waits = n * (n - 1), n * n * (n - 1) * (both - 1)      # the second half waits for all of the first
        elif algorithm == "halving-doubling":
            pairs = n * max(n.bit_length() - 1, 1)
            moves = 2 * pairs
        elif algorithm == "tree" or spec.op == "broadcast":
            moves = pairs = n - 1
        elif algorithm == "hierarchical":
            m = max(min(len({h.leaf for h in fabric.hosts}), n), 1)       # leaves, of n / m ranks each
            moves, pairs = 2 * n * (n // m - 1) + 2 * n * (m - 1), 2 * n
        joins = (3 if spec.compute else 2) * n
        return Extent(ops=moves + joins, dependencies=waits, connections=pairs * spec.flows_per_pair)

    def limits(self, spec: CollectiveSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        found = self.extent(spec, fabric)
        of, hint = f"{spec.op} ({_algorithm(spec)}) of {self.ranks(spec, fabric):,} ranks", "fewer ranks"
        if found.ops > MAX_OPS:
            yield Problem((*at, "ranks"), f"at most {MAX_OPS:,} computes and transfers in an iteration",
                          f"{of}, which are {found.ops:,}", hint)
        elif found.dependencies > MAX_DEPENDENCIES:
            yield Problem((*at, "ranks"), f"at most {MAX_DEPENDENCIES:,} transfers that wait for others",
                          f"{of}, which have {found.dependencies:,}", f"{hint}, or algorithm: ring")
        elif found.connections > MAX_CONNECTIONS:
            yield Problem((*at, "flows_per_pair" if spec.flows_per_pair > 1 else "ranks"),
                          f"at most {MAX_CONNECTIONS:,} TCP connections",
                          f"{of} with {spec.flows_per_pair} flows a pair, which are {found.connections:,}",
                          f"{hint}, or fewer flows_per_pair")

    def workload(self, spec: CollectiveSpec, fabric: Fabric, name: str, seed: int) -> Workload:
        """One collective a step, each rank's compute time before it. Sizes and times become emulated ones.

        Only a random placement is drawn; the seed picks source ports as well, later. S of an all-to-all-v
        is the largest row of its splits.
        """
        scale = fabric.spec.scale.scale
        hosts = place(spec.placement, spec.ranks, fabric, seed, fold=spec.fold)
        ranks = tuple(range(len(hosts)))
        computes: list[Op] = []
        if spec.compute:
            computes = [Compute(f"compute/{r}", r, scale.to_emulated_time(spec.compute)) for r in ranks]
        splits = None
        if spec.splits is not None:
            splits = tuple(tuple(round(scale.to_emulated_size(b)) for b in row) for row in spec.splits)
        algorithm = _algorithm(spec)
        groups = leaves_of(hosts, fabric) if algorithm == "hierarchical" else None
        size = max(map(sum, splits)) if splits else round(scale.to_emulated_size(spec.size))
        collective = Collective(spec.op, spec.op, ranks, size, algorithm, splits, tuple(c.id for c in computes), groups)
        for expected, found in problems(collective):
            raise SpecError(f"workloads.{name}", expected, found)
        return Workload(
            name=name, hosts=hosts, ops=(*computes, collective), iterations=spec.iterations, warmup=spec.warmup,
            flows_per_pair=spec.flows_per_pair)

    def explain(self, spec: CollectiveSpec, built: Operations, fabric: Fabric) -> str:
        program, count = lower(built.workload), runs(built.workload)
        collective = program.spans[0].collective
        return (f"{collective.kind} ({collective.algorithm}) of {show_size(collective.size)} on "
                f"{len(collective.ranks)} ranks, {count} times, {show_size(count * program.total_bytes)} in all")


def _algorithm(spec: CollectiveSpec) -> AlgorithmName:
    return spec.algorithm or algorithm_for(spec.op)


def _placed(spec: CollectiveSpec, fabric: Fabric) -> int:
    return len(fabric.hosts) if isinstance(spec.placement, str) else len(spec.placement)


def _rank_problems(spec: CollectiveSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
    hosts, placed = len(fabric.hosts), _placed(spec, fabric)
    ranks = placed if spec.ranks is None else spec.ranks
    if ranks > hosts and not spec.fold:
        yield Problem((*at, "ranks"), f"at most {hosts} ranks, one for each workload host", str(ranks),
                      "or set `fold: true` to have several ranks share a host")
    elif not isinstance(spec.placement, str) and ranks != placed and not spec.fold:
        yield Problem((*at, "placement"), f"a host for each of {ranks} ranks", f"{placed} hosts")
    if ranks < 2:
        yield Problem((*at, "ranks"), "at least 2 ranks", str(ranks))


def _split_problems(spec: CollectiveSpec, ranks: int, at: KeyPath) -> Iterator[Problem]:
    if spec.splits is None:
        return
    if spec.op != "all-to-all":
        yield Problem((*at, "splits"), "splits with op: all-to-all only", f"op: {spec.op}")
    if len(spec.splits) != ranks or any(len(row) != ranks for row in spec.splits):
        yield Problem((*at, "splits"), f"{ranks} rows of {ranks} sizes, one for each rank",
                      f"rows of {', '.join(str(len(row)) for row in spec.splits)}")
    if any(size < 0 for row in spec.splits for size in row):
        yield Problem((*at, "splits"), "sizes of zero or more bytes", str(min(min(r) for r in spec.splits if r)))
