"""A scenario: a question, a fabric, workloads in phases, events. Frozen after loading."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from topologies.spec import FabricSpec, QueueSpec, Rate, Strict, Time
from traffic.specs import WorkloadSpec


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
    workloads: dict[str, WorkloadSpec] = Field(min_length=1)
    phases: tuple[Phase, ...] = ()
    events: tuple[LinkEvent, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_phase_by_default(cls, value: object) -> object:
        if isinstance(value, dict) and not value.get("phases") and isinstance(value.get("workloads"), dict):
            return {**value, "phases": [{"name": "main", "run": list(value["workloads"])}]}
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> Scenario:
        names = [p.name for p in self.phases]
        if len(set(names)) < len(names):
            raise ValueError(f"phases with names of their own; found {', '.join(names)}")
        for phase in self.phases:
            unknown = [w for w in phase.run if w not in self.workloads]
            if unknown:
                raise ValueError(f"phase {phase.name} to run workloads among {', '.join(self.workloads)}; "
                                 f"found {', '.join(unknown)}")
        for event in self.events:
            if event.phase is not None and event.phase not in names:
                raise ValueError(f"an event in one of the phases {', '.join(names)}; found {event.phase}")
        return self
