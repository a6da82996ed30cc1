"""The seams: a toy of each sort (tests/toys), added at run time, goes through check, build and report.

So what a new one costs stays true: nothing outside of its own modules, and the line that registers it, knows of it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pydantic import ValidationError

from scenarios.commands.schema import Kind as Schema
from scenarios.commands.schema import schema_of
from scenarios.evidence.evidence import lateness
from scenarios.report.answer import sentences
from scenarios.report.data import load
from scenarios.report.page import build
from scenarios.run.jobs import jobs_of, setting_of
from scenarios.spec.compiling import Compiled, compiled
from scenarios.spec.expected import duration_lines, traffic_lines
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.scenario import Scenario, WorkloadName
from tests.recorded import recorded
from tests.toys.beacon import BeaconKind
from tests.toys.gather import GatherKind, GatherSpec
from tests.toys.head_drop import HeadDrop, HeadDropQueue, HeadDropWire
from tests.toys.pipe import PIPE
from tests.unit import run_factory
from tests.unit.records_of import records_of
from topologies.lab import host_limits
from topologies.links.htb.disciplines import DISCIPLINES
from topologies.links.htb.wires import wire_lines
from topologies.model.disciplines import QUEUES, any_discipline, any_queue
from topologies.model.errors import HostError, SpecError, SpecErrors
from topologies.model.fabric import Fabric, Link
from topologies.model.spec import FabricSpec
from traffic.engine.channels import channels
from traffic.engine.execution import Callbacks, Execution
from traffic.engine.job import Job as EngineJob
from traffic.engine.reporting import Reporter
from traffic.metrics import registry as metrics
from traffic.runtime.reading import Records, lines
from traffic.runtime.records import ConnectionRecord, RecordWriter
from traffic.runtime.timers import Timers
from traffic.transports.base import Host
from traffic.transports.opening import connect_all
from traffic.transports.registry import TRANSPORTS, Networks, transport
from traffic.workloads.kinds.engine import workloads_of
from traffic.workloads.kinds.kind import Kind, Setting, by_process
from traffic.workloads.kinds.registry import KINDS, any_spec
from traffic.workloads.lowering import Program
from traffic.workloads.workload import Workload

ROOT = Path(__file__).parents[1]


def scenario(path: Path, workload: str, fabric: str = "small") -> Scenario:
    """A scenario of one workload, on the smallest fabric of the catalog if no other is given."""
    path.write_text(f"name: seam\nquestion: Does it fit?\nfabric: {fabric}\nworkloads:\n  toy: {{{workload}}}\n")
    return load_scenario(str(path))


def check(of: Scenario) -> tuple[Compiled, str]:
    """Everything compiled, and what `aifab check` says of it."""
    made = compiled(of)
    return made, "\n".join([*traffic_lines(of, made), *duration_lines(of, made)])


def report(base: Path, of: Scenario, found: dict[str, Any], records: list[dict[str, Any]]) -> str:
    """The answer of a run that left this, and its page."""
    run = run_factory.make(base, of, records=records, metrics=found, verdict=run_factory.verdict(),
                           ledger=run_factory.ledger())
    return "\n".join([*sentences(load(run)), build(run)])


# ---- queue disciplines


def rebuilt() -> None:
    """The models that hold a queue, with the kinds that are registered by now."""
    for model, field, of in ((FabricSpec, "queue", any_queue()), (Link, "discipline", any_discipline())):
        model.model_fields[field].annotation = of
    for model in (FabricSpec, Link, Fabric, Scenario):
        model.model_rebuild(force=True)


@contextmanager
def head_drop() -> Iterator[None]:
    QUEUES.append((HeadDropQueue, HeadDrop))
    DISCIPLINES["head_drop"] = HeadDropWire()
    rebuilt()
    try:
        yield
    finally:
        QUEUES.pop()
        del DISCIPLINES["head_drop"]
        rebuilt()


def test_a_queue_discipline_is_a_class_of_the_model_and_one_of_the_wires(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"bytes": "60kB", "kind": "head_drop", "spare": 2}
    with head_drop():
        of = scenario(tmp_path / "s.yml", "kind: udp, pairs: [[h1, h2]], rate: 1mbit, frame: 1000, duration: 1s",
                      f"{{base: small, queue: {json.dumps(wanted)}}}")
        made, described = check(of)
        fabric = made.fabric
        assert "1 stream of 1 Mbit/s" in described
        assert "Does it fit?" in report(tmp_path, of, {}, []), "a run that has it is read"
        assert any(" handle 10: pfifo_head_drop limit 41" in line for line in wire_lines(fabric)), "60 kB, full frames"
        assert Fabric.model_validate_json(fabric.model_dump_json()) == fabric, "what a report reads"
        with pytest.raises(ValidationError, match="spare"):
            FabricSpec.model_validate({"queue": {**wanted, "spare": "many"}})
        monkeypatch.setattr(host_limits, "has_module", lambda name: name != "sch_head_drop")
        with pytest.raises(HostError, match="queue of kind head_drop: expected a kernel with the module sch_head_drop"):
            host_limits.require_features(fabric)
    with pytest.raises(ValidationError, match="head_drop"):
        FabricSpec.model_validate({"queue": wanted})


def test_every_discipline_of_the_model_has_its_wires() -> None:
    assert {made.model_fields["kind"].default for _, made in QUEUES} == set(DISCIPLINES)


# ---- workloads


@contextmanager
def registered(kind: Kind[Any, Any]) -> Iterator[None]:
    """As if the registry had a line for it."""
    KINDS[kind.name] = kind
    _take_kinds()
    try:
        yield
    finally:
        del KINDS[kind.name]
        _take_kinds()


def _take_kinds() -> None:
    Scenario.model_fields["workloads"].annotation = dict[WorkloadName, any_spec()]      # type: ignore[misc]
    Scenario.model_rebuild(force=True)


def test_a_kind_of_workload_on_the_engine_is_one_module_and_a_line(tmp_path: Path) -> None:
    with registered(GatherKind()):
        with pytest.raises(SpecErrors, match=r"s.yml:5 workloads.toy.ranks: expected at most 8 ranks"):
            scenario(tmp_path / "s.yml", "kind: gather, size: 1MB, ranks: 9")
        of = scenario(tmp_path / "s.yml", "kind: gather, size: 1MB")
        made, reported = check(of)
        assert "toy (in main): gather of 1 MB from each of 3 ranks" in reported
        assert made.duration.phases["main"][0] == pytest.approx(3 * 8e6 / (10e6 * 1448 / 1514), rel=0.05)

        (job,) = jobs_of(made.runs[0], setting_of(of, made.fabric))
        (program,) = EngineJob.model_validate(job.dump()).programs()
        assert (job.what, program.total_bytes) == ("engine", 3_000_000)

        records = run_factory.steps("toy")
        found = metrics.compute(records_of(*records), made.fabric, workloads_of(made.planned[0]))
        assert found["toy.step_time"].value == pytest.approx(12.16)
        assert "The gather took 12.2 s a step" in report(tmp_path, of, metrics.as_json(found), records)
    with pytest.raises(SpecErrors, match=r"workloads.toy.kind: expected one of"):
        scenario(tmp_path / "s.yml", "kind: gather, size: 1MB")


def test_a_kind_of_workload_with_a_process_is_two_modules_and_a_line(tmp_path: Path) -> None:
    with registered(BeaconKind()):
        for wrong, words in (("count: 1001", "toy.count: expected at most 1000 beacons"),
                             ("cuont: 3", "toy.cuont: expected one of the keys count, kind, pairs")):
            with pytest.raises(SpecErrors, match=words):
                scenario(tmp_path / "s.yml", f"kind: beacon, pairs: [[h1, h5]], {wrong}")
        of = scenario(tmp_path / "s.yml", "kind: beacon, pairs: [[h1, h5]], count: 3")
        made, reported = check(of)
        assert "toy (in main): 3 beacons over 1 pairs" in reported
        assert made.pairs == {"main": {"toy": {("h1", "h5")}}}
        assert "BeaconSpec" in schema_of(Schema.scenario)["$defs"]

        path = tmp_path / "records.jsonl"
        (job,) = jobs_of(made.runs[0], setting_of(of, made.fabric, Setting(phase="main", records=str(path))))
        (tmp_path / "job.json").write_text(json.dumps(job.dump()))
        done = subprocess.run([sys.executable, "-m", job.module, str(tmp_path / "job.json")], input="go\n", cwd=ROOT,
                              capture_output=True, text=True, check=True)
        assert done.stdout.split() == ['{"event":"ready"}', '{"event":"done"}']

        left = recorded(path)
        records = list(lines(path))
        found = metrics.compute(left, made.fabric, [])
        assert found["toy.beat"].value == pytest.approx(0.01)
        assert "The beacons: time between beacons 10 ms" in report(tmp_path, of, metrics.as_json(found), records)
        (process,) = by_process(made.runs[0])
        assert process.watched == ("beacons",)
        late = {"kind": "timer-lateness-run", "process": "beacons", "p99": 1e-3}
        assert lateness(Records(records_of(late)), {}) == {"beacons": 1e-3}


# ---- transports


class PipedKind(GatherKind):
    """A gather that another transport carries."""

    def workload(self, spec: GatherSpec, fabric: Fabric, name: str, seed: int) -> Workload:
        return replace(super().workload(spec, fabric, name, seed), transport="pipe")


async def carried(program: Program, path: Path) -> tuple[int, list[ConnectionRecord]]:
    """Run a program as the engine's session does, hosts without namespaces; bytes moved, connections at their end."""
    loop = asyncio.get_running_loop()
    networks = Networks(loop, {h: Host(h, "", "") for h in program.workload.hosts})
    timers, end = Timers(loop), loop.create_future()
    network = networks.of(program.workload.transport)
    with RecordWriter(path) as writer:
        running = Execution(program, timers, Reporter(program, "main", monotonic(), writer),
                            Callbacks(lambda _i, _s: None, lambda: end.set_result(None), end.set_exception))
        running.use(channels(program, network, 1, "main", running.broken))
        for _, server in program.pairs():
            network.listen(network.hosts[program.workload.hosts[server]])
        await connect_all(running.channels.wanted(), 10)
        running.start()
        await asyncio.wait_for(end, 20)
    ended = running.channels.close()
    networks.close()
    timers.close()
    return running.done_bytes, ended


