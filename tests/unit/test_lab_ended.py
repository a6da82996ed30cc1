"""A lab that ends under a run: the cause is told in place of what came of it, and the run is INVALID."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from controller.northbound.client import ControllerClient
from scenarios.run import runner
from scenarios.run.ended import LabEndError, cause, check_lab
from scenarios.run.lab import Waiting, wait_converged
from scenarios.spec.load_scenario import load_scenario
from tests.unit.made_up_engine import inventory_of
from topologies.model.errors import RunError
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.load import load_fabric
from topologies.proof import calibrate
from topologies.proof.counters import wait_quiet
from topologies.switches.engine import process
from topologies.switches.engine.datapath import ENGINE

SYMPTOM = RunError("phase main", "an answer", "no route to host")


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """Of a lab without a process."""
    return inventory_of(expand(load_fabric("small", ["datapath=engine"])), tmp_path)


def test_the_end_of_what_forwards_is_the_cause(inventory: Inventory) -> None:
    found = cause(inventory, SYMPTOM)
    assert isinstance(found, LabEndError)
    assert found.found == "the fabric engine has ended"
    with pytest.raises(LabEndError):
        check_lab(inventory)


def test_while_it_runs_an_error_is_what_it_was(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ended", lambda _: "")
    assert cause(inventory, SYMPTOM) is SYMPTOM
    assert ENGINE.ended(inventory) == ""


def test_nobody_waits_for_rules_on_switches_that_have_ended(inventory: Inventory, tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as controller:
        started = Waiting(controller, tmp_path / "log")
        with pytest.raises(LabEndError):
            wait_converged(ControllerClient(str(tmp_path / "socket")), started, inventory)


def test_nobody_waits_for_queues_that_nobody_empties(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(type(ENGINE), "waiting", lambda *_: 1)
    monkeypatch.setattr(calibrate.time, "sleep", sleep)
    calibrate._let_drain(inventory, [])


def test_a_network_that_has_ended_is_not_waited_for_to_become_quiet(
        inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(ENGINE), "devices", lambda *_: ({}, {}))
    monkeypatch.setattr(type(ENGINE), "queues", lambda *_: {})
    with pytest.raises(RunError, match="the fabric engine has ended"):
        wait_quiet(inventory)


def test_such_a_run_is_invalid_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise LabEndError("the lab", "its network for the whole run", "the fabric engine has ended")

    monkeypatch.setattr(runner, "_measure", ended)
    with pytest.raises(LabEndError) as raised:
        runner.run_scenario(load_scenario("demo"), tmp_path, lock=False)
    assert raised.value.exit_code == 3
    (run,) = tmp_path.iterdir()
    verdict = json.loads((run / "verdict.json").read_text())
    assert verdict["verdict"] == "INVALID"
    assert verdict["reasons"][0]["text"] == "the lab ended during the run: the fabric engine has ended"
    assert json.loads((run / "meta.json").read_text())["status"] == "failed"
