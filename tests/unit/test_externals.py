"""Externals: what is refused, what intent and compiled rules let out and in, and which routes of BGP peers count."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.evpn.bgp_import import Learned, importable, judge
from controller.evpn.evpn import MacIpRoute, PrefixRoute, Route
from controller.evpn.evpn_view import tables
from controller.intent.intent import read_intent
from controller.intent.intent_checks import intent_problems
from controller.rules.compile import Compiler
from controller.rules.state import State
from controller.rules.tables import Table
from controller.verify.walk import Delivered, Dropped, Walker
from tests.examples import examples
from tests.unit.intents import Spec, attach, external, external_attach, external_peer, intent, peer, vpc
from tests.unit.test_vpc_rules import World, judged, seen
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.document import dotted
from topologies.model.errors import SpecErrors
from topologies.model.expansion import expand
from topologies.model.spec import BorderSpec, FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=3, probes=False,
                           border=BorderSpec(hosts=2, rate="10mbit")))     # type: ignore[arg-type]
BORDER = FABRIC.node("border1")
A = vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"})
B = vpc("b", {"z": "10.2.0.0/24"}, mode="l3vni")
INET = external("inet", "198.51.100.0/24")
LINK = external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.2")
OUT = external_peer("a", ["x"], "inet", "198.51.100.0/23", "172.16.0.0/12")
HOSTS = [attach("h1", "a/x"), attach("h4", "a/x"), attach("h2", "a/y"), attach("h5", "b/z")]
PEERED = [A, B, INET, LINK, OUT, *HOSTS]


def world(*objects: Spec) -> World:
    return World(intent(*objects), FABRIC)


def sent(it: World, host: str, ip: str, source: str = "") -> Delivered | Dropped:
    """What becomes of a packet to an address outside, or from one."""
    some = next(c for c in it.cells if c.source == host)
    packet = it.packet(some, eth_dst=GATEWAY_MAC, ipv4_src=source or it.ip(host), ipv4_dst=ip)
    return seen(it.switches.send(host, packet).end)


@pytest.mark.parametrize("objects", [
    PEERED, [*PEERED, external_peer("b", [], "inet", "0.0.0.0/0")], PEERED[:4] + HOSTS, [A, B, INET, *HOSTS],
    [A, B, external("inet", "0.0.0.0/0"), LINK, external_peer("a", [], "inet", "0.0.0.0/0"), *HOSTS],
    [*PEERED, attach("ext2", "a/y"), peer(a=["y"], b=[])],
], ids=["one subnet", "two VPCs", "no peering", "no link", "default route", "an outside host in a VPC"])
def test_every_pair_is_as_the_intent_has_it_with_externals(objects: list[Spec]) -> None:
    it = world(*objects)
    assert [c for c in it.cells if seen(it.end(c)) != judged(it, c)] == []


@examples(25)
@given(st.sets(st.sampled_from(["x", "y"])),
       st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "10.2.0.0/16", "192.0.2.0/24"]),
       st.sampled_from(["0.0.0.0/0", "10.0.0.0/8"]), st.booleans())
def test_every_pair_is_as_the_intent_has_it_whatever_is_behind_the_external(
        subnets: set[str], behind: str, let_in: str, peered: bool) -> None:
    more = [peer(a=["y"], b=[])] if peered else []
    it = world(A, B, external("inet", behind), LINK, external_peer("a", sorted(subnets), "inet", let_in), *more, *HOSTS)
    assert [c for c in it.cells if seen(it.end(c)) != judged(it, c)] == []


def test_a_permitted_subnet_reaches_what_is_permitted_behind_the_external_and_nothing_else() -> None:
    it = world(*PEERED)
    for host in ("h1", "h4"):
        assert sent(it, host, "198.51.100.77") == Delivered("ext1", {})
    assert sent(it, "h1", "198.51.101.1") == Dropped("leaf1", "no-route:a/x")      # permitted, but nobody has said so
    assert sent(it, "h2", "198.51.100.77") == Dropped("leaf1", "no-route:a/y")
    assert sent(it, "h5", "198.51.100.77") == Dropped("leaf2", "no-route:b/z")
    narrow = world(A, INET, LINK, external_peer("a", ["x"], "inet", "198.51.100.0/25"), *HOSTS[:3])
    assert sent(narrow, "h1", "198.51.100.7") == Dropped("leaf1", "no-route:a/x")   # a /24 is wider than that


def test_the_outside_reaches_permitted_subnets_under_its_own_addresses_only() -> None:
    it = world(*PEERED)
    h1, h2 = it.ip("h1"), it.ip("h2")
    assert sent(it, "ext1", h1) == Delivered("h1", {})
    assert sent(it, "ext1", h1, source="198.51.100.77") == Delivered("h1", {})
    assert sent(it, "ext1", h2) == Dropped("border1", "no-route:inet/link")
    assert sent(it, "ext1", h1, source=it.ip("h4")) == Dropped("border1", "spoof:ext1")
    assert sent(it, "ext1", "198.51.100.77", source="198.51.100.1") == Dropped("border1", "no-route:inet/link")


def test_the_router_may_ask_for_its_gateway_under_any_address() -> None:
    it = world(*PEERED)
    answer = it.switches.send("ext1", it.arp("ext1", "203.0.113.1") | {"arp_spa": "198.51.100.77"}).end
    assert isinstance(answer, Delivered)
    assert (answer.host, answer.packet["arp_sha"], answer.packet["arp_op"]) == ("ext1", GATEWAY_MAC, 2)


def learned(prefix: str, next_hop: str, vni: int, target: str = "65000:1001") -> Learned:
    return Learned("go1", PrefixRoute(rd="65102:1", targets=frozenset({target}), next_hop=next_hop,
                                      router_mac="02:aa:bb:cc:dd:ee", prefix=prefix, vni=vni))


def test_a_learned_route_leads_out_and_only_where_its_targets_and_the_peering_say() -> None:
    it = world(*PEERED)
    vni = it.allocation.vnis["inet"]
    for one in (learned("172.16.7.0/24", BORDER.ip, vni), learned("172.16.7.0/24", "203.0.113.2", 5000)):
        imported = importable(FABRIC, it.tenancy, [one])
        assert imported == (replace(one.route, next_hop=BORDER.ip, router_mac=BORDER.mac, vni=vni),)
        compiler = Compiler(FABRIC, it.tenancy, previous=it.compiler, imported=imported)
        it.switches = Walker(FABRIC, compiler.rules(State()))
        assert sent(it, "h4", "172.16.7.1") == Delivered("ext1", {})
        assert sent(it, "h2", "172.16.7.1") == Dropped("leaf1", "no-route:a/y")     # it imports it, but may not
        assert sent(it, "h5", "172.16.7.1") == Dropped("leaf2", "no-route:b/z")
    it.switches = Walker(FABRIC, Compiler(FABRIC, it.tenancy, previous=compiler).rules(State()))
    assert sent(it, "h4", "172.16.7.1") == Dropped("leaf2", "no-route:a/x")         # withdrawn


@pytest.mark.parametrize("prefix", ["0.0.0.0/0", "10.255.0.0/24", "10.255.0.2/32", "10.254.0.0/16", "10.9.0.0/16"])
@pytest.mark.parametrize("is_learned", [True, False])
def test_a_prefix_behind_an_external_may_cover_what_the_lab_has_itself(prefix: str, is_learned: bool) -> None:
    """Outer headers are matched in INGRESS only, and a VPC's ways out in POLICY, by the VNI of its packets."""
    it = world(A, external("inet", *([] if is_learned else [prefix])), LINK,
               external_peer("a", [], "inet", "0.0.0.0/0"), *HOSTS[:3])
    routes = [learned(prefix, "203.0.113.2", 7)] if is_learned else []
    compiler = Compiler(FABRIC, it.tenancy, imported=importable(FABRIC, it.tenancy, routes))
    it.switches = Walker(FABRIC, compiler.rules(State()))
    assert [c for c in it.cells if c.target in it.tenancy.members and seen(it.end(c)) != judged(it, c)] == []
    outside = str(IPv4Network(prefix)[2 if prefix[-2:] != "32" else 0])
    assert sent(it, "h1", outside) == sent(it, "h4", outside) == Delivered("ext1", {})
    assert all(f.table == Table.POLICY and f.match.tunnel_id for r in compiler.rules(State()).values()
               for f in r.flows if f.name.endswith(f":{prefix}"))


