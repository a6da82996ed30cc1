"""Packet accounting of a running fabric: exact where queues and rules drop, and honest where something else does."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from scenarios.run.lab import Lab, lab
from scenarios.run.waits import wait_for
from tests.lab.fabric_lab import PORT, SMALL, accounting, burst, stream, udp, waiting_at, warm_neighbours
from topologies.access.netns import inside
from topologies.lab.shell import ip_batch, tc_batch
from topologies.links.htb import wires
from topologies.proof.counters import wait_quiet
from topologies.proof.ledger import Fault, bound

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def small_lab() -> Iterator[Lab]:
    """The shared lab with slower links: a slow machine too has to be able to fill the queues."""
    with lab(SMALL.model_copy(update={"name": "ledger", "host_rate": 2e6})) as it:
        yield it


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("senders", [3, 7])
def test_what_an_incast_loses_is_what_the_ledger_names(small_lab: Lab, senders: int, attempt: int) -> None:
    sources = [f"h{n + 2}" for n in range(senders)]
    warm_neighbours(small_lab, [(s, "h1") for s in sources])
    with accounting(small_lab) as kept:
        sent, received = burst(small_lab, sources, "h1", 150)
    ledger = kept.ledger
    assert ledger.balances, ledger
    assert sent - received == sum(ledger.queue_drops.values())
    assert ledger.queue_drops["leaf1->h1"] > 0      # an uplink may drop too, if ECMP puts all flows on it
    assert (ledger.policy_drops, ledger.emulator_drops, ledger.receive_errors) == ({}, {}, {})
    assert (ledger.sent, ledger.received) == (sent, received)


def test_a_full_socket_is_no_loss_of_the_network_and_is_reported_by_host(small_lab: Lab) -> None:
    warm_neighbours(small_lab, [("h2", "h1")])
    with accounting(small_lab) as kept, udp(small_lab, "h1", PORT) as receiver, udp(small_lab, "h2") as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        for _ in range(30):
            sender.sendto(bytes(1400), (small_lab.fabric.host("h1").ip, PORT))
            time.sleep(0.002)
        wait_quiet(small_lab.inventory)     # what comes when the socket is closed finds none that is full
    got = 30 - kept.ledger.receive_errors.get("h1", 0)
    assert kept.ledger.balances, kept.ledger
    assert kept.ledger.lost == 0
    assert 0 < got < 30


def test_a_leafs_kernel_answers_no_host_that_asks_for_its_tunnel_end(small_lab: Lab) -> None:
    """An answer would be a packet that nobody sent. The rule has dropped the question, whoever else has heard it."""
    leaf = small_lab.fabric.node(small_lab.fabric.host("h1").leaf)
    netns = small_lab.inventory.netns["h1"]
    ip_batch(["route add 10.255.0.0/16 dev h1-eth0"], netns)
    try:
        with accounting(small_lab) as kept, udp(small_lab, "h1") as sender:
            for ip in (leaf.ip, *leaf.aliases):
                sender.sendto(b"", (ip, PORT))
            wait_for("h1 to stop asking", lambda: "INCOMPLETE" not in _neighbours(netns), 20)
            wait_quiet(small_lab.inventory)
    finally:
        ip_batch(["route del 10.255.0.0/16 dev h1-eth0"], netns)
    assert kept.ledger.balances, kept.ledger      # an answer would have come out of the leaf without having gone in
    assert "lladdr" not in "".join(x for x in _neighbours(netns).splitlines() if x.startswith("10.255."))
    # hosts may ask for each other meanwhile: such a question is answered, and no drop
    assert sum(kept.ledger.policy_drops.values()) == kept.ledger.sent - kept.ledger.received >= 1 + len(leaf.aliases)


def _neighbours(netns: str) -> str:
    return subprocess.run(["ip", "-n", netns, "neigh"], capture_output=True, text=True, check=True).stdout


def test_a_spoofed_source_is_dropped_by_a_rule_that_names_the_host(small_lab: Lab) -> None:
    h1, h3 = small_lab.fabric.host("h1"), small_lab.fabric.host("h3")
    frame = (bytes.fromhex(h1.mac.replace(":", "")) + b"\x02\x00\x00\x00\x00\x77" + b"\x08\x00"
             + bytes.fromhex("45000028000000004011000000000000") + socket.inet_aton(h1.ip) + bytes(20))
    with inside(small_lab.inventory.netns_path("h3")):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind((small_lab.fabric.access_link("h3").a.interface, 0))
    with accounting(small_lab) as kept, sender:
        for _ in range(25):
            sender.send(frame)
    assert kept.ledger.policy_drops == {f"{h3.leaf} spoof:h3": 25}
    assert kept.ledger.balances, kept.ledger


def test_what_a_leafs_own_stack_says_never_enters_the_fabric(small_lab: Lab) -> None:
    """Open vSwitch may for a moment take its tunnel for gone; the kernel then answers for a port that nobody has."""
    own, other = small_lab.fabric.node("leaf1"), small_lab.fabric.node("leaf2")
    with inside(small_lab.inventory.netns_path("leaf1")):
        stack = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stack.bind((own.ip, 0))
    with accounting(small_lab) as kept, stack:
        for _ in range(5):
            stack.sendto(b"is anybody there?", (other.ip, PORT))
            time.sleep(0.3)     # an ARP request a second
    assert (kept.ledger.policy_drops, kept.ledger.lost) == ({}, 0)      # hosts may ask for their neighbours meanwhile
    assert kept.ledger.balances, kept.ledger


@contextmanager
def _thief(netns: str, device: str, parent: str) -> Iterator[None]:
    """Behind the lab's back: datagrams to PORT that pass a device end on the loopback of its namespace."""
    tc_batch([f"filter add dev {device} parent {parent} protocol ip prio 1 u32 match ip dport {PORT} 0xffff "
              "action mirred egress redirect dev lo"], netns)
    try:
        yield
    finally:
        tc_batch([f"filter del dev {device} parent {parent} protocol ip prio 1"], netns)


