"""The traffic engine on real namespaces: every byte, every way to end, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab, run
from tests.recorded import records
from topologies.model.errors import HostError
from topologies.model.inventory import Inventory
from topologies.model.spec import TcpSpec
from traffic.runtime.reading import lines
from traffic.runtime.records import ConnectionRecord, RequestRecord, TransferRecord
from traffic.transports.iperf import Pair, measure
from traffic.transports.tcp.settings import prepare_namespace
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Collective, Compute, Op, Transfer, Workload

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with engine_lab(tmp_path_factory.mktemp("engine"), hosts=4) as lab:
        yield lab


def workload(lab: EngineLab, *ops: Op, **other) -> Workload:
    return Workload("w", lab.hosts, ops, **other)


def request(i: int, client: int, server: int, at: float, answer: int = 20_000, work: float = 0.0) -> list[Op]:
    return [Transfer(f"req/{i}", client, server, 500, at=at), Compute(f"work/{i}", server, work, after=(f"req/{i}",)),
            Transfer(f"resp/{i}", server, client, answer, after=(f"work/{i}",), reply=f"req/{i}")]


def sent_bytes(lab: EngineLab, host: str) -> int:
    """What the kernel counted on a host's interface."""
    return json.loads(lab.ip(host, f"-s -j link show {host}-eth0"))[0]["stats64"]["tx"]["bytes"]


SPLITS = ((0, 30_000, 1, 0), (5, 7, 80_000, 9), (0, 0, 0, 0), (100_001, 2, 3, 4))
COLLECTIVES = [
    Collective("c", "all-reduce", (0, 1, 2, 3), 300_003), Collective("c", "all-gather", (3, 1, 0), 100_001),
    Collective("c", "reduce-scatter", (0, 1, 2, 3), 200_002),
    Collective("c", "all-reduce", (0, 1, 2, 3), 200_001, "direct"),
    Collective("c", "all-to-all", (0, 1, 2, 3), 250_007, "direct"),
    Collective("c", "all-to-all", (0, 1, 2, 3), 0, "direct", SPLITS), Collective("c", "all-reduce", (0, 1, 2, 3), 2),
]


@pytest.mark.parametrize("collective", COLLECTIVES, ids=lambda c: f"{c.kind}-{c.algorithm}-{c.size}")
@pytest.mark.parametrize("flows", [1, 3])
def test_every_byte_of_a_collective_is_sent_by_its_host_and_received(lab, collective, flows):
    before = {h: sent_bytes(lab, h) for h in lab.hosts}
    w = workload(lab, collective, iterations=2, flows_per_pair=flows)
    engine = lab.run(w)
    wanted: Counter[str] = Counter()
    for op in lower(w).ops:
        if isinstance(op, Transfer):
            wanted[lab.hosts[op.src]] += 2 * op.size
    recorded, carried = Counter(), Counter()
    for t in records(engine.records, TransferRecord):
        recorded[t.src] += t.bytes
    for c in records(engine.records, ConnectionRecord):
        carried[c.src] += c.bytes
    assert +recorded == +carried == +wanted
    for host in lab.hosts:      # the kernel's own count: payload, headers, ACKs
        assert sent_bytes(lab, host) - before[host] >= wanted[host]
    assert len(engine.of("collective")) == len(engine.of("step")) == 2
    assert [e["iteration"] for e in engine.events if e["event"] == "iteration"] == [0, 1]
    assert engine.events[-2]["done"] == engine.events[-2]["total"] == sum(wanted.values())


def test_several_workloads_run_at_once_and_the_engine_tells_its_cost(lab):
    ring = workload(lab, COLLECTIVES[0])
    other = Workload("x", ("h4", "h1"), (Transfer("t", 0, 1, 50_000),))
    engine = lab.run(ring, other)
    (cost,) = engine.of("engine")
    assert cost["bytes"] == lower(ring).total_bytes + 50_000
    assert 0 < cost["cpu_seconds"] < cost["end"] - cost["start"] + 1
    (lateness,) = engine.of("timer-lateness-run")
    assert lateness["n"] > 0
    assert lateness["p50"] <= lateness["p99"] <= lateness["max"]


def test_two_ranks_of_one_host_exchange_their_bytes_inside_of_it(lab):
    before = sent_bytes(lab, "h1")
    w = Workload("w", ("h1", "h1"), (Collective("c", "all-reduce", (0, 1), 500_000),))
    engine = lab.run(w)
    assert sum(t.bytes for t in records(engine.records, TransferRecord)) == lower(w).total_bytes
    assert sent_bytes(lab, "h1") - before < 10_000


