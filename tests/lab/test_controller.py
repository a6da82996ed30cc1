"""The controller as a process on real switches: what it installs, restores, follows and counts."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from controller.rules.compile import compile_rules
from controller.southbound import ofctl
from tests.lab.controller_lab import TIMEOUT, Lab
from topologies.lab.network import running
from topologies.links.htb import wires
from topologies.model.addressing import SENTINEL_DSCP
from topologies.model.errors import LabError
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab

UNKNOWN_MAC = "02:00:0a:09:63:63"


@pytest.fixture(scope="module")
def fabric_lab() -> Iterator[Lab]:
    with running(FabricSpec(name="ctl", leaves=2, spines=2, hosts_per_leaf=2)) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


@pytest.fixture
def lab(fabric_lab: Lab) -> Lab:
    """The lab, whole: controller alive and nothing down."""
    assert fabric_lab.process is not None
    if fabric_lab.process.poll() is not None:
        fabric_lab.start()
    fabric_lab.client.wait_converged(TIMEOUT, down=frozenset())
    return fabric_lab


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _frame(source_mac: str, target_mac: str, source_ip: str, target_ip: str) -> bytes:
    """An Ethernet frame with an IPv4 header (no options) and 20 bytes of an unassigned protocol."""
    header = bytes.fromhex("4500002800000000 40fd0000") + socket.inet_aton(source_ip) + socket.inet_aton(target_ip)
    total = sum(int.from_bytes(header[i:i + 2], "big") for i in range(0, 20, 2))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return (_mac(target_mac) + _mac(source_mac) + b"\x08\x00"
            + header[:10] + checksum.to_bytes(2, "big") + header[12:] + bytes(20))


def test_every_host_reaches_every_other(lab: Lab) -> None:
    missing = [(a.name, b.name) for a, b in permutations(lab.fabric.all_hosts, 2) if not lab.arrives(a.name, b.name)]
    assert missing == []


def test_flows_of_one_pair_use_every_spine(lab: Lab) -> None:
    def buckets() -> list[int]:
        (group,) = lab.client.counters()["switches"]["leaf1"]["groups"]
        assert group["name"] == "ecmp:leaf2"
        return [b["packets"] for b in group["buckets"]]

    before = buckets()
    assert lab.arrives("h1", "h3", count=64)
    used = [after - was for after, was in zip(buckets(), before, strict=True)]
    assert sum(used) == 64
    assert min(used) > 0


def test_messages_and_ofctl_text_put_the_same_rules_on_a_switch(lab: Lab) -> None:
    by_messages = lab.installed()
    lab.kill()
    for switch in lab.fabric.switches:
        lab.ofctl(switch.name, "del-flows")
        lab.ofctl(switch.name, "del-groups")
    assert not lab.arrives("h1", "h3")
    for switch, rules in compile_rules(lab.fabric).items():
        lab.ofctl(switch, "add-groups", "-", text="".join(f"{ofctl.group_line(g)}\n" for g in rules.groups))
        lab.ofctl(switch, "add-flows", "-", text="".join(f"{ofctl.flow_line(f)}\n" for f in rules.flows))
    assert lab.installed() == by_messages
    assert lab.arrives("h1", "h3")


def test_a_restarted_controller_sends_nothing_where_all_is_right(lab: Lab) -> None:
    before = lab.installed()
    switches = lab.restart()
    assert [(s["flow_mods"], s["group_mods"]) for s in switches.values()] == [(0, 0)] * 4
    assert lab.installed() == before


def test_foreign_rules_go_and_missing_or_changed_ones_come_back(lab: Lab) -> None:
    before = lab.installed()
    lab.kill()
    lab.ofctl("leaf1", "add-flow", "table=0,priority=60000,in_port=101,actions=drop")
    lab.ofctl("leaf1", "add-flow", "cookie=0x77,table=7,actions=output:1")
    lab.ofctl("leaf1", "add-group", "group_id=9,type=all,bucket=bucket_id:1,actions=output:1")
    lab.ofctl("leaf1", "mod-group", "group_id=2,type=select,bucket=bucket_id:1,watch_port:1,actions=output:1")
    lab.ofctl("leaf2", "del-flows", "table=40")
    assert lab.installed() != before
    lab.start()
    assert lab.installed() == before
    switches = lab.client.health()["switches"]
    assert switches["spine1"]["flow_mods"] == 0
    assert switches["leaf1"]["group_mods"] == 2


def test_without_a_controller_the_fabric_forwards_as_before_and_floods_nothing(lab: Lab) -> None:
    lab.kill()
    assert lab.arrives("h1", "h3", count=16)
    h1, h2 = lab.fabric.host("h1"), lab.fabric.host("h2")
    with lab.raw("h2") as neighbour, lab.raw("h1") as sender:
        for target in (UNKNOWN_MAC, h2.mac):
            sender.send(_frame(h1.mac, target, h1.ip, h2.ip))
        neighbour.settimeout(2)
        assert neighbour.recv(100)[:6] == _mac(h2.mac), "the first to arrive is the one addressed to h2"


@pytest.mark.parametrize(("link", "switch"), [("leaf1-spine1", "leaf1"), ("leaf2-spine1", "leaf1")])
def test_a_dead_link_leaves_the_groups_and_comes_back(lab: Lab, link: str, switch: str) -> None:
    """The switch's own uplink and the far link, which only the controller can tell it about."""
    before = lab.installed()
    wires.set_state(lab.net.inventory, link, up=False)
    try:
        lab.client.wait_converged(TIMEOUT, down=frozenset({link}))
        groups = lab.ofctl(switch, "dump-groups")
        assert "bucket_id:2" in groups
        assert "bucket_id:1" not in groups
        assert lab.arrives("h1", "h3", count=32)
        assert lab.arrives("h3", "h1", count=32)
        (state,) = [k["up"] for k in lab.client.topology()["links"] if k["name"] == link]
        assert state is False
    finally:
        wires.set_state(lab.net.inventory, link, up=True)
    lab.client.wait_converged(TIMEOUT, down=frozenset())
    assert lab.installed() == before


