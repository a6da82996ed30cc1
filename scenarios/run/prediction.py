"""Before a phase starts: asks where its connections go, writes that down, and what the fluid model expects of it.

    engine ready  ->  paths of its connections  ->  records.jsonl      predictions.json  ->  go

The model knows TCP workloads with connections of their own. Where others share the phase (streams, RoCEv2, bulk,
requests), or where links go down, nothing is predicted for that phase. Of hidden events it knows nothing.

A prediction that cannot be made is absent, and the workload's notes say why; it never ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from scenarios.evidence.observe import observed_paths
from scenarios.evidence.results import RunDirectory
from scenarios.evidence.tenants import Tenants
from scenarios.report.measured import Json
from scenarios.run.measure import Measurement
from scenarios.run.phases import Traffic
from scenarios.spec.scenario import Phase, Scenario
from topologies.access.events import Standing
from topologies.model.fabric import Fabric
from traffic.metrics import registry
from traffic.metrics.metric import Metric
from traffic.metrics.on_paths import INTERFERENCE_ON_PATHS, JCT_ON_PATHS, on_paths
from traffic.models.fluid import Pair, Path, RateChange, Unpredictable
from traffic.runtime.records import PathRecord, RecordWriter
from traffic.workloads.kinds.engine import workloads_of

T = TypeVar("T")


def predict_alone(run: RunDirectory, fabric: Fabric, foreseen: Sequence[Traffic]) -> None:
    """Writes what is expected of each workload by itself, before anything runs; foreseen: the traffic of each phase."""
    found: dict[str, Metric] = {}
    for built in (built for traffic in foreseen for built in traffic):
        expected = result_or_reason(partial(built.predictions, fabric))
        if isinstance(expected, str):
            _note(run, [built.name], "prediction", expected)
        else:
            found |= expected
    run.write("predictions", registry.as_json(found))


def result_or_reason(model: Callable[[], T]) -> T | str:
    """What a model expects, or why there is none. A fault of the model is named and costs the prediction alone."""
    try:
        return model()
    except Unpredictable as why:
        return f"none: {why}"
    except Exception as error:      # whatever it is: the measurement does not depend on it
        return f"none: the model failed, a fault of aifab's and not of the scenario ({type(error).__name__}: {error})"


def _note(run: RunDirectory, workloads: Sequence[str], what: str, text: str) -> None:
    notes = run.read("notes") or {}
    run.write("notes", notes | {name: {**notes.get(name, {}), what: text} for name in workloads})


class PhasePrediction:
    """Called with the standing connections of one phase; traffic: as predictions know it."""

    def __init__(self, scenario: Scenario, phase: Phase, traffic: Traffic, measurement: Measurement,
                 tenants: Tenants) -> None:
        self._scenario, self._phase, self._traffic, self._measurement = scenario, phase, traffic, measurement
        self._tenants = tenants

    def __call__(self, connections: Sequence[Standing]) -> None:
        run, lab = self._measurement.run, self._measurement.lab
        paths = observed_paths(self._tenants.addressed, connections, self._phase.name, self._tenants.gateways())
        with RecordWriter(run.records_path) as writer:
            for path in paths:
                writer.write(path)
        if not connections or not predictable(self._scenario, self._phase, self._traffic):
            return
        known = [RateChange(0.0, d, c.rate) for c in self._measurement.proof.history.changes
                 if c.rate is not None and not c.hidden for d in lab.fabric.link(c.link).directions]
        changes = [*known, *rate_changes(self._scenario, self._phase, lab.fabric)]
        workloads = workloads_of(self._traffic)
        expected = result_or_reason(lambda: on_paths(workloads, _by_workload(paths), lab.fabric, changes))
        if isinstance(expected, str):
            names = [w.name for w in workloads]
            _note(run, names, f"prediction on the observed paths in phase {self._phase.name}", expected)
            return
        before = run.read("predictions") or {}
        new = {self._key(name, tag): m for name, metrics in expected.items() for tag, m in metrics.items()}
        new |= {self._key(name, INTERFERENCE_ON_PATHS.tag): INTERFERENCE_ON_PATHS.of(factor)
                for name, factor in self._interference(expected, before)}
        run.write("predictions", before | registry.as_json(new))

    def _key(self, workload: str, tag: str, phase: str = "") -> str:
        """As the metric's key that it is to be held against: with the phase where the workload runs in several."""
        several = sum(workload in p.run for p in self._scenario.phases) > 1
        return f"{workload}.{phase or self._phase.name}.{tag}" if several else f"{workload}.{tag}"

    def _interference(self, expected: dict[str, dict[str, Metric]],
                      before: Mapping[str, Json]) -> Iterator[tuple[str, float]]:
        """Workload -> factor, of those that had one earlier phase to themselves and now share."""
        if len(self._phase.run) < 2:
            return
        for name, metrics in expected.items():
            by_itself = [p.name for p in self._scenario.phases if p.run == (name,)]
            isolated = before.get(self._key(name, JCT_ON_PATHS.tag, by_itself[0]), {}) if len(by_itself) == 1 else {}
            if isolated.get("value"):
                yield name, metrics[JCT_ON_PATHS.tag].value / isolated["value"]


def predictable(scenario: Scenario, phase: Phase, traffic: Traffic) -> bool:
    """Whether the model knows all that goes on in a phase: collectives that share links evenly, on links that stay."""
    others = sum(w.connections == "shared" for w in workloads_of(traffic)) < len(traffic)
    classes = scenario.fabric.classes.values()
    uneven = classes and (len(phase.run) > 1 or any(c.max < 1 for c in classes))
    broken = scenario.switch_events(phase.name) or any(
        e.state is not None and not e.hidden for e in scenario.link_events(phase.name))
    return not (others or uneven or broken)


def rate_changes(scenario: Scenario, phase: Phase, fabric: Fabric) -> Iterator[RateChange]:
    """The changes of rates in a phase that are not hidden, in emulated units."""
    scale = fabric.spec.scale.scale
    for event in scenario.link_events(phase.name):
        if event.rate is not None and not event.hidden:
            for direction in fabric.link(event.link).directions:
                yield RateChange(scale.to_emulated_time(event.at), direction, scale.to_emulated_rate(event.rate))


def _by_workload(paths: Sequence[PathRecord]) -> dict[str, dict[Pair, Path]]:
    found: dict[str, dict[Pair, Path]] = {}
    for p in paths:
        found.setdefault(p.workload, {})[p.src_rank, p.dst_rank, p.number] = Path(p.there, p.back)
    return found