def test_source_ports_repeat_with_the_seed_and_change_with_it(lab):
    w = workload(lab, COLLECTIVES[0], flows_per_pair=2)

    def ports(seed: int) -> list[tuple[str, str, int]]:
        return [(c.src, c.dst, c.sport) for c in records(lab.run(w, seed=seed).records, ConnectionRecord)]

    first = ports(1)
    assert len(set(first)) == 8
    assert ports(1) == first        # at once: the ports of the run before are free
    assert not set(ports(2)) & set(first)


def test_the_congestion_control_of_the_workload_is_what_its_sockets_use(lab):
    engine = lab.run(workload(lab, Transfer("t", 0, 1, 1000), congestion_control="reno"))
    assert {c.cc for c in records(engine.records, ConnectionRecord)} == {"reno"}


def test_a_congestion_control_that_the_kernel_lacks_is_refused_by_its_module(lab):
    with lab.engine(workload(lab, Transfer("t", 0, 1, 1000), congestion_control="warp")) as engine:
        error = engine.until("ready", "error")
        assert engine.end() == 1
    assert error["found"] == "warp"
    assert "tcp_warp" in error["hint"]


# -- pools and requests -------------------------------------------------------------------------------

def test_requests_are_answered_on_their_own_connection_and_an_idle_one_is_taken_again(lab):
    ops = [*request(1, 0, 1, 0.0), *request(2, 0, 1, 0.4), *request(3, 0, 2, 0.0)]
    engine = lab.run(workload(lab, *ops, connections="pool"))
    connections = {(c.src, c.dst): c for c in records(engine.records, ConnectionRecord)}
    assert set(connections) == {("h1", "h2"), ("h1", "h3")}
    assert (connections["h1", "h2"].bytes, connections["h1", "h2"].reply_bytes) == (1000, 40_000)
    reported = {r.id: r for r in records(engine.records, RequestRecord)}
    for r in reported.values():
        assert r.status == "ok"
        assert r.scheduled <= r.sent < r.first_byte <= r.done
    assert reported["2"].scheduled - reported["1"].scheduled == pytest.approx(0.4, abs=0.001)


def test_an_open_loop_opens_another_connection_while_the_first_is_busy(lab):
    ops = [*request(1, 0, 1, 0.0, work=0.3), *request(2, 0, 1, 0.1)]
    engine = lab.run(workload(lab, *ops, connections="pool"))
    assert len(list(records(engine.records, ConnectionRecord))) == 2
    first, second = (r.id for r in records(engine.records, RequestRecord))
    assert (first, second) == ("2", "1")


def test_a_request_without_progress_is_given_up_and_the_others_go_on(lab):
    lab.port("h3", "down")
    try:
        ops = [*request(1, 0, 1, 0.0), *request(2, 0, 2, 0.0), *request(3, 0, 1, 1.5)]
        engine = lab.run(workload(lab, *ops, connections="pool", timeout=0.7))
    finally:
        lab.port("h3", "up")
    reported = {r.id: r for r in records(engine.records, RequestRecord)}
    assert {i: r.status for i, r in reported.items()} == {"1": "ok", "2": "timeout", "3": "ok"}
    assert reported["2"].done is None


def test_an_answer_that_stops_midway_times_out_and_its_connection_is_closed(lab):
    with lab.engine(workload(lab, *request(1, 0, 1, 0.0, answer=2_000_000), connections="pool", timeout=0.5)) as engine:
        engine.go()
        engine.until("progress")
        lab.port("h2", "down")
        try:
            assert engine.end() == 0
        finally:
            lab.port("h2", "up")
    (reported,) = records(engine.records, RequestRecord)
    assert (reported.status, reported.done) == ("timeout", None)
    assert reported.first_byte is not None
    (connection,) = records(engine.records, ConnectionRecord)
    assert connection.reply_bytes < 2_000_000


def test_pooled_iterations_start_afresh_after_a_timeout(lab):
    lab.port("h3", "down")
    try:
        w = workload(lab, *request(1, 0, 2, 0.0), *request(2, 0, 1, 2.0), connections="pool", timeout=0.4, iterations=2)
        engine = lab.run(w)
    finally:
        lab.port("h3", "up")
    reported = [(r.iteration, r.id, r.status) for r in records(engine.records, RequestRecord)]
    assert reported == [(0, "1", "timeout"), (0, "2", "ok"), (1, "1", "timeout"), (1, "2", "ok")]


# -- faults -------------------------------------------------------------------------------------------

LONG = Collective("long", "all-reduce", (0, 1, 2, 3), 20_000_000)


