"""A scenario: a question, a fabric, workloads in phases, events. Frozen after loading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from topologies.errors import Misfit, Misfits
from topologies.spec import FabricSpec, QueueSpec, Rate, Strict, Time
from traffic.specs import WorkloadSpec

WorkloadName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]      # it names files of a run


class Phase(Strict):
    """Workloads that run at the same time; the phase is over when all of them are."""

    name: str = Field("main", pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    run: tuple[str, ...] = Field(min_length=1, description="names of workloads")


class LinkEvent(Strict):
    """A declared change of a link, `at` seconds after the phase starts."""

    phase: str | None = Field(None, description="default: the first phase")
    at: Time
    link: str
    state: Literal["up", "down"] | None = None
    rate: Rate | None = None
    queue: QueueSpec | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> LinkEvent:
        if self.state is None and self.rate is None and self.queue is None:
            raise ValueError("at least one of state, rate and queue")
        return self


class Scenario(Strict):
    """What `aifab run` runs."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    question: str
    fabric: FabricSpec
    seed: int = Field(1, ge=0)
    workloads: dict[WorkloadName, WorkloadSpec] = Field(min_length=1)
    phases: tuple[Phase, ...] = ()
    events: tuple[LinkEvent, ...] = ()

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
        misfits = [*self._phases_run_workloads(), *self._events_have_phases()]
        if misfits:
            raise Misfits(misfits)
        return self

    def _phases_run_workloads(self) -> Iterator[Misfit]:
        seen: set[str] = set()
        for n, phase in enumerate(self.phases):
            if phase.name in seen:
                yield Misfit(("phases", n, "name"), "phases with names of their own", f"{phase.name} again")
            seen.add(phase.name)
            for k, name in enumerate(phase.run):
                if name not in self.workloads:
                    yield Misfit(("phases", n, "run", k), f"a workload: {', '.join(self.workloads)}", name)
                elif name in phase.run[:k]:
                    yield Misfit(("phases", n, "run", k), "each workload once in a phase", f"{name} again")

    def _events_have_phases(self) -> Iterator[Misfit]:
        names = list(dict.fromkeys(p.name for p in self.phases))
        for n, event in enumerate(self.events):
            if event.phase is not None and event.phase not in names:
                yield Misfit(("events", n, "phase"), f"one of the phases {', '.join(names)}", event.phase)
