"""Declared faults in a real run: they happen, and the proof holds the lab to what was declared, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from scenarios.run.waits import wait_for
from tests.lab.run_process import RunProcess, aifab_run
from topologies.access.netns import inside
from topologies.lab.interfaces import is_up
from topologies.links.htb import qdisc, wires

pytestmark = pytest.mark.lab

SCENARIO = """
name: declared
question: What do declared faults do?
fabric: {name: declared, leaves: 2, spines: 2, hosts_per_leaf: 2, host_rate: 5mbit, paths: pinned}
workloads:
  job: {kind: collective, size: 250kB, iterations: 3, warmup: 0, compute: 100ms}
phases:
  - {name: well, run: [job]}
  - {name: slow, run: [job]}
events:
"""
TENTH = "  - {phase: slow, at: 0s, link: leaf1-spine1, rate: 1mbit, hidden: %s}\n"


def _json(it: RunProcess, name: str) -> Any:
    return json.loads((it.directory / f"{name}.json").read_text())


def _steps(it: RunProcess, phase: str) -> float:
    return median(r["end"] - r["start"] for r in it.records() if r["kind"] == "step" and r["phase"] == phase)


def test_a_link_at_a_lower_rate_slows_the_job_and_is_no_fault_of_the_wire(tmp_path: Path) -> None:
    """Hidden from the model or not, the proof knows the new rate; predictions know it if it is not hidden."""
    predicted: dict[str, dict[str, float]] = {}
    for hidden in ("true", "false"):
        (tmp_path / hidden).mkdir()
        with aifab_run(tmp_path / hidden, SCENARIO + TENTH % hidden) as it:
            it.until("phase slow")
            it.until("accounting for packets")
            now = {c.rate for c in _classes(it, "leaf1-spine1")}
            assert it.end() in {0, 3, 4}, it.text
            assert now == {1_000_000}
            assert _steps(it, "slow") > 2 * _steps(it, "well")
            blamed = [r for r in it.reasons() if r["invariant"] in {"calibration", "link", "ledger"}]
            assert not [r for r in blamed if "leaf1->spine1" in r["text"] or "spine1->leaf1" in r["text"]], blamed
            assert not [r for r in blamed if r["invariant"] == "ledger"], blamed
            predicted[hidden] = {key: p["value"] for key, p in _json(it, "predictions").items()}
    hidden_one, declared = predicted["true"], predicted["false"]
    slow, well = "job.slow.step_time_on_paths", "job.well.step_time_on_paths"
    assert hidden_one[slow] < 1.1 * hidden_one[well]
    assert declared[slow] > 2 * declared[well]
    assert declared[well] == pytest.approx(hidden_one[well])


def _classes(it: RunProcess, link: str) -> list[Any]:
    """The traffic classes of both directions of a link, as the kernel has them now."""
    found = []
    for queue in (q for q in wires.queues(it.inventory) if q.link == link):
        path = f"/run/netns/{queue.netns}"
        index = qdisc.interfaces(path)[queue.device]
        with qdisc.open_socket(path) as sock:
            found += [c for c in qdisc.classes(sock, index) if c.handle == qdisc.TRAFFIC_CLASS]
    return found


FLAPPING = """
name: flapping
question: What does a flapping link lose?
fabric: {name: flapping, leaves: 2, spines: %d, hosts_per_leaf: 1, host_rate: 10mbit}
workloads:
  stream: {kind: udp, pairs: [[h1, h2]], pps: 200, frame: 500, duration: 5s, flows: 16}
events:
  - {at: 500ms, link: leaf1-spine1, flap: {period: 2s, count: 2}}
"""


@pytest.mark.parametrize("spines", [1, 2])
def test_a_flapping_link_goes_down_and_up_and_loses_packets_under_no_other_name(spines: int, tmp_path: Path) -> None:
    """With one spine there is no other path: leaves drop by rules that come and go; packet accounting balances."""
    with aifab_run(tmp_path, FLAPPING % spines) as it:
        it.until("phase main")
        wiring = f"/run/netns/{it.inventory.wiring}"
        device = it.inventory.wires["leaf1-spine1"].a
        for up in (False, True, False, True):
            wait_for(f"{device} {'up' if up else 'down'}", lambda up=up: _is_up(wiring, device) is up, 20)
        assert it.end() in {0, 3, 4}, it.text
        ledger = _json(it, "ledger")
        (sent,) = [r for r in it.records() if r["kind"] == "stream" and r["workload"] == "stream"]
        assert [r for r in it.reasons() if r["invariant"] == "ledger"] == []
    assert ledger["balances"], ledger
    assert sent["sent"] == 1000
    assert set(ledger["fault_losses"]) <= {"leaf1-spine1 down"}
    assert set(ledger["policy_drops"]) <= {"leaf1 no-path:leaf2", "leaf2 no-path:leaf1"}
    assert ledger["lost"] >= sent["sent"] - sent["received"]
    if spines == 1:
        assert sent["sent"] - sent["received"] > 200, "down for two seconds of 200 packets each"


def _is_up(netns: str, device: str) -> bool:
    with inside(netns):
        return is_up(device)


def test_a_slow_rank_computes_longer_and_all_wait_for_it(tmp_path: Path) -> None:
    with aifab_run(tmp_path, SCENARIO + "  - {phase: slow, rank: 2, compute_factor: 5}\n") as it:
        assert it.end() in {0, 3, 4}, it.text
        took = {(r["phase"], r["rank"]): r["end"] - r["start"] for r in it.records() if r["kind"] == "compute"}
        metrics = _json(it, "metrics")
        assert _steps(it, "slow") > _steps(it, "well") + 0.3
    assert 0.5 <= took["slow", 2] < 0.75
    assert all(0.1 <= seconds < 0.35 for key, seconds in took.items() if key != ("slow", 2))
    assert metrics["job.slow.straggler_share"]["value"] > metrics["job.well.straggler_share"]["value"]
    assert metrics["job.slow.gpu_utilisation"]["value"] < metrics["job.well.gpu_utilisation"]["value"]
