"""Calibration on a running fabric: right wires pass, a wrong one is found, nothing of it is left in packet
accounting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from scenarios.run.lab import Lab
from tests.lab.fabric_lab import accounting
from topologies.lab import journal
from topologies.links.htb import wires
from topologies.proof.calibrate import (
    RateCheck,
    calibrate,
    check_rates,
    fingerprint,
    hops,
    serialisation,
    settled_rates,
)

pytestmark = [pytest.mark.lab, pytest.mark.alone]
LIMIT = 0.03


@pytest.fixture
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kept calibrations of other labs on this machine are not ours."""
    monkeypatch.setattr(journal, "BASE", tmp_path)
    return tmp_path


def _off_for_good(lab: Lab, checks: Sequence[RateCheck]) -> list[RateCheck]:
    """Directions that are off their rate each time: a busy machine spoils a measurement, a wrong wire all of them."""
    for _ in range(3):
        wrong = {c.direction for c in checks if abs(c.error) > LIMIT}
        if not wrong:
            return []
        checks = check_rates(lab.inventory, [q for q in wires.queues(lab.inventory) if q.direction in wrong])
    return [c for c in checks if abs(c.error) > LIMIT]


def test_every_direction_has_the_rate_of_its_spec(small_lab: Lab, own_records: Path) -> None:
    done = calibrate(small_lab.inventory, seed=1)
    for _ in range(2):          # one with a busy moment of the machine in it is not kept
        done = done if done.within else calibrate(small_lab.inventory, seed=1)
    assert done.full
    assert {c.direction for c in done.rates} == {q.direction for q in wires.queues(small_lab.inventory)}
    assert _off_for_good(small_lab, done.rates) == []
    assert [(r.src, r.dst) for r in done.rtts] == [("probe1", "probe2")]
    assert 0 < done.rtts[0].measured < 1
    assert (own_records / "calibration" / f"{fingerprint(small_lab.inventory)}.json").exists()
    again = calibrate(small_lab.inventory, seed=2)
    assert not again.full
    fresh = [a for a, b in zip(sorted(again.rates, key=lambda c: c.direction),
                               sorted(done.rates, key=lambda c: c.direction), strict=True) if a != b]
    assert 0 < len(fresh) <= 4, "a spot check of four; the rest as measured before"


def test_a_wrong_wire_is_measured_as_it_is_and_not_as_it_should_be(small_lab: Lab) -> None:
    wires.set_rate(small_lab.inventory, "h3-leaf1", 9e6)
    try:
        wanted = [q for q in wires.queues(small_lab.inventory) if q.link == "h3-leaf1"]
        checks = settled_rates(small_lab.inventory, wanted)
    finally:
        wires.set_rate(small_lab.inventory, "h3-leaf1", 10e6)
    assert [c.error for c in checks] == pytest.approx([-0.1, -0.1], abs=LIMIT)


def test_calibration_frames_are_gone_when_it_returns_and_would_not_pass_unseen(small_lab: Lab) -> None:
    """Frames fed into a switch's own port came from no host: packet accounting that spans them does not balance."""
    wanted = [q for q in wires.queues(small_lab.inventory) if q.link == "leaf1-spine1"]
    with accounting(small_lab) as during:
        check_rates(small_lab.inventory, wanted)
    with accounting(small_lab) as after:
        pass
    assert not during.ledger.balances
    assert set(during.ledger.unexplained) == {"leaf1 (inside the switch)", "spine1 (inside the switch)"}
    assert max(during.ledger.unexplained.values()) < 0, "more came out than went in"
    assert (after.ledger.balances, after.ledger.sent) == (True, 0)


def test_hops_of_a_path_carry_the_tunnel_only_between_leaves(small_lab: Lab) -> None:
    fabric = small_lab.fabric
    assert [extra for _, extra in hops(fabric, "h1", "h2")] == [0, 0]
    assert [extra for _, extra in hops(fabric, "h1", "h5")] == [0, 50, 50, 0]
    assert serialisation(fabric, "h1", "h2", 1000) == pytest.approx(2 * 8000 / 10e6)
