"""Declared outages of switches: what packet accounting make of them, and what of them cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.evidence.evidence import faults as windows
from scenarios.evidence.outages import Outage, faults, with_lost_counts
from scenarios.spec.events import History
from scenarios.spec.expected import event_lines
from scenarios.spec.load_scenario import load_scenario
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from topologies.proof.ledger import Counters

FABRIC = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=1, probes=False))
OUTAGES = [Outage("spine2", 1.0, 3.0, {"no-route": 4}, 2), Outage("spine2", 5.0, None, {"no-route": 1})]


def test_a_switchs_outages_are_one_fault_beside_all_of_its_links() -> None:
    (fault,) = faults(OUTAGES, FABRIC, end=9.0)
    assert (fault.name, fault.links, fault.seconds) == ("spine2 down", ("leaf1-spine2", "leaf2-spine2"), 2.0 + 4.0)
    assert fault.switch == "spine2"


def test_leaves_come_before_spines_which_may_only_have_what_is_left() -> None:
    several = [Outage("spine2", 1.0, 2.0), Outage("leaf1", 4.0, 5.0)]
    assert [f.switch for f in faults(several, FABRIC, end=9.0)] == ["leaf1", "spine2"]


def test_each_outage_is_a_window_in_which_the_switch_need_not_be_seen() -> None:
    found = list(windows(History(FABRIC, outages=OUTAGES), FABRIC, end=9.0))
    assert [(f.name, f.start, f.end, f.nodes) for f in found] == [
        ("spine2 down", 1.0, 3.0, ("spine2",)), ("spine2 down", 5.0, 9.0, ("spine2",))]
    assert set(found[0].directions) == {f"{a}->{b}" for a, b in (
        ("leaf1", "spine2"), ("spine2", "leaf1"), ("leaf2", "spine2"), ("spine2", "leaf2"))}


def test_what_a_switch_had_counted_when_it_died_is_added_to_what_it_counted_since() -> None:
    read = Counters({}, {}, {}, overruns={"spine1": 1, "spine2": 3},
                    policy={"spine1": {"no-route": 1}, "spine2": {"no-route": 2}})
    found = with_lost_counts(read, OUTAGES)
    assert found.policy == {"spine1": {"no-route": 1}, "spine2": {"no-route": 7}}
    assert found.overruns == {"spine1": 1, "spine2": 5}
    assert read.policy["spine2"] == {"no-route": 2}, "what was read stays"


SCENARIO = """name: s
question: What?
fabric: small
workloads:
  w: {{kind: udp, pairs: [[h1, h5]], pps: 10, count: 10}}
phases:
  - {{name: first, run: [w]}}
  - {{name: second, run: [w]}}
events:
{events}
"""


def loaded(path: Path, *events: str) -> list[str]:
    """What `aifab check` says of these events."""
    path.write_text(SCENARIO.format(events="\n".join(f"  - {e}" for e in events)))
    return list(event_lines(load_scenario(str(path))))


def test_a_switch_goes_down_comes_up_and_restarts(tmp_path: Path) -> None:
    assert loaded(tmp_path / "s.yml", "{at: 1s, switch: spine2, state: down}",
                  "{phase: second, at: 0s, switch: spine2, state: up}",
                  "{phase: second, at: 500ms, switch: leaf1, state: restart}") == [
        "in phase first after 1 s: spine2 dies", "in phase second after 0 s: spine2 starts again",
        "in phase second after 500 ms: leaf1 dies and starts again"]


@pytest.mark.parametrize(("events", "words"), [
    (["{at: 1s, switch: spine3, state: down}"],
     "s.yml:10 events.0.switch: expected a switch of the fabric: leaf1, leaf2, spine1, spine2; found spine3"),
    (["{at: 1s, switch: h1, state: down}"], "events.0.switch: expected a switch of the fabric"),
    (["{at: 1s, switch: spine2, state: up}"], "events.0.state: expected down or restart; found up"),
    (["{at: 1s, switch: spine2, state: down}", "{phase: second, at: 0s, switch: spine2, state: restart}"],
     "s.yml:11 events.1.state: expected up, after an event that took it down; found restart"),
    (["{at: 2s, switch: spine2, state: up}", "{at: 3s, switch: spine2, state: down}"], "events.0.state"),
    (["{at: 1s, switch: spine2}"], "events.0.state"),
    (["{at: 1s, switch: spine2, state: off}"], "events.0.state: expected down, up or restart; found off"),
    (["{at: 1s, switch: spine2, state: down, link: leaf1-spine1}"], "link"),
])
def test_what_cannot_happen_to_a_switch_is_reported_with_its_line(tmp_path: Path, events: list[str],
                                                                  words: str) -> None:
    with pytest.raises(LabError) as caught:
        loaded(tmp_path / "s.yml", *events)
    assert words in str(caught.value)