def test_a_learned_route_that_no_peering_permits_or_no_vrf_imports_changes_nothing() -> None:
    it = world(*PEERED)
    for one in (learned("192.0.2.0/24", "203.0.113.2", 1), learned("172.16.7.0/24", "203.0.113.2", 1, "65000:9999")):
        compiler = Compiler(FABRIC, it.tenancy, previous=it.compiler,
                            imported=importable(FABRIC, it.tenancy, [one]))
        names = {f.name for rules in compiler.rules(State()).values() for f in rules.flows}
        assert not any(str(IPv4Network(one.route.prefix)) in name for name in names)    # type: ignore[union-attr]


def test_a_learned_route_may_have_addresses_of_a_vpc_that_is_not_in_view() -> None:
    it = world(*PEERED)
    imported = importable(FABRIC, it.tenancy, [learned("10.2.0.0/24", "203.0.113.2", 1)])
    compiler = Compiler(FABRIC, it.tenancy, previous=it.compiler, imported=imported)
    it.switches = Walker(FABRIC, compiler.rules(State()))
    assert sent(it, "h2", it.ip("h5")) == Dropped("leaf1", "no-route:a/y")
    let_in = world(*PEERED[:4], external_peer("a", ["x"], "inet", "10.2.0.0/16"), *HOSTS)
    compiler = Compiler(FABRIC, let_in.tenancy, imported=imported)
    it.switches = Walker(FABRIC, compiler.rules(State()))
    assert sent(it, "h1", it.ip("h5")) == Delivered("ext1", {})     # in the eyes of a, it is outside


