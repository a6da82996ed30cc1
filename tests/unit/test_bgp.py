"""EVPN routes on the wire and on the controller's lines to its speaker; what peers' routes are good for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["OSKEN_HUB_TYPE"] = "native"

from os_ken.lib.packet import bgp

from controller import bgp_codec
from controller.bgp_lines import from_json, key, to_json
from controller.evpn import MacIpRoute, MulticastRoute, PrefixRoute, Route
from topologies import bgp_routers
from topologies.bgp_routers import Router, frr_configuration, gobgp_configuration
from topologies.bgp_spec import BgpSpec
from topologies.errors import HostError, SpecErrors
from topologies.load import load_fabric

TARGETS = frozenset({"65000:1001", "65000:1002"})
MAC = "02:00:0a:09:01:01"
HOST = MacIpRoute(rd="10.255.0.1:1002", targets=TARGETS, next_hop="10.255.0.1", router_mac="02:ff:00:00:00:01",
                  mac=MAC, ip="10.1.0.2", vni=1002, l3vni=1001, sequence=3)
BRIDGE = MulticastRoute(rd="10.255.0.1:1002", targets=TARGETS, next_hop="10.255.0.1", vni=1002)
PREFIX = PrefixRoute(rd="65003:5000", targets=TARGETS, next_hop="10.255.0.3", router_mac="02:ff:00:00:00:03",
                     prefix="172.16.7.0/24", vni=9_999_999)
ROUTES = pytest.mark.parametrize("route", [HOST, BRIDGE, PREFIX], ids=["type 2", "type 3", "type 5"])


def over_the_wire(route: Route, withdraw: bool = False) -> Route | None:
    """A route as a peer reads it, from bytes."""
    path = bgp_codec.path(route, withdraw)
    attributes = list(path.pathattr_map.values())
    reach = (bgp.BGPPathAttributeMpUnreachNLRI(25, 70, [path.nlri]) if withdraw
             else bgp.BGPPathAttributeMpReachNLRI(25, 70, path.nexthop, [path.nlri]))
    data = bgp.BGPUpdate(path_attributes=[*attributes, reach]).serialize()
    read = bgp.BGPMessage.parser(bytes(data))[0].pathattr_map
    nlri = read[reach.type].withdrawn_routes[0] if withdraw else read[reach.type].nlri[0]
    next_hop = None if withdraw else read[reach.type].next_hop
    return bgp_codec.route(SimpleNamespace(nlri=nlri, pathattr_map=read, nexthop=next_hop))


@ROUTES
def test_a_route_comes_back_from_its_bytes_as_it_was(route: Route) -> None:
    assert over_the_wire(route) == route


@ROUTES
def test_a_withdrawal_names_the_route_that_it_takes_away(route: Route) -> None:
    gone = over_the_wire(route, withdraw=True)
    assert gone is not None
    assert key(gone) == key(route)


@ROUTES
def test_a_route_comes_back_from_a_line_as_it_was(route: Route) -> None:
    assert from_json(json.loads(json.dumps(to_json(route)))) == route


def test_both_vnis_of_a_host_are_whole_labels() -> None:
    """RFC 8365, 5.1.3: a VNI takes all 24 bits of the label, not the upper 20."""
    assert bytes(bgp_codec.path(HOST).nlri.serialize())[-6:] == bytes([0, 0x03, 0xEA, 0, 0x03, 0xE9])


def test_a_mac_without_an_address_and_a_route_of_ipv6() -> None:
    segment = bgp.EvpnArbitraryEsi(bytes(9))
    alone = bgp.EvpnMacIPAdvertisementNLRI("65001:1", 0, MAC, None, esi=segment, labels=b"\0\0\7")
    found = bgp_codec.route(SimpleNamespace(nlri=alone, pathattr_map={}, nexthop="10.0.0.1"))
    assert found == MacIpRoute(rd="65001:1", targets=frozenset(), next_hop="10.0.0.1", mac=MAC, ip="", vni=7, l3vni=0)
    six = bgp.EvpnIpPrefixNLRI("65001:1", 0, "2001:db8::/32", esi=segment, vni=7)
    long = bgp.EvpnIpPrefixNLRI("65001:1", 0, "10.0.0.0/33", esi=segment, vni=7)
    assert bgp_codec.route(SimpleNamespace(nlri=long, pathattr_map={}, nexthop="10.0.0.1")) is None
    assert bgp_codec.route(SimpleNamespace(nlri=six, pathattr_map={}, nexthop="10.0.0.1")) is None


def test_configurations_of_routers_name_the_speaker_and_the_address_family(tmp_path: Path) -> None:
    router = Router("frr1", "frr", 65101, 2, "ns", tmp_path)
    text = frr_configuration(router)
    assert "router bgp 65101" in text
    assert "neighbor 10.254.2.1 remote-as 65000" in text
    assert "address-family l2vpn evpn" in text
    assert "'neighbor-address': '10.254.2.1', 'peer-as': 65000" in str(gobgp_configuration(router))


@pytest.mark.parametrize(("kind", "package"), [("frr", "frr"), ("gobgp", "gobgpd")])
def test_a_router_that_is_not_installed_is_named_with_its_package(
        monkeypatch: pytest.MonkeyPatch, kind: str, package: str) -> None:
    monkeypatch.setattr(bgp_routers, "router_program", lambda _: None)
    with pytest.raises(HostError, match=rf"bgp.peers.r1.*router: {kind}[\s\S]*apt-get install {package},"):
        bgp_routers.require_routers(BgpSpec.model_validate({"peers": {"r1": {"router": kind, "asn": 65101}}}))
    bgp_routers.require_routers(None)


@pytest.mark.parametrize(("block", "message"), [
    ("{peers: {}}", "bgp.peers"), ("{peers: {leaf1: {router: frr, asn: 1}}}", "no host, leaf or spine has"),
    ("{peers: {h3: {router: frr, asn: 1}}}", "no host, leaf or spine has"),
    ("{peers: {r: {router: bird, asn: 1}}}", "bgp.peers.r.router"),
    ("{peers: {r: {router: frr, asn: 70000}}}", "bgp.peers.r.asn"),
    ("{peers: {r: {router: frr, asn: 1, password: x}}}", "password"),
])
def test_a_wrong_bgp_block_is_told_by_its_path(tmp_path: Path, block: str, message: str) -> None:
    file = tmp_path / "f.yml"
    file.write_text(f"name: f\nbgp: {block}\n")
    with pytest.raises(SpecErrors, match=message):
        load_fabric(str(file))
