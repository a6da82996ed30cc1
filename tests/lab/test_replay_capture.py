"""Replayed captures on real namespaces: every packet at its time, every loss the queue's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from tests.lab.stream_lab import TIMEOUT, Process, StreamLab, stream_lab
from traffic.transports.replay.plan import ReplayJob, replay_of
from traffic.workloads.specs import ReplaySpec

pytestmark = pytest.mark.lab
A, B, C = "192.0.2.1", "192.0.2.4", "192.0.2.2"
HOSTS = {A: "h1", B: "h4", C: "h2"}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[StreamLab]:
    with stream_lab(tmp_path) as running:
        yield running


def segment(seconds: float, size: int, src: str = A, dst: str = B, sport: int = 4000, dport: int = 80) -> Packet:
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst) / TCP(
        sport=sport, dport=dport) / Raw(bytes(size - 54))
    frame.time = 1_700_000_000 + seconds
    return frame


def played(lab: StreamLab, directory: Path, *frames: Packet) -> list[dict[str, Any]]:
    """Stream records of these frames' replay, which runs to its end; beside them, the packets' records."""
    path = directory / "capture.pcap"
    wrpcap(str(path), list(frames))
    replay = replay_of(ReplaySpec.model_validate({"kind": "replay", "trace": str(path), "hosts": HOSTS}), lab.fabric,
                       "w")
    schedule = directory / "schedule.npz"
    replay.schedule.save(schedule)
    process = Process(lab, "traffic.transports.replay", ReplayJob, replay.streams, schedule=str(schedule))
    try:
        assert set(process.start()["pids"]) == {"replay-sender", "replay-receiver"}
        process.event("done")
        assert process.process.wait(TIMEOUT) == 0
    finally:
        process.end()
    return [r for kind in ("stream", "packets") for r in process.rows(kind)]


def test_a_conversation_is_replayed_both_ways_with_its_times_sizes_and_ports(lab: StreamLab, tmp_path: Path) -> None:
    times = np.cumsum([0.0, *np.tile((0.004, 0.011), 40)])
    there = [segment(t, 1514 if k % 2 else 500) for k, t in enumerate(times)]
    back = [segment(t + 0.002, 66, B, A, 80, 4000) for t in times]
    forth, answers, *packets = played(lab, tmp_path, *there, *back)
    assert (forth["sent"], forth["received"], forth["sport"], forth["dport"]) == (81, 81, [4000], 80)
    assert (answers["sent"], answers["received"], answers["sport"], answers["dport"]) == (81, 81, [80], 4000)
    assert (answers["src"], answers["dst"], answers["frame"]) == ("h4", "h1", 66)
    assert forth["foreign"] == answers["foreign"] == 0
    sent = np.array([t for p in packets if p["stream"] == "w/0" for t in p["t"]])
    late = sent - sent[0] - times
    first_late = forth["lateness"]["max"]
    assert np.all(late > -first_late - 1e-4)        # never before its time, but that the first may have been late
    assert lab.queue_drops() == 0


def test_what_a_full_queue_drops_is_lost_and_what_is_sent_to_one_port_by_two_is_distinguished(
        lab: StreamLab, tmp_path: Path) -> None:
    frames = [segment(k / 1700, 1514, src, sport=port) for k in range(900) for src, port in ((A, 4000), (C, 4001))]
    one, two, *_ = played(lab, tmp_path, *frames)       # 41 Mbit/s into 20
    assert one["sent"] == two["sent"] == 900
    assert one["foreign"] == two["foreign"] == one["duplicates"] == 0
    assert one["lost"] + two["lost"] == lab.queue_drops() > 100
