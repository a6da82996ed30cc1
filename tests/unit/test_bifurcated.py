"""Bifurcated fabrics: sides with leaves and spines of their own, in all as much bandwidth as a shared fabric has."""

from __future__ import annotations

from itertools import permutations

import pytest

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation
from controller.rules.compile import compile_rules
from controller.verify.reachability import matrix
from controller.verify.walk import Delivered, Dropped, Walker
from scenarios.run.phases import pairs_of, traffic_of
from scenarios.spec.expected import fabric_line
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.vpc_schedule import check_traffic
from tests.unit.test_controller_rules import udp
from topologies.clos import Bifurcated
from topologies.model.errors import LabError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec
from traffic.models.predict import path_seconds
from traffic.transports.udp.plan import sentinel_streams

SIDES = {"blue": [["b1"], ["b2", "b3"]], "green": [["g1"], ["g2"]]}
SPEC = {"topology": "bifurcated", "sides": SIDES, "spines": 4, "border": {"hosts": 1, "rate": "10mbit"}}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec.model_validate(SPEC))


def test_each_side_has_its_leaves_and_its_part_of_the_spines_and_the_border_has_all(fabric: Fabric) -> None:
    assert {leaf.name: [k.b.node for k in fabric.uplinks(leaf.name)] for leaf in fabric.leaves} == {
        "leaf1": ["spine1", "spine2"], "leaf2": ["spine1", "spine2"], "leaf3": ["spine3", "spine4"],
        "leaf4": ["spine3", "spine4"], "border1": ["spine1", "spine2", "spine3", "spine4"]}
    assert [h.name for h in fabric.hosts_of("leaf2")] == ["b2", "b3", "probe2"]
    assert not fabric.paths("leaf1", "leaf3")
    assert "blue on leaf1, leaf2 with spine1, spine2, green on leaf3, leaf4 with spine3, spine4" in fabric_line(fabric)


def test_the_two_of_the_catalog_have_the_same_uplinks_in_all_and_the_same_oversubscription() -> None:
    shared, apart = (expand(load_fabric(name)) for name in ("shared", "bifurcated"))
    rates = [sorted(k.rate for k in f.links if k.kind == "fabric" and k.a.node.startswith("leaf"))
             for f in (shared, apart)]
    assert rates[0] == pytest.approx(rates[1])
    assert [h.name for h in shared.hosts if h.name not in {x.name for x in apart.hosts}] == []
    for leaf in ("leaf1", "leaf3"):
        assert apart.oversubscription(leaf) == pytest.approx(shared.oversubscription("leaf1"))


@pytest.mark.parametrize("paths", ["hash", "pinned", "weighted"])
def test_packets_stay_on_their_side_and_die_by_name_where_they_would_have_to_leave_it(paths: str) -> None:
    built = expand(FabricSpec.model_validate(SPEC | {"paths": paths}))
    switches = Walker(built, compile_rules(built))
    cells = {(c.source, c.target): c for c in matrix(Intent(), built, Allocation())}
    assert len(cells) == 6 * 5
    for a, b in permutations([h.name for h in built.all_hosts if h.role != "probe"], 2):
        walk, cell = switches.send(a, udp(built, a, b)), cells[a, b]
        assert cell.allowed == (a[0] == b[0] or "ext1" in (a, b))
        if cell.allowed:
            assert isinstance(walk.end, Delivered)
            assert walk.end.host == b
        else:
            assert isinstance(walk.end, Dropped)
            assert (walk.end.switch, walk.end.rule) == (built.host(a).leaf, cell.drop)
            assert cell.drop == f"no-path:{built.host(b).leaf}"


def test_the_labs_own_packets_go_round_within_each_side_and_the_borders_with_the_first(fabric: Fabric) -> None:
    assert [(s.src, s.dst) for s in sentinel_streams(fabric, 1)] == [
        ("probe1", "probe2"), ("probe2", "probe5"), ("probe5", "probe1"), ("probe3", "probe4"), ("probe4", "probe3")]


def test_a_path_is_as_long_as_on_the_spines_that_the_two_leaves_share(fabric: Fabric) -> None:
    assert path_seconds(fabric, "b1", "ext1") == path_seconds(fabric, "ext1", "b1") > path_seconds(fabric, "b2", "b3")


def test_a_saved_spec_reads_back(fabric: Fabric) -> None:
    assert FabricSpec.model_validate_json(fabric.spec.model_dump_json()) == fabric.spec
    assert Fabric.model_validate_json(fabric.model_dump_json()) == fabric


@pytest.mark.parametrize(("overrides", "words"), [
    (["topology=bifurcated"], "sides: expected the racks of each side with topology: bifurcated; found nothing"),
    (["sides={a: [[x], [y]], b: [[z], [w]]}"], "expected sides with topology: bifurcated only"),
    (["topology=bifurcated", "sides={a: [[x], [y]], b: [[z], [w]]}"],
     "leaves: expected no leaves: with topology: bifurcated it follows from sides; found 2"),
    (["topology=bifurcated", "leaves=null", "sides={a: [[x], [y]]}"], "expected at least two sides; found a"),
    (["topology=bifurcated", "leaves=null", "sides={a: [[x], [y]], b: [[z]]}"],
     "(sides.b): expected at least two racks, which its spines join; found 1"),
    (["topology=bifurcated", "leaves=null", "spines=3", "sides={a: [[x], [y]], b: [[z], [w]]}"],
     "expected a multiple of 2, as many for each side; found 3"),
    (["topology=bifurcated", "leaves=null", "sides={a: [[x], [y]], b: [[x], [w]]}"],
     "expected each host in one place; found x in leaf1 and in leaf3"),
    (["topology=bifurcated", "sides=4"], "sides"),
])
def test_what_does_not_go_with_sides_is_reported(overrides: list[str], words: str) -> None:
    with pytest.raises(LabError) as caught:
        load_fabric("small", overrides)
    assert words in str(caught.value)


@pytest.mark.parametrize(("name", "options", "words"), [
    ("allreduce", [], "workloads.ring in phase main: expected hosts that the fabric joins, of one side; found"),
    ("inference-beside-training", ["vpcs=[]", "workloads.chat.gateway=t1"],
     "workloads.chat in phase inference-alone: expected hosts that the fabric joins, of one side; found t1 -> s2: "
     "leaf1 and leaf3 share no spine")])
def test_traffic_between_the_sides_is_refused_by_name(name: str, options: list[str], words: str) -> None:
    scenario = load_scenario(name, ["fabric=bifurcated", *options])
    fabric = expand(scenario.fabric)
    with pytest.raises(SpecErrors) as caught:
        check_traffic(scenario, fabric, {p.name: pairs_of(traffic_of(scenario, p, fabric)) for p in scenario.phases})
    assert words in str(caught.value)


def test_mininet_knows_it_as_a_topology() -> None:
    topo = Bifurcated(sides=SIDES, spines=2, probes=False)
    assert sorted(topo.switches()) == ["leaf1", "leaf2", "leaf3", "leaf4", "spine1", "spine2"]
    assert {tuple(sorted(k)) for k in topo.links() if "spine2" in k} == {("leaf3", "spine2"), ("leaf4", "spine2")}
    with pytest.raises(SpecErrors, match=r"Bifurcated"):
        Bifurcated(sides={})
