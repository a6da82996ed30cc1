"""A lab on the fabric engine: our controller's rules on it, every packet accounted for, changes under traffic,
captures, deaths."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.run.lab import Lab, lab
from scenarios.run.waits import wait_for
from tests.lab.fabric_lab import SMALL, Traces, accounting, burst, warm_neighbours
from topologies.lab.journal import process_start
from topologies.model.spec import ClassSpec
from topologies.proof.audit import audit
from topologies.proof.calibrate import calibrate
from topologies.proof.findings import NOTHING_DECLARED, Declared
from topologies.proof.ledger import Fault
from topologies.switches.datapaths import datapath_of
from topologies.switches.engine import process

pytestmark = pytest.mark.lab

SPEC = SMALL.model_copy(update={"name": "engine", "datapath": "engine"})
PING = "ping -n -c1 -W2"


@pytest.fixture(scope="module")
def engine_lab() -> Iterator[Lab]:
    """Two leaves, two spines, h1 to h8 at 10 Mbit/s, on the engine. Leave it as you found it."""
    with lab(SPEC) as it:
        yield it


def answers(it: Lab, source: str, target: str) -> bool:
    return "1 received" in it.net.get(source).cmd(PING, it.fabric.host(target).ip)


def settled(it: Lab) -> bool:
    health = it.controller.health()
    return bool(health["converged"] and not health["dead"] and not health["down"])


def test_hosts_reach_each_other_and_each_packet_is_accounted_for(engine_lab: Lab) -> None:
    with accounting(engine_lab) as kept:
        assert engine_lab.net.pingAll(timeout="2") == 0
    assert kept.ledger.balances, kept.ledger
    assert kept.ledger.received > 100


def test_an_incast_loses_what_one_queue_names_and_nothing_else(engine_lab: Lab) -> None:
    sources = ["h1", "h2", "h3"]
    warm_neighbours(engine_lab, [(s, "h5") for s in sources])
    with accounting(engine_lab) as kept:
        sent, received = burst(engine_lab, sources, "h5", 400)
    assert kept.ledger.balances, kept.ledger
    uplinks = {"leaf1->spine1", "leaf1->spine2"}       # one of them drops too where ECMP takes two senders to it
    assert "leaf2->h5" in set(kept.ledger.queue_drops) <= {"leaf2->h5", *uplinks}
    assert sent - received == sum(kept.ledger.queue_drops.values()) > 0


def test_a_sender_that_is_too_fast_waits_in_its_own_socket(engine_lab: Lab) -> None:
    """400 full datagrams take half a second at 10 Mbit/s: more than its socket holds."""
    warm_neighbours(engine_lab, [("h1", "h2")])
    with accounting(engine_lab) as kept:
        sent, received = burst(engine_lab, ["h1"], "h2", 400)
    assert (received, kept.ledger.lost) == (sent, 0)


def test_the_calibration_finds_each_rate_and_each_round_trip_and_the_audit_nothing(engine_lab: Lab) -> None:
    found = calibrate(engine_lab.inventory, 1)
    assert [r for r in found.rates if not r.within] == []
    assert [r for r in found.rtts if not r.within] == []
    assert audit(engine_lab.inventory) == []


def test_a_rate_a_queue_and_a_cable_change_under_traffic_and_the_audit_expects_what_was_declared(
        engine_lab: Lab) -> None:
    it, datapath = engine_lab, datapath_of(engine_lab.inventory)
    warm_neighbours(it, [("h1", "h2")])
    try:
        with accounting(it) as kept:
            datapath.set_rate(it.inventory, "h1-leaf1", 5e6)
            datapath.set_queue(it.inventory, "h1-leaf1", 20_000)
            sent, received = burst(it, ["h1"], "h2", 100)
        assert (received, kept.ledger.lost) == (sent, 0)
        assert {f.what for f in audit(it.inventory)} == {"rate", "queue 0", "queue 7"}
        assert audit(it.inventory, Declared({"h1-leaf1": 5e6}, {"h1-leaf1": 20_000})) == []
    finally:
        datapath.set_rate(it.inventory, "h1-leaf1", 10e6)
        datapath.set_queue(it.inventory, "h1-leaf1", it.fabric.link("h1-leaf1").queue)
    assert audit(it.inventory, NOTHING_DECLARED) == []


def test_a_pulled_cable_takes_the_hosts_carrier_and_traffic_another_path(engine_lab: Lab) -> None:
    it, datapath = engine_lab, datapath_of(engine_lab.inventory)
    carrier = "cat /sys/class/net/h1-eth0/carrier || ip -br link show h1-eth0"
    with accounting(it) as kept:
        datapath.set_state(it.inventory, "leaf1-spine1", up=False)
        wait_for("the controller to know", lambda: "leaf1-spine1" in it.controller.health()["down"], 5.0, "", 0.02)
        assert all(answers(it, source, "h8") for source in ("h1", "h2", "h3", "h4"))
        datapath.set_state(it.inventory, "leaf1-spine1", up=True)
        wait_for("the cable to be in", lambda: settled(it), 5.0, "", 0.02)
        kept.faults.append(Fault("leaf1-spine1 down", ("leaf1-spine1",), 5.0))
    assert kept.ledger.balances, kept.ledger
    datapath.set_state(it.inventory, "h1-leaf1", up=False)
    assert "NO-CARRIER" in it.net.get("h1").cmd("ip -br link show h1-eth0"), carrier
    datapath.set_state(it.inventory, "h1-leaf1", up=True)
    wait_for("h1 to answer", lambda: answers(it, "h1", "h2"), 10.0, "", 0.1)


def test_a_spine_that_loses_its_power_is_dead_to_the_controller_and_gets_its_rules_again(engine_lab: Lab) -> None:
    it, datapath = engine_lab, datapath_of(engine_lab.inventory)
    with accounting(it) as kept:
        datapath.kill(it.inventory, "spine1")
        assert datapath.pid_of(it.inventory, "spine1") == 0
        wait_for("the controller to know", lambda: "spine1" in it.controller.health()["dead"], 5.0, "", 0.02)
        assert all(answers(it, source, "h7") for source in ("h1", "h2", "h3", "h4"))
        assert datapath.start_again(it.inventory, "spine1") == datapath.pid_of(it.inventory, "spine2")
        wait_for("its rules", lambda: settled(it), 10.0, "", 0.02)
        kept.faults.append(Fault("spine1 down", tuple(k.name for k in it.fabric.links_of("spine1")), 5.0, "spine1"))
    assert kept.ledger.balances, kept.ledger
    assert it.net.pingAll(timeout="2") == 0


def test_a_link_is_captured_with_outer_headers(engine_lab: Lab) -> None:
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415 - slow to import
    from scapy.layers.l2 import Ether  # noqa: PLC0415
    from scapy.utils import PcapReader  # noqa: PLC0415

    it, datapath = engine_lab, datapath_of(engine_lab.inventory)
    command = datapath.capture_command(it.inventory, "leaf2->h5", 1)
    outside = [datapath.capture_command(it.inventory, f"leaf1-{spine}", 1) for spine in ("spine1", "spine2")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as inner:
        outer = [subprocess.Popen(words, stdout=subprocess.PIPE) for words in outside]
        processes = [inner, *outer]
        time.sleep(1.0)     # until they listen: nothing tells
        for _ in range(20):
            for host in ("h1", "h2", "h3", "h4"):
                answers(it, host, "h5")
            if all(p.poll() is not None for p in processes):
                break
        said = [p.communicate(timeout=10)[0] for p in processes]
    assert all(struct.unpack_from("<I", text)[0] == 0xA1B23C4D for text in said)
    with PcapReader(_file(said[0])) as reader:
        assert reader.read_packet()[Ether].type in {0x0800, 0x0806}
    for text in said[1:]:
        with PcapReader(_file(text)) as reader:
            frame = reader.read_packet()
            assert frame[IP].src.startswith("10.255.")
            assert frame[UDP].dport == 4789


def _file(content: bytes) -> object:
    import io  # noqa: PLC0415

    return io.BytesIO(content)


def test_classes_share_a_link_by_their_minima() -> None:
    classes = {"gold": ClassSpec(dscp=10, min="60%"), "bulk": ClassSpec(dscp=20, min="20%", max="50%")}
    spec = SPEC.model_copy(update={"name": "shares", "classes": classes, "leaves": 1, "spines": 1})
    with lab(spec) as it:
        datapath = datapath_of(it.inventory)
        assert datapath.shares(it.inventory) == classes
        assert audit(it.inventory) == []
        changed = classes | {"gold": ClassSpec(dscp=10, min="30%", max="70%")}
        datapath.set_shares(it.inventory, changed)
        assert datapath.shares(it.inventory) == changed
        assert audit(it.inventory, Declared({}, {}, changed)) == []
        assert {f.what for f in audit(it.inventory)} >= {"min of queue 1", "max of queue 1"}
        assert it.net.pingAll(timeout="2") == 0


def test_fast_hosts_lose_what_their_ring_has_no_room_for_by_name() -> None:
    spec = SPEC.model_copy(update={"name": "fast", "host_rate": 60e6, "probes": False})
    with lab(spec) as it:
        warm_neighbours(it, [("h1", "h5")])
        with accounting(it) as kept:
            sent, received = burst(it, ["h1"], "h5", 2000)
        assert kept.ledger.balances, kept.ledger
        assert set(kept.ledger.queue_drops) <= {"h1->leaf1"}
        assert sent - received == sum(kept.ledger.queue_drops.values())


def test_an_engine_that_is_killed_is_named_and_nothing_is_left_of_its_lab() -> None:
    with lab(SPEC.model_copy(update={"name": "killed", "leaves": 1, "spines": 1, "hosts_per_leaf": 2})) as it:
        traces, datapath = Traces.of(it), datapath_of(it.inventory)
        assert datapath.ended(it.inventory) == ""
        pids = (process.engine_pid(it.inventory),
                process.pid_in(Path(it.inventory.directory), process.AGENT_PID))
        os.kill(pids[0], signal.SIGKILL)
        wait_for("its end", lambda: process_start(pids[0]) is None, 5.0, "", 0.01)
        assert datapath.ended(it.inventory) == "the fabric engine has ended"
        wait_for("the agent's end", lambda: process_start(pids[1]) is None, 5.0, "", 0.01)
        assert [f.what for f in audit(it.inventory)] == ["process"]
    assert traces.left() == []
