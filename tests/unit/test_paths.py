"""Paths of a fabric: in two tiers, against the graph, and in three that are made by hand, for all who ask for them.

    core1 core2          core3 core4           two pods of two leaves; each middle spine has a pair of the cores,
        \\   /                \\   /             in both pods: the way up to a core is one
     mid1 mid3            mid2 mid4             mid1, mid2 in pod 1, mid3, mid4 in pod 2
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation
from controller.rules.compile import compile_rules
from controller.rules.ecmp import NEXT_SLOT
from controller.rules.rules import Bucket, Group
from controller.rules.state import State
from controller.verify.reachability import matrix
from controller.verify.walk import Delivered, Dropped, Packet, Walker
from scenarios.evidence.observe import path_chosen
from tests.examples import examples
from tests.unit.test_controller_rules import udp
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import End, Fabric, Link, Node
from topologies.model.spec import FabricSpec
from topologies.proof.calibrate import hops
from topologies.switches.ovs.management.paths import Sent
from traffic.models.predict import path_seconds

BELOW = {"leaf1": ("mid1", "mid2"), "leaf2": ("mid1", "mid2"), "leaf3": ("mid3", "mid4"), "leaf4": ("mid3", "mid4"),
         "mid1": ("core1", "core2"), "mid3": ("core1", "core2"), "mid2": ("core3", "core4"), "mid4": ("core3", "core4")}
SIDES = {"a": [["t1"], ["t2"]], "b": [["s1"], ["s2"]]}


def three_tiers(below: dict[str, tuple[str, ...]] | None = None, paths: str = "hash") -> Fabric:
    """Leaves, hosts and aliases of a fabric with four spines, which are cores here."""
    two = expand(FabricSpec.model_validate({"leaves": 4, "spines": 4, "hosts_per_leaf": 2, "probes": False,
                                            "paths": paths}))
    like = two.uplinks("leaf1")[0]
    cores = [core.model_copy(update={"name": f"core{core.index}"}) for core in two.spines]
    mids = [Node(name=f"mid{n}", role="spine", index=4 + n, dpid=0x3000 + n) for n in range(1, 5)]
    links: list[Link] = [k for k in two.links if k.kind == "access"]
    ports = dict.fromkeys([*(n.name for n in (*two.leaves, *cores, *mids))], 0)
    for low, high in ((low, high) for low, highs in (below or BELOW).items() for high in highs):
        for end in (low, high):
            ports[end] += 1
        a, b = (End(node=end, interface=f"{end}-eth{ports[end]}", ofport=ports[end]) for end in (low, high))
        links.append(like.model_copy(update={"name": f"{low}-{high}", "a": a, "b": b}))
    return Fabric(spec=two.spec, nodes=(*two.all_hosts, *two.leaves, *mids, *cores), links=tuple(links))


THREE = three_tiers()
ACROSS = ["leaf1-mid1 mid1-core1 mid3-core1 leaf3-mid3", "leaf1-mid1 mid1-core2 mid3-core2 leaf3-mid3",
          "leaf1-mid2 mid2-core3 mid4-core3 leaf3-mid4", "leaf1-mid2 mid2-core4 mid4-core4 leaf3-mid4"]


def shortest(fabric: Fabric, a: str, b: str) -> set[tuple[str, ...]]:
    """Directions of all shortest ways between two leaves, as the graph has them."""
    if not nx.has_path(fabric.graph, a, b):
        return set()
    return {tuple(f"{x}->{y}" for x, y in nx.utils.pairwise(way)) for way in nx.all_shortest_paths(fabric.graph, a, b)}


SPECS = st.fixed_dictionaries({
    "leaves": st.integers(1, 5), "spines": st.integers(1, 5), "hosts_per_leaf": st.just(1),
    "border": st.none() | st.just({"hosts": 1, "rate": "10mbit"})}) | st.fixed_dictionaries({
        "topology": st.just("bifurcated"), "sides": st.just(SIDES), "spines": st.sampled_from([2, 4])})


@examples(30)
@given(SPECS)
def test_paths_are_the_shortest_ways_of_the_graph(keys: dict[str, object]) -> None:
    fabric = expand(FabricSpec.model_validate(keys))
    for a, b in permutations([leaf.name for leaf in fabric.leaves], 2):
        paths = fabric.paths(a, b)
        assert len(paths) == len({p.directions for p in paths})
        assert {p.directions for p in paths} == shortest(fabric, a, b)
        assert [p.alias for p in paths] == [fabric.node(b).aliases[p.number - 1] for p in paths]


def test_between_a_side_and_the_border_lead_the_spines_of_that_side() -> None:
    fabric = expand(FabricSpec.model_validate({"topology": "bifurcated", "sides": SIDES, "spines": 4,
                                               "border": {"hosts": 1, "rate": "10mbit"}}))
    assert [p.directions for p in fabric.paths("leaf3", "border1")] == [
        ("leaf3->spine3", "spine3->border1"), ("leaf3->spine4", "spine4->border1")]
    assert not fabric.paths("leaf1", "leaf3")
    assert [k.name for k, _ in hops(fabric, "s1", "ext1")][1:3] == ["leaf3-spine3", "border1-spine3"]


def test_within_a_leaf_a_path_has_no_links() -> None:
    path, = THREE.paths("leaf1", "leaf1")
    assert (path.number, path.alias, path.links, path.directions) == (0, THREE.node("leaf1").ip, (), ())


def test_in_three_tiers_paths_turn_where_both_ways_up_meet() -> None:
    assert [" ".join(k.name for k in p.links) for p in THREE.paths("leaf1", "leaf3")] == ACROSS
    assert [(p.number, p.directions) for p in THREE.paths("leaf1", "leaf2")] == [
        (1, ("leaf1->mid1", "mid1->leaf2")), (3, ("leaf1->mid2", "mid2->leaf2"))]
    for a, b in permutations([leaf.name for leaf in THREE.leaves], 2):
        assert {p.directions for p in THREE.paths(a, b)} == shortest(THREE, a, b)


def test_two_ways_up_to_one_top_have_no_names_of_their_own_and_are_refused() -> None:
    fabric = three_tiers({**BELOW, "mid2": ("core1", "core4")})
    with pytest.raises(SpecError, match="one way from leaf1 up to each top; found several"):
        fabric.paths("leaf1", "leaf3")


class Choice:
    """Whoever asks it takes the bucket of one number where there is one."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, _switch: str, _group: Group, _packet: Packet, live: Sequence[Bucket]) -> Bucket:
        return next(bucket for bucket in live if bucket.id % NEXT_SLOT == self._number)


