"""VPCs on real switches: every pair by packets, changes under traffic, and a controller that goes and comes back."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.intent.intent import Intent
from controller.persisted_intent import PersistedIntent
from controller.verify.reachability import matrix, places
from scenarios import cli
from scenarios.run import attach as attaching
from scenarios.run.verify import Probes, Verification, udp_frame, verify
from scenarios.run.vpcs import apply_intent
from tests.lab.controller_lab import TIMEOUT, Lab
from tests.stream_1khz import Stream
from tests.unit.intents import Spec, attach, intent, peer, vpc
from topologies.lab.host_addresses import address_of
from topologies.lab.network import running
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab
FORGED = b"forged for the test"

A = vpc("a", {"x": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.2"}, "y": {"subnet": "10.1.1.0/24", "isolated": True}})
B = vpc("b", {"x": {"subnet": "10.1.0.0/24", "restricted": True}})
C = vpc("c", {"z": "10.3.0.0/24"}, mode="l3vni")
HOSTS = [attach("h1", "a/x"), attach("h5", "a/x"), attach("h6", "a/y"), attach("h2", "b/x"), attach("h7", "b/x"),
         attach("h3", "c/z"), attach("h8", "c/z")]
MIXED = intent(A, B, C, peer(a=["x"], c=[]), *HOSTS)


@pytest.fixture(scope="module", params=["hash", "pinned"])
def fabric_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    spec = FabricSpec(name="vpcs", leaves=2, spines=2, hosts_per_leaf=4, probes=False, paths=request.param)
    with running(spec) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


@pytest.fixture
def lab(fabric_lab: Lab) -> Lab:
    """The lab with its controller alive, and without tenants."""
    assert fabric_lab.process is not None
    if fabric_lab.process.poll() is not None:
        fabric_lab.start()
    apply_intent(fabric_lab.net.inventory, Intent())
    fabric_lab.client.wait_converged(TIMEOUT, down=frozenset())
    return fabric_lab


def wrong(found: Verification) -> list[object]:
    return [*found.false_allows(), *found.false_denies(), *found.uncounted().items()]


def ping(lab: Lab, host: str, ip: str, *words: str) -> str:
    run = ["nsenter", f"--net={lab.net.inventory.netns_path(host)}", "ping", "-c1", "-W2", *words, ip]
    return subprocess.run(run, capture_output=True, text=True, check=False).stdout


def test_every_pair_is_as_the_intent_has_it(lab: Lab) -> None:
    apply_intent(lab.net.inventory, MIXED)
    found = verify(lab.net.inventory)
    assert wrong(found) == []
    assert {c.drop.split(":")[0] for c in found.cells} == {
        "", "to-self", "restricted", "isolated", "unknown-host", "no-route", "unknown-mac"}
    assert sum(c.allowed for c in found.cells) == 2 + 2 + 8


def test_what_get_prints_changes_nothing_and_an_empty_file_takes_nothing_away(
        lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(attaching, "running_inventory", lambda _: lab.net.inventory)

    def aifab(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["aifab", "vpc", *arguments])
        with pytest.raises(SystemExit) as info:
            cli.main()
        return int(info.value.code or 0)

    kept, empty, got = lab.fabric.host("h5").mac, tmp_path / "empty.yml", tmp_path / "got.yml"
    pool = {"enable": True, "range": {"start": "10.1.0.20", "end": "10.1.0.40"}, "static": {kept: {"ip": "10.1.0.9"}}}
    apply_intent(lab.net.inventory, intent(vpc("a", {"default": {"subnet": "10.1.0.0/24", "dhcp": pool, "vlan": 7}}),
                                           attach("h1", "a"), attach("h5", "a")))
    assert [address_of(lab.net.inventory, h) for h in ("h1", "h5")] == ["10.1.0.20", "10.1.0.9"]
    assert "1 received" in ping(lab, "h1", "10.1.0.9")
    before, version = lab.client.rules(), lab.client.intent()["version"]
    capsys.readouterr()
    assert aifab("get") == 0
    got.write_text(capsys.readouterr().out)
    empty.write_text("# nothing yet\n")
    assert aifab("apply", str(got)) == 0
    assert capsys.readouterr().out == "nothing changes\n"
    assert aifab("apply", str(empty)) == 2
    assert (lab.client.rules(), lab.client.intent()["version"]) == (before, version)
    assert "1 received" in ping(lab, "h5", "10.1.0.20")
    assert aifab("apply", str(empty), "--empty") == 0
    assert lab.client.intent()["objects"] == []
    assert "1 received" in ping(lab, "h1", lab.fabric.host("h2").ip)


def test_a_rule_that_is_not_there_is_found_by_the_proof(lab: Lab) -> None:
    """The proof can fail: once for a path that is missing, once for a packet that should have been dropped."""
    apply_intent(lab.net.inventory, MIXED)
    lab.ofctl("leaf2", "del-flows", "table=40")
    lab.ofctl("leaf2", "add-flow", "table=40,priority=0,actions=output:102")
    found = verify(lab.net.inventory)
    assert {(c.source, c.target) for c in found.false_denies()} >= {("h1", "h5"), ("h3", "h8")}
    assert {host for _, host in found.false_allows()} == {"h6"}
    lab.restart()
    assert wrong(verify(lab.net.inventory)) == []


def test_messages_and_restarts_leave_the_rules_of_vpcs_alone(lab: Lab) -> None:
    """What a switch holds is what was meant, field by field: else the controller would write it again."""
    apply_intent(lab.net.inventory, MIXED)
    before = lab.installed()
    switches = lab.restart()
    assert [(s["flow_mods"], s["group_mods"]) for s in switches.values()] == [(0, 0)] * 4
    assert lab.installed() == before
    assert lab.client.intent()["version"] > 0


def test_the_gateway_answers_and_a_routed_path_has_its_hops(lab: Lab) -> None:
    apply_intent(lab.net.inventory, MIXED)
    assert " ttl=64 " in ping(lab, "h1", "10.1.0.2")
    assert " ttl=64 " in ping(lab, "h5", "10.1.0.2")
    other = lab.client.intent()["hosts"]
    assert " ttl=62 " in ping(lab, "h1", other["h8"]["ip"])
    assert " ttl=63 " in ping(lab, "h1", other["h3"]["ip"])
    assert " ttl=64 " in ping(lab, "h1", other["h5"]["ip"])
    was = lab.drops("ttl-expired")
    assert " 0 received" in ping(lab, "h1", other["h8"]["ip"], "-t1")
    assert lab.drops("ttl-expired") == was + 1


def test_isolation_and_reachability_hold_without_a_controller(lab: Lab) -> None:
    apply_intent(lab.net.inventory, MIXED)
    lab.kill()
    record = PersistedIntent.read(lab.net.journal.directory / "intent.json")
    where = places(record.intent, lab.fabric, record.allocation)
    found = Verification(matrix(record.intent, lab.fabric, record.allocation),
                         {h: lab.fabric.host(h).leaf for h in where})
    with ExitStack() as stack:
        Probes(lab.net.inventory, {h: p.ip for h, p in where.items()}, stack).run(found)
    assert (found.false_allows(), found.false_denies()) == ([], [])


def test_hosts_get_the_addresses_of_their_vpc_and_their_own_ones_back(lab: Lab) -> None:
    apply_intent(lab.net.inventory, MIXED)
    now = {h.name: address_of(lab.net.inventory, h.name) for h in lab.fabric.hosts}
    assert now == {"h1": "10.1.0.1", "h2": "10.1.0.2", "h3": "10.3.0.2", "h4": "10.9.1.4", "h5": "10.1.0.3",
                   "h6": "10.1.1.2", "h7": "10.1.0.3", "h8": "10.3.0.3"}
    apply_intent(lab.net.inventory, Intent())
    assert [address_of(lab.net.inventory, h.name) for h in lab.fabric.hosts] == [h.ip for h in lab.fabric.hosts]
    assert lab.unreached() == []


CHANGES: list[list[Spec]] = [
    [*HOSTS[:5]],                                               # c loses its hosts
    [C, *HOSTS], [B, C, peer(a=["x"], c=[]), *HOSTS],           # b goes, and comes again under another number
    [vpc("d", {"x": "10.1.0.0/24"}), C, *HOSTS[:2], attach("h2", "d/x"), attach("h7", "d/x"), attach("h4", "c/z")],
    [B, vpc("c", {"z": "10.3.0.0/24"}), peer(a=[], c=["z"]), *HOSTS], [*HOSTS[:2]]]


def test_changes_of_other_vpcs_lose_no_packet_of_an_untouched_one(lab: Lab) -> None:
    """A stream of 1 kHz over the fabric, through twelve changes of everything but its own VPC's hosts."""
    base = [A, *HOSTS[:2]]
    apply_intent(lab.net.inventory, intent(*base))
    with Stream(lab.net.inventory, "h1", "h5", "10.1.0.1", "10.1.0.3") as stream:
        for change in CHANGES * 2:
            kept = [o for o in change if o not in base]
            vpcs = {o["metadata"]["name"] for o in (A, *change) if o["kind"] == "VPC"}
            fit = [o for o in kept if o["kind"] != "VPCAttachment" or o["spec"]["subnet"].split("/")[0] in vpcs]
            before = stream.sent
            apply_intent(lab.net.inventory, intent(*base, *fit))
            assert stream.sent > before + 5, "a change that no packet saw"
    assert stream.lost == 0
    assert wrong(verify(lab.net.inventory)) == []


