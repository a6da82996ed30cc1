"""What a report says of VPCs follows from what was found: other findings, other sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.evidence.results import RunDirectory
from scenarios.report import answer
from scenarios.report.data import load
from scenarios.report.page import build
from scenarios.report.tenants import beside, sentences
from scenarios.spec.scenario import Scenario
from tests.unit import run_factory
from tests.unit.intents import attach, vpc

VPCS = [vpc("a", {"x": "10.1.0.0/24"}), vpc("b", {"x": "10.1.0.0/24"}), vpc("c", {"x": "10.1.0.0/24"}),
        attach("h1", "a/x"), attach("h2", "a/x"), attach("h5", "b/x"), attach("h3", "c/x"), attach("h7", "c/x")]
PROOF = {"t": 1.0, "when": "at the start", "pairs": 56, "allowed": 8, "denied": 48, "drops": 40, "false_allows": [],
         "false_denies": [], "uncounted": [], "seconds": 0.5}
CHANGE = {"t": 5.0, "phase": "main", "version": 2, "rules": 0.04, "seconds": 0.09, "pending": [],
          "moves": {"h2": ["a/x", "b/x"]}}


def stream(src: str, dst: str, lost: int = 0) -> dict[str, Any]:
    return {"kind": "stream", "workload": "w", "phase": "main", "stream": f"w/{src}", "src": src, "dst": dst,
            "sent": 1000, "received": 1000 - lost, "lost": lost}


def run(path: Path, tenants: dict[str, Any], *records: dict[str, Any]) -> RunDirectory:
    spec = run_factory.scenario().model_dump(mode="json")
    spec |= {"vpcs": VPCS, "schedule": [{"at": "1s", "move": {"h2": "b/x"}}]}
    made = run_factory.make(path, Scenario.model_validate(spec), records=list(records))
    made.write("tenants", tenants)
    return made


def reported(path: Path, proof: dict[str, Any], *records: dict[str, Any]) -> str:
    return " ".join(sentences(load(run(path, {"changes": [CHANGE], "proofs": [PROOF | proof]}, *records))))


def test_moves_are_reported_with_their_times(tmp_path: Path) -> None:
    assert "1 move of 1 host between VPCs took 90 ms each; all switches held the new rules after 40 ms." in \
        reported(tmp_path, {})


def test_isolation_that_held_is_reported_with_what_was_tested(tmp_path: Path) -> None:
    text = reported(tmp_path, {})
    assert "Isolation held in 1 proof by packets over all 56 pairs of hosts" in text
    assert "40 packets of the proofs were dropped by policy, as they should be" in text


@pytest.mark.parametrize(("proof", "words"), [
    ({"false_allows": [{"source": "h1", "target": "h3", "heard": "h3", "reason": "r"}]},
     "1 packet got through that policy should have dropped (first h1->h3 at the start)"),
    ({"false_denies": [{"source": "h1", "target": "h2", "reason": "r"}] * 2},
     "2 allowed pairs did not get through (first h1->h2 at the start)"),
    ({"uncounted": [{"switch": "leaf1", "rule": "spoof:h1", "expected": 2, "counted": 1}]},
     "1 drop rule counted too few packets")])
def test_isolation_that_did_not_hold_is_reported_as_that(tmp_path: Path, proof: dict[str, Any], words: str) -> None:
    text = reported(tmp_path, proof)
    assert "Isolation held" not in text
    assert f"Isolation failed in 1 proof by packets over all 56 pairs of hosts: {words}." in text


@pytest.mark.parametrize(("lost", "words"), [(0, "lost none of 1,000 packets"), (3, "lost 3 of 1,000 packets")])
def test_only_streams_of_vpcs_that_no_move_touched_stand_for_its_cost(tmp_path: Path, lost: int, words: str) -> None:
    text = reported(tmp_path, {}, stream("h3", "h7", lost), stream("h1", "h2", 500))
    assert f"Streams in VPCs without a move (c) {words} meanwhile." in text


def test_a_stream_from_an_untouched_vpc_into_a_touched_one_is_not_counted(tmp_path: Path) -> None:
    made = run(tmp_path, {"changes": [CHANGE], "proofs": [PROOF]}, stream("h3", "h5"))
    assert beside(load(made)) == []


def test_the_page_and_the_answer_have_moves_proofs_and_losses(tmp_path: Path) -> None:
    made = run(tmp_path, {"changes": [CHANGE], "proofs": [PROOF]}, stream("h3", "h7"))
    page = build(made)
    for words in ("Isolation, tested by packets", "<td>h2</td><td>a/x</td><td>b/x</td><td>40 ms</td><td>90 ms</td>",
                  "Streams in VPCs without a move"):
        assert words in page
    assert any("Isolation held" in s for s in answer.sentences(load(made)))


def test_a_run_without_vpcs_says_nothing_of_them(tmp_path: Path) -> None:
    made = run_factory.make(tmp_path)
    assert sentences(load(made)) == []
    assert not [m for m in load(made).missing if m.startswith("tenants")]
    assert 'id="vpcs"' not in build(made)


def test_a_run_whose_proofs_are_missing_says_so(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json") | {"vpcs": VPCS}
    data = load(run_factory.make(tmp_path, Scenario.model_validate(spec)))
    assert any(m.startswith("tenants: ") for m in data.missing)
