"""A rail-optimized fabric comes to life: GPUs of a rail and of different rails reach each other."""

from __future__ import annotations

import pytest

from scenarios.run.lab import lab
from topologies.clos import RailOptimized

pytestmark = pytest.mark.lab


def test_gpus_of_one_rail_and_of_two_answer_each_other() -> None:
    with lab(RailOptimized(servers=2, rails=3, spines=2, paths="pinned", probes=False)) as it:
        for source, target in (("s1g1", "s2g1"), ("s1g1", "s1g3"), ("s2g3", "s1g2")):
            said = it.net.get(source).cmd("ping -c1 -W5", it.fabric.host(target).ip)
            assert "1 received" in said, said
