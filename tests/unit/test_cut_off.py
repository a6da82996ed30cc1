"""Failures together with Externals: what loses its path is dropped by name, and hides nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.evpn.bgp_import import Learned, importable
from controller.evpn.evpn import PrefixRoute, target
from controller.intent.intent import Intent
from controller.intent.intent_checks import intent_problems
from controller.rules.compile import Compiler
from controller.rules.rules import Flow
from controller.rules.state import State
from controller.rules.tables import Table
from controller.verify.reachability import matrix, to_address
from controller.verify.walk import Delivered, Dropped, Walker
from tests.examples import examples
from tests.unit.intents import Spec, attach, external, external_attach, external_peer, intent, intents, peer, vpc
from tests.unit.test_vpc_rules import World, judged, seen
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import BorderSpec, FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=3, probes=False,
                           border=BorderSpec(hosts=2, rate="10mbit")))     # type: ignore[arg-type]
PINNED = expand(FABRIC.spec.model_copy(update={"paths": "pinned"}))
HOSTS = [h.name for h in FABRIC.hosts if h.role != "outside"]
FABRIC_LINKS = sorted(f"{leaf.name}-{spine.name}" for leaf in FABRIC.leaves for spine in FABRIC.spines)
BORDER_CUT = frozenset({"border1-spine1", "border1-spine2"})
REMOTE = {"inet": "203.0.113.2", "wan": "203.0.113.6"}
LINKS = [external_attach("inet", "ext1", "203.0.113.1/30", REMOTE["inet"]),
         external_attach("wan", "ext2", "203.0.113.5/30", REMOTE["wan"])]
BEHIND = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.64.0/18", "10.1.0.0/20", "172.16.0.0/12", "172.16.1.0/24",
          "172.16.1.9/32"]
LET_IN = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/15", "172.16.0.0/16"]
OUTSIDE = ["8.8.8.8", "10.0.0.200", "10.0.7.7", "10.0.70.1", "10.1.9.9", "10.200.0.1", "172.16.1.9", "172.16.1.10",
           "172.20.0.1", "203.0.113.1", "203.0.113.99"]


class Failing(World):
    """A world whose oracle knows of the failed links and of what BGP peers have announced.

    learned: (External, prefix), each announced by that one's router.
    """

    def __init__(self, wanted: Intent, fabric: Fabric, down: frozenset[str],
                 learned: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(wanted, fabric, down)
        routes = [Learned("go1", self._announced(n, *one)) for n, one in enumerate(learned)]
        self.compiler = Compiler(fabric, self.tenancy, imported=importable(fabric, self.tenancy, routes))
        self.switches = Walker(fabric, self.compiler.rules(State(down)), down)
        self.down = down
        self.oracle = with_prefixes(wanted, learned)
        self.cells = matrix(self.oracle, fabric, self.allocation, down)

    def _announced(self, n: int, name: str, prefix: str) -> PrefixRoute:
        link = target(self.allocation.vnis[f"{name}/link"])
        return PrefixRoute(rd=f"65102:{n}", targets=frozenset({link}), next_hop=REMOTE[name], prefix=prefix, vni=7)

    def wrong(self) -> list[object]:
        """Pairs, and addresses outside, of which the rules make something else than intent says."""
        pairs: list[object] = [(c, end) for c in self.cells if seen(end := self.end(c)) != judged(self, c)]
        members = sorted(self.tenancy.members)
        return pairs + [(host, ip, end, self._meant(host, ip)) for host, ip in product(members, OUTSIDE)
                        if (end := self._sent(host, ip)) != self._meant(host, ip)]

    def _sent(self, host: str, ip: str) -> Delivered | Dropped:
        some = next(c for c in self.cells if c.source == host)
        return seen(self.switches.send(host, self.packet(some, eth_dst=GATEWAY_MAC, ipv4_dst=ip)).end)

    def _meant(self, host: str, ip: str) -> Delivered | Dropped:
        receiver, drop = to_address(self.oracle, self.fabric, self.allocation, host, ip, self.down)
        return Delivered(receiver, {}) if receiver else Dropped(self.fabric.host(host).leaf, drop)


def with_prefixes(wanted: Intent, learned: Sequence[tuple[str, str]]) -> Intent:
    """The intent to which a learned prefix is a static one of the External that it leads to."""
    data = wanted.model_dump(mode="json")
    for item in data["objects"]:
        if item["kind"] == "External":
            item["spec"]["static"]["prefixes"] += [p for name, p in learned if name == item["metadata"]["name"]]
    return Intent.model_validate(data)


@st.composite
def outside(draw: st.DrawFn) -> list[Spec]:
    """Two Externals with prefixes that overlap, and who of the VPCs a and b may use them."""
    behind: dict[str, list[str]] = {"inet": [], "wan": []}
    for prefix in draw(st.lists(st.sampled_from(BEHIND), unique=True, max_size=5)):
        behind[draw(st.sampled_from(["inet", "wan"]))].append(prefix)
    objects = [*(external(name, *prefixes) for name, prefixes in behind.items()), *LINKS]
    for name, vpc_name in product(behind, "ab"):
        if draw(st.booleans()):
            subnets = draw(st.sampled_from([[], ["s0"]]))
            let_in = draw(st.lists(st.sampled_from(LET_IN), min_size=1, max_size=2, unique=True))
            objects.append(external_peer(vpc_name, subnets, name, *let_in))
    return objects


@st.composite
def failures(draw: st.DrawFn) -> frozenset[str]:
    """Some uplinks, or all of some leaves."""
    cut = draw(st.sets(st.sampled_from(["border1", "border1", "leaf1", "leaf2"]), max_size=2))
    some = draw(st.sets(st.sampled_from(FABRIC_LINKS), max_size=3))
    return frozenset(some | {name for name in FABRIC_LINKS if name.split("-")[0] in cut})


def both(wanted: Intent, more: Sequence[Spec]) -> Intent:
    return Intent.model_validate({"objects": [*wanted.model_dump(mode="json")["objects"], *more]})


@examples(80)
@given(intents(HOSTS), outside(), failures(), st.sampled_from([FABRIC, PINNED]))
def test_what_intent_says_is_what_the_rules_do_with_externals_while_links_fail(
        wanted: Intent, more: list[Spec], down: frozenset[str], fabric: Fabric) -> None:
    whole = both(wanted, more)
    assume(not intent_problems(whole, fabric))
    assert Failing(whole, fabric, down).wrong() == []


@examples(40)
@given(intents(HOSTS), outside(), failures(), st.data())
def test_a_learned_prefix_is_as_good_as_a_static_one_while_links_fail(
        wanted: Intent, more: list[Spec], down: frozenset[str], data: st.DataObject) -> None:
    whole = both(wanted, more)
    assume(not intent_problems(whole, FABRIC))
    known = [(name, p) for name, spec in whole.externals.items() for p in spec.static.prefixes]
    learned = data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    objects = whole.model_dump(mode="json")["objects"]
    for item in objects:
        if item["kind"] == "External":
            name, static = item["metadata"]["name"], item["spec"]["static"]
            static["prefixes"] = [p for p in static["prefixes"] if (name, p) not in learned]
    assert Failing(Intent.model_validate({"objects": objects}), FABRIC, down, learned).wrong() == []


def default_route(*more: Spec) -> Intent:
    return intent(vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}), vpc("b", {"z": "10.2.0.0/24"}, mode="l3vni"),
                  external("inet", "0.0.0.0/0"), LINKS[0], external_peer("a", [], "inet", "0.0.0.0/0"),
                  external_peer("b", [], "inet", "0.0.0.0/0"), *more,
                  attach("h1", "a/x"), attach("h2", "a/y"), attach("h4", "a/y"), attach("h3", "b/z"),
                  attach("h6", "b/z"), peer(a=["y"], b=[]))


def test_a_border_without_uplinks_takes_the_outside_away_and_no_host_of_a_leaf_from_another() -> None:
    it = Failing(default_route(), FABRIC, BORDER_CUT)
    for source, other in (("h1", "h2"), ("h1", "h4"), ("h2", "h3"), ("h3", "h6"), ("h4", "h3")):
        assert seen(it.end(it.cell(source, other))) == Delivered(other, {})
    assert it.end(it.cell("h1", "ext1")) == Dropped("leaf1", "no-path:border1")
    assert it._sent("h1", "8.8.8.8") == it._sent("h3", "8.8.8.8") == Dropped("leaf1", "no-path:border1")
    assert it._sent("h1", "10.2.0.2") == Dropped("leaf1", "no-path:border1")    # of b, in whose eyes it is outside
    assert it._sent("h2", "10.2.0.77") == Dropped("leaf1", "unknown-host:a/y")
    assert it.wrong() == []


@pytest.mark.parametrize("down", [{"border1-spine1"}, {"border1-spine1", "leaf1-spine2"}, BORDER_CUT | {"leaf1-spine1"},
                                  {"leaf1-spine1", "leaf1-spine2"}], ids=lambda down: " ".join(sorted(down)))
def test_part_of_the_paths_may_fail_and_only_those_who_have_none_left_lose_anything(down: set[str]) -> None:
    assert Failing(default_route(), FABRIC, frozenset(down)).wrong() == []


def test_a_longer_prefix_that_is_cut_off_is_not_taken_by_a_shorter_one() -> None:
    """What is behind one router does not go to another while its own is away: it may not be permitted there."""
    it = Failing(intent(
        vpc("a", {"x": "10.1.0.0/24"}), external("inet", "0.0.0.0/0"), external("wan", "172.16.0.0/12"), *LINKS,
        external_peer("a", [], "inet", "0.0.0.0/0"), external_peer("a", [], "wan", "172.16.0.0/12"),
        attach("h1", "a/x")), FABRIC, BORDER_CUT)
    assert it._sent("h1", "172.16.1.9") == Dropped("leaf1", "no-path:border1")


def test_a_stand_in_is_just_above_what_it_stands_in_for_and_below_every_longer_prefix() -> None:
    rules = Failing(default_route(), FABRIC, BORDER_CUT | {"leaf2-spine1", "leaf2-spine2"}).compiler.rules(
        State(BORDER_CUT | {"leaf2-spine1", "leaf2-spine2"}))["leaf1"]
    steady = {(f.table, f.match): f for f in rules.steady}
    assert {f.table for f in rules.passing} == {Table.BRIDGE, Table.POLICY, Table.ROUTE}
    for flow in rules.passing:
        assert flow.priority == steady[flow.table, flow.match].priority + 1
    routes = sorted((f for f in rules.flows if f.table == Table.POLICY and f.match.ipv4_dst and not f.match.ip_proto),
                    key=lambda f: f.priority)
    lengths = [_length(f) for f in routes]
    assert lengths == sorted(lengths)


def _length(flow: Flow) -> int:
    _, _, length = str(flow.match.ipv4_dst).partition("/")
    return int(length or 32)
