"""UDP streams on real namespaces: every packet accounted for, every end an orderly one."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.lab.stream_lab import TIMEOUT, Process, StreamLab, run, stream_lab
from topologies.access.netns import inside
from topologies.model.addressing import SENTINEL_DSCP
from traffic.transports.udp.pcap import pcap_one_way
from traffic.transports.udp.plan import Job, Stream

pytestmark = pytest.mark.lab
SNAP = 128          # bytes of a captured frame: enough for our header


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[StreamLab]:
    with stream_lab(tmp_path) as running:
        yield running


def process_of(lab: StreamLab, *streams: Stream, **keys: Any) -> Process:
    """`python -m traffic.transports.udp` under test."""
    return Process(lab, "traffic.transports.udp", Job, streams, **keys)


@pytest.fixture
def start(lab: StreamLab) -> Iterator[Any]:
    """start(stream, ...) -> Process; whatever the test leaves running is ended by its pid."""
    started: list[Process] = []

    def begin(*streams: Stream, **keys: Any) -> Process:
        started.append(process_of(lab, *streams, **keys))
        return started[-1]

    yield begin
    for process in started:
        process.end()


def stream(name: str = "s", **keys: Any) -> Stream:
    return Stream.model_validate({"name": name, "workload": "udp", "src": "h1", "dst": "h4", "pps": 1000.0,
                                  "frame": 1514, "flows": 4, **keys})


def test_an_uncongested_stream_arrives_whole_and_in_order(lab: StreamLab, start: Any) -> None:
    process = start(stream(count=1000))
    process.start()
    assert process.event("done")["streams"] == [{"stream": "s", "sent": 1000, "received": 1000, "lost": 0}]
    assert process.finish() == 0
    record = process.rows("stream")[0]
    assert (record["sent"], record["received"], record["lost"], record["reordered"]) == (1000, 1000, 0, 0)
    assert record["port_sent"] == record["port_received"] == [250] * 4
    assert record["send_errors"] == {}
    packets = process.rows("packets")
    assert sum(len(p["t"]) for p in packets) == 1000
    times = np.concatenate([p["t"] for p in packets])
    assert np.all(np.diff(times) >= 0)
    assert record["start"] == times[0]
    assert all(0 < d < 1 for p in packets for d in p["delay"])
    assert lab.queue_drops() == 0


@pytest.mark.parametrize("repeat", range(3))
def test_incast_three_to_one_loses_exactly_what_the_queue_dropped(lab: StreamLab, start: Any, repeat: int) -> None:
    streams = [stream(f"s{i}", src=f"h{i + 1}", pps=900, count=900, seed=repeat) for i in range(3)]
    process = start(*streams)
    process.start()
    process.event("done")
    assert process.finish() == 0
    records = process.rows("stream")
    assert sum(r["sent"] for r in records) == 2700
    lost = sum(r["sent"] - r["received"] for r in records)
    assert lost == lab.queue_drops() > 100
    assert lost == sum(d is None for p in process.rows("packets") for d in p["delay"])
    assert sum(r["socket_drops"] + r["foreign"] + r["duplicates"] for r in records) == 0


def test_a_queue_that_empties_slowly_is_waited_for(tmp_path: Path) -> None:
    """100 full frames at 400 kbit/s take 3 s to leave the queue; the last ones come long after the sender's end."""
    with stream_lab(tmp_path, rate="400kbit", limit=1_000_000) as lab:
        process = process_of(lab, stream(count=100, pps=2000))
        try:
            process.start()
            done = process.event("done")
            assert done["streams"][0] == {"stream": "s", "sent": 100, "received": 100, "lost": 0}
            assert process.finish() == 0
        finally:
            process.end()


def test_a_stop_line_ends_an_endless_stream_with_nothing_lost(start: Any) -> None:
    process = start(stream(pps=250, frame=90, dscp=SENTINEL_DSCP, workload="sentinel", flows=1), realtime=True)
    process.start()
    while process.event("progress")["received"] < 100:
        pass
    process.tell("stop")
    done = process.event("done")["streams"][0]
    assert process.finish() == 0
    assert done["sent"] == done["received"] >= 100
    record = process.rows("stream")[0]
    assert (record["workload"], record["dscp"], record["interrupted"]) == ("sentinel", SENTINEL_DSCP, False)
    assert process.rows("streams")[0]["sender_scheduler"].startswith(("SCHED_FIFO", "SCHED_OTHER ("))


def test_an_endless_stream_ends_when_nobody_can_stop_it_any_more(start: Any) -> None:
    process = start(stream(pps=250))
    process.start()
    process.event("progress")
    process.process.stdin.close()
    process.event("done")
    assert process.finish() == 0


def test_packets_carry_their_dscp_on_the_wire(lab: StreamLab, start: Any) -> None:
    tc = f"ip netns exec {lab.switch} tc"
    run(f"{tc} class add dev h4 parent 1: classid 1:5 htb rate 10mbit burst 15000")
    run(f"{tc} qdisc add dev h4 parent 1:5 handle 5: bfifo limit 100000")
    run(f"{tc} filter add dev h4 parent 1: protocol ip u32 match ip dsfield {SENTINEL_DSCP << 2:#x} 0xfc flowid 1:5")
    process = start(stream(count=50, dscp=SENTINEL_DSCP), stream("plain", count=50))
    process.start()
    process.event("done")
    packets = {q["handle"]: q["packets"] for q in json.loads(run(f"{tc} -s -j qdisc show dev h4"))}
    assert packets["5:"] == 50


