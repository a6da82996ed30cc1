"""Captures of RoCEv2 as real networks have them: whole opcodes, two rows of PSNs one way, order."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.roce import BTH
from scapy.layers.inet import IP
from scapy.packet import Packet

from tests.unit.roce_captures import (
    ACKNOWLEDGE,
    AT_A,
    AT_B,
    ATOMIC_ACK,
    FETCH_ADD,
    MTU,
    READ,
    READ_ONLY,
    SEND_ONLY,
    UC,
    UD,
    WRITE_FIRST,
    WRITE_LAST,
    WRITE_MIDDLE,
    WRITE_ONLY,
    XRC,
    A,
    B,
    ack,
    aeth,
    ethernet,
    notification,
    read_responses,
    reth,
    roce,
    written,
)
from traffic.transports.rocev2.analysis import Analysis, PairFindings, analysis
from traffic.transports.rocev2.opcodes import MEANINGS, Meaning, Role
from traffic.transports.rocev2.spans import Spans, Taken

TOP = 2**24


def rows(path: Path) -> dict[tuple[str, str], PairFindings]:
    """(source, what it carries) -> findings."""
    return {(p.src, p.carries): p for p in analysis(path).pairs}


def only(path: Path) -> PairFindings:
    one, = analysis(path).pairs
    return one


def send(psn: int, *, back: bool = False, service: int = 0) -> Packet:
    return roce(service | SEND_ONLY, psn, bytes(64), back=back)


# ---- opcodes

def test_congestion_notifications_are_no_data(tmp_path: Path) -> None:
    there = [send(8_000_000 + k) for k in range(5)]
    found = analysis(written(tmp_path / "a.pcap", *there, notification(back=False), notification(back=False)))
    one, = found.pairs
    assert (one.packets, one.missing, one.bad_icrc) == (5, 0, 0)
    assert [(a.src, a.dst, a.qpn, a.cnps, a.acks) for a in found.answers] == [(A, B, AT_B, 2, 0)]


def test_acks_and_naks_are_counted_by_their_syndrome(tmp_path: Path) -> None:
    syndromes = [0x1F, 0x05, 0x60, 0x60, 0x61, 0x64, 0x2A, 0x45]
    found = analysis(written(tmp_path / "a.pcap", send(7), *(ack(7, s) for s in syndromes)))
    answers, = found.answers
    assert (answers.acks, answers.sequence_naks, answers.error_naks) == (2, 2, 2)
    assert (answers.rnr_naks, answers.reserved) == (1, 1)
    assert found.pairs[0].naks == 2, "only those for a PSN out of order ask for the packet again"


@pytest.mark.parametrize("service", [0, UC, XRC])
def test_services_are_read_alike(tmp_path: Path, service: int) -> None:
    packets = [send(k, service=service) for k in (1, 2, 4)]
    one = only(written(tmp_path / "a.pcap", *packets))
    assert (one.service, one.packets, one.missing) == ({0: "RC", UC: "UC", XRC: "XRC"}[service], 3, 1)


def test_what_has_no_row_of_psns_is_left_out_by_kind(tmp_path: Path) -> None:
    packets = [send(1), roce(UD | SEND_ONLY, 900, bytes(264), qpn=1), roce(0x40 | SEND_ONLY, 5, bytes(64)),
               roce(0x15, 70, bytes(64)), roce(UC | READ, 80, reth(64)), roce(0x80, 90, bytes(16)),
               roce(0xE0, 100, bytes(64))]
    found = analysis(written(tmp_path / "a.pcap", *packets))
    assert (found.pairs[0].packets, found.pairs[0].missing) == (1, 0)
    assert {kind.split(" (")[0]: n for kind, n in found.left_out.items()} == {
        "unreliable datagrams": 1, "reliable datagrams": 1, "RoCEv2 packets of unknown opcodes": 4}


def test_the_service_is_part_of_an_opcode() -> None:
    for opcode, meaning in enumerate(MEANINGS):
        assert isinstance(meaning, Meaning) == (
            opcode in {*range(0x15), 0x16, 0x17, 0x1C, 0x1D}            # RC
            or opcode in range(0x20, 0x2C)                              # UC
            or opcode - XRC in {*range(0x15), 0x16, 0x17, 0x1C, 0x1D}   # XRC
            or opcode == 0x81), hex(opcode)
    assert MEANINGS[0x81] == Meaning(Role.NOTIFICATION)


# ---- two rows of PSNs in one direction

def test_read_responses_and_the_responders_own_writes_are_two_rows(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(5):
        packets += [roce(READ_ONLY, 1000 + k, aeth() + bytes(120), back=True),
                    roce(WRITE_ONLY, 5000 + k, reth(104) + bytes(104), back=True)]
    found = rows(written(tmp_path / "a.pcap", *packets))
    assert {key: (p.packets, p.missing, p.late) for key, p in found.items()} == {
        (B, "responses"): (5, 0, 0), (B, "requests"): (5, 0, 0)}


def test_a_read_takes_the_psns_of_its_responses(tmp_path: Path) -> None:
    """READ of 3 packets at 10, a WRITE at 13, a READ of one packet at 14, an atomic at 15, a SEND at 16."""
    there = [roce(READ, 10, reth(2 * MTU + 1)), roce(WRITE_ONLY, 13, reth(64) + bytes(64)), roce(READ, 14, reth(64)),
             roce(FETCH_ADD, 15, bytes(28)), send(16)]
    back = [*read_responses(10, 3), roce(READ_ONLY, 14, aeth() + bytes(64), back=True),
            roce(ATOMIC_ACK, 15, aeth() + bytes(8), back=True), ack(16)]
    found = rows(written(tmp_path / "a.pcap", *there, *back))
    assert (found[A, "requests"].packets, found[A, "requests"].missing) == (5, 0)
    assert (found[B, "responses"].packets, found[B, "responses"].missing) == (5, 0)
    assert all((p.repeated, p.late, p.bad_icrc) == (0, 0, 0) for p in found.values())


def test_lost_requests_and_lost_responses_are_missing_in_their_own_rows(tmp_path: Path) -> None:
    there = [roce(READ, 10, reth(4 * MTU)), send(15), roce(READ, 16, reth(2 * MTU)), send(18)]      # 14 is lost
    back = [*read_responses(10, 4)[:2], read_responses(10, 4)[3], read_responses(16, 2)[1]]         # 12 and 16 are lost
    found = rows(written(tmp_path / "a.pcap", *there, *back))
    assert found[A, "requests"].missing == 1
    assert found[B, "responses"].missing == 2, "14 and 15 were never a response's"


def test_a_read_that_is_asked_for_again_from_its_middle_on_repeats(tmp_path: Path) -> None:
    there = [roce(READ, 10, reth(4 * MTU)), send(14), roce(READ, 12, reth(2 * MTU)), send(15)]
    back = [*read_responses(10, 4)[:2], *read_responses(12, 2)]
    found = rows(written(tmp_path / "a.pcap", *there, *back))
    asked = found[A, "requests"]
    assert (asked.missing, asked.repeated, asked.go_backs, asked.late) == (0, 1, 1, 0)
    assert (found[B, "responses"].missing, found[B, "responses"].repeated) == (0, 0)


def test_what_a_read_takes_is_not_guessed(tmp_path: Path) -> None:
    """Whether 4,000 bytes are one packet or sixteen no packet of this capture shows."""
    asked = only(written(tmp_path / "a.pcap", roce(READ, 10, reth(4000)), send(26)))
    assert asked.missing is None
    known = only(written(tmp_path / "b.pcap", roce(READ, 10, reth(256)), send(12)))
    assert known.missing == 1, "no MTU is smaller than 256"
    one_packet = [roce(READ, 10, reth(1000)), roce(READ_ONLY, 10, aeth() + bytes(1000), back=True),
                  roce(READ, 12, reth(1000))]
    found = rows(written(tmp_path / "c.pcap", *one_packet))
    assert found[A, "requests"].missing == 1, "a packet of 1,000 bytes was seen: the MTU is 1,024 at least"


def test_responses_without_their_requests_miss_what_is_in_the_middle_of_a_message_alone(tmp_path: Path) -> None:
    whole = read_responses(10, 4)
    assert only(written(tmp_path / "a.pcap", *whole[:2], whole[3])).missing == 1
    assert only(written(tmp_path / "b.pcap", *whole, *read_responses(20, 2))).missing is None, "or requests of others"
    assert only(written(tmp_path / "c.pcap", *whole, *read_responses(14, 2))).missing == 0


def test_rows_wrap_at_24_bits(tmp_path: Path) -> None:
    there = [send(TOP - 2), roce(READ, TOP - 1, reth(3 * MTU)), send(2), send(4)]
    found = rows(written(tmp_path / "a.pcap", *there, *read_responses(TOP - 1, 3)))
    assert found[A, "requests"].missing == 1
    assert (found[B, "responses"].packets, found[B, "responses"].missing) == (3, 0)


def test_each_receiver_and_queue_pair_has_a_row_of_its_own(tmp_path: Path) -> None:
    packets = [roce(SEND_ONLY, 100 * q + k, bytes(64), qpn=q) for k in range(3) for q in (1, 2, 3)]
    packets += [roce(SEND_ONLY, 9000, bytes(64), qpn=1, ip=IP(src="192.0.2.9", dst=B))]
    found = analysis(written(tmp_path / "a.pcap", *packets)).pairs
    assert [(p.src, p.qpn, p.packets, p.missing) for p in found] == [
        (A, 1, 3, 0), (A, 2, 3, 0), (A, 3, 3, 0), ("192.0.2.9", 1, 1, 0)]


def test_naks_go_to_the_queue_pair_that_has_their_psn(tmp_path: Path) -> None:
    packets = [roce(SEND_ONLY, 1000 * q + k, bytes(64), qpn=q) for k in range(3) for q in (1, 2)]
    naks = [roce(ACKNOWLEDGE, psn, aeth(0x60), back=True, qpn=q) for psn, q in ((2002, 7), (1003, 8), (500_000, 9))]
    found = analysis(written(tmp_path / "a.pcap", *packets, *naks))
    assert [(p.qpn, p.naks) for p in found.pairs] == [(1, 1), (2, 1)]
    assert [(a.qpn, a.sequence_naks) for a in found.answers] == [(7, 1), (8, 1), (9, 1)]


# ---- sent again, or overtaken

def test_order_is_that_of_the_stamps_and_what_was_put_in_its_place_is_counted(tmp_path: Path) -> None:
    merged = [(1.000, send(0)), (1.002, send(2)), (1.001, send(1)), (1.003, send(3))]
    found = analysis(written(tmp_path / "a.pcap", *merged))
    assert found.unordered == 1
    assert (found.pairs[0].late, found.pairs[0].missing) == (0, 0)
    assert found.pairs[0].seconds == pytest.approx(0.003)


def test_a_late_packet_was_resent_if_others_are_repeated_with_it_or_a_nak_asked_for_it(tmp_path: Path) -> None:
    overtaken = only(written(tmp_path / "a.pcap", *(send(k) for k in (0, 2, 1, 3))))
    assert (overtaken.late, overtaken.resent, overtaken.go_backs) == (1, 0, 0)
    gone_back = only(written(tmp_path / "b.pcap", *(send(k) for k in (0, 2, 3, 1, 2, 3, 4))))
    assert (gone_back.late, gone_back.resent, gone_back.go_backs, gone_back.repeated) == (1, 1, 1, 2)
    asked = analysis(written(tmp_path / "c.pcap", send(0), send(2), ack(1, 0x60), send(1), send(3))).pairs[0]
    assert (asked.late, asked.resent, asked.go_backs) == (1, 1, 0)
    before = analysis(written(tmp_path / "d.pcap", send(0), send(2), send(1), ack(1, 0x60), send(3))).pairs[0]
    assert (before.late, before.resent) == (1, 0), "the NAK came after it"


# ---- against tshark

def conversation() -> list[Packet]:
    """Both ways of a queue pair with everything: a loss, a go-back, a READ, atomics, CNPs, datagrams."""
    there = [roce(WRITE_FIRST, 100, reth(3 * MTU) + bytes(MTU)), roce(WRITE_MIDDLE, 101, bytes(MTU)),
             roce(WRITE_LAST, 102, bytes(MTU)), roce(READ, 103, reth(4 * MTU)), send(107), send(109),
             roce(FETCH_ADD, 108, bytes(28)), send(108), send(109)]
    back = [ack(102), *read_responses(103, 4), ack(108, 0x60), ack(109), notification(), send(70, back=True),
            send(71, back=True), roce(UD | SEND_ONLY, 3, bytes(264), qpn=1, back=True)]
    return [*there, *back]


def test_tshark_reads_the_same_packets(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    frames = [ethernet(p, *((7,) if k % 3 else ())) for k, p in enumerate(conversation())]
    path = written(tmp_path / "a.pcap", *frames)
    fields = ("ip.src", "infiniband.bth.opcode", "infiniband.bth.psn", "infiniband.aeth.syndrome")
    command = ["tshark", "-r", str(path), "-T", "fields", *(part for f in fields for part in ("-e", f))]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shown = [line.split("\t") for line in output.splitlines()]
    assert len(shown) == len(frames)
    seen: Counter[tuple[str, str]] = Counter()
    psns: dict[tuple[str, str], set[int]] = {}
    for src, opcode, psn, _ in shown:
        row = (src, "responses" if int(opcode) in {*range(13, 17), 18} else "requests")
        if int(opcode) in {*range(13), *range(13, 17), 18, 19, 20}:
            seen[row] += 1
            psns.setdefault(row, set()).add(int(psn))
    found: Analysis = analysis(path)
    assert {(p.src, p.carries): p.packets for p in found.pairs} == dict(seen)
    assert {(p.src, p.carries): p.repeated for p in found.pairs} == {
        row: count - len(psns[row]) for row, count in seen.items()}
    counted = Counter(int(opcode) for _, opcode, _, _ in shown)
    assert sum(a.cnps for a in found.answers) == counted[0x81] == 1
    assert sum(a.acks + a.sequence_naks for a in found.answers) == counted[17] == 3
    assert sum(found.left_out.values()) == counted[100] == 1
    assert [(p.src, p.carries, p.missing) for p in found.pairs] == [
        (A, "requests", 0), (B, "responses", 0), (B, "requests", 0)]


# ---- sets of numbers

@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 8)), max_size=20), st.integers(-60, 60),
       st.integers(0, 80))
def test_spans_count_like_a_set(runs: list[tuple[int, int]], begin: int, length: int) -> None:
    spans = Spans((n, n + k) for n, k in runs)
    plain = {m for n, k in runs for m in range(n, n + k)}
    assert spans.size == len(plain)
    assert spans.within(begin, begin + length) == len(plain & set(range(begin, begin + length)))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 8)), max_size=20))
def test_taken_numbers_are_remembered(runs: list[tuple[int, int]]) -> None:
    taken, plain = Taken(), set[int]()
    for number, span in runs:
        assert (number in taken) == (number in plain)
        if number not in taken:
            taken.add(number, span)
            plain |= set(range(number, number + span))


def test_packets_of_scapy_are_what_they_should_be() -> None:
    """The helpers themselves: what tests build is what the field's own tool reads."""
    parsed = IP(bytes(send(5)))
    assert (parsed[BTH].opcode, parsed[BTH].psn, parsed[BTH].dqpn) == (SEND_ONLY, 5, AT_B)
    assert IP(bytes(notification()))[BTH].dqpn == AT_A
