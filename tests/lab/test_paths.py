"""Where flows go, what they get there, and who held them up: asked, predicted and found in real runs.

Timing is left to the benchmark `training`: here only what a busy machine cannot change.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.lab.run_process import RunProcess, aifab_run
from topologies.links.htb import wires
from traffic.runtime.counters import Counters

pytestmark = pytest.mark.lab

EXCHANGE = """
name: paths
question: Where do the flows go?
fabric: {name: paths, leaves: 2, spines: 4, hosts_per_leaf: 2, host_rate: 10mbit}
workloads:
  exchange: {kind: collective, op: all-to-all, size: 1200kB, flows_per_pair: 3, iterations: 2, warmup: 0}
"""
SLOW = """
name: slow-uplink
question: Which link is it?
fabric: {name: slow-uplink, leaves: 2, spines: 2, hosts_per_leaf: 2, host_rate: 10mbit, uplink_rate: 10.6mbit}
workloads:
  ring: {kind: collective, size: 400kB, flows_per_pair: 4, iterations: 2, warmup: 0, placement: strided}
phases:
  - {name: healthy, run: [ring]}
  - {name: broken, run: [ring]}
"""


def read(it: RunProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((it.directory / name).read_text())
    return found


def test_packets_take_the_paths_that_the_switches_were_asked_for(tmp_path: Path) -> None:
    """Every uplink carries the bytes of the connections whose path leads over it, headers and ACKs included."""
    with aifab_run(tmp_path, EXCHANGE) as it:
        assert it.end() in {0, 3, 4}, it.text
        records, counters = it.records(), Counters.read(it.directory / "counters.jsonl")
    payload = {(c["src"], c["dst"], c["sport"]): c["bytes"] for c in records if c["kind"] == "connection"}
    paths = [p for p in records if p["kind"] == "path"]
    assert len(paths) == len(payload) == 4 * 3 * 3
    expected: Counter[str] = Counter()
    for p in paths:
        size = payload[p["src"], p["dst"], p["sport"]]
        expected.update(dict.fromkeys(p["there"], size * 1564 / 1448))
        expected.update(dict.fromkeys(p["back"], size * 116 / 1448 / 2))      # an ACK for two segments
    moved = dict(zip(counters.directions, counters.bytes[-1] - counters.bytes[0], strict=True))
    uplinks = [d for d in counters.directions if "spine" in d]
    assert len({d for p in paths for d in p["there"] if d.startswith("leaf1->spine")}) > 1, "else there is no choice"
    for d in uplinks:
        assert moved[d] == pytest.approx(expected[d], rel=0.1, abs=20_000), d


def test_a_slow_uplink_behind_the_specs_back_is_named_from_counters_and_never_valid(tmp_path: Path) -> None:
    """Nothing but the wire knows of it: no event, no spec, no prediction."""
    with aifab_run(tmp_path, SLOW) as it:
        it.until("phase broken")
        wires.set_rate(it.inventory, "leaf2-spine1", 1.06e6)
        assert it.end() in {3, 4}, it.text
        reasons = it.reasons()
        metrics, report = read(it, "metrics.json"), (it.directory / "report.html").read_text()
        predictions = read(it, "predictions.json")
    assert [r for r in reasons if "leaf2->spine1" in r["text"]], "a wire at another rate than its spec's is reported"
    assert metrics["fabric.broken.bottleneck_link"]["where"] in {"leaf2->spine1", "spine1->leaf2"}
    assert metrics["fabric.broken.bottleneck_link_rate"]["value"] == pytest.approx(1.06e6, rel=0.1)
    # some link paces a sound fabric too, at its own rate
    healthy = metrics["fabric.healthy.bottleneck_link_rate"]["value"]
    assert healthy > 3 * metrics["fabric.broken.bottleneck_link_rate"]["value"]
    assert any(f"In phase broken, {link} was the bottleneck link" in report for link in ("leaf2→spine1",
                                                                                         "spine1→leaf2"))
    assert metrics["ring.broken.step_time"]["value"] > 3 * predictions["ring.broken.step_time_on_paths"]["value"]


@pytest.mark.parametrize("hidden", [False, True])
def test_the_model_knows_what_an_event_declares_and_not_what_it_hides(tmp_path: Path, hidden: bool) -> None:
    event = f"events: [{{phase: broken, at: 0s, link: leaf2-spine1, rate: 1.06mbit, hidden: {str(hidden).lower()}}}]\n"
    with aifab_run(tmp_path, SLOW + event) as it:
        assert it.end() in {0, 3, 4}, it.text
        metrics, predictions = read(it, "metrics.json"), read(it, "predictions.json")
        written = {p["phase"] for p in it.records() if p["kind"] == "path"}
    assert written == {"healthy", "broken"}
    healthy, broken = (predictions[f"ring.{phase}.step_time_on_paths"]["value"] for phase in ("healthy", "broken"))
    assert broken == healthy if hidden else broken > 3 * healthy
    assert metrics["ring.broken.step_time"]["value"] > 0.8 * (3 if hidden else 1) * broken
    assert metrics["fabric.broken.bottleneck_link"]["where"] in {"leaf2->spine1", "spine1->leaf2"}


def test_the_prediction_stands_before_any_byte_of_the_phase_has_moved(tmp_path: Path) -> None:
    """A run that is ended when its traffic begins has the phase's prediction, and no step."""
    with aifab_run(tmp_path, EXCHANGE) as it:
        it.until("traffic")
        assert "exchange.step_time_on_paths" in read(it, "predictions.json")
        assert not [r for r in it.records() if r["kind"] == "step"]