def test_a_learned_route_takes_no_address_of_a_vpc_that_has_no_way_out() -> None:
    """Its targets are those of a VPC that does not peer with the External which it leads to: nobody holds it against
    that VPC's subnets."""
    it = world(*PEERED)
    vni = it.allocation.vnis["b"]
    imported = importable(FABRIC, it.tenancy, [learned("10.2.0.77/32", "203.0.113.2", 7, f"65000:{vni}")])
    it.switches = Walker(FABRIC, Compiler(FABRIC, it.tenancy, imported=imported).rules(State()))
    assert sent(it, "h5", "10.2.0.77") == Dropped("leaf2", "unknown-host:b/z")


def test_a_prefix_that_is_the_link_itself_is_not_behind_its_router() -> None:
    it = world(A, external("inet", "203.0.113.0/29"), external_attach("inet", "ext1", "203.0.113.1/29", "203.0.113.2"),
               external_peer("a", [], "inet", "0.0.0.0/0"), *HOSTS[:3])
    assert sent(it, "h1", "203.0.113.2") == Delivered("ext1", {})
    assert sent(it, "h1", "203.0.113.5") == Dropped("leaf1", "unknown-host:a/x")


HOST = MacIpRoute(rd="65101:1", targets=frozenset({"65000:1001"}), next_hop=BORDER.ip, mac="02:00:00:00:00:99",
                  ip="10.1.0.9", vni=1002, l3vni=1001)


PLAIN = PrefixRoute(rd="65102:1", targets=frozenset({"65000:1001"}), next_hop="203.0.113.2", prefix="172.16.0.0/16",
                    router_mac="02:aa:bb:cc:dd:ee", vni=7)
ESI = "00:01:02:03:04:05:06:07:08:09"


@pytest.mark.parametrize(("route", "reason"), [
    (HOST, "its next hop is no VTEP of its router's own"),
    (learned("172.16.0.0/16", "10.254.2.2", 1).route, "its next hop is no External's"),
    (learned("172.16.0.0/16", BORDER.ip, 77).route, "its next hop is no External's"),
    (replace(PLAIN, gateway="10.1.0.9"), "it leads to the host with its gateway address 10.1.0.9, which"),
    (replace(PLAIN, esi=ESI), f"it leads to the Ethernet segment {ESI}, which is not supported"),
    (replace(PLAIN, esi=ESI, gateway="10.1.0.9"), "it has both a gateway, 10.1.0.9, and an Ethernet segment"),
    (replace(PLAIN, vni=0, router_mac=""), "it has neither a VNI, nor a router's MAC, nor a gateway, nor"),
    (learned("10.1.0.3/32", "203.0.113.2", 1).route, "it would hide addresses of a/x"),
    (learned("10.3.0.128/25", "203.0.113.2", 1).route, "it would hide addresses of d/w"),
    (learned("203.0.113.2/32", "203.0.113.2", 1).route, "it would hide addresses of inet/link"),
])
def test_a_route_of_a_peer_that_is_not_used_says_why(route: Route, reason: str) -> None:
    it = world(*PEERED, vpc("d", {"w": "10.3.0.0/24"}), peer(a=["y"], d=[]))
    (one,) = judge(FABRIC, it.tenancy, [Learned("frr1", route)])
    assert one.usable is None
    assert reason in one.reason
    row = tables(FABRIC, it.tenancy, it.compiler.originated, [one])["routes"][-1]
    assert (row["source"], row["unused"]) == ("frr1", one.reason)


def test_a_route_with_an_overlay_index_changes_no_rule_and_its_index_is_shown() -> None:
    it = world(*PEERED)
    odd = [replace(PLAIN, gateway="10.1.0.9"), replace(PLAIN, rd="65102:2", tag=7, esi=ESI)]
    judged = [*judge(FABRIC, it.tenancy, [Learned("go1", r) for r in (*odd, PLAIN)])]
    assert [j.usable is not None for j in judged] == [False, False, True]
    rows = tables(FABRIC, it.tenancy, it.compiler.originated, judged)["routes"][-3:]
    assert [(r["prefix"], r.get("gateway"), r.get("esi")) for r in rows] == [
        ("[5]:[0]:[16]:[172.16.0.0]", "10.1.0.9", None), ("[5]:[7]:[16]:[172.16.0.0]", None, ESI),
        ("[5]:[0]:[16]:[172.16.0.0]", None, None)]


