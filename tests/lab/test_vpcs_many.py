"""The reachability proof on 32 hosts in 8 VPCs whose addresses overlap, every kind of policy mixed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from controller.intent import Intent
from scenarios.verify import verify
from scenarios.vpcs import apply_intent
from tests.lab.controller_lab import Lab
from tests.unit.intents import Spec, attach, intent, peer, vpc
from topologies.network import running
from topologies.spec import FabricSpec

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(FabricSpec(name="many", leaves=4, spines=2, hosts_per_leaf=8, host_rate="2mbit", probes=False)) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


def mixed(seed: int, hosts: list[str]) -> Intent:
    """Eight VPCs of two subnets over two address plans; neighbours of different plans may peer."""
    draw = random.Random(seed)  # noqa: S311 - it draws an example
    objects: list[Spec] = []
    for n in range(8):
        subnets: dict[str, Spec | str] = {
            s: {"subnet": f"10.{n % 2}.{k}.0/24", "isolated": draw.random() < 0.3, "restricted": draw.random() < 0.3}
            for k, s in enumerate(("x", "y"))}
        objects.append(vpc(f"v{n}", subnets, mode=draw.choice(["l2vni", "l2vni", "l3vni"]),
                           permit=[["x", "y"]] if draw.random() < 0.5 else []))
    objects += [peer(**{f"v{n}": draw.choice([[], ["x"]]), f"v{n + 1}": draw.choice([[], ["y"]])})
                for n in range(0, 8, 2) if draw.random() < 0.7]
    return intent(*objects, *(attach(h, f"v{draw.randrange(8)}/{draw.choice('xy')}") for h in hosts[:-2]))


@pytest.mark.parametrize("seed", [1, 2])
def test_all_pairs_are_as_the_intent_has_them(lab: Lab, seed: int) -> None:
    apply_intent(lab.net.inventory, mixed(seed, [h.name for h in lab.fabric.hosts]))
    found = verify(lab.net.inventory)
    assert len(found.cells) == 32 * 31
    assert (found.false_allows(), found.false_denies(), found.uncounted()) == ([], [], {})
    assert min(sum(c.allowed for c in found.cells), sum(bool(c.drop) for c in found.cells)) > 50
