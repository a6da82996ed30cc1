"""Rule sets of fabrics with tenants: what VPCs, peerings, Externals, classes, routers and failures compile to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.evpn.bgp_import import Learned, importable
from controller.evpn.evpn import MacIpRoute, PrefixRoute
from controller.intent.intent_checks import intent_problems
from controller.intent.vpc import Allocation, allocate, resolve
from controller.rules.compile import Compiler
from controller.rules.state import State
from controller.southbound.ofctl import render
from tests.unit.intents import Spec, attach, external, external_attach, external_peer, intent, peer, vpc
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

BORDER: Spec = {"border": {"hosts": 1, "rate": "10mbit"}}
VPCS = [vpc("a", {"x": "10.1.0.0/24", "y": {"subnet": "10.1.1.0/24", "isolated": True}}),
        vpc("b", {"x": {"subnet": "10.1.0.0/24", "restricted": True}}), vpc("c", {"z": "10.3.0.0/24"}, mode="l3vni"),
        attach("h1", "a/x"), attach("h3", "a/x"), attach("h2", "a/y"), attach("h4", "b/x"), attach("h5", "c/z")]
OUTSIDE = [external("inet", "0.0.0.0/0", "198.51.100.0/24"),
           external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.2"),
           external_peer("a", ["x"], "inet", "0.0.0.0/0"),
           vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}),
           attach("h1", "a/x"), attach("h2", "a/y"), attach("h3", "a/x")]
# What a router with a VTEP and one without announce: a host of a/x, and a prefix behind the External.
HOST = Learned("frr1", MacIpRoute(rd="10.254.1.2:2", targets=frozenset({"65000:1001", "65000:1002"}),
                                  next_hop="10.255.0.4", router_mac="02:ff:00:00:00:04", mac="02:aa:00:00:00:01",
                                  ip="10.1.0.100", vni=1002, l3vni=1001))
PREFIX = Learned("go1", PrefixRoute(rd="65102:1", targets=frozenset({"65000:1001"}), next_hop="203.0.113.2",
                                    prefix="172.16.7.0/24", vni=7))
ROUTERS = {"frr1": {"router": "frr", "asn": 65101, "vtep": {
    "l3vni": 1001, "hosts": {"x1": {"address": "10.1.0.100/24", "gateway": "10.1.0.1", "vni": 1002}}}},
    "go1": {"router": "gobgp", "asn": 65102}}
CLASSES = {"gold": {"dscp": 46, "min": "30%", "vpcs": ["a"]},
           "silver": {"dscp": 26, "min": "20%", "vpcs": ["default"], "open_to": ["a", "c"]}}


@dataclass(frozen=True)
class Case:
    """A fabric of two leaves, its tenants, and what has become of its links and its routers."""

    objects: list[Spec]
    fabric: Spec = field(default_factory=dict)
    state: State = field(default_factory=State)
    learned: tuple[Learned, ...] = ()


CASES = {
    "vpcs": Case(VPCS),
    "peering": Case([*VPCS[:1], *VPCS[2:], peer(a=["x"], c=[]), vpc("b", {"x": "10.2.0.0/24"})]),
    "external": Case(OUTSIDE, BORDER),
    "border-cut-off": Case(OUTSIDE, BORDER, State(frozenset({"border1-spine1", "border1-spine2"}))),
    "classes": Case([*VPCS, attach("h6", "c/z")], {"classes": CLASSES}),
    "bgp": Case(OUTSIDE, {**BORDER, "bgp": {"peers": ROUTERS}}, learned=(HOST, PREFIX)),
    "pinned-vpcs": Case(VPCS, {"paths": "pinned"}, State(frozenset({"leaf1-spine1"}))),
    "weighted-vpcs": Case(VPCS[3:4] + VPCS[:1], {"paths": "weighted"}, State(rates=frozenset({("leaf2-spine1", 3e6)}))),
}


def rules_of(case: Case) -> str:
    """All switches' rules, as ovs-ofctl reads them."""
    fabric = expand(FabricSpec.model_validate({
        "name": "golden", "leaves": 2, "spines": 2, "hosts_per_leaf": 3, "probes": False} | case.fabric))
    wanted = intent(*case.objects)
    if problems := intent_problems(wanted, fabric):
        raise ValueError(problems)
    tenancy = resolve(wanted, fabric, allocate(wanted, Allocation()))
    imported = importable(fabric, tenancy, case.learned)
    if len(imported) < len(case.learned):
        raise ValueError("a learned route is not used")
    return "\n".join(render(r) for r in Compiler(fabric, tenancy, imported=imported).rules(case.state).values())


def texts() -> Iterator[tuple[str, str]]:
    """(name, rules)."""
    yield from ((name, rules_of(case)) for name, case in CASES.items())