def test_a_transfer_that_stands_still_ends_the_run_and_is_named(lab):
    with lab.engine(workload(lab, LONG, timeout=1.0)) as engine:
        engine.go()
        engine.until("progress")
        lab.port("h3", "down")
        try:
            assert engine.end() == 1
        finally:
            lab.port("h3", "up")
    error = engine.events[-1]
    assert error["where"].startswith("workload w, transfer long/")
    assert "h3" in error["expected"]
    assert "rank 2" in error["expected"]
    assert "within 1 s" in error["expected"]


def test_a_transfer_that_only_queues_behind_another_is_not_taken_for_stuck(lab):
    """The second one waits longer than the timeout for its turn on their connection."""
    ops = (Transfer("first", 0, 1, 2_000_000), Transfer("second", 0, 1, 1000))
    engine = lab.run(workload(lab, *ops, timeout=0.4))
    (second,) = (t for t in records(engine.records, TransferRecord) if t.op == "second")
    assert second.end - second.ready > 0.4


def test_a_link_that_comes_back_in_time_only_costs_time(lab):
    with lab.engine(workload(lab, Collective("c", "all-reduce", (0, 1, 2, 3), 2_000_000), timeout=20)) as engine:
        engine.go()
        engine.until("progress")
        lab.port("h3", "down")
        time.sleep(0.3)
        lab.port("h3", "up")
        assert engine.end() == 0
    assert len(engine.of("collective")) == 1
    assert sum(c.retransmits for c in records(engine.records, ConnectionRecord)) > 0        # it was really cut


def test_an_interface_that_goes_down_ends_the_run_at_once_and_names_its_host(tmp_path):
    with engine_lab(tmp_path, hosts=3) as lab:
        ops = (Transfer("short", 0, 1, 1000), Collective("ring", "all-reduce", (0, 1, 2), 20_000_000))
        with lab.engine(workload(lab, *ops)) as engine:
            engine.go()
            engine.until("progress")
            lab.ip("h2", "link set h2-eth0 down")
            assert engine.end() == 1
        assert engine.events[-1]["where"] == "host h2"
        assert "h2-eth0 went down" in engine.events[-1]["found"]
        assert next(records(engine.records, TransferRecord)).op == "short"      # kept
        assert engine.of("engine")
        with lab.engine(workload(lab, Transfer("t", 0, 1, 1000), timeout=1.0)) as engine:
            assert engine.end() == 1        # down before it starts
        assert "h2" in json.dumps(engine.events[-1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_its_records(lab, number):
    with lab.engine(workload(lab, Transfer("short", 0, 1, 1000), LONG)) as engine:
        engine.go()
        engine.until("progress")
        engine.process.send_signal(number)
        assert engine.end() == 130
    (interrupted,) = engine.of("interrupted")
    assert interrupted["reason"] == signal.Signals(number).name
    assert any(t.op == "short" for t in records(engine.records, TransferRecord))
    assert len(engine.of("connection")) == 4
    assert engine.of("timer-lateness-run")


def test_a_signal_before_the_start_ends_it_too_and_so_does_the_end_of_stdin(lab):
    with lab.engine(workload(lab, LONG)) as engine:
        engine.until("ready")
        engine.process.terminate()
        assert engine.end() == 130
    with lab.engine(workload(lab, LONG)) as engine:
        engine.until("ready")
        engine.process.stdin.close()
        assert engine.end() == 130
    assert not engine.of("transfer")


def test_the_engine_does_not_outlive_the_process_that_started_it(lab, tmp_path):
    with lab.engine(workload(lab, LONG)) as first:      # for its job file only
        first.until("ready")
        first.process.terminate()
        first.end()
        job = first.process.args[-1]
    script = ("import subprocess, sys\n"
              f"p = subprocess.Popen([sys.executable, '-m', 'traffic.engine', {job!r}], stdin=subprocess.PIPE,\n"
              "                     stdout=subprocess.PIPE)\n"
              "print(p.pid, p.stdout.readline(), flush=True)\n"
              "sys.stdin.read()\n")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as parent:
        pid, ready = parent.stdout.readline().split(maxsplit=1)
        assert "ready" in ready
        parent.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.02)


def test_a_full_disk_ends_the_run_with_an_error_that_says_so(lab, full_disk):
    records = str(full_disk / "records.jsonl")
    with lab.engine(workload(lab, Transfer("t", 0, 1, 1000)), records=records) as engine:
        engine.go()
        assert engine.end() == 1
    last = engine.events[-1]
    assert (last["event"], last["where"], last["found"]) == ("error", records, "No space left on device")


def test_a_device_in_the_place_of_the_records_is_refused(lab):
    with lab.engine(workload(lab, LONG), records="/dev/full") as engine:
        engine.until("error")
        assert engine.end() == 1
    assert (engine.events[-1]["where"], engine.events[-1]["found"]) == ("/dev/full", "a device or a pipe")


# -- settings, iperf3, size ---------------------------------------------------------------------------

def test_a_namespace_is_prepared_as_the_spec_says_and_the_machine_is_left_alone(lab):
    allowed = run("sysctl -n net.ipv4.tcp_allowed_congestion_control")
    tcp = TcpSpec.model_validate({"rto_min": "20ms", "initial_window": 3, "slow_start_after_idle": True})
    reported = prepare_namespace(lab.netns("h4"), tcp)
    assert (reported.congestion_control, reported.rto_min, reported.slow_start_after_idle) == ("cubic", 0.02, True)
    assert reported.initial_window == 3

    def sysctl(name: str) -> str:
        return run(f"ip netns exec {lab.netns('h4')} sysctl -n net.ipv4.{name}").strip()

    assert sysctl("tcp_congestion_control") == "cubic"
    assert (sysctl("tcp_slow_start_after_idle"), sysctl("tcp_no_metrics_save")) == ("1", "1")
    routes = [r for r in lab.ip("h4", "route show").splitlines() if r]
    assert routes
    assert all("rto_min lock 20ms" in r or "rto_min 20ms" in r for r in routes)
    assert all("initcwnd 3" in r for r in routes)
    assert run("sysctl -n net.ipv4.tcp_allowed_congestion_control") == allowed
    with pytest.raises(HostError, match="tcp_warp"):
        prepare_namespace(lab.netns("h4"), TcpSpec(congestion_control="warp"))
    assert run("sysctl -n net.ipv4.tcp_allowed_congestion_control") == allowed


def test_iperf3_measures_one_transfer(lab):
    reported = measure(Inventory.read(lab.inventory), Pair("h1", "h2", 0.5, 2, "reno"))
    assert reported.bytes > 10_000
    assert reported.bits_per_second == pytest.approx(reported.bytes * 8 / reported.seconds, rel=0.01)
    assert reported.bits_per_second < 20e6


def iperf_job(lab: EngineLab, seconds: float) -> tuple[subprocess.Popen[str], Path]:
    out = lab.directory / f"iperf-{time.monotonic_ns()}.jsonl"
    job = out.with_suffix(".job")
    bulk = {"kind": "bulk", "pairs": [["h1", "h2"], ["h3", "h2"]], "duration": f"{seconds}s"}
    job.write_text(json.dumps({"inventory": str(lab.inventory), "t0": time.monotonic(), "records": str(out),
                               "phase": "main", "bulks": {"background": bulk}}))
    pipe = subprocess.PIPE
    words = [sys.executable, "-m", "traffic.transports.iperf", str(job)]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True), out


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_bulk_flows_run_together_and_are_recorded(lab):
    process, out = iperf_job(lab, 0.5)
    with process:
        assert json.loads(process.stdout.readline()) == {"event": "ready"}
        process.stdin.write("go\n")
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert events[-1] == {"event": "done"}
    reported = [line for line in lines(out) if line["kind"] == "iperf"]
    assert sorted((t["src"], t["dst"]) for t in reported) == [("h1", "h2"), ("h3", "h2")]
    assert all(t["congestion_control"] == "cubic" and t["bytes"] > 0 for t in reported)


