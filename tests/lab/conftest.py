"""A small lab that all tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.lab import Lab, lab
from topologies.spec import FabricSpec, QueueSpec

SMALL = FabricSpec(name="shared", leaves=2, spines=2, hosts_per_leaf=4, queue=QueueSpec(packets=40))


@pytest.fixture(scope="module")
def small_lab() -> Iterator[Lab]:
    """Two leaves, two spines, h1 to h8 at 10 Mbit/s, queues of 40 packets. Leave it as you found it."""
    with lab(SMALL) as it:
        yield it
