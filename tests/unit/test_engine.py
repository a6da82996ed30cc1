"""The engine's parts without namespaces: lanes on loopback TCP, executions, timers, rtnetlink messages."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import time
from collections.abc import Callable

import pytest

from tests.recorded import records
from topologies.access.events import Failed, emit
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec
from traffic.engine.execution import Callbacks, Execution
from traffic.engine.job import Job
from traffic.engine.reporting import Reporter
from traffic.runtime.interfaces import links_down
from traffic.runtime.records import ComputeRecord, RecordWriter, StepRecord, TransferRecord
from traffic.runtime.session import hosts_of
from traffic.runtime.timers import Lateness, Timers
from traffic.transports import pool
from traffic.transports.flow import SLICE, Flow, Meter
from traffic.transports.tcp.connection import TcpInfo
from traffic.transports.tcp.lane import TcpLane
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Collective, Compute, Transfer, Workload, to_json


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection over loopback, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for sock in (near, far):
        sock.setblocking(False)
    return near, far


class Wire:
    """A lane over loopback, with its counters and its sockets."""

    def __init__(self) -> None:
        self.sockets = tcp_pair()
        self.meter = Meter()
        self.errors: list[OSError] = []
        self.lane = TcpLane(asyncio.get_running_loop(), *self.sockets, self.meter, self._broke)

    def _broke(self, error: OSError) -> None:
        self.errors.append(error)
        self.lane.close()

    def close(self) -> None:
        self.lane.close()
        for sock in self.sockets:
            sock.close()


def flow(size: int, done: Callable[[Flow], None], wants_first: bool = False) -> Flow:
    return Flow([size], done, wants_first)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("size", [1, 100, SLICE - 1, SLICE, SLICE + 1, 1_000_003])
def test_a_flow_of_any_size_is_over_when_its_last_byte_arrives(size):
    async def scene() -> None:
        wire, over = Wire(), []
        f = flow(size, over.append)
        f.go([wire.lane])
        await until(lambda: over)
        assert (f.got, wire.meter.bytes, wire.lane.received) == (size, size, size)
        assert 0 < f.start <= f.end
        assert not wire.lane.in_use
        wire.close()
    asyncio.run(scene())


def test_flows_on_one_lane_are_distinguished_in_the_order_of_sending():
    async def scene() -> None:
        wire, over = Wire(), []
        sizes = [70_000, 1, 200_001, 5, SLICE]
        flows = [flow(size, over.append) for size in sizes]
        for f in flows:
            f.go([wire.lane])
        await until(lambda: len(over) == 5)
        assert over == flows
        assert [f.got for f in flows] == sizes
        wire.close()
    asyncio.run(scene())


def test_a_pipelined_flow_sends_only_what_has_arrived_in_whole_slices():
    async def scene() -> None:
        first, second, over = Wire(), Wire(), []
        size = 3 * SLICE + 10
        a, b = flow(size, over.append), flow(size, over.append)
        b.pass_on(a)
        b.go([second.lane])
        assert b.allowed == 0
        portion = a.portions[0]
        portion.lane = first.lane
        a.active = True
        portion.allowed = SLICE + SLICE // 2         # as if the sender had no more yet
        first.lane.offer(portion)
        await until(lambda: a.got == SLICE + SLICE // 2)
        await until(lambda: b.got == SLICE)
        assert b.allowed == SLICE
        portion.credit(size)
        await until(lambda: len(over) == 2)
        assert over == [a, b]
        assert b.got == size
        first.close()
        second.close()
    asyncio.run(scene())


def test_a_flow_may_go_before_the_one_that_waits_for_credit_in_front_of_it():
    async def scene() -> None:
        source, wire, over = Wire(), Wire(), []
        a, b, c = (flow(2 * SLICE, over.append) for _ in range(3))
        b.pass_on(a)
        b.go([wire.lane])
        c.go([wire.lane])
        await until(lambda: over == [c])
        a.go([source.lane])
        await until(lambda: over == [c, a, b])
        source.close()
        wire.close()
    asyncio.run(scene())


def test_the_first_byte_is_stamped_before_a_slice_is_there():
    async def scene() -> None:
        wire, over = Wire(), []
        f = flow(SLICE, over.append, wants_first=True)
        f.active = True
        portion = f.portions[0]
        portion.lane, portion.allowed = wire.lane, 10
        wire.lane.offer(portion)
        await until(lambda: f.first)
        portion.credit(SLICE)
        await until(lambda: over)
        assert f.start <= f.first < f.end
        wire.close()
    asyncio.run(scene())


def test_a_peer_that_goes_away_breaks_its_lane_once():
    async def scene() -> None:
        wire = Wire()
        flow(10_000_000, lambda f: None).go([wire.lane])
        wire.sockets[0].shutdown(socket.SHUT_RDWR)
        await until(lambda: wire.errors)
        await asyncio.sleep(0.01)
        assert len(wire.errors) == 1
        assert isinstance(wire.errors[0], (ConnectionError, BrokenPipeError))
        wire.close()
    asyncio.run(scene())


def test_tcp_info_reads_the_socket():
    near, far = tcp_pair()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    info = TcpInfo.of(near)
    assert (info.retransmits, info.congestion_control) == (0, "reno")
    assert 0 < info.rtt < 1
    near.close()
    far.close()


# -- executions ---------------------------------------------------------------------------------------

class Loopback:
    """Channels of lanes over loopback, one for each portion of each pair."""

    def __init__(self, flows: int) -> None:
        self.meter, self._flows, self._wires = Meter(), flows, {}
        self.reported: list[str] = []

    def wanted(self):
        return []

    def lanes(self, op, ready) -> None:
        if (op.src, op.dst) not in self._wires:
            self._wires[op.src, op.dst] = [Wire() for _ in range(self._flows)]
            for wire in self._wires[op.src, op.dst]:
                wire.lane._meter = self.meter
        ready([w.lane for w in self._wires[op.src, op.dst]])

    def over(self, op) -> None:
        self.reported.append(op.id)

    def give_up(self, op) -> None:
        self.reported.append(f"gave up {op.id}")

    def close(self):
        for wires in self._wires.values():
            for wire in wires:
                wire.close()
        return []


def run(workload: Workload, path) -> tuple[list[int], Execution]:
    """Run a workload over loopback; its iterations as they were reported, records in `path`."""
    reported: list[int] = []

    async def scene() -> Execution:
        loop = asyncio.get_running_loop()
        timers, end = Timers(loop), loop.create_future()
        program = lower(workload)
        with RecordWriter(path) as writer:
            e = Execution(program, timers, Reporter(program, "main", time.monotonic(), writer), Callbacks(
                lambda i, s: reported.append(i), lambda: end.set_result(None), end.set_exception))
            e.use(Loopback(workload.flows_per_pair))
            e.start()
            await asyncio.wait_for(end, 20)
            e.channels.close()
        timers.close()
        return e

    return reported, asyncio.run(scene())


def hosts(n: int) -> tuple[str, ...]:
    return tuple(f"h{i}" for i in range(n))


@pytest.mark.parametrize(("kind", "algorithm"), [
    ("all-reduce", "ring"), ("all-reduce", "direct"), ("all-gather", "ring"), ("reduce-scatter", "ring"),
    ("all-to-all", "direct")])
@pytest.mark.parametrize("flows", [1, 3])
def test_a_collective_moves_each_byte_of_each_iteration_once(kind, algorithm, flows, tmp_path):
    c = Collective("c", kind, (0, 1, 2, 3), 100_003, algorithm)
    w = Workload("w", hosts(4), (c,), iterations=2, warmup=1, flows_per_pair=flows)
    reported, e = run(w, tmp_path / "r")
    assert reported == [-1, 0, 1]
    assert e.done_bytes == e.total_bytes == 3 * e.program.total_bytes
    moved = list(records(tmp_path / "r", TransferRecord))
    for i in (-1, 0, 1):
        assert sum(t.bytes for t in moved if t.iteration == i) == e.program.total_bytes
    for t in moved:
        assert t.ready <= t.start <= t.end
    steps = list(records(tmp_path / "r", StepRecord))
    for before, after in itertools.pairwise(steps):
        assert before.end <= after.start


def test_a_rank_goes_on_when_its_own_inputs_are_there(tmp_path):
    """Rank 2 works long; what rank 1 does after a transfer from rank 0 does not wait for it."""
    w = Workload("w", hosts(3), (
        Compute("long", 2, 0.2), Transfer("t", 0, 1, 5000), Compute("next", 1, 0.01, after=("t",)),
        Compute("last", 2, 0.01, after=("long", "next"))))
    run(w, tmp_path / "r")
    ends = {c.op: c for c in records(tmp_path / "r", ComputeRecord)}
    assert ends["next"].end < ends["long"].end <= ends["last"].start
    for c in ends.values():
        assert c.end - c.start >= c.seconds


def test_a_peer_that_stops_reading_ends_the_run_and_rank_and_transfer_are_named(tmp_path):
    """Bytes fill its window and the sender's buffer, and then nothing moves; a transfer beside it goes through."""
    w = Workload("w", ("h1", "h2", "h3"), (Transfer("deaf", 0, 2, 64_000_000), Transfer("fine", 0, 1, 5000)),
                 timeout=0.3)

    async def scene(writer: RecordWriter) -> list[str]:
        loop, end = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        timers, program, channels = Timers(loop), lower(w), Loopback(1)
        e = Execution(program, timers, Reporter(program, "main", time.monotonic(), writer), Callbacks(
            lambda i, s: None, lambda: end.set_result(None), end.set_exception))
        e.use(channels)
        e.start()
        loop.remove_reader(channels._wires[0, 2][0].sockets[1].fileno())
        while not end.done():
            e.find_stalled()
            await asyncio.sleep(0.02)
        channels.close()
        timers.close()
        with pytest.raises(LabError) as caught:
            end.result()
        assert caught.value.where == "workload w, transfer deaf"
        assert caught.value.expected == "progress from rank 0 on h1 to rank 2 on h3 within 0.3 s"
        assert caught.value.found == "0 of 64000000 B arrived, none lately"
        return channels.reported

    with RecordWriter(tmp_path / "r") as writer:
        assert asyncio.run(scene(writer)) == ["fine"]


