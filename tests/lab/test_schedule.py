"""VPCs that a scenario brings along: applied, changed on schedule under traffic, proved, and reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.evidence.results import RunDirectory
from scenarios.report.data import load
from scenarios.report.tenants import sentences
from tests.lab.run_process import aifab_run

pytestmark = pytest.mark.lab

# h1, h2, h3 on leaf1; h4, h5, h6 on leaf2. Addresses overlap in all three VPCs; to h4 packets of its VPC are routed.
SCENARIO = """
name: tenants
question: What does a move cost the others?
fabric:
  {name: tenants, leaves: 2, spines: 1, hosts_per_leaf: 3, host_rate: 10mbit,
   classes: {gold: {dscp: 10, min: 20%, vpcs: [c]}, bulk: {dscp: 20, min: 30%, max: 90%, vpcs: [a, b]}}}
vpcs:
  - {kind: VPC, metadata: {name: a}, spec: {subnets: {x: {subnet: 10.1.0.0/24}, y: {subnet: 10.1.1.0/24}}}}
  - {kind: VPC, metadata: {name: b}, spec: {subnets: {x: {subnet: 10.1.0.0/24}}}}
  - {kind: VPC, metadata: {name: c}, spec: {subnets: {x: {subnet: 10.1.0.0/24}}}}
  - {kind: VPCAttachment, metadata: {name: h1}, spec: {connection: h1, subnet: a/x}}
  - {kind: VPCAttachment, metadata: {name: h2}, spec: {connection: h2, subnet: a/x}}
  - {kind: VPCAttachment, metadata: {name: h4}, spec: {connection: h4, subnet: a/y}}
  - {kind: VPCAttachment, metadata: {name: h5}, spec: {connection: h5, subnet: b/x}}
  - {kind: VPCAttachment, metadata: {name: h3}, spec: {connection: h3, subnet: c/x}}
  - {kind: VPCAttachment, metadata: {name: h6}, spec: {connection: h6, subnet: c/x}}
workloads:
  before: {kind: collective, op: all-reduce, placement: [h1, h2, h4], size: 100kB, iterations: 1, warmup: 0}
  beside: {kind: collective, op: all-reduce, placement: [h1, h4], size: 100kB, iterations: 1, warmup: 0}
  others: {kind: udp, pairs: [[h3, h6], [h6, h3]], pps: 500, frame: 128, duration: 8s}
  after: {kind: collective, op: all-reduce, placement: [h2, h5], size: 100kB, iterations: 1, warmup: 0}
phases:
  - {name: first, run: [before]}
  - {name: move, run: [beside, others]}
  - {name: last, run: [after]}
schedule:
  - {phase: move, at: 500ms, move: {h2: b/x}}
  - {phase: move, at: 700ms, shares: {gold: {min: 50%}, bulk: {max: 60%}}}
"""


def test_a_host_moves_under_traffic_and_the_report_tells_what_it_cost(tmp_path: Path) -> None:
    with aifab_run(tmp_path, SCENARIO) as it:
        assert it.end() in {3, 4}, it.text
        ledger = json.loads((it.directory / "ledger.json").read_text())
        assert ledger["balances"], ledger
        tenants = json.loads((it.directory / "tenants.json").read_text())
        (change,) = tenants["changes"]
        assert (change["phase"], change["moves"], change["pending"]) == ("move", {"h2": ["a/x", "b/x"]}, [])
        assert 0 < change["rules"] <= change["seconds"]
        assert [p["when"] for p in tenants["proofs"]] == ["at the start", "after phase move"]
        for proof, allowed in zip(tenants["proofs"], (3 * 2 + 2, 2 + 2 + 2), strict=True):
            assert (proof["pairs"], proof["allowed"]) == (6 * 5, allowed)
            assert [*proof["false_allows"], *proof["false_denies"], *proof["uncounted"]] == []
        (shares,) = tenants["shares"]
        assert shares["classes"] == {"gold": {"min": 0.5, "max": 1.0}, "bulk": {"min": 0.3, "max": 0.6}}
        assert not [r for r in it.reasons() if "of gold" in r["text"] or "of bulk" in r["text"]], "a declared change"
        assert "Shares of classes" in (it.directory / "report.html").read_text()
        collectives = {r["workload"] for r in it.records() if r["kind"] == "collective"}
        assert collectives == {"before", "beside", "after"}, "hosts speak by the addresses that they have by then"
        paths = {(r["src"], r["dst"]): r["there"] for r in it.records() if r["kind"] == "path"}
        assert paths["h1", "h4"] == ["h1->leaf1", "leaf1->spine1", "spine1->leaf2", "leaf2->h4"]
        assert set(paths) >= {("h2", "h5"), ("h1", "h2")}
        others = [r for r in it.records() if r["kind"] == "stream" and r["workload"] == "others"]
        assert [(r["sent"], r["lost"]) for r in others] == [(4000, 0)] * 2
        reported = " ".join(sentences(load(RunDirectory.open(it.directory))))
        assert "1 move of 1 host between VPCs took" in reported
        assert "Isolation held in 2 proofs by packets over all 30 pairs of hosts" in reported
        assert "Streams in VPCs without a move (c) lost none of 8,000 packets" in reported
        assert "Isolation, tested by packets" in (it.directory / "report.html").read_text()
        assert it.left() == []
