"""Real BGP: what FRR and GoBGP hold of our routes, what comes of theirs, and who cannot reach the speaker."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.intent.intent import Intent
from scenarios.run.verify import verify
from scenarios.run.vpcs import apply_intent
from tests.lab.bgp_lab import TIMEOUT, at, ping, states, until
from tests.lab.controller_lab import Lab
from tests.unit.intents import attach, external, external_attach, external_peer, intent, vpc
from topologies.access.netns import inside
from topologies.lab.bgp_routers import FRR
from topologies.lab.network import running
from topologies.lab.programs import find_program
from topologies.lab.shell import ip_batch
from topologies.model.spec import FabricSpec

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not (FRR / "bgpd").exists(), reason="frr is not installed (./provision.sh installs it)"),
    pytest.mark.skipif(find_program("gobgpd") is None, reason="gobgpd is not installed (./provision.sh installs it)"),
]
VPCS = [vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}), vpc("c", {"z": "10.3.0.0/24"}, mode="l3vni"),
        attach("h1", "a/x"), attach("h3", "a/x"), attach("h2", "a/y"), attach("h4", "c/z")]
INET = external("inet", "198.51.100.0/24")
LINK = external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.2")
OUT = external_peer("a", ["x"], "inet", "0.0.0.0/0")
OUTSIDE = [*VPCS, INET, LINK, OUT]
Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def fabric_lab() -> Iterator[Lab]:
    """FRR is an external peer, GoBGP an internal one."""
    spec = FabricSpec.model_validate({
        "name": "bgp", "leaves": 2, "spines": 2, "hosts_per_leaf": 2, "probes": False,
        "border": {"hosts": 1, "rate": "10mbit"},
        "bgp": {"peers": {"frr1": {"router": "frr", "asn": 65101}, "go1": {"router": "gobgp", "asn": 65000}}}})
    with running(spec) as net:
        lab = Lab(net)
        lab.spawn()
        lab.client.wait_converged(TIMEOUT)
        try:
            yield lab
        finally:
            lab.kill()


@pytest.fixture
def lab(fabric_lab: Lab) -> Lab:
    """The lab without tenants, with both sessions up."""
    apply_intent(fabric_lab.net.inventory, Intent())
    until(lambda: states(fabric_lab), {"frr1": "up", "go1": "up"})
    until(lambda: at_gobgp(fabric_lab), set())
    return fabric_lab


def vtysh(lab: Lab, command: str) -> str:
    return at(lab, "frr1", "vtysh", "--vty_socket", str(lab.net.journal.directory / "frr1"), "-c", command)


def gobgp(lab: Lab, words: str) -> str:
    return at(lab, "go1", "gobgp", *words.split())


def announced(lab: Lab) -> set[Row]:
    """Prefix, RD, next hop, targets, VNIs and router's MAC of all that the fabric originates."""
    return {(r["prefix"], r["rd"], r["next_hop"], *r["targets"], *r["vnis"], r.get("router_mac", ""))
            for r in lab.client.evpn()["routes"] if r["source"] == "fabric"}


def at_gobgp(lab: Lab) -> set[Row]:
    """The same, of all that GoBGP has from its peer."""
    table = json.loads(gobgp(lab, "global rib -a evpn -j") or "{}")
    return {_gobgp_row(path) for paths in table.values() for path in paths if path.get("neighbor-ip")}


def _gobgp_row(path: dict[str, Any]) -> Row:
    value, attributes = path["nlri"]["value"], {a["type"]: a for a in path["attrs"]}
    communities = attributes[16]["value"]
    targets = sorted(c["value"] for c in communities if (c["type"], c["subtype"]) == (0, 2))
    mac = next((c["mac"] for c in communities if (c["type"], c["subtype"]) == (6, 3)), "")
    assert {"type": 3, "subtype": 12, "tunnel_type": 8} in communities      # RFC 8365: VXLAN
    ip, _, length = value.get("prefix", "").partition("/")
    prefix, vnis = {2: lambda: (f"[2]:[0]:[48]:[{value['mac']}]:[32]:[{value['ip']}]", value["labels"]),
                    3: lambda: (f"[3]:[0]:[32]:[{value['ip']}]", [attributes[22]["label"]]),
                    5: lambda: (f"[5]:[0]:[{length}]:[{ip}]", [value["label"]])}[path["nlri"]["type"]]()
    rd = f"{value['rd']['admin']}:{value['rd']['assigned']}"
    return (prefix, rd, attributes[14]["nexthop"], *targets, *vnis, mac)