def test_bulk_flows_that_are_interrupted_leave_no_process_behind(lab):
    process, out = iperf_job(lab, 30)
    with process:
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        started = children(process.pid)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 130
    assert len(started) >= 2
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert [line["reason"] for line in lines(out) if line["kind"] == "interrupted"] == ["SIGTERM"]


def test_an_unreachable_server_is_named(lab):
    lab.ip("h4", "route add unreachable 10.9.1.2/32")
    try:
        with pytest.raises(Exception, match=r"iperf3 h4 -> h2.*No route to host"):
            measure(Inventory.read(lab.inventory), Pair("h4", "h2", 0.2, 1, "cubic"))
        with lab.engine(workload(lab, Transfer("t", 3, 1, 10))) as engine:
            assert engine.end() == 1
        assert engine.events[-1]["where"] == "connection h4 -> h2"
    finally:
        lab.ip("h4", "route del unreachable 10.9.1.2/32")


def test_sixty_four_ranks_all_talk_to_each_other(tmp_path):
    with engine_lab(tmp_path, hosts=64, rate="") as lab:
        c = Collective("c", "all-to-all", tuple(range(64)), 64 * 1000, "direct")
        engine = lab.run(workload(lab, c))
    assert len(engine.of("connection")) == 64 * 63
    moved = list(records(engine.records, TransferRecord))
    assert len({(t.src, t.dst) for t in moved}) == 64 * 63
    assert all(t.bytes == 1000 for t in moved)
