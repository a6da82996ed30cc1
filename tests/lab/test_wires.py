"""Wires on real devices: their rate, their drops, and changes under traffic."""

from __future__ import annotations

import pytest

from scenarios.run.lab import Lab
from tests.lab.fabric_lab import accounting, burst, stream, warm_neighbours
from topologies.links.htb import wires
from topologies.proof.calibrate import settled_rates

pytestmark = [pytest.mark.lab, pytest.mark.alone]


def test_a_rate_that_changes_under_traffic_loses_nothing(small_lab: Lab) -> None:
    """1 kHz, and the wire in its way changes its rate twenty times."""
    warm_neighbours(small_lab, [("h1", "h5")])
    changes = {n: (lambda rate=rate: wires.set_rate(small_lab.inventory, "h5-leaf2", rate))
               for n, rate in zip(range(50, 1050, 50), [4e6, 10e6] * 10, strict=True)}
    with accounting(small_lab) as kept:
        sent, received = stream(small_lab, "h1", "h5", 1100, 0.001, changes)
    assert received == sent == 1100
    assert kept.ledger.lost == 0
    assert kept.ledger.balances, kept.ledger


def test_a_changed_rate_is_the_rate_that_the_wire_then_has(small_lab: Lab) -> None:
    inventory = small_lab.inventory
    wires.set_rate(inventory, "h1-leaf1", 4e6)
    try:
        both = [q for q in wires.queues(inventory) if q.link == "h1-leaf1"]
        assert [c.measured for c in settled_rates(inventory, both)] == pytest.approx([4e6, 4e6], rel=0.03)
    finally:
        wires.set_rate(inventory, "h1-leaf1", 10e6)


def test_a_queue_holds_as_many_frames_as_it_says_and_counts_the_rest(small_lab: Lab) -> None:
    """A slow wire's queue of 10 frames takes a burst of 40: the burst less what waits, and what left meanwhile."""
    inventory, link = small_lab.inventory, small_lab.fabric.link("h6-leaf2")
    warm_neighbours(small_lab, [("h5", "h6")])
    wires.set_rate(inventory, link.name, 1e6)
    wires.set_queue(inventory, link.name, 10 * link.max_frame)
    try:
        with accounting(small_lab) as kept:
            sent, received = burst(small_lab, ["h5"], "h6", 40)
    finally:
        wires.set_queue(inventory, link.name, link.queue)
        wires.set_rate(inventory, link.name, link.rate)
    assert sent - received == kept.ledger.queue_drops["leaf2->h6"] > 0
    assert received >= 10
    assert kept.ledger.balances, kept.ledger


def test_a_change_of_the_queue_leaves_the_hosts_own_alone(small_lab: Lab) -> None:
    inventory, link = small_lab.inventory, small_lab.fabric.link("h7-leaf2")
    wires.set_queue(inventory, link.name, 2 * link.max_frame)
    try:
        with accounting(small_lab) as kept:
            warm_neighbours(small_lab, [("h7", "h8")])
            sent, received = burst(small_lab, ["h7"], "h8", 100)
    finally:
        wires.set_queue(inventory, link.name, link.queue)
    assert received == sent
    assert kept.ledger.queue_drops == {}
