"""What a kind of workload answers: everything that check, runner, proof, predictions and report ask of one.

    Kind      of specs: what is wrong with one, how much it becomes, how it is built and described
    Built     one workload of a phase, its hosts chosen and its traces read: who sends to whom, how long it takes
    Process   what runs the workloads of a phase that are of one sort, all of them in one process
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from topologies.model.document import KeyPath, Problem, dotted
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.explain import explain
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from traffic.metrics.metric import Metric
from traffic.runtime.reading import Records, WorkloadRecord
from traffic.runtime.records import Record
from traffic.workloads.extent import Extent

Pair = tuple[str, str]      # names of hosts: from, to
Json = dict[str, object]
S = TypeVar("S", bound=Strict)
B = TypeVar("B", bound="Built")


@dataclass(frozen=True)
class Setting:
    """Where a job finds its lab and leaves its records; the defaults are of one that is only checked.

    t0 in seconds of CLOCK_MONOTONIC; drain: seconds of silence after which what is missing is lost; stem: what the
    names of files of its own begin with.
    """

    inventory: str = ""
    t0: float = 0.0
    records: str = ""
    phase: str = ""
    seed: int = 1
    drain: float = 1.0
    stem: str = ""

    @property
    def common(self) -> Json:
        """What every job has."""
        return {"inventory": self.inventory, "t0": self.t0, "records": self.records, "phase": self.phase}


UNKNOWN = Setting()     # of a job that is only checked


@dataclass(frozen=True)
class Family:
    """Metrics made of the same kinds of records (docs/reference/records.md), whichever workloads leave them.

    of: from the records of a workload in a phase; none of the kinds `records`, no metric.
    """

    records: tuple[type[WorkloadRecord], ...]
    of: Callable[[Records, Fabric], Iterable[Metric]]


class Process(ABC, Generic[B]):
    """A sort of process. Its events are in topologies/access/events.py: ready, then after a line on stdin progress,
    done.

    what       names its job and its log in a run directory     module    what Python runs, with the job as argument
    sends      the name under which the sampler watches what sends on time, and its timers are judged: `what`, or one
               of the `pids` that it tells when it is ready; '' where neither is wanted
    receives   the same of what receives in a process of its own, whose timers are not judged
    """

    what: ClassVar[str]
    module: ClassVar[str]
    sends: ClassVar[str] = ""
    receives: ClassVar[str] = ""

    @abstractmethod
    def job(self, built: Sequence[B], setting: Setting) -> Callable[[], Json]:
        """The job of these workloads, checked now and made for JSON when it is called.

        Raises SpecErrors, at the scenario's paths, for what no process of this sort does.
        """

    def save(self, built: Sequence[B], setting: Setting) -> None:
        """Write the files that the job names."""

    @property
    def watched(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.sends, self.receives)))


@dataclass(frozen=True)
class Built(ABC):
    """A workload of a phase, ready to run."""

    name: str
    process: ClassVar[AnyProcess]

    @abstractmethod
    def pairs(self) -> set[Pair]:
        """Who sends to whom."""

    def hosts(self) -> set[str]:
        """Every host that it uses."""
        return {host for pair in self.pairs() for host in pair}

    @abstractmethod
    def seconds(self, fabric: Fabric) -> float:
        """Emulated seconds that it takes by itself, with no losses and no start-up."""

    @abstractmethod
    def demand(self, fabric: Fabric, seconds: float) -> float:
        """bit/s between hosts while it runs, in full frames; seconds: of its phase."""

    @property
    def notes(self) -> Mapping[str, str]:
        """What its reader or generator has to say of it."""
        return {}

    def predictions(self, fabric: Fabric) -> dict[str, Metric]:
        """What is expected of it by itself, under the keys of its metrics: 'ring.busbw'. Raises Unpredictable."""
        return {}

    def slowed(self, rank: int, factor: float, where: str) -> Self:
        """The same with the compute times of a rank multiplied. Raises SpecError for a rank that computes nothing."""
        raise SpecError(where, "a workload with ranks", self.name)


class Kind(ABC, Generic[S, B]):
    """A kind of workload; `kind:` of a spec names it.

    spec           the model of what a user writes          title      the subject of a sentence about it
    families       of metrics that its records become       times  tags of the times that such a workload is about
    other_records  kinds of those that no metric is made of
    has_ranks      whether an event may slow one of its ranks
    per_operation  whether it has metrics of single operations, 'job.c1.time'
    checks_early   whether building one takes no time and reads no file, so that loading a scenario does it
    """

    spec: ClassVar[type[Strict]]
    title: ClassVar[str]
    times: ClassVar[tuple[str, ...]] = ()
    families: ClassVar[tuple[Family, ...]] = ()
    other_records: ClassVar[tuple[type[Record], ...]] = ()
    has_ranks: ClassVar[bool] = False
    per_operation: ClassVar[bool] = False
    checks_early: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return str(get_args(self.spec.model_fields["kind"].annotation)[0])

    def subject(self, spec: S) -> str:
        """'The ring all-reduce'."""
        return self.title

    def problems(self, spec: S, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        """What it names and the fabric, or the disk, does not have; `at` is the path of the spec."""
        return iter(())

    def extent(self, spec: S, fabric: Fabric) -> Extent:
        """What it becomes, as far as the spec tells."""
        return Extent()

    def limits(self, spec: S, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        """What of it is more than can be held."""
        return iter(())

    def ranks(self, spec: S, fabric: Fabric) -> int | None:
        """How many it has; None where only a trace says."""
        return None

    def computes(self, spec: S) -> bool:
        """Whether its ranks have compute times, as far as the spec tells."""
        return True

    @abstractmethod
    def build(self, spec: S, fabric: Fabric, name: str, seed: int) -> B:
        """The workload called `name`, in emulated units. Raises SpecError, SpecErrors, TraceError."""

    @abstractmethod
    def explain(self, spec: S, built: B, fabric: Fabric) -> str:
        """What it will do, in half a line and emulated units."""


AnyKind = Kind[Any, Any]        # each takes its own specs, and its own workloads
AnyProcess = Process[Any]


def checked_job(model: type[BaseModel], data: Json, placed: Callable[[Problem], Problem] | None = None,
                ) -> Callable[[], Json]:
    """The job of a model. placed: a problem of the job's -> the scenario's. Raises SpecErrors."""
    try:
        job = model(**data)
    except ValidationError as error:
        found = explain(error, model, dict.fromkeys(model.model_fields))
        raise SpecErrors([SpecError(dotted(p.path), p.expected, p.found, p.hint)
                          for p in map(placed or unplaced, found)]) from None
    return partial(job.model_dump, mode="json")


def unplaced(problem: Problem) -> Problem:
    """A job's problem that no key of a workload is to blame for."""
    return Problem(("workloads",), f"{dotted(problem.path)}: {problem.expected}", problem.found, problem.hint)


def by_process(traffic: Collection[Built]) -> dict[AnyProcess, list[Built]]:
    """Each process that these workloads need, with those that it runs."""
    found: dict[AnyProcess, list[Built]] = {}
    for built in traffic:
        found.setdefault(built.process, []).append(built)
    return found
