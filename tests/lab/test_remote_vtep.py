"""FRR as a VTEP: hosts behind a router that nobody here programs, and hosts behind our leaves, reach each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from scenarios.run.vpcs import apply_intent
from tests.lab.bgp_lab import TIMEOUT, at, ping, states, until
from tests.lab.controller_lab import Lab
from tests.unit.intents import attach, intent, vpc
from topologies.lab.bgp_routers import FRR
from topologies.lab.host_limits import has_module
from topologies.lab.network import running
from topologies.lab.shell import ip_batch
from topologies.links.htb import wires
from topologies.model.spec import FabricSpec

VPC, X, Y = 1001, 1002, 1003        # the first numbers that the controller gives, in the order of the names
VPCS = [vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}),
        attach("h1", "a/x"), attach("h3", "a/x"), attach("h2", "a/y")]
routed = pytest.mark.skipif(not has_module("vrf"), reason="this kernel has no VRFs; the lab VM's has")
pytestmark = [pytest.mark.lab,
              pytest.mark.skipif(not (FRR / "bgpd").exists(),
                                 reason="frr is not installed (./provision.sh installs it)"),
              pytest.mark.skipif(not has_module("vxlan"), reason="this kernel has no VXLAN devices")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two leaves, two spines, and frr1 with x1 behind it. Hosts keep what ARP has taught them from test to test."""
    spec = FabricSpec.model_validate({
        "name": "remote", "leaves": 2, "spines": 2, "hosts_per_leaf": 2, "probes": False,
        "bgp": {"peers": {"frr1": {"router": "frr", "asn": 65101, "vtep": {
            "l3vni": VPC if has_module("vrf") else None,
            "hosts": {"x1": {"address": "10.1.0.100/24", "gateway": "10.1.0.1", "vni": X}}}}}}})
    with running(spec) as net:
        lab = Lab(net)
        lab.spawn()
        lab.client.wait_converged(TIMEOUT)
        try:
            apply_intent(net.inventory, intent(*VPCS))
            assert lab.client.intent()["allocation"]["vnis"] == {"a": VPC, "a/x": X, "a/y": Y}
            until(lambda: states(lab), {"frr1": "up"})
            until(lambda: ping(lab, "x1", "10.1.0.1"), True)    # its gateway, on the router: now it is known
            until(lambda: [r.get("unused", "") for r in learned(lab)], [""])
            yield lab
        finally:
            lab.kill()


def learned(lab: Lab) -> list[dict[str, Any]]:
    """frr1's routes of type 2 that have an address."""
    return [r for r in lab.client.evpn()["routes"]
            if r["source"] == "frr1" and r["type"] == 2 and not r["prefix"].endswith("[]")]


def address(lab: Lab, host: str) -> str:
    subnets: dict[str, dict[str, str]] = lab.client.intent()["allocation"]["addresses"]
    return next(hosts[host] for hosts in subnets.values() if host in hosts)


def test_hosts_of_one_subnet_reach_each_other_across_the_two_kinds_of_leaf(lab: Lab) -> None:
    for host in ("h1", "h3"):
        until(lambda: ping(lab, host, "10.1.0.100"), True)      # noqa: B023 - asked for within the loop
        assert ping(lab, "x1", address(lab, host))
    assert not ping(lab, "h4", "10.1.0.100")        # of no VPC


def test_the_router_holds_our_hosts_as_evpn_gave_them_and_we_hold_its_own(lab: Lab) -> None:
    (route,) = learned(lab)
    assert (route["prefix"].rsplit(":", 1)[1], route["leaf"], route["vnis"][0]) == ("[10.1.0.100]", "frr1", X)
    socket = str(lab.net.journal.directory / "frr1")
    macs = json.loads(at(lab, "frr1", "vtysh", "--vty_socket", socket, "-c", f"show evpn mac vni {X} json"))["macs"]
    mine = {lab.fabric.node(host).mac for host in ("h1", "h3")}
    assert {m for m, entry in macs.items() if entry["type"] == "remote"} >= mine
    assert {m for m, entry in macs.items() if entry["type"] == "local"} == {route["prefix"].split("[")[4].split("]")[0]}


def test_a_spine_less_takes_no_reachability(lab: Lab) -> None:
    for spine in ("spine1", "spine2"):
        wires.set_state(lab.net.inventory, f"frr1-{spine}", up=False)
        try:
            until(lambda: ping(lab, "h1", "10.1.0.100") and ping(lab, "x1", address(lab, "h3")), True)
        finally:
            wires.set_state(lab.net.inventory, f"frr1-{spine}", up=True)
    until(lambda: ping(lab, "h1", "10.1.0.100"), True)


def test_a_host_behind_the_router_reaches_neither_the_underlay_nor_the_speaker(lab: Lab) -> None:
    for ip in (lab.fabric.node("leaf1").ip, lab.fabric.node("leaf2").aliases[0], "10.254.1.1"):
        assert not ping(lab, "x1", ip)
    assert ping(lab, "x1", address(lab, "h1"))


@routed
def test_hosts_of_two_subnets_are_routed_by_both_kinds_of_leaf(lab: Lab) -> None:
    until(lambda: ping(lab, "h2", "10.1.0.100"), True)
    until(lambda: ping(lab, "x1", address(lab, "h2")), True)


def test_a_host_that_goes_takes_its_route_along_and_brings_it_back(lab: Lab) -> None:
    router = lab.net.inventory.routers["frr1"]
    ip_batch(["link set x1 down"], router)
    until(lambda: learned(lab), [])
    was = lab.drops("unknown-mac")
    assert not ping(lab, "h1", "10.1.0.100")
    assert lab.drops("unknown-mac") > was
    ip_batch(["link set x1 up"], router)
    until(lambda: ping(lab, "x1", "10.1.0.1") and ping(lab, "h1", "10.1.0.100"), True)


def test_a_router_that_is_cut_off_is_named_by_the_leaves(lab: Lab) -> None:
    for spine in ("spine1", "spine2"):
        wires.set_state(lab.net.inventory, f"frr1-{spine}", up=False)
    try:
        lab.wait_down(["frr1-spine1", "frr1-spine2"])
        was = lab.drops("no-path:frr1")
        assert not ping(lab, "h1", "10.1.0.100")
        assert lab.drops("no-path:frr1") > was
    finally:
        for spine in ("spine1", "spine2"):
            wires.set_state(lab.net.inventory, f"frr1-{spine}", up=True)
    until(lambda: ping(lab, "h1", "10.1.0.100"), True)