@contextmanager
def _thief_at_switch_port(netns: str, device: str) -> Iterator[None]:
    tc_batch([f"qdisc add dev {device} root handle 1: htb"], netns)     # without a class it shapes nothing
    try:
        with _thief(netns, device, "1:"):
            yield
    finally:
        tc_batch([f"qdisc del dev {device} root"], netns)


@pytest.mark.parametrize("place", ["wire", "switch port"])
def test_a_loss_that_nobody_declared_is_found_and_placed(small_lab: Lab, place: str) -> None:
    inventory = small_lab.inventory
    warm_neighbours(small_lab, [("h1", "h2")])
    thief, where = {
        "wire": (_thief(inventory.wiring, inventory.wires["h1-leaf1"].a, "ffff:"), "h1->leaf1 (in the wire)"),
        "switch port": (_thief_at_switch_port(inventory.netns["leaf1"], small_lab.fabric.link("h2-leaf1").b.interface),
                        "leaf1 (inside the switch)")}[place]
    with accounting(small_lab) as kept, thief:
        sent, received = burst(small_lab, ["h1"], "h2", 20)
    assert (sent, received) == (20, 0)
    assert kept.ledger.unexplained == {where: 20}
    assert not kept.ledger.balances


def test_a_loss_beside_a_declared_fault_is_not_excused_by_it(small_lab: Lab) -> None:
    inventory = small_lab.inventory
    warm_neighbours(small_lab, [("h1", "h2")])
    with accounting(small_lab) as kept, _thief(inventory.wiring, inventory.wires["h1-leaf1"].a, "ffff:"):
        kept.faults.append(Fault("elsewhere", ("leaf2-spine1",), 10.0))
        burst(small_lab, ["h1"], "h2", 20)
    assert kept.ledger.fault_losses == {}
    assert kept.ledger.unexplained == {"h1->leaf1 (in the wire)": 20}


def test_what_a_pulled_cable_swallows_has_the_name_of_the_fault(small_lab: Lab) -> None:
    """The access link: no other path, so every packet sent while it is down is lost beside it."""
    warm_neighbours(small_lab, [("h1", "h5")])

    def state(up: bool) -> None:
        wires.set_state(small_lab.inventory, "h5-leaf2", up=up)

    with accounting(small_lab) as kept:
        fault = Fault("h5-leaf2 down", ("h5-leaf2",), 1.0)
        kept.faults.append(fault)
        try:
            sent, received = stream(small_lab, "h1", "h5", 400, 0.001,
                                    {100: lambda: state(False), 300: lambda: state(True)})
        finally:
            state(True)
    ledger = kept.ledger
    assert sent - received == sum(ledger.fault_losses.values()) > 0, ledger
    assert list(ledger.fault_losses) == ["h5-leaf2 down"]
    assert ledger.fault_losses["h5-leaf2 down"] <= bound(small_lab.fabric, fault)
    assert ledger.balances, ledger


def test_without_a_declaration_the_same_outage_does_not_close(small_lab: Lab) -> None:
    warm_neighbours(small_lab, [("h1", "h6")])

    def state(up: bool) -> None:
        wires.set_state(small_lab.inventory, "h6-leaf2", up=up)

    with accounting(small_lab) as kept:
        try:
            sent, received = stream(small_lab, "h1", "h6", 300, 0.001,
                                    {100: lambda: state(False), 200: lambda: state(True)})
        finally:
            state(True)
    assert sent > received
    assert sum(kept.ledger.unexplained.values()) == sent - received
    assert not kept.ledger.balances


def test_two_receivers_of_one_switch_do_not_share_their_losses(small_lab: Lab) -> None:
    """A congested port beside an idle one: the idle one loses nothing."""
    sources = ["h2", "h3"]      # at the receiver's own switch: a slow machine, too, forwards them faster than one link
    warm_neighbours(small_lab, [*((s, "h1") for s in sources), ("h6", "h4")])
    congested, idle = ((small_lab.fabric.host(h).ip, PORT) for h in ("h1", "h4"))
    with (accounting(small_lab) as kept, udp(small_lab, "h4", PORT) as quiet, udp(small_lab, "h6") as sender,
          ExitStack() as stack):
        floods = [stack.enter_context(udp(small_lab, s)) for s in sources]
        for _ in range(200):
            for flood in floods:
                flood.sendto(bytes(1472), congested)
        for _ in range(200):
            sender.sendto(bytes(100), idle)
            time.sleep(0.001)
        time.sleep(0.1)
        assert waiting_at(quiet) == 200
    assert set(kept.ledger.queue_drops) == {"leaf1->h1"}
    assert kept.ledger.balances, kept.ledger
