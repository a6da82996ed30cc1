"""Doing the runs of a study that are missing, one after another, each as `aifab run` would."""

from __future__ import annotations

from collections.abc import Callable

from scenarios.spec.scenario import Scenario
from scenarios.study.load import Plan
from scenarios.study.result import Outcome, StudyResult
from scenarios.study.store import Key, Store
from topologies.model.errors import HostError, LabError

RunOne = Callable[[Scenario], object]


class Listener:
    """What a study tells while it goes on; the default says nothing."""

    def begin(self, number: int, of: int, design: str, seed: int, again: str) -> None:
        """A run begins; again: why it is done once more, or empty."""

    def end(self, design: str, outcome: Outcome | None) -> None:
        """A run has ended; None if it failed."""


def execute(plan: Plan, store: Store, run: RunOne, tell: Listener | None = None,
            calm: Callable[[], object] = lambda: None) -> StudyResult:
    """Do every run that is missing, those that the machine has spoilt up to `retries` times more, each after `calm`.

    What has been done stays whatever happens: the same call later goes on from there. Raises what a run raises
    when it has failed that often; HostError at once.
    """
    tell = tell or Listener()
    result = store.collect(plan)
    for number, (name, seed) in enumerate(plan.order, 1):
        failures: list[LabError] = []
        while (again := _again((name, seed), result, plan.study.retries, failures)) is not None:
            tell.begin(number, len(plan.order), name, seed, again)
            if again and not failures:
                calm()
            before = len(result.designs[name].runs)
            try:
                run(plan.designs[name].with_seed(seed))
            except HostError:
                raise
            except LabError as error:
                failures.append(error)
                if len(failures) > plan.study.retries:
                    raise
            result = store.collect(plan)
            done = result.designs[name].runs
            tell.end(name, done[-1] if len(done) > before else None)
    return result


def _again(key: Key, result: StudyResult, retries: int, failures: list[LabError]) -> str | None:
    """Why a run is to be done: '' for the first time, else why once more; None if it is not."""
    name, seed = key
    done = [run for run in result.designs[name].runs if run.seed == seed]
    if any(run.usable for run in done):
        return None
    if not done:
        return f"it failed: {failures[-1]}" if failures else ""
    if len(done) <= retries and done[-1].machine:
        return f"INVALID because of the machine: {done[-1].machine}"
    return None
