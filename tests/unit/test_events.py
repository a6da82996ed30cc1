"""Declared changes of links: what they declare to the ledger, the audit and the link check."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from scenarios.commands.check import check
from scenarios.spec import events
from scenarios.spec.events import SETTLE, Change, History, Player
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from scenarios.spec.scenario import LinkEvent, Scenario
from tests.workloads import workload_of
from topologies.links.htb import wires
from topologies.model.disciplines import FifoQueue
from topologies.model.errors import HostError, LabError, SpecError
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec
from traffic.workloads.kinds.engine import slowed
from traffic.workloads.workload import Compute, Workload

FABRIC = expand(FabricSpec(name="e", leaves=2, spines=1, hosts_per_leaf=1))
UPLINK, OTHER = "leaf1-spine1", "leaf2-spine1"
INVENTORY = Inventory(lab="t", directory="/nowhere", fabric=FABRIC, netns={}, wiring="t", wires={}, switches={},
                      datapath="ovs", controller_socket="", api_socket="")


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


def test_a_link_that_fails_again_before_it_has_settled_is_counted_once_for_that_time() -> None:
    """Down 1-2, 2.5-3, 10-11: 1 to 4 without a gap, and 10 to 12."""
    history = _history(_down(1), _up(2), _down(2.5), _up(3), _down(10), _up(11))
    assert [f.seconds for f in history.faults(20)] == [pytest.approx(3 + SETTLE - 1 + 1 + SETTLE)]


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
    monkeypatch.setattr(wires, "set_state", lambda _, link, up: calls.append(("state", link, up)))
    monkeypatch.setattr(wires, "set_rate", lambda _, link, rate: calls.append(("rate", link, rate)))
    monkeypatch.setattr(wires, "set_queue", lambda _, link, size: calls.append(("queue", link, size)))
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
                               queue=FifoQueue(bytes=60_000_000), scale={"rate": "1/40000", "size": "1/1000"}))
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
    monkeypatch.setattr(wires, "set_state", broken)
    player = Player(INVENTORY, [LinkEvent(at="0s", link=UPLINK, state="down")], _history(), time.monotonic())
    player.start()
    while player.error is None and player.left:
        time.sleep(0.005)
    with pytest.raises(HostError, match="no such device"):
        player.stop()


# ---- changes that are made of others, and those that the model does not know

JOB: dict[str, object] = {"kind": "collective", "size": "1MB", "compute": "100ms"}


def _scenario(*happens: dict[str, object], job: dict[str, object] = JOB, **more: object) -> Scenario:
    return Scenario.model_validate({"name": "s", "question": "?", "fabric": FABRIC.spec, "workloads": {"job": job},
                                    "events": happens, **more})


def test_a_flap_is_down_for_the_first_half_of_each_period() -> None:
    scenario = _scenario({"at": "1s", "link": UPLINK, "flap": {"period": "400ms", "count": 2}})
    assert [(e.at, e.state, e.flap) for e in scenario.link_events("main")] == [
        (1.0, "down", None), (1.2, "up", None), (1.4, "down", None), (pytest.approx(1.6), "up", None)]


def test_a_flap_with_a_new_rate_changes_the_rate_once() -> None:
    scenario = _scenario({"at": "1s", "link": UPLINK, "rate": "1mbit", "flap": {"period": "1s", "count": 2}})
    steps = scenario.link_events("main")
    assert [s.rate for s in steps] == [1e6, None, None, None, None]
    assert [s.state for s in steps] == [None, "down", "up", "down", "up"]


def test_events_belong_to_their_phase_and_without_one_to_the_first() -> None:
    phases = [{"name": "a", "run": ["job"]}, {"name": "b", "run": ["job"]}]
    scenario = _scenario({"at": "1s", "link": UPLINK, "state": "down"},
                         {"at": "2s", "link": UPLINK, "state": "up", "phase": "b"},
                         {"rank": 1, "compute_factor": 3, "phase": "b"}, phases=phases)
    assert [[e.at for e in scenario.link_events(p)] for p in "ab"] == [[1.0], [2.0]]
    assert [scenario.slow_ranks(p, "job") for p in "ab"] == [{}, {1: 3.0}]


def test_a_new_rate_is_noted_with_the_time_that_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "set_rate", lambda *_: time.sleep(0.01))
    noted: list[Change] = []
    events.apply(INVENTORY, LinkEvent(at="0s", link=UPLINK, rate="1mbit", hidden=True), noted.append, 0.0)
    (change,) = noted
    assert change.end - change.t >= 0.01
    assert change.hidden
    assert Change(1.0, UPLINK, "up").end == 1.0


def test_the_slowest_fabric_has_each_link_at_its_lowest_rate_and_longest_queue() -> None:
    scenario = _scenario({"at": "1s", "link": UPLINK, "rate": "1mbit"}, {"at": "2s", "link": UPLINK, "rate": "20mbit"},
                         {"at": "1s", "link": OTHER, "queue": "500kB"}, {"at": "2s", "link": OTHER, "queue": "10kB"})
    slow = events.slowest(scenario, FABRIC)
    assert (slow.link(UPLINK).rate, slow.link(OTHER).queue) == (1e6, 500_000)
    assert slow.link("h1-leaf1") == FABRIC.link("h1-leaf1")
    with pytest.raises(SpecError, match="leaf9-spine9"):
        events.slowest(_scenario({"at": "1s", "link": "leaf9-spine9", "rate": "1mbit"}), FABRIC)


def _computes(workload: Workload) -> dict[int, float]:
    return {op.rank: op.seconds for op in workload.ops if isinstance(op, Compute)}


def test_a_slow_rank_computes_longer_and_a_hidden_one_only_in_the_run() -> None:
    scenario = _scenario({"rank": 0, "compute_factor": 2.5, "hidden": True}, {"rank": 1, "compute_factor": 0.5})
    workload = workload_of(scenario.workloads["job"], FABRIC, "job", 1)
    run, reported = workload, workload
    for rank, factor in scenario.slow_ranks("main", "job").items():
        run = slowed(run, rank, factor, "here")
    for rank, factor in scenario.slow_ranks("main", "job", hidden=False).items():
        reported = slowed(reported, rank, factor, "here")
    assert _computes(run) == {0: pytest.approx(0.25), 1: pytest.approx(0.05)}
    assert _computes(reported) == {0: pytest.approx(0.1), 1: pytest.approx(0.05)}
    assert run.ops[-1] == workload.ops[-1]


@pytest.mark.parametrize(("rank", "job", "words"), [
    (7, JOB, "a rank of job, 0 to 1; found 7"),
    (0, {"kind": "collective", "size": "1MB"}, "compute times to multiply; found 0, which computes nothing")])
def test_a_rank_that_cannot_be_slowed_is_named(rank: int, job: dict[str, object], words: str) -> None:
    workload = workload_of(_scenario(job=job).workloads["job"], FABRIC, "job", 1)
    with pytest.raises(SpecError, match=words):
        slowed(workload, rank, 2.0, "here")


@pytest.mark.parametrize(("event", "where", "words"), [
    ({"at": "1s", "link": UPLINK}, "events.0", "at least one of state, rate, queue and flap"),
    ({"at": "1s", "link": UPLINK, "state": "up", "flap": {"period": "1s", "count": 1}}, "events.0",
     "either state or flap"),
    ({"at": "1s", "link": UPLINK, "flap": {"period": "0s", "count": 0}}, "events.0.flap.period", "above 0"),
    ({"at": "1s", "link": UPLINK, "flap": {"period": "1s", "count": 0}}, "events.0.flap.count", "at least 1"),
    ({"at": "1s", "link": UPLINK, "rate": "0bit"}, "events.0.rate", "rate"),
    ({"at": "-1s", "link": UPLINK, "state": "up"}, "events.0.at", "time"),
    ({"at": "1s", "link": UPLINK, "stat": "up"}, "events.0.stat", "unknown key stat"),
    ({"rank": -1, "compute_factor": 2}, "events.0.rank", "at least 0"),
    ({"rank": 0, "compute_factor": 0}, "events.0.compute_factor", "above 0"),
    ({"rank": 0}, "events.0.compute_factor", "required"),
    ({"rank": 0, "compute_factor": 2, "phase": "x"}, "events.0.phase", "one of the phases main"),
    ({"rank": 0, "compute_factor": 2, "workload": "x"}, "events.0.workload", "a workload of phase main: job"),
    ({"rank": 2, "compute_factor": 2}, "events.0.rank", "a rank of job, 0 to 1"),
    ({"at": "1s", "link": "leaf1-spine7", "rate": "1mbit"}, "events.0.link", "a link of the fabric"),
])
def test_a_wrong_event_is_reported_with_its_place(event: dict[str, object], where: str, words: str,
                                                  tmp_path: Path) -> None:
    data = {"name": "s", "question": "?", "workloads": {"job": JOB}, "events": [event],
            "fabric": {"leaves": 2, "spines": 1, "hosts_per_leaf": 1}}
    path = tmp_path / "s.yml"
    path.write_text(json.dumps(data))
    with pytest.raises(LabError) as caught:
        load_scenario(str(path))
    line = next(x for x in str(caught.value).splitlines() if f" {where}:" in f" {x}" or where in x)
    assert words in line


def test_a_slow_rank_needs_a_workload_with_ranks_and_its_name_where_there_are_several(tmp_path: Path) -> None:
    bulk = {"kind": "bulk", "pairs": [["h1", "h2"]]}
    data = {"name": "s", "question": "?", "workloads": {"job": {"kind": "collective", "size": "1MB"}, "bulk": bulk},
            "fabric": {"leaves": 2, "spines": 1, "hosts_per_leaf": 1},
            "events": [{"rank": 0, "compute_factor": 2}]}
    path = tmp_path / "s.yml"
    for change, words in (({}, "one of the workloads of phase main: job, bulk"),
                          ({"workload": "bulk"}, "a rank of a collective, a training job or a training trace"),
                          ({"workload": "job"}, "job, which computes nothing")):
        path.write_text(json.dumps(data | {"events": [{"rank": 0, "compute_factor": 2, **change}]}))
        with pytest.raises(LabError, match=words):
            load_scenario(str(path))


# ---- what `aifab check` says of events

TRACE = str(LIBRARY / "data/dlrm-small")


def _written(path: Path, *happens: dict[str, object], **workloads: object) -> str:
    path.write_text(json.dumps({"name": "s", "question": "why", "fabric": "small", "workloads": workloads or
                                {"job": JOB}, "events": happens}))
    return str(path)


def test_check_tells_each_event_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _written(tmp_path / "s.yml", {"at": "1s", "link": UPLINK, "rate": "1mbit", "hidden": True},
                    {"at": "2s", "link": UPLINK, "flap": {"period": "500ms", "count": 3}, "queue": "20packets"},
                    {"at": "9s", "link": UPLINK, "state": "down", "queue": "30kB"}, {"rank": 3, "compute_factor": 1.5})
    check([file], [])
    said = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert said[3:7] == [
        f"in phase main after 1 s: {UPLINK} has 1 Mbit/s; hidden from predictions",
        f"in phase main after 2 s: {UPLINK} goes down and up, 3 times in 500 ms each, has a queue of 20 packets",
        f"in phase main after 9 s: {UPLINK} goes down, has a queue of 30 kB",
        "in phase main: rank 3 of job computes 1.5 times as long"]


def test_check_reads_a_trace_to_know_its_ranks(tmp_path: Path) -> None:
    trace = {"kind": "training-trace", "trace": TRACE}
    with pytest.raises(LabError, match=r"s.yml:1 events.0.rank: expected a rank of job, 0 to 7; found 8"):
        check([_written(tmp_path / "s.yml", {"rank": 8, "compute_factor": 2}, job=trace)], [])
    check([_written(tmp_path / "s.yml", {"rank": 7, "compute_factor": 2}, job=trace)], [])