def at_frr(lab: Lab) -> set[Row]:
    """Prefix, RD, next hop, targets and router's MAC of all that FRR takes for valid."""
    rows = set()
    for rd, routes in json.loads(vtysh(lab, "show bgp l2vpn evpn json") or "{}").items():
        for prefix, route in routes.items() if isinstance(routes, dict) else ():
            for path in route["paths"] if prefix != "rd" else ():
                words = path["extendedCommunity"]["string"].split()
                targets = sorted(w[3:] for w in words if w.startswith("RT:"))
                mac = next((w[5:] for w in words if w.startswith("Rmac:")), "")
                assert "ET:8" in words
                rows.add((prefix, rd, path["nexthops"][0]["ip"], *targets, mac))
    return rows


def without_vnis(rows: set[Row]) -> set[Row]:
    return {tuple(v for v in row if not isinstance(v, int)) for row in rows}


def test_types_2_3_and_5_are_at_both_routers_as_they_were_meant_and_go_with_their_vpc(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*OUTSIDE))
    wanted = announced(lab)
    assert {row[0][1] for row in wanted} == {"2", "3", "5"}
    until(lambda: at_gobgp(lab), wanted)
    until(lambda: at_frr(lab), without_vnis(wanted))
    allocation = lab.client.intent()["allocation"]["vnis"]
    detail = vtysh(lab, "show bgp l2vpn evpn route detail")
    assert f"VNI {allocation['a/x']}/{allocation['a']}" in detail
    assert re.search(rf"VNI {allocation['c']}\b", detail)
    apply_intent(lab.net.inventory, intent(*VPCS[1:2], VPCS[-1]))
    (left,) = announced(lab)
    until(lambda: at_gobgp(lab), {left})
    until(lambda: at_frr(lab), without_vnis({left}))
    apply_intent(lab.net.inventory, Intent())
    until(lambda: at_gobgp(lab) | at_frr(lab), set())


def test_bursts_of_routes_all_arrive_and_all_go(lab: Lab) -> None:
    """Two thousand, most of them replaced at once, and gone and back before anybody can have looked."""
    for low, high in ((0, 1500), (500, 2500), (0, 10), (1000, 2500), (0, 2000)):
        many = external("inet", *(f"172.{16 + n // 256}.{n % 256}.0/24" for n in range(low, high)))
        apply_intent(lab.net.inventory, intent(many, LINK))
    wanted = announced(lab)
    assert len(wanted) == 2001
    until(lambda: at_gobgp(lab) == wanted, True)
    until(lambda: at_frr(lab) == without_vnis(wanted), True)
    apply_intent(lab.net.inventory, Intent())
    until(lambda: len(at_gobgp(lab)) + len(at_frr(lab)), 0)


def test_every_pair_is_as_the_intent_has_it_with_an_external(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*OUTSIDE))
    found = verify(lab.net.inventory)
    assert (found.false_allows(), found.false_denies(), found.uncounted()) == ([], [], {})
    assert {(c.source, c.target) for c in found.cells if c.allowed and "ext1" in (c.source, c.target)} == {
        ("h1", "ext1"), ("h3", "ext1"), ("ext1", "h1"), ("ext1", "h3")}


def learned(lab: Lab) -> list[tuple[str, str, str]]:
    return [(r["source"], r["prefix"], r.get("unused", "")) for r in lab.client.evpn()["routes"]
            if r["source"] != "fabric"]