def test_transfers_of_no_bytes_and_computes_of_no_time_are_over_at_once(tmp_path):
    chain = (Transfer(f"c{i}", i % 2, 1 - i % 2, 0, after=(f"c{i - 1}",)) for i in range(1, 3000))
    ops = [Compute("c0", 0, 0.0), *chain]       # a long chain is no deep recursion
    reported, e = run(Workload("w", hosts(2), tuple(ops), iterations=2), tmp_path / "r")
    assert reported == [0, 1]
    assert e.done_bytes == 0
    assert not list(records(tmp_path / "r", TransferRecord))


def test_arrivals_do_not_wait_for_earlier_answers(tmp_path):
    ops = [Transfer(f"t{i}", 0, 1, 2_000_000, at=0.001 * (i + 1)) for i in range(5)]
    run(Workload("w", hosts(2), tuple(ops)), tmp_path / "r")
    moved = {t.op: t for t in records(tmp_path / "r", TransferRecord)}
    start = next(records(tmp_path / "r", StepRecord)).start
    for i in range(5):
        assert moved[f"t{i}"].ready - start >= 0.001 * (i + 1)
    assert moved["t4"].ready - start < 1


# -- timers, watch, job -------------------------------------------------------------------------------

def test_timers_fire_in_order_and_never_early():
    async def scene() -> None:
        timers, fired = Timers(asyncio.get_running_loop()), []
        now = time.monotonic()
        for delay in (0.03, 0.01, 0.02, 0.0, -1.0):
            timers.at(now + delay, lambda delay=delay: fired.append((delay, time.monotonic() - now)))
        assert not fired
        await until(lambda: len(fired) == 5)
        assert [d for d, _ in fired] == [-1.0, 0.0, 0.01, 0.02, 0.03]
        assert all(late >= delay for delay, late in fired)
        timers.close()
    asyncio.run(scene())