def test_what_a_host_forges_crosses_nothing_and_is_counted_under_its_name(lab: Lab) -> None:
    """Another tenant's MAC or address, VXLAN of its own making, ARP for the gateway and for another host."""
    apply_intent(lab.net.inventory, MIXED)
    h1, h2 = lab.fabric.host("h1").mac, lab.fabric.host("h2").mac
    vtep = lab.fabric.node("leaf2")
    frames = [("spoof:h1", frame(h2, GATEWAY_MAC, "10.1.0.1", "10.3.0.2")),
              ("spoof:h1", frame(h1, GATEWAY_MAC, "10.1.0.3", "10.3.0.2")),
              ("spoof:h1", frame(h1, GATEWAY_MAC, "10.9.1.1", "10.3.0.2")),
              ("no-route:a/x", frame(h1, GATEWAY_MAC, "10.1.0.1", vtep.ip, port=4789)),
              ("unknown-mac", frame(h1, vtep.mac, "10.1.0.1", vtep.ip, port=4789)),
              ("spoof:h1", forged_arp(h1, GATEWAY_MAC, "10.1.0.2")),
              ("spoof:h1", forged_arp(h1, h1, "10.1.0.2")),
              ("spoof:h1", forged_arp(h1, h1, "10.1.0.3")),
              ("unknown-arp", forged_arp(h1, h1, "10.1.0.1"))]
    before = {rule: lab.drops(rule) for rule, _ in frames}
    with ExitStack() as stack:
        ears = {h.name: stack.enter_context(lab.ear(h.name)) for h in lab.fabric.hosts}
        sender = stack.enter_context(lab.raw("h1"))
        for _, data in frames:
            sender.send(data)
        counted = {rule: lab.drops(rule) - count for rule, count in before.items()}
        assert [name for name, ear in ears.items() if name != "h1" and heard(ear)] == []
    assert counted == {rule: sum(r == rule for r, _ in frames) for rule in before}


def frame(source_mac: str, target_mac: str, source: str, target: str, port: int = 9000) -> bytes:
    return udp_frame(source_mac, target_mac, source, target, FORGED, port)


def forged_arp(source_mac: str, owner_mac: str, owner_ip: str) -> bytes:
    """An unasked answer to everybody: `owner_ip` is at `owner_mac`."""
    mac = bytes.fromhex(owner_mac.replace(":", ""))
    head = b"\xff" * 6 + bytes.fromhex(source_mac.replace(":", "")) + b"\x08\x06"
    return (head + bytes.fromhex("0001080006040002") + mac + socket.inet_aton(owner_ip)
            + b"\xff" * 6 + socket.inet_aton("10.1.0.3") + FORGED)


def heard(ear: socket.socket) -> bool:
    """Whether a forged frame is among what a host has received so far."""
    try:
        while True:
            if FORGED in ear.recv(2000, socket.MSG_DONTWAIT):
                return True
    except BlockingIOError:
        return False
