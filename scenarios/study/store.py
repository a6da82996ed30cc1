"""A study's directory: its runs, and study.json, which says what has been found so far.

    studies/shared-fabric/
        study.json          StudyResult, written whole after each run      runs/<id>/   as `aifab run` leaves them
        report.html, runs.csv, summary.csv      at the end

What counts as done is read from the run directories themselves each time. So a study that was killed loses no
finished run, even one that was finished a moment before, and takes none for finished that is half-written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from scenarios.evidence import old_names
from scenarios.evidence.results import Meta, RunDirectory, run_directories, write_whole
from scenarios.report.measured import Json
from scenarios.spec.scenario import Scenario
from scenarios.study.load import Plan
from scenarios.study.result import FILE, DesignResult, Discarded, Measure, Outcome, StudyResult
from topologies.access import files
from topologies.model.errors import LabError, SpecError

# invariants that the machine breaks, whatever runs on it; a run spoilt by them may be done again
OF_THE_MACHINE = frozenset({"calibration", "headroom", "timers", "lock"})
Key = tuple[str, int]       # design, seed
Found = Outcome | str       # a finished run, or why a directory is none


class Store:
    """The directory of one study. Hold `locked()` while runs are made in it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.runs = directory, directory / "runs"
        self._known: dict[str, Outcome] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else works in it. Raises LabError if somebody does, or if it cannot be made."""
        try:
            files.make_directory(self.runs)
            if link := files.link_in(self.directory):
                raise LabError(str(link), "a file of the study", files.LINK, "choose another directory with --output")
            lock = os.fdopen(files.append(self.directory / ".lock"), "a")
        except OSError as error:
            raise LabError(str(self.directory), "a directory that can be made for the study",
                           error.strerror or str(error), "choose another one with --output") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(str(self.directory), "a study that nobody is working on",
                               "another aifab compare in the same directory", "wait for it to end") from None
            yield

    def check_is_of(self, plan: Plan) -> None:
        """Raises SpecError if another study lives here."""
        if not (self.directory / FILE).exists():
            return
        old = read_study(self.directory)
        if (old.name, old.quick) != (plan.study.name, plan.quick):
            raise SpecError(str(self.directory), f"the study {_called(plan.study.name, plan.quick)}",
                            f"the study {_called(old.name, old.quick)}", "choose another directory with --output")

    def collect(self, plan: Plan) -> StudyResult:
        """What the run directories hold of the plan; written to study.json as well."""
        keys: dict[str, list[Key]] = {}     # several of one text: designs that are the same
        for name, seed in plan.order:
            keys.setdefault(_text(plan.designs[name].with_seed(seed)), []).append((name, seed))
        runs: dict[Key, list[Outcome]] = {key: [] for key in plan.order}
        discarded = []
        for path in reversed(run_directories(self.runs)):
            found, text = self._look(path)
            if isinstance(found, Outcome) and text in keys:
                runs[min(keys[text], key=lambda k: len(runs[k]))].append(found)
            else:
                why = found if isinstance(found, str) else "its scenario is that of no run of this study (any more)"
                discarded.append(Discarded(run=path.name, why=why))
        result = _result(plan, runs, tuple(discarded))
        write_whole(self.directory / FILE, result.model_dump_json(indent=1, by_alias=True).encode())
        return result

    def _look(self, path: Path) -> tuple[Found, str]:
        """A finished run or why it is none, and its scenario as text. Finished ones are read once."""
        try:
            run = RunDirectory.open(path)
            text = _text(run.scenario)
            if path.name not in self._known:
                found = _outcome(run)
                if isinstance(found, str):
                    return found, text
                self._known[path.name] = found
            return self._known[path.name], text
        except LabError as error:
            return f"damaged: expected {error.expected}, found {error.found} ({error.where})", ""


def read_study(directory: Path) -> StudyResult:
    """The study of a directory. Raises LabError if there is none, or if it is damaged."""
    path = directory / FILE
    try:
        value = json.loads(path.read_bytes())
        return StudyResult.model_validate_json(json.dumps(old_names.study(value) if isinstance(value, dict) else value))
    except FileNotFoundError:
        raise LabError(str(path), "the directory of a study, which has this file", "no such file",
                       "start one with: aifab compare STUDY") from None
    except OSError as error:
        raise LabError(str(path), "a file that can be read", error.strerror or str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _not_ours(f"{path} {where}".rstrip(), first["msg"], directory) from None
    except ValueError as error:
        raise _not_ours(str(path), str(error), directory) from None


def _not_ours(where: str, found: str, directory: Path) -> LabError:
    return LabError(where, "what this version of aifab writes", found,
                    f"remove it: finished runs are found again in {directory / 'runs'}")


def _called(name: str, quick: bool) -> str:
    return f"{name}, quick form" if quick else f"{name}, full form"


def _text(scenario: Scenario) -> str:
    """One text for equal scenarios, whether from a file or from a run directory."""
    return json.dumps(json.loads(scenario.model_dump_json(by_alias=True)), sort_keys=True)


def _outcome(run: RunDirectory) -> Found:
    """A finished run with its metrics, or why it is none. Raises LabError for parts that are damaged."""
    meta = run.meta
    if meta.status != "complete":
        return {"running": "killed before it ended", "interrupted": "interrupted before it ended"}.get(
            meta.status, f"failed: {meta.error}")
    verdict, metrics = run.read("verdict"), run.read("metrics")
    if verdict is None or metrics is None:
        return f"half-written: no {'verdict' if verdict is None else 'metrics'}.json"
    try:
        reasons = verdict["reasons"]
        spoilt = [r["text"] for r in reasons if r["level"] == "INVALID" and r["invariant"] in OF_THE_MACHINE]
        return Outcome(
            run=run.id, seed=meta.seed, verdict=verdict["verdict"], reasons=tuple(r["text"] for r in reasons),
            machine=spoilt[0] if spoilt else "", started=meta.started, seconds=_seconds(meta),
            made_on=f"aifab {meta.aifab}, kernel {meta.versions.get('kernel', '?')}, {meta.cores} cores",
            metrics=dict(_measures(metrics)))
    except (KeyError, TypeError, ValueError) as error:
        return f"damaged: verdict or metrics are not as this version of aifab writes them ({error!r})"


def _seconds(meta: Meta) -> float | None:
    if meta.finished is None:
        return None
    return (datetime.fromisoformat(meta.finished) - datetime.fromisoformat(meta.started)).total_seconds()


def _measures(metrics: Mapping[str, Json]) -> Iterator[tuple[str, Measure]]:
    """Metrics that are a finite number; a range or a missing value cannot be compared."""
    for key, metric in metrics.items():
        value = metric["value"]
        real = metric.get("real")
        if isinstance(value, int | float) and math.isfinite(value) and (real is None or math.isfinite(real)):
            yield key, Measure(value=value, unit=metric.get("unit") or "", title=metric.get("title") or "", real=real)


def _result(plan: Plan, runs: Mapping[Key, list[Outcome]], discarded: tuple[Discarded, ...]) -> StudyResult:
    study = plan.study
    designs = {name: DesignResult(
        settings=d.settings, scenario=d.scenario, reference=d.reference, description=d.description,
        runs=tuple(sorted((run for seed in plan.seeds for run in runs[name, seed]), key=lambda r: r.started)))
        for name, d in plan.designs.items()}
    return StudyResult(
        name=study.name, question=study.question, quick=plan.quick, baseline=plan.baseline, metrics=study.metrics,
        seeds=plan.seeds, order=plan.order, designs=designs, discarded=discarded, prices=study.prices,
        priced_as=study.priced_as, directory=str(plan.directory.absolute()))
