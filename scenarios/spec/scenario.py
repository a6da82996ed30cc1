"""A scenario: a question, a fabric, its VPCs, workloads in phases, events, a schedule, checks. Frozen after loading.

An event is declared to the runner, hence to the proof. With `hidden` predictions leave it out: they are those of
the fabric as it was meant, and what is wrong has to be found from counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from controller.intent.intent import MAX_OBJECTS, Intent, IntentObject
from controller.intent.intent_fields import SubnetRef
from scenarios.validation.spec import CheckName, CheckSpec
from topologies.model.disciplines import Queue
from topologies.model.errors import Violation, Violations
from topologies.model.fields import Rate, Share, Strict, Time
from topologies.model.spec import LEAST_SHARE, FabricSpec
from traffic.workloads.kinds.registry import any_spec

MOST = 256              # workloads, phases, events, changes of a schedule, checks
MAX_STEPS = 10_000      # single changes that all events are made of: a link that flaps is two in each period
if TYPE_CHECKING:
    WorkloadSpec = Strict
else:
    WorkloadSpec = any_spec()       # a spec of any kind that is registered
WorkloadName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]      # it names files of a run


class Phase(Strict):
    """Workloads that run at the same time; the phase is over when all of them are."""

    name: str = Field("main", pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    run: tuple[str, ...] = Field(min_length=1, description="names of workloads")


class Flap(Strict):
    """A link that goes down and comes back, again and again: each period begins with its first half down."""

    period: Time = Field(gt=0)
    count: int = Field(ge=1, le=1000)


class OneThing(Strict):
    """An event, which is about a link, a rank or a switch."""

    @model_validator(mode="before")
    @classmethod
    def _about_one_thing(cls, value: object) -> object:
        named = [key for key in ("link", "switch", "rank") if key in value] if isinstance(value, dict) else []
        if len(named) > 1:
            raise Violations([Violation((named[1],), f"{' or '.join(named)}, not both: an event changes one thing",
                                        " and ".join(named), "make an event of each")])
        return value


class LinkEvent(OneThing):
    """A change of a link that the runner makes, `at` seconds after the phase starts.

    The proof knows it always, the model of predictions and answers only if it is not hidden.
    """

    phase: str | None = Field(None, description="default: the first phase")
    at: Time = Field(ge=0)
    link: str
    state: Literal["up", "down"] | None = None
    rate: Rate | None = Field(None, gt=0)
    queue: Queue | None = None
    flap: Flap | None = Field(None, description="down and up again, count times")
    hidden: bool = Field(False, description="a misconfiguration: predictions and answers leave it out")

    @model_validator(mode="after")
    def _changes_something(self) -> LinkEvent:
        if self.state is None and self.rate is None and self.queue is None and self.flap is None:
            raise ValueError("at least one of state, rate, queue and flap")
        if self.flap is not None and self.state is not None:
            raise ValueError("either state or flap")
        return self

    @property
    def steps(self) -> tuple[LinkEvent, ...]:
        """The single changes that it is made of, in the order of their times."""
        if self.flap is None:
            return (self,)
        period, once = self.flap.period, self.model_copy(update={"flap": None})
        first = (once,) if self.rate is not None or self.queue is not None else ()
        plain = once.model_copy(update={"rate": None, "queue": None})
        return (*first, *(
            plain.model_copy(update={"at": self.at + (n + half) * period, "state": state})
            for n in range(self.flap.count) for half, state in ((0.0, "down"), (0.5, "up"))))


class RankEvent(OneThing):
    """A rank whose GPU computes at another pace for a whole phase."""

    phase: str | None = Field(None, description="default: the first phase")
    workload: str | None = Field(None, description="default: the only workload of the phase")
    rank: int = Field(ge=0)
    compute_factor: float = Field(gt=0, description="multiplies the rank's compute times")
    hidden: bool = Field(False, description="predictions and answers leave it out")


class SwitchEvent(OneThing):
    """A switch that dies with its rules, as at a power failure, and starts again; its ports keep their carrier."""

    phase: str | None = Field(None, description="default: the first phase")
    at: Time = Field(ge=0)
    switch: str
    state: Literal["down", "up", "restart"] = Field(description="restart: down, and up again at once")


def _kind_of_event(value: object) -> str:
    named = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return next((f"{key}-event" for key in ("rank", "switch") if key in named), "link-event")


Event = Annotated[Annotated[LinkEvent, Tag("link-event")] | Annotated[RankEvent, Tag("rank-event")]
                  | Annotated[SwitchEvent, Tag("switch-event")], Discriminator(_kind_of_event)]


class ShareChange(Strict):
    """New shares of a class, on every wire; what is not given stays."""

    min: Share | None = Field(None, ge=LEAST_SHARE)
    max: Share | None = None


class Scheduled(Strict):
    """A declared change of who is in which VPC, or of classes' shares, `at` seconds after the phase starts."""

    phase: str | None = Field(None, description="default: the first phase")
    at: Time
    move: dict[str, SubnetRef] = Field({}, description="host -> the vpc/subnet that it is in from now on")
    shares: dict[str, ShareChange] = Field({}, description="class -> its shares from now on")

    @model_validator(mode="after")
    def _changes_something(self) -> Scheduled:
        if not self.move and not self.shares:
            raise ValueError("at least one of move and shares")
        return self


