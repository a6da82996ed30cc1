"""RoCEv2 queue pairs on real namespaces: every packet accounted for, go-back-N through a queue that drops."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.roce import BTH
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader

from tests.lab.stream_lab import TIMEOUT, Process, StreamLab, run, stream_lab
from topologies.access.netns import inside
from traffic.transports.rocev2.analysis import findings
from traffic.transports.rocev2.plan import QueuePair, RoceJob
from traffic.transports.rocev2.wire import OVERHEAD

pytestmark = pytest.mark.lab


def pair(name: str = "w/0.0", **keys: Any) -> QueuePair:
    return QueuePair.model_validate({
        "name": name, "workload": "w", "src": "h1", "dst": "h4", "pps": 1000.0, "frame": 1024 + OVERHEAD, "count": 1000,
        "mtu": 1024, "message": 64, "service": "rc", "timeout": 0.5, **keys})


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[StreamLab]:
    with stream_lab(tmp_path) as running:
        yield running


@pytest.fixture
def start(lab: StreamLab) -> Iterator[Any]:
    """start(pair, ...) -> Process; whatever the test leaves running is ended by its pid."""
    started: list[Process] = []

    def begin(*pairs: QueuePair) -> Process:
        started.append(Process(lab, "traffic.transports.rocev2", RoceJob, pairs, drain=0.5))
        return started[-1]

    yield begin
    for job in started:
        job.end()


def test_a_clean_path_delivers_everything_without_repeating(start: Any) -> None:
    job = start(pair())
    job.start()
    assert job.event("done")["streams"] == [{"stream": "w/0.0", "sent": 1000, "received": 1000, "lost": 0}]
    assert job.process.wait(TIMEOUT) == 0
    record, stream = job.rows("roce")[0], job.rows("stream")[0]
    assert (record["status"], record["sent"], record["retransmitted"], record["delivered"]) == ("ok", 1000, 0, 1000)
    assert [record[k] for k in ("naks", "retransmission_timeouts", "icrc_errors", "discarded")] == [0] * 4
    assert record["acks"] == 15 * 4 + 3     # every 16th of a message of 64 and its last; 40 are left for the 16th one
    assert record["bytes"] == 1000 * 1024
    assert 0.9 < record["end"] - record["start"] < 5
    assert (stream["reordered"], stream["foreign"], stream["dport"]) == (0, 0, 4791)
    delays = [d for packets in job.rows("packets") for d in packets["delay"]]
    assert len(delays) == 1000
    assert all(0 < d < 1 for d in delays)


def test_go_back_n_delivers_everything_through_a_queue_that_drops_and_the_queue_names_every_loss(
        lab: StreamLab, start: Any) -> None:
    job = start(pair(pps=2000.0), pair("w/1.0", src="h2", pps=2000.0))      # 34.6 Mbit/s into 20
    job.start()
    job.event("done")
    records, streams = job.rows("roce"), job.rows("stream")
    assert [r["status"] for r in records] == ["ok", "ok"]
    assert [r["delivered"] for r in records] == [1000, 1000]
    assert all(r["retransmitted"] == r["sent"] - 1000 > 0 for r in records)
    assert all(r["naks"] > 0 and r["go_backs"] > 0 for r in records)
    assert [r["icrc_errors"] for r in records] == [0, 0]
    assert sum(s["lost"] for s in streams) == lab.queue_drops() > 0
    for r, s in zip(records, streams, strict=True):
        assert s["received"] == r["delivered"] + r["discarded"] + r["repeated"]


def test_an_unreliable_pair_never_repeats(lab: StreamLab, start: Any) -> None:
    job = start(pair(service="uc", pps=2000.0), pair("w/1.0", src="h2", service="uc", pps=2000.0, message=1))
    job.start()
    job.event("done")
    messages, packets = job.rows("roce")
    assert all((r["sent"], r["retransmitted"], r["acks"]) == (1000, 0, 0) for r in (messages, packets))
    lost = [s["lost"] for s in job.rows("stream")]
    assert sum(lost) == lab.queue_drops()
    assert min(lost) > 0
    assert packets["delivered"] == packets["messages"] == 1000 - lost[1]
    assert messages["delivered"] + messages["discarded"] == 1000 - lost[0]
    assert messages["discarded"] > 0, "a message that lost a packet is lost whole"
    assert messages["delivered"] <= 64 * messages["messages"]


def test_spraying_uses_every_port_once_before_any_twice(start: Any) -> None:
    job = start(pair(flows=100, service="uc"))
    job.start()
    job.event("done")
    stream = job.rows("stream")[0]
    assert stream["port_sent"] == stream["port_received"] == [10] * 100
    assert len(set(stream["sport"])) == 100


def test_a_host_both_sends_and_receives_on_the_one_port(start: Any) -> None:
    ring = [("h1", "h2"), ("h2", "h3"), ("h3", "h1")]
    job = start(*(pair(f"w/{i}.0", src=a, dst=b, count=300) for i, (a, b) in enumerate(ring)))
    job.start()
    job.event("done")
    assert [(r["status"], r["delivered"], r["sent"]) for r in job.rows("roce")] == [("ok", 300, 300)] * 3


def test_a_pair_whose_path_is_dead_gives_up_and_says_so(lab: StreamLab, start: Any) -> None:
    run(f"ip -n {lab.switch} link set h4 down")
    job = start(pair(count=20, timeout=0.05))
    job.start()
    job.event("done")
    record = job.rows("roce")[0]
    assert record["status"] == "retries exceeded"
    assert (record["retransmission_timeouts"], record["delivered"], record["end"]) == (8, 0, None)
    assert job.rows("stream")[0]["lost"] == 8 * 20 == record["sent"]


def test_an_interrupted_job_keeps_its_records(start: Any) -> None:
    job = start(pair(count=100_000))
    job.start()
    job.event("progress")
    job.process.send_signal(signal.SIGINT)
    assert job.process.wait(TIMEOUT) == 130
    record = job.rows("roce")[0]
    assert record["status"] == "interrupted"
    assert 0 < record["delivered"] <= record["sent"] < 100_000


def test_what_is_on_the_wire_is_read_by_scapy_and_by_tshark(lab: StreamLab, start: Any, tmp_path: Path) -> None:
    file = tmp_path / "h4.pcap"
    with inside(f"/run/netns/{lab.netns('h4')}"):
        tcpdump = subprocess.Popen(["tcpdump", "-i", "h4-eth0", "-U", "-w", str(file), "-Z", "root", "udp"],
                                   stderr=subprocess.PIPE, text=True)
    assert tcpdump.stderr is not None
    # How many lines it says before depends on what it writes to: one that is waited for in vain hangs the test.
    assert any("listening on" in line for line in tcpdump.stderr)
    job = start(pair(count=100), pair("w/1.0", src="h2", count=100, service="uc"))
    job.start()
    job.event("done")
    expected = 200 + sum(r["acks"] + r["naks"] for r in job.rows("roce"))
    deadline = time.monotonic() + TIMEOUT
    while file.stat().st_size < 200 * (1024 + OVERHEAD) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait(TIMEOUT)
    tcpdump.stderr.close()
    frames = 0
    with PcapReader(str(file)) as reader:
        for frame in reader:
            whole = bytes(frame)
            parsed = Ether(whole[:len(whole)])
            parsed[BTH].icrc = None
            assert bytes(parsed) == whole       # Scapy's own ICRC, over what the kernel sent
            frames += 1
    assert frames == expected
    seen = {one.src: one for one in findings(file)}
    assert set(seen) == {str(lab.fabric.host(h).ip) for h in ("h1", "h2")}
    assert [(p.packets, p.missing, p.repeated, p.bad_icrc) for p in seen.values()] == [(100, 0, 0, 0)] * 2
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    fields = ("-T", "fields", "-e", "infiniband.bth.opcode", "-e", "_ws.malformed")
    shown = run(f"tshark -r {file} {' '.join(fields)}").splitlines()
    assert len(shown) == expected
    assert all(row.split("\t")[0].isdigit() and row.endswith("\t") for row in shown)
