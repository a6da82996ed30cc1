"""What a report is made of, read once from a run directory. What is missing or damaged is said, not guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from scenarios.evidence.results import Meta, Recorded, RunDirectory
from scenarios.report.measured import Json
from scenarios.report.series import Load, loads, usable
from scenarios.spec.scenario import Scenario
from scenarios.validation.evaluate import Validation, validate
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric
from traffic.runtime.counters import Counters
from traffic.runtime.reading import Records

T = TypeVar("T")


@dataclass(frozen=True)
class RunData:
    """A run in memory. Parts that do not exist are empty (or None) and named in `missing`."""

    id: str
    meta: Meta
    scenario: Scenario
    fabric: Fabric
    metrics: dict[str, Json]
    predictions: dict[str, Json]
    notes: dict[str, Json]      # workload -> what its reader or generator made of it, in words
    ledger: Json | None
    verdict: Json | None
    records: Records
    counters: Counters | None
    missing: list[str]
    tenants: Json | None = None     # of scenarios with VPCs
    tasks: dict[str, list[Json]] | None = None      # of agents: workload.phase -> the answered ones
    validation: Validation | None = None    # of complete runs whose scenario has checks

    @property
    def level(self) -> str | None:
        """VALID, SUSPECT, INVALID; None if the run did not come to its verdict."""
        level = self.verdict.get("verdict") if self.verdict else None
        return level if isinstance(level, str) else None

    @property
    def usable(self) -> bool:
        """Whether the numbers may be used: a complete run with a VALID verdict."""
        return self.level == "VALID" and self.meta.status == "complete"

    @property
    def loads(self) -> list[Load]:
        """Every direction that carries a workload, the busiest first; probes carry none."""
        probes = {n.name for n in self.fabric.of("probe")}
        found = loads(self.counters) if self.counters is not None else []
        return [load for load in found if not probes & set(load.direction.split("->"))]


def load(run: RunDirectory, recorded: Recorded | None = None) -> RunData:
    """Everything of a run. Raises LabError if meta or scenario cannot be read; the rest may be missing.

    recorded: what of the run has been read before.
    """
    recorded = recorded or Recorded(run)
    missing: list[str] = []     # filled while the object below is made, in the order of its parts

    def part(name: str, read: Callable[[], T | None], empty: T) -> T:
        try:
            value = read()
        except LabError as error:
            missing.append(f"{name}: {error.found} ({error.where})")
            return empty
        except (KeyError, TypeError, ValueError) as error:
            missing.append(f"{name}: not as this version of aifab writes it ({error})")
            return empty
        if not value:
            missing.append(f"{name}: nothing was recorded")
        return value or empty

    scheduled = run.scenario.vpcs or run.scenario.schedule
    checked = run.scenario.checks and run.meta.status == "complete"
    nothing: dict[str, Json] = {}
    return RunData(
        id=run.id, meta=run.meta, scenario=run.scenario, fabric=run.fabric,
        metrics=part("metrics", lambda: _of_objects(run.read("metrics")), nothing),
        predictions=part("predictions", lambda: _of_objects(run.read("predictions")), nothing),
        ledger=part("ledger", lambda: run.read("ledger"), None),
        verdict=part("verdict", lambda: run.read("verdict"), None),
        records=part("records", lambda: recorded.records, Records()),
        counters=part("counters", lambda: _usable(recorded.counters), None), missing=missing,
        notes=part("notes", lambda: run.read("notes"), nothing) if (run.path / "notes.json").exists() else nothing,
        tasks=part("tasks", lambda: run.read("tasks"), None) if (run.path / "tasks.json").exists() else None,
        tenants=part("tenants", lambda: run.read("tenants"), None) if scheduled else None,
        validation=part("checks", lambda: validate(run, recorded=recorded), None) if checked else None)


def _of_objects(value: Json | None) -> dict[str, Json]:
    """Metrics by key. A prediction may be a bare number."""
    return {key: v if isinstance(v, dict) else {"value": v, "unit": ""} for key, v in (value or {}).items()}


def _usable(counters: Counters | None) -> Counters | None:
    return counters if counters is not None and usable(counters) else None