@pytest.mark.parametrize("through", ["router", "border leaf"])
def test_a_route_that_gobgp_originates_leads_out_until_it_is_withdrawn(lab: Lab, through: str) -> None:
    inventory = lab.net.inventory
    apply_intent(inventory, intent(*OUTSIDE))
    vnis = lab.client.intent()["allocation"]["vnis"]
    label, hop = (vnis["inet"], lab.fabric.node("border1").ip) if through == "border leaf" else (7, "203.0.113.2")
    route = (f"prefix 172.16.7.0/24 etag 0 label {label} rd 65102:5000 rt 65000:{vnis['a']} encap vxlan "
             f"router-mac 02:aa:bb:cc:dd:ee nexthop {hop}")
    ip_batch(["addr add 172.16.7.1/32 dev lo"], inventory.netns["ext1"])
    try:
        was = lab.drops("no-route:a/x")
        assert not ping(lab, "h1", "172.16.7.1")
        assert lab.drops("no-route:a/x") == was + 1
        gobgp(lab, f"global rib add -a evpn {route}")
        until(lambda: learned(lab), [("go1", "[5]:[0]:[24]:[172.16.7.0]", "")])
        until(lambda: ping(lab, "h1", "172.16.7.1") and ping(lab, "h3", "172.16.7.1"), True)
        assert not ping(lab, "h2", "172.16.7.1")    # its subnet has no peering
        gobgp(lab, f"global rib del -a evpn {route}")
        until(lambda: learned(lab), [])
        until(lambda: ping(lab, "h1", "172.16.7.1"), False)
    finally:
        ip_batch(["addr del 172.16.7.1/32 dev lo"], inventory.netns["ext1"])


def test_a_route_that_leads_nowhere_is_shown_with_the_reason_and_changes_no_rule(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*OUTSIDE))
    before = lab.installed()
    hijack = "prefix 10.1.0.3/32 etag 0 label 7 rd 65102:1 rt 65000:1001 encap vxlan nexthop 203.0.113.2"
    gobgp(lab, f"global rib add -a evpn {hijack}")
    until(lambda: learned(lab), [("go1", "[5]:[0]:[32]:[10.1.0.3]", "it would hide addresses of a/x")])
    assert lab.installed() == before
    gobgp(lab, f"global rib del -a evpn {hijack}")
    until(lambda: learned(lab), [])


def test_an_overlay_index_is_named_and_an_ethernet_tag_makes_another_route(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*OUTSIDE))
    before, vni = lab.installed(), lab.client.intent()["allocation"]["vnis"]["a"]
    common = f"label 7 rd 65102:1 rt 65000:{vni} encap vxlan nexthop 203.0.113.2"
    plain, tagged, behind = (f"prefix 172.16.7.0/24 etag 0 {common}", f"prefix 172.16.7.0/24 etag 9 {common}",
                             f"prefix 172.16.8.0/24 gw 10.1.0.9 etag 0 {common}")
    try:
        gobgp(lab, f"global rib add -a evpn {behind}")
        until(lambda: learned(lab), [("go1", "[5]:[0]:[24]:[172.16.8.0]", "it leads to the host with its gateway "
                                      "address 10.1.0.9, which is not supported")])
        assert lab.installed() == before
        gobgp(lab, f"global rib del -a evpn {behind}")
        for route in (plain, tagged):
            gobgp(lab, f"global rib add -a evpn {route}")
        until(lambda: sorted(learned(lab)), [("go1", f"[5]:[{tag}]:[24]:[172.16.7.0]", "") for tag in (0, 9)])
        lab.client.wait_converged(TIMEOUT)
        led_out = lab.installed()
        gobgp(lab, f"global rib del -a evpn {tagged}")
        until(lambda: learned(lab), [("go1", "[5]:[0]:[24]:[172.16.7.0]", "")])
        assert lab.installed() == led_out != before
    finally:
        gobgp(lab, "global rib del -a evpn all")
    until(lambda: learned(lab), [])


