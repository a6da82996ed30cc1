"""Captures of RoCEv2 by their PSNs: worked examples with packets that Scapy built."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapWriter
from typer.testing import CliRunner

from scenarios.cli import app
from topologies.model.errors import LabError
from traffic.transports.rocev2.analysis import between, findings
from traffic.transports.rocev2.packets import AckTemplate, DataTemplate
from traffic.transports.rocev2.wire import MIDDLE, NAK_SEQUENCE, PSNS

SRC, DST, QPN, FIRST = "192.0.2.1", "192.0.2.2", 17, PSNS - 3      # the PSN wraps after three packets
DATA, NAK = DataTemplate(SRC, DST, QPN, 64, "rc"), AckTemplate(DST, SRC, 99)


def data(n: int, sport: int = 50_000) -> bytes:
    return bytes(DATA.packet(sport, (FIRST + n) % PSNS, MIDDLE, False, n, 0))


def nak(n: int) -> bytes:
    return bytes(NAK.packet(50_001, (FIRST + n) % PSNS, NAK_SEQUENCE, 0))


def written(path: Path, *packets: tuple[float, bytes], snap: int = 65_535) -> Path:
    with PcapWriter(str(path), linktype=1, nano=True) as file:
        file.write_header(None)
        for seconds, packet in packets:
            frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x800) / Raw(packet)
            whole = bytes(frame)
            file.write_packet(whole[:snap], sec=int(seconds), usec=round(seconds % 1 * 1e9), wirelen=len(whole),
                              caplen=min(snap, len(whole)))
    return path


def every_ms(*numbers: int) -> list[tuple[float, bytes]]:
    return [(1 + k / 1000, data(n)) for k, n in enumerate(numbers)]


def test_a_whole_transfer_misses_repeats_and_reorders_nothing(tmp_path: Path) -> None:
    one, = findings(written(tmp_path / "a.pcap", *every_ms(*range(8))))
    assert (one.src, one.dst, one.qpn, one.packets) == (SRC, DST, QPN, 8)
    assert (one.missing, one.repeated, one.go_backs, one.naks, one.late, one.bad_icrc) == (0, 0, 0, 0, 0, 0)
    assert one.seconds == pytest.approx(0.007)


def test_going_back_after_a_loss_is_one_go_back_with_its_nak_and_its_repeats(tmp_path: Path) -> None:
    # 2 is lost; 3, 4, 5 are discarded by the receiver, which complains once; the sender begins again with 2.
    packets = [*every_ms(0, 1, 3, 4, 5, 2, 3, 4, 5, 6), (1.0035, nak(2))]
    one, = findings(written(tmp_path / "a.pcap", *packets))
    assert (one.packets, one.missing, one.repeated, one.go_backs, one.naks) == (10, 0, 3, 1, 1)
    assert (one.late, one.late_extent) == (1, 3)


def test_what_never_came_is_missing(tmp_path: Path) -> None:
    one, = findings(written(tmp_path / "a.pcap", *every_ms(0, 1, 4, 6)))
    assert one.missing == 3


def test_an_overtaken_first_packet_counts_backwards_over_the_wrap_of_psns(tmp_path: Path) -> None:
    one, = findings(written(tmp_path / "a.pcap", *every_ms(3, 2, 4)))
    assert (one.missing, one.late, one.late_extent) == (0, 1, 1)


def test_a_changed_byte_is_a_wrong_icrc_and_a_short_snap_length_says_that_none_was_captured(tmp_path: Path) -> None:
    broken = bytearray(data(1))
    broken[50] ^= 1
    one, = findings(written(tmp_path / "a.pcap", (1, data(0)), (2, bytes(broken))))
    assert (one.bad_icrc, one.icrc_not_captured) == (1, 0)
    cut, = findings(written(tmp_path / "b.pcap", (1, data(0)), (2, bytes(broken)), snap=70))
    assert (cut.packets, cut.bad_icrc, cut.icrc_not_captured) == (2, 0, 2)


def test_two_captures_tell_loss_latency_and_order_of_the_packets_that_both_saw_once(tmp_path: Path) -> None:
    sender = written(tmp_path / "s.pcap", *every_ms(0, 1, 2, 3, 4, 2, 3))
    late = [(1.010, data(0)), (1.013, data(4)), (1.015, data(1)), (1.020, data(2)), (1.021, data(3))]
    way, = between(sender, written(tmp_path / "r.pcap", *late))
    assert (way.sent, way.received) == (7, 5)
    assert way.lost_ppm == pytest.approx(2e6 / 7)
    assert way.matched == 3, "2 and 3 were sent twice: which of the two came cannot be known"
    assert way.latency == pytest.approx(0.010)
    assert way.latency_max == pytest.approx(0.014)
    assert (way.reordered, way.reorder_extent) == (1, 1)
    assert way.latency_p99 is None, "three packets carry no p99"


def test_captures_whose_first_packets_differ_are_counted_from_the_same_psn(tmp_path: Path) -> None:
    sender = written(tmp_path / "s.pcap", *every_ms(0, 1, 2))
    way, = between(sender, written(tmp_path / "r.pcap", (1.006, data(1)), (1.007, data(2))))
    assert way.matched == 2
    assert way.latency == pytest.approx(0.005)


def test_a_capture_without_rocev2_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none in 1 frames"):
        findings(written(tmp_path / "a.pcap", (1, nak(0)[:24])))


def test_headers_that_were_cut_off_are_named_by_frame(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"frame 1: expected its headers up to the AETH.*\n?.*tcpdump -s 160"):
        findings(written(tmp_path / "a.pcap", (1, data(0)), snap=50))


def test_captures_of_different_traffic_are_refused(tmp_path: Path) -> None:
    other = DataTemplate("192.0.2.7", DST, QPN, 64, "rc")
    stranger = bytes(other.packet(1, 5, MIDDLE, False, 0, 0))
    with pytest.raises(LabError, match=r"the first capture is the sender's"):
        between(written(tmp_path / "s.pcap", (1, data(0))), written(tmp_path / "r.pcap", (1, stranger)))


def test_the_command_prints_tables_and_json(tmp_path: Path) -> None:
    file = str(written(tmp_path / "a.pcap", *every_ms(0, 1, 2)))
    text = CliRunner().invoke(app, ["analyse", file, "--received", file])
    assert "192.0.2.1 > 192.0.2.2 #17" in text.stdout
    assert "0.000 ms" in text.stdout
    assert '"missing": 0' in CliRunner().invoke(app, ["analyse", file, "--json"]).stdout
