"""EVPN routes on the wire and on the controller's lines to its speaker; what peers' routes are good for."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["OSKEN_HUB_TYPE"] = "native"

from os_ken.lib.packet import bgp

from controller.bgp import bgp_codec, bgp_link
from controller.bgp.bgp_lines import from_json, key, to_json
from controller.bgp.bgp_link import BgpLink
from controller.evpn.bgp_import import Learned
from controller.evpn.evpn import MacIpRoute, MulticastRoute, PrefixRoute, Route
from topologies.lab import bgp_routers
from topologies.lab.bgp_routers import Router, frr_configuration, gobgp_configuration
from topologies.model.bgp_spec import BgpSpec
from topologies.model.errors import HostError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec

TARGETS = frozenset({"65000:1001", "65000:1002"})
MAC = "02:00:0a:09:01:01"
HOST = MacIpRoute(rd="10.255.0.1:1002", targets=TARGETS, next_hop="10.255.0.1", router_mac="02:ff:00:00:00:01",
                  mac=MAC, ip="10.1.0.2", vni=1002, l3vni=1001, sequence=3)
BRIDGE = MulticastRoute(rd="10.255.0.1:1002", targets=TARGETS, next_hop="10.255.0.1", vni=1002)
PREFIX = PrefixRoute(rd="65003:5000", targets=TARGETS, next_hop="10.255.0.3", router_mac="02:ff:00:00:00:03",
                     prefix="172.16.7.0/24", vni=9_999_999)
ESI = "00:01:02:03:04:05:06:07:08:09"
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


OTHERS = [replace(HOST, tag=7), replace(BRIDGE, tag=7), replace(PREFIX, tag=4_294_967_295)]


@pytest.mark.parametrize(("route", "other"), [*zip([HOST, BRIDGE, PREFIX], OTHERS, strict=True)],
                         ids=["type 2", "type 3", "type 5"])
def test_routes_that_differ_in_their_ethernet_tag_are_two_routes(route: Route, other: Route) -> None:
    assert over_the_wire(other) == other
    assert key(other) != key(route)
    gone = over_the_wire(other, withdraw=True)
    assert gone is not None
    assert key(gone) == key(other)


@pytest.mark.parametrize("other", [
    replace(HOST, vni=7, l3vni=0, esi=ESI, sequence=9, sticky=True), replace(PREFIX, vni=7, gateway="10.1.0.9"),
    replace(PREFIX, esi=ESI)], ids=["2", "5 gateway", "5 segment"])
def test_labels_segments_and_gateways_are_no_part_of_what_tells_routes_apart(other: Route) -> None:
    assert over_the_wire(other) == other
    assert key(other) == key(HOST if isinstance(other, MacIpRoute) else PREFIX)
    assert from_json(json.loads(json.dumps(to_json(other)))) == other


@pytest.mark.parametrize("kind", [0, 1, 3, 5, 7, 255])
def test_a_segment_of_any_type_is_read_and_ends_no_session(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgp.EvpnEsi, "parser", bgp.EvpnEsi.parser)      # comes back after the test
    bgp_codec.read_any_segment()
    behind = replace(HOST, esi=f"{kind:02x}:01:02:03:04:05:06:07:08:09")
    assert over_the_wire(behind) == behind


def test_a_sticky_mac_has_the_flag_and_a_sequence_of_zero_on_the_wire() -> None:
    """RFC 7432, 7.7: type 6, subtype 0, flags, reserved, sequence."""
    data = bgp_codec._attributes(replace(HOST, sequence=0, sticky=True))[bgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES]
    assert bytes([6, 0, 1, 0, 0, 0, 0, 0]) in bytes(data.serialize())
    data = bgp_codec._attributes(replace(HOST, sequence=0))[bgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES]
    assert bytes([6, 0]) not in bytes(data.serialize())[3::8]


def link_to_one_peer() -> BgpLink:
    spec = {"name": "f", "bgp": {"peers": {"go1": {"router": "gobgp", "asn": 65102}}}}
    fabric = expand(FabricSpec.model_validate(spec))
    return BgpLink(Inventory(lab="l", directory="", fabric=fabric, netns={}, wiring="", wires={}, switches={},
                             datapath="ovs", controller_socket="", api_socket=""))


def announcements(link: BgpLink, *routes: Route, gone: bool = False) -> None:
    for route in routes:
        link._hear({"peer": "10.254.1.2", "gone" if gone else "learned": to_json(route)})


def test_withdrawing_the_route_of_one_ethernet_tag_leaves_that_of_another() -> None:
    link = link_to_one_peer()
    announcements(link, PREFIX, replace(PREFIX, tag=7))
    announcements(link, PREFIX, gone=True)
    assert [*link._learned["10.254.1.2"].values()] == [replace(PREFIX, tag=7)]


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
def test_a_wrong_bgp_block_is_reported_by_its_path(tmp_path: Path, block: str, message: str) -> None:
    file = tmp_path / "f.yml"
    file.write_text(f"name: f\nbgp: {block}\n")
    with pytest.raises(SpecErrors, match=message):
        load_fabric(str(file))


def test_routes_that_could_not_be_installed_are_tried_again_without_news(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY", "LONGEST", "GATHER"):
        monkeypatch.setattr(bgp_link, name, 0.001)
    link, tries, done = link_to_one_peer(), [], threading.Event()    # type: ignore[var-annotated]

    def learn(routes: tuple[Learned, ...]) -> None:
        tries.append(routes)
        if len(tries) < 4:
            raise RuntimeError("a switch is gone")
        done.set()

    threading.Thread(target=link._report_for_ever, args=(learn,), daemon=True).start()
    announcements(link, PREFIX)
    assert done.wait(30)
    assert tries == [(Learned("go1", PREFIX),)] * 4