@pytest.mark.parametrize(("objects", "path", "expected"), [
    ([A, external("a")], "objects.1.metadata.name", "a name that no VPC has"),
    ([external("default")], "objects.0.metadata.name", "another name"),
    ([INET, external_attach("inet", "h1", "203.0.113.1/30", "203.0.113.2")], "objects.1.spec.connection",
     "an outside host, behind a border leaf"),
    ([A, attach("ext1", "a/x"), INET, LINK], "objects.3.spec.connection", "each host attached once"),
    ([external_attach("inte", "ext1", "203.0.113.1/30", "203.0.113.2")], "objects.0.spec.external",
     "one of the Externals that exist (there are none)"),
    ([INET, LINK, external_attach("inet", "ext2", "203.0.113.5/30", "203.0.113.6")], "objects.2.spec.external",
     "each External attached once"),
    ([INET, external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.9")], "objects.1.spec.static.remoteIP",
     "a host address of 203.0.113.0/30"),
    ([INET, external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.1")], "objects.1.spec.static.remoteIP",
     "an address other than the border leaf's"),
    ([INET, external_attach("inet", "ext1", "203.0.113.0/31", "203.0.113.1")], "objects.1.spec.static.ip",
     "a unicast prefix of at most 30 bits"),
    ([INET, external_attach("inet", "ext1", "127.0.0.1/30", "127.0.0.2")], "objects.1.spec.static.ip", "a unicast"),
    *(([INET, external_attach("inet", "ext1", f"{net}.1/30", f"{net}.2")], "objects.1.spec.static.ip",
       f"a prefix that does not overlap {own}") for net, own in (
        ("10.255.0", "10.255.0.0/16 (the underlay"), ("10.255.2", "10.255.0.0/16 (the underlay"),
        ("10.254.7", "10.254.0.0/16 (the links with BGP routers"), ("10.9.1", "10.9.0.0/16 (the default VPC"))),
    ([A, external_peer("a", [], "inet", "0.0.0.0/0")], "objects.1.spec.permit.external.name", "one of the Externals"),
    ([INET, external_peer("b", [], "inet", "0.0.0.0/0")], "objects.1.spec.permit.vpc.name", "one of the VPCs"),
    ([A, INET, external_peer("a", ["w"], "inet", "0.0.0.0/0")], "objects.2.spec.permit.vpc.subnets.0",
     "one of the subnets x, y"),
    ([A, external("inet", "10.1.1.128/25"), external_peer("a", [], "inet", "0.0.0.0/0")], "objects.2.spec.permit",
     "an External with no prefix inside of a subnet that a sees"),
    ([A, B, peer(a=[], b=[]), external("inet", "10.2.0.0/24"), external_peer("a", [], "inet", "0.0.0.0/0")],
     "objects.4.spec.permit", "an External with no prefix inside of a subnet that a sees"),
    ([A, vpc("c", {"w": "10.1.0.0/16"}), INET, LINK, OUT, external_peer("c", [], "inet", "0.0.0.0/0")],
     "objects.5.spec.permit", "peers whose subnets do not overlap"),
    ([A, INET, external("wan", "198.51.100.0/24"), OUT, external_peer("a", [], "wan", "0.0.0.0/0")],
     "objects.4.spec.permit.external.name", "each prefix behind one External"),
])
def test_an_intent_that_cannot_be_is_reported_by_its_path(objects: list[Spec], path: str, expected: str) -> None:
    (problem,) = intent_problems(intent(*objects), FABRIC)
    assert dotted(problem.path) == path
    assert expected in problem.expected


@pytest.mark.parametrize(("spec", "words"), [
    ("kind: External\nmetadata: {name: i}\nspec: {outboundCommunity: '1:2', static: {}}", "outboundCommunity"),
    ("kind: External\nmetadata: {name: i}\nspec: {inboundCommunity: '1:2', static: {}}", "inboundCommunity"),
    ("kind: ExternalAttachment\nmetadata: {name: i}\nspec: {external: i, connection: ext1, switch: {vlan: 1}}",
     "switch"),
    ("kind: ExternalAttachment\nmetadata: {name: i}\nspec: {external: i, connection: ext1, "
     "static: {ip: 203.0.113.1, remoteIP: 203.0.113.2}}", "with its prefix length, such as 203.0.113.1/30"),
    ("kind: ExternalPeering\nmetadata: {name: i}\nspec: {permit: {vpc: {name: a}, external: {name: i, "
     "prefixes: [{prefix: 10.0.0.0/8, ge: 24}]}}}", "ge"),
])
def test_a_field_that_is_not_supported_is_refused_by_name(tmp_path: Path, spec: str, words: str) -> None:
    file = tmp_path / "i.yml"
    file.write_text(spec + "\n")
    with pytest.raises(SpecErrors, match=words):
        read_intent(file)
