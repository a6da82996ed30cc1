"""Studies and their runs as `aifab compare` would leave them, with the numbers that a test gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from scenarios.study.load import Plan, load_study
from scenarios.study.store import Store
from tests.unit import run_factory

Json = dict[str, Any]
STUDY = """\
name: spread
question: How many spines does the ring need?
scenario: base.yml
designs:
  one: {set: {fabric.spines: 1}}
  two: {set: {fabric.spines: 2}, description: as built}
  four: {set: {fabric.spines: 4}}
baseline: two
repeats: 7
metrics:
  - {metric: ring.step_time, better: lower}
  - {metric: ring.busbw, better: higher}
quick: {designs: [one, two], repeats: 2, set: {workloads.ring.size: 1MB}}
"""
BASE = """\
name: base
question: How fast is the ring?
fabric: small
workloads:
  ring: {kind: collective, op: all-reduce, size: 8MB, iterations: 3}
"""
Times = Mapping[str, Callable[[int], float]]    # design -> step time of a seed, s


def write(directory: Path, study: str = STUDY, base: str = BASE) -> Path:
    """The study file beside its base scenario."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "base.yml").write_text(base)
    path = directory / "spread.study.yml"
    path.write_text(study)
    return path


def plan(directory: Path, study: str = STUDY, *, quick: bool = False) -> Plan:
    return load_study(str(write(directory, study)), quick=quick)


def metrics(step_time: float) -> Json:
    """Step time and the bus bandwidth that goes with it."""
    found = run_factory.metrics(8e6 * 8 * 1.75 / step_time)
    found["ring.step_time"]["value"] = step_time
    return found


def run(base: Path, scenario: Scenario, step_time: float, level: str = "VALID",
        status: str = "complete") -> RunDirectory:
    """One finished run. INVALID ones are so by the machine."""
    whole = status == "complete"
    return run_factory.make(base, scenario, status=status, verdict=run_factory.verdict(level, level != "VALID"),
                            metrics=metrics(step_time) if whole else None)


def runner(plan_: Plan, store: Store, times: Times, levels: Callable[[str, int], str] = lambda *_: "VALID",
           ) -> Callable[[Scenario], object]:
    """What does a run: the design is known by its number of spines."""
    spines = {d.scenario.fabric.spines: name for name, d in plan_.designs.items()}

    def one(scenario: Scenario) -> object:
        name = spines[scenario.fabric.spines]
        return run(store.runs, scenario, times[name](scenario.seed), levels(name, scenario.seed))

    return one


TIMES: Times = {"one": lambda seed: 20 + 0.1 * seed, "two": lambda seed: 10 + 0.2 * seed,
                "four": lambda seed: 10 + 0.2 * seed - 0.01 * (-1) ** seed}
