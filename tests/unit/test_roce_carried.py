"""What carries RoCEv2 in a capture: tags, tunnels, IPv6, joined frames, two captures; and what the command says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from typer.testing import CliRunner

from scenarios.cli import app
from tests.unit.roce_captures import (
    MTU,
    READ,
    SEND_FIRST,
    SEND_LAST,
    SEND_MIDDLE,
    SEND_ONLY,
    A,
    B,
    ack,
    ethernet,
    notification,
    pcapng,
    read_responses,
    reth,
    roce,
    written,
)
from topologies.model.errors import LabError
from traffic.transports.rocev2 import sightings as reading
from traffic.transports.rocev2.analysis import PairFindings, analysis, between
from traffic.transports.rocev2.packets import icrc_of


def only(path: Path) -> PairFindings:
    one, = analysis(path).pairs
    return one


def send(psn: int, *, back: bool = False, service: int = 0) -> Packet:
    return roce(service | SEND_ONLY, psn, bytes(64), back=back)


# ---- what packets are in

@pytest.mark.parametrize(("vlans", "kinds"), [((7,), ()), ((7, 8), (0x88A8, 0x8100)),
                                              ((1, 2, 3), (0x9100, 0x8100, 0x8100))])
def test_tags_are_read_and_half_tagged_traffic_is_one_row(tmp_path: Path, vlans: tuple[int, ...],
                                                          kinds: tuple[int, ...]) -> None:
    frames = [ethernet(send(k), *(vlans if k % 2 else ()), kinds=kinds if k % 2 else ()) for k in range(10)]
    found = analysis(written(tmp_path / "a.pcap", *frames))
    one, = found.pairs
    assert (one.packets, one.missing, one.bad_icrc, found.left_out) == (10, 0, 0, {})


def test_ipv6_has_an_icrc_of_its_own(tmp_path: Path) -> None:
    ip = IPv6(src="2001:db8::1", dst="2001:db8::2", tc=0x6B, fl=0x12345, hlim=3)
    one = only(written(tmp_path / "a.pcap", *(ethernet(roce(SEND_ONLY, k, bytes(64), ip=ip)) for k in (1, 2, 4))))
    assert (one.src, one.packets, one.missing, one.bad_icrc, one.icrc_unchecked) == ("2001:db8::1", 3, 1, 0, 0)


def test_icrcs_are_those_of_scapy() -> None:
    for ip in (IP(src=A, dst=B, tos=0x6B, ttl=3, id=77), IPv6(src="2001:db8::1", dst="2001:db8::2", tc=3, fl=0xFFFFF)):
        whole = bytes(roce(SEND_ONLY, 5, bytes(range(64)), ip=ip))
        header = len(bytes(ip))
        assert icrc_of(whole[:header], whole[header:]) == whole[-4:]


def test_options_and_extension_headers_are_stepped_over_and_their_icrc_is_not_checked(tmp_path: Path) -> None:
    options = IP(src=A, dst=B, options=[IPOption_NOP()] * 8)
    # Scapy knows no ICRC behind extension headers: that of the packet without them.
    plain = bytes(roce(SEND_ONLY, 1, bytes(64), ip=IPv6(src="2001:db8::1", dst="2001:db8::2")))[40:]
    ip = IPv6(src="2001:db8::1", dst="2001:db8::2")
    extended = ip / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(nh=17) / Raw(plain)
    found = analysis(written(tmp_path / "a.pcap", roce(SEND_ONLY, 1, bytes(64), ip=options), ethernet(extended)))
    assert [(p.packets, p.icrc_unchecked, p.bad_icrc) for p in found.pairs] == [(1, 1, 0)] * 2
    assert found.left_out == {}


def test_tenants_of_one_address_are_distinguished_by_their_vni(tmp_path: Path) -> None:
    def inside(packet: Packet, vni: int) -> Packet:
        outer = IP(src="10.255.0.1", dst="10.255.0.2") / UDP(sport=5000, dport=4789) / VXLAN(vni=vni)
        return outer / Raw(ethernet(packet))

    frames = [inside(send(10 * vni + k), vni) for k in range(3) for vni in (1001, 1002)]
    found = analysis(written(tmp_path / "a.pcap", *frames))
    assert [(p.place, p.packets, p.missing, p.bad_icrc) for p in found.pairs] == [
        ("VNI 1001", 3, 0, 0), ("VNI 1002", 3, 0, 0)]


COOKED = b"\x00\x04\x00\x01\x00\x06" + bytes(8) + b"\x08\x00"


@pytest.mark.parametrize(("link", "before", "place"), [
    (113, COOKED, ""), (113, COOKED[:-2] + b"\x81\x00\x00\x07\x08\x00", ""),
    (276, b"\x08\x00\x00\x00\x00\x00\x00\x03" + bytes(12), "interface 3"),
    (101, b"", ""), (12, b"", ""), (228, b"", ""),
    (0, b"\x02\x00\x00\x00", ""), (108, b"\x00\x00\x00\x02", "")])
def test_other_link_types_are_read(tmp_path: Path, link: int, before: bytes, place: str) -> None:
    one = only(written(tmp_path / "a.pcap", *(before + bytes(send(k)) for k in (0, 1, 3)), link=link))
    assert (one.place, one.packets, one.missing, one.bad_icrc) == (place, 3, 1, 0)


def test_one_packet_seen_at_two_interfaces_is_not_repeated(tmp_path: Path) -> None:
    frames = [(k % 2, 10**9 + k, ethernet(send(k // 2))) for k in range(6)]
    found = analysis(pcapng(tmp_path / "a.pcapng", *frames, links=(1, 1))).pairs
    assert [(p.place, p.packets, p.repeated) for p in found] == [("", 3, 0), ("interface 1", 3, 0)]


def test_what_is_no_rocev2_is_counted_by_kind(tmp_path: Path) -> None:
    cut_short = bytes(send(1))[:-20]
    bad_length = bytearray(bytes(send(1)))
    bad_length[24:26] = (3000).to_bytes(2, "big")
    no_header = bytearray(ethernet(send(1)))
    no_header[14] = 0x40
    other_version = bytearray(bytes(send(1)))
    other_version[29] |= 1
    frames: list[bytes | Packet] = [
        send(0), IP(src=A, dst=B) / TCP(), IP(src=A, dst=B) / UDP(dport=53), IP(src=A, dst=B) / ICMP(),
        bytes(Ether() / ARP()), IP(src=A, dst=B, frag=3, proto=17) / Raw(bytes(64)), bytes(no_header),
        ethernet(Raw(cut_short)), ethernet(Raw(bytes(bad_length))), bytes(Ether(type=0x8915) / Raw(bytes(60))),
        ethernet(Raw(bytes(other_version))), bytes(8), IP(src=A, dst=B) / UDP(dport=4791) / Raw(bytes(8))]
    frames = [f if isinstance(f, bytes) else ethernet(f) for f in frames]
    for k in (7, 8, 10):
        frames[k] = frames[0][:12] + b"\x08\x00" + frames[k][14:]       # type: ignore[index]
    found = analysis(written(tmp_path / "a.pcap", *frames))
    assert found.left_out == {
        "TCP": 1, "UDP to other ports": 1, "other protocols over IPv4": 1, "ARP": 1, "fragments": 1,
        "malformed IP headers": 1, "IP packets longer than their frame": 1, "malformed UDP headers": 1,
        "RoCEv1 (Ethertype 0x8915)": 1, "RoCEv2 packets of another version of BTH": 1, "frames without a header": 1,
        "RoCEv2 packets too short for their headers": 1}
    assert found.frames == 1 + sum(found.left_out.values())


def test_a_message_of_no_bytes_is_a_packet(tmp_path: Path) -> None:
    padded = ethernet(roce(SEND_ONLY, 2)) + bytes(2)        # to the least that Ethernet carries
    one = only(written(tmp_path / "a.pcap", roce(SEND_ONLY, 1), padded, ack(2)))
    assert (one.packets, one.missing, one.bad_icrc) == (2, 0, 0)


# ---- frames of several packets

def joined(psn: int, count: int) -> bytes:
    """`count` packets as a host with GRO shows them: one datagram with all their payloads."""
    parts = [bytes(roce(SEND_MIDDLE, psn + k, bytes(MTU)))[28:] for k in range(count)]
    body = b"".join(parts)
    return ethernet(IP(src=A, dst=B) / UDP(sport=50_000, dport=4791, chksum=0) / Raw(body))


@pytest.mark.parametrize("count", [2, 3, 5, 40, 62])
def test_what_a_host_joined_cannot_tell_what_is_missing(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "a.pcap", roce(SEND_FIRST, 0, bytes(MTU)), joined(1, count),
                   roce(SEND_LAST, count + 1, bytes(4)))
    found = analysis(path)
    one, = found.pairs
    assert (one.packets, one.joined, one.missing) == (2, 1, None)
    assert found.left_out == {reading.JOINED: 1}
    assert "gro off" in CliRunner().invoke(app, ["analyse", str(path)]).stdout


def test_a_frame_over_65535_bytes_is_no_truncation(tmp_path: Path) -> None:
    large = bytearray(ethernet(IP(src=A, dst=B) / TCP() / Raw(bytes(1000))) + bytes(120_000))
    large[16:18] = b"\x00\x00"      # as Linux writes the length of what is larger than the field (BIG TCP)
    found = analysis(written(tmp_path / "a.pcap", send(0), bytes(large), send(1)))
    assert (found.pairs[0].packets, found.pairs[0].missing, found.left_out) == (2, 0, {"TCP": 1})


# ---- two captures

def test_two_captures_are_matched_row_by_row(tmp_path: Path) -> None:
    def both(delay: float) -> list[tuple[float, Packet]]:
        answers = [(1.0 + k + delay, p) for k, p in enumerate(read_responses(50, 3))]
        return answers + [(1.5 + k + delay, send(7000 + k, back=True)) for k in range(3)]

    here = written(tmp_path / "s.pcap", *both(0))
    found = between(here, written(tmp_path / "r.pcap", *both(0.25)[:2], *both(0.25)[3:]))
    assert {w.carries: (w.sent, w.received, w.matched) for w in found} == {
        "responses": (3, 2, 2), "requests": (3, 3, 3)}
    assert [w.latency for w in found] == pytest.approx([0.25, 0.25])
    assert not any(w.back for w in found)
    back, = (w for w in between(written(tmp_path / "t.pcap", send(1)), written(tmp_path / "u.pcap", send(1), send(2))))
    assert back.lost_ppm is None, "more came than the sender's capture shows"


def test_what_came_back_left_at_the_second_capture(tmp_path: Path) -> None:
    """Both captures hold both directions: a delay below zero is one the other way."""
    def seen(at_a: bool) -> list[tuple[float, Packet]]:
        return [(1 + k + (0 if at_a else 0.25), send(k)) for k in range(4)] + [
            (1.5 + k + (0.125 if at_a else 0), send(900 + k, back=True)) for k in range(4) if at_a <= (k != 1)]

    found = between(written(tmp_path / "s.pcap", *seen(True)), written(tmp_path / "r.pcap", *seen(False)))
    assert [(w.src, w.back, w.sent, w.received, w.latency) for w in found] == [
        (A, False, 4, 4, pytest.approx(0.25)), (B, True, 4, 3, pytest.approx(0.125))]


def test_queue_pairs_that_one_capture_alone_shows_are_named(tmp_path: Path) -> None:
    here = written(tmp_path / "s.pcap", send(1), roce(SEND_ONLY, 5, bytes(64), qpn=9))
    there = written(tmp_path / "r.pcap", send(1))
    text = CliRunner().invoke(app, ["analyse", str(here), "--received", str(there)]).stdout
    assert f"Only in s.pcap: {A} -> {B}, queue pair 9, requests (1 packets)" in text


# ---- the command, and bounds

def test_the_command_says_what_it_left_out_and_why_it_does_not_tell(tmp_path: Path) -> None:
    file = written(tmp_path / "a.pcap", roce(READ, 10, reth(4000)), (0.5, send(26)), bytes(Ether() / ARP()),
                   notification())
    text = CliRunner().invoke(app, ["analyse", str(file)]).stdout
    assert "Left out of the 4 frames of a.pcap: 1 ARP." in text
    assert "not reported, as the capture does not show how many PSNs its READs take" in text
    assert "1 frames were put in their places" in text
    whole = json.loads(CliRunner().invoke(app, ["analyse", str(file), "--json", "--received", str(file)]).stdout)
    assert (whole["left_out"], whole["unordered"], whole["frames"]) == ({"ARP": 1}, 1, 4)
    assert whole["answers"][0]["cnps"] == 1
    assert whole["received"]["left_out"] == {"ARP": 1}
    alone = CliRunner().invoke(app, ["analyse", str(written(tmp_path / "b.pcap", notification()))])
    assert alone.exit_code == 0
    assert "CNPs" in alone.stdout


def test_ipv6_addresses_do_not_push_numbers_off_the_table(tmp_path: Path) -> None:
    ip = IPv6(src="2001:db8:aaaa:bbbb:cccc:dddd:eeee:1111", dst="2001:db8:aaaa:bbbb:cccc:dddd:eeee:2222")
    file = written(tmp_path / "a.pcap", ethernet(roce(SEND_ONLY, 1, bytes(64), ip=ip, qpn=2**24 - 1)))
    text = CliRunner().invoke(app, ["analyse", str(file)]).stdout
    assert "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1111 > 2001:db8:aaaa:bbbb:cccc:dddd:eeee:2222 #16777215" in text
    assert "…" not in text


def test_more_packets_than_memory_holds_are_refused_when_they_come(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_PACKETS", 2)
    with pytest.raises(LabError, match="at most 2 packets"):
        analysis(written(tmp_path / "a.pcap", *(send(k) for k in range(3))))
    monkeypatch.setattr(reading, "MOST_PAIRS", 1)
    with pytest.raises(LabError, match="1 queue pairs"):
        analysis(written(tmp_path / "b.pcap", *(roce(SEND_ONLY, 1, bytes(64), qpn=q) for q in (1, 2))))


