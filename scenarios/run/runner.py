"""A scenario from its file to its verdict.

    compile everything, refuse what cannot run  ->  lock  ->  lab up  ->  predictions
    ->  [measure: phases]  ->  lab down  ->  metrics, verdict, report

Whatever stops a run, the machine is clean afterwards and what was recorded is kept and marked.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from scenarios.evidence import evidence
from scenarios.evidence.results import Recorded, RunDirectory
from scenarios.evidence.tenants import Tenants
from scenarios.run.ended import LabEndError, cause
from scenarios.run.lab import Lab, lab
from scenarios.run.measure import Measurement, Proof
from scenarios.run.phases import (
    OnProgress,
    PhaseRun,
    Traffic,
    as_run,
    check_hosts_alive,
    hosts_used,
    notes_of,
)
from scenarios.run.prediction import PhasePrediction, predict_alone
from scenarios.spec.compiling import compiled
from scenarios.spec.scenario import Scenario
from scenarios.spec.vpc_schedule import changes_of
from scenarios.verdict.verdict import Verdict, judge, lab_ended
from topologies.lab.host_limits import measuring_lock
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric
from topologies.proof.ledger import Ledger
from traffic.metrics import registry
from traffic.metrics.metric import Metric
from traffic.runtime.records import RecordWriter
from traffic.transports.tcp.settings import prepare_namespace
from traffic.workloads.kinds.engine import workloads_of


class StageListener:
    """What a run tells while it goes on; the default says nothing."""

    def stage(self, what: str) -> None:
        """A new stage begins: 'bringing the fabric up', 'phase main'."""

    def progress(self, workload: str, done: float, total: float | None) -> None:
        """Bytes of a workload done so far, and in all if that is known."""


@dataclass(frozen=True)
class Result:
    """A finished run."""

    run: RunDirectory
    verdict: Verdict
    metrics: dict[str, Metric]
    ledger: Ledger | None
    recorded: Recorded


def run_scenario(scenario: Scenario, base: Path, *, fabric: Fabric | None = None, lock: bool = True,
                 argv: Sequence[str] = (), listener: StageListener | None = None, report: bool = True) -> Result:
    """Run a scenario; its directory is made under `base`. report: write its page as well.

    fabric: the scenario's, where it has been expanded before.

    Raises LabError for whatever the user or the machine has wrong; the run directory then says so too.
    KeyboardInterrupt passes through, with the records kept and marked.
    """
    tell = listener or StageListener()
    made = compiled(scenario, fabric)
    fabric, planned, traffic = made.fabric, made.planned, made.runs
    with _terminable(), measuring_lock() if lock else contextlib.nullcontext():
        run = RunDirectory.create(base, scenario, argv)
        try:
            predictable_traffic = [as_run(scenario, phase, t, hidden=False) for phase, t in
                                   zip(scenario.phases, planned, strict=True)]
            if notes := notes_of(predictable_traffic):
                run.write("notes", notes)
            predict_alone(run, fabric, predictable_traffic)
            proof = _measure(scenario, fabric, list(zip(traffic, predictable_traffic, strict=True)), run, tell)
            result = _conclude(scenario, fabric, planned, run, proof, locked=lock)
            if report:
                from scenarios.report.page import build  # noqa: PLC0415 - it brings matplotlib: slow

                run.write_report(build(run, result.recorded))
            return result
        except KeyboardInterrupt:
            run.mark("interrupted", "by the user")
            raise
        except LabEndError as error:
            run.write("verdict", lab_ended(error.found).as_json())
            run.mark("failed", str(error))
            raise
        except LabError as error:
            run.mark("failed", str(error))
            raise
        except BaseException as error:
            run.mark("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            run.hand_over()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: with everything tidied."""
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt
    try:
        old = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:      # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _measure(scenario: Scenario, fabric: Fabric, traffic: Sequence[tuple[Traffic, Traffic]], run: RunDirectory,
             tell: StageListener) -> Proof:
    """Bring the lab up, run all phases inside a measurement, take it down.

    traffic: of each phase, as it runs and as predictions know it.
    """
    tell.stage("bringing the fabric up")
    with lab(fabric, run.logs / "controller.log") as it:
        run.write("inventory", it.inventory)
        t0 = time.monotonic()
        tenants = Tenants(it, scenario, run, t0)
        measurement = Measurement(it, run, t0, scenario.seed)
        try:
            tenants.begin()
            _prepare_hosts(it, [t for t, _ in traffic], run)
            tell.stage("calibrating the wires")
            measurement.start()
            tenants.prove("at the start")
            for phase, (its_traffic, predictable_traffic) in zip(scenario.phases, traffic, strict=True):
                tell.stage(f"phase {phase.name}")
                _run_phase(PhaseRun(measurement, scenario, phase, its_traffic, tenants), measurement, tell.progress,
                           PhasePrediction(scenario, phase, predictable_traffic, measurement, tenants))
                if changes_of(scenario, phase.name):
                    tenants.prove(f"after phase {phase.name}")
            tell.stage("accounting for packets")
            measurement.finish()
        except LabError as error:
            raise cause(it.inventory, error) from error
        finally:
            measurement.abort()
    return measurement.proof


def _prepare_hosts(it: Lab, traffic: Sequence[Traffic], run: RunDirectory) -> None:
    with RecordWriter(run.records_path) as writer:
        for host in sorted(hosts_used(traffic)):
            writer.write(prepare_namespace(it.inventory.netns[host], it.fabric.spec.tcp, host))


def _run_phase(phase: PhaseRun, measurement: Measurement, progress: OnProgress, prediction: PhasePrediction) -> None:
    try:
        start, end = phase.run(progress, prediction)
        measurement.proof.phases.append((phase.phase.name, start, end))
    except LabError as error:
        raise check_hosts_alive(measurement, error) from error
    finally:
        phase.end()


def _conclude(scenario: Scenario, fabric: Fabric, traffic: Sequence[Traffic], run: RunDirectory, proof: Proof, *,
              locked: bool) -> Result:
    """From raw records to metrics and verdict. traffic: as planned, without slow ranks."""
    workloads = {w.name: w for t in traffic for w in workloads_of(t)}
    recorded = Recorded(run)
    metrics = evidence.metrics_of(recorded, fabric, list(workloads.values()), proof)
    run.write("metrics", registry.as_json(metrics))
    if serving := evidence.serving_of(recorded.records, fabric):
        run.write("serving", serving)
    if tasks := evidence.tasks_of(recorded.records):
        run.write("tasks", tasks)
    run.write("ledger", proof.ledger.as_json() if proof.ledger else {})
    verdict = judge(evidence.assemble(recorded, fabric, proof, metrics, traffic, locked=locked))
    run.write("verdict", verdict.as_json())
    run.mark("complete")
    return Result(run, verdict, metrics, proof.ledger, recorded)
