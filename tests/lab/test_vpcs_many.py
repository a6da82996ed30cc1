"""The reachability proof on 32 hosts in 8 VPCs whose addresses overlap, every kind of policy mixed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.run.verify import verify
from scenarios.run.vpcs import apply_intent
from tests.drawn_intents import mixed
from tests.lab.controller_lab import Lab
from topologies.lab.network import running
from topologies.model.spec import FabricSpec

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


@pytest.mark.parametrize("seed", [1, 2])
def test_all_pairs_are_as_the_intent_has_them(lab: Lab, seed: int) -> None:
    apply_intent(lab.net.inventory, mixed(seed, [h.name for h in lab.fabric.hosts]))
    found = verify(lab.net.inventory)
    assert len(found.cells) == 32 * 31
    assert (found.false_allows(), found.false_denies(), found.uncounted()) == ([], [], {})
    assert min(sum(c.allowed for c in found.cells), sum(bool(c.drop) for c in found.cells)) > 50
