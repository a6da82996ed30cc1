"""A bifurcated fabric comes to life: each side reaches its own hosts and the outside, and nothing of the other side."""

from __future__ import annotations

import pytest

from scenarios.run.lab import lab
from scenarios.run.verify import verify
from topologies.clos import Bifurcated
from topologies.proof.calibrate import check_rtts

pytestmark = pytest.mark.lab


def test_every_pair_is_as_the_sides_have_it_and_the_probes_reach_each_other_within_them() -> None:
    sides = {"blue": [["b1"], ["b2"]], "green": [["g1"], ["g2"]]}
    with lab(Bifurcated(sides=sides, spines=2, border={"hosts": 1, "rate": "10mbit"})) as it:
        found = verify(it.inventory)
        assert found.is_right, (found.false_allows(), found.false_denies(), found.uncounted())
        assert sum(c.drop.startswith("no-path:") for c in found.cells) == 8
        trips = check_rtts(it.inventory)
        assert {(t.src, t.dst) for t in trips} == {("probe1", "probe2"), ("probe1", "probe5"), ("probe3", "probe4")}
        assert all(t.measured < 5 for t in trips)
