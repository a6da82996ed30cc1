"""A kind of workload with a process, records and a metric of its own. It only says that it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from traffic.metrics.metric import Definition, Metric
from traffic.runtime.job import PhaseJob
from traffic.runtime.reading import Records
from traffic.workloads.kinds.kind import Built, Family, Json, Kind, Pair, Process, Setting, checked_job
from traffic.workloads.kinds.names import pair_problems

MOST = 1000
BEAT = Definition("beat", "s", "time between beacons", "median over the beacons", "tests/toys")


class BeaconSpec(Strict):
    """`count` beacons over each pair, one after the other."""

    kind: Literal["beacon"]
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    count: int = Field(10, ge=1)


class Job(PhaseJob):
    """What the process is asked to do."""

    beacons: dict[str, int] = Field(description="workload -> how many")


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconRecord:
    """A beacon. seconds: since the one before."""

    kind: ClassVar[str] = "beacon"
    workload: str
    phase: str
    number: int
    seconds: float


class Beacons(Process["Lit"]):
    what, module, sends = "beacons", "tests.toys.beacon_process", "beacons"

    def job(self, built: Sequence[Lit], setting: Setting) -> Callable[[], Json]:
        return checked_job(Job, {**setting.common, "beacons": {b.name: b.spec.count for b in built}})


@dataclass(frozen=True)
class Lit(Built):
    spec: BeaconSpec
    process = Beacons()

    def pairs(self) -> set[Pair]:
        return set(self.spec.pairs)

    def seconds(self, fabric: Fabric) -> float:
        return 0.01 * self.spec.count

    def demand(self, fabric: Fabric, seconds: float) -> float:
        return 1000.0 * len(self.spec.pairs)


def _metrics(left: Records, _fabric: Fabric) -> Iterator[Metric]:
    if beacons := left[BeaconRecord]:
        yield BEAT.median([b.seconds for b in beacons])


class BeaconKind(Kind[BeaconSpec, Lit]):
    spec, title, times, checks_early = BeaconSpec, "The beacons", ("beat",), True
    families = (Family((BeaconRecord,), _metrics),)

    def problems(self, spec: BeaconSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from pair_problems(fabric, spec.pairs, at)

    def limits(self, spec: BeaconSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        if spec.count > MOST:
            yield Problem((*at, "count"), f"at most {MOST} beacons", str(spec.count))

    def build(self, spec: BeaconSpec, fabric: Fabric, name: str, seed: int) -> Lit:
        return Lit(name, spec)

    def explain(self, spec: BeaconSpec, built: Lit, fabric: Fabric) -> str:
        return f"{spec.count} beacons over {len(spec.pairs)} pairs"
