"""A real study, killed in the middle of a run: the same command goes on, and nothing is lost or done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.evidence.results import RunDirectory, run_directories
from scenarios.run.waits import wait_for
from scenarios.study.store import read_study
from topologies.lab.journal import all_labs

pytestmark = pytest.mark.lab
END = 120.0     # seconds
STUDY = """
name: tiny
question: How much longer do packets take on slower links?
scenario: tiny.yml
designs:
  fast: {}
  slow: {set: {fabric.host_rate: 1mbit}}
repeats: 1
metrics:
  - {metric: stream.latency, better: lower}
"""
SCENARIO = """
name: tiny
question: How long do packets take?
fabric: {name: tiny, leaves: 2, spines: 1, hosts_per_leaf: 1, host_rate: 10mbit}
workloads:
  stream: {kind: udp, pairs: [[h1, h2]], pps: 200, frame: 1000, duration: 2s}
"""


def compare(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scenarios.cli", "compare", str(directory / "tiny.study.yml"), "-o",
         str(directory / "study"), "--no-lock", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def in_second_run(process: subprocess.Popen[str], runs: Path) -> Path | None:
    """The second run's directory, as soon as its lab is up."""
    assert process.poll() is None, process.communicate()
    found = run_directories(runs)
    return found[0] if len(found) == 2 and RunDirectory(found[0]).inventory_path.exists() else None


def test_a_study_that_is_killed_in_a_run_goes_on_without_losing_or_repeating_one(tmp_path: Path) -> None:
    (tmp_path / "tiny.study.yml").write_text(STUDY)
    (tmp_path / "tiny.yml").write_text(SCENARIO)
    runs = tmp_path / "study" / "runs"
    first = compare(tmp_path)
    killed = wait_for("the second run", lambda: in_second_run(first, runs), END)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert len([j for j in all_labs() if j.owner is not None and j.owner.pid == first.pid]) == 1
    (done,) = [path for path in run_directories(runs) if path != killed]
    finished = (done / "meta.json").read_bytes()

    second = compare(tmp_path)
    out, err = second.communicate(timeout=END)
    assert second.returncode in {3, 4}, err     # without the lock SUSPECT at best; a busy machine may make it worse
    assert [j for j in all_labs() if j.owner is not None and j.owner.pid in {first.pid, second.pid}] == []
    result = read_study(tmp_path / "study")
    assert [(d.run, d.why) for d in result.discarded] == [(killed.name, "killed before it ended")]
    assert (done / "meta.json").read_bytes() == finished
    assert done.name in [run.run for _, run in result.outcomes]
    assert {name for name, _ in result.outcomes} == {"fast", "slow"}
    assert all("stream.latency" in run.metrics for _, run in result.outcomes)
    fast, slow = (result.designs[name].runs[0].metrics["stream.latency"].value for name in ("fast", "slow"))
    assert slow > fast > 0
    reported = json.loads(out)
    assert reported["study"] == "tiny"
    assert (tmp_path / "study" / "report.html").stat().st_size > 1000
