"""What a host may try from its own port: nothing of it reaches anybody, and `aifab evpn drops` names each attempt."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from scenarios.run.verify import udp_frame
from scenarios.run.vpcs import apply_intent
from tests.lab.controller_lab import TIMEOUT, Lab
from tests.unit.intents import attach, intent, vpc
from topologies.access.netns import inside
from topologies.lab.network import running
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab

FORGED = b"forged for the test"
TENANTS = intent(vpc("a", {"x": "10.1.0.0/24"}), vpc("b", {"x": "10.1.0.0/24"}),
                 attach("h1", "a/x"), attach("h4", "a/x"), attach("h2", "b/x"), attach("h5", "b/x"))
GATEWAY, H1, H4 = "10.1.0.1", "10.1.0.2", "10.1.0.3"        # a/x; those of b/x are the same
VXLAN, OPENFLOW, BGP = 4789, 6653, 179
BROADCAST = "ff:ff:ff:ff:ff:ff"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """h1 and h4 are in VPC a, h2 and h5 in b, h3 and h6 in none; h1 to h3 on leaf1."""
    with running(FabricSpec(name="attacks", leaves=2, spines=2, hosts_per_leaf=3, probes=False)) as net:
        lab = Lab(net)
        lab.start()
        try:
            apply_intent(net.inventory, TENANTS)
            yield lab
        finally:
            lab.kill()


def evpn_drops(lab: Lab) -> Counter[str]:
    """Rule -> packets, over all switches: what `aifab evpn drops` shows by switch."""
    return Counter({rule: int(count["packets"]) for rule, count in lab.client.counters()["drops"].items()})


def arp(operation: int, sender: tuple[str, str], owner: tuple[str, str], target_ip: str, to: str = BROADCAST) -> bytes:
    """An ARP frame from `sender`'s MAC that says it comes from `owner` (MAC, address)."""
    def mac(text: str) -> bytes:
        return bytes.fromhex(text.replace(":", ""))
    return (mac(to) + mac(sender[0]) + bytes.fromhex("0806 0001 0800 06 04") + operation.to_bytes(2, "big")
            + mac(owner[0]) + socket.inet_aton(owner[1]) + mac(to) + socket.inet_aton(target_ip) + FORGED)


def vxlan(vni: int, inner: bytes) -> bytes:
    """A VXLAN header (RFC 7348, 5) and what is in it."""
    return b"\x08\0\0\0" + vni.to_bytes(3, "big") + b"\0" + inner


def crossed(lab: Lab, source: str, frames: list[bytes]) -> list[str]:
    """Hosts that have heard anything of these frames, which one host sends as they are."""
    with ExitStack() as stack:
        ears = {h.name: stack.enter_context(lab.ear(h.name)) for h in lab.fabric.hosts}
        sender = stack.enter_context(lab.raw(source))
        for frame in frames:
            sender.send(frame)
        evpn_drops(lab)         # answers when the switches have added up: whatever arrives has arrived
        return [name for name, ear in ears.items() if name != source and heard(ear)]


def heard(ear: socket.socket) -> bool:
    """Whether anything that was forged is among what a host has received so far."""
    try:
        while True:
            if FORGED in ear.recv(2000, socket.MSG_DONTWAIT):
                return True
    except BlockingIOError:
        return False


def attempt(lab: Lab, source: str, frames: list[tuple[str, bytes]]) -> None:
    """Every frame is counted under the rule beside it, and nobody hears of any."""
    before = evpn_drops(lab)
    assert crossed(lab, source, [frame for _, frame in frames]) == []
    after = evpn_drops(lab)
    expected = Counter(rule for rule, _ in frames)
    assert {rule: after[rule] - before[rule] for rule in expected} == expected


def test_another_tenants_mac_or_address_as_source(lab: Lab) -> None:
    h1, h2, h4 = (lab.fabric.host(h).mac for h in ("h1", "h2", "h4"))
    attempt(lab, "h1", [
        ("spoof:h1", udp_frame(h2, h4, H1, H4, FORGED)), ("spoof:h1", udp_frame(h4, h4, H1, H4, FORGED)),
        ("spoof:h1", udp_frame(GATEWAY_MAC, h4, GATEWAY, H4, FORGED)), ("spoof:h1", udp_frame(h1, h4, H4, H4, FORGED)),
        ("spoof:h1", udp_frame(h1, h4, lab.fabric.host("h3").ip, H4, FORGED))])


def test_the_mac_of_a_host_of_another_vpc_as_target(lab: Lab) -> None:
    h1 = lab.fabric.host("h1").mac
    attempt(lab, "h1", [("unknown-mac", udp_frame(h1, lab.fabric.host(h).mac, H1, H4, FORGED))
                        for h in ("h2", "h5", "h3", "h6")])


