"""`aifab run` on the fabric engine: a verdict, switches that die, an engine that does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.run.waits import wait_for
from tests.lab.run_process import TCP, aifab_run

pytestmark = pytest.mark.lab

ON_ENGINE = "host_rate: 10mbit, datapath: engine}"
RING = TCP.replace("host_rate: 10mbit}", ON_ENGINE)
OUTAGES = """
name: outages
question: What do switches that die cost?
fabric: {name: outages, leaves: 2, spines: 2, hosts_per_leaf: 2, host_rate: 5mbit, datapath: engine}
workloads:
  stream: {kind: udp, pairs: [[h1, h3], [h4, h2]], pps: 100, frame: 500, duration: 12s, flows: 16}
  ring: {kind: collective, placement: [h1, h3], size: 100kB, iterations: 8, warmup: 0, compute: 500ms}
events:
  - {at: 1s, switch: spine2, state: down}
  - {at: 2500ms, switch: spine2, state: up}
  - {at: 4s, link: h3-leaf2, rate: 2mbit}
  - {at: 6s, switch: leaf1, state: restart}
"""


def test_a_ring_is_measured_and_its_ledger_balances(tmp_path: Path) -> None:
    with aifab_run(tmp_path, RING) as it:
        assert it.end() in {0, 3, 4}, it.text
        ledger = json.loads((it.directory / "ledger.json").read_text())
        verdict = json.loads((it.directory / "verdict.json").read_text())
        reasons = it.reasons()
    assert ledger["balances"], ledger
    hard = {"calibration", "link", "no emulator loss", "ledger"}        # what the machine's load does not decide
    assert not [r for r in reasons if r["invariant"] in hard], reasons
    headroom = next(c for c in verdict["checked"] if c["invariant"] == "headroom")
    assert headroom["figures"]["late_p99_s"] > 0


def test_what_dead_switches_lose_is_booked_to_them_and_nothing_else_is_lost(tmp_path: Path) -> None:
    with aifab_run(tmp_path, OUTAGES) as it:
        assert it.end() in {0, 3, 4}, it.text
        ledger = json.loads((it.directory / "ledger.json").read_text())
        streams = [r for r in it.records() if r["kind"] == "stream" and r["workload"] == "stream"]
        reasons = it.reasons()
    assert ledger["balances"], ledger
    assert not [r for r in reasons if r["invariant"] in {"ledger", "no emulator loss", "calibration"}], reasons
    assert set(ledger["fault_losses"]) <= {"spine2 down", "leaf1 down"}
    sent, received = sum(s["sent"] for s in streams), sum(s["received"] for s in streams)
    assert sent == 2 * 1200
    assert 0.5 * sent < received < sent, "each outage cost something, and ended"


def test_an_engine_that_dies_ends_the_run_as_invalid_with_its_reason(tmp_path: Path) -> None:
    with aifab_run(tmp_path, RING) as it:
        it.until("traffic")
        os.kill(next(iter(it.inventory.switches.values())).pid, signal.SIGKILL)
        assert it.end() == 3, it.text
        assert "the fabric engine has ended" in it.text
        assert it.meta["status"] == "failed"
        assert [r["text"] for r in it.reasons()] == ["the lab ended during the run: the fabric engine has ended"]
    assert it.left() == []


def test_clean_takes_away_what_a_killed_run_has_left(tmp_path: Path) -> None:
    with aifab_run(tmp_path, RING) as it:
        it.until("traffic")
        it.process.kill()
        it.process.wait(10)
        subprocess.run([sys.executable, "-m", "scenarios.cli", "clean"], check=True, stdout=subprocess.DEVNULL)
        wait_for("all of it to be gone", lambda: not it.left(), 10.0, str(it.left()))
