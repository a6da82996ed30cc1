"""What the fault fuzzer expects of a fabric in which things are broken."""

from __future__ import annotations

import pytest

from tests.fuzz import World
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=1))
NOTHING: frozenset[str] = frozenset()


@pytest.fixture
def fabric() -> Fabric:
    return FABRIC


@pytest.mark.parametrize(("world", "crosses"), [
    (World(), True),
    (World(down={"leaf1-spine1"}), True),
    (World(down={"leaf1-spine1", "leaf2-spine2"}), False),
    (World(dead={"spine1"}), True),
    (World(dead={"spine1", "spine2"}), False),
    (World(dead={"leaf2"}), False),
    # without a controller: an own dead uplink is left by the switch itself, a far one is not
    (World(down={"leaf1-spine1"}, known=NOTHING), True),
    (World(down={"leaf2-spine1"}, known=NOTHING), None),
    (World(down={"leaf2-spine1"}, known=frozenset({"leaf2-spine1"})), True),
    (World(dead={"spine2"}, known=NOTHING), None),
    (World(known=frozenset({"leaf1-spine1", "leaf1-spine2"})), False),
    (World(empty={"leaf1"}, known=NOTHING), False),
    (World(empty={"spine1"}, known=NOTHING), None)])
def test_a_packet_crosses_as_far_as_the_switches_know_what_is_broken(
        fabric: Fabric, world: World, crosses: bool | None) -> None:
    assert world.crosses(fabric, "leaf1", "leaf2") is crosses


def test_on_one_leaf_nothing_but_the_leaf_itself_matters(fabric: Fabric) -> None:
    assert World(dead={"spine1", "spine2"}).crosses(fabric, "leaf1", "leaf1") is True
    assert World(dead={"leaf1"}).crosses(fabric, "leaf1", "leaf1") is False
