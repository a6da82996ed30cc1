"""A pause on the fabric engine reaches the sockets of the host that it stops, and no other priority of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.bench.engine_fabric import EngineFabric, Shape, engine_fabric
from tests.bench.engine_pfc import LOSSLESS, TOS, lossless
from tests.bench.generator import Running, generate, generating

pytestmark = pytest.mark.lab

SHAPE = Shape(leaves=2, spines=1, per_leaf=2, attach="gated")
SENDERS = ("h2", "h3", "h4")


@pytest.fixture(scope="module")
def gated() -> Iterator[EngineFabric]:
    """h1 and h2 on leaf1, h3 and h4 on leaf2, all links at 20 Mbit/s with a queue that pauses."""
    with engine_fabric(Shape(leaves=2, spines=1, per_leaf=2, attach="gated",
                             more=tuple(lossless(SHAPE, 60_000)))) as it:
        yield it


def incast(it: EngineFabric, *more: str) -> Running:
    """All others send to h1 for half a second, as fast as their sockets let them."""
    flows = [it.flow("udp", h, h, "h1", 6000 + n, tos=TOS) for n, h in enumerate(SENDERS)]
    return generate([*flows, *more], 0.5)


def test_paused_senders_wait_in_their_own_sockets_and_nothing_is_lost(gated: EngineFabric) -> None:
    found = incast(gated)
    assert found.total("sent") == found.total("received") > 0
    assert all(flow["blocked"] for flow in found.flows.values())
    assert all(gated.counters.host(n).gated for n in (1, 2, 3))
    assert gated.queue("h4->leaf2", LOSSLESS).pauses > 0
    assert not any({**gated.named_drops(), **gated.device_drops()}.values())


def test_the_other_priority_of_a_paused_host_is_not_held(gated: EngineFabric) -> None:
    found = incast(gated, gated.flow("udp", "beside", "h4", "h2", 7000, rate=4_000_000))
    beside = found.flows["beside"]
    assert beside["received"] == beside["sent"] > 100
    assert beside["blocked"] == 0


def test_a_gate_that_has_closed_opens_again(gated: EngineFabric) -> None:
    incast(gated)
    after = generate([gated.flow("udp", "after", "h4", "h1", 6100, tos=TOS, count=50)], 0.5)
    assert after.flows["after"]["received"] == 50


def test_a_pulled_cable_leaves_no_gate_closed(gated: EngineFabric) -> None:
    with generating([gated.flow("udp", h, h, "h1", 6000 + n, tos=TOS) for n, h in enumerate(SENDERS)], 0.5):
        time.sleep(0.2)                 # gates are closed by now, and what waits behind them ends with the cable
        gated.client.ask("cable h4 down")
    gated.client.ask("cable h4 up")
    after = generate([gated.flow("udp", "after", "h4", "h1", 6100, tos=TOS, count=50)], 0.5)
    assert after.flows["after"]["received"] == 50


def test_short_frames_fit_the_devices_ring(gated: EngineFabric) -> None:
    before = gated.device_drops()
    found = generate([gated.flow("udp", h, h, "h1", 6300 + n, tos=TOS, size=60) for n, h in enumerate(SENDERS)], 0.3)
    assert found.total("sent") == found.total("received")
    assert gated.device_drops() == before


def test_frames_that_open_a_gate_are_nobodys(gated: EngineFabric) -> None:
    incast(gated)
    switches = [gated.counters.switch(n) for n in range(3)]
    assert sum(s.no_match for s in switches) == 0


def test_a_gate_lets_through_what_its_link_does_after_a_change_of_rate(gated: EngineFabric) -> None:
    try:
        gated.client.ask("direction h4->leaf2 rate=5000000")
        found = generate([gated.flow("udp", "slow", "h4", "h1", 6200)], 0.5).flows["slow"]
        assert found["sent"] == found["received"] > 100
        assert found["blocked"] > 0
    finally:
        gated.client.ask(f"direction h4->leaf2 rate={SHAPE.rate}")