def test_a_timer_set_by_a_timer_fires_too():
    async def scene() -> None:
        timers, fired = Timers(asyncio.get_running_loop()), []
        timers.at(time.monotonic(), lambda: timers.at(time.monotonic(), lambda: fired.append(1)))
        await until(lambda: fired)
        timers.close()
    asyncio.run(scene())


def test_slips_are_nearest_rank_quantiles():
    assert Lateness.of([i / 1000 for i in range(100, 0, -1)]) == Lateness(100, 0.05, 0.099, 0.1)
    assert Lateness.of([]) == Lateness(0, 0.0, 0.0, 0.0)


def link_message(kind: int, name: str, flags: int) -> bytes:
    attribute = struct.pack("=HH", 4 + len(name) + 1, 3) + name.encode() + b"\0"
    attribute += bytes(-len(attribute) % 4)
    body = struct.pack("=BxHiII", 0, 1, 2, flags, 0) + struct.pack("=HH4s", 8, 4, b"mtu!") + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_links_that_go_down_or_away_are_found_among_other_news():
    up, down = 0x1 | 0x40, 0x1002
    no_carrier = 0x1            # up, but the other end is not: a fault on a wire, not on the host
    message = (link_message(16, "h1-eth0", up) + link_message(16, "h2-eth0", down) + link_message(16, "x", no_carrier)
               + link_message(17, "h3-eth0", up))
    assert list(links_down(message)) == ["h2-eth0", "h3-eth0"]
    assert list(links_down(message[:10])) == []


