"""Weighted paths on real switches: flows follow a link's rate, only those that must, and a run's events tell it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scenarios.evidence.observe import observed_paths
from tests.lab.controller_lab import Lab
from tests.lab.run_process import aifab_run
from topologies.lab.network import running
from topologies.links.htb import wires
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab
FLOWS = 256
SLOW = "leaf1-spine3"


def spines(lab: Lab) -> list[str]:
    """Where the switches say that the flows of a pair go, leaf1 to leaf2."""
    flows = [{"workload": "w", "src": "h1", "dst": "h3", "ranks": (0, 1), "number": n, "protocol": "tcp",
              "sport": 20000 + n, "dport": 9000} for n in range(FLOWS)]
    return [p.there[1].split("->")[1] for p in observed_paths(lab.net.inventory, flows, "p")]


def test_a_slower_uplink_gets_fewer_flows_and_gets_the_same_ones_back() -> None:
    with running(FabricSpec(name="weighted", leaves=2, spines=4, hosts_per_leaf=2, probes=False,
                            paths="weighted")) as net:
        lab = Lab(net)
        lab.start()
        try:
            before = spines(lab)
            lab.client.set_rates({SLOW: net.fabric.links_by_name[SLOW].rate / 4})
            slower = spines(lab)
            lab.client.set_rates({})
            after = spines(lab)
        finally:
            lab.kill()
    assert min(Counter(before).values()) > FLOWS / 4 / 2
    assert 0 < Counter(slower)["spine3"] < FLOWS / 13 * 2
    assert {was for was, now in zip(before, slower, strict=True) if was != now} == {"spine3"}
    assert after == before


def test_a_killed_controller_comes_back_with_the_rates_that_it_was_given() -> None:
    with running(FabricSpec(name="weighted", leaves=2, spines=4, hosts_per_leaf=2, probes=False,
                            paths="weighted")) as net:
        lab = Lab(net)
        lab.start()
        try:
            before = lab.installed()
            quarter = net.fabric.links_by_name[SLOW].rate / 4
            wires.set_rate(net.inventory, SLOW, quarter)
            lab.client.set_rates({SLOW: quarter})
            slower, flows = lab.installed(), spines(lab)
            sent = lab.restart()
            assert lab.client.health()["rates"] == {SLOW: quarter}
            assert (lab.installed(), spines(lab)) == (slower, flows)
            assert {(s["flow_mods"], s["group_mods"]) for s in sent.values()} == {(0, 0)}
            lab.client.set_rates({})
            lab.restart()
            assert lab.installed() == before
        finally:
            lab.kill()
    assert slower != before


SCENARIO = """
name: weighted
question: Do flows leave a link that has become slow?
fabric: {name: weighted, leaves: 2, spines: 2, hosts_per_leaf: 2, host_rate: 5mbit, paths: weighted}
workloads:
  job: {kind: collective, size: 100kB, iterations: 2, warmup: 0, flows_per_pair: 16, placement: strided}
phases:
  - {name: well, run: [job]}
  - {name: slow, run: [job]}
  - {name: after, run: [job]}
events:
  - {phase: slow, at: 0s, link: leaf1-spine1, rate: 600kbit}
"""


def test_an_event_that_slows_a_link_moves_the_flows_of_the_phases_behind_it(tmp_path: Path) -> None:
    with aifab_run(tmp_path, SCENARIO) as it:
        assert it.end() in {0, 3, 4}, it.text
        paths = [r for r in it.records() if r["kind"] == "path"]
    through = {phase: sum("leaf1->spine1" in (*r["there"], *r["back"]) for r in paths if r["phase"] == phase)
               for phase in ("well", "after")}
    assert through["well"] > 10, through
    assert through["after"] < through["well"] / 2, through
