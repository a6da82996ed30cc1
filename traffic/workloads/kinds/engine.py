"""Kinds whose traffic is operations for the TCP engine: a spec becomes a `Workload`, and all else follows from that."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.model.units import show_size
from traffic.collectives import schedule
from traffic.jobs.job import primitives
from traffic.metrics.metric import Metric
from traffic.models.predict import busy_seconds, predict, step_seconds
from traffic.transports.registry import transport
from traffic.workloads.extent import MAX_OPS
from traffic.workloads.kinds.kind import Built, Json, Kind, Pair, Process, S, Setting
from traffic.workloads.kinds.load import weight
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Collective, Compute, Transfer, Workload, to_json


class Engine(Process["Operations"]):
    """The TCP engine, one for all its workloads of a phase."""

    what, module, sends = "engine", "traffic.engine", "engine"

    def job(self, built: Sequence[Operations], setting: Setting) -> Callable[[], Json]:
        return lambda: {**setting.common, "seed": setting.seed, "workloads": [to_json(b.workload) for b in built]}


@dataclass(frozen=True)
class Operations(Built):
    """Operations and what each waits for."""

    workload: Workload
    process = Engine()

    def pairs(self) -> set[Pair]:
        hosts = self.workload.hosts
        return {(hosts[a], hosts[b]) for a, b in lower(self.workload).pairs() if hosts[a] != hosts[b]}

    def hosts(self) -> set[str]:
        return set(self.workload.hosts)

    @property
    def notes(self) -> Mapping[str, str]:
        return self.workload.notes

    def seconds(self, fabric: Fabric) -> float:
        w = self.workload
        return _answered(w, fabric) if w.connections == "pool" else runs(w) * step_seconds(w, fabric)

    def demand(self, fabric: Fabric, seconds: float) -> float:
        """Its bytes in the time in which its busiest port is busy; of requests in an open loop, in all of the phase."""
        w = self.workload
        moved = sum(size * weight(fabric, w.hosts[src], w.hosts[dst]) for src, dst, size in _moves(w))
        busy = seconds if w.connections == "pool" else busy_seconds(w, fabric)
        return 8 * moved / busy if moved and busy else 0.0

    def predictions(self, fabric: Fabric) -> dict[str, Metric]:
        return {f"{self.name}.{tag}": m for tag, m in predict(self.workload, fabric).items()}

    def slowed(self, rank: int, factor: float, where: str) -> Self:
        return replace(self, workload=slowed(self.workload, rank, factor, where))


class EngineKind(Kind[S, Operations]):
    """A kind that compiles to operations.

    counts_before: whether `limits` knows how many operations there are, so that they are not counted once more
    """

    counts_before: ClassVar[bool] = False

    @abstractmethod
    def workload(self, spec: S, fabric: Fabric, name: str, seed: int) -> Workload:
        """Its operations, sizes and times emulated; the seed draws what is random. Class and congestion control
        come after.

        Raises SpecError, TraceError.
        """

    def build(self, spec: S, fabric: Fabric, name: str, seed: int) -> Operations:
        made = self.workload(spec, fabric, name, seed)
        count = 0 if self.counts_before else sum(primitives(op) for op in made.ops)
        if count > MAX_OPS:
            raise SpecError(f"workloads.{name}", f"at most {MAX_OPS:,} computes and transfers in an iteration",
                            f"{count:,}", "a shorter part of the trace, or fewer ranks")
        asked, carried = getattr(spec, "congestion_control", None), transport(made.transport)
        return Operations(name, replace(made, dscp=fabric.spec.dscp_of(getattr(spec, "traffic_class", None)),
                                        congestion_control=asked or carried.congestion_control(fabric.spec)))


def workloads_of(traffic: Iterable[Built]) -> list[Workload]:
    """Of what the TCP engine runs."""
    return [built.workload for built in traffic if isinstance(built, Operations)]


def runs(workload: Workload) -> int:
    """Iterations, those of the warm-up among them."""
    return workload.warmup + workload.iterations


def steps_line(workload: Workload) -> str:
    """What a workload of several collectives does, for `explain`."""
    program = lower(workload)
    return (f"{len(program.spans)} collectives on {len(workload.hosts)} ranks, "
            f"{show_size(program.total_bytes)} a step, {runs(workload)} steps")


def slowed(workload: Workload, rank: int, factor: float, where: str) -> Workload:
    """The workload with the compute times of a rank multiplied.

    Raises SpecError for a rank that it does not have or that computes nothing.
    """
    if rank >= len(workload.hosts):
        raise SpecError(where, f"a rank of {workload.name}, 0 to {len(workload.hosts) - 1}", str(rank))
    if not any(op.rank == rank and op.seconds for op in workload.ops if isinstance(op, Compute)):
        raise SpecError(where, "a rank with compute times to multiply", f"{rank}, which computes nothing",
                        f"give {workload.name} a compute time")
    return replace(workload, ops=tuple(
        replace(op, seconds=op.seconds * factor) if isinstance(op, Compute) and op.rank == rank else op
        for op in workload.ops))


def _answered(workload: Workload, fabric: Fabric) -> float:
    """Until the last answer on an idle network, as `throughput` of the predictions has it."""
    offered = predict(workload, fabric).get("throughput")
    due = [op.at for op in workload.ops if isinstance(op, Transfer) and not op.reply]
    return min(due) + (offered.samples or 0) / offered.value if offered else max(due, default=0.0)


def _moves(workload: Workload) -> Iterator[tuple[int, int, int]]:
    for op in workload.ops:
        for move in schedule(op) if isinstance(op, Collective) else (op,) if isinstance(op, Transfer) else ():
            yield move.src, move.dst, move.size
