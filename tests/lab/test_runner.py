"""A whole run on a small fabric: its parts agree, declared events are no surprise, and it leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.run_process import SCENARIO, aifab_run

pytestmark = [pytest.mark.lab, pytest.mark.alone]

EVENTS = SCENARIO.replace("leaves: 2, spines: 1, hosts_per_leaf: 1", "leaves: 2, spines: 2, hosts_per_leaf: 1") + """
events:
  - {at: 500ms, link: leaf1-spine1, state: down}
  - {at: 1500ms, link: leaf1-spine1, state: up}
  - {at: 1s, link: h2-leaf2, rate: 5mbit, queue: 20packets}
"""
LATE = SCENARIO + """
events:
  - {at: 60s, link: leaf1-spine1, state: down}
"""


def test_a_run_agrees_with_itself_and_leaves_nothing(tmp_path: Path) -> None:
    with aifab_run(tmp_path) as it:
        code = it.end()
        assert code in {3, 4}, it.text      # without the lock it is SUSPECT at best; a busy machine may make it worse
        assert it.left() == []
        assert it.meta["status"] == "complete"
        ledger = json.loads((it.directory / "ledger.json").read_text())
        assert ledger["balances"], ledger
        streams = [r for r in it.records() if r["kind"] == "stream"]
        (mine,) = [r for r in streams if r["workload"] == "stream"]
        assert mine["sent"] == mine["received"] == 600
        assert ledger["sent"] >= sum(r["sent"] for r in streams), "with ARP, at least"
        assert ledger["received"] >= sum(r["received"] for r in streams)
        verdict = json.loads((it.directory / "verdict.json").read_text())
        assert verdict["verdict"] in {"SUSPECT", "INVALID"}
        assert [r["level"] for r in verdict["reasons"] if r["invariant"] == "lock"] == ["SUSPECT"]
        assert (it.directory / "report.html").stat().st_size > 1000


def test_declared_events_are_no_findings_and_their_losses_have_names(tmp_path: Path) -> None:
    with aifab_run(tmp_path, EVENTS) as it:
        assert it.end() in {3, 4}, it.text
        ledger = json.loads((it.directory / "ledger.json").read_text())
        assert ledger["balances"], ledger
        (mine,) = [r for r in it.records() if r["kind"] == "stream" and r["workload"] == "stream"]
        lost = mine["sent"] - mine["received"]
        assert lost <= sum(ledger["fault_losses"].values()), "each packet that is missing is the fault's"
        assert set(ledger["fault_losses"]) <= {"leaf1-spine1 down"}
        texts = [r["text"] for r in it.reasons()]
        assert not [t for t in texts if "h2" in t and ("rate" in t or "queue" in t)], texts
        assert it.left() == []


def test_an_event_after_the_end_of_the_traffic_is_refused(tmp_path: Path) -> None:
    with aifab_run(tmp_path, LATE) as it:
        assert it.end() == 1
        assert "phase main: events: expected all of them before the traffic ended; found 1 were due" in it.text
        assert it.meta["status"] == "failed"
        assert it.left() == []