class Scenario(Strict):
    """What `aifab run` runs."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    question: str
    fabric: FabricSpec
    seed: int = Field(1, ge=0)
    vpcs: tuple[IntentObject, ...] = Field(
        (), max_length=MAX_OBJECTS, description="objects of controller/intent/intent.py; none: one flat network")
    workloads: dict[WorkloadName, WorkloadSpec] = Field(min_length=1, max_length=MOST)
    phases: tuple[Phase, ...] = Field((), max_length=MOST)
    events: tuple[Event, ...] = Field((), max_length=MOST)
    schedule: tuple[Scheduled, ...] = Field((), max_length=MOST)
    checks: dict[CheckName, CheckSpec] = Field(
        {}, alias="validate", max_length=MOST, description="what has to hold at the end")

    @property
    def intent(self) -> Intent:
        """Who is in which VPC when the first phase starts."""
        return Intent(objects=self.vpcs)

    @model_validator(mode="before")
    @classmethod
    def _one_phase_by_default(cls, value: object) -> object:
        if not isinstance(value, dict) or value.get("phases"):
            return value
        workloads = value.get("workloads")
        if not isinstance(workloads, dict) or not workloads:
            return value
        return {**value, "phases": [{"name": "main", "run": list(workloads)}]}

    @model_validator(mode="after")
    def _names_exist(self) -> Scenario:
        violations = [*self._phases_run_workloads(), *self._events_have_phases(), *self._schedule_has_phases()]
        if violations:
            raise Violations(violations)
        return self

    def _phases_run_workloads(self) -> Iterator[Violation]:
        seen: set[str] = set()
        for n, phase in enumerate(self.phases):
            if phase.name in seen:
                yield Violation(("phases", n, "name"), "a different name for each phase", f"{phase.name} again")
            seen.add(phase.name)
            for k, name in enumerate(phase.run):
                if name not in self.workloads:
                    yield Violation(("phases", n, "run", k), f"a workload: {', '.join(self.workloads)}", name)
                elif name in phase.run[:k]:
                    yield Violation(("phases", n, "run", k), "each workload once in a phase", f"{name} again")

    def _events_have_phases(self) -> Iterator[Violation]:
        steps = sum(2 * e.flap.count if isinstance(e, LinkEvent) and e.flap else 1 for e in self.events)
        if steps > MAX_STEPS:
            yield Violation(("events",), f"at most {MAX_STEPS:,} changes, each going down and up of a flap among them",
                            f"{steps:,}", "a smaller count of a flap")
        phases = {p.name: p for p in self.phases}
        for n, event in enumerate(self.events):
            phase = phases.get(self.phase_of(event))
            if phase is None:
                yield Violation(("events", n, "phase"), f"one of the phases {', '.join(phases)}", event.phase or "none")
            elif isinstance(event, RankEvent):
                yield from self._rank_of(event, phase, ("events", n, "workload"))

    def _rank_of(self, event: RankEvent, phase: Phase, at: tuple[str | int, ...]) -> Iterator[Violation]:
        names = ", ".join(phase.run)
        if event.workload is None and len(phase.run) > 1:
            yield Violation(at, f"one of the workloads of phase {phase.name}: {names}", "nothing")
        elif event.workload is not None and event.workload not in phase.run:
            yield Violation(at, f"a workload of phase {phase.name}: {names}", event.workload)

    def phase_of(self, event: LinkEvent | RankEvent | SwitchEvent) -> str:
        """Name of the phase in which an event happens."""
        return event.phase or (self.phases[0].name if self.phases else "")

    def link_events(self, phase: str) -> tuple[LinkEvent, ...]:
        """The single changes of links of one phase."""
        return tuple(step for e in self.events if isinstance(e, LinkEvent) and self.phase_of(e) == phase
                     for step in e.steps)

    def switch_events(self, phase: str) -> tuple[SwitchEvent, ...]:
        """Of one phase, in the order of their times."""
        its = (e for e in self.events if isinstance(e, SwitchEvent) and self.phase_of(e) == phase)
        return tuple(sorted(its, key=lambda e: e.at))

    def slow_ranks(self, phase: str, workload: str, *, hidden: bool = True) -> dict[int, float]:
        """Rank -> factor of its compute times in one phase; without those that predictions leave out."""
        factors: dict[int, float] = {}
        for e in self.events:
            if (isinstance(e, RankEvent) and self.phase_of(e) == phase and (hidden or not e.hidden)
                    and e.workload in (None, workload)):
                factors[e.rank] = factors.get(e.rank, 1.0) * e.compute_factor
        return factors

    def _schedule_has_phases(self) -> Iterator[Violation]:
        names = [p.name for p in self.phases]
        for n, change in enumerate(self.schedule):
            if change.phase is not None and change.phase not in names:
                yield Violation(("schedule", n, "phase"), f"one of the phases {', '.join(names)}", change.phase)