@pytest.mark.parametrize("paths", ["hash", "weighted"])
def test_in_three_tiers_rules_lead_along_every_path_and_back(paths: str) -> None:
    fabric = three_tiers(paths=paths)
    rules = compile_rules(fabric)
    for a, b in permutations(fabric.hosts, 2):
        for path in fabric.paths(a.leaf, b.leaf):
            walk = Walker(fabric, rules, choose=Choice(path.number)).send(a.name, udp(fabric, a.name, b.name))
            assert isinstance(walk.end, Delivered)
            assert walk.end.host == b.name
            assert tuple(walk.directions[1:-1]) == path.directions


@pytest.mark.parametrize("down", [["leaf1-mid1"], ["mid1-core1"], ["mid3-core2", "mid4-core3"], ["leaf3-mid4"]])
@pytest.mark.parametrize("paths", ["hash", "weighted", "pinned"])
def test_in_three_tiers_what_is_left_of_the_paths_carries_all(down: list[str], paths: str) -> None:
    fabric = three_tiers(paths=paths)
    lost = frozenset(down)
    switches = Walker(fabric, compile_rules(fabric, State(lost)), lost)
    for (a, b), port in product(permutations(fabric.hosts, 2), range(5000, 5008)):
        walk = switches.send(a.name, udp(fabric, a.name, b.name, port))
        assert isinstance(walk.end, Delivered), walk.end
        assert not lost & set(walk.links)


def test_in_three_tiers_a_pod_without_cores_is_cut_off_by_name_for_rules_and_oracle_alike() -> None:
    down = frozenset(f"{mid}-{core}" for mid in ("mid3", "mid4") for core in BELOW[mid])
    rules = compile_rules(THREE, State(down))
    for cell in matrix(Intent(), THREE, Allocation(), down):
        end = Walker(THREE, rules, down).send(cell.source, udp(THREE, cell.source, cell.target)).end
        pods = {THREE.host(name).leaf in ("leaf1", "leaf2") for name in (cell.source, cell.target)}
        assert bool(cell.receiver) == (len(pods) == 1) == isinstance(end, Delivered)
        if isinstance(end, Dropped):
            assert end == Dropped(THREE.host(cell.source).leaf, cell.drop)


def test_in_three_tiers_a_slow_link_in_the_middle_weighs_its_path() -> None:
    fabric = three_tiers(paths="weighted")
    slow = fabric.link("mid3-core2")
    rules = compile_rules(fabric, State(rates=frozenset({(slow.name, slow.rate / 4)})))
    group = rules["leaf1"].by_group[fabric.node("leaf3").index]
    assert [sum(b.id % NEXT_SLOT == n for b in group.buckets) for n in (1, 2, 3, 4)] == [16, 4, 16, 16]


def test_in_three_tiers_the_alias_that_a_leaf_has_chosen_tells_all_links() -> None:
    src, dst = THREE.host("h1"), THREE.host("h5")
    assert (src.leaf, dst.leaf) == ("leaf1", "leaf3")
    assert path_chosen(THREE, src, dst, Sent(("10.255.3.3",), "")).directions == (
        "leaf1->mid2", "mid2->core3", "core3->mid4", "mid4->leaf3")


def test_in_three_tiers_a_frame_pays_for_every_link() -> None:
    links = [k for k, _ in hops(THREE, "h1", "h5")]
    assert [k.name for k in links] == ["h1-leaf1", *ACROSS[0].split(), "h5-leaf3"]
    assert [extra for _, extra in hops(THREE, "h1", "h5")] == [0, 50, 50, 50, 50, 0]
    edge, inside = links[0].rate, links[1].rate
    assert path_seconds(THREE, "h1", "h5") == pytest.approx(2 * 8 * 1514 / edge + 4 * 8 * 1564 / inside)
    assert path_seconds(THREE, "h1", "h3") == pytest.approx(2 * 8 * 1514 / edge + 2 * 8 * 1564 / inside)
