"""Checks of a real run: its exit code, its JUnit file, and the same answers again from what it has left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

pytestmark = pytest.mark.lab
SCENARIO = """
name: checked
question: Do checks see what a run has measured?
fabric: {name: checked, leaves: 2, spines: 1, hosts_per_leaf: 2, host_rate: 5mbit, queue: 20packets}
workloads:
  fits: {kind: udp, pairs: [[h1, h3]], rate: 1mbit, duration: 1s}
  flood: {kind: udp, pairs: [[h1, h3], [h2, h3]], rate: 4mbit, duration: 2s}
phases:
  - {name: quiet, run: [fits]}
  - {name: loud, run: [flood]}
validate:
  none-before: {drops: queues, phase: quiet, at_most: 0, pass: None are lost., fail: Some are lost.}
  then-one-queue: {drops: leaf2->h3, phase: loud, wait: 500ms, at_least: 50, pass: It drops., fail: It does not.}
  no-other: {drops: leaf2->h3, of: queues, equals: 1, pass: No other queue drops., fail: Another queue drops.}
  its-loss: {metric: flood.loss, between: [200000, 450000], pass: As the rates say., fail: Not as the rates say.}
  wrong: {metric: fits.loss, at_least: 1, pass: It loses., fail: It loses nothing.}
"""


def aifab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "scenarios.cli", *arguments], capture_output=True, text=True,
                          timeout=180, check=False)


def test_a_run_answers_its_checks_and_validate_answers_them_again(tmp_path: Path) -> None:
    file, junit, runs = tmp_path / "checked.yml", tmp_path / "checks.xml", str(tmp_path / "runs")
    file.write_text(SCENARIO)
    done = aifab("run", str(file), "--runs", runs, "--no-lock", "--json", "--junit", str(junit))
    found = json.loads(done.stdout)
    validation = found["validation"]
    status = {c["name"]: c["status"] for c in validation["checks"]}
    assert status == {"none-before": "PASS", "then-one-queue": "PASS", "no-other": "PASS", "its-loss": "PASS",
                      "wrong": "FAIL"}, validation
    # without the lock a run is never VALID: whatever the checks say, nothing of it is proven
    assert (found["verdict"], validation["result"]) in {("SUSPECT", "unproven"), ("INVALID", "unproven")}
    assert done.returncode == {"SUSPECT": 4, "INVALID": 3}[found["verdict"]]
    cases = {c.get("name"): c[0].tag for c in Xml.parse(junit).iter("testcase")}  # noqa: S314 - our own
    assert cases == {"verdict": "error", **dict.fromkeys(status, "skipped")}
    again = aifab("validate", found["run"], "--runs", runs, "--json")
    assert json.loads(again.stdout) == {"run": found["run"], **validation}
    assert again.returncode == done.returncode


def test_a_run_that_cannot_be_made_is_reported_to_ci_as_well(tmp_path: Path) -> None:
    file = tmp_path / "checked.yml"
    file.write_text(SCENARIO)
    command = ("run", str(file), "--runs", str(tmp_path / "runs"), "--no-lock", "--junit")
    nowhere = aifab(*command, str(tmp_path / "no/x.xml"))
    assert nowhere.returncode == 1
    assert "expected a file that can be written, for JUnit" in nowhere.stderr
    assert not (tmp_path / "runs").exists()     # found out before anything ran
    (tmp_path / "runs").write_text("a file where the runs should go")
    broken = aifab(*command, str(tmp_path / "x.xml"))
    assert broken.returncode == 1
    (case,) = Xml.parse(tmp_path / "x.xml").iter("testcase")  # noqa: S314 - our own
    assert (case.get("name"), case[0].tag) == ("run", "error")
