"""What a study has so far: designs -> runs -> metrics, as study.json in its directory. Written whole or not at all."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scenarios.spec.scenario import Scenario
from scenarios.study.spec import MetricChoice, Settings
from topologies.model.fields import Strict

Level = Literal["VALID", "SUSPECT", "INVALID"]
FILE = "study.json"


class Measure(Strict):
    """A metric of a run; `real` in real units, where the fabric is scaled and the unit is one that scales."""

    value: float
    unit: str = ""
    title: str = ""
    real: float | None = None

    @property
    def shown(self) -> float:
        """In real units where there are any: the designs of a study have one scale, so it orders them alike."""
        return self.value if self.real is None else self.real


class Outcome(Strict):
    """A finished run of one design with one seed. machine: how the machine made it INVALID; empty if it did not."""

    run: str
    seed: int
    verdict: Level
    reasons: tuple[str, ...] = ()
    machine: str = ""
    started: str = ""
    seconds: float | None = None
    made_on: str = ""
    metrics: dict[str, Measure] = Field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """INVALID runs count for nothing; SUSPECT ones count and are reported."""
        return self.verdict != "INVALID"


class DesignResult(Strict):
    """A design and its finished runs, oldest first; a seed has several where the machine has spoilt a run.

    scenario: as it was run, but for the seed.
    """

    settings: Settings
    scenario: Scenario
    reference: bool = False
    description: str = ""
    runs: tuple[Outcome, ...] = ()

    @property
    def used(self) -> dict[int, Outcome]:
        """Seed -> the run that counts: the first usable one."""
        found: dict[int, Outcome] = {}
        for run in self.runs:
            if run.usable:
                found.setdefault(run.seed, run)
        return found

    def values(self, metric: str) -> dict[int, float]:
        """Seed -> the metric, in real units where there are any; seeds without it are left out."""
        return {seed: run.metrics[metric].shown for seed, run in self.used.items() if metric in run.metrics}


class Discarded(Strict):
    """A run directory that is not used, and why."""

    run: str
    why: str


class StudyResult(Strict):
    """Everything that a report of a study is made of.

    order    (design, seed) of every run, as they are done: seed after seed, the designs of each in random order
    prices   name or path of a price file, where the study names one; priced_as: what its hosts stand for, bit/s
    directory   where the study file lies: a relative price file lies beside it
    """

    name: str
    question: str
    quick: bool = False
    baseline: str
    metrics: tuple[MetricChoice, ...]
    seeds: tuple[int, ...]
    order: tuple[tuple[str, int], ...]
    designs: dict[str, DesignResult]
    discarded: tuple[Discarded, ...] = ()
    prices: str | None = None
    priced_as: float | None = None
    directory: str = ""

    @property
    def missing(self) -> tuple[tuple[str, int], ...]:
        """(design, seed) without a usable run, in the order in which they are to be done."""
        return tuple((name, seed) for name, seed in self.order if seed not in self.designs[name].used)

    @property
    def outcomes(self) -> tuple[tuple[str, Outcome], ...]:
        """Every finished run with the name of its design."""
        return tuple((name, run) for name, design in self.designs.items() for run in design.runs)
