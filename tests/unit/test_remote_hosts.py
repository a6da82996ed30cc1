"""Routers with a VTEP of their own: what they are in the fabric, and which of their routes count."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from controller.evpn.bgp_import import Judged, Learned, importable, judge
from controller.evpn.evpn import MacIpRoute, MulticastRoute, RouteTable, ip_vrfs, mac_vrfs
from controller.intent.vpc import Allocation, Tenancy, allocate, resolve
from controller.rules.compile import Compiler
from controller.rules.state import State
from tests.unit.intents import attach, intent, peer, vpc
from topologies.lab.bgp_routers import Router, frr_configuration
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from topologies.proof.ledger import Counters, balance
from topologies.switches.ovs.hops import walk

VTEP = {"l3vni": 1001, "hosts": {"x1": {"address": "10.1.0.100/24", "gateway": "10.1.0.1", "vni": 1002}}}


def spec(vtep: dict[str, Any] | None = None, router: str = "frr", **keys: Any) -> FabricSpec:
    return FabricSpec.model_validate({
        "name": "remote", "leaves": 2, "spines": 2, "hosts_per_leaf": 2, "probes": False,
        "bgp": {"peers": {"frr1": {"router": router, "asn": 65101, "vtep": vtep or VTEP},
                          "go1": {"router": "gobgp", "asn": 65102}}}, **keys})


FABRIC = expand(spec())
FRR1 = FABRIC.node("frr1")
INTENT = intent(vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}), vpc("b", {"z": "10.2.0.0/24"}), peer(a=["x"], b=[]),
                attach("h1", "a/x"), attach("h3", "a/x"), attach("h2", "a/y"), attach("h4", "b/z"))
TENANCY = resolve(INTENT, FABRIC, allocate(INTENT, Allocation()))
X1 = MacIpRoute(rd="10.254.1.2:2", targets=frozenset({"65000:1001", "65000:1002"}), next_hop=FRR1.ip,
                router_mac=FRR1.mac, mac="02:aa:00:00:00:01", ip="10.1.0.100", vni=1002, l3vni=1001)


def judged(route: Any, by: str = "frr1", fabric: Fabric = FABRIC, tenancy: Tenancy = TENANCY) -> Judged:
    (found,) = judge(fabric, tenancy, [Learned(by, route)])
    return found


def flows(*routes: MacIpRoute) -> dict[str, set[str]]:
    """Leaf -> the names of its rules that speak of x1's address."""
    compiler = Compiler(FABRIC, TENANCY, imported=importable(FABRIC, TENANCY, [Learned("frr1", r) for r in routes]))
    rules = compiler.rules(State())
    return {leaf.name: {f.name for f in rules[leaf.name].flows if "10.1.0.100" in f.name} for leaf in FABRIC.leaves}


def test_a_router_with_a_vtep_is_a_tunnel_end_with_links_to_every_spine_and_no_leaf() -> None:
    assert (FRR1.role, FRR1.index, FRR1.ip) == ("vtep", 3, "10.255.0.3")
    assert [k.name for k in FABRIC.uplinks("frr1")] == ["frr1-spine1", "frr1-spine2"]
    assert {k.rate for k in FABRIC.uplinks("frr1")} == {10e6}
    assert FRR1 in FABRIC.tunnel_ends
    assert "frr1" not in {n.name for n in (*FABRIC.leaves, *FABRIC.switches, *FABRIC.all_hosts)}
    assert {k.rate for k in expand(spec(VTEP | {"uplink_rate": "4mbit"})).uplinks("frr1")} == {4e6}


def test_leaves_and_spines_lead_to_it_as_to_a_leaf() -> None:
    rules = Compiler(FABRIC, TENANCY).rules(State())
    for spine in FABRIC.spines:
        assert sum(f.name == "route:frr1" for f in rules[spine.name].flows) == 2    # its VTEP, and its alias here
    for leaf in FABRIC.leaves:
        (group,) = (g for g in rules[leaf.name].groups if g.name == "ecmp:frr1")
        assert len(group.buckets) == 2
        assert {n.ip for n in rules[leaf.name].neighbours} >= {FRR1.ip, *FRR1.aliases}


def test_a_link_of_its_that_is_down_is_no_path() -> None:
    rules = Compiler(FABRIC, TENANCY).rules(State(frozenset({"frr1-spine1"})))
    (group,) = (g for g in rules["leaf1"].groups if g.name == "ecmp:frr1")
    assert len(group.buckets) == 1


