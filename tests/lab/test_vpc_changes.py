"""Changes of tenants under the traffic of others, drawn from a seed; the benchmark `changes` does more of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.run.verify import verify
from tests.lab.controller_lab import Lab
from tests.vpc_changes import FABRIC, through_changes, until_a_peering_works
from topologies.lab.network import running

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(FABRIC) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


def test_drawn_changes_lose_no_packet_of_untouched_vpcs_and_leave_every_pair_right(lab: Lab) -> None:
    streams, changes, _ = through_changes(lab.net.inventory, count=25, seed=1)
    assert len(set(changes)) > 3
    assert "share" in changes
    assert [(s.lost, s.sent > 100) for s in streams] == [(0, True), (0, True)]
    found = verify(lab.net.inventory)
    assert (found.false_allows(), found.false_denies(), found.uncounted()) == ([], [], {})


def test_a_peering_lets_packets_through_after_it_was_asked_for_and_not_before(lab: Lab) -> None:
    assert 0 < until_a_peering_works(lab.net.inventory) < 10