def test_a_leaf_that_is_cut_off_is_dropped_by_name_and_the_count_outlives_the_rule(lab: Lab) -> None:
    cut = [k.name for k in lab.fabric.uplinks("leaf2")]
    try:
        for link in cut:
            wires.set_state(lab.net.inventory, link, up=False)
        lab.client.wait_converged(TIMEOUT, down=frozenset(cut))
        was = lab.drops("no-path:leaf2")
        with lab.socket("h1") as sender:
            for _ in range(6):
                sender.sendto(b"x", (lab.fabric.host("h3").ip, 9000))
        assert lab.drops("no-path:leaf2") - was == 6
    finally:
        for link in cut:
            wires.set_state(lab.net.inventory, link, up=True)
    lab.client.wait_converged(TIMEOUT, down=frozenset())
    names = [f["name"] for f in lab.client.counters()["switches"]["leaf1"]["flows"]]
    assert "no-path:leaf2" not in names
    assert lab.drops("no-path:leaf2") - was == 6


def test_refused_packets_are_counted_to_the_packet_under_the_rule_that_refused_them(lab: Lab) -> None:
    h1, h2 = lab.fabric.host("h1"), lab.fabric.host("h2")
    frames = {"unknown-mac": (7, _frame(h1.mac, UNKNOWN_MAC, h1.ip, h2.ip)),
              "flood": (5, _frame(h1.mac, "ff:ff:ff:ff:ff:ff", h1.ip, "255.255.255.255")),
              "spoof:h1": (4, _frame(h2.mac, h2.mac, h2.ip, h2.ip))}
    before = {rule: lab.drops(rule) for rule in frames}
    with lab.raw("h1") as sender:
        for count, frame in frames.values():
            for _ in range(count):
                sender.send(frame)
    assert {rule: lab.drops(rule) - before[rule] for rule in frames} == {r: n for r, (n, _) in frames.items()}


@pytest.mark.parametrize(("source", "kept"), [("h1", 0), ("probe1", SENTINEL_DSCP)])
def test_the_reserved_dscp_passes_the_fabric_from_probes_only(lab: Lab, source: str, kept: int) -> None:
    with lab.socket("h3", 9000) as receiver, lab.socket(source) as sender:
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, SENTINEL_DSCP << 2)
        sender.sendto(b"x", (lab.fabric.host("h3").ip, 9000))
        _, extra, _, _ = receiver.recvmsg(100, 100)
    assert extra[0][2][0] >> 2 == kept


def test_a_second_controller_of_a_lab_is_refused_in_words(lab: Lab) -> None:
    second = subprocess.run(lab.command(), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert second.returncode == 1
    assert "expected a free socket; found another process that listens there" in second.stderr
    assert "Traceback" not in second.stderr
    assert lab.arrives("h1", "h3")


def test_sigterm_ends_it_at_once_and_leaves_no_sockets(lab: Lab) -> None:
    assert lab.process is not None
    lab.process.terminate()
    assert lab.process.wait(TIMEOUT) == 0
    assert not Path(lab.net.inventory.api_socket).exists()
    assert not Path(lab.net.inventory.controller_socket).exists()
    with pytest.raises(LabError, match="is the controller running"):
        lab.client.health()
