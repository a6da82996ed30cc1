"""Long TCP transfers by iperf3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from topologies.model.units import show_count, show_time
from traffic.metrics import bulk
from traffic.runtime.records import IperfRecord
from traffic.transports.iperf import Job, whole_seconds
from traffic.workloads.kinds.kind import Built, Family, Json, Kind, Pair, Process, Setting, checked_job, unplaced
from traffic.workloads.kinds.load import weight
from traffic.workloads.kinds.names import pair_problems
from traffic.workloads.specs import BulkSpec

TRANSFERS = Family((IperfRecord,),
                   lambda left, fabric: bulk.metrics(left[IperfRecord], fabric) if left[IperfRecord] else ())


class Iperf(Process["Bulk"]):
    """One process that runs iperf3 servers and clients. iperf3's own timers are not judged."""

    what, module = "iperf", "traffic.transports.iperf"

    def job(self, built: Sequence[Bulk], setting: Setting) -> Callable[[], Json]:
        return checked_job(Job, {**setting.common, "bulks": {b.name: b.spec for b in built}}, _placed)


def _placed(problem: Problem) -> Problem:
    if problem.path[:1] != ("bulks",):
        return unplaced(problem)
    return Problem(("workloads", *problem.path[1:]), problem.expected, problem.found, problem.hint)


@dataclass(frozen=True)
class Bulk(Built):
    """spec: as written, but for its duration, which is emulated."""

    spec: BulkSpec
    process = Iperf()

    def pairs(self) -> set[Pair]:
        return set(self.spec.pairs)

    def seconds(self, fabric: Fabric) -> float:
        return float(whole_seconds(self.spec.duration))

    def demand(self, fabric: Fabric, seconds: float) -> float:
        """What senders can send and receivers can take, each host once."""
        ends = [sum(fabric.access_link(h).rate for h in dict.fromkeys(pair[side] for pair in self.spec.pairs))
                for side in (0, 1)]
        return min(ends) * max(weight(fabric, *pair) for pair in self.spec.pairs)


class BulkKind(Kind[BulkSpec, Bulk]):
    """As fast as it goes, as background or for calibration."""

    spec, title = BulkSpec, "The bulk transfers"
    families = (TRANSFERS,)
    checks_early = True

    def problems(self, spec: BulkSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from pair_problems(fabric, spec.pairs, at)

    def build(self, spec: BulkSpec, fabric: Fabric, name: str, seed: int) -> Bulk:
        duration = fabric.spec.scale.scale.to_emulated_time(spec.duration)
        return Bulk(name, spec.model_copy(update={"duration": duration}))

    def explain(self, spec: BulkSpec, built: Bulk, fabric: Fabric) -> str:
        each = show_count(spec.connections, "connection")
        return (f"bulk TCP, {show_count(len(spec.pairs), 'pair')} with {each} each, "
                f"as fast as it goes for {show_time(built.spec.duration)}")