def test_a_host_behind_it_is_bridged_routed_and_answered_for() -> None:
    assert flows(X1) == {
        "leaf1": {"arp:a/x:10.1.0.100", "bridge:a/x:10.1.0.100", "route:a:10.1.0.100/32"},
        "leaf2": {"arp:a/x:10.1.0.100", "bridge:a/x:10.1.0.100", "route:a:10.1.0.100/32", "route:b:10.1.0.100/32"}}
    assert flows() == {"leaf1": set(), "leaf2": set()}


def test_a_route_for_a_bridge_only_is_bridged_and_not_routed() -> None:
    only = {"arp:a/x:10.1.0.100", "bridge:a/x:10.1.0.100"}
    assert flows(replace(X1, l3vni=0, router_mac="")) == {"leaf1": only, "leaf2": only}


def test_vrfs_import_it_by_route_target_alone() -> None:
    table = RouteTable([X1])
    for leaf in FABRIC.leaves:
        assert {v.segment.name for v in mac_vrfs(TENANCY, leaf) if v.imported(table)} == {"a/x"}
    (vrf,) = (v for v in ip_vrfs(TENANCY, FABRIC.node("leaf2")) if v.tenant.name == "b")
    assert list(vrf.imported(table)) == ["10.1.0.100/32"]       # b peers with a/x
    assert not vrf.imported(RouteTable([replace(X1, targets=frozenset({"65000:1001"}))]))


@pytest.mark.parametrize(("change", "reason"), [
    ({"next_hop": "10.255.0.1"}, "its next hop is no VTEP of its router's own"),
    ({"targets": frozenset({"65000:9"})}, "no route target of it is that of a subnet with mode l2vni"),
    ({"tag": 7}, "its Ethernet Tag is 7, of a VLAN-aware bundle"),
    ({"esi": "00:01:02:03:04:05:06:07:08:09"}, "multihoming is not supported"),
    ({"mac": "ff:ff:ff:ff:ff:ff"}, "its MAC, ff:ff:ff:ff:ff:ff, is that of a group"),
    ({"mac": "01:00:5e:00:00:01"}, "is that of a group and no host's"),
    ({"vni": 1003}, "its VNI is 1003; that of a/x is 1002"),
    ({"l3vni": 7}, "its second VNI is 7; that of VPC a is 1001"),
    ({"router_mac": ""}, "it has the VNI of a VPC and no router's MAC"),
    ({"ip": ""}, "it has no address"),
    ({"ip": "10.1.1.100"}, "its address is outside of a/x, 10.1.0.0/24"),
    ({"ip": "10.1.0.1"}, "its address is that of the gateway of a/x"),
    ({"mac": GATEWAY_MAC}, "its address is that of the gateway of a/x"),
    ({"ip": "10.1.0.2"}, "its address is that of h1"),
    ({"mac": FABRIC.node("h3").mac}, "its address is that of h3"),
])
def test_a_route_that_is_not_used_says_why(change: dict[str, Any], reason: str) -> None:
    found = judged(replace(X1, **change))
    assert found.usable is None
    assert reason in found.reason


def test_a_route_is_imported_by_the_targets_that_it_was_held_against_and_no_others() -> None:
    """h4 is in b/z: with that target, its MAC and a higher sequence number a router would take its place."""
    z = TENANCY.segments["b/z"]
    theft = replace(X1, targets=X1.targets | {f"65000:{z.vni}"}, mac=FABRIC.node("h4").mac, sequence=1)
    found = judged(theft).usable
    assert found is not None
    assert found.targets == X1.targets
    assert judged(replace(X1, l3vni=0, router_mac="")).usable == replace(
        X1, l3vni=0, router_mac="", targets=frozenset({"65000:1002"}))


@pytest.mark.parametrize(("change", "reason"), [
    ({"mac": "02:aa:00:00:00:02"}, "10.1.0.100 is already that of 02:aa:00:00:00:01"),
    ({"ip": "10.1.0.101"}, "02:aa:00:00:00:01 is already that of 02:aa:00:00:00:01, 10.1.0.100"),
])
def test_of_two_routes_for_one_mac_or_address_the_first_counts(change: dict[str, Any], reason: str) -> None:
    first, second = judge(FABRIC, TENANCY, [Learned("frr1", X1), Learned("frr1", replace(X1, **change))])
    assert first.usable == X1
    assert second.usable is None
    assert reason in second.reason


def test_nobody_announces_hosts_of_another_router_nor_takes_part_in_broadcast() -> None:
    assert judged(X1).usable == X1
    assert "no VTEP of its router's own" in judged(X1, by="go1").reason
    assert "send it nowhere" in judged(MulticastRoute(rd="1:1", targets=X1.targets, next_hop=FRR1.ip, vni=1002)).reason