def test_hosts_are_sticky_at_both_routers(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*VPCS))
    wanted = announced(lab)
    until(lambda: at_gobgp(lab), wanted)
    until(lambda: at_frr(lab), without_vnis(wanted))
    table = json.loads(gobgp(lab, "global rib -a evpn -j"))
    paths = [p for paths in table.values() for p in paths if p["nlri"]["type"] == 2]
    mobility = [c for p in paths for a in p["attrs"] if a["type"] == 16 for c in a["value"]
                if (c["type"], c["subtype"]) == (6, 0)]
    assert [(c["is_sticky"], c["sequence"]) for c in mobility] == [(True, 0)] * 3
    assert vtysh(lab, "show bgp l2vpn evpn route detail").count("sticky MAC") == 3


def test_the_routes_of_a_session_that_ends_go_and_come_back_with_it(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*OUTSIDE))
    before, vni = lab.installed(), lab.client.intent()["allocation"]["vnis"]["a"]
    gobgp(lab, f"global rib add -a evpn prefix 172.16.7.0/24 etag 0 label 7 rd 65102:1 rt 65000:{vni} encap vxlan "
               "nexthop 203.0.113.2")
    until(lambda: lab.installed() != before, True)
    lab.client.wait_converged(TIMEOUT)
    led_out = lab.installed()
    try:
        gobgp(lab, "neighbor 10.254.2.1 disable")
        until(lambda: (states(lab)["go1"], learned(lab)), ("down", []))
        until(lab.installed, before)
        gobgp(lab, "neighbor 10.254.2.1 enable")
        until(lambda: (states(lab)["go1"], len(learned(lab))), ("up", 1))
        until(lab.installed, led_out)
        until(lambda: at_gobgp(lab), announced(lab))
    finally:
        gobgp(lab, "neighbor 10.254.2.1 enable")
        gobgp(lab, "global rib del -a evpn all")
    until(lambda: learned(lab), [])


def speaker(lab: Lab) -> int:
    """Its process: the controller's only child, of whatever thread."""
    assert lab.process is not None
    tasks = Path(f"/proc/{lab.process.pid}/task").glob("*/children")
    (pid,) = (pid for task in tasks for pid in task.read_text().split())
    return int(pid)


def test_a_speaker_that_is_killed_comes_back_and_announces_everything_again(lab: Lab) -> None:
    apply_intent(lab.net.inventory, intent(*VPCS))
    wanted, before = announced(lab), lab.installed()
    until(lambda: at_gobgp(lab), wanted)
    os.kill(speaker(lab), signal.SIGKILL)
    until(lambda: "down" in states(lab).values(), True)
    assert lab.installed() == before
    until(lambda: states(lab), {"frr1": "up", "go1": "up"})
    until(lambda: at_gobgp(lab), wanted)
    until(lambda: at_frr(lab), without_vnis(wanted))


def connects(lab: Lab, host: str, ip: str, port: int) -> bool:
    with inside(lab.net.inventory.netns_path(host)):
        attempt = socket.socket()
    with attempt:
        attempt.settimeout(0.5)
        try:
            attempt.connect((ip, port))
        except OSError:
            return False
        return True


def test_no_host_reaches_the_bgp_port_nor_the_controllers(lab: Lab) -> None:
    """Neither from a VPC, through its gateway, nor from the default VPC, nor from outside; each try has its drop."""
    apply_intent(lab.net.inventory, intent(*VPCS[:4], INET, LINK, OUT))
    inventory = lab.net.inventory
    targets = [(ip, port) for ip in ("10.254.1.1", "10.254.1.2", lab.fabric.node("leaf1").ip) for port in (179, 6653)]
    ip_batch(["route add 10.254.0.0/16 dev h4-eth0", "route add 10.255.0.0/16 dev h4-eth0"], inventory.netns["h4"])
    try:
        for host, drop in (("h1", "no-route:a/x"), ("ext1", "no-route:inet/link"), ("h4", "unknown-arp")):
            for ip, port in targets:
                was = lab.drops(drop)
                assert not connects(lab, host, ip, port)
                assert lab.drops(drop) > was, (host, ip, port)
        assert connects(lab, "frr1", "10.254.1.1", 179)     # the speaker does listen, for whom it is there
    finally:
        ip_batch(["route del 10.254.0.0/16", "route del 10.255.0.0/16"], inventory.netns["h4"])
