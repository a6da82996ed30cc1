"""What a run does once, however many ask for it: its fabric is expanded, its records and counters are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import typer

from scenarios.commands import run as command
from scenarios.evidence.results import RunDirectory
from scenarios.run import runner
from scenarios.run.measure import Proof
from scenarios.spec.events import History
from scenarios.spec.scenario import Scenario
from tests.unit import run_factory
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from traffic.runtime.reading import lines

T = TypeVar("T")
FILE = """\
name: s
question: Does it?
fabric: small
workloads:
  ring: {kind: collective, op: all-reduce, size: 8MB, iterations: 3}
  stream: {kind: udp, pairs: [[h1, h5]], pps: 100, frame: 128, count: 100}
events: [{at: 1s, link: leaf1-spine1, rate: 5mbit}]
validate:
  lost: {drops: queues, at_most: 0, pass: Nothing was lost., fail: Something was lost.}
"""


def counted(monkeypatch: pytest.MonkeyPatch, function: Callable[..., T]) -> list[tuple[object, ...]]:
    """The arguments of each call of a function from now on, by whatever name a module has it."""
    calls: list[tuple[object, ...]] = []

    def counting(*args: object, **keys: object) -> T:
        calls.append(args)
        return function(*args, **keys)

    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if value is function:
                monkeypatch.setattr(module, name, counting)
    return calls


def measured(_scenario: Scenario, fabric: Fabric, _traffic: object, run: RunDirectory, _tell: object) -> Proof:
    """What a lab and its traffic leave behind."""
    run.write("inventory", {"fabric": fabric.model_dump(mode="json")})
    run_factory.write_lines(run.records_path, run_factory.steps())
    run_factory.write_lines(run.counters_path, run_factory.counters(fabric))
    return Proof(History(fabric), phases=[("main", 0.5, 19.0)])


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose run has everything but a lab."""
    monkeypatch.setattr("topologies.lab.host_limits.require_root", lambda: None)
    monkeypatch.setattr(runner, "_measure", measured)
    path = tmp_path / "s.yml"
    path.write_text(FILE)
    return path


def run(file: Path, **how: bool) -> None:
    with pytest.raises(typer.Exit):
        command.run(str(file), runs=file.parent / "runs", no_lock=True, **how)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_run_reads_its_records_and_its_counters_once(
        scenario: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    calls = counted(monkeypatch, lines)
    run(scenario, as_json=as_json)
    assert sorted(Path(str(path)).name for path, in calls) == ["counters.jsonl", "records.jsonl"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_run_expands_its_fabric_once(
        scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    calls = counted(monkeypatch, expand)
    run(scenario, as_json=as_json)
    assert len(calls) == 1
    out = capsys.readouterr().out
    assert not as_json or json.loads(out)["status"] == "complete"
    assert (next((scenario.parent / "runs").iterdir()) / "report.html").exists()
