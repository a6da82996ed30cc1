"""Declared changes of links: what they declare to the ledger, the audit and the link check."""

from __future__ import annotations

import time

import pytest

from scenarios import events
from scenarios.events import SETTLE, Change, History, Player
from scenarios.scenario import LinkEvent
from topologies.errors import HostError
from topologies.fabric import expand
from topologies.inventory import Inventory
from topologies.spec import FabricSpec, QueueSpec

FABRIC = expand(FabricSpec(name="e", leaves=2, spines=1, hosts_per_leaf=1))
UPLINK, OTHER = "leaf1-spine1", "leaf2-spine1"
INVENTORY = Inventory(lab="t", directory="/nowhere", fabric=FABRIC, netns={}, wiring="t", wires={}, switches={},
                      datapath="user", controller_socket="", api_socket="")


def _history(*changes: Change) -> History:
    return History(FABRIC, list(changes))


def _down(t: float, link: str = UPLINK) -> Change:
    return Change(t, link, "down", state="down")


def _up(t: float, link: str = UPLINK) -> Change:
    return Change(t, link, "up", state="up")


def test_a_fault_lasts_from_down_to_a_second_after_up() -> None:
    assert _history(_down(1), _up(3)).windows(10) == [(f"{UPLINK} down", UPLINK, 1, 3 + SETTLE)]


def test_a_link_that_is_never_mended_is_a_fault_to_the_end() -> None:
    assert _history(_down(1)).windows(10) == [(f"{UPLINK} down", UPLINK, 1, 10)]


def test_down_twice_is_down_since_the_first_and_up_alone_is_nothing() -> None:
    assert _history(_up(0), _down(1), _down(2), _up(3)).windows(10) == [(f"{UPLINK} down", UPLINK, 1, 3 + SETTLE)]


def test_for_the_ledger_each_link_is_one_fault_with_all_of_its_time() -> None:
    history = _history(_down(1), _down(1, OTHER), _up(2), _down(5), _up(5.5), _up(6, OTHER))
    found = {f.name: (f.links, f.seconds) for f in history.faults(10)}
    assert found == {f"{UPLINK} down": ((UPLINK,), 1 + 0.5 + 2 * SETTLE), f"{OTHER} down": ((OTHER,), 5 + SETTLE)}


def test_rates_and_queues_are_declared_as_the_last_change_left_them() -> None:
    declared = _history(Change(1, UPLINK, "rate", rate=5e6), Change(2, UPLINK, "rate", rate=8e6),
                        Change(3, OTHER, "queue", queue=9000), _down(4)).declared()
    assert (dict(declared.rates), dict(declared.queues)) == ({UPLINK: 8e6}, {OTHER: 9000})


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, object]]:
    """What is done to wires instead of doing it."""
    calls: list[tuple[str, str, object]] = []
    monkeypatch.setattr(events.wires, "set_state", lambda _, link, up: calls.append(("state", link, up)))
    monkeypatch.setattr(events.wires, "set_rate", lambda _, link, rate: calls.append(("rate", link, rate)))
    monkeypatch.setattr(events.wires, "set_queue", lambda _, link, size: calls.append(("queue", link, size)))
    return calls


def test_a_window_is_never_shorter_than_its_fault(done: list[tuple[str, str, object]]) -> None:
    """Down is noted before it is done, up after."""
    for state, order in (("down", ["noted", "state"]), ("up", ["state", "noted"])):
        done.clear()
        events.apply(INVENTORY, LinkEvent(at="0s", link="spine1->leaf1", state=state),
                     lambda change: done.append(("noted", change.link, change.state)), 0.0)
        assert [call[0] for call in done] == order
        assert {call[1] for call in done} == {UPLINK}


def test_rates_and_queues_are_converted_by_the_scale(done: list[tuple[str, str, object]]) -> None:
    fabric = expand(FabricSpec(name="s", leaves=1, spines=1, hosts_per_leaf=1, host_rate="400Gb/s",
                               queue=QueueSpec(bytes=60_000_000), scale={"rate": "1/40000", "size": "1/1000"}))
    inventory = INVENTORY.model_copy(update={"fabric": fabric})
    event = LinkEvent(at="0s", link="h1-leaf1", rate="200Gb/s", queue="30MB")
    noted: list[Change] = []
    events.apply(inventory, event, noted.append, 0.0)
    assert done == [("rate", "h1-leaf1", pytest.approx(5e6)), ("queue", "h1-leaf1", 30_000)]
    assert [c.what for c in noted] == ["rate", "queue"]


def test_a_queue_in_packets_is_full_frames_of_that_link(done: list[tuple[str, str, object]]) -> None:
    events.apply(INVENTORY, LinkEvent(at="0s", link=UPLINK, queue="20packets"), lambda _: None, 0.0)
    assert done == [("queue", UPLINK, 20 * FABRIC.link(UPLINK).max_frame)]


def test_events_happen_in_the_order_of_their_times(done: list[tuple[str, str, object]]) -> None:
    history = _history()
    player = Player(INVENTORY, [LinkEvent(at="20ms", link=UPLINK, state="up"), LinkEvent(at="0s", link=UPLINK,
                    state="down")], history, time.monotonic())
    player.start()
    deadline = time.monotonic() + 5
    while player.left and time.monotonic() < deadline:
        time.sleep(0.005)
    player.stop()
    assert [c.state for c in history.changes] == ["down", "up"]
    assert history.changes[0].t < history.changes[1].t


def test_a_stop_leaves_what_is_not_due_undone(done: list[tuple[str, str, object]]) -> None:
    player = Player(INVENTORY, [LinkEvent(at="100s", link=UPLINK, state="down")], _history(), time.monotonic())
    player.start()
    player.stop()
    assert (player.left, done) == (1, [])


def test_what_goes_wrong_with_an_event_is_raised_at_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise HostError("ip", "success", "no such device")
    monkeypatch.setattr(events.wires, "set_state", broken)
    player = Player(INVENTORY, [LinkEvent(at="0s", link=UPLINK, state="down")], _history(), time.monotonic())
    player.start()
    while player.error is None and player.left:
        time.sleep(0.005)
    with pytest.raises(HostError, match="no such device"):
        player.stop()
