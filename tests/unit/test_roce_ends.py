"""Both ends of a queue pair joined by lists instead of sockets: what they send, hear, count and give up."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from scenarios.report.answer import compared, workload_sentence
from topologies.model.errors import RunError
from traffic.transports.rocev2.outcome import roce_record
from traffic.transports.rocev2.packets import Heard
from traffic.transports.rocev2.plan import FIRST_QPN, QueuePair
from traffic.transports.rocev2.ports import _by_opcode
from traffic.transports.rocev2.receiver import Incoming
from traffic.transports.rocev2.sender import BURST, Outgoing, Sender
from traffic.transports.rocev2.wire import ACK, ACKNOWLEDGE, FIRST, HEADERS, LAST, NAK_SEQUENCE, ONLY, OVERHEAD
from traffic.transports.udp.board import DUPLICATES, FOREIGN, RECEIVED, SENT, board
from traffic.transports.udp.outcome import StreamEnd, stream_record

SRC, DST = "10.9.1.1", "10.9.2.1"


class Socket:
    """Takes packets into a list, or fails as it is reported."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.error: int | None = None

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        if self.error is not None:
            if self.error == errno.EAGAIN:
                raise BlockingIOError(self.error, "full")
            raise OSError(self.error, "reported so")
        assert address in ((SRC, 0), (DST, 0))
        self.packets.append(bytes(data))

    def taken(self) -> list[bytes]:
        packets, self.packets = self.packets, []
        return packets


class Both:
    """A queue pair's two ends and what is between them."""

    def __init__(self, **keys: Any) -> None:
        self.pair = QueuePair.model_validate({
            "name": "w/0.0", "workload": "w", "src": "h1", "dst": "h2", "pps": 1e6, "frame": 256 + OVERHEAD,
            "count": 100, "mtu": 256, "message": 10, "service": "rc", "timeout": 0.5, **keys})
        self.board = board([(self.pair.room, self.pair.flows)])
        self.lane = self.board.lanes[0]
        self.there, self.back = Socket(), Socket()
        self.out = Outgoing(0, self.pair, self.lane, (SRC, DST), self.there)      # type: ignore[arg-type]
        self.into = Incoming(0, self.pair, self.lane, (SRC, DST), self.out.template.icrc, self.back)  # type: ignore[arg-type]
        self.out.start_at(0)

    def send(self, count: int) -> list[bytes]:
        for _ in range(count):
            self.out.send()
        return self.there.taken()

    def arrive(self, packet: bytes) -> None:
        """At the receiver; what it answers arrives at the sender at once."""
        payload = packet[HEADERS:]
        sport = int.from_bytes(packet[20:22], "big")
        self.into.take(Heard(payload), payload, sport, time.clock_gettime_ns(time.CLOCK_REALTIME))
        for answer in self.back.taken():
            assert Heard(answer[HEADERS:]).qpn == FIRST_QPN
            self.out.hear(answer[HEADERS:], int.from_bytes(answer[20:22], "big"), 1)


def test_a_lost_packet_is_sent_again_with_all_that_followed() -> None:
    both = Both()
    first = both.send(20)
    for packet in first[:5] + first[6:]:
        both.arrive(packet)
    assert asdict(both.into.reported()) | {"delivered_at": 0} == {
        "delivered": 5, "messages": 0, "discarded": 14, "repeated": 0, "acks": 0, "naks": 1, "bad_icrc": 0,
        "unanswered": 0, "delivered_at": 0}
    again = both.send(1)[0]
    assert Heard(again[HEADERS:]).psn == Heard(first[5][HEADERS:]).psn
    both.arrive(again)
    while not both.out.over:
        for packet in both.send(1):
            both.arrive(packet)
    reported = both.out.reported()
    assert (reported.status, reported.acked, reported.highest) == ("ok", 100, 100)
    assert (reported.go_backs, reported.retransmission_timeouts) == (1, 0)
    assert (both.lane.count[SENT], both.lane.count[RECEIVED]) == (115, 114)


def test_an_ack_with_a_wrong_icrc_is_not_believed() -> None:
    both = Both()
    for packet in both.send(10):
        payload = packet[HEADERS:]
        both.into.take(Heard(payload), payload, both.pair.ports()[0], 1)
    answer = bytearray(both.back.taken()[-1][HEADERS:])
    assert Heard(bytes(answer)).syndrome == ACK
    answer[12] = NAK_SEQUENCE
    both.out.hear(bytes(answer), both.pair.ports()[0], 1)
    assert (both.out.requester.acked, both.out.bad_icrc) == (0, 1)


def test_broken_foreign_and_doubled_packets_are_counted_apart() -> None:
    both = Both()
    packet = both.send(1)[0]
    payload, port = packet[HEADERS:], both.pair.ports()[0]
    broken = bytearray(payload)
    broken[100] ^= 1
    heard = Heard(payload)
    assert not both.into.take(heard, bytes(broken), port, 1)
    assert not both.into.take(heard, payload, port + 1, 1)
    assert both.into.take(heard, payload, port, 1)
    assert not both.into.take(heard, payload, port, 1)
    assert (both.into.bad_icrc, both.lane.count[FOREIGN], both.lane.count[DUPLICATES]) == (1, 1, 1)
    assert both.lane.count[RECEIVED] == both.into.responder.expected == 1


def test_a_full_queue_holds_the_sender_back_and_loses_nothing() -> None:
    both = Both()
    both.there.error = errno.EAGAIN
    assert both.send(3) == []
    both.there.error = None
    first = both.send(1)[0]
    assert Heard(first[HEADERS:]).psn == both.pair.first_psn
    assert (both.out.blocked, both.lane.count[SENT], both.out.requester.next) == (3, 1, 1)