@pytest.mark.parametrize("leaf", ["leaf1", "leaf2"])
def test_vxlan_of_its_own_making_to_a_vtep(lab: Lab, leaf: str) -> None:
    """Whatever VNI is forged: an outer packet from a host is a packet of its segment, and that has no such address."""
    h1, h5, vtep = lab.fabric.host("h1").mac, lab.fabric.host("h5").mac, lab.fabric.node(leaf)
    vnis = lab.client.intent()["allocation"]["vnis"]
    inner = udp_frame(h1, h5, H1, H4, FORGED)
    for address in (vtep.ip, *vtep.aliases):
        frames = [udp_frame(h1, mac, H1, address, vxlan(vni, inner), VXLAN)
                  for vni in (vnis["b/x"], vnis["b"], 100) for mac in (GATEWAY_MAC, vtep.mac)]
        attempt(lab, "h1", list(zip(["no-route:a/x", "unknown-mac"] * 3, frames, strict=True)))


def test_vxlan_from_a_host_of_no_vpc(lab: Lab) -> None:
    h3, vtep = lab.fabric.host("h3"), lab.fabric.node("leaf2")
    inner = udp_frame(h3.mac, lab.fabric.host("h5").mac, H1, H4, FORGED)
    frame = udp_frame(h3.mac, vtep.mac, h3.ip, vtep.ip, vxlan(100, inner), VXLAN)
    attempt(lab, "h3", [("unknown-mac", frame)])


def test_arp_in_the_name_of_the_gateway_or_of_another_host(lab: Lab) -> None:
    h1, h4 = lab.fabric.host("h1").mac, lab.fabric.host("h4").mac
    own, everybody = (h1, H1), [BROADCAST, h4]
    attempt(lab, "h1", [("spoof:h1", arp(operation, own, owner, H4, to)) for operation in (1, 2) for to in everybody
                        for owner in ((h1, GATEWAY), (GATEWAY_MAC, GATEWAY), (h1, H4), (h4, H4), (h4, H1))])
    attempt(lab, "h1", [("unknown-arp", arp(2, own, own, H4, to)) for to in everybody])


@pytest.mark.parametrize("host", ["h1", "h3"])
def test_a_frame_to_the_senders_own_mac(lab: Lab, host: str) -> None:
    """A switch would refuse to send it back without counting it, in a VPC and outside of all."""
    node = lab.fabric.host(host)
    own = H1 if host == "h1" else node.ip
    attempt(lab, host, [(f"to-self:{host}", udp_frame(node.mac, node.mac, own, own, FORGED))] * 3)


def test_the_command_shows_what_was_refused(lab: Lab) -> None:
    h4 = lab.fabric.host("h4").mac
    attempt(lab, "h1", [("spoof:h1", udp_frame(h4, h4, H1, H4, FORGED))])
    done = subprocess.run([sys.executable, "-m", "scenarios.cli", "evpn", "drops", "--json", "--lab",
                           lab.net.inventory.lab], capture_output=True, text=True, check=True, timeout=10 * TIMEOUT)
    (row,) = (r for r in json.loads(done.stdout) if r["rule"] == "spoof:h1")
    assert (row["switch"], row["packets"]) == ("leaf1", evpn_drops(lab)["spoof:h1"])


@pytest.mark.parametrize("port", [OPENFLOW, BGP])
def test_a_connection_to_the_controllers_port(lab: Lab, port: int) -> None:
    """Nothing of the control plane is at an address that a host can reach; the attempt is routed nowhere, by name."""
    targets = [lab.fabric.node("leaf1").ip, lab.fabric.node("leaf2").ip]
    before = evpn_drops(lab)
    for target in targets:
        with inside(lab.net.inventory.netns_path("h1")):
            attacker = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with attacker:
            attacker.settimeout(0.5)
            with pytest.raises(OSError):        # noqa: PT011 - nobody answers: a time-out, or unreachable
                attacker.connect((target, port))
    assert evpn_drops(lab)["no-route:a/x"] - before["no-route:a/x"] >= len(targets)
    with inside(lab.net.inventory.netns_path("h1")), socket.socket() as attacker:
        attacker.settimeout(0.5)
        with pytest.raises(OSError):            # noqa: PT011 - the gateway answers ARP and echo requests only
            attacker.connect((GATEWAY, port))


def test_no_switch_and_no_controller_listens_on_tcp(lab: Lab) -> None:
    """OpenFlow and the API are on unix sockets; a host could reach a switch's namespace by its rules only."""
    for switch in lab.fabric.switches:
        listening = subprocess.run(["nsenter", f"--net={lab.net.inventory.netns_path(switch.name)}", "ss", "-Hltn"],
                                   capture_output=True, text=True, check=True).stdout
        assert listening == ""
    assert lab.process is not None
    owned = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    assert f"pid={lab.process.pid}," not in owned
