"""RoCEv2: packets that others read alike, go-back-N over paths that lose and reorder, what a spec becomes."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.roce import AETH, BTH
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapWriter

from tests.examples import examples
from tests.unit.records_of import records_of
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from traffic.metrics import roce
from traffic.runtime.reading import Records
from traffic.transports.rocev2.gobackn import ACK_EVERY, RETRIES, Requester, Responder, nearest
from traffic.transports.rocev2.packets import AckTemplate, DataTemplate, Heard, Icrc, icrc_is_right, stamp_of
from traffic.transports.rocev2.plan import ENTROPY_PORTS, SPRAY_PORTS, queue_pairs
from traffic.transports.rocev2.records import RoceRecord
from traffic.transports.rocev2.wire import ACK, FIRST, HEADERS, LAST, MIDDLE, NAK_SEQUENCE, ONLY, OVERHEAD, PSNS
from traffic.transports.udp.records import StreamRecord
from traffic.workloads.specs import RoceSpec

SRC, DST = "10.9.1.1", "10.9.2.1"
IN_FLIGHT = 12      # packets


def data_packet(psn: int = 0xFFFFFE, opcode: int = MIDDLE, sport: int = 50_000, service: str = "rc",
                dscp: int = 0) -> bytes:
    template = DataTemplate(SRC, DST, 0x101, 1024, service, dscp)
    template.packet(40_000, 1, FIRST, False, 3, 4)      # what an earlier packet left must not show
    return bytes(template.packet(sport, psn, opcode, True, 7, 123_456_789))


def ack_packet(syndrome: int = NAK_SEQUENCE) -> bytes:
    return bytes(AckTemplate(DST, SRC, 0x101).packet(50_000, 5, syndrome, 3))


@pytest.mark.parametrize("packet", [data_packet(), data_packet(opcode=ONLY, sport=49_152, psn=0),
                                    data_packet(service="uc"), data_packet(dscp=26), ack_packet(), ack_packet(ACK)])
def test_scapy_computes_the_same_icrc(packet: bytes) -> None:
    parsed = IP(packet)
    assert parsed[UDP].dport == 4791
    parsed[BTH].icrc = None
    assert bytes(parsed) == packet


def test_scapy_reads_the_fields_that_we_patched() -> None:
    parsed = IP(data_packet())
    assert (parsed.src, parsed.dst, parsed[UDP].sport) == (SRC, DST, 50_000)
    bth = parsed[BTH]
    assert (bth.opcode, bth.dqpn, bth.psn, bth.ackreq, bth.migreq) == (MIDDLE, 0x101, 0xFFFFFE, 1, 1)
    nak = IP(ack_packet())
    assert (nak[BTH].opcode, nak[BTH].psn, nak[AETH].syndrome, nak[AETH].msn) == (0x11, 5, NAK_SEQUENCE, 3)
    assert IP(data_packet(service="uc"))[BTH].opcode == 0x21


def test_tshark_reads_our_frames_as_infiniband_without_a_malformed_mark(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    packets = [data_packet(opcode=FIRST, psn=3), data_packet(opcode=LAST, psn=4),
               data_packet(opcode=ONLY, service="uc"), ack_packet(), ack_packet(ACK)]
    with PcapWriter(str(tmp_path / "roce.pcap"), linktype=1) as writer:
        for packet in packets:
            writer.write(Ether(src="02:00:0a:09:01:01", dst="02:00:0a:09:02:01") / IP(packet))
    fields = ("infiniband.bth.opcode", "infiniband.bth.psn", "infiniband.bth.destqp", "infiniband.aeth.syndrome",
              "_ws.malformed")
    shown = subprocess.run(
        ["tshark", "-r", str(tmp_path / "roce.pcap"), "-T", "fields", *(w for f in fields for w in ("-e", f))],
        capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [int(row[0]) for row in rows] == [FIRST, LAST, 0x20 | ONLY, 0x11, 0x11]
    assert [int(row[1]) for row in rows] == [3, 4, 0xFFFFFE, 5, 5]
    assert {int(row[2], 16) for row in rows} == {0x101}
    assert [int(row[3], 0) for row in rows[3:]] == [NAK_SEQUENCE, ACK]
    assert all(not any(row[4:]) for row in rows)


def test_a_flipped_bit_is_found_and_a_changed_ttl_is_not_one() -> None:
    packet = bytearray(data_packet())
    icrc, payload = Icrc(bytes(packet[:HEADERS])), bytes(packet[HEADERS:])
    assert icrc_is_right(icrc, 50_000, payload)
    packet[8] = 63      # TTL
    assert icrc_is_right(Icrc(bytes(packet[:HEADERS])), 50_000, payload)
    assert not icrc_is_right(icrc, 50_001, payload)
    for place in (0, 6, 11, 12, 500, len(payload) - 1):
        broken = bytearray(payload)
        broken[place] ^= 1
        assert not icrc_is_right(icrc, 50_000, bytes(broken)), place


def test_what_is_heard_is_what_was_packed() -> None:
    heard = Heard(data_packet()[HEADERS:])
    assert (heard.qpn, heard.psn, heard.opcode, heard.ack_request) == (0x101, 0xFFFFFE, MIDDLE, True)
    assert stamp_of(data_packet()[HEADERS:]) == (7, 123_456_789)
    assert Heard(ack_packet()[HEADERS:]).syndrome == NAK_SEQUENCE
    assert Heard(b"short").qpn == -1


# ---- go-back-N

@given(st.integers(0, PSNS - 1), st.integers(0, 2**30), st.integers(-1000, 1000))
def test_the_nearest_packet_with_a_psn_is_found_across_wraps(first: int, around: int, away: int) -> None:
    assert nearest((first + around + away) % PSNS, first, around) == around + away


class Way:
    """A path that loses and delays packets by seed, and a clock that ticks when nothing moves."""

    def __init__(self, seed: int, loss: float, reorder: float) -> None:
        self.random = random.Random(seed)       # noqa: S311 - repeatable on purpose
        self.loss, self.reorder = loss, reorder

    def carry(self, queue: deque[Any], item: Any) -> None:
        if self.random.random() < self.loss:
            return
        if queue and self.random.random() < self.reorder:
            queue.insert(self.random.randrange(len(queue)), item)
        else:
            queue.append(item)


def converse(total: int, message: int, first: int, path: Way) -> tuple[Requester, Responder, int]:
    """Both ends until the requester is done or has failed; and how many packets were sent."""
    requester, responder = Requester(total, message, first), Responder(first)
    there: deque[Any] = deque()
    back: deque[Any] = deque()
    sent = 0
    while not requester.done and not requester.failed:
        moved = False
        if requester.next < requester.total:
            path.carry(there, requester.take())
            sent += 1
            moved = True
        if len(there) > IN_FLIGHT or (there and not moved):
            reply = responder.take(*there.popleft())
            moved = True
            if reply is not None:
                path.carry(back, reply)
        if back and (len(back) > 2 or not moved):
            reply = back.popleft()
            requester.hear(reply.psn, reply.syndrome)
            moved = True
        if not moved:
            requester.time_out()
    return requester, responder, sent


@examples(60)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, PSNS - 1), st.integers(0, 2**32),
       st.floats(0, 0.3), st.floats(0, 0.3))
def test_everything_is_delivered_once_and_in_order_whatever_the_path_does(
        total: int, message: int, first: int, seed: int, loss: float, reorder: float) -> None:
    requester, responder, sent = converse(total, message, first, Way(seed, loss, reorder))
    if requester.failed:        # eight silences in a row: then what was acknowledged was delivered
        assert requester.acked <= responder.expected
        return
    assert responder.expected == total == requester.acked == requester.highest
    assert responder.messages == -(-total // message)
    assert sent >= total


def test_a_clean_path_needs_no_repetition() -> None:
    requester, responder, sent = converse(1000, 100, PSNS - 10, Way(1, 0, 0))
    assert (sent, requester.go_backs, requester.retransmission_timeouts) == (1000, 0, 0)
    assert (responder.naks, responder.discarded) == (0, 0)
    assert responder.acks == 10 * (-(-100 // ACK_EVERY))


def test_one_lost_packet_costs_all_that_followed_it_and_one_nak() -> None:
    requester, responder = Requester(10, 10, 0), Responder(0)
    packets = [requester.take() for _ in range(8)]
    replies = [r for p in packets[:2] + packets[3:] if (r := responder.take(*p)) is not None]
    assert [(r.psn, r.syndrome) for r in replies] == [(2, NAK_SEQUENCE)]
    assert (responder.expected, responder.discarded, responder.naks) == (2, 5, 1)
    assert requester.hear(*replies[0][:2])
    assert (requester.acked, requester.next, requester.highest, requester.go_backs) == (2, 2, 8, 1)
    assert [requester.take().psn for _ in range(3)] == [2, 3, 4]


def test_a_nak_that_comes_twice_goes_back_to_the_same_place_and_a_stale_ack_does_nothing() -> None:
    requester = Requester(10, 10, 0)
    for _ in range(8):
        requester.take()
    requester.hear(4, NAK_SEQUENCE)
    assert not requester.hear(1, ACK)
    assert not requester.hear(2, NAK_SEQUENCE)
    assert (requester.acked, requester.next) == (4, 4)


def test_an_ack_of_what_was_never_sent_is_not_believed() -> None:
    requester = Requester(10, 10, 0)
    requester.take()
    assert not requester.hear(5, ACK)
    assert requester.acked == 0


def test_a_dead_path_ends_in_failure_after_its_retries() -> None:
    requester, responder, sent = converse(5, 5, 0, Way(1, 1.0, 0))
    assert requester.failed
    assert (requester.retransmission_timeouts, sent, responder.expected) == (RETRIES + 1, 5 * (RETRIES + 1), 0)


def test_an_unreliable_pair_asks_for_no_ack_and_is_done_when_all_is_sent() -> None:
    requester, responder = Requester(5, 2, 0, reliable=False), Responder(0, reliable=False)
    packets = [requester.take() for _ in range(5)]
    assert requester.done
    assert [p.opcode for p in packets] == [FIRST, LAST, FIRST, LAST, ONLY]
    assert [responder.take(*p) for p in packets] == [None] * 5
    assert (responder.delivered, responder.messages, responder.discarded, responder.begun) == (5, 3, 0, 0)


def received_by_uc(message: int, *order: int, first: int = PSNS - 2) -> Responder:
    """An unreliable responder after packets of these numbers, in messages of `message` packets."""
    requester, responder = Requester(max(order) // message * message + message, message, first, reliable=False), \
        Responder(first, reliable=False)
    packets = [requester.take() for _ in range(requester.total)]
    for n in order:
        assert responder.take(*packets[n]) is None
    return responder


@pytest.mark.parametrize(("order", "delivered", "messages", "discarded"), [
    ([0, 1, 2, 3, 4, 5], 6, 2, 0),
    ([0, 2, 3, 4, 5], 3, 1, 2),             # 1 is lost: so is its message
    ([0, 1, 3, 4, 5], 3, 1, 2),             # its last one is lost
    ([1, 2, 3, 4, 5], 3, 1, 2),             # its first one is lost
    ([0, 2, 1, 3, 4, 5], 3, 1, 3),          # out of order within the message
    ([0, 1, 3, 2, 4, 5], 0, 0, 6),          # the next message begins within one: neither comes whole
    ([0, 1, 2, 0, 1, 2], 6, 2, 0),          # a packet that begins a message is taken whatever its PSN
    ([0, 1], 0, 0, 0),
])
def test_an_unreliable_receiver_loses_a_message_whole(order: list[int], delivered: int, messages: int,
                                                      discarded: int) -> None:
    responder = received_by_uc(3, *order)
    assert (responder.delivered, responder.messages, responder.discarded) == (delivered, messages, discarded)
    assert responder.delivered + responder.discarded + responder.begun == len(order)


def test_unreliable_messages_of_one_packet_arrive_in_any_order() -> None:
    responder = received_by_uc(1, 3, 1, 4, 0)
    assert (responder.delivered, responder.messages, responder.discarded) == (4, 4, 0)


# ---- from spec to queue pairs

FABRIC = expand(FabricSpec(name="two", leaves=2, spines=2, hosts_per_leaf=2, probes=False))


def spec(**keys: Any) -> RoceSpec:
    return RoceSpec.model_validate({"kind": "rocev2", "pairs": [["h1", "h3"]], "rate": "8mbit", "size": "100kB",
                                    **keys})


def test_queue_pairs_share_rate_and_size_and_have_ports_of_their_own() -> None:
    pairs = queue_pairs(spec(queue_pairs=4), FABRIC, "w", 1)
    assert [p.name for p in pairs] == ["w/0.0", "w/0.1", "w/0.2", "w/0.3"]
    assert {p.packets for p in pairs} == {25}       # 25,000 bytes in 1,024 each, rounded up
    assert sum(p.pps * 8 * p.frame for p in pairs) == pytest.approx(8e6)
    assert pairs[0].frame == 1024 + OVERHEAD
    ports = [p.ports() for p in pairs]
    assert all(len(p) == 1 and p[0] in ENTROPY_PORTS for p in ports)
    assert len(set(ports)) == 4
    assert ports == [p.ports() for p in queue_pairs(spec(queue_pairs=4), FABRIC, "w", 1)]
    assert ports != [p.ports() for p in queue_pairs(spec(queue_pairs=4), FABRIC, "w", 2)]


def test_a_sprayed_pair_has_many_ports_each_once() -> None:
    ports = queue_pairs(spec(spray=True), FABRIC, "w", 1)[0].ports()
    assert len(set(ports)) == len(ports) == SPRAY_PORTS


def test_a_payload_beyond_the_mtu_is_refused_with_the_largest_that_fits() -> None:
    with pytest.raises(SpecError, match="at most 1456"):
        queue_pairs(spec(mtu=2048), FABRIC, "w", 1)


def tags(rows: list[dict[str, Any]], *received: int) -> dict[str, float]:
    """Of queue pairs, and of the packets that each stream of theirs received."""
    left = Records(records_of(*({"kind": "roce", **row} for row in rows),
                              *({"kind": "stream", "received": n} for n in received)))
    return {m.tag: m.value for m in roce.metrics(left[RoceRecord], left[StreamRecord])}


def test_metrics_tell_goodput_and_what_going_back_cost() -> None:
    rows = [{"start": 1.0, "end": 3.0, "bytes": 1000, "sent": 20, "retransmitted": 5, "discarded": 4, "naks": 1,
             "retransmission_timeouts": 2, "service": "rc", "status": "ok"},
            {"start": 2.0, "end": 5.0, "bytes": 3000, "sent": 30, "retransmitted": 0, "discarded": 0, "naks": 0,
             "retransmission_timeouts": 0, "service": "rc", "status": "retries exceeded"}]
    found = tags(rows, 16, 24)
    assert found == {"rdma_goodput": 8000.0, "retransmitted": 0.1, "discarded": 0.1, "naks": 1,
                     "retransmission_timeouts": 2, "queue_pairs_failed": 1}
    assert tags([{**rows[0], "start": None}]) == {}
    unreliable = [{**rows[0], "service": "uc"}]
    assert tags(unreliable, 16) == {"rdma_goodput": 4000.0, "discarded": 0.25}, "what it could not use is said"
    nothing = [{**rows[0], "service": "uc", "end": None, "bytes": 0, "discarded": 16}]
    assert tags(nothing, 16) == {"rdma_goodput": 0, "discarded": 1}
