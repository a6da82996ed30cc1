"""The audit reads the kernel: whatever differs from the spec is a finding, and nothing else is."""

from __future__ import annotations

import os

import pytest

from scenarios.run.lab import Lab
from topologies.lab.shell import tc_batch
from topologies.links.htb import qdisc, wires
from topologies.proof.audit import audit
from topologies.proof.findings import Declared
from topologies.switches.ovs.requirements import SETTINGS

pytestmark = pytest.mark.lab


def _found(lab: Lab, declared: Declared | None = None) -> set[tuple[str, str]]:
    return {(f.where, f.what) for f in (audit(lab.inventory, declared) if declared else audit(lab.inventory))}


def test_a_lab_as_it_was_built_has_no_finding(small_lab: Lab) -> None:
    assert audit(small_lab.inventory) == []


def test_a_rate_is_found_in_both_directions_with_its_numbers(small_lab: Lab) -> None:
    wires.set_rate(small_lab.inventory, "h1-leaf1", 9e6)
    try:
        found = [f for f in audit(small_lab.inventory) if f.what == "rate"]
        declared = _found(small_lab, Declared({"h1-leaf1": 9e6}, {}))
    finally:
        wires.set_rate(small_lab.inventory, "h1-leaf1", 10e6)
    assert {f.where for f in found} == {"h1->leaf1", "leaf1->h1"}
    assert {(f.expected, f.found) for f in found} == {(10e6, 9e6)}
    assert declared == set(), "an event that declared it"
    assert _found(small_lab, Declared({"h1-leaf1": 9e6}, {})), "a declared change that is not there is one too"


def test_a_queue_is_found_where_it_was_changed(small_lab: Lab) -> None:
    limit = small_lab.fabric.link("leaf1-spine1").queue
    wires.set_queue(small_lab.inventory, "leaf1-spine1", limit // 2)
    try:
        assert _found(small_lab) == {("leaf1->spine1", "queue"), ("spine1->leaf1", "queue")}
        assert _found(small_lab, Declared({}, {"leaf1-spine1": limit // 2})) == set()
    finally:
        wires.set_queue(small_lab.inventory, "leaf1-spine1", limit)


def test_a_shaper_that_is_gone_is_found(small_lab: Lab) -> None:
    queue = next(q for q in wires.queues(small_lab.inventory) if q.direction == "leaf1->h2")
    tc_batch([f"qdisc del dev {queue.device} root"], queue.netns)
    try:
        assert {("leaf1->h2", "rate"), ("leaf1->h2", "queue")} <= _found(small_lab)
    finally:
        tc_batch([line for line in wires.wire_lines(small_lab.fabric) if f" dev {queue.device} " in line
                  and "ingress" not in line and "ffff:" not in line], queue.netns)
    assert _found(small_lab) == set()


def test_a_netem_where_the_spec_has_none_is_found(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel would say of one, for kernels that have none; tests/lab/test_kernel.py asks one that has."""
    queue = next(q for q in wires.queues(small_lab.inventory) if q.direction == "leaf1->h2")
    index = qdisc.interfaces(f"/run/netns/{queue.netns}")[queue.device]
    held = qdisc.Netem(index, delay=3e-3, jitter=0, loss=1e-8, reorder=0, duplicate=0, corrupt=0, rate=8_000_000,
                       limit=1000)
    monkeypatch.setattr(qdisc, "impairments", lambda _sock: [held])
    assert [(f.where, f.what, f.unit, f.expected, round(f.found or 0, 9)) for f in audit(small_lab.inventory)] == [
        ("leaf1->h2", "delay", "ms", 0, 3), ("leaf1->h2", "loss", "%", 0, 1e-6),
        ("leaf1->h2", "rate of its netem", "bit/s", 0, 8e6),
        ("leaf1->h2", "limit of its netem", "packets", wires.NETEM_LIMIT, 1000)]


def test_a_switch_at_another_priority_is_named(small_lab: Lab) -> None:
    pid = small_lab.inventory.switches["spine2"].pid
    os.setpriority(os.PRIO_PROCESS, pid, 5)
    try:
        (finding,) = audit(small_lab.inventory)
    finally:
        os.setpriority(os.PRIO_PROCESS, pid, 0)
    assert (finding.where, finding.what, finding.expected, finding.found) == ("switch spine2", "nice value", 0, 5)


def test_a_switch_held_to_fewer_processors_is_named(small_lab: Lab) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one processor: nothing to take away")
    pid = small_lab.inventory.switches["leaf2"].pid
    os.sched_setaffinity(pid, {min(cores)})
    try:
        assert _found(small_lab) == {("switch leaf2", "processors")}
    finally:
        os.sched_setaffinity(pid, cores)


def test_sockets_smaller_than_the_settings_ask_are_found(
        small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: the sockets stay, and what they should have had grows."""
    monkeypatch.setitem(SETTINGS, "net.core.wmem_default", 2 * SETTINGS["net.core.wmem_default"])
    found = _found(small_lab)
    assert found == {(f"switch {s}", "send buffer of its port sockets") for s in small_lab.inventory.switches}
