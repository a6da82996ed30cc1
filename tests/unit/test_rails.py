"""Rail-optimized fabrics: one leaf a rail, GPU k of every server on rail k, ranks numbered server by server."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from controller.rules.compile import compile_rules
from controller.verify.walk import Delivered, Walker
from scenarios.spec.expected import fabric_line
from scenarios.spec.load_scenario import load_scenario
from tests.unit.test_controller_rules import udp
from topologies.clos import RailOptimized
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec
from traffic.workloads.placement import leaves_of, place

RAILS = {"topology": "rail-optimized", "servers": 3, "rails": 2, "spines": 2}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec.model_validate(RAILS))


def test_gpu_k_of_every_server_is_on_rail_k(fabric: Fabric) -> None:
    assert [(leaf.name, [h.name for h in fabric.hosts_of(leaf.name)]) for leaf in fabric.leaves] == [
        ("leaf1", ["s1g1", "s2g1", "s3g1", "probe1"]), ("leaf2", ["s1g2", "s2g2", "s3g2", "probe2"])]
    assert [k.name for k in fabric.uplinks("leaf2")] == ["leaf2-spine1", "leaf2-spine2"]
    assert fabric.oversubscription("leaf1") < 1
    assert "3 servers with 2 GPUs, GPU k of each on rail k (leafk)" in fabric_line(fabric)


def test_a_server_has_as_many_gpus_as_there_are_rails_whatever_the_defaults_are() -> None:
    built = expand(FabricSpec.model_validate(RAILS | {"servers": 8, "rails": 8}))
    assert len(built.hosts) == 64
    assert len(built.leaves) == 8


def test_rail_placement_numbers_gpus_server_by_server(fabric: Fabric) -> None:
    assert place("rail", None, fabric) == ("s1g1", "s1g2", "s2g1", "s2g2", "s3g1", "s3g2")
    assert leaves_of(place("rail", 4, fabric), fabric) == ((0, 2), (1, 3))
    assert place("packed", 4, fabric) == ("s1g1", "s2g1", "s3g1", "s1g2")


def test_rail_placement_needs_rails(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"placement: expected packed, strided.*found rail\n.*topology: rail-optimized"):
        place("rail", 2, expand(FabricSpec()))
    with pytest.raises(LabError, match=r"workloads.ring.placement|--set placement=rail"):
        load_scenario("allreduce", ["placement=rail"])
    assert load_scenario("allreduce", ["fabric=rails", "placement=rail"]).fabric.rails == 4


@pytest.mark.parametrize("paths", ["hash", "pinned"])
def test_ranks_of_one_rail_meet_no_spine_and_all_others_cross_one(fabric: Fabric, paths: str) -> None:
    built = expand(fabric.spec.model_copy(update={"paths": paths}))
    switches = Walker(built, compile_rules(built))
    for a, b in permutations(built.hosts, 2):
        walk = switches.send(a.name, udp(built, a.name, b.name))
        assert isinstance(walk.end, Delivered)
        assert walk.end.host == b.name
        assert len(walk.links) == (2 if a.leaf == b.leaf else 4)


def test_a_saved_spec_reads_back_and_may_be_changed(fabric: Fabric) -> None:
    assert FabricSpec.model_validate_json(fabric.spec.model_dump_json()) == fabric.spec
    assert Fabric.model_validate_json(fabric.model_dump_json()) == fabric
    spec = load_fabric("rails", ["servers=2", "rails=3"])
    assert (spec.leaves, spec.racks) == (3, {f"leaf{k}": (f"s1g{k}", f"s2g{k}") for k in (1, 2, 3)})


@pytest.mark.parametrize(("overrides", "words"), [
    (["topology=rail-optimized"], "servers: expected a number of them with topology: rail-optimized; found nothing"),
    (["topology=rail-optimized", "servers=2", "rails=4"],
     "leaves: expected no leaves: with topology: rail-optimized it follows from servers and rails; found 2"),
    (["servers=2"], "expected servers with topology: rail-optimized only; found 2"),
    (["topology=rail-optimized", "servers=0", "rails=2"], "servers"),
    (["topology=rail-optimized", "servers=2", "rails=65"], "rails"),
    (["topology=rail-optimized", "servers=two", "rails=2"], "servers"),
    (["topology=rails"], "expected leaf-spine, rail-optimized or bifurcated; found rails"),
])
def test_what_does_not_go_with_rails_is_reported(overrides: list[str], words: str) -> None:
    with pytest.raises(LabError) as caught:
        load_fabric("small", overrides)
    assert words in str(caught.value)


def test_mininet_knows_it_as_a_topology() -> None:
    topo = RailOptimized(servers=2, rails=3, spines=1, probes=False)
    assert sorted(topo.hosts()) == ["s1g1", "s1g2", "s1g3", "s2g1", "s2g2", "s2g3"]
    assert sorted(topo.switches()) == ["leaf1", "leaf2", "leaf3", "spine1"]
    assert topo.linkInfo("s2g3", "leaf3")["bw"] == 10
    with pytest.raises(SpecErrors, match=r"RailOptimized"):
        RailOptimized(servers=2)
