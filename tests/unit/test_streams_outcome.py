"""What sender and receiver saw becomes records: on loopback sockets, and on lanes filled by hand."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from topologies.model.errors import HostError, LabError, RunError
from traffic.transports.udp.board import DUPLICATES, FOREIGN, RECEIVED, SENT, SLOTS, Board, Lane, board
from traffic.transports.udp.clock import StepWatch
from traffic.transports.udp.outcome import StreamEnd, packets_records, sample_step, stream_record
from traffic.transports.udp.pcap import pcap_one_way, stream_packet
from traffic.transports.udp.plan import Stream
from traffic.transports.udp.receiver import Inlet, receive_all
from traffic.transports.udp.records import Outage
from traffic.transports.udp.sender import Flow, send_all
from traffic.transports.udp.wire import HEADER, MAGIC, RECEIVE_BUFFER, SO_TIMESTAMPNS, allow_sockets, socket_drops

FOUND = StreamEnd(phase="p", t0=0.0, offset=0, number=0, sport=(20001,), dport=12000, send_errors={}, socket_drops=0,
                clock_step=0.0, latency_invalid="", interrupted=False)


def a_stream(**keys: object) -> Stream:
    return Stream.model_validate({"name": "s", "workload": "w", "src": "h1", "dst": "h2", "pps": 20_000.0,
                                  "frame": 100, "count": 50, **keys})


def filled(arrivals: list[int], sent: int) -> Lane:
    """A lane of `sent` packets at 1 kHz of which `arrivals` arrived, in that order, 2 ms after their sending."""
    lane = board([(max(sent, 1), 1)]).lanes[0]
    for seq in range(sent):
        lane.sent[seq] = 1_000_000_000 + seq * 1_000_000
        lane.late[seq] = 1000 * seq
    for place, seq in enumerate(arrivals, start=1):
        lane.order[seq] = place
        lane.delay[seq] = 2_000_000
    lane.count[SENT] = lane.count[SLOTS] = sent
    lane.count[RECEIVED] = len(arrivals)
    return lane


def test_losses_reordering_and_outages_come_from_the_order_of_arrival() -> None:
    record = stream_record(a_stream(), filled([0, 1, 3, 4, 2, 9], 12), FOUND)
    assert (record.sent, record.received, record.lost) == (12, 6, 6)
    assert (record.reordered, record.reorder_extent_max) == (1, 2)
    assert record.loss_runs == 2
    assert record.outage == Outage(packets=4, seconds=0.004)
    assert record.lateness is not None
    assert record.lateness.max == pytest.approx(11e-6)
    assert record.start == pytest.approx(1.0)


def test_a_stream_that_sent_nothing_has_no_times() -> None:
    record = stream_record(a_stream(), filled([], 0), FOUND)
    assert (record.sent, record.lost, record.start, record.end, record.lateness) == (0, 0, None, None, None)
    assert list(packets_records(a_stream(), filled([], 0), "p", 0.0)) == []


def test_packets_are_written_in_lines_of_256_with_null_for_losses() -> None:
    rows = list(packets_records(a_stream(), filled([s for s in range(600) if s != 300], 600), "p", 0.5))
    assert [(r.first_seq, len(r.t)) for r in rows] == [(0, 256), (256, 256), (512, 88)]
    assert rows[1].delay[300 - 256] is None
    assert sum(d is None for r in rows for d in r.delay) == 1
    assert rows[0].t[0] == pytest.approx(0.5)
    assert rows[0].delay[0] == pytest.approx(0.002)


def test_long_streams_are_thinned_evenly_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traffic.transports.udp.outcome.MAX_SAMPLES", 100)
    lane = filled(list(range(250)), 250)
    assert stream_record(a_stream(), lane, FOUND).sample_step == sample_step(250) == 3
    rows = list(packets_records(a_stream(), lane, "p", 0.0))
    assert [(r.first_seq, r.step, len(r.t)) for r in rows] == [(0, 3, 84)]
    assert rows[0].t[1] - rows[0].t[0] == pytest.approx(0.003)


Pair = tuple[socket.socket, socket.socket, int]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A receiving socket with kernel stamps on loopback, one connected to it, and the latter's port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sink.bind(("127.0.0.1", 0))
        sink.setblocking(False)
        source.bind(("127.0.0.1", 0))
        source.connect(sink.getsockname())
        source.setblocking(False)
        yield sink, source, source.getsockname()[1]


def finish(inlet: Inlet, where: Board, drain: float) -> None:
    """Receive as if the sender had finished already."""
    control, reported = os.pipe()
    os.write(reported, b"end\n")
    receive_all([inlet], where, control, lambda: (os.read(control, 9), drain)[1])
    os.close(control)
    os.close(reported)


def test_what_is_sent_arrives_and_is_stamped_after_its_sending(pair: Pair) -> None:
    sink, source, port = pair
    where = board([(50, 1)])
    lane = where.lanes[0]
    send_all([Flow(0, a_stream(), lane, (source,))], where)
    finish(Inlet(0, lane, sink, (port,)), where, 5.0)
    record = stream_record(a_stream(), lane, FOUND)
    assert (record.sent, record.received, record.lost, record.reordered) == (50, 50, 0, 0)
    assert record.port_sent == record.port_received == (50,)
    assert all(0 < d < 1 for r in packets_records(a_stream(), lane, "p", 0.0) for d in r.delay if d is not None)
    assert socket_drops(sink) == 0


def test_duplicates_and_strangers_are_counted_and_keep_nothing_waiting(pair: Pair) -> None:
    sink, source, port = pair
    where = board([(10, 1)])
    lane = where.lanes[0]
    lane.count[SENT] = 3
    for seq in (0, 2, 2):
        source.send(HEADER.pack(MAGIC, 0, seq, time.time_ns()))
    for other in (HEADER.pack(MAGIC, 1, 0, 0), HEADER.pack(1, 0, 0, 0), HEADER.pack(MAGIC, 0, 10, 0), b"x"):
        source.send(other)
    finish(Inlet(0, lane, sink, (port,)), where, 0.05)
    assert [lane.count[k] for k in (RECEIVED, DUPLICATES, FOREIGN)] == [2, 1, 4]


def test_a_stop_ends_an_endless_schedule(pair: Pair) -> None:
    _, source, _ = pair
    where = board([(10, 1)])
    where.stop[0] = 1
    send_all([Flow(0, a_stream(count=None), where.lanes[0], (source,))], where)
    assert where.lanes[0].count[SENT] == 0


class BrokenSocket(socket.socket):
    """Fails each send with an error of its own choosing."""

    error = 0

    def send(self, *_: object) -> int:
        raise OSError(self.error, os.strerror(self.error))


def broken(error: int) -> BrokenSocket:
    sock = BrokenSocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.error = error
    return sock


def test_what_the_kernel_does_not_take_is_counted_by_name_and_not_as_sent() -> None:
    where = board([(20, 2)])
    flow = Flow(0, a_stream(count=20, flows=2), where.lanes[0], (broken(11), broken(105)))
    send_all([flow], where)
    assert flow.errors == {"EAGAIN": 10, "ENOBUFS": 10}
    assert (where.lanes[0].count[SENT], where.lanes[0].count[SLOTS]) == (0, 20)


def test_a_host_that_cannot_send_ends_the_run_and_is_named() -> None:
    where = board([(20, 1)])
    flow = Flow(0, a_stream(count=20), where.lanes[0], (broken(101),))
    with pytest.raises(RunError, match=r"host h1.*ENETUNREACH"):
        send_all([flow], where)
    assert flow.errors == {"ENETUNREACH": 1}
    assert [where.lanes[0].count[k] for k in (SLOTS, SENT)] == [1, 0]


def test_an_endless_stream_at_its_limit_is_an_error_not_a_silence(pair: Pair) -> None:
    _, source, _ = pair
    where = board([(10, 1)])
    with pytest.raises(RunError, match="endless stream"):
        send_all([Flow(0, a_stream(count=None), where.lanes[0], (source,))], where)
    assert where.lanes[0].count[SENT] == 10


def test_a_clock_step_makes_latencies_invalid_with_its_size() -> None:
    watch = StepWatch()
    watch.look(watch.first + 90_000)
    assert watch.why_invalid == ""
    watch.look(watch.first - 150_000)
    watch.look(watch.first)             # stepping back does not undo it
    assert watch.step == pytest.approx(-150e-6)
    assert "-0.150 ms" in watch.why_invalid


def udp_frame(payload: bytes, protocol: int = 17) -> bytes:
    ip = bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol]) + bytes(10)
    return bytes(12) + b"\x08\x00" + ip + bytes(8) + payload


def write_pcap(path: Path, frames: list[tuple[int, bytes]], magic: int = 0xA1B23C4D, link: int = 1) -> None:
    unit = 1 if magic == 0xA1B23C4D else 1000
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", magic, 2, 4, 0, 0, 65535, link))
        for ns, frame in frames:
            file.write(struct.pack("=IIII", ns // 10**9, ns % 10**9 // unit, len(frame), len(frame)) + frame)


def test_captures_are_matched_by_stream_and_sequence_number(tmp_path: Path) -> None:
    frames = {(n, s): udp_frame(HEADER.pack(MAGIC, n, s, 0) + bytes(20)) for n in (0, 1) for s in (0, 1)}
    write_pcap(tmp_path / "a", [(10**9 + i * 1000, f) for i, f in enumerate(frames.values())])
    back = [(10**9 + 250_000, frames[1, 0]), (10**9 + 400_000, frames[0, 0]), (10**9 + 500_000, frames[0, 0])]
    write_pcap(tmp_path / "b", [*back, (0, udp_frame(bytes(24))), (0, b"short")], magic=0xA1B2C3D4)
    found = pcap_one_way(tmp_path / "a", tmp_path / "b")
    assert found == {(0, 0): pytest.approx(400e-6), (1, 0): pytest.approx(248e-6)}


def test_more_sockets_than_the_machine_allows_are_refused_by_number() -> None:
    most = int(Path("/proc/sys/fs/nr_open").read_text())     # root raises its own limit, up to the kernel's
    with pytest.raises(HostError, match=str(most)):
        allow_sockets(most)


def test_frames_of_others_are_no_stream_packets() -> None:
    ours = HEADER.pack(MAGIC, 3, 7, 0)
    assert stream_packet(udp_frame(ours)) == (3, 7)
    assert stream_packet(udp_frame(ours, protocol=6)) is None
    assert stream_packet(udp_frame(ours[:-1])) is None
    assert stream_packet(bytes(60)) is None


def test_a_file_that_is_no_capture_of_packets_is_named(tmp_path: Path) -> None:
    write_pcap(tmp_path / "ok", [])
    (tmp_path / "text").write_text("this is no capture, though long enough")
    write_pcap(tmp_path / "wireless", [], link=105)
    for bad, found in (("text", "pcap"), ("wireless", "link type 105"), ("none", "No such file")):
        with pytest.raises(LabError, match=found) as caught:
            pcap_one_way(tmp_path / "ok", tmp_path / bad)
        assert bad in caught.value.where