def test_a_transport_is_a_folder_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORTS, "pipe", PIPE)
    with registered(PipedKind()):
        of = scenario(tmp_path / "s.yml", "kind: gather, size: 1MB")
        made, _ = check(of)
        with_its_overhead = 3 * 8e6 / (10e6 * 1400 / 1514)
        assert made.duration.phases["main"][0] == pytest.approx(with_its_overhead, rel=0.02)
        (job,) = jobs_of(made.runs[0], setting_of(of, made.fabric))
        (program,) = EngineJob.model_validate(job.dump()).programs()

        path = tmp_path / "records.jsonl"
        moved, ended = asyncio.run(carried(program, path))
        assert moved == 3_000_000
        assert [(c.dst, c.cc, c.bytes) for c in ended] == [(program.workload.hosts[0], "none", 1_000_000)] * 3

        left = recorded(path)
        records = list(lines(path))
        assert sum(r["bytes"] for r in records if r["kind"] == "transfer") == 3_000_000
        found = metrics.compute(left, made.fabric, workloads_of(made.planned[0]))
        assert found["toy.step_time"].value > 0
        assert "The gather took" in report(tmp_path, of, metrics.as_json(found), records)
    monkeypatch.delitem(TRANSPORTS, "pipe")
    with pytest.raises(SpecError, match="expected one of tcp; found pipe"):
        transport("pipe")
