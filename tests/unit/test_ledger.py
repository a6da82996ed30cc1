"""Packet accounting on paper: one link and one switch at a time, with counters made by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from topologies.proof.ledger import FRAME_FLOOR, Counters, Fault, Ledger, QueueCount, balance, bound
from topologies.switches.ovs.hops import walk

FABRIC = expand(FabricSpec(name="accounting", leaves=1, spines=1, hosts_per_leaf=2, probes=False))
WIRES = {k.name: (f"w{i}a", f"w{i}b") for i, k in enumerate(FABRIC.links)}
NOTHING = Counters({}, {}, {}, {}, {})
IN, OUT = "leaf1-eth101", "leaf1-eth102"


def _moved(sent: int, *, at_host: int = 0, at_queue: int = 0, by_rule: int = 0, overrun: int = 0) -> Counters:
    """h1 gives `sent` packets to its queue for h2; each named loss takes some of them, all is counted."""
    on_wire = sent - at_host
    forwarded = on_wire - by_rule - overrun
    arrived = forwarded - at_queue
    return Counters(
        received={"wires/w0a": on_wire, f"leaf1/{IN}": on_wire, "wires/w1b": forwarded, "h2/h2-eth0": arrived},
        sent={"h1/h1-eth0": on_wire, "wires/w0b": on_wire, f"leaf1/{OUT}": forwarded, "wires/w1a": arrived},
        queues={"h1->leaf1": QueueCount(on_wire, at_host), "leaf1->h2": QueueCount(arrived, at_queue)},
        overruns={"leaf1": overrun}, policy={"leaf1": {"spoof:h1": by_rule}})


def _closed(after: Counters, before: Counters = NOTHING, *faults: Fault) -> Ledger:
    return balance(FABRIC, partial(walk, WIRES), before, after, faults)


def test_nothing_closes() -> None:
    ledger = _closed(NOTHING)
    assert ledger.balances
    assert (ledger.sent, ledger.received, ledger.lost) == (0, 0, 0)


@given(st.integers(1000, 5000), *(st.integers(0, 200) for _ in range(4)))
def test_every_named_loss_is_reported_by_its_place_and_the_books_close(
        sent: int, host: int, queue: int, rule: int, overrun: int) -> None:
    ledger = _closed(_moved(sent, at_host=host, at_queue=queue, by_rule=rule, overrun=overrun))
    assert ledger.balances
    assert ledger.sent == sent == ledger.received + host + queue + rule + overrun
    assert ledger.queue_drops == {d: n for d, n in (("h1->leaf1", host), ("leaf1->h2", queue)) if n}
    assert ledger.policy_drops == ({"leaf1 spoof:h1": rule} if rule else {})
    assert ledger.emulator_drops == ({"leaf1 (port sockets)": overrun} if overrun else {})


def test_only_the_difference_of_the_two_moments_counts() -> None:
    before, after = _moved(1000, at_queue=10, by_rule=3), _moved(1500, at_queue=25, by_rule=3)
    ledger = _closed(after, before)
    assert (ledger.sent, ledger.received, ledger.queue_drops) == (500, 485, {"leaf1->h2": 15})
    assert ledger.policy_drops == {}
    assert ledger.balances


@pytest.mark.parametrize(("counter", "key", "place"), [
    ("received", "wires/w0a", "h1->leaf1 (into the wire)"),
    ("sent", "wires/w0b", "h1->leaf1 (in the wire)"),
    ("received", f"leaf1/{IN}", "h1->leaf1 (out of the wire)"),
    ("received", "wires/w1b", "leaf1->h2 (into the wire)"),
    ("sent", "wires/w1a", "leaf1->h2 (behind the queue)"),
    ("received", "h2/h2-eth0", "leaf1->h2 (out of the wire)"),
])
def test_a_packet_that_nobody_counted_is_unexplained_at_its_hop(counter: str, key: str, place: str) -> None:
    """One counter that misses a packet: the hop before it lost one, or the hop after it has one too many."""
    after = _moved(100)
    after = replace(after, **{counter: {**getattr(after, counter), key: 99}})
    ledger = _closed(after)
    assert ledger.unexplained[place] == 1
    assert not ledger.balances


def test_a_loss_inside_a_switch_is_placed_there() -> None:
    after = _moved(100, by_rule=7)
    ledger = _closed(replace(after, policy={}))
    assert ledger.unexplained == {"leaf1 (inside the switch)": 7}
    assert not ledger.balances


def test_packets_still_waiting_keep_the_books_open() -> None:
    after = _moved(100)
    queues = {**after.queues, "leaf1->h2": QueueCount(98, 0, 2)}
    ledger = _closed(replace(after, queues=queues, sent={**after.sent, "wires/w1a": 98},
                             received={**after.received, "h2/h2-eth0": 98}))
    assert ledger.in_queues == 2
    assert ledger.unexplained == {}
    assert not ledger.balances


FAULT = Fault("h2 cut", ("h2-leaf1",), 0.5)


def _cut(lost: int) -> Counters:
    after = _moved(1000)
    return replace(after, received={**after.received, "wires/w1b": 1000 - lost, "h2/h2-eth0": 1000 - lost},
                   queues={**after.queues, "leaf1->h2": QueueCount(1000 - lost)},
                   sent={**after.sent, "wires/w1a": 1000 - lost})


def test_a_loss_beside_a_declared_fault_has_its_name() -> None:
    ledger = _closed(_cut(40), NOTHING, FAULT)
    assert ledger.fault_losses == {"h2 cut": 40}
    assert ledger.balances


@pytest.mark.parametrize(("switch", "reported"), [
    ("", {"outage": 7}), ("leaf1", {"outage": 7}), ("spine1", {})])
def test_what_a_switch_loses_is_its_own_outage_and_not_that_of_the_switch_beside_it(
        switch: str, reported: dict[str, int]) -> None:
    """A link that is down takes both of its ends along."""
    after = replace(_moved(100, by_rule=7), policy={})
    ledger = _closed(after, NOTHING, Fault("outage", ("leaf1-spine1",), 1.0, switch))
    assert ledger.fault_losses == reported
    assert ledger.balances == bool(reported)


def test_a_fault_elsewhere_excuses_nothing() -> None:
    elsewhere = Fault("uplink cut", ("leaf1-spine1",), 0.5)
    after = replace(_moved(100), received={**_moved(100).received, "wires/w0a": 95})
    ledger = _closed(after, NOTHING, elsewhere)
    assert ledger.fault_losses == {}
    assert sum(ledger.unexplained.values()) == 0, "it is counted again behind the hop"
    assert ledger.unexplained["h1->leaf1 (into the wire)"] == 5
    assert not ledger.balances


def test_more_than_a_fault_can_swallow_stays_unexplained() -> None:
    limit = bound(FABRIC, FAULT)
    link = FABRIC.link("h2-leaf1")
    assert limit == int(2 * (link.queue + link.rate / 8 * 0.5) / FRAME_FLOOR) + 1
    after = _moved(10 * limit)
    missing = limit + 1
    after = replace(after, received={**after.received, "h2/h2-eth0": 10 * limit - missing})
    ledger = _closed(after, NOTHING, FAULT)
    assert ledger.fault_losses == {}
    assert ledger.unexplained == {"leaf1->h2 (out of the wire)": missing}


def test_more_packets_out_than_in_are_never_a_faults() -> None:
    after = _moved(100)
    after = replace(after, received={**after.received, "h2/h2-eth0": 103})
    ledger = _closed(after, NOTHING, FAULT)
    assert ledger.unexplained == {"leaf1->h2 (out of the wire)": -3}
    assert not ledger.balances


WIDE = expand(FabricSpec(name="wide", leaves=3, spines=1, hosts_per_leaf=1, probes=False))
WIDE_WIRES = {k.name: (f"w{i}a", f"w{i}b") for i, k in enumerate(WIDE.links)}
UPLINK_DOWN = Fault("leaf1-spine1 down", ("leaf1-spine1",), 0.5)


def _cut_off(dropped: int, counted: int, *faults: Fault, rule: str = "no-path:leaf1") -> Ledger:
    """h2 sends 1000 packets, its leaf drops some for want of a path and has counted another number of them."""
    up, down = WIDE_WIRES["h2-leaf2"]
    after = Counters(
        received={f"wires/{up}": 1000, f"leaf2/{WIDE.access_link('h2').b.interface}": 1000},
        sent={"h2/h2-eth0": 1000, f"wires/{down}": 1000, "leaf2/leaf2-eth1": 1000 - dropped},
        queues={"h2->leaf2": QueueCount(1000, 0), "leaf2->spine1": QueueCount(1000 - dropped)},
        overruns={}, policy={"leaf2": {rule: counted}})
    passed = 1000 - dropped     # on to h3
    hops = (("leaf2-spine1", "spine1/spine1-eth2", "spine1/spine1-eth3"),
            ("leaf3-spine1", "leaf3/leaf3-eth1", f"leaf3/{WIDE.access_link('h3').b.interface}"),
            ("h3-leaf3", "h3/h3-eth0", ""))
    received, sent, queues = dict(after.received), dict(after.sent), dict(after.queues)
    for link, into, out in hops:
        a, b = WIDE_WIRES[link]
        entry, leave = (a, b) if link == "leaf2-spine1" else (b, a)
        received |= {f"wires/{entry}": passed, into: passed}
        sent |= {f"wires/{leave}": passed} | ({out: passed} if out else {})
    queues |= {"spine1->leaf3": QueueCount(passed), "leaf3->h3": QueueCount(passed)}
    everything = replace(after, received=received, sent=sent, queues=queues)
    return balance(WIDE, partial(walk, WIDE_WIRES), NOTHING, everything, faults)


@pytest.mark.parametrize("counted", [60, 130])
def test_drops_for_want_of_a_path_that_the_switch_counted_inexactly_are_the_faults_all_the_same(counted: int) -> None:
    """It credits packets late, to the rule that it finds then."""
    ledger = _cut_off(100, counted, UPLINK_DOWN)
    assert ledger.balances, ledger
    assert (ledger.fault_losses, ledger.policy_drops) == ({"leaf1-spine1 down": 100}, {})


def test_drops_for_want_of_a_path_that_were_counted_right_keep_their_name() -> None:
    ledger = _cut_off(100, 100, UPLINK_DOWN)
    assert ledger.balances, ledger
    assert (ledger.fault_losses, ledger.policy_drops) == ({}, {"leaf2 no-path:leaf1": 100})


@pytest.mark.parametrize(("faults", "rule"), [
    ((), "no-path:leaf1"), ((Fault("elsewhere", ("leaf3-spine1",), 0.5),), "no-path:leaf1"),
    ((Fault("a host's", ("h1-leaf1",), 0.5),), "no-path:leaf1"), ((UPLINK_DOWN,), "spoof:h2")])
def test_no_other_rule_and_no_other_fault_excuses_a_switch(faults: tuple[Fault, ...], rule: str) -> None:
    ledger = _cut_off(100, 60, *faults, rule=rule)
    assert ledger.unexplained == {"leaf2 (inside the switch)": 40}
    assert ledger.policy_drops == {f"leaf2 {rule}": 60}


def test_more_than_the_fault_can_have_swallowed_is_not_excused_by_a_drop_rule() -> None:
    short = Fault("leaf1-spine1 down", ("leaf1-spine1",), 0.0)
    limit = bound(WIDE, short)
    ledger = _cut_off(0, limit + 1, short)
    assert ledger.unexplained == {"leaf2 (inside the switch)": -limit - 1}


def test_receive_errors_of_a_host_are_reported_and_are_no_loss_of_the_network() -> None:
    ledger = _closed(replace(_moved(100), host_errors={"h2": 12, "h1": 0}))
    assert ledger.receive_errors == {"h2": 12}
    assert ledger.balances
