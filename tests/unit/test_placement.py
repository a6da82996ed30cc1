"""Ranks on hosts: packed, strided, drawn, listed, folded."""

from __future__ import annotations

import pytest

from tests.workloads import workload_of
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.workloads.placement import leaves_of, place
from traffic.workloads.specs import CollectiveSpec
from traffic.workloads.workload import Collective


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(leaves=2, hosts_per_leaf=4))


def spec(**more: object) -> CollectiveSpec:
    return CollectiveSpec.model_validate({"kind": "collective", "size": "8MB", **more})


def test_random_uses_every_host_once_and_repeats_with_its_seed(fabric: Fabric) -> None:
    drawn = place("random", None, fabric, seed=7)
    assert sorted(drawn) == sorted(h.name for h in fabric.hosts)
    assert drawn == place("random", None, fabric, seed=7)
    assert len({place("random", None, fabric, seed=s) for s in range(6)}) > 1


def test_too_many_ranks_are_refused_with_the_way_out_and_folded_when_asked(fabric: Fabric) -> None:
    with pytest.raises(SpecError, match=r"at most 8.*found 10\n.*fold: true"):
        place("packed", 10, fabric)
    folded = place("packed", 10, fabric, fold=True)
    assert folded[:8] == place("packed", 8, fabric)
    assert folded[8:] == ("h1", "h2")


def test_leaves_of_gives_the_ranks_of_each_leaf(fabric: Fabric) -> None:
    assert leaves_of(place("packed", 8, fabric), fabric) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert leaves_of(place("strided", 8, fabric), fabric) == ((0, 2, 4, 6), (1, 3, 5, 7))


def test_hierarchical_groups_ranks_by_their_leaf(fabric: Fabric) -> None:
    made = workload_of(spec(algorithm="hierarchical"), fabric, "two-level", 1).ops[0]
    assert isinstance(made, Collective)
    assert made.groups == ((0, 2, 4, 6), (1, 3, 5, 7))
    with pytest.raises(SpecError, match="as many ranks in each group for hierarchical; found groups of 4, 1 ranks"):
        workload_of(spec(algorithm="hierarchical", ranks=5, placement="packed"), fabric, "two-level", 1)


def test_halving_doubling_on_six_hosts_says_what_it_can_serve(fabric: Fabric) -> None:
    with pytest.raises(SpecError, match=r"workloads.hd: expected 2, 4, 8, 16.*found 6; 4 and 8 can be served"):
        workload_of(spec(algorithm="halving-doubling", ranks=6), fabric, "hd", 1)


def test_a_scenarios_seed_draws_its_random_placement(fabric: Fabric) -> None:
    hosts = {workload_of(spec(placement="random"), fabric, "w", seed).hosts for seed in (1, 2, 3)}
    assert len(hosts) > 1