def test_a_hosts_interface_that_goes_down_ends_the_run_and_is_named(lab: StreamLab, start: Any) -> None:
    process = start(stream(pps=500, duration=30.0))
    process.start()
    while process.event("progress")["received"] < 100:
        pass
    run(f"ip -n {lab.netns('h1')} link set h1-eth0 down")
    error = process.event("error")
    assert process.finish() == 1
    assert "host h1" in error["where"]
    assert "unreachable" in error["found"]
    record = process.rows("stream")[0]
    assert record["received"] >= 100
    assert sum(record["send_errors"].values()) == 1


def test_a_receiver_that_goes_down_costs_packets_that_are_counted(lab: StreamLab, start: Any) -> None:
    process = start(stream(pps=500, duration=1.0))
    process.start()
    while process.event("progress")["received"] < 100:
        pass
    run(f"ip -n {lab.netns('h4')} link set h4-eth0 down")
    process.event("done")
    assert process.finish() == 0
    record = process.rows("stream")[0]
    assert record["sent"] == 500
    assert 0 < record["lost"] == record["sent"] - record["received"] < 500
    assert record["outage"]["packets"] == record["lost"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_the_records_and_marks_them(start: Any, number: signal.Signals) -> None:
    process = start(stream(pps=500, duration=60.0))
    process.start()
    while process.event("progress")["received"] < 100:
        pass
    process.process.send_signal(number)
    assert process.finish() == 130
    record = process.rows("stream")[0]
    assert record["interrupted"]
    assert record["sent"] == record["received"] >= 100
    assert process.rows("interrupted")[0]["reason"] == number.name


def alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_children_die_with_the_process(start: Any) -> None:
    process = start(stream(pps=250))
    pids = process.start()["pids"].values()
    process.event("progress")
    process.process.kill()
    process.finish()
    deadline = time.monotonic() + TIMEOUT
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_full_disk_is_an_error_that_names_the_file(start: Any, full_disk: Path) -> None:
    records = str(full_disk / "records.jsonl")
    process = start(stream(count=10), records=records)
    process.start()
    error = process.event("error")
    assert process.finish() == 1
    assert (error["where"], error["found"]) == (records, "No space left on device")


def test_a_device_in_the_place_of_the_records_is_refused(start: Any) -> None:
    process = start(stream(count=10), records="/dev/full")
    process.start()
    error = process.event("error")
    assert process.finish() == 1
    assert (error["where"], error["found"]) == ("/dev/full", "a device or a pipe")


def test_thousands_of_flows_open_as_many_sockets(start: Any) -> None:
    streams = [stream(f"s{i}", src=f"h{1 + i}", count=1024, pps=4000, frame=90, flows=1024) for i in range(2)]
    process = start(*streams)
    process.start()
    process.event("done")
    for record in process.rows("stream"):
        assert record["port_sent"] == record["port_received"] == [1] * 1024


def test_stdin_closed_before_go_sends_nothing(start: Any) -> None:
    process = start(stream(count=10))
    process.event("ready")
    process.process.stdin.close()
    assert process.finish() == 0
    assert not process.records.exists()


def test_a_port_in_use_is_named_with_its_host(lab: StreamLab, start: Any) -> None:
    first = start(stream(pps=250))
    first.event("ready")
    second = start(stream(count=10))
    error = second.event("error")
    assert second.finish() == 1
    assert "12000" in error["expected"]
    assert "h4" in error["expected"]


def test_a_namespace_that_is_gone_is_named(tmp_path: Path) -> None:
    with stream_lab(tmp_path) as lab:
        inventory, prefix = lab.inventory, lab.prefix
    process = process_of(StreamLab(lab.fabric, inventory, prefix, lab.switch), stream(count=1))
    error = process.event("error")
    assert process.finish() == 1
    process.end()
    assert f"{prefix}h" in error["where"]
    assert "namespace" in error["expected"]


def test_one_way_latency_agrees_with_captures_at_both_hosts(lab: StreamLab, start: Any, tmp_path: Path) -> None:
    captures = {h: capture(lab, h, tmp_path / f"{h}.pcap") for h in ("h1", "h4")}
    try:
        process = start(stream(count=2000, pps=1000, frame=200))
        process.start()
        process.event("done")
        for host in captures:
            wait_for_size(tmp_path / f"{host}.pcap", 24 + 2000 * (16 + SNAP))
    finally:
        for tcpdump in captures.values():
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.communicate(timeout=TIMEOUT)
    theirs = pcap_one_way(tmp_path / "h1.pcap", tmp_path / "h4.pcap")
    ours = {(0, p["first_seq"] + i): d for p in process.rows("packets") for i, d in enumerate(p["delay"])}
    assert theirs.keys() == ours.keys()
    difference = float(np.median(list(ours.values())) - np.median(list(theirs.values())))
    print(f"one-way p50: ours - captures = {difference * 1e6:.1f} us")
    assert abs(difference) < 1e-3


def wait_for_size(path: Path, size: int) -> None:
    """tcpdump writes what it has read; give it until TIMEOUT to have read everything."""
    deadline = time.monotonic() + TIMEOUT
    while path.stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def capture(lab: StreamLab, host: str, path: Path) -> subprocess.Popen[bytes]:
    """tcpdump on the host's interface, running when this returns."""
    with inside(f"/run/netns/{lab.netns(host)}"):
        process = subprocess.Popen(
            ["tcpdump", "-i", f"{host}-eth0", "-w", str(path), "-U", "-Z", "root", "-B", "16384", "-s", str(SNAP),
             "--immediate-mode", "--time-stamp-precision=nano", "udp"], stderr=subprocess.PIPE)
    assert process.stderr is not None
    while b"listening" not in process.stderr.readline():
        assert process.poll() is None
    return process