def test_a_job_is_refused_by_place(tmp_path):
    path = tmp_path / "job.json"
    with pytest.raises(SpecError, match=r"job\.json: expected a job of the traffic engine"):
        Job.read(path)
    w = to_json(Workload("w", hosts(2), ()))
    good = {"inventory": "i", "t0": 0.0, "records": "r", "phase": "p", "seed": 1, "workloads": [w, w]}
    path.write_text(json.dumps({**good, "workloads": []}))
    with pytest.raises(SpecError, match="at least 1 item"):
        Job.read(path)
    path.write_text(json.dumps(good))
    with pytest.raises(SpecError, match="names of their own; found w, w"):
        Job.read(path).programs()


def test_hosts_that_the_lab_does_not_have_are_named():
    fabric = expand(FabricSpec(leaves=1, hosts_per_leaf=2))
    inventory = Inventory(lab="l", directory="/nowhere", fabric=fabric, netns={"h1": "n1", "h2": "n2"}, wiring="w",
                          wires={}, switches={}, datapath="ovs", controller_socket="", api_socket="")
    with pytest.raises(SpecErrors, match=r"hosts of the lab: h1, h2.*found h9"):
        hosts_of(["h1", "h9"], inventory)
    assert hosts_of(["h2"], inventory)["h2"].netns == "/run/netns/n2"


def test_an_error_is_reported_completely(capfd):
    emit(Failed.of(LabError("here", "this", "that", "try")))
    assert json.loads(capfd.readouterr().out) == {
        "event": "error", "where": "here", "expected": "this", "found": "that", "hint": "try"}


def test_many_connections_are_closed_a_few_at_a_time(monkeypatch):
    done = []
    monkeypatch.setattr(pool.time, "sleep", lambda seconds: done.append("pause"))
    account = pool.Account("w", "main")
    account.close = done.append
    account.close_all(range(70))
    assert done == [*range(32), "pause", *range(32, 64), "pause", *range(64, 70)]