def test_a_host_that_cannot_send_is_an_error_that_names_it() -> None:
    both = Both()
    both.there.error = errno.ENETUNREACH
    with pytest.raises(RunError, match=r"w/0\.0, host h1.*ENETUNREACH"):
        both.out.send()


class Clock:
    """A time of its own: sending takes some, and who sleeps wakes up late."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10**9
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now)


@pytest.mark.parametrize(("pps", "cost", "wake"), [(1000, 5_000, 60_000), (10_000, 5_000, 60_000),
                                                   (10_000, 30_000, 0), (30_000, 12_000, 60_000)])
def test_who_is_late_catches_up_in_short_bursts_at_no_more_than_twice_the_pace(
        monkeypatch: pytest.MonkeyPatch, pps: float, cost: int, wake: int) -> None:
    """A stall of 100 packets is made up for; nowhere do more than 8 leave less than half a period apart."""
    both, clock, period = Both(pps=float(pps), count=2000), Clock(monkeypatch), 1e9 / pps
    following, times = both.out.start_at(clock.now - round(100 * period)), []
    while following:
        clock.now = max(clock.now, round(following) + wake if following > clock.now else 0)
        times.append(clock.now)
        following = both.out.send()
        clock.now += cost
    gaps = np.diff(times)
    rows = "".join("x" if gap < period / 2 else " " for gap in gaps).split()
    assert max(map(len, rows)) == BURST - 1         # gaps in a row: one fewer than packets
    for length in (2 * BURST, 40):
        took = np.array(times[length:]) - np.array(times[:-length])
        assert took.min() >= (length - BURST) / 2 * period
    assert times[-1] - both.out.due < 3 * period + wake


def test_silence_sends_again_and_gives_up_after_its_retries() -> None:
    both = Both(count=3)
    now = 0
    for _ in range(20):
        both.send(4)
        now += 10**9
        both.out.heard_at = now - 10**9
        both.out.look_at_clock(now)
    assert both.out.over
    assert both.out.reported().status == "retries exceeded"
    assert both.lane.count[SENT] == 3 * 8


def test_the_loop_of_the_sender_runs_all_pairs_to_their_ends() -> None:
    both = Both(service="uc", pps=20_000.0, flows=4)
    Sender([both.out], [], both.board).run()
    packets = both.there.taken()
    assert len(packets) == 100
    assert len({p[20:22] for p in packets}) == 4
    for packet in packets:
        both.arrive(packet)
    assert both.into.reported().delivered == 100
    assert both.back.packets == []


def test_a_record_adds_up() -> None:
    both = Both()
    first = both.send(20)
    for packet in first[:5] + first[6:]:
        both.arrive(packet)
    while not both.out.over:
        for packet in both.send(1):
            both.arrive(packet)
    found = StreamEnd(phase="main", t0=0.0, offset=0, number=FIRST_QPN, sport=both.pair.ports(), dport=4791,
                      send_errors={}, socket_drops=0, clock_step=0.0, latency_invalid="", interrupted=False)
    stream = stream_record(both.pair, both.lane, found)
    record = roce_record(both.pair, stream, both.out.reported(), both.into.reported(), 0)
    assert (record.sent, record.retransmitted, record.delivered, record.bytes) == (115, 15, 100, 25_600)
    assert stream.received == record.delivered + record.discarded + record.repeated
    assert (stream.lost, record.status, record.spray) == (1, "ok", False)
    assert record.end is not None


def test_the_answer_tells_what_was_delivered_and_what_going_back_cost() -> None:
    def tags(**values: float) -> dict[str, Any]:
        return {tag: {"value": value, "title": tag} for tag, value in values.items()}

    assert workload_sentence("They", tags(loss=20_000, rdma_goodput=8e6, retransmitted=0.25), {}) == (
        "They delivered 8 Mbit/s of payload and lost 2 % of their packets, so 25 % of what they sent was "
        "retransmitted.")
    assert workload_sentence("They", tags(loss=20_000, rdma_goodput=2e6, discarded=0.5), {}) == (
        "They delivered 2 Mbit/s of payload and lost 2 % of their packets, so 50 % of what arrived belonged to "
        "incomplete or reordered messages.")
    clean = workload_sentence("They", tags(loss=0, rdma_goodput=9e6, retransmitted=0), {})
    assert clean == "They delivered 9 Mbit/s of payload and lost no packet."
    assert compared({"a": tags(rdma_goodput=4e6), "b": tags(rdma_goodput=8e6)}) == [
        "By rdma_goodput, b did best and a worst, a factor of 2."]


def test_the_kernel_gives_acks_to_one_socket_of_the_port_and_all_else_to_the_other() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as data, socket.socket(type=socket.SOCK_DGRAM) as acks, \
            socket.socket(type=socket.SOCK_DGRAM) as peer:
        data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        data.bind(("127.0.0.1", 0))
        acks.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        acks.bind(data.getsockname())
        _by_opcode(data)
        sent = [bytes([opcode, k]) for k, opcode in enumerate((FIRST, ACKNOWLEDGE, 0x20 | ONLY, ACKNOWLEDGE, LAST))]
        for packet in sent:
            peer.sendto(packet, data.getsockname())
        for sock in (data, acks):
            sock.settimeout(5)
        assert [data.recv(16) for _ in range(3)] == [sent[0], sent[2], sent[4]]
        assert [acks.recv(16) for _ in range(2)] == [sent[1], sent[3]]