def test_what_goes_to_a_router_and_comes_from_it_is_in_the_books() -> None:
    wires = {link.name: (f"{link.name}a", f"{link.name}b") for link in FABRIC.links}
    none = Counters(received={}, sent={}, queues={}, overruns={}, policy={})
    link = FABRIC.link("frr1-spine1")
    some = replace(none, received={"frr1/up1": 3}, sent={"frr1/up1": 5})
    found = balance(FABRIC, partial(walk, wires), none, some)
    assert (link.a.interface, found.sent, found.received) == ("up1", 5, 3)


def test_frr_is_reported_its_vnis_with_the_fabrics_targets() -> None:
    peer_spec = spec().bgp.peers["frr1"]        # type: ignore[union-attr]
    text = frr_configuration(Router("frr1", "frr", 65101, 1, "ns", None, peer_spec.vtep))      # type: ignore[arg-type]
    for line in ("  advertise-all-vni", "  vni 1002", "   route-target import 65000:1002",
                 "router bgp 65101 vrf vrf1001", "  route-target export 65000:1001"):
        assert line in text.splitlines()


@pytest.mark.parametrize(("keys", "at", "expected"), [
    ({"router": "gobgp"}, ("bgp", "peers", "frr1", "vtep"), "router: frr only"),
    ({"vtep": {"hosts": {"h1": VTEP["hosts"]["x1"]}}}, ("bgp", "peers", "frr1", "vtep", "hosts", "h1"),     # type: ignore[index]
     "that no host, leaf or spine has"),
    ({"vtep": {"hosts": {"x1": {"address": "10.1.0.1/24", "gateway": "10.1.0.1", "vni": 5}}}},
     ("bgp", "peers", "frr1", "vtep", "hosts", "x1", "gateway"), "another address of 10.1.0.0/24"),
    ({"vtep": {"hosts": {"x1": {"address": "ten", "gateway": "10.1.0.1", "vni": 5}}}},
     ("bgp", "peers", "frr1", "vtep", "hosts", "x1"), "an address such as 10.1.0.50/24"),
    *(({"vtep": {"hosts": {name: VTEP["hosts"]["x1"]}}}, ("bgp", "peers", "frr1", "vtep", "hosts", name),   # type: ignore[index]
       "nor a device such as eth0") for name in ("eth0", "lo", "up1", "br1002", "vrf1001")),
    *(({"vtep": {"hosts": {"x1": {"address": address, "gateway": gateway, "vni": 5}}}},
       ("bgp", "peers", "frr1", "vtep", "hosts", "x1", key), expected) for address, gateway, key, expected in (
        ("10.1.0.0/24", "10.1.0.1", "address", "an address that a host can have"),
        ("10.1.0.255/24", "10.1.0.1", "address", "an address that a host can have"),
        ("10.255.0.9/24", "10.255.0.1", "address", "a subnet outside of 10.255.0.0/16: the underlay"),
        ("10.254.0.9/24", "10.254.0.1", "address", "a subnet outside of 10.254.0.0/16: the links with BGP"),
        ("10.9.7.9/24", "10.9.7.1", "address", "a subnet outside of 10.9.0.0/16: the default VPC"),
        ("10.1.0.9/24", "10.1.0.0", "gateway", "another address of 10.1.0.0/24"))),
    *(({"vtep": {"hosts": {"x1": {"address": "10.1.0.9/24", "gateway": "10.1.0.1", "vni": 5},
                           "x2": {"address": "10.1.0.9/24", "gateway": "10.1.0.1", "vni": vni}}}},
       ("bgp", "peers", "frr1", "vtep", "hosts", "x2", "address"), expected) for vni, expected in (
        (5, "an address that no other host of VNI 5 has"), (6, "one VNI for each subnet of a router"))),
    ({"vtep": VTEP | {"l3vni": 100}}, ("bgp", "peers", "frr1", "vtep", "l3vni"), "the VNI of a VPC"),
    ({"vtep": VTEP | {"l3vni": 1002}}, ("bgp", "peers", "frr1", "vtep", "hosts", "x1", "vni"), "not of a VPC"),
    ({"vtep": {"hosts": {"x1": {"address": "10.1.0.9/24", "gateway": "10.1.0.1", "vni": 5},
                         "x2": {"address": "10.2.0.9/24", "gateway": "10.2.0.1", "vni": 5}}}},
     ("bgp", "peers", "frr1", "vtep", "hosts", "x2", "vni"), "one subnet for each VNI"),
])
def test_what_does_not_fit_is_reported_with_its_place(keys: dict[str, Any], at: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ValidationError) as error:
        spec(**keys)
    violations = [m for e in error.value.errors() for m in e["ctx"]["error"].violations]
    assert [(m.at, expected in m.expected) for m in violations] == [(at, True)]
