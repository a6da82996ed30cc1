"""Switches that a scenario kills and starts again, in a real run: traffic recovers, and packet accounting balances over
it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.run_process import aifab_run

pytestmark = pytest.mark.lab

SCENARIO = """
name: outages
question: What do switches that die cost?
fabric: {name: outages, leaves: 2, spines: 2, hosts_per_leaf: 2, host_rate: 5mbit}
workloads:
  stream: {kind: udp, pairs: [[h1, h3], [h4, h2]], pps: 100, frame: 500, duration: 12s, flows: 16}
  ring: {kind: collective, placement: [h1, h3], size: 100kB, iterations: 8, warmup: 0, compute: 500ms}
events:
  - {at: 1s, switch: spine2, state: down}
  - {at: 2500ms, switch: spine2, state: up}
  - {at: 6s, switch: leaf1, state: restart}
"""


def test_what_dead_switches_lose_is_booked_to_them_and_nothing_else_is_lost(tmp_path: Path) -> None:
    with aifab_run(tmp_path, SCENARIO) as it:
        assert it.end() in {0, 3, 4}, it.text
        ledger = json.loads((it.directory / "ledger.json").read_text())
        streams = [r for r in it.records() if r["kind"] == "stream" and r["workload"] == "stream"]
        reasons = it.reasons()
    assert ledger["balances"], ledger
    assert not [r for r in reasons if r["invariant"] in {"ledger", "no emulator loss"}], reasons
    assert not [r for r in reasons if "spine2" in r["text"] and "not watched" in r["text"]], reasons
    assert not [r for r in reasons if r["invariant"] == "audit"], reasons
    assert set(ledger["fault_losses"]) <= {"spine2 down", "leaf1 down"}
    assert set(ledger["policy_drops"]) <= {"leaf1 no-path:leaf2", "leaf2 no-path:leaf1"}
    assert ledger["fault_losses"]["leaf1 down"] > 0
    sent, received = sum(s["sent"] for s in streams), sum(s["received"] for s in streams)
    assert sent == 2 * 1200
    assert received > 0.5 * sent, "each outage ended"
    assert ledger["lost"] >= sent - received > 0
